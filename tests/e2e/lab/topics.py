"""The bridge's stand-in for Kafka: topics with partitions, offsets and timestamps, resolved as EventStreams resolves them."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .options import Options

RECENT_CHANGE = "mediawiki.recentchange"
PAGE_CHANGE = "mediawiki.page_change.v1"
STREAMS = (
    RECENT_CHANGE,
    PAGE_CHANGE,
    "mediawiki.revision-visibility-change",
    "mediawiki.revision-create",
)
ALIASES = {name: stream for stream in STREAMS for name in (stream, stream.removeprefix("mediawiki."))}
LATEST, EARLIEST = -1, -2


class BadAssignment(Exception):
    """A resume token that EventStreams refuses: ``status``, and the ``body`` it answers with."""

    def __init__(self, status: int, name: str, message: str, **more: Any) -> None:
        super().__init__(f"{name}: {message}")
        self.status = status
        self.body = {"message": message, "origin": "KafkaSSE", "name": name, **more, "statusCode": status}


@dataclass(slots=True)
class Assigned:
    """A partition that a connection reads: its entry as it will stand in the ids, and where it is; None is nowhere, ever."""

    entry: dict[str, Any]
    at: int | None


class Topics:
    """Every event of every stream. ``changed`` is notified when one is appended."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.changed = threading.Condition()
        self.events = 0
        topics = [topic for stream in STREAMS for topic in self.of(stream)]
        self._records: dict[tuple[str, int], list[tuple[int, dict[str, Any]]]] = {
            (topic, partition): [] for topic in topics for partition in range(options.partitions)
        }
        self._first = dict.fromkeys(self._records, 0)
        self._random = random.Random(options.seed)
        self._held: list[Callable[[], None]] = []

    def of(self, stream: str) -> list[str]:
        """The topics of a stream, one a data centre."""
        return [f"{dc}.{stream}" for dc in self.options.dcs]

    def bounds(self, key: tuple[str, int]) -> tuple[int, int]:
        """The first offset still there, and the next one to be given."""
        first = self._first[key]
        return first, first + len(self._records[key])

    def read(self, key: tuple[str, int], offset: int, limit: int) -> Sequence[tuple[int, int, dict[str, Any]]]:
        """Offset, timestamp and event of up to ``limit`` records."""
        start = offset - self._first[key]
        return [(offset + i, ms, event) for i, (ms, event) in enumerate(self._records[key][start : start + limit])]

    def partitions(self) -> list[tuple[str, int]]:
        """Every partition of every topic."""
        return list(self._records)

    def append(self, topic: str, ms: int, event: dict[str, Any], partition: int | None = None) -> None:
        """Add an event at Kafka time ``ms``, to the partition of its title unless one is named."""
        if partition is None:
            title = event.get("title") or event.get("page_title") or (event.get("page") or {}).get("page_title")
            partition = int(hashlib.sha1(str(title).encode(), usedforsecurity=False).hexdigest(), 16) % self.options.partitions
        key = (topic, partition)
        with self.changed:
            records = self._records[key]
            records.append((ms, event))
            self.events += 1
            if self.options.retention and (over := len(records) - self.options.retention) > 0:
                del records[:over]
                self._first[key] += over
            self.changed.notify_all()

    def publish(self, ms: int, event: dict[str, Any]) -> None:
        """Add an event the way the feed's producers do: to the data centre of the moment, with the faults that are on."""
        if self.options.delay_max:
            self._later(self._random.random() * self.options.delay_max, lambda: self._publish(ms, event))
        else:
            self._publish(ms, event)

    def _publish(self, ms: int, event: dict[str, Any]) -> None:
        topic = self._live_topic(event["meta"]["stream"])
        if self._held or self._random.random() >= self.options.reorder_prob:
            self.append(topic, ms, event)
            self._release()
        else:
            self._held.append(lambda: self.append(topic, ms, event))
            self._later(1.0, self._release)
        if self._random.random() < self.options.dup_prob:
            self.append(topic, ms, event)

    def _live_topic(self, stream: str) -> str:
        topics, mode = self.of(stream), self.options.dc_mode
        if mode == "random":
            return self._random.choice(topics)
        if mode.startswith("switch:"):
            return topics[self.events // int(mode.removeprefix("switch:")) % len(topics)]
        return topics[0]

    def _release(self) -> None:
        while self._held:
            self._held.pop()()

    @staticmethod
    def _later(seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()

    def assign(self, last_event_id: str | None, since: int | None, topics: list[str]) -> list[Assigned]:
        """Where a connection starts: by its token, else ``since`` (ms), else at the end (PROTOCOL 5, 6, 11).

        Raises BadAssignment.
        """
        wanted: list[Any] = list(topics) if last_event_id is None else _parse_token(last_event_id)
        named = {entry if isinstance(entry, str) else entry["topic"] for entry in wanted}
        if unknown := sorted(named - set(topics)):
            raise BadAssignment(
                404,
                "TopicNotAvailableError",
                f"Topics {', '.join(unknown)} are not available for consumption.",
                availableTopics=topics,
            )
        start: dict[str, int] = {"offset": LATEST} if since is None else {"timestamp": since}
        entries: list[dict[str, Any]] = []
        for entry in wanted:
            if isinstance(entry, str):
                entries += [{"topic": entry, "partition": p, **start} for p in range(self.options.partitions)]
            else:
                entries.append(dict(entry))
        if len({(entry["topic"], entry["partition"]) for entry in entries}) != len(entries):
            raise BadAssignment(500, "Error", "Local: Invalid argument or configuration")
        # Entries with both an offset and a timestamp are ignored (PROTOCOL 5c); resolved ones come after the others.
        by_offset = [entry for entry in entries if "timestamp" not in entry]
        by_time = [entry for entry in entries if "offset" not in entry]
        resolved = [
            {
                "offset": self._find(entry["topic"], entry["partition"], entry["timestamp"]),
                "partition": entry["partition"],
                "topic": entry["topic"],
            }
            for entry in by_time
        ]
        return [Assigned(entry, self._start(entry)) for entry in by_offset + resolved]

    def _find(self, topic: str, partition: int, ms: int) -> int:
        """The first offset with a timestamp of ``ms`` or later, as Kafka looks it up; LATEST where there is none."""
        key = (topic, partition)
        for i, (timestamp, _) in enumerate(self._records.get(key, ())):
            if timestamp >= ms:
                return self._first[key] + i
        return LATEST

    def _start(self, entry: dict[str, Any]) -> int | None:
        """An entry's offset, put at the end where Kafka would reset it; None for a partition that does not exist."""
        key, offset = (entry["topic"], entry["partition"]), entry["offset"]
        if key not in self._records:
            return None
        first, end = self.bounds(key)
        if offset == EARLIEST:
            return first
        return offset if first <= offset <= end else end


def _parse_token(last_event_id: str) -> list[Any]:
    """A Last-Event-ID as its list of entries: topic names or objects with a topic, a partition and a place."""
    try:
        entries = json.loads(last_event_id)
    except ValueError as error:
        raise BadAssignment(400, "InvalidAssignmentError", str(error), originalName="SyntaxError") from error
    if not isinstance(entries, list) or not entries or not all(_is_entry(entry) for entry in entries):
        message = "Must provide either an array topic names, or  an array of objects with topic, partition and offset|timestamp."
        raise BadAssignment(400, "InvalidAssignmentError", message, originalName="Error", assignments=entries)
    return entries


def _is_entry(entry: Any) -> bool:
    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    if isinstance(entry, str):
        return True
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("topic"), str)
        and whole(entry.get("partition"))
        and (whole(entry.get("offset")) or whole(entry.get("timestamp")))
    )
