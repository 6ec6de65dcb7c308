"""SSE bytes to committed changes, against ``orjson.loads`` alone of the same events. The goal is 6 times at most.

    python -m tests.bench.feed

The bytes are a recorded minute of all of Wikimedia, ten times over with ids and revisions of their own, in chunks of 64 KiB as
they come off a socket; every wiki is included. Committed means: in the SQLite journal, synced. The first three lines are the work
of others, which is done in any case; of the rest each holds the one before, and the last one aiohttp and a server in the same
process too. Each is the best of five runs.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import structlog
from aiohttp import web
from sseclient import SSEClient

from syncer import sqlite
from syncer.config import FeedSettings, JournalSettings, WikiSettings
from syncer.feed import Feed, Scope
from syncer.feed.client import Batch, Delivered
from syncer.feed.memory import Memory
from syncer.feed.position import Cursor
from syncer.feed.sift import Sift, Unfit
from syncer.feed.sse import Cutter, Rejected
from syncer.ingest import FULL, Ingest
from syncer.journal import Record, change_record
from syncer.journal.sqlite import SqliteJournal
from syncer.model import Change, Position
from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from syncer.feed.event import SkipReason

Seconds = tuple[float, float]

RECORDED = SHARED / "data/events/raw-recentchange-20210827-kirajano.sse.gz"
ROUNDS, REPEATS, CHUNK = 10, 5, 64 * 1024
GOAL = 6.0
SINCE = "2021-08-27T13:20:00Z"
MAX_BLOCK = FeedSettings().max_block
SCOPE = Scope(WikiSettings(include=("*",)))
NAMED = re.compile(rb'"id":"|"new":(?=[1-9])')  # events and revisions: a revision named again would be another case
FAR = 2**62  # no clock of any producer is ahead of it


def recorded() -> list[bytes]:
    """The chunks."""
    minute = gzip.decompress(RECORDED.read_bytes()).rstrip() + b"\n\n"
    stream = b"".join(NAMED.sub(rb"\g<0>%02d" % (10 + number), minute) for number in range(ROUNDS))
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


def judged(chunks: Iterable[bytes]) -> Iterator[Change | SkipReason | Unfit]:
    """Bytes to changes."""
    sift = Sift(SCOPE, Memory(30_000))
    return (sift.judge(event, "2021-08-27T13:20:17Z") for batch in batches(chunks) for event in batch.events)


def only_sqlite(records: Sequence[Record]) -> Seconds:
    """How long SQLite takes for the finished rows, in a table without an index and transactions as large."""
    rows = [(record.partition, record.key, orjson.dumps(record.headers), record.value) for record in records]
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite.connect(
            Path(folder) / "plain.db", ("CREATE TABLE changes (part INTEGER, key TEXT, headers BLOB, value BLOB)",)
        )
        watch = Stopwatch()
        for at in range(0, len(rows), FULL):
            with sqlite.transaction(db):
                db.executemany("INSERT INTO changes VALUES (?, ?, ?, ?)", rows[at : at + FULL])
        took = watch.read()
        db.close()
        return took


class Replay(Feed):
    """A feed that has its chunks at hand and is never connected."""

    def __init__(self, chunks: Iterable[bytes], settings: FeedSettings) -> None:
        super().__init__(settings, "bench")
        self._batches = iter(batches(chunks))

    async def read(self) -> Batch:
        for batch in self._batches:
            self.counts.events += len(batch.events)
            return batch
        never: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        return await never


class Stopwatch:
    """Seconds of the wall's clock and of the processors'."""

    def __init__(self) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        """Since it was made."""
        return time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]


def timed(work: Callable[[], object]) -> Seconds:
    """How long it takes."""
    watch = Stopwatch()
    work()
    return watch.read()


async def committed(feed: Feed, settings: FeedSettings, wanted: int) -> Seconds:
    """How long bytes take to committed changes, in a journal that is there already."""
    with tempfile.TemporaryDirectory() as folder:
        journal = await SqliteJournal.open(JournalSettings(url=f"sqlite:///{folder}/journal.db"))
        stop, watch = asyncio.Event(), Stopwatch()
        running = asyncio.create_task(Ingest(journal, feed, SCOPE, settings).run(stop))
        while feed.counts.events < wanted and not running.done():  # noqa: ASYNC110 -- a feed tells nobody what it counts
            await asyncio.sleep(0.005)
        stop.set()
        await running
        seconds = watch.read()
        await journal.close()
        return seconds


async def over_http(chunks: list[bytes], wanted: int) -> Seconds:
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
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = FeedSettings(url=f"http://127.0.0.1:{runner.addresses[0][1]}", streams=("recentchange",), since=SINCE)
    seconds = await committed(Feed(settings, "syncer-bench/1 (bot)"), settings, wanted)
    await runner.cleanup()
    return seconds


def main() -> None:
    """Print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    chunks = recorded()
    data = [line[6:] for line in b"".join(chunks).split(b"\n") if line.startswith(b"data: ")]
    records = [change_record(verdict, 12) for verdict in judged(chunks) if isinstance(verdict, Change)]
    settings = FeedSettings(streams=("recentchange",), since=SINCE)
    lines: dict[str, Callable[[], Seconds]] = {
        "orjson.loads alone": lambda: timed(lambda: parsed(data)),
        "sseclient-py alone": lambda: timed(lambda: only_sseclient(chunks)),
        "SQLite alone, the finished rows": lambda: only_sqlite(records),
        "to events, with the position": lambda: timed(lambda: delivered(chunks)),
        "to changes": lambda: timed(lambda: deque(judged(chunks), 0)),
        "to committed changes": lambda: asyncio.run(committed(Replay(chunks, settings), settings, len(data))),
        "the same over HTTP, server included": lambda: asyncio.run(over_http(chunks, len(data))),
    }
    runs = [{name: work() for name, work in lines.items()} for _ in range(REPEATS)]
    best = {name: [min(run[name][clock] for run in runs) for clock in (0, 1)] for name in lines}
    peer = best["orjson.loads alone"]
    print(f"{len(data)} events, {sum(map(len, chunks)) / 1e6:.1f} MB         wall   processors    times orjson.loads")
    for name, (wall, processors) in best.items():
        rate = f"{len(data) / wall:10,.0f} events/s"
        print(f"{name:36} {wall:6.3f} s {processors:6.3f} s {wall / peer[0]:6.2f} {processors / peer[1]:6.2f} {rate}")
    print(f"goal for committed changes: {GOAL:g} at most")


if __name__ == "__main__":
    main()
