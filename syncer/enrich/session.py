"""From one reading of what is committed to the next: take changes in, ask the wiki whose turn it is, see its batch through."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from syncer.enrich.batch import Batch
from syncer.enrich.inwork import POISON_AFTER
from syncer.enrich.outages import UNAVAILABLE
from syncer.enrich.queues import Item, WikiQueue
from syncer.errors import Throttled, Unusable, WikiUnavailable
from syncer.journal import Topic
from syncer.tasks import together, unless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from syncer.config import EnrichSettings
    from syncer.enrich.batch import Api
    from syncer.enrich.house import House
    from syncer.enrich.inwork import InWork
    from syncer.enrich.manifests import Manifests

log = structlog.get_logger()

READ_AT_ONCE = 500  # changes of a partition: half a MiB
PAUSED = "paused until"  # the store's note of what a wiki asked for, in seconds since the epoch
READ_EVERY = 1.0  # seconds between looks for new changes, where the journal says nothing
ROOM = 500  # changes waiting, above which nothing is reconciled: what that finds would wait with them
PATIENCE = 30.0  # seconds for which reconciling, and what is patient, give way to what is fresher; then each has one request
GIVE_WAY = 0.25  # seconds between two looks whether they may go on
AGAIN = 3600.0  # seconds until a wiki is reconciled again that may not be asked


@dataclass(slots=True)
class Session:
    """``caught_up``: there was nothing more in the journal when it was last looked at."""

    settings: EnrichSettings
    house: House
    api: Api
    in_work: InWork
    manifests: Manifests | None = None
    queues: dict[str, WikiQueue] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    caught_up: bool = False
    _patient_at: float = 0.0  # when what is patient had its turn last

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish what is in work."""
        telling = [self.manifests.run(stop)] if self.manifests else []
        await together(self._take_in(stop), self._dispatch(stop), self.house.keep(stop), *telling)
        await self.house.flush()

    async def _take_in(self, stop: asyncio.Event) -> None:
        """Read what was appended, partition by partition, as long as not too much of one is unfinished."""
        loop, settler, journal = asyncio.get_running_loop(), self.house.settler, self.house.journal
        while not stop.is_set():
            found = False
            for partition, progress in settler.progress.items():
                if progress.unfinished >= self.settings.unfinished_limit:
                    continue
                records = await journal.read(Topic.CHANGES, partition, progress.read_to, limit=READ_AT_ONCE)
                if records:
                    found = True
                    self.house.reconcile.heard(records)
                    items = await self.house.work(partial(settler.take_in, partition, records, loop.time()))
                    self.house.heals.heard(items)
                    await self._enqueue(items)
            self.caught_up = not found
            self.woken.set()
            if not found:
                await journal.wait(READ_EVERY)

    async def _enqueue(self, items: Sequence[Item]) -> None:
        out: list[Item] = []
        poison: list[Item] = []
        for item in items:
            change = item.change
            deaths = self.in_work.deaths(item.partition, item.offset)
            item.alone = deaths > 0
            if deaths >= POISON_AFTER:
                poison.append(item)
            elif change.wiki_id in self.house.outages.out:
                out.append(item)
            else:
                queue = self.queues.get(change.wiki_id)
                if queue is None:
                    queue = self.queues[change.wiki_id] = WikiQueue(change.wiki_id, change.domain)
                queue.add(item)
                self._tell(queue)
        if out:  # first of all: a probe counts on it
            why = "the wiki has not answered for some time"
            await self.house.work(partial(self.house.settler.set_aside, out, UNAVAILABLE, why))
        for item in poison:
            await self._aside([item], "poison", f"the process died {POISON_AFTER} times with this change in work")

    def _tell(self, queue: WikiQueue) -> None:
        self.house.budget.queued(queue.wiki_id, queue.values, queue.oldest if queue.waiting else 0.0)

    async def _dispatch(self, stop: asyncio.Event) -> None:
        """Ask the wiki whose turn it is, as many at a time as the settings allow; at the end wait for what is in work."""
        now, budget = asyncio.get_running_loop().time, self.house.budget
        running: set[asyncio.Task[None]] = set()
        try:
            while not stop.is_set():
                for task in [task for task in running if task.done()]:
                    running.discard(task)
                    task.result()
                self.woken.clear()
                due = self._fall_due(now())
                if wiki_id := self._lent(now()):
                    running.add(asyncio.create_task(self._reconcile(wiki_id)))
                elif queue := self._patient(now()):
                    running.add(asyncio.create_task(self._handle(queue, queue.take(patient=True))))
                elif wiki_id := budget.choose(now()):
                    queue = self.queues[wiki_id]
                    running.add(asyncio.create_task(self._handle(queue, queue.take())))
                else:
                    wait = min(budget.wake_at(now()), due, self._lends_at(now()), now() + 1.0) - now()
                    await unless(self.woken, max(wait, 0.001))
                await asyncio.sleep(0)
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _old(self, now: float) -> Iterator[str]:
        """The wikis to reconcile; none while there is more than enough to do."""
        if not self.caught_up or sum(len(queue) - len(queue.patient) for queue in self.queues.values()) >= ROOM:
            return iter(())
        return (wiki_id for wiki_id in self.house.reconcile.ready(now) if wiki_id not in self.house.outages.out)

    def _lent(self, now: float) -> str | None:
        """A wiki to reconcile now, in flight from here on."""
        budget, patient = self.house.budget, now < self.house.reconcile.stepped_at + PATIENCE
        if budget.free_at(now) > now:
            return None
        return next((wiki_id for wiki_id in self._old(now) if budget.lend(wiki_id, now, patient=patient)), None)

    def _patient(self, now: float) -> WikiQueue | None:
        """Whose patient changes are to be asked about now, in flight from here on: of the wiki where they have waited longest."""
        waiting = [queue for queue in self.queues.values() if queue.patient]
        if not waiting:
            self._patient_at = now
        patient = now < self._patient_at + PATIENCE
        for queue in sorted(waiting, key=lambda queue: queue.patient[0].arrived):
            if self.house.budget.lend(queue.wiki_id, now, patient=patient):
                self._patient_at = now
                return queue
        return None

    def _lends_at(self, now: float) -> float:
        """When to see again whether a wiki may be reconciled, or what is patient may go on."""
        if not any(self._old(now)) and not any(queue.patient for queue in self.queues.values()):
            return float("inf")
        free_at = self.house.budget.free_at(now)
        return free_at if free_at > now else now + GIVE_WAY

    async def _reconcile(self, wiki_id: str) -> None:
        """One step; a wiki that does not answer is left in peace as it is for its changes."""
        now, house = asyncio.get_running_loop().time, self.house
        try:
            await house.reconcile.step(wiki_id)
            house.budget.answered(wiki_id)
        except Throttled as error:
            await self._throttled(wiki_id, error)
        except WikiUnavailable as error:
            house.budget.failed(wiki_id, now(), error.after)
            house.outages.failed(wiki_id, error)
        except Unusable as error:
            house.budget.answered(wiki_id)
            house.reconcile.put_off(wiki_id, now() + AGAIN)
            log.warning("a wiki cannot be reconciled", wiki=wiki_id, reason=error.reason, detail=str(error))
        finally:
            self.woken.set()

    def _fall_due(self, now: float) -> float:
        """Queue again what was put off until now. Returns when the next such thing is due."""
        for queue in self.queues.values():
            if queue.delayed and queue.delayed[0][0] <= now:
                queue.due(now)
                self._tell(queue)
        return min((queue.delayed[0][0] for queue in self.queues.values() if queue.delayed), default=float("inf"))

    async def _handle(self, queue: WikiQueue, items: list[Item]) -> None:
        """See a batch through; whatever it could not finish waits again."""
        house = self.house
        batch = Batch(queue, items, self.api, house.settler, house.work, self.in_work)
        self._tell(queue)
        try:
            await self._see_through(batch)
            queue.answered()
            if house.budget.failing_since(queue.wiki_id) is not None:
                log.info("a wiki answers again", wiki=queue.wiki_id)
            house.budget.answered(queue.wiki_id)
            house.outages.answered(queue.wiki_id)
        except Throttled as error:
            await self._throttled(queue.wiki_id, error)
        except WikiUnavailable as error:
            await self._failed(batch, error)
        finally:
            queue.put_back(batch.pending)
            self._tell(queue)
            self.woken.set()

    async def _see_through(self, batch: Batch) -> None:
        try:
            site = await self.house.sites.get(batch.queue.wiki_id, batch.queue.domain)
        except Unusable as error:
            await batch.aside(list(batch.pending), error)
        else:
            await batch.see_through(site)

    async def _throttled(self, wiki_id: str, error: Throttled) -> None:
        """Leave all wikis in peace for as long as one asks for, across a restart too."""
        now = asyncio.get_running_loop().time()
        seconds = self.house.budget.throttled(wiki_id, now, error.after or 0.0) - now
        log.warning("the API asks us to wait", wiki=wiki_id, why=str(error), seconds=round(seconds, 1))
        await self.house.work(partial(self.house.settler.store.remember, PAUSED, str(time.time() + seconds)))

    async def _failed(self, batch: Batch, error: WikiUnavailable) -> None:
        """Leave the wiki in peace for a while; if that lasts, take it out of the way."""
        queue, budget, outages = batch.queue, self.house.budget, self.house.outages
        now = asyncio.get_running_loop().time()
        queue.failed()
        if batch.answers.asked:  # it does answer, now and then
            budget.answered(queue.wiki_id)
        known = budget.failing_since(queue.wiki_id)
        until = budget.failed(queue.wiki_id, now, error.after)
        if known is None:
            log.info("a wiki does not answer", wiki=queue.wiki_id, why=str(error), seconds=round(until - now, 1))
        outages.failed(queue.wiki_id, error)
        if outages.broken(len(queue), now - (known or now)):
            items = [*batch.pending, *queue.drain()]
            queue.in_work -= len(batch.pending)
            batch.pending.clear()
            outages.put_off(queue.wiki_id, now)
            await self._aside(items, UNAVAILABLE, str(error))

    async def _aside(self, items: list[Item], reason: str, detail: str) -> None:
        log.warning("set aside", reason=reason, detail=detail, wiki=items[0].change.wiki_id, changes=len(items))
        await self.house.work(partial(self.house.settler.set_aside, items, reason, detail))
