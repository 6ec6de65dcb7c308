"""The hub put together: what it opens, what runs beside what, how it ends. One deadline for all of the end.

ingest ──► journal ──► enrich ──► journal        one process by default, or one of the two alone
                           │
                           └──► store            and the operator's window over all of it
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import aiohttp
import structlog

from syncer import ops, sqlite, telemetry
from syncer.budget import Pace
from syncer.enrich import Enrich
from syncer.errors import Misconfigured, Retry, Superseded
from syncer.feed import Feed, Scope
from syncer.fetch import WikiApi, check, check_feed, user_agent
from syncer.ingest import Ingest
from syncer.journal import INGEST, WHOLE, Shard, open_journal
from syncer.outcome import Aside, Merged, Publish, Skip
from syncer.signing import signer
from syncer.status import read_status
from syncer.store import Store
from syncer.systemd import notify, notifying
from syncer.tasks import stopping, together, unless, until_stopped
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from syncer.config import Settings
    from syncer.journal import Journal
    from syncer.model import Change
    from syncer.outcome import Outcome

T = TypeVar("T")
log = structlog.get_logger()

LOOK_EVERY = 0.25  # seconds between looks at whether all is idle
MINUTE = 60.0
FOLLOW_EVERY = 2.0  # seconds between a standby's readings of what is published
SAID_WITHIN = 5.0  # seconds for another hub to show that it lives
STANDING_BY = "stands by"
RECONNECTING = 60.0  # seconds without a connection that are no reason to worry: about every 14 minutes the feed is reconnected
OUTCOMES: dict[type, str] = {Publish: "published", Merged: "merged", Skip: "skipped", Aside: "set_aside"}  # as in status


@dataclass(slots=True)
class Meter:
    """How much of the budget is used. ``starts`` of requests in the last minute, in seconds of the steady clock."""

    per_minute: int
    starts: deque[float] = field(default_factory=deque)

    def start(self) -> None:
        """Note that a request starts now."""
        self.starts.append(time.monotonic())
        self._forget()

    def budget(self) -> dict[str, int]:
        """How much of the budget the last minute used."""
        self._forget()
        return {"requests_last_minute": len(self.starts), "requests_per_minute": self.per_minute}

    def _forget(self) -> None:
        while self.starts and self.starts[0] <= time.monotonic() - MINUTE:
            self.starts.popleft()


class Part(NamedTuple):
    """Which part of the hub a process is: the stages it runs, its shard of enrich, and whether it waits for the one before."""

    ingest: bool = True
    enrich: bool = True
    shard: Shard = WHOLE
    standby: bool = False

    @property
    def owners(self) -> dict[str, Shard | None]:
        """The owners it has to be."""
        return ({INGEST: None} if self.ingest else {}) | ({self.shard.owner: self.shard} if self.enrich else {})


async def run(settings: Settings, part: Part | None = None, *, until_idle: float | None = None) -> None:
    """Run the hub, or a part of it, until a signal or until idle. Raises Stop errors."""
    part = part or Part()
    check(settings, processes=part.shard.of)
    if part.ingest:
        check_feed(settings)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        hub = Hub(settings, part)
        stack.enter_context(stopping(stop, lambda: notify("STOPPING=1")))
        try:
            address = await stack.enter_async_context(ops.serving(settings.ops, hub.status, hub.unready))
        except Misconfigured:  # that another hub is at work says more than that it has the port
            with suppress(TimeoutError):
                async with asyncio.timeout(SAID_WITHIN):
                    await hub.open(stack, stop)
            raise
        stack.enter_context(notifying())
        await hub.open(stack, stop)
        if not stop.is_set():
            log.info("the hub runs", stages=hub.stages, ops=address, journal=settings.journal.url)
            work = hub.work(stop)
            if until_idle is not None:
                work.append(hub.stop_when_idle(stop, until_idle))
            await until_stopped(together(*work), stop)
    log.info("the hub stops")


@dataclass(slots=True)
class Hub:
    """What runs, and what it can say of itself."""

    settings: Settings
    part: Part
    state: str = "waits for the journal"
    journal: Journal | None = None
    ingest: Ingest | None = None
    enrich: Enrich | None = None
    meter: Meter | None = None
    connected_at: float = -math.inf  # when the feed was last seen connected, of the steady clock

    async def open(self, stack: AsyncExitStack, stop: asyncio.Event) -> None:
        """Open the journal and what is the hub's own, and become the owner, however long that takes; less only if stopped."""
        settings, part = self.settings, self.part
        self.journal = journal = await _insist(lambda: open_journal(settings.journal, pages=settings.publish.pages), stop)
        if journal is None:
            return
        stack.push_async_callback(journal.close)
        if part.shard.of > journal.partitions:
            raise Misconfigured(
                f"{part.shard.of} shards of {journal.partitions} partitions: some would have nothing",
                hint="journal.partitions is the most that there can be; all processes must be of the same number of shards",
            )
        if doubts := await _insist(journal.doubts, stop):
            log.warning("the journal is not set up as it has to be", doubts=doubts, hint="syncer topics plan shows all of it")
        if not part.standby:
            await self._own(journal, stop)  # the stages take it over; a second hub ends here, before it opens anything else
        if part.enrich:
            await self._open_enrich(journal, stack)
        while part.standby and not stop.is_set():
            await self._stand_by(journal, stop)
            try:
                await self._own(journal, stop)
                break
            except Superseded as error:
                log.info("another standby was quicker", who=str(error))
        if part.ingest:
            feed = Feed(settings.feed, user_agent(settings.contact))
            self.ingest = Ingest(journal, feed, Scope(settings.wiki), settings.feed)

    async def _own(self, journal: Journal, stop: asyncio.Event) -> None:
        for name, shard in self.part.owners.items():
            partitions = shard.partitions(journal.partitions) if shard else ()
            await _insist(partial(journal.own, name, partitions), stop)

    async def _stand_by(self, journal: Journal, stop: asyncio.Event) -> None:
        """Wait until nobody lives as the owner; until then the store follows what is published."""
        self.state = STANDING_BY
        log.info("standing by", owners=list(self.part.owners))
        vacant = asyncio.ensure_future(_insist(lambda: journal.stand_by(list(self.part.owners)), stop))
        try:
            while not vacant.done() and not stop.is_set():
                if self.enrich:
                    await _insist(self.enrich.follow, stop)
                await asyncio.wait({vacant}, timeout=FOLLOW_EVERY)
            if vacant.done():
                vacant.result()
                log.warning("taking over", owners=list(self.part.owners))
        finally:
            vacant.cancel()
            await asyncio.gather(vacant, return_exceptions=True)
        self.state = "takes over"

    async def _open_enrich(self, journal: Journal, stack: AsyncExitStack) -> None:
        settings = self.settings
        path = sqlite.expand(settings.store.path, "store.path")
        store = Store(path, settings.store.max_bytes)
        stack.callback(store.close)
        self.enrich = enrich = Enrich(journal, store, settings, path.with_suffix(".in-work"), self.part.shard)
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        self.meter = Meter(settings.api.requests_per_minute // self.part.shard.of)
        enrich.api = WikiApi(session, settings.api, settings.wiki, settings.contact, _counted(enrich, self.meter))
        enrich.signer = signer(sqlite.expand(settings.manifests.key_file, "manifests.key_file"), create=True)
        enrich.watch.on_outcome.append(_measure)
        telemetry.CHANGES_QUEUED.set_function(enrich.queued)
        telemetry.WIKIS_OUT.set_function(lambda: len(enrich.wikis_out))
        telemetry.RECONCILE_OVERDUE.set_function(enrich.overdue)

    @property
    def stages(self) -> list[str]:
        """Which stages run."""
        return [name for name, stage in (("ingest", self.ingest), ("enrich", self.enrich)) if stage]

    def work(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """The stages, to be run beside each other."""
        self.state = "runs"
        work = [stage.run(stop) for stage in (self.ingest, self.enrich) if stage]
        if self.ingest:
            work.append(self._watch_feed(self.ingest, stop))
        if self.journal:
            work.append(_until_lost(self.journal, stop))
        return work

    def unready(self) -> list[str]:
        """What keeps the hub from its work; that a wiki does not answer, or the feed reconnects, is a part of it."""
        if self.state != "runs":
            return [] if self.state == STANDING_BY else [f"the hub {self.state}"]
        reasons = []
        if self.ingest and time.monotonic() - self.connected_at > RECONNECTING:
            reasons.append("the feed is not connected")
        if self.enrich and not self.enrich.working:
            reasons.append("enrich is not at work: it reads what is committed first, or waits for the journal")
        return reasons

    async def _watch_feed(self, ingest: Ingest, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if ingest.status()["connected"]:
                self.connected_at = time.monotonic()
            await unless(stop, LOOK_EVERY)

    async def status(self) -> dict[str, Any]:
        """The committed counts, and what only the running hub knows."""
        told: dict[str, Any] = {"state": self.state}
        if self.journal:
            told |= await read_status(self.journal)
        live: dict[str, Any] = {}
        if self.ingest:
            live["feed"] = self.ingest.status()
        if self.enrich:
            live["enrich"] = self.enrich.status()
            live["delay"] = _quantiles(list(self.enrich.watch.delays))
        told["live"] = live
        if self.meter:
            told["budget"] = self.meter.budget()
        return told

    async def stop_when_idle(self, stop: asyncio.Event, seconds: float) -> None:
        """Stop once the feed is connected, nothing was appended for so long, and nothing is queued, in flight or put off."""
        idle_since = None
        while not stop.is_set():
            await unless(stop, LOOK_EVERY)
            fed = self.ingest is None or self.ingest.idle_for() >= seconds
            done = self.enrich is None or bool(self.enrich.status()["idle"])
            now = time.monotonic()
            idle_since = (idle_since or now) if fed and done else None
            settled = idle_since is not None and (self.ingest is not None or now - idle_since >= seconds)
            if settled:
                stop.set()


async def _insist(attempt: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
    """Try until it succeeds: a network that is away is waited for. None if asked to stop before."""
    trouble = Trouble("journal")
    while not stop.is_set():
        try:
            result = await attempt()
        except Retry as error:
            await unless(stop, trouble.failed(error))
        else:
            trouble.over()
            return result
    return None


async def _until_lost(journal: Journal, stop: asyncio.Event) -> None:
    """Raise Superseded as soon as another process is the owner."""
    losing, stopped = asyncio.ensure_future(journal.lost()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({losing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if losing.done():
            losing.result()
    finally:
        losing.cancel()
        stopped.cancel()
        await asyncio.gather(losing, stopped, return_exceptions=True)


def _counted(enrich: Enrich, meter: Meter) -> Callable[[str], Awaitable[None]]:
    """Enrich's turn, and a note of when the request starts."""

    async def turn(wiki_id: str) -> None:
        await enrich.turn(wiki_id)
        meter.start()

    return turn


def _measure(_change: Change, outcome: Outcome, delay: float) -> None:
    """Turn an outcome into metrics."""
    reason = outcome.reason if isinstance(outcome, Skip | Aside) else ""
    telemetry.CHANGES.labels(OUTCOMES[type(outcome)], str(reason)).inc()
    if isinstance(outcome, Publish):
        telemetry.DELAY.observe(delay)


def _quantiles(delays: list[float]) -> dict[str, float | int | None]:
    ordered = sorted(delays)
    at = {share: round(ordered[int(share * (len(ordered) - 1))], 2) if ordered else None for share in (0.5, 0.99)}
    return {"changes": len(ordered), "median_seconds": at[0.5], "p99_seconds": at[0.99]}


@asynccontextmanager
async def api_client(settings: Settings) -> AsyncIterator[WikiApi]:
    """The API client alone, with a budget of its own: for a mirror that heals from, or is compared with, the wikis."""
    check(settings)
    loop = asyncio.get_running_loop()
    per_minute = min(settings.mirror.requests_per_minute, settings.api.requests_per_minute)
    pace, lock = Pace(per_minute, loop.time()), asyncio.Lock()

    async def turn(_wiki_id: str) -> None:
        async with lock:
            await asyncio.sleep(max(0.0, pace.next_start(loop.time()) - loop.time()))
            pace.start(max(loop.time(), pace.next_start(loop.time())))

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield WikiApi(session, settings.api, settings.wiki, settings.contact, turn)
