"""What the wiki's database says: the pages as they are, and what nobody may see any more."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TEXT_HIDDEN = 1  # MediaWiki's bit of rev_deleted
NAMESPACES = {
    0: "",
    1: "Talk",
    2: "User",
    3: "User talk",
    4: "Lab Wiki",
    5: "Lab Wiki talk",
    6: "File",
    7: "File talk",
    8: "MediaWiki",
    9: "MediaWiki talk",
    10: "Template",
    11: "Template talk",
    12: "Help",
    13: "Help talk",
    14: "Category",
    15: "Category talk",
    828: "Module",
    829: "Module talk",
}
PAGES = """SELECT page_id, page_namespace, page_title, page_is_redirect, page_latest, rev_timestamp, content_sha1, rev_deleted,
    model_name, content_address FROM page JOIN revision ON rev_id = page_latest
    JOIN slots ON slot_revision_id = rev_id JOIN slot_roles ON role_id = slot_role_id AND role_name = 'main'
    JOIN content ON content_id = slot_content_id JOIN content_models ON model_id = content_model ORDER BY page_id"""
HIDDEN = """SELECT rev_id FROM revision WHERE rev_deleted & 1"""
SUPPRESSED = """SELECT log_page FROM logging WHERE log_type = 'suppress' AND log_action = 'delete'"""
COMPARED = ("title", "namespace", "rev_id", "timestamp", "sha1", "content_model", "is_redirect", "text")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing an export and the wiki do not agree on; ``wiki`` or ``mirror`` is None where that one has no such page."""

    page_id: int
    what: str
    wiki: Any
    mirror: Any


def pages(database: Path) -> list[dict[str, Any]]:
    """Every page in the form of `mirror export`: ``text`` and ``sha1`` None where the current text is hidden."""
    with _open(database) as db:
        return [_page(db, row) for row in db.execute(PAGES).fetchall()]


def hidden_revisions(database: Path) -> set[int]:
    """The revisions of live pages whose text is hidden."""
    with _open(database) as db:
        return {rev_id for (rev_id,) in db.execute(HIDDEN)}


def suppressed_pages(database: Path) -> frozenset[int]:
    """The pages that were deleted in the log of suppressions."""
    with _open(database) as db:
        return frozenset(page_id for (page_id,) in db.execute(SUPPRESSED))


def differences(expected: Iterable[dict[str, Any]], exported: Iterable[dict[str, Any]]) -> list[Difference]:
    """How an export differs from what it should be."""
    wiki = {page["page_id"]: page for page in expected}
    found: list[Difference] = []
    mirror: dict[int, dict[str, Any]] = {}
    for page in exported:
        if page["page_id"] in mirror:
            found.append(Difference(page["page_id"], "exported twice", None, page["title"]))
        mirror[page["page_id"]] = page
    for page_id in sorted(wiki.keys() | mirror.keys()):
        ours, theirs = wiki.get(page_id), mirror.get(page_id)
        if ours is None or theirs is None:
            found.append(Difference(page_id, "page", ours and ours["title"], theirs and theirs["title"]))
            continue
        found += [Difference(page_id, name, ours[name], theirs[name]) for name in COMPARED if ours[name] != theirs[name]]
    return found


@contextlib.contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as db:
        db.text_factory = bytes
        db.execute("BEGIN")  # one view of everything
        yield db


def _page(db: sqlite3.Connection, row: tuple[Any, ...]) -> dict[str, Any]:
    page_id, namespace, title, redirect, latest, timestamp, sha1, bits, model, address = row
    prefix = NAMESPACES[namespace] + ":" if namespace else ""
    hidden = bool(bits & TEXT_HIDDEN)
    digits = timestamp.decode()
    date, time = "-".join((digits[:4], digits[4:6], digits[6:8])), ":".join((digits[8:10], digits[10:12], digits[12:14]))
    return {
        "page_id": page_id,
        "namespace": namespace,
        "title": prefix + title.decode().replace("_", " "),
        "rev_id": latest,
        "timestamp": f"{date}T{time}Z",
        "sha1": None if hidden else f"{int(sha1, 36):040x}",
        "content_model": model.decode(),
        "is_redirect": bool(redirect),
        "text": None if hidden else _text(db, address.decode()),
    }


def _text(db: sqlite3.Connection, address: str) -> str:
    """A text by its address in the ``text`` table."""
    text_id = int(address.removeprefix("tt:").split("?")[0])
    text, flags = db.execute("SELECT old_text, old_flags FROM text WHERE old_id = ?", (text_id,)).fetchone()
    if b"gzip" in flags.split(b","):
        text = zlib.decompress(text, -15)
    return str(text, "utf-8")
