"""Who owns what: the record that an owner writes again and again as a sign of life, and where those are read."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
from aiokafka import TopicPartition

from syncer.journal import partition_of
from syncer.journal.kafka.names import OWNER_PARTITIONS, OWNERS, topic_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from syncer.journal.kafka.reading import Reader

READ_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Lease:
    """What an owner says of itself. ``instance`` is its open journal, ``token`` this very ownership; ``topics``: Kafka's ids."""

    name: str
    instance: str
    token: str
    topics: Mapping[str, str]
    partitions: Sequence[int] = ()
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    released: bool = False


def place_of(prefix: str, name: str) -> TopicPartition:
    """Where the records of an owner stand."""
    return TopicPartition(topic_name(prefix, OWNERS), partition_of(name, OWNER_PARTITIONS))


class Leases:
    """The newest record of every owner, and the first that was seen of it, read on from where it was read last."""

    def __init__(self, reader: Reader, prefix: str) -> None:
        self._reader, self._prefix = reader, prefix
        self._newest: dict[str, tuple[Lease, int]] = {}
        self._first: dict[str, Lease] = {}
        self._next: dict[TopicPartition, int] = {}

    async def read(self, name: str) -> tuple[Lease, int] | None:
        """An owner's lease as it is now, and its offset, which is another with every sign of life."""
        await self._read_on(place_of(self._prefix, name))
        return self._newest.get(name)

    async def first(self, name: str) -> Lease:
        """Who said first that it is that, of those who did."""
        await self._read_on(place_of(self._prefix, name))
        return self._first[name]

    async def rivals(self, name: str, partitions: Collection[int]) -> list[str]:
        """Other owners that have one of these partitions and did not release it."""
        for part in range(OWNER_PARTITIONS if partitions else 0):
            await self._read_on(TopicPartition(topic_name(self._prefix, OWNERS), part))
        others = [lease for lease, _ in self._newest.values() if lease.name != name and not lease.released]
        return [lease.name for lease in others if not set(partitions).isdisjoint(lease.partitions)]

    async def _read_on(self, place: TopicPartition) -> None:
        start, end = await self._reader.bounds(place)
        offset = max(start, self._next.get(place, 0))
        while offset < end and (records := await self._reader.read(place, offset, READ_AT_ONCE)):
            for record in records:
                lease = Lease(**orjson.loads(record.value))
                self._newest[lease.name] = lease, record.offset
                self._first.setdefault(lease.name, lease)
            offset = self._next[place] = records[-1].offset + 1
