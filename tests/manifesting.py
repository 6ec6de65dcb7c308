"""A hub of which nothing works but what a test has it do: it publishes, and makes the manifests of that as every hub does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from syncer.decide import Context
from syncer.enrich import manifests as making
from syncer.enrich.settle import Settler
from syncer.journal import WHOLE, Topic
from syncer.progress import Progress
from tests.following import record
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.journal import Erasure, Journal, Stored
    from syncer.model import Mutation
    from syncer.signing import Signer
    from syncer.store import Store


@dataclass
class Hub:
    """On a journal; ``now`` is the time in seconds since the epoch."""

    journal: Journal
    store: Store
    now: Callable[[], float]
    signer: Signer
    pages: Pages = field(default_factory=Pages)

    async def start(self) -> None:
        """Become the owner, and go on where the one before has told."""
        partitions, loop = range(self.journal.partitions), asyncio.get_running_loop()
        self.owner = owner = await self.journal.own(WHOLE.owner, partitions)
        self.thread = thread = ThreadPoolExecutor(1)

        def append(records: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(owner.append(records), loop).result()

        def clock() -> str:
            return datetime.fromtimestamp(self.now(), UTC).isoformat()

        progress, asides = {part: Progress() for part in partitions}, {part: dict[str, str]() for part in partitions}
        context = Context(None, True, 10.0, self.now())
        every, rewrites = len(partitions), self.journal.rewrites
        self.settler = Settler(self.store, append, lambda: context, clock, lambda *_: None, progress, asides, 0, every, rewrites)
        self.manifests = making.Manifests(
            self.journal, self.settler, self.signer, lambda work: loop.run_in_executor(thread, work)
        )
        await self.manifests.load(partitions)

    async def publish(self, *mutations: Mutation, erases: tuple[Erasure, ...] = ()) -> None:
        """As one transaction."""
        records = [replace(record(mutation), erases=erases) for mutation in mutations]
        offsets = await self.owner.append(records)
        with self.store.folding():
            for one, offset in zip(records, offsets, strict=True):
                self.store.advance(one.partition, offset + 1)

    async def hours(self, number: int = 1) -> None:
        """Work until the manifests of so many more hours are made."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.manifests.run(stop))
        until = (self.now() // making.EVERY + number) * making.EVERY + 2 * making.LOOK_EVERY
        await asyncio.sleep(until - self.now())
        stop.set()
        await running

    async def told(self) -> list[tuple[Stored, Any]]:
        """The manifests that are there, and what they say."""
        found = []
        for part in range(self.journal.partitions):
            start, _ = await self.journal.bounds(Topic.MANIFESTS, part)
            found += [(one, orjson.loads(one.value)) for one in await self.journal.read(Topic.MANIFESTS, part, start)]
        return found

    def end(self) -> None:
        """Let go of the thread and of the store."""
        self.thread.shutdown()
        self.store.close()


async def three_hours(hub: Hub) -> None:
    """Two records of the test's wiki in each of them."""
    for number in range(1, 4):
        first = hub.pages.snapshot(number, f"Page {number}", b"one " * 400)
        await hub.publish(first, hub.pages.patch(number, f"Page {number}", b"one " * 399 + b"two "))
        await hub.hours()
