"""The parts that events are made of, read from the wiki's database in the shapes of the real extension (schema 1.11.0)."""

from __future__ import annotations

import html
import json
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

TEXT_HIDDEN, COMMENT_HIDDEN, USER_HIDDEN, RESTRICTED = 1, 2, 4, 8  # MediaWiki's rev_deleted bits
FORMATS = {
    "wikitext": "text/x-wiki",
    "json": "application/json",
    "css": "text/css",
    "javascript": "text/javascript",
    "text": "text/plain",
}

REVISION = """SELECT rev_id id, rev_page page_id, rev_actor actor, rev_timestamp timestamp, rev_minor_edit minor,
    rev_deleted bits, rev_len size, rev_parent_id parent, rev_sha1 sha1,
    coalesce((SELECT revcomment_comment_id FROM revision_comment_temp WHERE revcomment_rev = rev_id), rev_comment_id) comment_id
    FROM revision WHERE rev_id = ?"""
ARCHIVED = """SELECT ar_rev_id id, ar_page_id page_id, ar_actor actor, ar_timestamp timestamp, ar_minor_edit minor,
    ar_deleted bits, ar_len size, ar_parent_id parent, ar_sha1 sha1, ar_comment_id comment_id FROM archive WHERE ar_rev_id = ?"""
SLOTS = """SELECT role_name role, model_name model, content_sha1 sha1, content_size size, slot_origin origin
    FROM slots JOIN slot_roles ON role_id = slot_role_id JOIN content ON content_id = slot_content_id
    JOIN content_models ON model_id = content_model WHERE slot_revision_id = ?"""
USER = """SELECT actor_user user_id, actor_name name, user_registration registered, user_editcount edits
    FROM actor LEFT JOIN user ON user_id = actor_user WHERE actor_id = ?"""


@dataclass(frozen=True, slots=True)
class Site:
    """What the wiki says of itself."""

    wiki_id: str
    server: str
    article_path: str
    namespaces: dict[int, str]
    content_namespaces: frozenset[int]

    @classmethod
    def ask(cls, api_url: str) -> Site:
        """Read it from the API."""
        query = "action=query&meta=siteinfo&siprop=general|namespaces&format=json&formatversion=2"
        with urllib.request.urlopen(f"{api_url}?{query}", timeout=30) as answer:
            info = json.load(answer)["query"]
        namespaces = info["namespaces"].values()
        return cls(
            wiki_id=info["general"]["wikiid"],
            server=info["general"]["server"],
            article_path=info["general"]["articlepath"],
            namespaces={namespace["id"]: namespace["name"].replace(" ", "_") for namespace in namespaces},
            content_namespaces=frozenset(namespace["id"] for namespace in namespaces if namespace.get("content")),
        )

    def title(self, namespace: int, title: str) -> str:
        """The prefixed database key, as events have it."""
        prefix = self.namespaces.get(namespace)
        return f"{prefix}:{title}" if prefix else title

    def uri(self, title: str) -> str:
        """A page's address."""
        return self.server + self.article_path.replace("$1", urllib.parse.quote(title, safe=";@$!*(),/~:"))


@dataclass(slots=True)
class Entities:
    """Reads the database. ``bits`` and ``pages`` hold what was so at the change being told, where the database has moved on."""

    db: sqlite3.Connection
    site: Site
    bits: dict[int, int] = field(default_factory=dict)
    pages: dict[int, tuple[int, str, int]] = field(default_factory=dict)

    def row(self, sql: str, *values: Any) -> dict[str, Any] | None:
        """The first row, text columns as str."""
        cursor = self.db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        found = cursor.fetchone()
        return {name: _text(value) for name, value in zip(names, found, strict=True)} if found else None

    def comment(self, comment_id: int) -> str:
        """A comment's text."""
        found = self.row("SELECT comment_text text FROM comment WHERE comment_id = ?", comment_id)
        return found["text"] if found else ""

    def page_now(self, page_id: int) -> tuple[int, str, int] | None:
        """Namespace, title and whether it redirects."""
        if page_id in self.pages:
            return self.pages[page_id]
        found = self.row("SELECT page_namespace n, page_title t, page_is_redirect r FROM page WHERE page_id = ?", page_id)
        return (found["n"], found["t"], found["r"]) if found else None

    def revision(self, rev_id: int) -> dict[str, Any] | None:
        """A revision, deleted or not, with its slots."""
        found = self.row(REVISION, rev_id) or self.row(ARCHIVED, rev_id)
        if found is None:
            return None
        cursor = self.db.execute(SLOTS, (rev_id,))
        names = [column[0] for column in cursor.description]
        found["slots"] = [{name: _text(value) for name, value in zip(names, slot, strict=True)} for slot in cursor.fetchall()]
        found["bits"] = self.bits.get(rev_id, found["bits"])
        return found

    def user(self, actor: int) -> dict[str, Any]:
        """A user as page_change has it."""
        found, groups = self._user(actor)
        user = {"user_text": found["name"], "groups": groups, "is_temp": False, "wiki_id": self.site.wiki_id}
        if found["user_id"]:
            user |= {"user_id": found["user_id"], "user_central_id": found["user_id"], "edit_count": found["edits"] or 0}
            user |= {"registration_dt": iso(found["registered"])} if found["registered"] else {}
        return user | {"is_bot": "bot" in groups, "is_system": False}

    def legacy_user(self, actor: int) -> dict[str, Any]:
        """A user as the older streams have it."""
        found, groups = self._user(actor)
        user = {"user_text": found["name"], "user_groups": groups, "user_is_bot": "bot" in groups}
        if found["user_id"]:
            user |= {"user_id": found["user_id"], "user_edit_count": found["edits"] or 0}
            user |= {"user_registration_dt": iso(found["registered"])} if found["registered"] else {}
        return user

    def _user(self, actor: int) -> tuple[dict[str, Any], list[str]]:
        found = self.row(USER, actor)
        if found is None:
            raise LookupError(f"no actor {actor}")
        named = self.db.execute("SELECT ug_group FROM user_groups WHERE ug_user = ?", (found["user_id"] or 0,))
        implicit = ["*", "user", "autoconfirmed"] if found["user_id"] else ["*"]
        return found, [_text(group) for (group,) in named.fetchall()] + implicit

    def page(self, page_id: int, namespace: int, title: str, *, redirect: bool) -> dict[str, Any]:
        """A page as page_change has it, without where it points."""
        return {
            "page_id": page_id,
            "page_title": self.site.title(namespace, title),
            "namespace_id": namespace,
            "is_redirect": redirect,
            "namespace_is_content": namespace in self.site.content_namespaces,
        }

    def linked_page(self, page_id: int, namespace: int, title: str, *, redirect: bool) -> dict[str, Any]:
        """A page with the page it redirects to."""
        page = self.page(page_id, namespace, title, redirect=redirect)
        target = self.row("SELECT rd_namespace n, rd_title t FROM redirect WHERE rd_from = ?", page_id)
        if not redirect or not target:
            return page
        link = self.link(target["n"], target["t"])
        sql = "SELECT page_id, page_is_redirect r FROM page WHERE page_namespace = ? AND CAST(page_title AS TEXT) = ?"
        if found := self.row(sql, target["n"], target["t"]):
            link |= {"page_id": found["page_id"], "is_redirect": bool(found["r"])}
        return page | {"redirect_page_link": link}

    def link(self, namespace: int, title: str) -> dict[str, Any]:
        """Where a redirect points, by title only."""
        return {"page_title": self.site.title(namespace, title), "namespace_id": namespace}

    def rev(self, revision: dict[str, Any], bits: int | None = None) -> dict[str, Any]:
        """A revision as page_change has it; hidden parts are absent."""
        bits = revision["bits"] if bits is None else bits
        entity = {
            "rev_id": revision["id"],
            "rev_dt": iso(revision["timestamp"]),
            "is_minor_edit": bool(revision["minor"]),
            "rev_sha1": revision["sha1"],
            "rev_size": revision["size"],
            **visible(bits),
            "content_slots": {slot["role"]: _slot(slot) for slot in revision["slots"]},
        }
        if revision["parent"] is not None:
            entity["rev_parent_id"] = revision["parent"]
        if not bits & COMMENT_HIDDEN:
            entity["comment"] = self.comment(revision["comment_id"])
        if not bits & USER_HIDDEN:
            entity["editor"] = self.user(revision["actor"])
        return entity

    def legacy_rev(self, revision: dict[str, Any], page: tuple[int, str, int], bits: int) -> dict[str, Any]:
        """A revision as the older streams have it."""
        namespace, title, redirect = page
        model = revision["slots"][0]["model"] if revision["slots"] else "wikitext"
        attributes = {
            "database": self.site.wiki_id,
            "page_id": revision["page_id"],
            "page_title": self.site.title(namespace, title),
            "page_namespace": namespace,
            "page_is_redirect": bool(redirect),
            "rev_id": revision["id"],
            "rev_timestamp": iso(revision["timestamp"]),
            "rev_sha1": revision["sha1"],
            "rev_minor_edit": bool(revision["minor"]),
            "rev_len": revision["size"],
            "rev_content_model": model,
        }
        attributes |= {"rev_content_format": FORMATS[model]} if model in FORMATS else {}
        attributes |= {"rev_parent_id": revision["parent"]} if revision["parent"] else {}
        comment = "" if bits & COMMENT_HIDDEN else self.comment(revision["comment_id"])
        return attributes | ({"comment": comment, "parsedcomment": html.escape(comment, quote=False)} if comment else {})


def visible(bits: int) -> dict[str, bool]:
    """page_change's form of the visibility bits."""
    return {
        "is_content_visible": not bits & TEXT_HIDDEN,
        "is_editor_visible": not bits & USER_HIDDEN,
        "is_comment_visible": not bits & COMMENT_HIDDEN,
    }


def iso(timestamp: str) -> str:
    """MediaWiki's 14 digits as ISO 8601."""
    year, rest = timestamp[:4], [timestamp[i : i + 2] for i in range(4, 14, 2)]
    return f"{year}-{rest[0]}-{rest[1]}T{rest[2]}:{rest[3]}:{rest[4]}Z"


def _slot(slot: dict[str, Any]) -> dict[str, Any]:
    entity = {
        "slot_role": slot["role"],
        "content_model": slot["model"],
        "content_sha1": slot["sha1"],
        "content_size": slot["size"],
        "origin_rev_id": slot["origin"],
    }
    return entity | ({"content_format": FORMATS[slot["model"]]} if slot["model"] in FORMATS else {})


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
