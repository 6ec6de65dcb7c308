"""Beginning a mirror with the topic of pages: all that is published, without a dump and without reading what led to it.

    pages ──► in scope? ──► proven by hash ──► the store, and how far the topic is read, in one transaction
      └─────► the mark that comes last: from there the mutations are followed

The hub goes on writing meanwhile, and what it replaces is gone from where it stood. So a partition is read until nothing is left
and a mark was the last of it. Then of every page the newest record was read, in the order in which they were written, and all of
them are what the mutations before that mark say.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from syncer.errors import Misconfigured, Refused, ResumeLost, Unusable
from syncer.faultpoints import at
from syncer.journal import TOMBSTONES, Topic
from syncer.journal.pages import last_mark
from syncer.mirror.bootstrap import ANEW, NOTE
from syncer.mirror.scope import of_interest
from syncer.pages import MARK_KEY, Mark
from syncer.store.chain import Fate, sha1
from syncer.wire import decode_mutation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from syncer.config import MirrorSettings
    from syncer.journal import Journal, Stored
    from syncer.model import Mutation
    from syncer.store import Store

AT_ONCE = 500  # records of a transaction, and not more than a read gives: 16 MiB
WRONG_HASH = "hash of page"  # why a text is not kept
PATIENCE = 60.0  # seconds for a mark at the end: the hub writes a portion in a second, and marks it
LOOK = 0.5  # seconds
DAY = 86_400.0
NONE_KEPT = "have the hub keep it, publish.pages = true, and be allowed to read it; or begin with a dump"


@dataclass(slots=True)
class Tally:
    """What came of the records that were ``read``: pages ``taken`` (some again), ``gone`` once taken, or ``left_alone``."""

    size: int  # how many there may be, at most
    read: int = 0
    taken: int = 0
    gone: int = 0
    left_alone: int = 0


class FromPages:
    """Fills a new mirror: ``begin``, ``fill``, ``finish``. Killed, it is run again from the start, and goes on where it was."""

    def __init__(self, journal: Journal, store: Store, settings: MirrorSettings) -> None:
        self._journal, self._store, self._settings = journal, store, settings
        self._read_to: dict[int, int] = {}
        self._marks: dict[int, int] = {}  # of partitions where nothing was read after their mark
        self._began = 0.0
        self.tally = Tally(0)

    async def begin(self) -> None:
        """Take note that the mirror begins here. Raises Misconfigured where that cannot become a whole one."""
        note = orjson.loads(self._store.meta(NOTE) or "null")
        self._check(note)
        for part in range(self._journal.partitions):
            await self._check_mark(part)
            start, end = await self._journal.bounds(Topic.PAGES, part)
            self.tally.size += end - start
        if note:
            self._store.bind(self._journal.identity)
            self._read_to, self._marks = ({int(part): to for part, to in note[name].items()} for name in ("pages", "marks"))
        self._began = note["began"] if note else time.time()
        with self._store.folding():
            self._store.remember("journal", self._journal.identity)
            self._remember(done=False)

    def _check(self, note: Any) -> None:
        if note is None and self._store.meta("journal") is not None:
            raise Misconfigured("this mirror follows already: it has what the topic of pages says", hint=ANEW)
        if note and "pages" not in note:
            raise Misconfigured("this mirror begins with dumps", hint=ANEW)
        if note and note["done"]:
            raise Misconfigured("this mirror has begun already: syncer mirror follow makes it current", hint=ANEW)
        if note and note["scope"] != self._scope:
            raise Misconfigured("this mirror was begun with other mirror.wikis or mirror.namespaces", hint=ANEW)
        if note and time.time() - note["began"] > TOMBSTONES * DAY:
            raise Misconfigured("this mirror was begun so long ago that it may not hear of what is gone since", hint=ANEW)

    @property
    def _scope(self) -> list[list[Any]]:
        return [sorted(self._settings.wikis), sorted(map(str, self._settings.namespaces))]

    async def _check_mark(self, part: int) -> None:
        """Raise unless the pages of a partition are all there, and what comes after them."""
        try:
            mark = await last_mark(self._journal, part)
        except (Misconfigured, Refused) as error:
            raise Misconfigured(f"the topic of pages cannot be read: {error}", hint=NONE_KEPT) from error
        if mark is None:
            raise Misconfigured("the hub keeps no topic of pages", hint=NONE_KEPT)
        if mark.filled:
            raise Misconfigured("the hub is still filling the topic of pages", hint="try again later, or begin with a dump")
        await self._reaches(part, mark.offset)

    async def _reaches(self, part: int, offset: int) -> None:
        start, _ = await self._journal.bounds(Topic.MUTATIONS, part)
        if offset < start:
            raise Misconfigured(
                f"the pages of partition {part} are as of offset {offset}, and the mutations before {start} are gone",
                hint="start the hub, which brings the pages up to date; or begin with a dump",
            )

    async def fill(self) -> AsyncIterator[Tally]:
        """Take in what there is; after each transaction, what came of it so far. Raises Misconfigured where no mark comes."""
        now = asyncio.get_running_loop().time
        for part in range(self._journal.partitions):
            start, _ = await self._journal.bounds(Topic.PAGES, part)
            offset, patient = max(start, self._read_to.get(part, start)), now() + PATIENCE
            while True:
                if records := await self._journal.read(Topic.PAGES, part, offset, limit=AT_ONCE):
                    offset = records[-1].offset + 1
                    self._take(part, records)
                    patient = now() + PATIENCE
                    yield self.tally
                elif part in self._marks:
                    break
                elif now() > patient:
                    raise Misconfigured(
                        f"the hub has stopped in the middle of writing pages of partition {part}",
                        hint="once it runs again, run this again: it goes on where it stopped",
                    )
                else:
                    await asyncio.sleep(LOOK)

    async def finish(self) -> dict[int, int]:
        """All is in; by partition, the offset to follow from."""
        for part, offset in self._marks.items():
            await self._reaches(part, offset)
        with self._store.folding():
            for part, offset in self._marks.items():
                self._store.advance(part, offset)
            self._remember(done=True)
        return dict(sorted(self._marks.items()))

    def _remember(self, *, done: bool) -> None:
        told = {"pages": self._read_to, "marks": self._marks, "began": self._began, "scope": self._scope, "done": done}
        self._store.remember(NOTE, orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS).decode())

    def _take(self, part: int, records: Sequence[Stored]) -> None:
        with self._store.folding():
            for record in records:
                if record.key == MARK_KEY:
                    mark = Mark.decode(record.value) if record.value else None
                    if mark and mark.filled is None:
                        self._marks[part] = mark.offset
                        continue
                self._marks.pop(part, None)
                if record.key != MARK_KEY:
                    self._take_page(part, record)
            self._read_to[part] = records[-1].offset + 1
            self._remember(done=False)
            at("bootstrap-folded")
        at("bootstrap-committed")

    def _take_page(self, part: int, record: Stored) -> None:
        self.tally.read += 1
        wiki_id, _, page_id = record.key.rpartition(":")
        if not record.value or not of_interest(record, self._settings):
            gone = self._store.drop(wiki_id, int(page_id))
            self.tally.gone += gone
            self.tally.left_alone += not gone and bool(record.value)
            return
        try:
            page = decode_mutation(record.value)
        except Unusable as error:
            raise ResumeLost(
                f"pages, partition {part}, offset {record.offset}: {error}",
                hint="the journal is damaged there; tell its operator",
            ) from error
        self._store.place(*_proven(page))
        self.tally.taken += 1


def _proven(page: Mutation) -> tuple[Mutation, str | None]:
    """A page, and why its text is not there, though it may be seen."""
    if page.erased:
        return page, Fate.ERASED.value
    announced = page.revision.sha1 if page.revision else None
    if page.text is not None and sha1(page.text) != announced:
        return replace(page, text=None), WRONG_HASH
    return page, None
