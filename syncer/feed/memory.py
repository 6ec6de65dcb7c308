"""What was seen, as far back as it can come again: events by id, and revisions that several streams name. Pure, bounded.

An event comes again when the feed is rewound: from a topic-partition those within the rewound time, and from all of them
what lies after the feed's complete time when a connection is made with ``since`` (PROTOCOL 5 and 6). What is older than
both is forgotten. Beyond ``limit`` the oldest is forgotten too: what then slips through is read once more, and is harmless.
"""

from __future__ import annotations

from collections import defaultdict, deque
from enum import Enum
from typing import TYPE_CHECKING

from syncer.feed.event import NEW_REVISION
from syncer.feed.position import milliseconds, stream_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.feed.position import TopicPartition
    from syncer.model import Change

APART = 10_000  # milliseconds between the times at which two streams tell the same edit
LIMIT = 100_000  # events; x 0.3 KB = 30 MB. Of the whole public feed, some 50 minutes


class Told(Enum):
    """Whether a revision was named before."""

    FIRST = "first"
    ELSEWHERE = "elsewhere"
    AGAIN = "again"


class Memory:
    """Timestamps are Kafka's, in milliseconds; ``rewind`` too."""

    def __init__(self, rewind: int, limit: int = LIMIT) -> None:
        self.rewind = rewind
        self._limit = limit
        self._events: dict[str, int] = {}  # by how many topic-partitions it is remembered
        self._order: defaultdict[TopicPartition, deque[tuple[int, str]]] = defaultdict(deque)
        self._reached: dict[TopicPartition, int] = {}  # the largest timestamps so far
        self._revisions: dict[tuple[str, int], int] = {}  # the streams that named it, one bit each
        self._revision_order: deque[tuple[int, tuple[str, int]]] = deque()
        self._bits: dict[str, int] = {}

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._events) + len(self._revisions)

    def seen(self, event_id: str, source: TopicPartition, at: int) -> bool:
        """Whether an event of that id was seen before; from now on it was."""
        if event_id in self._events:
            return True
        self.remember(event_id, source, at)
        return False

    def remember(self, event_id: str, source: TopicPartition, at: int) -> None:
        """Remember an event that ``source`` delivered, or will deliver again.

        Kafka goes back to the first event that is not earlier than the timestamp asked for: an event comes again as long as
        anything before it does, however late it came itself.
        """
        self._events[event_id] = self._events.get(event_id, 0) + 1
        self._reached[source] = at = max(at, self._reached.get(source, at))
        self._order[source].append((at, event_id))

    def told(self, wiki_id: str, rev_id: int, stream: str, at: int) -> Told:
        """Who named this revision before; from now on ``stream`` did.

        Another stream did, and this one did not: then it is the same change. A stream that names it again tells something new,
        as ``revision-create`` does after an undelete (PROTOCOL i).
        """
        key, bit = (wiki_id, rev_id), self._bits.get(stream) or self._new_bit(stream)
        known = self._revisions.get(key, 0)
        self._revisions[key] = known | bit
        if known:
            return Told.AGAIN if known & bit else Told.ELSEWHERE
        self._revision_order.append((at, key))
        return Told.FIRST

    def recall(self, change: Change, timestamps: Mapping[TopicPartition, int]) -> None:
        """Remember a change that was appended before a start with this position.

        Which topic-partition of its stream it came from is not known. Of the other streams, those that had come so far that
        they will not name its revision again did so already; in doubt they did: then the change is only read once more.
        """
        stream, at = change.source.stream, milliseconds(change.source.event_time)
        for source, reached in timestamps.items():
            if stream_of(source[0]) == stream and at <= reached + APART:
                self.remember(change.change_id, source, reached)
        if change.cause in NEW_REVISION and change.rev_ids:
            self.told(change.wiki_id, change.rev_ids[0], stream, at)
            passed = {stream_of(topic) for (topic, _), reached in timestamps.items() if at < reached - self.rewind + APART}
            for other in passed:
                self.told(change.wiki_id, change.rev_ids[0], other, at)

    def recall_key(self, key: str, timestamps: Mapping[TopicPartition, int]) -> None:
        """Remember what was set aside before a start with this position."""
        for source, reached in timestamps.items():
            self.remember(key, source, reached)

    def forget(self, largest: Mapping[TopicPartition, int], complete: int | None) -> None:
        """Forget what cannot come again, given the largest timestamp of each topic-partition and the feed's complete time."""
        complete = complete or 0
        self._reached.update(largest)
        for source, order in self._order.items():
            before = min(complete, largest.get(source, complete) - self.rewind)
            while order and order[0][0] < before:
                self._drop(order)
        revisions = self._revision_order
        while revisions and revisions[0][0] < complete:
            del self._revisions[revisions.popleft()[1]]
        while len(self) > self._limit:
            longest = max(self._order.values(), key=len, default=None)
            if longest and len(longest) >= len(revisions):
                self._drop(longest)
            else:
                del self._revisions[revisions.popleft()[1]]

    def _drop(self, order: deque[tuple[int, str]]) -> None:
        event_id = order.popleft()[1]
        if self._events[event_id] == 1:
            del self._events[event_id]
        else:
            self._events[event_id] -= 1

    def _new_bit(self, stream: str) -> int:
        return self._bits.setdefault(stream, 1 << len(self._bits))
