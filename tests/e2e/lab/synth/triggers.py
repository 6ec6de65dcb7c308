"""What the wiki's database is made to note down of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

_PAGE = "{0}.page_latest, {0}.page_namespace, {0}.page_title"

# kind -> when, and what is noted. MediaWiki keeps text in BLOB columns, which JSON cannot hold.
TRIGGERS: dict[str, tuple[str, dict[str, str]]] = {
    "revision_added": (
        "AFTER INSERT ON revision",
        {
            "rev_id": "NEW.rev_id",
            "page_id": "NEW.rev_page",
            "restored": "EXISTS (SELECT 1 FROM archive WHERE ar_rev_id = NEW.rev_id)",
            "bits": "NEW.rev_deleted",
        },
    ),
    "revision_shown_or_hidden": (
        "AFTER UPDATE OF rev_deleted ON revision WHEN OLD.rev_deleted <> NEW.rev_deleted",
        {"rev_id": "NEW.rev_id", "page_id": "NEW.rev_page", "before": "OLD.rev_deleted", "after": "NEW.rev_deleted"},
    ),
    "revision_moved": (
        "AFTER UPDATE OF rev_page ON revision WHEN OLD.rev_page <> NEW.rev_page",
        {"rev_id": "NEW.rev_id", "page_id": "OLD.rev_page"},
    ),
    "revision_removed": (
        "AFTER DELETE ON revision",
        {"rev_id": "OLD.rev_id", "page_id": "OLD.rev_page", "bits": "OLD.rev_deleted"},
    ),
    "page_added": (
        "AFTER INSERT ON page",
        {"page_id": "NEW.page_id", "namespace": "NEW.page_namespace", "title": "CAST(NEW.page_title AS TEXT)"},
    ),
    "page_changed": (
        f"AFTER UPDATE ON page WHEN ({_PAGE.format('OLD')}) <> ({_PAGE.format('NEW')})",
        {
            "page_id": "NEW.page_id",
            "namespace": "NEW.page_namespace",
            "title": "CAST(NEW.page_title AS TEXT)",
            "old_namespace": "OLD.page_namespace",
            "old_title": "CAST(OLD.page_title AS TEXT)",
            "old_latest": "OLD.page_latest",
            "latest": "NEW.page_latest",
            "redirect": "NEW.page_is_redirect",
        },
    ),
    "page_removed": (
        "AFTER DELETE ON page",
        {
            "page_id": "OLD.page_id",
            "namespace": "OLD.page_namespace",
            "title": "CAST(OLD.page_title AS TEXT)",
            "latest": "OLD.page_latest",
            "redirect": "OLD.page_is_redirect",
            "target": "(SELECT json_array(rd_namespace, CAST(rd_title AS TEXT)) FROM redirect WHERE rd_from = OLD.page_id)",
        },
    ),
    "logged": (
        "AFTER INSERT ON logging",
        {
            "namespace": "NEW.log_namespace",
            "title": "CAST(NEW.log_title AS TEXT)",
            "type": "CAST(NEW.log_type AS TEXT)",
            "action": "CAST(NEW.log_action AS TEXT)",
            "actor": "NEW.log_actor",
            "comment_id": "NEW.log_comment_id",
            "timestamp": "CAST(NEW.log_timestamp AS TEXT)",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that happened in the database. ``seq`` rises in commit order."""

    seq: int
    kind: str
    data: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]


def install(db: sqlite3.Connection) -> None:
    """Make the table and the triggers."""
    db.execute("CREATE TABLE lab_log (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind, data)")
    for kind, (when, parts) in TRIGGERS.items():
        members = ", ".join(f"'{name}', {expression}" for name, expression in parts.items())
        insert = f"INSERT INTO lab_log (kind, data) VALUES ('{kind}', json_object({members}))"  # noqa: S608 - all of it stands above
        db.execute(f"CREATE TRIGGER lab_{kind} {when} BEGIN {insert}; END")


def read(db: sqlite3.Connection, after: int) -> list[Row]:
    """What was noted after ``after``; whole transactions only, as they commit."""
    found = db.execute("SELECT seq, kind, data FROM lab_log WHERE seq > ? ORDER BY seq LIMIT 20000", (after,))
    return [Row(seq, kind, json.loads(data)) for seq, kind, data in found.fetchall()]
