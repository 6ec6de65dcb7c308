"""What a wiki said of pages, in one part or many -> Answer; what it said of itself -> Site. Pure.

Nothing here trusts the wiki: what cannot be read as it should is left out, and the rest counts. A revision that can be told
by its id but not read has the fault ``malformed``; a page that cannot be read is not in the answer at all, so that whoever
asked for it finds it neither among the pages nor among what is missing, bad or invalid.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import unquote

from syncer.errors import WikiUnavailable
from syncer.model import MAX_ID, Answer, Licence, Page, Revision, Site, Visibility

if TYPE_CHECKING:
    from collections.abc import Iterable

MALFORMED = "malformed"
UNKNOWN_MODEL = "unknown"  # MediaWiki's own name for a content model that is not known
SHA1 = re.compile(r"[0-9a-f]{40}")
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
MOST_HOPS = 4  # of a title on the way to its canonical form: NFC, then capital and spaces

Json = dict[str, Any]


class Gathered:
    """The parts of one answer, put together by page and revision (PROTOCOL 23).

    A page listed without revisions has them in another part (PROTOCOL f). What a later part says counts: a revision bad there
    was deleted in between. Without ``texts`` these were not asked for: what may be seen of a revision is all that is read of it.
    """

    def __init__(self, *, texts: bool = True) -> None:
        self._read = _revision if texts else _seen
        self._facts: dict[int, Json] = {}
        self._revisions: dict[int, dict[int, Revision]] = {}
        self._bad: set[int] = set()
        self._missing_titles: dict[str, int] = {}
        self._missing_page_ids: set[int] = set()
        self._invalid: set[str] = set()
        self._written: dict[str, str] = {}

    def add(self, query: object) -> None:
        """Take in the ``query`` of one part."""
        if not isinstance(query, dict):
            return
        bad = query.get("badrevids")
        self._bad.update(int(key) for key in (bad if isinstance(bad, dict) else ()) if re.fullmatch(r"[0-9]{1,19}", key))
        for entry in objects(query.get("normalized")):
            name, written = entry.get("from"), entry.get("to")
            if isinstance(name, str) and isinstance(written, str):
                self._written[unquote(name) if entry.get("fromencoded") is True else name] = written
        self._invalid.update(_titles(objects(query.get("interwiki"))))
        for entry in objects(query.get("pages")):
            self._page(entry)

    def answer(self, titles: Iterable[str] = ()) -> Answer:
        """Everything so far. ``titles`` are those asked for, if any: it says which of them are invalid, or written otherwise."""
        written = {title: self._canonical(title) for title in titles}
        invalid = frozenset(title for title, name in written.items() if name in self._invalid or title in self._invalid)
        pages = (_page(facts, self._revisions.get(page_id, {}), self._bad) for page_id, facts in self._facts.items())
        return Answer(
            pages={page.page_id: page for page in pages if page},
            bad_rev_ids=frozenset(self._bad),
            missing_titles=self._missing_titles,
            missing_page_ids=frozenset(self._missing_page_ids),
            invalid_titles=invalid,
            canonical={title: name for title, name in written.items() if name != title and title not in invalid},
        )

    def _page(self, entry: Json) -> None:
        page_id, title, namespace = entry.get("pageid"), entry.get("title"), entry.get("ns")
        if _truly(entry, "special") or _truly(entry, "invalid"):
            self._invalid.update(_titles([entry]))
        elif _truly(entry, "missing"):
            if _is_number(page_id):
                self._missing_page_ids.add(page_id)
            elif isinstance(title, str) and _is_number(namespace):
                self._missing_titles[title] = namespace
        elif _is_number(page_id) and page_id > 0:
            facts: Json = {key: entry[key] for key in ("pageid", "title", "ns", "lastrevid") if key in entry}
            if "lastrevid" in entry:  # the part that has the page's info, where no flag is a statement
                facts["redirect"] = _truly(entry, "redirect")
            self._facts.setdefault(page_id, {}).update(facts)
            revisions = [read for entry in objects(entry.get("revisions")) if (read := self._read(entry))]
            self._revisions.setdefault(page_id, {}).update((revision.rev_id, revision) for revision in revisions)

    def _canonical(self, title: str) -> str:
        for _ in range(MOST_HOPS):
            title = self._written.get(title, title)
        return title


def site(wiki_id: str, document: Json) -> Site:
    """What a wiki says of itself. Raises WikiUnavailable if it does not say it in a way to be understood."""
    try:
        query = document["query"]
        return Site(
            licence=_licence(query.get("rightsinfo") or {}),
            namespaces=_namespaces(query["namespaces"], query.get("namespacealiases", [])),
            article_url=_article_url(query["general"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WikiUnavailable(f"{wiki_id}: what the wiki says of itself cannot be understood ({type(error).__name__})") from error


def _licence(rights: Json) -> Licence | None:
    url, text = _text(rights.get("url", "")), _text(rights.get("text", ""))
    return Licence(_absolute(url), text) if url or text else None


def _namespaces(namespaces: Json, aliases: list[Json]) -> dict[str, int]:
    """Every name of a namespace; where one is an alias of another, the alias gives way."""
    found: dict[str, int] = {}
    for entry in namespaces.values():
        for name in (entry["name"], entry.get("canonical", entry["name"])):
            found[_name(name)] = number(entry["id"], least=-2)
    for entry in aliases:
        found.setdefault(_name(entry["alias"]), number(entry["id"], least=-2))
    return found


def _article_url(general: Json) -> str:
    url = _absolute(_text(general["server"])) + _text(general["articlepath"])
    if "$1" not in url:
        raise ValueError
    return url


def _page(facts: Json, revisions: dict[int, Revision], bad: set[int]) -> Page | None:
    try:
        return Page(
            page_id=number(facts["pageid"]),
            title=_sound(facts["title"]),
            namespace=number(facts["ns"], least=-2),
            is_redirect=facts["redirect"],
            last_rev_id=number(facts["lastrevid"]),
            revisions={rev_id: revision for rev_id, revision in revisions.items() if rev_id not in bad},
        )
    except (KeyError, TypeError, ValueError):
        return None


def _revision(entry: Json) -> Revision | None:
    """A revision as far as it may be seen; with a fault if it cannot be read; None if it cannot even be told which it is."""
    rev_id = entry.get("revid")
    if not _is_number(rev_id) or not 0 < rev_id <= MAX_ID:
        return None
    shown = _shown(entry)
    try:
        return _read_revision(rev_id, entry, shown)
    except (KeyError, TypeError, ValueError, AttributeError):
        return Revision(
            rev_id=rev_id, rev_parent_id=0, timestamp="", size=0, content_model=UNKNOWN_MODEL, text=None, sha1=None,
            visibility=shown, fault=MALFORMED,
        )  # fmt: skip


def _seen(entry: Json) -> Revision | None:
    """A revision of which only what may be seen was asked for."""
    rev_id = entry.get("revid")
    if not _is_number(rev_id) or not 0 < rev_id <= MAX_ID:
        return None
    return Revision(
        rev_id=rev_id, rev_parent_id=0, timestamp="", size=0, content_model=UNKNOWN_MODEL, text=None, sha1=None,
        visibility=_shown(entry),
    )  # fmt: skip


def _shown(entry: Json) -> Visibility:
    """What may be seen. The flags decide, never what was sent along (PROTOCOL e), and however little else can be read."""
    places = [entry, *objects([_main(entry)])]
    return Visibility(
        text=not any(_truly(place, flag) for place in places for flag in ("texthidden", "sha1hidden")),
        user=not _truly(entry, "userhidden"),
        comment=not _truly(entry, "commenthidden"),
    )


def _main(entry: Json) -> Any:
    """The main slot. A wiki that was not asked for slots, or does not know them, has its keys in the revision itself."""
    slots = entry.get("slots", {"main": entry})
    return slots.get("main", {}) if isinstance(slots, dict) else None


def _read_revision(rev_id: int, entry: Json, shown: Visibility) -> Revision:
    slot: Json = _main(entry)
    fault = None
    if _truly(entry, "textmissing") or _truly(slot, "textmissing"):
        fault = "textmissing"
    elif _truly(entry, "slotsmissing") or _truly(slot, "missing"):
        fault = "slotsmissing"
    text = _sound(slot["content"], empty=True).encode() if shown.text and not fault else None
    sha1 = slot.get("sha1", entry.get("sha1")) if shown.text else None
    if sha1 is not None and not SHA1.fullmatch(sha1):
        raise ValueError
    if not TIMESTAMP.fullmatch(entry["timestamp"]):
        raise ValueError
    return Revision(
        rev_id=rev_id,
        rev_parent_id=number(entry.get("parentid", 0)),
        timestamp=entry["timestamp"],
        size=number(entry["size"]) if "size" in entry else len(text or b""),
        content_model=_sound(slot.get("contentmodel", UNKNOWN_MODEL)),
        text=text,
        sha1=sha1,
        minor=_truly(entry, "minor"),
        tags=tuple(_sound(tag, empty=True) for tag in _list(entry.get("tags", []))),
        editor=_sound(entry["user"], empty=True) if shown.user and "user" in entry else None,
        comment=_sound(entry["comment"], empty=True) if shown.comment and "comment" in entry else None,
        visibility=shown,
        fault=fault,
    )


def _truly(entry: Json, flag: str) -> bool:
    """Whether a flag is set: in format version 2 it is there and true, in version 1 there and empty."""
    return flag in entry and entry[flag] is not False


def objects(value: object) -> list[Json]:
    """The objects of a list; none where it is none."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _titles(entries: Iterable[Json]) -> list[str]:
    return [entry["title"] for entry in entries if isinstance(entry.get("title"), str)]


def _is_number(value: object) -> TypeGuard[int]:
    """Whether that is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: object, least: int = 0) -> int:
    """The value, which is a whole number that a store has room for. Raises ValueError."""
    if not _is_number(value) or not least <= value <= MAX_ID:
        raise ValueError
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sound(value: object, *, empty: bool = False) -> str:
    """A text that is one: with half a surrogate pair in it, it is not."""
    text = _text(value)
    text.encode()
    if not text and not empty:
        raise ValueError
    return text


def _name(name: object) -> str:
    """A namespace as it is looked up."""
    return _text(name).replace("_", " ").lower()


def _absolute(url: str) -> str:
    return f"https:{url}" if url.startswith("//") else url
