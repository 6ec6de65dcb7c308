"""Checks what a hub published against DESIGN's laws, from the outside: shares no code with the package.

Input is what `journal read mutations --json` prints: `partition, offset, key, headers, value` of every committed record. The
checker applies them as a partner's first afternoon of code would, and notes every law that a record breaks.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Record = dict[str, Any]
PageKey = tuple[str, int]
NO_HASH = 40 * "0"  # where one was erased
SHOWN = {"text": True, "user": True, "comment": True}


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that a record breaks: ``law`` is DESIGN's number or a word, ``where`` the record's ce_id or what else there is."""

    law: str
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page as the records so far say. ``text`` is None where it is hidden, or not known because a record was erased.

    ``was`` is the title under which it was deleted. All deletions without a page id are those of page 0.
    """

    seq: int
    live: bool
    title: str | None = None
    namespace: int = 0
    is_redirect: bool = False
    revision: dict[str, Any] = field(default_factory=dict)
    attribution: dict[str, Any] | None = None
    text: bytes | None = None
    was: str | None = None


class Checker:
    """Reads records in order; ``violations`` and ``pages`` are what it found.

    ``hidden`` is the ledger of revisions with hidden parts as it was told, ``with_text`` has the ce_ids of the records that hold
    text of a revision; both by wiki and revision.
    """

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.pages: dict[PageKey, Page] = {}
        self._holders: dict[tuple[str, str], PageKey] = {}
        self._ids: set[str] = set()
        self._offsets: dict[int, int] = {}
        self._partitions: dict[str, int] = {}
        self.hidden: dict[tuple[str, int], dict[str, bool]] = {}
        self._published: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self.with_text: dict[tuple[str, int], list[str]] = {}
        self._held: dict[PageKey, list[tuple[int, str, set[str]]]] = {}  # revision, ce_id, and what the record holds of it
        self._left: list[str] = []  # records that hold something of a page that was deleted since

    def read(self, records: Iterable[Record]) -> None:
        """Apply and check some records, in the order of `journal read`."""
        for record in records:
            self._read(record)

    def finish(self) -> list[Violation]:
        """Check what only the end can tell, and return everything found."""
        for key, page in self.pages.items():
            if page.live and page.title is None:
                self._note("titles", f"{key[0]}:{key[1]}", "lost its title to another page, and nothing came of it")
            if page.live and page.text is None and page.revision["visibility"]["text"]:
                self._note("5", f"{key[0]}:{key[1]}", "a reader from the start does not get its text")
        return self.violations

    def not_erased(self) -> list[Violation]:
        """Which records still hold what is hidden, or something of a page from before its deletion: none in a journal that is
        rewritten in place.
        """
        hidden = [
            Violation("6", ce_id, f"still holds the {part} of a hidden revision")
            for (wiki, _), records in self._held.items()
            for rev_id, ce_id, parts in records
            for part in sorted(parts)
            if not self.hidden.get((wiki, rev_id), SHOWN)[part]
        ]
        return [*hidden, *(Violation("6", ce_id, "still holds something of a deleted page") for ce_id in self._left)]

    def exported(self) -> list[dict[str, Any]]:
        """The pages in the form of `mirror export`."""
        names = ("rev_id", "timestamp", "sha1", "content_model")
        return [
            {
                "page_id": page_id,
                "title": page.title,
                "namespace": page.namespace,
                "is_redirect": page.is_redirect,
                **{name: page.revision[name] for name in names},
                "text": None if page.text is None else page.text.decode(),
            }
            for (_, page_id), page in self.pages.items()
            if page.live
        ]

    def _note(self, law: str, where: str, what: str) -> None:
        self.violations.append(Violation(law, where, what))

    def _read(self, record: Record) -> None:
        value, where = record["value"], record["headers"].get("ce_id", f"{record['partition']}/{record['offset']}")
        for what in _envelope(record):
            self._note("wire", where, what)
        if where in self._ids:
            self._note("4", where, "was published before")
        self._ids.add(where)
        if record["offset"] <= self._offsets.get(record["partition"], -1):
            self._note("order", where, "an offset does not rise")
        self._offsets[record["partition"]] = record["offset"]
        if self._partitions.setdefault(value["wiki_id"], record["partition"]) != record["partition"]:
            self._note("order", where, "a wiki lies in two partitions")

        key = (value["wiki_id"], value["page"]["page_id"] or 0)
        before = self.pages.get(key)
        for what in _chain(value, before):
            self._note("2", where, what)
        after = self._apply(value, before, where)
        if not self._changes_anything(value, before, after):
            self._note("4", where, "changes nothing")
        self._check_privacy(value, record, where)
        if value["page"]["page_id"] is None:  # a deletion that nobody could name by page id is that of who holds the title
            holder = self._holders.get((value["wiki_id"], value["page"]["title"]))
            if holder:
                self._put(holder, replace(self.pages[holder], live=False, title=None))
        self._put(key, after)

    def _apply(self, value: Record, before: Page | None, where: str) -> Page:
        """The page after a record; hashes that do not fit are noted."""
        page = value["page"]
        if value["kind"] == "delete":
            return Page(seq=value["seq"], live=False, was=page["title"])
        text = None if before is None else before.text
        try:
            if value.get("erased"):
                text = None
            elif value["kind"] == "snapshot":
                text = None if value["text"] is None else value["text"].encode()
            elif value["kind"] == "patch" and text is not None:
                text = splice(text, value["patch"]["ops"])
            elif value["kind"] == "redact" and value["revision"]["sha1"] is None:
                text = None
        except (UnicodeDecodeError, IndexError) as error:
            self._note("1", where, f"the patch does not apply: {error}")
            text = None
        if text is not None and _sha1(text) != value["revision"]["sha1"]:
            self._note("1", where, "the text has not the announced hash")
        for what in _sections(value, None if before is None else before.text, text):
            self._note("sections", where, what)
        return Page(
            seq=value["seq"],
            live=True,
            title=page["title"],
            namespace=page["namespace"],
            is_redirect=page["is_redirect"],
            revision=value["revision"],
            attribution=value.get("attribution"),
            text=text,
        )

    def _check_privacy(self, value: Record, record: Record, where: str) -> None:
        """Law 6 on the wire: the ledger of what is hidden, the recalls, and what a record may hold."""
        wiki, revision = value["wiki_id"], value["revision"]
        for entry in value.get("redacted", ()):
            key = (wiki, entry["rev_id"])
            self.hidden[key] = entry["visibility"]
            recalled = {(place["partition"], place["offset"]) for place in entry["recall"]}
            if missing := set(self._published.get(key, ())) - recalled:
                self._note("6", where, f"does not recall {sorted(missing)}, which hold revision {entry['rev_id']}")
        page = (wiki, value["page"]["page_id"] or 0)
        self._note_base(value, record, where)
        if revision is None:
            self._left += [ce_id for _, ce_id, _ in self._held.pop(page, ())]
            return
        key = (wiki, revision["rev_id"])
        seen = self.hidden.get(key, SHOWN)
        attribution = value.get("attribution") or {}
        holds_text = any(value.get(name) for name in ("text", "patch", "sections"))
        shows = {"text": revision["sha1"] is not None, "user": attribution.get("editor"), "comment": attribution.get("comment")}
        for part, shown in shows.items():
            if shown and not revision["visibility"][part]:
                self._note("6", where, f"shows the {part} that it says is hidden")
            if shown and not seen[part] and not value.get("erased"):
                self._note("6", where, f"shows the {part} of a revision that was hidden before")
        hashed = revision["sha1"] not in (None, NO_HASH) or value.get("upstream_sha1")
        holds = {"text": holds_text or hashed, "user": attribution.get("editor"), "comment": attribution.get("comment")}
        if parts := {part for part, held in holds.items() if held}:
            self._held.setdefault(page, []).append((revision["rev_id"], where, parts))
        if holds_text:
            self.with_text.setdefault(key, []).append(where)
        if holds_text or any(shows.values()):
            self._published.setdefault(key, []).append((record["partition"], record["offset"]))

    def _note_base(self, value: Record, record: Record, where: str) -> None:
        """A base's hash confirms what somebody guesses."""
        base = value.get("base")
        if base and base["sha1"] != NO_HASH:
            self._held.setdefault((value["wiki_id"], value["page"]["page_id"]), []).append((base["rev_id"], where, {"text"}))
            self._published.setdefault((value["wiki_id"], base["rev_id"]), []).append((record["partition"], record["offset"]))

    def _changes_anything(self, value: Record, before: Page | None, after: Page) -> bool:
        if value["cause"] == "repair" or value.get("erased") or before is None:
            return True
        seen = {(value["wiki_id"], entry["rev_id"]): entry["visibility"] for entry in value.get("redacted", ())}
        return replace(before, seq=0) != replace(after, seq=0) or any(self.hidden.get(r, SHOWN) != v for r, v in seen.items())

    def _put(self, key: PageKey, page: Page) -> None:
        """A title has one holder: the page that came to it last."""
        before = self.pages.get(key)
        if before and before.title is not None and self._holders.get((key[0], before.title)) == key:
            del self._holders[key[0], before.title]
        self.pages[key] = page
        if page.title is None:
            return
        loser = self._holders.get((key[0], page.title))
        if loser is not None:
            self.pages[loser] = replace(self.pages[loser], title=None)
        self._holders[key[0], page.title] = key


def splice(base: bytes, ops: list[list[Any]]) -> bytes:
    """``splice/1`` in five lines. Raises IndexError where the operations do not fit the base, UnicodeDecodeError if they cut."""
    out, at = [], 0
    for offset, delete, insert in ops:
        if not at <= offset <= offset + delete <= len(base):
            raise IndexError(f"{offset}+{delete} after {at} of {len(base)}")
        out += [base[at:offset], insert.encode()]
        at = offset + delete
    result = b"".join([*out, base[at:]])
    result.decode()
    return result


def check_counts(status: dict[str, Any]) -> list[Violation]:
    """Law 3, from `status --json`: every change that was appended has one outcome or is still queued."""
    outcomes = status["outcomes"]
    by_reason = sum(sum(outcomes[name].values()) for name in ("skipped", "set_aside"))
    done = outcomes["published"] + outcomes["merged"] + by_reason
    if status["appended"] == done + status["queued"]:
        return []
    return [Violation("3", "status", f"{status['appended']} appended, {done} done and {status['queued']} queued")]


def parse(lines: str) -> list[Record]:
    """The records that `journal read --json` printed."""
    return [json.loads(line) for line in lines.split("\n") if line]


def _envelope(record: Record) -> Iterable[str]:
    """What key and headers say must be what the value says (DESIGN 6)."""
    value, headers = record["value"], record["headers"]
    page = value["page"]
    key = f"{value['wiki_id']}:{page['page_id'] or 0}"
    expected = {
        "ce_id": f"{key}:{value['seq']}",
        "ce_subject": key,
        "ce_specversion": "1.0",
        "ce_time": value["published_at"],
        "content-type": "application/json",
        "wiki": value["wiki_id"],
        "namespace": str(page["namespace"]),
        "kind": value["kind"],
    }
    if "namespace" in value.get("prior", {}):
        expected["prior_namespace"] = str(value["prior"]["namespace"])
    if record["key"] != key:
        yield f"the key is {record['key']}"
    for name, wanted in expected.items():
        if headers.get(name) != wanted:
            yield f"header {name} is {headers.get(name)!r}, not {wanted!r}"
    if "prior_namespace" in headers and "prior_namespace" not in expected:
        yield "a prior_namespace that the value does not have"
    if value["schema"].split(".")[0] != "page-mutation/1":
        yield f"schema {value['schema']}"
    if value["kind"] not in ("patch", "snapshot", "delete", "redact"):
        yield f"kind {value['kind']}"


def _chain(value: Record, before: Page | None) -> Iterable[str]:
    """Law 2: how a record goes on from the page's previous one."""
    kind, jumps = value["kind"], value["kind"] == "snapshot" and value["gap"]
    if before is None:
        if not jumps and kind != "delete":  # who began with a dump knows pages that the journal does not
            yield f"begins with a {kind}"
        return
    if value["seq"] <= before.seq or (value["seq"] != before.seq + 1 and not jumps):
        yield f"seq {value['seq']} after {before.seq}"
    if before.live and kind != "delete":
        yield from _prior(value, before)
        if not jumps:
            yield from _builds_on(value, before)
    elif (
        not before.live and not jumps and value["page"]["page_id"] is not None and (kind, value["cause"]) != ("delete", "repair")
    ):
        yield f"goes on after its deletion with a {kind}"


def _builds_on(value: Record, before: Page) -> Iterable[str]:
    """What a record that is no gap must have in common with the page's previous one."""
    kind, stated = value["kind"], {"rev_id": before.revision["rev_id"], "sha1": before.revision["sha1"]}
    if value["page"]["namespace"] != before.namespace:
        yield f"changes its namespace by a {kind}"
    base = value.get("base", stated)
    if base["rev_id"] != stated["rev_id"] or base["sha1"] not in (stated["sha1"], NO_HASH):
        yield f"builds on {base}, the page is at {stated}"
    if kind == "patch" and "base" not in value:
        yield "a patch without a base"
    if kind == "redact" and value["revision"]["rev_id"] != stated["rev_id"]:
        yield "a redaction with another revision"


def _prior(value: Record, before: Page) -> Iterable[str]:
    """What of the page's place changed is told as ``prior``, and nothing else; a title lost to another page is no longer had."""
    prior, page = value.get("prior", {}), value["page"]
    for name, old in (("title", before.title), ("namespace", before.namespace)):
        if old is not None and prior.get(name) != (old if old != page[name] else None):
            yield f"{name} was {old!r} and is {page[name]!r}, prior says {prior.get(name)!r}"


def _sections(value: Record, old: bytes | None, new: bytes | None) -> Iterable[str]:
    """The hashes of sections are those of the bytes they name: of the new text, or of the old one where removed."""
    for section in value.get("sections", ()):
        text, digest = (old, section["before_sha1"]) if section["change"] == "removed" else (new, section["after_sha1"])
        start, end = section["range"]
        if text is not None and not (value["gap"] and section["change"] == "removed") and _sha1(text[start:end]) != digest:
            yield f"section {section['path']} has another hash"


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
