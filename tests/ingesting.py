"""Ingest at work on what a test gives it: a scripted feed, a journal that fails on demand."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from syncer.config import FeedSettings, WikiSettings
from syncer.errors import OutcomeUnknown, SyncerError
from syncer.feed import Batch, Delivered, Feed, Scope
from syncer.feed.position import iso
from syncer.ingest import Ingest
from syncer.journal import POSITION_KEY, Topic, latest
from syncer.model import Position
from syncer.records import MARK_KEY, Resume, decode_change, decode_resume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from syncer.feed.sse import Rejected
    from syncer.journal import Journal, Owner, Record, Stored
    from syncer.journal.sqlite import SqliteJournal

EQIAD, CODFW = ("eqiad.mediawiki.recentchange", 0), ("codfw.mediawiki.recentchange", 0)
T0 = 1_795_496_400_000
SETTINGS = FeedSettings(streams=("recentchange",), since=iso(T0), rewind=30.0)
WIKIS = WikiSettings(include=("*",), exclude=("*.wikibooks.org",), domains=("wikipedia.org", "wikibooks.org"))
PATIENCE = 20.0


def event(number: int, *, at: int | None = None, **more: Any) -> Delivered:
    """An edit of revision ``number``, ``number`` milliseconds after T0; its ``meta.id`` is of the number too."""
    at = T0 + number if at is None else at
    meta = {"id": f"e-{number}", "stream": "mediawiki.recentchange", "domain": "en.wikipedia.org", "dt": iso(at)}
    body = {"wiki": f"wiki{number % 7}", "type": "edit", "title": f"T{number}", "revision": {"new": number + 1}, **more}
    return Delivered(EQIAD, at, json.dumps({"meta": meta | body.pop("meta", {}), **body}).encode())


def batch(*events: Delivered, rejected: Sequence[Rejected] = (), **position: int) -> Batch:
    reached = max((each.at for each in events), default=T0)
    return Batch(list(events), list(rejected), Position({EQIAD: position.get("eqiad", reached), CODFW: T0}))


class Script(Feed):
    """A feed that reads what it is given, and again from where it is started."""

    def __init__(self, *batches: Batch | Exception, settings: FeedSettings = SETTINGS) -> None:
        super().__init__(settings, "tests")
        self.batches = list(batches)
        self.starts: list[Position] = []
        self.complete: int | None = None
        self.taken = 0
        self.exhausted = asyncio.Event()

    @property
    def connected(self) -> bool:
        return True

    def start(self, position: Position) -> None:
        super().start(position)
        if hasattr(self, "starts"):
            self.starts.append(position)
            self.taken = 0

    def feed_time(self) -> int | None:
        return self.complete

    async def read(self) -> Batch:
        await asyncio.sleep(0)
        if self.taken == len(self.batches):
            self.exhausted.set()
            await asyncio.Event().wait()
        self.taken += 1
        found = self.batches[self.taken - 1]
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class Failing:
    """A journal whose owner fails as it is told, one commit after the other."""

    journal: SqliteJournal
    failures: list[SyncerError | str | None] = field(default_factory=list)
    gate: asyncio.Event | None = None
    sizes: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def own(self, name: str, partitions: Collection[int] = ()) -> Owner:
        self.owner = await self.journal.own(name, partitions)
        return self

    async def assured(self) -> None:
        await self.owner.assured()

    async def append(self, records: Sequence[Record]) -> Sequence[int]:
        self.sizes.append(len(records))
        if self.gate:
            await self.gate.wait()
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, SyncerError):
            raise failure
        offsets = await self.owner.append(records)
        if failure == "unknown":
            raise OutcomeUnknown("the answer was lost")
        return offsets


@asynccontextmanager
async def running(
    journal: Any, feed: Feed, scope: WikiSettings = WIKIS, settings: FeedSettings = SETTINGS
) -> AsyncIterator[Ingest]:
    """An ingest at work; at the end it is stopped, and what it raised is raised."""
    stop, working = asyncio.Event(), Ingest(cast("Journal", journal), feed, Scope(scope), settings)
    task = asyncio.create_task(working.run(stop))
    if isinstance(feed, Script):
        task.add_done_callback(lambda _: feed.exhausted.set())  # nobody reads it any more
    try:
        yield working
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE)


async def ingested(journal: Any, *batches: Batch | Exception, **more: Any) -> Script:
    """Ingest these to the end."""
    feed = Script(*batches)
    async with running(journal, feed, **more):
        await asyncio.wait_for(feed.exhausted.wait(), PATIENCE)
    return feed


async def until(true: Callable[[], bool]) -> None:
    """Wait for something of which nobody tells."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 -- that is what this is for
            await asyncio.sleep(0.01)


async def records(journal: SqliteJournal, topic: Topic = Topic.CHANGES) -> list[Stored]:
    """Every record of every partition."""
    found: list[Stored] = []
    for partition in range(journal.partitions + (topic is Topic.SET_ASIDE)):
        found += await journal.read(topic, partition, (await journal.bounds(topic, partition))[0], limit=10**6)
    return sorted(found, key=lambda record: record.offset)


async def ids(journal: SqliteJournal) -> list[str]:
    """The ids of all changes, in order."""
    return [decode_change(record.value).change_id for record in await records(journal) if record.key != MARK_KEY]


async def resume(journal: SqliteJournal) -> Resume:
    return decode_resume((await latest(journal, Topic.POSITIONS, 0))[POSITION_KEY].value)
