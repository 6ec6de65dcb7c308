"""The hub put together: what it opens, what runs beside what, how it ends. One deadline for all of the end.

ingest ──► journal ──► enrich ──► journal        one process by default, or one of the two alone
                           │
                           └──► store            and the operator's window over all of it
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog

from syncer import ops, sqlite, telemetry
from syncer.budget import Pace
from syncer.enrich import Enrich
from syncer.feed import Feed, Scope
from syncer.fetch import WikiApi, check, check_feed, user_agent
from syncer.ingest import Ingest
from syncer.journal import INGEST, WHOLE, open_journal
from syncer.outcome import Aside, Merged, Publish, Skip
from syncer.status import read_status
from syncer.store import Store
from syncer.tasks import stopping, together, unless, until_stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from syncer.config import Settings
    from syncer.model import Change
    from syncer.outcome import Outcome

log = structlog.get_logger()

LOOK_EVERY = 0.25  # seconds between looks at whether all is idle
MINUTE = 60.0
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


async def run(settings: Settings, *, ingest: bool = True, enrich: bool = True, until_idle: float | None = None) -> None:
    """Run the hub, or one stage of it, until a signal or until idle. Raises Stop errors."""
    check(settings)
    if ingest:
        check_feed(settings)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        hub = await _open(settings, stack, ingest=ingest, enrich=enrich)
        stack.enter_context(stopping(stop, lambda: _notify("STOPPING=1")))
        address = await stack.enter_async_context(ops.serving(settings.ops, hub.status, hub.unready))
        log.info("the hub runs", stages=hub.stages, ops=address, journal=sqlite.spelled_out(settings.journal.url))
        work = hub.work(stop)
        if until_idle is not None:
            work.append(hub.stop_when_idle(stop, until_idle))
        stack.enter_context(_notifying())
        await until_stopped(together(*work), stop)
    log.info("the hub stops")


@dataclass(slots=True)
class Hub:
    """What runs, and what it can say of itself."""

    settings: Settings
    read_status: Callable[[], Awaitable[dict[str, Any]]]
    ingest: Ingest | None = None
    enrich: Enrich | None = None
    meter: Meter | None = None
    connected_at: float = -math.inf  # when the feed was last seen connected, of the steady clock

    @property
    def stages(self) -> list[str]:
        """Which stages run."""
        return [name for name, stage in (("ingest", self.ingest), ("enrich", self.enrich)) if stage]

    def work(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """The stages, to be run beside each other."""
        stages = [stage.run(stop) for stage in (self.ingest, self.enrich) if stage]
        return [*stages, self._watch_feed(self.ingest, stop)] if self.ingest else stages

    def unready(self) -> list[str]:
        """What keeps the hub from its work; that a wiki does not answer, or the feed reconnects, is a part of it."""
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
        told = await self.read_status()
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


async def _open(settings: Settings, stack: AsyncExitStack, *, ingest: bool, enrich: bool) -> Hub:
    journal = await open_journal(settings.journal)
    stack.push_async_callback(journal.close)
    hub = Hub(settings, lambda: read_status(journal))
    for name, wanted in ((INGEST, ingest), (WHOLE.owner, enrich)):
        if wanted:
            await journal.own(name)  # the stage takes it over; a second hub ends here, before it opens anything else
    if ingest:
        hub.ingest = Ingest(journal, Feed(settings.feed, user_agent(settings.contact)), Scope(settings.wiki), settings.feed)
    if enrich:
        path = sqlite.expand(settings.store.path, "store.path")
        store = Store(path, settings.store.max_bytes)
        stack.callback(store.close)
        hub.enrich = Enrich(journal, store, settings, path.with_suffix(".in-work"))
        session = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        hub.meter = Meter(settings.api.requests_per_minute)
        turn = _counted(hub.enrich, hub.meter)
        hub.enrich.api = WikiApi(session, settings.api, settings.wiki, settings.contact, turn)
        hub.enrich.watch.on_outcome.append(_measure)
        telemetry.CHANGES_QUEUED.set_function(hub.enrich.queued)
        telemetry.WIKIS_OUT.set_function(lambda: len(hub.enrich.wikis_out) if hub.enrich else 0)
    return hub


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


@contextmanager
def _notifying() -> Iterator[None]:
    """Tell systemd that we are up, and from then on that we are alive."""
    _notify("READY=1")
    every = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    task = asyncio.ensure_future(_watchdog(every)) if every else None
    try:
        yield
    finally:
        if task:
            task.cancel()


async def _watchdog(every: float) -> None:
    while True:
        _notify("WATCHDOG=1")
        await asyncio.sleep(every)


def _notify(state: str) -> None:
    """The sd_notify protocol: a datagram to the socket that the service manager named, if it named one and still listens."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)


@asynccontextmanager
async def api_client(settings: Settings) -> AsyncIterator[WikiApi]:
    """The API client alone, with a budget of its own: for a mirror that heals from, or is compared with, the wikis."""
    check(settings)
    loop = asyncio.get_running_loop()
    pace, lock = Pace(settings.api.requests_per_minute, loop.time()), asyncio.Lock()

    async def turn(_wiki_id: str) -> None:
        async with lock:
            await asyncio.sleep(max(0.0, pace.next_start(loop.time()) - loop.time()))
            pace.start(max(loop.time(), pace.next_start(loop.time())))

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield WikiApi(session, settings.api, settings.wiki, settings.contact, turn)
