"""Reading committed records, from any place of any topic.

One consumer has its partitions assigned and paused, but for the one that is being read; so nothing is fetched that nobody asked
for. Where a partition begins and ends is asked by another one: answers on a connection come in order, and would wait behind a
fetch that waits for data.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from syncer.errors import JournalUnavailable, ResumeLost
from syncer.journal import Stored
from syncer.journal.kafka.link import ASKED_WITHIN, reaching

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiokafka.structs import ConsumerRecord

READ_BYTES = 16 * 1024 * 1024  # a read stops after this many bytes of values
FETCH_BYTES = 4 * 1024 * 1024  # of a fetch, compressed; a larger batch comes alone
FETCH_WAIT = 10  # milliseconds a broker may wait for data: what is asked for is there, and a fetch begun too much ends soon
LOOK = 5  # milliseconds: nothing but the ends of transactions may be left, and of those nobody tells
PATIENCE = 20.0  # seconds for what is large, over a slow line, and without a record where there must be one


class _Asker(AIOKafkaConsumer):
    """Waits for an answer longer than its connections do: only they are closed over it, and one that is dead would be kept."""

    def __init__(self, **told: Any) -> None:
        super().__init__(**told)
        self._request_timeout_ms += 1_000


class Reader:
    """``link`` is what every client is told. Reads wait for one another."""

    def __init__(self, link: Mapping[str, Any]) -> None:
        told = {"isolation_level": "read_committed", "auto_offset_reset": "none", "enable_auto_commit": False, **link}
        self._link = link
        self._asker = _Asker(**told, request_timeout_ms=ASKED_WITHIN)
        self._consumer = AIOKafkaConsumer(
            **told,
            fetch_max_wait_ms=FETCH_WAIT,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=4 * FETCH_BYTES,
            request_timeout_ms=int(PATIENCE * 1000),
        )
        self._turn = asyncio.Lock()
        self._empty: dict[TopicPartition, tuple[int, int]] = {}  # from where to where there is known to be no record
        self._committed: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect."""
        await self._asker.start()
        await self._consumer.start()
        await asyncio.sleep(0)  # a task that has not run yet cannot be stopped

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()
        await self._asker.stop()

    def committed(self, place: TopicPartition, offset: int) -> None:
        """Take note of what was committed here: readers see it a moment later, when the broker has marked it so everywhere."""
        self._committed[place] = max(offset, self._committed.get(place, -1))

    async def bounds(self, place: TopicPartition) -> tuple[int, int]:
        """The first offset, and the one after everything that is committed."""
        deadline = time.monotonic() + PATIENCE
        while True:
            async with reaching(self._link, f"ask for the bounds of {place.topic}"):
                start, end = await asyncio.gather(self._asker.beginning_offsets([place]), self._asker.end_offsets([place]))
            if end[place] > self._committed.get(place, -1) or time.monotonic() > deadline:
                return start[place], end[place]
            await asyncio.sleep(LOOK / 1000)

    async def ends(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after everything that is committed, of many at once."""
        async with reaching(self._link, "ask for the ends of topics"):
            ends: dict[TopicPartition, int] = await self._asker.end_offsets(list(places))
        return ends

    async def read(self, place: TopicPartition, offset: int, limit: int) -> list[Stored]:
        """See :meth:`syncer.journal.Journal.read`."""
        async with self._turn:
            start, end = await self.bounds(place)
            if not start <= offset <= end:
                raise ResumeLost(
                    f"offset {offset} of {place.topic}, partition {place.partition}, is not there: it holds {start} to {end}",
                    hint="the topic was cut by retention, or made anew; start the reader anew",
                )
            if offset == end or self._empty.get(place) == (offset, end):
                return []
            async with reaching(self._link, f"read {place.topic}, partition {place.partition}, from {offset}"):
                self._include(place)
                self._consumer.seek(place, offset)
                self._consumer.resume(place)
                try:
                    return await self._fetch(place, offset, end, limit)
                finally:
                    self._consumer.pause(place)

    def _include(self, place: TopicPartition) -> None:
        """See to it that the partition is assigned."""
        places = self._consumer.assignment()
        if place not in places:
            self._consumer.assign([*places, place])
            for each in self._consumer.assignment():
                self._consumer.seek(each, 0)
                self._consumer.pause(each)

    async def _fetch(self, place: TopicPartition, offset: int, end: int, limit: int) -> list[Stored]:
        """What there is without waiting for more; nothing only where everything up to the end is no record."""
        found: list[Stored] = []
        size, deadline = 0, time.monotonic() + PATIENCE
        while len(found) < limit and size < READ_BYTES:
            got = await self._consumer.getmany(place, timeout_ms=0 if found else LOOK, max_records=1)
            if got:
                (record,) = got[place]
                found.append(_stored(record))
                size += len(found[-1].value)
            elif found:
                break
            elif await self._consumer.position(place) >= end:
                self._empty[place] = (offset, end)
                break
            elif time.monotonic() > deadline:
                raise JournalUnavailable(f"{place.topic}, partition {place.partition}, gives no record at {offset}, before {end}")
        return found


def _stored(record: ConsumerRecord[bytes, bytes]) -> Stored:
    headers = {name: value.decode() for name, value in record.headers}
    return Stored(record.offset, (record.key or b"").decode(), record.value or b"", headers, record.timestamp / 1000)
