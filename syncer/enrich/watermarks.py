"""What each wiki's watermark says: complete up to which feed time, what stands set aside, what is known to be missing.

One is written for every wiki when a mark is passed, which is once a minute while the feed moves, and for one alone when
something else of it changed since.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import orjson

from syncer.journal import Record, Topic, latest, partition_of
from syncer.records import encode_watermark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncer.journal import Journal
    from syncer.progress import Progress
    from syncer.reconciled import Gap


class Said(NamedTuple):
    """What the last watermark of a wiki says."""

    complete_to: str
    open_set_asides: int
    gaps: tuple[Gap, ...]


async def said_before(journal: Journal, partitions: Iterable[int]) -> dict[str, Said]:
    """The watermarks that stand there, by wiki."""
    said: dict[str, Said] = {}
    for partition in partitions:
        for wiki_id, stored in (await latest(journal, Topic.WATERMARKS, partition)).items():
            part = orjson.loads(stored.value)
            gaps = tuple((start, end) for start, end in part["gaps"])
            said[wiki_id] = Said(part["complete_to"], part["open_set_asides"], gaps)
    return said


@dataclass(slots=True)
class Watermarks:
    """``partitions`` is how many the journal has. By wiki: ``filled``, the gaps that are closed, and ``unread``, a span in which
    was passed over what is wanted now. Used in the store's thread.
    """

    partitions: int
    gaps: tuple[Gap, ...] = ()
    filled: Mapping[str, frozenset[Gap]] = field(default_factory=dict)
    unread: Mapping[str, Gap] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    _wikis: dict[int, set[str]] = field(default_factory=dict)
    _marks: dict[int, list[tuple[int, str]]] = field(default_factory=dict)

    def know(self, wiki_id: str) -> None:
        """There is such a wiki."""
        self._wikis.setdefault(partition_of(wiki_id, self.partitions), set()).add(wiki_id)

    def begin(self, said: Mapping[str, Said], wanted: Iterable[str]) -> None:
        """Go on from what was said before, of wikis that are wanted: of others nothing is read any more, and it stays true."""
        self.said = dict(said)
        self._wikis.clear()
        for wiki_id in wanted:
            self.know(wiki_id)

    def mark(self, partition: int, offset: int, feed_time: str) -> None:
        """Everything of the feed up to that time stands before this offset of changes."""
        self._marks.setdefault(partition, []).append((offset, feed_time))

    def open_gaps(self, wiki_id: str) -> tuple[Gap, ...]:
        """The spans of feed time known to be missing of a wiki."""
        unread = (self.unread[wiki_id],) if wiki_id in self.unread else ()
        return (*(gap for gap in self.gaps if gap not in self.filled.get(wiki_id, ())), *unread)

    def records(self, partition: int, progress: Progress) -> list[Record]:
        """Those that are to be appended with a partition's progress."""
        marks, passed = self._marks.get(partition, []), None
        while marks and marks[0][0] < progress.lowest_unfinished:
            passed = marks.pop(0)[1]
        records = []
        for wiki_id in sorted(self._wikis.get(partition, ())):
            before = self.said.get(wiki_id)
            if complete_to := passed or (before.complete_to if before else None):
                now = Said(complete_to, progress.open_set_asides[wiki_id], self.open_gaps(wiki_id))
                if now != before:
                    self.said[wiki_id] = now
                    value = encode_watermark(wiki_id, now.complete_to, now.open_set_asides, now.gaps)
                    records.append(Record(Topic.WATERMARKS, partition, wiki_id, value, {"wiki": wiki_id}))
        return records
