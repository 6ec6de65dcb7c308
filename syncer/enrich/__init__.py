r"""The second stage: changes -> mutations. This module composes it; nothing else does.

    changes ──► take in ──► queue of the wiki ──► ask ──────────► settle ──────────► mutations   \
    (journal)      │              ▲             (budget, API)   (decide, compose,     set-aside    } one transaction
                   │              └── later ◄──────────────────   fold, prove)        progress     |
                   └─ skipped, merged: no request                                     watermarks  /

One wiki has one batch in work at a time: what is published of it follows the order of its answers. The budget says whose turn
it is. A wiki that does not answer waits; one that stays broken is taken out of the way: its changes are set aside, and replayed
when a probe succeeds. While nothing that waits is worth a request, what nobody told of is looked for (:mod:`syncer.reconcile`).
After a commit that failed, or of which nobody knows, everything starts over from what is committed.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from syncer import reconcile
from syncer.budget import Budget, Pace
from syncer.clock import now_iso
from syncer.decide import Context
from syncer.enrich import batch
from syncer.enrich.catchup import catch_up, load_progress, open_set_asides
from syncer.enrich.heals import Heals
from syncer.enrich.house import House
from syncer.enrich.inwork import InWork
from syncer.enrich.manifests import Manifests
from syncer.enrich.outages import UNAVAILABLE, Outages
from syncer.enrich.pages import Pages, withdraw
from syncer.enrich.session import PAUSED, Session
from syncer.enrich.settle import Settler
from syncer.enrich.sites import Sites
from syncer.enrich.watch import Watch
from syncer.enrich.watermarks import said_before
from syncer.errors import JournalUnavailable, OutcomeUnknown
from syncer.feed import Scope
from syncer.fetch.verdict import LONGEST_PAUSE
from syncer.journal import WHOLE, Record, Topic
from syncer.progress import PROGRESS_KEY
from syncer.tasks import unless
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from syncer.config import Settings
    from syncer.journal import Journal, Owner, Shard
    from syncer.signing import Signer
    from syncer.store import Store

T = TypeVar("T")
log = structlog.get_logger()


class Api(batch.Api, reconcile.Api, Protocol):
    """What is asked of the wikis, for changes and to find what nobody told of."""


KNOWN = "known"  # the store's note that its generation is committed


class Enrich:
    """Owns partitions of ``changes`` and writes their mutations; a ``shard`` has its share of the budget, too.

    ``turn`` is awaited before every single request (law 8): hand it to the API client, then set ``api``, then ``run``. Manifests
    are made where there is a ``signer`` by then.
    """

    api: Api
    signer: Signer | None = None

    def __init__(self, journal: Journal, store: Store, settings: Settings, in_work: Path, shard: Shard = WHOLE) -> None:
        self.watch, self._shard = Watch(), shard
        self._journal, self._store, self._settings = journal, store, settings
        self._thread = ThreadPoolExecutor(1, "enrich")
        self._pace = Pace(settings.api.requests_per_minute / shard.of, asyncio.get_running_loop().time())
        self._turn = asyncio.Lock()
        self._in_work = InWork(in_work)
        self._trouble = Trouble("enrich, which starts over")
        self._owner: Owner | None = None
        self._session: Session | None = None

    async def turn(self, _wiki_id: str) -> None:
        """Wait until the next request may start, and book it. Raises Superseded where another process is the owner (law 10)."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            while (wait := self._pace.next_start(loop.time()) - loop.time()) > 0:  # noqa: ASYNC110 - a 429 may prolong it
                await asyncio.sleep(wait)
            if self._owner:
                await self._owner.assured()  # last of all: a process that is suspended is so while it waits, most likely
            self._pace.start(loop.time())

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish what is in work. When it has ended, however it did, nobody uses the store any more."""
        try:
            await self._run(stop)
        finally:
            await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    async def follow(self) -> None:
        """Bring the store up to what is committed, without owning anything: a standby's is warm when it takes over."""
        partitions = self._shard.partitions(self._journal.partitions)
        await catch_up(self._journal, self._store, partitions, self._work, fresh=await self._work(self._is_fresh))

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self._session = await self._open()
                await self._session.run(stop)
            except (JournalUnavailable, OutcomeUnknown) as error:
                self._session = None
                await unless(stop, self._trouble.failed(error))

    @property
    def working(self) -> bool:
        """Whether the store has caught up and changes are taken in: not while it starts, or starts over."""
        return self._session is not None

    @property
    def wikis_out(self) -> frozenset[str]:
        """The wikis that were taken out of the way."""
        return self._session.house.outages.out if self._session else frozenset()

    def overdue(self) -> float:
        """For how many seconds a wiki has waited to be reconciled since that was due, at most."""
        return self._session.house.reconcile.overdue(self.wikis_out) if self._session else 0.0

    def queued(self) -> int:
        """How many changes are taken in and not finished."""
        return sum(len(queue) for queue in self._session.queues.values()) if self._session else 0

    def status(self) -> dict[str, object]:
        """What is queued and in flight, for whom, and where gaps are being filled.

        ``idle`` when there is nothing, and nothing more in the journal.
        """
        session = self._session
        if session is None:
            return {"idle": False, "queued": 0, "in_flight": 0, "wikis_waiting": {}, "wikis_out": [], "filling": {}}
        waiting = {queue.wiki_id: len(queue) for queue in session.queues.values() if len(queue)}
        filling = session.house.reconcile.filling(self.wikis_out)
        return {
            "idle": session.caught_up and not waiting and not filling,
            "queued": self.queued(),
            "in_flight": sum(queue.in_work for queue in session.queues.values()),
            "wikis_waiting": waiting,
            "wikis_out": sorted(self.wikis_out),
            "filling": filling,
        }

    async def _open(self) -> Session:
        """Read what is committed, bring the store up to it, and only then begin to work."""
        loop = asyncio.get_running_loop()
        partitions = self._shard.partitions(self._journal.partitions)
        owner = self._owner = await self._journal.own(self._shard.owner, partitions)
        fresh = await self._work(self._is_fresh)
        if paused := await self._work(partial(self._store.meta, PAUSED)):
            self._pace.pause(loop.time() + min(float(paused) - time.time(), LONGEST_PAUSE))
        progress, generation = await load_progress(self._journal, partitions, fresh=fresh)
        if folded := await catch_up(self._journal, self._store, partitions, self._work, fresh=fresh):
            log.info("the store has caught up", mutations=folded)
        if fresh:  # the new generation is committed before the store counts as known
            await owner.append([Record(Topic.PROGRESS, part, PROGRESS_KEY, each.encode()) for part, each in progress.items()])
            await self._work(partial(self._store.remember, KNOWN, "yes"))
        for partition, each in progress.items():
            self._in_work.forget_before(partition, each.lowest_unfinished)
        asides = {partition: await open_set_asides(self._journal, partition) for partition in partitions}
        keys = {part: {key: entry.wiki_id for key, entry in found.items() if entry.wiki_id} for part, found in asides.items()}
        outages = Outages(self._settings.enrich)
        for entry in (entry for entries in asides.values() for entry in entries.values()):
            if entry.reason == UNAVAILABLE:
                outages.take_out(entry.wiki_id, loop.time())

        async def commit(records: Sequence[Record]) -> Sequence[int]:
            offsets = await owner.append(records)
            self._trouble.over()
            return offsets

        def append(records: Sequence[Record]) -> Sequence[int]:
            return asyncio.run_coroutine_threadsafe(commit(records), loop).result()

        context, told = _context(self._settings, lambda: time.time() - self.api.ahead), self.watch.done
        every, rewrites, clean = self._journal.partitions, self._journal.rewrites, lambda: self._journal.clean
        settler = await self._work(
            lambda: Settler(self._store, append, context, now_iso, told, progress, keys, generation, every, rewrites, clean)
        )
        budget = Budget(self._pace, concurrency=self._settings.api.concurrency)
        sites = Sites(self._store, self.api, self._work)
        lost = reconcile.Reconcile(self._settings, self._journal, self._store, self.api, append, self._work)
        await lost.load(partitions)
        heals = Heals(self._settings.heal, self._journal, self._store, append, self._work)
        await heals.load(partitions)
        house = House(self._journal, settler, budget, outages, sites, lost, heals, self._work)
        settler.watermarks.begin(await said_before(self._journal, partitions), lost.wanted)
        settler.pages = await self._pages(partitions, append)
        manifests = Manifests(self._journal, settler, self.signer, self._work) if self.signer else None
        if manifests:
            await manifests.load(partitions)
        return Session(self._settings.enrich, house, self.api, self._in_work, manifests)

    async def _pages(self, partitions: Iterable[int], append: Callable[[Sequence[Record]], Sequence[int]]) -> Pages | None:
        """The topic of pages, brought up to date; where it is not kept, what there was is taken back if that can be."""
        if not self._settings.publish.pages:
            if self._journal.rewrites:
                await withdraw(self._journal, partitions, append, self._work)
            return None
        pages = Pages(self._journal, self._store, append, self._work)
        await pages.load(partitions)
        return pages

    def _is_fresh(self) -> bool:
        """Whether the store never was an owner's, so that what it once published may be unknown to it."""
        self._store.bind(self._journal.identity)
        return self._store.meta(KNOWN) is None

    async def _work(self, work: Callable[[], T]) -> T:
        """Do something with the store, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _context(settings: Settings, now: Callable[[], float]) -> Callable[[], Context]:
    scope = settings.wiki.namespaces
    namespaces = None if "*" in scope else frozenset(number for number in scope if isinstance(number, int))
    parents, young, wikis = settings.enrich.first_sight == "parent", settings.api.young, Scope(settings.wiki)
    return lambda: Context(namespaces, parents, young, now(), wikis)
