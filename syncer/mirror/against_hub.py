"""A mirror's pages against what the journal states, without asking anybody else.

The last mutation of a page says which revision it has, with which hash, at which title; or that it is gone. That is compared
with the page and the text in the mirror. What retention has cut of the journal states nothing any more; and what the hub itself
has wrong, the mirror has wrong with it.

A sample is taken of the pages that the journal states, not of the mirror's: else what the mirror lacks would never be found.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from syncer.journal import Topic, partition_of
from syncer.mirror.reading import fault_of
from syncer.mirror.scope import as_taken, of_interest
from syncer.model import Kind
from syncer.store.chain import sha1
from syncer.wire import decode_mutation

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.config import MirrorSettings
    from syncer.journal import Journal, Stored
    from syncer.mirror.reading import Fault
    from syncer.model import PageState
    from syncer.store import Store

AT_ONCE = 500  # pages compared while nobody else may change the mirror's file

Page = tuple[str, int]  # wiki id, page id


class Stated(NamedTuple):
    """What the last mutation of a page states, and where it stands. ``revision``: id and hash; None where the page is gone."""

    offset: int
    seq: int
    title: str
    revision: tuple[int, str | None] | None


class Wrong(NamedTuple):
    """A page that is not as stated: ``missing``, ``there`` though it is gone, ``other`` facts than stated, or another ``text``.

    ``seq`` is the one that the mirror has.
    """

    partition: int
    page: Page
    stated: Stated
    seq: int | None
    reason: str


@dataclass(slots=True)
class Compared:
    """``counts``: pages by how they were found. ``wrong``: all that are not as stated."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[Wrong] = field(default_factory=list)


@dataclass(slots=True)
class Sample:
    """The last statement of pages: of all, or of so many, each as likely as any other: those with the lowest hashes.

    A page is in the sample by its hash alone. So one that ends in it was in it from its first record on. Once it is ``closed``,
    no other page comes in.
    """

    most: int | None
    salt: bytes = field(default_factory=lambda: os.urandom(16))
    stated: dict[Page, Stated] = field(default_factory=dict)
    closed: bool = False
    _highest: list[tuple[int, Page]] = field(default_factory=list)  # a heap; hashes are negative

    def take(self, page: Page, stated: Stated) -> None:
        """Take in what comes next of a page."""
        if page in self.stated or (not self.closed and self._room(page)):
            self.stated[page] = stated

    def _room(self, page: Page) -> bool:
        """Whether a page that is not in the sample comes in; another one goes then, where it is full."""
        if self.most is None:
            return True
        name = f"{page[0]}:{page[1]}".encode()
        rank = -int.from_bytes(hashlib.blake2b(name, key=self.salt, digest_size=8).digest())
        if len(self._highest) < self.most:
            heapq.heappush(self._highest, (rank, page))
            return True
        out = heapq.heappushpop(self._highest, (rank, page))[1]
        self.stated.pop(out, None)
        return out != page


async def compare(
    journal: Journal, store: Store, settings: MirrorSettings, most: int | None, told: Callable[[int], None] = lambda _: None
) -> Compared:
    """Compare so many pages, or all, of the journal with the mirror. ``told`` hears of every so many records that were read.

    The mirror may be followed meanwhile: a page is compared with what is stated up to where the mirror has read.
    """
    found, sample = Compared(), Sample(most)
    parts = [_Partition(journal, store, settings, number, sample, told) for number in range(journal.partitions)]
    if most is None:  # a partition at a time fits into memory
        for part in parts:
            part.sample = Sample(None)
            await part.gather()
            await part.compare(found)
        return found
    for part in parts:
        await part.gather()
    for part in parts:
        await part.compare(found)
    return found


@dataclass(slots=True)
class _Partition:
    journal: Journal
    store: Store
    settings: MirrorSettings
    number: int
    sample: Sample
    told: Callable[[int], None]
    read_to: int = 0

    async def gather(self) -> None:
        """Read what the journal states, up to where the mirror has read."""
        self.read_to, _ = await self.journal.bounds(Topic.MUTATIONS, self.number)
        await self._read()

    async def compare(self, found: Compared) -> None:
        """Compare what is in the sample of this partition."""
        self.sample.closed = True
        pages = [page for page in self.sample.stated if partition_of(page[0], self.journal.partitions) == self.number]
        while pages:
            with self.store.reading():
                if self.store.offset(self.number) <= self.read_to:
                    for page in pages[:AT_ONCE]:
                        self._judge(page, self.sample.stated[page], found)
                    del pages[:AT_ONCE]
                    continue
            await self._read()  # the mirror went on

    async def _read(self) -> None:
        end = self.store.offset(self.number)
        while self.read_to < end:
            records = await self.journal.read(Topic.MUTATIONS, self.number, self.read_to)
            for record in records:
                if record.offset < end and of_interest(record, self.settings):
                    self._state(record)
            self.told(len(records))
            self.read_to = min(end, records[-1].offset + 1) if records else end

    def _state(self, record: Stored) -> None:
        mutation = as_taken(decode_mutation(record.value), self.settings)
        if mutation.page.page_id is not None:
            revision = (mutation.revision.rev_id, mutation.revision.sha1) if mutation.revision else None
            stated = Stated(record.offset, mutation.seq, mutation.page.title, revision)
            self.sample.take((mutation.wiki_id, mutation.page.page_id), stated)

    def _judge(self, page: Page, stated: Stated, found: Compared) -> None:
        state = self.store.page(*page)
        reason = self._wrong(page, stated, state if state and state.live else None)
        found.counts[reason or "equal"] += 1
        if reason:
            found.wrong.append(Wrong(self.number, page, stated, state.seq if state else None, reason))

    def _wrong(self, page: Page, stated: Stated, state: PageState | None) -> str | None:
        if state is None or stated.revision is None:
            return None if state is None and stated.revision is None else "missing" if state is None else "there"
        known = (state.revision.rev_id, state.revision.sha1) if state.revision else None
        if state.seq == 0 and known and known[0] >= stated.revision[0]:
            return None  # of a dump, which is younger
        if (state.seq, known) != (stated.seq, stated.revision) or self._elsewhere(page, stated, state):
            return "other"
        text = self.store.text(*page)
        return None if (None if text is None else sha1(text)) == stated.revision[1] else "text"

    def _elsewhere(self, page: Page, stated: Stated, state: PageState) -> bool:
        """Whether a page is not at its title, and no other page has taken that."""
        holder = self.store.page_at(page[0], stated.title)
        return state.title != stated.title and (state.title is not None or holder is None or holder.page_id == page[1])


def suspect(store: Store, fault: Fault) -> bool:
    """Have a page healed whose text or title is not as announced. False where that is so no more."""
    with store.folding():
        state = store.page(fault.wiki_id, fault.page_id)
        wrong = state is not None and state.live and fault_of(store, fault.wiki_id, state) is not None
        if wrong:
            store.mark(fault.wiki_id, fault.page_id, fault.reason)
    return wrong


async def doubt(journal: Journal, store: Store, settings: MirrorSettings, wrong: Wrong) -> bool:
    """Have a page healed that is not as stated, or drop it where it is gone. False where the mirror has heard of it meanwhile."""
    records = await journal.read(Topic.MUTATIONS, wrong.partition, wrong.stated.offset, limit=1)
    if not records or records[0].offset != wrong.stated.offset:
        return False
    mutation = as_taken(decode_mutation(records[0].value), settings)
    with store.folding():
        state = store.page(*wrong.page)
        if (state.seq if state else None) != wrong.seq:
            return False
        if mutation.kind is Kind.DELETE:
            store.fold(mutation)
        else:
            store.doubt(mutation, f"{wrong.reason} when compared")
    return True
