"""The event log behind the feed: Kafka-like topics in two data centres, each event serialised once, when it is published."""

from __future__ import annotations

import uuid
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from syncer.demo.events import PAGE_CHANGE, RECENT_CHANGE, REVISION_CREATE, STREAMS, VISIBILITY_CHANGE
from syncer.demo.faults import DATACENTRES, Faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from syncer.demo.events import Event

TopicPartition = tuple[str, int]

SCHEMAS = {
    RECENT_CHANGE: "/mediawiki/recentchange/1.0.0",
    PAGE_CHANGE: "/mediawiki/page/change/1.11.0",
    VISIBILITY_CHANGE: "/mediawiki/revision/visibility-change/1.0.0",
    REVISION_CREATE: "/mediawiki/revision/create/2.0.0",
}


class Record(NamedTuple):
    """One event as Kafka holds it: its timestamp in milliseconds and its JSON."""

    timestamp: int
    data: bytes


class _Publication(NamedTuple):
    """An event on its way to a topic."""

    topic: str
    subject: str
    timestamp: int
    event: Event


class Partition:
    """The records of one topic-partition from ``base`` on; what came before is past retention."""

    def __init__(self, retention: int) -> None:
        self.base = 0
        self._retention = retention
        self._records: list[Record] = []

    @property
    def end(self) -> int:
        """The offset that the next record gets."""
        return self.base + len(self._records)

    def append(self, record: Record) -> None:
        """Add a record, and let go of the oldest ones beyond retention (a tenth at a time)."""
        self._records.append(record)
        if len(self._records) > self._retention * 1.1:
            self.forget(self.end - self._retention)

    def forget(self, before: int) -> None:
        """Let go of what lies before an offset."""
        del self._records[: max(0, before - self.base)]
        self.base = max(self.base, before)

    def read(self, offset: int, limit: int) -> list[Record]:
        """Records from an offset on, which lies between ``base`` and ``end``."""
        return self._records[offset - self.base : offset - self.base + limit]

    def offset_at(self, timestamp: int) -> int | None:
        """The first offset whose timestamp is not earlier (Kafka's rule); None where there is none."""
        if not self._records or self._records[0].timestamp >= timestamp:
            return self.base if self._records else None
        return next((self.base + n for n, record in enumerate(self._records) if record.timestamp >= timestamp), None)


class EventLog:
    """Topics ``<data centre>.<stream>``. Publishing obeys ``faults``; the clock gives ``meta.dt`` and Kafka's timestamps."""

    def __init__(self, clock: Callable[[], float], rng: Random, *, retention: int = 100_000) -> None:
        self.faults = Faults()
        self.listeners: set[Callable[[], None]] = set()
        self.published = dict.fromkeys(STREAMS, 0)
        self.partitions: dict[TopicPartition, Partition] = {}
        self.clock = clock
        self._rng = rng
        self._retention = retention
        self._held: dict[str, _Publication] = {}
        for stream in STREAMS:
            self.add_partition(stream)

    def add_partition(self, stream: str) -> None:
        """One more partition in both data centres; production has one, and may get more (PROTOCOL 6)."""
        for centre in DATACENTRES:
            self.partitions[f"{centre}.{stream}", self._width(f"{centre}.{stream}")] = Partition(self._retention)

    def publish(self, stream: str, subject: str, event: Event) -> None:
        """Put an event on its stream. ``event["meta"]`` has everything but ``dt``; ``subject`` decides the partition."""
        timestamp = int(self.clock() * 1000)
        faults = self.faults
        if faults.lose and self._rng.random() < faults.lose:
            return
        self.published[stream] += 1
        topic = f"{faults.datacentre}.{stream}"
        stamped = {**event, "meta": {**event["meta"], "stream": stream, "dt": _iso_ms(timestamp)}}
        publication = _Publication(topic, subject, timestamp, stamped)
        if faults.reorder and topic not in self._held and self._rng.random() < faults.reorder:
            self._held[topic] = publication
            return
        self._append(publication)
        if faults.duplicate and self._rng.random() < faults.duplicate:
            self._append(publication)
        if topic in self._held:
            self._append(self._held.pop(topic))
        self._wake()

    def flush(self) -> None:
        """Publish what is still held back; the server does so now and then, a farm without one has to be told."""
        for topic in tuple(self._held):
            self._append(self._held.pop(topic))
            self._wake()

    def canary(self) -> None:
        """A canary event in every topic of both data centres (PROTOCOL 9)."""
        timestamp = int(self.clock() * 1000)
        for topic, number in tuple(self.partitions):
            if number == 0:
                self._append(_Publication(topic, "", timestamp, self._canary(topic.split(".", 1)[1], timestamp)))
        self._wake()

    def new_id(self) -> str:
        """A UUID, for ``meta.id`` and ``meta.request_id``."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def _width(self, topic: str) -> int:
        return sum(name == topic for name, _ in self.partitions)

    def _wake(self) -> None:
        for wake in tuple(self.listeners):
            wake()

    def _append(self, publication: _Publication) -> None:
        topic, subject, timestamp, event = publication
        number = zlib.crc32(subject.encode()) % self._width(topic) if subject else 0
        partition = self.partitions[topic, number]
        placed = {**event["meta"], "topic": topic, "partition": number, "offset": partition.end}
        partition.append(Record(timestamp, orjson.dumps({**event, "meta": placed})))

    def _canary(self, stream: str, timestamp: int) -> Event:
        meta = {
            "uri": "https://canary/wiki/Canary",
            "id": self.new_id(),
            "domain": "canary",
            "stream": stream,
            "dt": _iso_ms(timestamp),
        }
        return {"$schema": SCHEMAS[stream], "meta": meta, **_CANARY[stream]}


def _iso_ms(timestamp: int) -> str:
    moment = datetime.fromtimestamp(timestamp // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp % 1000:03d}Z"


_REVISION: dict[str, Any] = {"database": "examplewiki", "page_id": 1, "page_title": "Canary", "page_namespace": 0, "rev_id": 1}
_CANARY: dict[str, dict[str, Any]] = {
    RECENT_CHANGE: {
        "type": "edit", "id": 1, "wiki": "examplewiki", "title": "Canary", "namespace": 0, "timestamp": 1, "user": "Canary",
        "comment": "", "bot": True, "minor": False, "revision": {"old": 1, "new": 2}, "length": {"old": 1, "new": 1},
    },
    PAGE_CHANGE: {
        "page_change_kind": "create", "changelog_kind": "insert", "wiki_id": "examplewiki", "dt": "2026-01-01T00:00:00Z",
        "page": {"page_id": 1, "page_title": "Canary", "namespace_id": 0, "is_redirect": False},
        "revision": {"rev_id": 1, "rev_parent_id": 0},
    },
    VISIBILITY_CHANGE: {**_REVISION, "visibility": {"text": True, "user": True, "comment": True}},
    REVISION_CREATE: _REVISION,
}  # fmt: skip
