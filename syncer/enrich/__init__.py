r"""The second stage: changes -> mutations. This module composes it; nothing else does.

    changes ──► take in ──► queue of the wiki ──► ask ──────────► settle ──────────► mutations   \
    (journal)      │              ▲             (budget, API)   (decide, compose,     set-aside    } one transaction
                   │              └── later ◄──────────────────   fold, prove)        progress     |
                   └─ skipped, merged: no request                                     watermarks  /

One wiki has one batch in work at a time: what is published of it follows the order of its answers. The budget says whose turn
it is. A wiki that does not answer waits; one that stays broken is taken out of the way: its changes are set aside, and replayed
when a probe succeeds. After a commit that failed, or of which nobody knows, everything starts over from what is committed.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from syncer.budget import Budget, Pace
from syncer.clock import now_iso
from syncer.decide import Context
from syncer.enrich.batch import Api, Batch
from syncer.enrich.catchup import catch_up, changes_at, load_progress, open_set_asides
from syncer.enrich.inwork import POISON_AFTER, InWork
from syncer.enrich.outages import Outages
from syncer.enrich.queues import Item, WikiQueue
from syncer.enrich.settle import Settler
from syncer.enrich.sites import Sites
from syncer.enrich.watch import Watch
from syncer.errors import JournalUnavailable, OutcomeUnknown, Throttled, Unusable, WikiUnavailable
from syncer.journal import POSITION_KEY, Record, Topic, latest, partition_of
from syncer.progress import PROGRESS_KEY
from syncer.records import decode_resume
from syncer.tasks import together, unless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from syncer.config import Settings
    from syncer.journal import Journal
    from syncer.store import Store

T = TypeVar("T")
log = structlog.get_logger()

READ_AT_ONCE = 500  # changes of a partition: half a MiB
FLUSH_EVERY = 1.0  # seconds; what was finished without a mutation may be done again after a crash, this bounds how much
RETAIN_EVERY = 600.0  # seconds
RESTART, RESTART_LIMIT = 1.0, 30.0  # seconds before starting over: 1, 2, 4 ... 30
LASTED = 60.0  # seconds of work after which it was no use to start over is forgotten
UNAVAILABLE = "wiki_unavailable"  # the reason of what is set aside while a wiki is out of the way


class Enrich:
    """Owns partitions of ``changes`` and writes their mutations.

    ``turn`` is awaited before every single request (law 8): hand it to the API client, then set ``api``, then ``run``.
    """

    api: Api

    def __init__(self, journal: Journal, store: Store, settings: Settings, in_work: Path) -> None:
        self.watch = Watch()
        self._journal, self._store, self._settings = journal, store, settings
        self._thread = ThreadPoolExecutor(1, "enrich")
        self._pace = Pace(settings.api.requests_per_minute, asyncio.get_running_loop().time())
        self._turn = asyncio.Lock()
        self._in_work = InWork(in_work)
        self._session: _Session | None = None

    async def turn(self, _wiki_id: str) -> None:
        """Wait until the next request may start, and book it."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            while (wait := self._pace.next_start(loop.time()) - loop.time()) > 0:  # noqa: ASYNC110 - a 429 may prolong it
                await asyncio.sleep(wait)
            self._pace.start(loop.time())

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish what is in work."""
        pause, now = RESTART, asyncio.get_running_loop().time
        while not stop.is_set():
            began = now()
            try:
                self._session = await self._open()
                await self._session.run(stop)
            except (JournalUnavailable, OutcomeUnknown) as error:
                pause = RESTART if now() - began > LASTED else min(2 * pause, RESTART_LIMIT)
                log.warning("enrich starts over", why=str(error), hint=error.hint, seconds=error.after or pause)
                await unless(stop, error.after or pause)

    @property
    def wikis_out(self) -> frozenset[str]:
        """The wikis that were taken out of the way."""
        return self._session.outages.out if self._session else frozenset()

    def queued(self) -> int:
        """How many changes are taken in and not finished."""
        return sum(len(queue) for queue in self._session.queues.values()) if self._session else 0

    def status(self) -> dict[str, object]:
        """What is queued and in flight, for whom; ``idle`` when there is nothing, and nothing more in the journal."""
        session = self._session
        if session is None:
            return {"idle": False, "queued": 0, "in_flight": 0, "wikis_waiting": {}, "wikis_out": []}
        waiting = {queue.wiki_id: len(queue) for queue in session.queues.values() if len(queue)}
        return {
            "idle": session.caught_up and not waiting,
            "queued": self.queued(),
            "in_flight": sum(queue.in_work for queue in session.queues.values()),
            "wikis_waiting": waiting,
            "wikis_out": sorted(self.wikis_out),
        }

    async def _open(self) -> _Session:
        """Read what is committed, bring the store up to it, and only then begin to work."""
        loop = asyncio.get_running_loop()
        owner = await self._journal.own("enrich-0")
        partitions = range(self._journal.partitions)
        fresh = await self._work(lambda: self._store.meta("journal") is None)
        if not fresh:
            await self._work(self._bind)
        progress, generation = await load_progress(self._journal, partitions, fresh=fresh)
        await catch_up(self._journal, self._store, partitions, self._work, fresh=fresh)
        if fresh:  # the new generation is committed before the store counts as known
            await owner.append([Record(Topic.PROGRESS, part, PROGRESS_KEY, each.encode()) for part, each in progress.items()])
            await self._work(self._bind)
        for partition, each in progress.items():
            self._in_work.forget_before(partition, each.lowest_unfinished)
        asides = {partition: await open_set_asides(self._journal, partition) for partition in partitions}
        keys = {part: {key: entry.wiki_id for key, entry in found.items() if entry.wiki_id} for part, found in asides.items()}
        outages = Outages(self._settings.enrich)
        for entry in (entry for entries in asides.values() for entry in entries.values()):
            if entry.reason == UNAVAILABLE:
                outages.take_out(entry.wiki_id, loop.time())

        def append(records: Sequence[Record]) -> Sequence[int]:
            return asyncio.run_coroutine_threadsafe(owner.append(records), loop).result()

        context, told = _context(self._settings), self.watch.done
        settler = await self._work(lambda: Settler(self._store, append, context, now_iso, told, progress, keys, generation))
        budget = Budget(self._pace, concurrency=self._settings.api.concurrency)
        sites = Sites(self._store, self._work)
        return _Session(self, self._journal, self._settings, settler, budget, outages, sites)

    def _bind(self) -> None:
        self._store.bind(self._journal.identity)

    async def _work(self, work: Callable[[], T]) -> T:
        """Do something with the store, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass(slots=True)
class _Session:
    """From one reading of what is committed to the next."""

    enrich: Enrich
    journal: Journal
    settings: Settings
    settler: Settler
    budget: Budget
    outages: Outages
    sites: Sites
    queues: dict[str, WikiQueue] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    caught_up: bool = False

    async def run(self, stop: asyncio.Event) -> None:
        await together(self._take_in(stop), self._dispatch(stop), self._keep_house(stop))
        await self._work(self.settler.flush)

    async def _work(self, work: Callable[[], T]) -> T:
        return await self.enrich._work(work)  # noqa: SLF001 - a session is a part of its stage

    async def _take_in(self, stop: asyncio.Event) -> None:
        """Read what was appended, partition by partition, as long as not too much of one is unfinished."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            found = False
            for partition, progress in self.settler.progress.items():
                if progress.unfinished >= self.settings.enrich.unfinished_limit:
                    continue
                records = await self.journal.read(Topic.CHANGES, partition, progress.read_to, limit=READ_AT_ONCE)
                if records:
                    found = True
                    await self._enqueue(await self._work(partial(self.settler.take_in, partition, records, loop.time())))
            self.caught_up = not found
            self.woken.set()
            if not found:
                await self.journal.wait(1.0)

    async def _enqueue(self, items: Sequence[Item]) -> None:
        out: list[Item] = []
        for item in items:
            change = item.change
            deaths = self.enrich._in_work.deaths(item.partition, item.offset)  # noqa: SLF001 - as above
            item.alone = deaths > 0
            if deaths >= POISON_AFTER:
                await self._aside([item], "poison", f"the process died {deaths} times with this change in work")
            elif change.wiki_id in self.outages.out:
                out.append(item)
            else:
                queue = self.queues.get(change.wiki_id)
                if queue is None:
                    queue = self.queues[change.wiki_id] = WikiQueue(change.wiki_id, change.domain)
                queue.add(item)
                self._tell(queue)
        if out:
            await self._work(partial(self.settler.set_aside, out, UNAVAILABLE, "the wiki has not answered for some time"))

    def _tell(self, queue: WikiQueue) -> None:
        self.budget.queued(queue.wiki_id, queue.values, queue.oldest if queue.waiting else 0.0)

    async def _dispatch(self, stop: asyncio.Event) -> None:
        """Ask the wiki whose turn it is, as many at a time as the settings allow; at the end wait for what is in work."""
        now = asyncio.get_running_loop().time
        running: set[asyncio.Task[None]] = set()
        try:
            while not stop.is_set():
                for task in [task for task in running if task.done()]:
                    running.discard(task)
                    task.result()
                self.woken.clear()
                due = self._fall_due(now())
                wiki_id = self.budget.choose(now())
                if wiki_id is None:
                    wait = min(self.budget.wake_at(now()), due, now() + 1.0) - now()
                    await unless(self.woken, max(wait, 0.001))
                else:
                    running.add(asyncio.create_task(self._handle(self.queues[wiki_id])))
                    await asyncio.sleep(0)
        finally:
            for task in running:
                await task

    def _fall_due(self, now: float) -> float:
        """Queue again what was put off until now. Returns when the next such thing is due."""
        for queue in self.queues.values():
            if queue.delayed and queue.delayed[0][0] <= now:
                queue.due(now)
                self._tell(queue)
        return min((queue.delayed[0][0] for queue in self.queues.values() if queue.delayed), default=float("inf"))

    async def _handle(self, queue: WikiQueue) -> None:
        """Take a batch and see it through; whatever it could not finish waits again."""
        now, enrich = asyncio.get_running_loop().time, self.enrich
        batch = Batch(queue, queue.take(), enrich.api, self.settler, self._work, enrich._in_work)  # noqa: SLF001
        self._tell(queue)
        try:
            await self._see_through(batch)
            queue.answered()
            self.budget.answered(queue.wiki_id)
            self.outages.answered(queue.wiki_id)
        except Throttled as error:
            until = self.budget.throttled(queue.wiki_id, now(), error.after or 0.0)
            log.warning("the API asks us to wait", wiki=queue.wiki_id, why=str(error), seconds=round(until - now(), 1))
        except WikiUnavailable as error:
            await self._failed(batch, error)
        finally:
            queue.put_back(batch.pending)
            self._tell(queue)
            self.woken.set()

    async def _see_through(self, batch: Batch) -> None:
        queue = batch.queue
        try:
            site = await self.sites.get(batch.api, queue.wiki_id, queue.domain)
        except Unusable as error:
            await batch.aside(list(batch.pending), error)
        else:
            await batch.see_through(site)

    async def _failed(self, batch: Batch, error: WikiUnavailable) -> None:
        """Leave the wiki in peace for a while; if that lasts, take it out of the way."""
        queue, now = batch.queue, asyncio.get_running_loop().time()
        queue.failed()
        if batch.answers.asked:  # it does answer, now and then
            self.budget.answered(queue.wiki_id)
        known = self.budget.failing_since(queue.wiki_id)
        until = self.budget.failed(queue.wiki_id, now, error.after)
        if known is None:
            log.warning("a wiki does not answer", wiki=queue.wiki_id, why=str(error), seconds=round(until - now, 1))
        self.outages.failed(queue.wiki_id, error)
        if self.outages.broken(len(queue), now - (known or now)):
            items = [*batch.pending, *queue.drain()]
            queue.in_work -= len(batch.pending)
            batch.pending.clear()
            self.outages.put_off(queue.wiki_id, now)
            await self._aside(items, UNAVAILABLE, str(error))

    async def _aside(self, items: list[Item], reason: str, detail: str) -> None:
        log.warning("set aside", reason=reason, detail=detail, wiki=items[0].change.wiki_id, changes=len(items))
        await self._work(partial(self.settler.set_aside, items, reason, detail))

    async def _keep_house(self, stop: asyncio.Event) -> None:
        """Commit what was finished without a mutation; look after broken wikis and the journal's size."""
        now = asyncio.get_running_loop().time
        retain_at = now()
        while not stop.is_set():
            await unless(stop, FLUSH_EVERY)
            await self._work(self.settler.flush)
            for wiki_id in self.outages.due(now()):
                await self._probe(wiki_id)
            if now() >= retain_at:
                retain_at = now() + RETAIN_EVERY
                await self._retain()

    async def _probe(self, wiki_id: str) -> None:
        """Ask a wiki that is out of the way about itself; replay what was set aside if it answers."""
        now = asyncio.get_running_loop().time
        partition = partition_of(wiki_id, self.journal.partitions)
        entries = (await open_set_asides(self.journal, partition)).values()
        offsets = {entry.offset for entry in entries if (entry.wiki_id, entry.reason) == (wiki_id, UNAVAILABLE)}
        replayed = 0
        async for changes in changes_at(self.journal, partition, offsets):
            if not replayed:
                try:
                    await self.sites.ask(self.enrich.api, wiki_id, changes[0].domain)
                except Throttled as error:
                    self.budget.throttled(wiki_id, now(), error.after or 0.0)
                    return
                except (WikiUnavailable, Unusable):
                    self.outages.put_off(wiki_id, now())
                    return
            await self._work(partial(self.settler.replay, changes))
            replayed += len(changes)
        self.outages.answered(wiki_id)
        log.info("a wiki answers again", wiki=wiki_id, replayed=replayed)

    async def _retain(self) -> None:
        """Keep the journal within its bounds, and learn what gaps the feed has."""
        removed = await self.journal.retain()
        if removed:
            log.info("the journal was cut to its retention", records=removed)
        for partition in range(self.journal.partitions):
            start, _ = await self.journal.bounds(Topic.MUTATIONS, partition)
            await self._work(partial(self.settler.store.forget, partition, start))
        resume = (await latest(self.journal, Topic.POSITIONS, 0)).get(POSITION_KEY)
        if resume:
            self.settler.gaps = decode_resume(resume.value).gaps


def _context(settings: Settings) -> Callable[[], Context]:
    scope = settings.wiki.namespaces
    namespaces = None if "*" in scope else frozenset(number for number in scope if isinstance(number, int))
    parents, young = settings.enrich.first_sight == "parent", settings.api.young
    return lambda: Context(namespaces, parents, young, time.time())
