r"""Keeping the topic of pages: at each mark it is exactly what the hub's store is, for mirrors that begin with it.

    what was committed ──► pages that changed ──► as they are in the store \
    pages of the store ──► those after the last one, in portions           } one transaction, the mark last of all
    (where there was no topic)                                             /

All is written in the store's thread, where nothing is half done, up to the offset that the mark tells. What had changed when a
process died is read back from the journal, from that offset on. What is erased does not wait for its turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from syncer.clock import now_iso
from syncer.faultpoints import at
from syncer.journal import Erasure, Place, Record, Topic, partition_of
from syncer.journal.pages import last_mark
from syncer.model import NOTHING, Kind
from syncer.pages import MARK_KEY, NOTHING_YET, Mark, encode, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from syncer.enrich.making import Making
    from syncer.journal import Journal, Stored
    from syncer.pages import Filled
    from syncer.store import Store

log = structlog.get_logger()

PORTION = 8 * 1024 * 1024  # bytes of a transaction; a record that is larger goes alone
MOST = 2_000  # pages that have changed, of which only the names are kept: beyond that they are written at once
FILL_AT_ONCE = 100  # pages: 2 MB
GONE = (Erasure(None, NOTHING, None),)

Page = tuple[str, int]  # wiki and page id


@dataclass(slots=True)
class Pages:
    """``append`` commits records; it and everything else with the store is done by ``work``, in the store's thread."""

    journal: Journal
    store: Store
    append: Callable[[Sequence[Record]], Sequence[int]]
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    _changed: set[Page] = field(default_factory=set)
    _marks: dict[int, Mark] = field(default_factory=dict)  # as they are committed
    _filled: dict[int, Filled | None] = field(default_factory=dict)

    async def load(self, partitions: Iterable[int]) -> None:
        """Read how far the topic is kept, and write what changed since."""
        self._changed = await self.work(self.store.watch)
        for part in partitions:
            start, _ = await self.journal.bounds(Topic.MUTATIONS, part)
            reached = await self.work(partial(self.store.offset, part))
            mark = await last_mark(self.journal, part)
            self._marks[part] = mark or Mark(-1)
            if mark and (mark.offset >= start or mark.offset >= reached):
                self._filled[part] = mark.filled
                await self._read_back(part, mark.offset, reached)
            else:
                self._filled[part] = NOTHING_YET
                await self._forget(part)
        if self.filling:
            log.info("the topic of pages is being filled", partitions=sum(map(bool, self._filled.values())))
        await self.work(partial(self.flush, erasing=True))

    async def _read_back(self, part: int, offset: int, reached: int) -> None:
        """Note the pages that have changed between these offsets, and those that have lost their titles, which nobody names."""
        if offset < reached:
            self._changed |= {page for page in await self.work(self.store.untitled) if self._partition(page) == part}
        while offset < reached and (records := await self.journal.read(Topic.MUTATIONS, part, offset)):
            await self._note(record for record in records if record.offset < reached)
            offset = records[-1].offset + 1

    async def _forget(self, part: int) -> None:
        """Note the pages that are in the topic and that the store does not know: what became of them was not read."""
        async for records in _records(self.journal, part):
            await self._note(record for record in records if record.key != MARK_KEY and record.value)

    async def _note(self, records: Iterable[Stored]) -> None:
        for record in records:
            wiki_id, _, page_id = record.key.rpartition(":")
            self._changed.add((wiki_id, int(page_id)))
        if len(self._changed) >= MOST:
            await self.work(partial(self._write, marked=False, erasing=True))

    def _partition(self, page: Page) -> int:
        return partition_of(page[0], self.journal.partitions)

    # -- in the store's thread ---------------------------------------------------------------------------------------

    def note(self, batch: Making) -> None:
        """A batch is committed. What it erases is erased here, too, before anything else is done."""
        erasing = any(one.kind is Kind.DELETE or one.redacted for one in batch.mutations)
        erasing = erasing or any(record.erases for record in batch.published)
        if erasing or len(self._changed) >= MOST:
            self.flush(erasing=erasing)

    def flush(self, *, erasing: bool = False) -> None:
        """Write all pages that have changed, and the marks. ``erasing``: nothing may be left of what they replace."""
        self._write(marked=True, erasing=erasing)

    def _write(self, *, marked: bool, erasing: bool) -> None:
        domains, now = self.store.wikis(), now_iso()
        portion: list[Record] = []
        marks: dict[int, Mark] = {}
        size = 0
        pages: dict[int, list[Page]] = {part: [] for part in self._filled}
        for page in sorted(self._changed):
            if page[1]:  # not the one that nobody named
                pages[self._partition(page)].append(page)
        for part, changed in pages.items():
            offset = self.store.offset(part)
            for page in changed:
                value, headers = self._told(page, domains.get(page[0], ""), now, Place(part, offset))
                record = Record(Topic.PAGES, part, f"{page[0]}:{page[1]}", value, headers, GONE if erasing else ())
                if portion and size + len(record.value) > PORTION:
                    self.append(portion)
                    portion, size = [], 0
                portion.append(record)
                size += len(record.value)
            mark = Mark(offset, self._filled[part])
            if marked and mark != self._marks[part]:
                portion.append(Record(Topic.PAGES, part, MARK_KEY, mark.encode()))
                marks[part] = mark
        if portion:
            at("pages-made")
            self.append(portion)
            at("pages-told")
        self._changed.clear()
        self._marks |= marks

    def _told(self, page: Page, domain: str, now: str, before: Place) -> tuple[bytes, Mapping[str, str]]:
        """Value and headers of a page as it is now."""
        wiki_id, state = page[0], self.store.page(*page)
        if state is None or not state.live or state.revision is None:
            return b"", {"wiki": wiki_id}
        return encode(whole(wiki_id, domain, state, self.store.text(*page), now), before.partition, before.offset)

    @property
    def filling(self) -> bool:
        """Whether there are pages that were never looked at."""
        return any(self._filled.values())

    def fill(self) -> None:
        """Write the next pages of a partition that is not filled yet."""
        part, filled = next((part, filled) for part, filled in self._filled.items() if filled)
        for wiki_id in sorted(wiki_id for wiki_id in self.store.wikis() if wiki_id >= filled[0]):
            if partition_of(wiki_id, self.journal.partitions) != part:
                continue
            after = filled[1] if wiki_id == filled[0] else 0
            if found := [page_id for page_id, *_ in self.store.seen.after(wiki_id, after, FILL_AT_ONCE)]:
                self._changed |= {(wiki_id, page_id) for page_id in found}
                self._filled[part] = (wiki_id, found[-1])
                break
        else:
            self._filled[part] = None
            if not self.filling:
                log.info("the topic of pages is whole")
        self.flush()


async def withdraw(
    journal: Journal, partitions: Iterable[int], append: Callable[[Sequence[Record]], Sequence[int]],
    work: Callable[[Callable[[], Any]], Awaitable[Any]],
) -> None:  # fmt: skip
    """Take back what there is of a topic that is not kept any more: nothing would be erased from it."""
    for part in partitions:
        async for records in _records(journal, part):
            gone = [Record(Topic.PAGES, part, one.key, b"", one.headers, GONE) for one in records if one.value]
            if gone:
                await work(partial(append, gone))


async def _records(journal: Journal, part: int) -> AsyncIterator[Sequence[Stored]]:
    """What is in a partition, up to where it ends now."""
    offset, end = await journal.bounds(Topic.PAGES, part)
    while offset < end and (records := await journal.read(Topic.PAGES, part, offset)):
        yield records
        offset = records[-1].offset + 1
