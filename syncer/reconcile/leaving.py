"""Which of a wiki's published pages are not wanted any more: found in the store, some at a time, in the order of their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from syncer.reconciled import ALL

if TYPE_CHECKING:
    from syncer.reconciled import Reconciled
    from syncer.store.seen import Seen

LOOKED_AT = 10_000  # pages at once: 10 ms
MOST = 1_000  # of them told at once, every second: a million in 17 minutes


class Leaving(NamedTuple):
    """Pages, by id, and after which one it goes on; None if there are no more."""

    page_ids: list[int]
    following: int | None


def not_wanted(seen: Seen, each: Reconciled) -> Leaving:
    """The next of them. Used in the store's thread."""
    rows = seen.after(each.wiki_id, each.leaving or 0, LOOKED_AT)
    found = [page_id for page_id, namespace, live in rows if live and not keeps(each, namespace)]
    if len(found) > MOST:
        return Leaving(found[:MOST], found[MOST - 1])
    return Leaving(found, rows[-1][0] if len(rows) == LOOKED_AT else None)


def keeps(each: Reconciled, namespace: int) -> bool:
    """Whether pages of a namespace are wanted."""
    return each.scope == ALL or namespace in (each.scope or ())
