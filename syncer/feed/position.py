"""The resume point: an own map of topic-partitions to timestamps, because the token as it came loses events. Pure.

PROTOCOL 5 and 6 are the reasons for every line here. A token of the server's is only read, never sent back: what is sent
names every topic-partition known, by a timestamp alone, rewound; and only topics of the streams that are asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from syncer.model import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TopicPartition = tuple[str, int]

ALIASES = {"recentchange": "mediawiki.recentchange"}
MAX_TOPIC_PARTITIONS = 256  # 4 streams x 2 data centres x 1 partition = 8 are real
NOWHERE: tuple[TopicPartition, int] = (("", 0), 0)


def canonical(stream: str) -> str:
    """A stream's full name, as topics and events write it."""
    return ALIASES.get(stream, stream)


def stream_of(topic: str) -> str:
    """The stream of a topic: what stands behind the data centre."""
    return topic.partition(".")[2]


def iso(milliseconds: int) -> str:
    """A Kafka timestamp as ISO 8601, the only form in which ``since`` is understood (PROTOCOL 7)."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(moment: str) -> int:
    """ISO 8601 as a Kafka timestamp; without a zone it is UTC. Raises ValueError."""
    parsed = datetime.fromisoformat(moment)
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def floor(timestamps: Mapping[TopicPartition, int]) -> int | None:
    """A time from which a connect with ``since`` misses nothing: that of the stream least advanced.

    A stream is as far as its furthest topic-partition: the data centre that is not live may have been silent for long.
    """
    reached: dict[str, int] = {}
    for (topic, _), at in timestamps.items():
        stream = stream_of(topic)
        reached[stream] = max(at, reached.get(stream, 0))
    return min(reached.values(), default=None)


def since(position: Position, rewind: float) -> str | None:
    """The position as the one setting that goes on from it (``feed.since``); None if nothing was delivered yet."""
    at = floor(position.timestamps)
    return None if at is None else iso(max(0, at - int(rewind * 1000)))


class Cursor:
    """The position of a running feed: advanced with every event, given back as the token of the next connection."""

    def __init__(self, streams: Iterable[str], start: Position) -> None:
        self._streams = frozenset(map(canonical, streams))
        self.timestamps = {source: at for source, at in start.timestamps.items() if stream_of(source[0]) in self._streams}
        self._before: list[Any] = []  # the entries of the id before
        self._timed = False  # whether this connection's ids have timestamps
        self._delivered = NOWHERE

    @property
    def complete(self) -> bool:
        """Whether a token would subscribe to every stream that is asked for."""
        return self._streams == {stream_of(topic) for topic, _ in self.timestamps}

    def position(self) -> Position:
        """The position as it is now."""
        return Position(dict(self.timestamps))

    def token(self, rewind: float) -> str:
        """The ``Last-Event-ID`` to send."""
        back = int(rewind * 1000)
        entries = [
            {"topic": topic, "partition": partition, "timestamp": max(0, at - back)}
            for (topic, partition), at in sorted(self.timestamps.items())
        ]
        return orjson.dumps(entries).decode()

    def connected(self) -> None:
        """A connection was made: the ids of the one before say nothing about what this one delivers."""
        self._before, self._timed = [], False

    def absorb(self, event_id: str, safe: int, horizon: int, data: bytes = b"") -> tuple[TopicPartition, int]:
        """Advance by the id of a delivered event, and say from which topic-partition it came, and its timestamp.

        A timestamp in an id is that of the delivered event plus 1. A topic-partition that delivered nothing yet is given
        ``safe``, a time before which it cannot have had anything. Timestamps after ``horizon`` are some producer's wrong
        clock: believed, one of them would skip everything until then. An id that cannot be read changes nothing. Where ids
        are of offsets alone (PROTOCOL 4) the event's ``data`` tells: by them the feed would begin at ``safe`` again and again.
        """
        try:
            entries = orjson.loads(event_id)
            before = self._before if len(self._before) == len(entries) else [None] * len(entries)
            for entry, then in zip(entries, before, strict=True):
                if entry != then:  # of all its entries, an event changes one
                    self._timed = self._timed or "timestamp" in entry
                    self._advance((entry["topic"], entry["partition"]), entry.get("timestamp"), safe, horizon)
            self._before = entries
            if not self._timed:
                meta = orjson.loads(data)["meta"]
                self._advance((meta["topic"], meta["partition"]), milliseconds(meta["dt"]) + 1, safe, horizon)
        except (TypeError, KeyError, AttributeError, ValueError):
            pass
        return self._delivered

    def _advance(self, source: TopicPartition, stated: object, safe: int, horizon: int) -> None:
        known = self.timestamps.get(source)
        if known is None and not self._wanted(source):
            return
        if type(stated) is int and 0 < stated <= horizon:
            self._delivered = (source, stated - 1)
            if known is None or stated > known + 1:
                self.timestamps[source] = stated - 1
        elif known is None:
            self.timestamps[source] = safe

    def _wanted(self, source: tuple[object, object]) -> bool:
        topic, partition = source
        if not isinstance(topic, str) or type(partition) is not int or len(self.timestamps) >= MAX_TOPIC_PARTITIONS:
            return False
        return stream_of(topic) in self._streams
