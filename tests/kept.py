"""A hub that keeps the topic of pages, and may die instead; what it publishes the test says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from syncer.enrich import pages
from syncer.journal import Topic, latest, partition_of
from syncer.journal.pages import last_mark
from syncer.pages import MARK_KEY, Mark
from syncer.store import Store
from tests.following import PARTITIONS, opened, record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from syncer.journal import Record
    from syncer.journal.sqlite import SqliteJournal
    from syncer.model import Mutation
    from tests.mutations import Pages

PART = partition_of("testwiki", PARTITIONS)
EACH = range(PARTITIONS)


@dataclass
class Hub:
    """``appended`` are the keys of what it has written of pages, by transaction."""

    folder: Path
    pages: Pages
    store_bytes: int = 10**9
    appended: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal: SqliteJournal = opened(self.folder)
        self.start()

    def start(self) -> None:
        self.store = Store(self.folder / "hub.db", self.store_bytes)
        self.kept = pages.Pages(self.journal, self.store, self.append, asyncio.to_thread)

    async def again(self) -> None:
        """Die, and start."""
        self.store.close()
        self.start()
        await self.load()

    async def load(self) -> None:
        await self.kept.load(EACH)
        while self.kept.filling:
            await asyncio.to_thread(self.kept.fill)

    def append(self, records: Sequence[Record]) -> list[int]:
        self.appended.append([one.key for one in records])
        return asyncio.run_coroutine_threadsafe(self.journal.commit(records), self.loop).result()

    async def publish(self, *told: Mutation) -> None:
        offsets = await self.journal.commit([record(mutation) for mutation in told])
        with self.store.folding():
            for mutation in told:
                self.store.fold(mutation)
            self.store.advance(PART, offsets[-1] + 1)

    async def flush(self) -> None:
        await asyncio.to_thread(self.kept.flush)

    async def told(self) -> dict[str, Any]:
        newest = await latest(self.journal, Topic.PAGES, PART)
        return {key: orjson.loads(one.value) if one.value else None for key, one in newest.items() if key != MARK_KEY}

    async def mark(self) -> Mark | None:
        return await last_mark(self.journal, PART)

    async def close(self) -> None:
        self.store.close()
        await self.journal.close()
