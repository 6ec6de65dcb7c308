"""What enrich reads before it works: its progress, the mutations its store has missed, what stands set aside."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from syncer import set_asides
from syncer.errors import ResumeLost
from syncer.journal import Topic, latest, partition_of
from syncer.progress import PROGRESS_KEY, Progress
from syncer.records import decode_set_aside
from syncer.store import Divergence
from syncer.wire import decode_mutation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence

    from syncer.journal import Journal, Stored
    from syncer.model import Change
    from syncer.store import Store

    Work = Callable[[Callable[[], Any]], Awaitable[Any]]


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


async def catch_up(journal: Journal, store: Store, partitions: Iterable[int], work: Work, *, fresh: bool) -> int:
    """Fold the committed mutations that the store has not seen; how many. Raises ResumeLost where the next is not there."""
    folded = 0
    for partition in partitions:
        start, end = await journal.bounds(Topic.MUTATIONS, partition)
        offset = await work(partial(store.offset, partition))
        if fresh and offset == 0 and start > 0:
            await work(partial(_begin, store, partition, start))
            offset = start
        if not start <= offset <= end:
            raise ResumeLost(
                f"the store has the mutations of partition {partition} up to {offset}, the journal those from {start} to {end}",
                hint="one of them was put back, or was away for too long: move the store away, and the hub makes a new one",
            )
        while offset < end:
            records = await journal.read(Topic.MUTATIONS, partition, offset)
            if not records:
                break  # what is left up to the end is no record
            await work(partial(_fold, store, partition, records))
            folded += len(records)
            offset = records[-1].offset + 1
    return folded


def _begin(store: Store, partition: int, start: int) -> None:
    with store.folding():
        store.begin(partition, start)


def _fold(store: Store, partition: int, records: Sequence[Stored]) -> None:
    """Fold some mutations. Of a page whose first ones the journal no longer has, the facts are kept, and the text is fetched."""
    with store.folding():
        for record in records:
            mutation = decode_mutation(record.value)
            try:
                store.fold(mutation)
            except Divergence as divergence:
                store.diverge(mutation, divergence.reason)
            store.publish(mutation, partition, record.offset)
            store.debts.note(mutation, partition, record.offset)
        store.advance(partition, records[-1].offset + 1)


class Open(NamedTuple):
    """Something that stands set aside: the offset of its newest entry (-1: ingest's), the wiki it is of, the reason."""

    offset: int
    wiki_id: str
    reason: str


async def open_set_asides(journal: Journal, partition: int) -> dict[str, Open]:
    """What was set aside of a partition's wikis and not closed since, by key. What ingest sets aside is closed here, too."""
    entries: dict[str, Open] = {}
    async for records in set_asides.read(journal, journal.partitions):
        for record in records:
            entry = decode_set_aside(record.value)
            if entry.change and partition_of(entry.change.wiki_id, journal.partitions) == partition:
                entries[record.key] = Open(-1, entry.change.wiki_id, entry.reason)
    async for records in set_asides.read(journal, partition):
        for record in records:
            entry = decode_set_aside(record.value)
            if entry.closed_by is None:
                entries[record.key] = Open(record.offset, entry.change.wiki_id if entry.change else "", entry.reason)
            else:
                entries.pop(record.key, None)
    return entries


async def set_aside_by_ingest(journal: Journal, offset: int) -> tuple[dict[int, dict[str, str]], int]:
    """What ingest has set aside from an offset on, by partition of the wiki and key, with the wiki; and where that ends."""
    added: dict[int, dict[str, str]] = {}
    async for records in set_asides.read(journal, journal.partitions, offset):
        for record in records:
            if change := decode_set_aside(record.value).change:
                added.setdefault(partition_of(change.wiki_id, journal.partitions), {})[record.key] = change.wiki_id
        offset = records[-1].offset + 1
    return added, offset


async def changes_at(journal: Journal, partition: int, offsets: Collection[int]) -> AsyncIterator[list[Change]]:
    """The changes that were set aside at these offsets, in their order, some at a time."""
    async for records in set_asides.read(journal, partition, min(offsets, default=0)):
        entries = [decode_set_aside(record.value) for record in records if record.offset in offsets]
        if changes := [entry.change for entry in entries if entry.change]:
            yield changes
