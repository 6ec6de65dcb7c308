"""From what happened in the database to the events that the real extension emits for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .entities import RESTRICTED, TEXT_HIDDEN, Entities, iso, visible

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from .entities import Site
    from .triggers import Row

PAGE_CHANGE = ("mediawiki.page_change.v1", "/mediawiki/page/change/1.11.0")
VISIBILITY = ("mediawiki.revision-visibility-change", "/mediawiki/revision/visibility-change/1.0.0")
REVISION_CREATE = ("mediawiki.revision-create", "/mediawiki/revision/create/2.0.0")
CHANGELOG_KINDS = {"create": "insert", "undelete": "insert", "delete": "delete"}  # the others are updates
MERGE_REACH = 400  # rows after a revision moved to another page during which its page's changes are the merge's

Event = dict[str, Any]


class Rules:
    """Turns rows into events, in order. What a later row of the same transaction needs is remembered until then."""

    def __init__(self, db: sqlite3.Connection, site: Site) -> None:
        self._site = site
        self._entities = Entities(db, site)
        self._added: dict[int, Row] = {}  # revision -> how it came
        self._created: set[int] = set()  # pages made, whose first revision is not yet told of
        self._restored: dict[int, int] = {}  # page -> the last revision that came back to it
        self._moving: dict[int, tuple[int, str]] = {}  # page -> where it was
        self._merged: dict[int, int] = {}  # page -> when a revision left it for another page
        self._removed: dict[int, list[Row]] = {}  # page -> its revisions that went to the archive
        self._after_redirect: list[tuple[int, Callable[[], Event]]] = []  # moves told after their redirect's creation

    def events(self, rows: Sequence[Row]) -> list[Event]:
        """The events of some rows; whole transactions only."""
        told = [event for i in range(len(rows)) for event in self._tell(rows, i)]
        told += [emit() for _, emit in self._after_redirect]
        self._after_redirect.clear()
        request_id = str(uuid.uuid4())
        for event in told:
            event["meta"]["request_id"] = request_id
        return told

    def _tell(self, rows: Sequence[Row], i: int) -> Iterator[Event]:
        row = rows[i]
        match row.kind:
            case "page_added":
                self._created.add(row["page_id"])
                self._restored.pop(row["page_id"], None)
                self._entities.pages[row["page_id"]] = (row["namespace"], row["title"], 0)
            case "revision_added":
                yield from self._revision_added(rows, i)
            case "revision_moved":
                self._merged[row["page_id"]] = row.seq
            case "revision_removed":
                self._removed.setdefault(row["page_id"], []).append(row)
            case "page_changed":
                yield from self._page_changed(rows, i)
            case "page_removed":
                yield from self._page_removed(rows, i)
            case "revision_shown_or_hidden":
                yield from self._visibility(rows, i)
            case "logged" if row["type"] in ("delete", "suppress") and row["action"] == "restore":
                yield from self._restore(row)

    def _revision_added(self, rows: Sequence[Row], i: int) -> Iterator[Event]:
        row = rows[i]
        self._added[row["rev_id"]] = row
        self._entities.bits[row["rev_id"]] = row["bits"]
        if row["restored"]:
            self._restored[row["page_id"]] = row["rev_id"]
        revision, page = self._entities.revision(row["rev_id"]), self._entities.page_now(row["page_id"])
        if revision is None or page is None:
            return
        change = _next(rows, i, 40, lambda r: r.kind == "page_changed" and r["page_id"] == row["page_id"] and _new_latest(r))
        redirect = change["redirect"] if change else page[2]
        yield self._revision_create({**revision, "page_id": row["page_id"]}, (page[0], page[1], redirect))

    def _page_changed(self, rows: Sequence[Row], i: int) -> Iterator[Event]:
        row = rows[i]
        page_id, now, before = row["page_id"], (row["namespace"], row["title"]), (row["old_namespace"], row["old_title"])
        self._entities.pages[page_id] = (*now, row["redirect"])
        if now != before:
            self._moving[page_id] = before
        if not _new_latest(row):
            return
        revision, moved_from = self._entities.revision(row["latest"]), self._moving.pop(page_id, None)
        if not self._is_restored(row):  # else the log entry of the restore wants to know
            self._created.discard(page_id)
        if revision is None:
            return
        if moved_from:
            yield from self._move(rows, i, revision, moved_from)
        elif not self._is_silent(row, revision):
            yield self._edit_or_create(row, revision)
            for waiting in [waiting for waiting in self._after_redirect if waiting[0] == page_id]:
                self._after_redirect.remove(waiting)
                yield waiting[1]()

    def _is_restored(self, row: Row) -> bool:
        added = self._added.get(row["latest"])
        return added is not None and bool(added["restored"])

    def _is_silent(self, row: Row, revision: dict[str, Any]) -> bool:
        """Whether a new latest revision is one that page_change does not tell of, or not here."""
        if self._is_restored(row):
            return True  # the log entry of the restore tells
        if row["page_id"] in self._merged and row.seq - self._merged[row["page_id"]] < MERGE_REACH:
            return True  # the redirect that a full merge leaves behind
        parent = self._entities.revision(revision["parent"]) if revision["parent"] else None
        return parent is not None and parent["sha1"] == revision["sha1"]  # a dummy revision

    def _edit_or_create(self, row: Row, revision: dict[str, Any]) -> Event:
        kind = "create" if row["old_latest"] == 0 else "edit"
        before = self._entities.revision(row["old_latest"]) if kind == "edit" else None
        page = self._entities.linked_page(row["page_id"], row["namespace"], row["title"], redirect=bool(row["redirect"]))
        prior = {"prior_state": {"revision": self._entities.rev(before)}} if before else {}
        who = {"performer": self._entities.user(revision["actor"])}
        return self._page_change(kind, iso(revision["timestamp"]), page, self._entities.rev(revision), who | prior)

    def _move(self, rows: Sequence[Row], i: int, revision: dict[str, Any], before: tuple[int, str]) -> Iterator[Event]:
        """A move; where it leaves a redirect, it is told after the redirect's creation."""
        row = rows[i]
        entry = _next(rows, i, 40, lambda r: _is_entry(r, before, ("move",)))
        left = _next(rows, i, 40, lambda r: r.kind == "page_added" and (r["namespace"], r["title"]) == before)
        page = self._entities.linked_page(row["page_id"], row["namespace"], row["title"], redirect=bool(row["redirect"]))
        old_page = {
            "page_title": self._site.title(*before),
            "namespace_id": before[0],
            "namespace_is_content": before[0] in self._site.content_namespaces,
        }
        parent = self._entities.revision(revision["parent"]) if revision["parent"] else None
        prior: Event = {"page": {name: value for name, value in old_page.items() if value != page[name]}}
        prior |= {"revision": self._entities.rev(parent)} if parent else {}
        more: Event = {"performer": self._entities.user(entry["actor"] if entry else revision["actor"])}
        more |= {"comment": self._entities.comment(entry["comment_id"]) if entry else "", "prior_state": prior}
        if left:
            more["created_redirect_page"] = {"page_id": left["page_id"], **old_page, "is_redirect": True}

        def emit() -> Event:
            return self._page_change("move", iso(revision["timestamp"]), page, self._entities.rev(revision), more)

        if left:
            self._after_redirect.append((left["page_id"], emit))
        else:
            yield emit()

    def _page_removed(self, rows: Sequence[Row], i: int) -> Iterator[Event]:
        row = rows[i]
        page_id, place = row["page_id"], (row["namespace"], row["title"])
        removed = self._removed.pop(page_id, [])
        self._created.discard(page_id)
        self._entities.pages.pop(page_id, None)
        if page_id in self._merged and not removed:
            return  # an empty page after a full merge
        deletions = ("delete", "delete_redir", "delete_redir2")
        entry = _next(rows, i, 60, lambda r: _is_entry(r, place, ("delete", "suppress")) and r["action"] in deletions)
        revision = self._entities.revision(row["latest"])
        if revision is None or entry is None:
            return
        page = self._entities.page(page_id, *place, redirect=bool(row["redirect"])) | {"revision_count": len(removed)}
        if row["redirect"] and row["target"]:
            page["redirect_page_link"] = self._entities.link(*row["target"])
        suppressed = entry["type"] == "suppress"
        then = next((r["bits"] for r in removed if r["rev_id"] == row["latest"]), revision["bits"])
        entity = self._entities.rev(revision, then)
        more: Event = {"comment": self._entities.comment(entry["comment_id"])}
        if suppressed:
            secret = ("rev_size", "rev_sha1", "comment", "editor", "content_slots")
            entity = {name: value for name, value in {**entity, **visible(15)}.items() if name not in secret}
            more |= {"prior_state": {"revision": visible(then)}}
        else:
            more |= {"performer": self._entities.user(entry["actor"])}
        yield self._page_change("delete", iso(entry["timestamp"]), page, entity, more)

    def _restore(self, row: Row) -> Iterator[Event]:
        sql = "SELECT page_id, page_is_redirect r FROM page WHERE page_namespace = ? AND CAST(page_title AS TEXT) = ?"
        found = self._entities.row(sql, row["namespace"], row["title"])
        if found is None or found["page_id"] not in self._restored:
            return
        page_id = found["page_id"]
        rev_id = self._restored.pop(page_id)
        made = page_id in self._created
        self._created.discard(page_id)
        revision = self._entities.revision(rev_id)
        if not made or revision is None:
            return  # revisions put back beneath a page that lives: silent
        page = self._entities.linked_page(page_id, row["namespace"], row["title"], redirect=bool(found["r"]))
        more = {"performer": self._entities.user(row["actor"]), "comment": self._entities.comment(row["comment_id"])}
        yield self._page_change("undelete", iso(row["timestamp"]), page, self._entities.rev(revision), more)

    def _visibility(self, rows: Sequence[Row], i: int) -> Iterator[Event]:
        row = rows[i]
        before, after = row["before"], row["after"]
        self._entities.bits[row["rev_id"]] = after
        entry = _next(rows, i, 400, lambda r: r.kind != "revision_shown_or_hidden")
        if not (entry and entry.kind == "logged" and entry["type"] in ("delete", "suppress") and entry["action"] == "revision"):
            return  # a block that hides its user: silent
        revision, page = self._entities.revision(row["rev_id"]), self._entities.page_now(row["page_id"])
        current = self._entities.row("SELECT page_latest latest FROM page WHERE page_id = ?", row["page_id"])
        if revision is None or page is None or current is None:
            return
        namespace, title, redirect = page
        secret = (before | after) & RESTRICTED
        shown = (namespace, title, 0 if after & TEXT_HIDDEN else redirect)
        yield self._event(
            VISIBILITY,
            self._site.title(namespace, title),
            {
                **self._entities.legacy_rev({**revision, "page_id": row["page_id"]}, shown, after),
                **({} if secret else {"performer": self._entities.legacy_user(entry["actor"])}),
                "visibility": _legacy_visible(after),
                "prior_state": {"visibility": _legacy_visible(before)},
            },
        )
        if current["latest"] == row["rev_id"]:
            bare = self._entities.page(row["page_id"], namespace, title, redirect=False)
            changed = {name: value for name, value in visible(before).items() if value != visible(after)[name]}
            more: Event = {"prior_state": {"revision": changed or []}}  # an empty array, as PHP writes an empty map
            more |= {} if secret else {"performer": self._entities.user(entry["actor"])}
            entity = self._entities.rev(revision, after)
            yield self._page_change("visibility_change", iso(entry["timestamp"]), bare, entity, more)

    def _revision_create(self, revision: dict[str, Any], page: tuple[int, str, int]) -> Event:
        attributes = self._entities.legacy_rev(revision, page, revision["bits"])
        if not revision["bits"] & 4:
            attributes["performer"] = self._entities.legacy_user(revision["actor"])
        attributes["dt"] = iso(revision["timestamp"])
        attributes["rev_slots"] = {
            slot["role"]: {
                "rev_slot_content_model": slot["model"],
                "rev_slot_sha1": slot["sha1"],
                "rev_slot_size": slot["size"],
                "rev_slot_origin_rev_id": slot["origin"],
            }
            for slot in revision["slots"]
        }
        if revision["parent"] and (parent := self._entities.revision(revision["parent"])):
            attributes["rev_content_changed"] = parent["sha1"] != revision["sha1"]
        return self._event(REVISION_CREATE, attributes["page_title"], attributes)

    def _page_change(self, kind: str, dt: str, page: Event, revision: Event, more: Event) -> Event:
        attributes = {
            "changelog_kind": CHANGELOG_KINDS.get(kind, "update"),
            "page_change_kind": kind,
            "dt": dt,
            "wiki_id": self._site.wiki_id,
            "page": page,
            "revision": revision,
            **more,
        }
        return self._event(PAGE_CHANGE, page["page_title"], attributes)

    def _event(self, kind: tuple[str, str], title: str, attributes: Event) -> Event:
        stream, schema = kind
        domain = urlsplit(self._site.server).hostname
        meta = {"stream": stream, "uri": self._site.uri(title), "id": str(uuid.uuid4()), "domain": domain}
        return {"$schema": schema, "meta": meta, **attributes}


def _next(rows: Sequence[Row], i: int, reach: int, wanted: Callable[[Row], bool]) -> Row | None:
    """The first of the rows after ``i`` that is wanted."""
    return next((row for row in rows[i + 1 : i + 1 + reach] if wanted(row)), None)


def _is_entry(row: Row, place: tuple[int, str], types: tuple[str, ...]) -> bool:
    """Whether a row is a log entry of one of these types about a title."""
    return row.kind == "logged" and (row["namespace"], row["title"]) == place and row["type"] in types


def _new_latest(row: Row) -> bool:
    return bool(row["latest"]) and row["old_latest"] != row["latest"]


def _legacy_visible(bits: int) -> dict[str, bool]:
    return {"text": not bits & 1, "user": not bits & 4, "comment": not bits & 2}
