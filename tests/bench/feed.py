"""SSE bytes to committed changes, against ``orjson.loads`` alone of the same events. The goal is 6 times at most.

    python -m tests.bench.feed

The bytes are a recorded minute of all of Wikimedia, ten times over with ids of their own, in chunks of 64 KiB as they come off a
socket; every wiki is included. Committed means: in the SQLite journal, synced. Each line is the best of five runs, and holds the
lines above it but for the second; the last one includes aiohttp and a server in the same process.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import tempfile
import time
from typing import TYPE_CHECKING

import orjson
import structlog
from aiohttp import web
from sseclient import SSEClient

from syncer.config import FeedSettings, JournalSettings, WikiSettings
from syncer.feed import Feed, Scope
from syncer.feed.client import Batch, Delivered
from syncer.feed.memory import Memory
from syncer.feed.position import Cursor
from syncer.feed.sift import Sift
from syncer.feed.sse import Cutter, Rejected
from syncer.ingest import Ingest
from syncer.journal.sqlite import SqliteJournal
from syncer.model import Position
from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

RECORDED = SHARED / "data/events/raw-recentchange-20210827-kirajano.sse.gz"
ROUNDS, REPEATS, CHUNK = 10, 5, 64 * 1024
GOAL = 6.0
MAX_BLOCK = FeedSettings().max_block
SCOPE = Scope(WikiSettings(include=("*",)))
FAR = 2**62  # no clock of any producer is ahead of it


def recorded() -> list[bytes]:
    """The chunks."""
    minute = gzip.decompress(RECORDED.read_bytes()).rstrip() + b"\n\n"
    stream = b"".join(minute.replace(b'"id":"', b'"id":"%02d' % number) for number in range(ROUNDS))
    return [stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK)]


def parsed(data: Iterable[bytes]) -> None:
    """What everything is compared with."""
    for event in data:
        orjson.loads(event)


def only_sseclient(chunks: Iterable[bytes]) -> None:
    """The library by itself, as it is used by default."""
    for _ in SSEClient(iter(chunks)).events():
        pass


def batches(chunks: Iterable[bytes]) -> Iterable[Batch]:
    """What :class:`Feed` makes of the chunks."""
    cutter, cursor = Cutter(MAX_BLOCK), Cursor(("recentchange",), Position())
    for chunk in chunks:
        found = [item for item in cutter.feed(chunk) if not isinstance(item, Rejected)]
        yield Batch([Delivered(*cursor.absorb(item.id, 0, FAR), item.data) for item in found], [], cursor.position())


def delivered(chunks: Iterable[bytes]) -> int:
    """Bytes to events, with the position."""
    return sum(len(batch.events) for batch in batches(chunks))


def judged(chunks: Iterable[bytes]) -> None:
    """Bytes to changes."""
    sift = Sift(SCOPE, Memory(30_000))
    for batch in batches(chunks):
        for event in batch.events:
            sift.judge(event, "2021-08-27T13:20:17Z")


class Replay(Feed):
    """A feed that has its chunks at hand and is never connected."""

    def __init__(self, chunks: Iterable[bytes], settings: FeedSettings) -> None:
        super().__init__(settings, "bench")
        self._batches = iter(batches(chunks))

    async def read(self) -> Batch:
        batch = next(self._batches, None)
        if batch is None:
            await asyncio.Event().wait()
        self.counts.events += len(batch.events)
        return batch


async def committed(feed: Feed, settings: FeedSettings, wanted: int) -> None:
    """Bytes to committed changes."""
    with tempfile.TemporaryDirectory() as folder:
        journal = await SqliteJournal.open(JournalSettings(url=f"sqlite:///{folder}/journal.db"))
        stop = asyncio.Event()
        running = asyncio.create_task(Ingest(journal, feed, SCOPE, settings).run(stop))
        while feed.counts.events < wanted and not running.done():
            await asyncio.sleep(0.002)
        stop.set()
        await running
        await journal.close()


async def over_http(chunks: list[bytes], wanted: int) -> None:
    """The same from a server on loopback."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/{streams}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = FeedSettings(url=f"http://127.0.0.1:{port}", streams=("recentchange",), since="2021-08-27T00:00:00Z")
    await committed(Feed(settings, "syncer-bench/1 (bot)"), settings, wanted)
    await runner.cleanup()


def best(work: Callable[[], object]) -> tuple[float, float]:
    """The least seconds it took, of the wall's clock and of the processors'."""
    runs = []
    for _ in range(REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - wall, time.process_time() - processor))
    return min(wall for wall, _ in runs), min(processor for _, processor in runs)


def main() -> None:
    """Print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    chunks = recorded()
    data = [line[6:] for line in b"".join(chunks).split(b"\n") if line.startswith(b"data: ")]
    settings = FeedSettings(streams=("recentchange",), since="2021-08-27T00:00:00Z")
    peer = best(lambda: parsed(data))
    print(f"{len(data)} events, {sum(map(len, chunks)) / 1e6:.1f} MB: seconds and times orjson.loads, by the wall and by the processors")
    for name, work in {
        "orjson.loads alone": lambda: parsed(data),
        "sseclient-py alone": lambda: only_sseclient(chunks),
        "to events, with the position": lambda: delivered(chunks),
        "to changes": lambda: judged(chunks),
        "to committed changes": lambda: asyncio.run(committed(Replay(chunks, settings), settings, len(data))),
        "the same over HTTP, server included": lambda: asyncio.run(over_http(chunks, len(data))),
    }.items():
        wall, processor = best(work)
        ratios = f"{wall / peer[0]:6.2f} {processor / peer[1]:6.2f}"
        print(f"{name:36} {wall:6.3f} s {processor:6.3f} s {ratios} {len(data) / wall:10,.0f} events/s")
    print(f"goal for committed changes: {GOAL:g} at most")


if __name__ == "__main__":
    main()
