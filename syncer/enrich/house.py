"""What a session of enrich has, and what has to be done from time to time whatever comes in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from syncer.enrich.catchup import changes_at, open_set_asides, set_aside_by_ingest
from syncer.enrich.outages import UNAVAILABLE
from syncer.errors import Throttled, Unusable, WikiUnavailable
from syncer.journal import Topic, partition_of
from syncer.tasks import unless

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from syncer.budget import Budget
    from syncer.enrich.heals import Heals
    from syncer.enrich.outages import Outages
    from syncer.enrich.settle import Settler
    from syncer.enrich.sites import Sites
    from syncer.journal import Journal
    from syncer.model import Change
    from syncer.reconcile import Reconcile

log = structlog.get_logger()

FLUSH_EVERY = 1.0  # seconds; what was finished without a mutation may be done again after a crash, this bounds how much
FILL_FOR = 0.3  # seconds of that, at most, in which the topic of pages is filled, where it is
HEAR_EVERY = 10.0  # seconds
RETAIN_EVERY = 600.0  # seconds


@dataclass(slots=True)
class House:
    """``work`` does things with the store, in its thread."""

    journal: Journal
    settler: Settler
    budget: Budget
    outages: Outages
    sites: Sites
    reconcile: Reconcile
    heals: Heals
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    _heard_to: int = 0  # offset after what is known of ingest's set-asides

    async def keep(self, stop: asyncio.Event) -> None:
        """Commit what was finished without a mutation; look after broken wikis and the journal's size."""
        now = asyncio.get_running_loop().time
        retain_at = hear_at = now()
        while not stop.is_set():
            await unless(stop, FLUSH_EVERY)
            await self.flush()
            for wiki_id in self.outages.due(now()):
                await self._probe(wiki_id)
            await self._learn()
            await self.heals.step()
            await self.reconcile.leave()
            if now() >= retain_at:
                retain_at = now() + RETAIN_EVERY
                await self._retain()
            elif now() >= hear_at:
                hear_at = now() + HEAR_EVERY
                await self._hear()
            await self._fill(now() + FILL_FOR)

    async def flush(self) -> None:
        """Commit what was finished without a mutation, and the pages that have changed."""
        await self.work(self.settler.flush)
        if self.settler.pages:
            await self.work(self.settler.pages.flush)

    async def _fill(self, until: float) -> None:
        """Write pages that were never looked at, up to a time of the loop's clock."""
        pages = self.settler.pages
        while pages and pages.filling and asyncio.get_running_loop().time() < until:
            await self.work(pages.fill)

    async def _probe(self, wiki_id: str) -> None:
        """Ask a wiki that is out of the way about itself; replay what was set aside if it answers, or is not wanted any more."""
        now = asyncio.get_running_loop().time
        async for changes in self._unavailable(wiki_id):
            if not self.reconcile.wants(wiki_id, changes[0].domain):
                break
            try:
                await self.sites.ask(wiki_id, changes[0].domain)
            except Throttled as error:
                self.budget.throttled(wiki_id, now(), error.after or 0.0)
                return
            except (WikiUnavailable, Unusable):
                self.outages.put_off(wiki_id, now())
                return
            break
        self.outages.answered(wiki_id)
        await self.work(lambda: None)  # whatever was being set aside is, and from here on nothing more
        replayed = 0
        async for changes in self._unavailable(wiki_id):
            await self.work(partial(self.settler.replay, changes))
            replayed += len(changes)
        log.info("a wiki is out of the way no longer", wiki=wiki_id, replayed=replayed)

    async def _unavailable(self, wiki_id: str) -> AsyncIterator[list[Change]]:
        """What stands set aside because the wiki did not answer, some at a time."""
        partition = partition_of(wiki_id, self.journal.partitions)
        entries = (await open_set_asides(self.journal, partition)).values()
        offsets = {entry.offset for entry in entries if (entry.wiki_id, entry.reason) == (wiki_id, UNAVAILABLE)}
        async for changes in changes_at(self.journal, partition, offsets):
            yield changes

    async def _retain(self) -> None:
        """Keep the journal within its bounds, and learn what stands set aside."""
        removed = await self.journal.retain(await self.work(self.settler.unfinished))
        if removed:
            log.info("the journal was cut to its retention", records=removed)
        for partition in range(self.journal.partitions):
            start, _ = await self.journal.bounds(Topic.MUTATIONS, partition)
            await self.work(partial(self.settler.store.forget, partition, start))
        _, self._heard_to = await self.journal.bounds(Topic.SET_ASIDE, self.journal.partitions)
        for partition in self.settler.progress:
            known = await self.work(partial(frozenset, self.settler.open[partition]))
            entries = await open_set_asides(self.journal, partition)
            found = {key: entry.wiki_id for key, entry in entries.items()}
            await self.work(partial(self.settler.note_open, partition, found, known))

    async def _hear(self) -> None:
        """Learn what ingest has set aside since; what a person closes is looked for less often."""
        added, self._heard_to = await set_aside_by_ingest(self.journal, self._heard_to)
        for partition in added.keys() & self.settler.progress.keys():
            await self.work(partial(self.settler.note_open, partition, added[partition]))

    async def _learn(self) -> None:
        """Learn what gaps the feed has, and which wikis have filled them."""
        await self.reconcile.learn()
        await self.work(partial(self.settler.learn, self.reconcile.gaps, self.reconcile.filled, self.reconcile.unread))
