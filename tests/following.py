"""A mirror that follows a journal in this process, and mutations for it to read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from syncer.config import JournalSettings, MirrorSettings, Retention
from syncer.journal import Record, Topic, partition_of
from syncer.journal.sqlite import SqliteJournal
from syncer.mirror import Mirror
from syncer.store import Store
from syncer.wire import encode_mutation, headers_of, key_of
from tests.virtual import run as run_virtually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    import pytest

    from syncer.mirror import Healer
    from syncer.model import Mutation
    from tests.mutations import Pages
    from tests.virtual import Clock

PARTITIONS = 3


def opened(folder: Path, **retention: Any) -> SqliteJournal:
    return SqliteJournal(folder / "journal.db", JournalSettings(partitions=PARTITIONS, retention=Retention(**retention)))


def record(mutation: Mutation) -> Record:
    partition = partition_of(mutation.wiki_id, PARTITIONS)
    return Record(Topic.MUTATIONS, partition, key_of(mutation), encode_mutation(mutation), headers_of(mutation))


async def publish(journal: SqliteJournal, *mutations: Mutation) -> None:
    await journal.commit([record(mutation) for mutation in mutations])


async def diverging(journal: SqliteJournal, pages: Pages, *page_ids: int) -> None:
    """Publish pages whose first mutations a new mirror does not get to see."""
    for page_id in page_ids:
        pages.snapshot(page_id, f"P{page_id}", b"one of %d" % page_id)
        await publish(journal, pages.patch(page_id, f"P{page_id}", b"two of %d" % page_id))


async def follow(
    journal: SqliteJournal, store: Store, heal: Healer | None = None, *, idle: float = 0.02, **settings: Any
) -> Mirror:
    follower = Mirror(journal, store, MirrorSettings(**settings), heal)
    await follower.run(asyncio.Event(), idle)
    follower._thread.shutdown()
    return follower


def virtually(
    monkeypatch: pytest.MonkeyPatch, folder: Path, work: Callable[[SqliteJournal, Store, Clock], Coroutine[Any, Any, None]]
) -> None:
    """Run with a journal, a new store and a clock that runs ahead of nobody."""

    async def main(clock: Clock) -> None:
        journal, store = opened(folder), Store(folder / "virtual.db")
        try:
            await work(journal, store, clock)
        finally:
            store.close()
            await journal.close()

    run_virtually(monkeypatch, main)
