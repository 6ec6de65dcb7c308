"""What enrich reads before it works: its progress, the mutations its store has missed, what stands set aside."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from syncer.errors import ResumeLost
from syncer.journal import Topic, latest
from syncer.progress import PROGRESS_KEY, Progress
from syncer.records import SetAside, decode_set_aside
from syncer.wire import decode_mutation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from syncer.journal import Journal, Stored
    from syncer.store import Store

    Work = Callable[[Callable[[], Any]], Awaitable[Any]]

log = structlog.get_logger()


async def load_progress(journal: Journal, partitions: Iterable[int], *, fresh: bool) -> tuple[dict[int, Progress], int]:
    """The progress of every partition, and the generation of the store: one more if it is new while progress is not."""
    progress: dict[int, Progress] = {}
    for partition in partitions:
        stored = (await latest(journal, Topic.PROGRESS, partition)).get(PROGRESS_KEY)
        if stored:
            progress[partition] = Progress.decode(stored.value)
        else:
            start, _ = await journal.bounds(Topic.CHANGES, partition)
            progress[partition] = Progress(read_to=start, generation=-1)
    newest = max(each.generation for each in progress.values())
    generation = max(newest, 0) + (fresh and newest >= 0)
    for each in progress.values():
        each.generation = generation
    return progress, generation


async def catch_up(journal: Journal, store: Store, partitions: Iterable[int], work: Work, *, fresh: bool) -> None:
    """Fold the committed mutations that the store has not seen. Raises ResumeLost where the journal no longer has them."""
    folded = 0
    for partition in partitions:
        start, end = await journal.bounds(Topic.MUTATIONS, partition)
        offset = await work(partial(store.offset, partition))
        if offset < start:
            if not fresh:
                raise ResumeLost(
                    f"the store has mutations of partition {partition} up to {offset}, the journal begins at {start}",
                    hint="the store was away for longer than journal.retention: move it away, and it is made anew",
                )
            offset = start
        while offset < end:
            records = await journal.read(Topic.MUTATIONS, partition, offset)
            await work(partial(_fold, store, partition, records))
            folded += len(records)
            offset = records[-1].offset + 1
    if folded:
        log.info("the store has caught up", mutations=folded)


def _fold(store: Store, partition: int, records: Sequence[Stored]) -> None:
    with store.folding():
        for record in records:
            mutation = decode_mutation(record.value)
            store.fold(mutation)
            store.publish(mutation, partition, record.offset)
        store.advance(partition, records[-1].offset + 1)


async def open_set_asides(journal: Journal, partition: int) -> dict[str, tuple[int, SetAside]]:
    """What was set aside in a partition and not closed since, by key, with the offset of the newest entry."""
    entries: dict[str, tuple[int, SetAside]] = {}
    offset, end = await journal.bounds(Topic.SET_ASIDE, partition)
    while offset < end:
        records = await journal.read(Topic.SET_ASIDE, partition, offset)
        if not records:
            break
        for record in records:
            entry = decode_set_aside(record.value)
            if entry.closed_by is None:
                entries[record.key] = (record.offset, entry)
            else:
                entries.pop(record.key, None)
        offset = records[-1].offset + 1
    return entries
