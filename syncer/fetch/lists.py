"""What a wiki keeps of what happened, page by page of its lists: recent changes and the log (PROTOCOL 26). Pure.

A row that cannot be read, or that hides what it is about, is left out: nothing of it says what to look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from syncer.errors import WikiUnavailable
from syncer.fetch.pages import TIMESTAMP, number, objects

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]


class Span(NamedTuple):
    """From when to when, both included, in ISO 8601; recent changes of these namespaces alone, if there are any."""

    start: str
    end: str
    namespaces: tuple[int, ...] = ()


class Edited(NamedTuple):
    """A new revision, as recent changes have it. Those of a page that was deleted since are not there."""

    at: str
    page_id: int
    rev_id: int
    title: str
    namespace: int
    bot: bool


class Logged(NamedTuple):
    """An entry of the log: its ``type/action``, the titles it names with their namespaces, its own first.

    Where it is about the visibility of revisions, ``rev_ids`` are these, ``old`` and ``new`` MediaWiki's bits of what is hidden.
    """

    at: str
    log_id: int
    kind: str
    titles: tuple[tuple[str, int], ...]
    rev_ids: tuple[int, ...] = ()
    old: int = 0
    new: int = 0


class Listing(NamedTuple):
    """Rows, oldest first, and what to hand in for those that follow; None if these were the last."""

    rows: tuple[Edited | Logged, ...]
    more: str | None


LISTS: dict[
    str, tuple[str, dict[str, str], Callable[[Json], Edited | Logged]]
]  # by name: the prefix of its parameters, them, a row


def params(name: str, span: Span, more: str | None) -> dict[str, str]:
    """What to ask for a page of a list."""
    prefix, own, _ = LISTS[name]
    asked = {
        "list": name,
        f"{prefix}dir": "newer",
        f"{prefix}start": span.start,
        f"{prefix}end": span.end,
        f"{prefix}limit": "max",
    }
    if span.namespaces and name == "recentchanges":  # of the log only one could be asked for, and moves lead elsewhere
        asked["rcnamespace"] = "|".join(map(str, span.namespaces))
    return {**asked, **own, **({f"{prefix}continue": more} if more else {})}


def listing(wiki_id: str, name: str, document: Json, before: str | None) -> Listing:
    """Read a page of a list; ``before`` is what was handed in for it. Raises WikiUnavailable where there is none."""
    prefix, _, read = LISTS[name]
    query, following = document.get("query"), document.get("continue")
    rows = query.get(name) if isinstance(query, dict) else None
    more = following.get(f"{prefix}continue") if isinstance(following, dict) else None
    if not isinstance(rows, list) or (more is not None and (more == before or not isinstance(more, str))):
        raise WikiUnavailable(f"{wiki_id}: {name} cannot be understood, or has no end")
    found = []
    for row in objects(rows):
        try:
            found.append(read(row))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return Listing(tuple(found), more)


def _edited(row: Json) -> Edited:
    return Edited(
        at=_at(row), page_id=number(row["pageid"], 1), rev_id=number(row["revid"], 1), title=_title(row["title"]),
        namespace=number(row["ns"], -2), bot=row.get("bot") is True,
    )  # fmt: skip


def _logged(row: Json) -> Logged:
    details = row.get("params") or {}
    named = [(row["title"], row["ns"])]
    named += [(details[f"{name}_title"], details[f"{name}_ns"]) for name in ("target", "dest") if f"{name}_title" in details]
    titles = tuple((_title(title), number(namespace, -2)) for title, namespace in named)
    entry = Logged(_at(row), number(row["logid"], 1), f"{row['type']}/{row['action']}", titles)
    if details.get("type") != "revision":
        return entry
    rev_ids = tuple(number(int(rev_id), 1) for rev_id in details["ids"])
    return entry._replace(rev_ids=rev_ids, old=number(details["old"]["bitmask"]), new=number(details["new"]["bitmask"]))


def _at(row: Json) -> str:
    at: str = row["timestamp"]
    if not TIMESTAMP.fullmatch(at):
        raise ValueError
    return at


def _title(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    value.encode()
    return value


LISTS = {
    "recentchanges": ("rc", {"rctype": "edit|new", "rcprop": "ids|title|timestamp|flags"}, _edited),
    "logevents": ("le", {"leprop": "ids|title|type|timestamp|details"}, _logged),
}
