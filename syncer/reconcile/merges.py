"""Merges of histories that the log names and nothing came of: in a journal that is rewritten, a merge erases something even where
no page looks different for it (see ``syncer/enrich/erasing.py``).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from syncer.errors import ResumeLost
from syncer.fetch import Logged
from syncer.journal import Topic, partition_of
from syncer.model import HEAL, REPAIR, Cause
from syncer.wire import decode_mutation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from syncer.fetch import Edited
    from syncer.journal import Journal
    from syncer.model import Change
    from syncer.reconcile.compare import Compare


async def unheard(
    rows: Sequence[Edited | Logged], compare: Compare, journal: Journal, work: Callable[[Callable[[], Any]], Awaitable[Any]]
) -> list[Change]:
    """The merges among the rows, as their events would tell of them, if nothing was published for them yet."""
    if not journal.rewrites:
        return []
    found = []
    for row in rows:
        if isinstance(row, Logged) and row.kind.startswith("merge/"):
            title, _ = row.titles[0]
            page = await work(partial(compare.store.page_at, compare.wiki_id, title))
            if page and not await _came_of_it(row, page.page_id, compare, journal, work):
                found.append(replace(compare.entry(row), cause=Cause.MERGE, titles=tuple(name for name, _ in row.titles)))
    return found


async def _came_of_it(
    row: Logged, page_id: int, compare: Compare, journal: Journal, work: Callable[[Callable[[], Any]], Awaitable[Any]]
) -> bool:
    """Whether the last record that says all of a page is what a merge makes of it, or what it left behind, since then."""
    whole_at = await work(partial(compare.store.whole_at, compare.wiki_id, page_id))
    try:
        records = await journal.read(Topic.MUTATIONS, partition_of(compare.wiki_id, journal.partitions), whole_at or 0, limit=1)
    except ResumeLost:
        return False  # retention has cut it
    if not records or records[0].offset != whole_at:
        return False
    told = decode_mutation(records[0].value)
    by_itself = told.cause in {Cause.MERGE, Cause.REPAIR} and told.source.stream not in {HEAL, REPAIR}
    return by_itself and told.source.event_time[:19] >= row.at[:19]  # to the second, which is what wikis count in
