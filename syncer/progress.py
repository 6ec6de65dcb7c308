"""How far the changes of a partition are done, and what became of them. Pure.

Changes finish out of order, so progress is the lowest unfinished offset and the finished ranges above it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from syncer.outcome import Aside, Merged, Publish, Skip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRESS_KEY = "progress"


@dataclass(slots=True)
class Counts:
    """Outcomes of changes (law 3): of a partition's since the journal began. ``by_hand`` of them were not ingest's."""

    published: int = 0
    merged: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    by_hand: int = 0
    upstream_hash: int = 0

    @property
    def finished(self) -> int:
        """The sum of outcomes."""
        return self.published + self.merged + self.skipped.total() + self.set_aside.total()

    def count(self, outcome: Publish | Merged | Skip | Aside) -> None:
        """One more change has its outcome."""
        match outcome:
            case Publish():
                self.published += 1
            case Merged():
                self.merged += 1
            case Skip(reason):
                self.skipped[reason.value] += 1
            case Aside(reason):
                self.set_aside[reason] += 1

    @property
    def outcomes(self) -> dict[str, Any]:
        """The outcomes alone, as whoever asks is told."""
        return {
            "published": self.published, "merged": self.merged, "skipped": dict(self.skipped), "set_aside": dict(self.set_aside)
        }  # fmt: skip

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return self.outcomes | {"mutations": self.mutations, "by_hand": self.by_hand, "upstream_hash": self.upstream_hash}

    @classmethod
    def read(cls, part: Mapping[str, Any]) -> Counts:
        """Read what :meth:`told` gave."""
        return cls(
            part["published"],
            part["merged"],
            Counter(part["skipped"]),
            Counter(part["set_aside"]),
            Counter(part["mutations"]),
            part["by_hand"],
            part["upstream_hash"],
        )

    def __add__(self, other: Counts) -> Counts:
        """The counts of both."""
        return Counts(
            self.published + other.published,
            self.merged + other.merged,
            self.skipped + other.skipped,
            self.set_aside + other.set_aside,
            self.mutations + other.mutations,
            self.by_hand + other.by_hand,
            self.upstream_hash + other.upstream_hash,
        )


@dataclass(slots=True)
class Progress:
    """One partition's. ``open_set_asides`` counts by wiki what was set aside and not replayed with success since."""

    generation: int = 0
    counts: Counts = field(default_factory=Counts)
    open_set_asides: Counter[str] = field(default_factory=Counter)
    read_to: int = 0  # the offset after the last record taken in
    _done: dict[int, bool] = field(default_factory=dict)  # every record from the lowest unfinished on, in order
    _known: tuple[tuple[int, int], ...] = ()  # ranges above the lowest unfinished that were finished before a restart
    unfinished: int = 0

    @property
    def lowest_unfinished(self) -> int:
        """Everything before this offset is finished."""
        return next(iter(self._done), self.read_to)

    def take_in(self, offset: int) -> bool:
        """Note the next record; False if it was finished before."""
        self.read_to = offset + 1
        done = any(first <= offset <= last for first, last in self._known)
        if self._known and offset >= self._known[-1][1]:
            self._known = ()
        if not done:
            self._done[offset] = False
            self.unfinished += 1
        elif self._done:
            self._done[offset] = True
        return not done

    def finish(self, offset: int) -> None:
        """Note that a record taken in is finished."""
        self._done[offset] = True
        self.unfinished -= 1
        while self._done and self._done[first := next(iter(self._done))]:
            del self._done[first]

    def has_finished(self, offset: int) -> bool:
        """Whether a record is finished, by what was read back from the journal."""
        return offset < self.read_to or any(first <= offset <= last for first, last in self._known)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """The finished ranges above the lowest unfinished offset, both ends included."""
        first = last = None
        for offset, done in self._done.items():
            if done:
                first, last = (offset if first is None else first), offset
            elif first is not None and last is not None:
                yield first, last
                first = None
        if first is not None and last is not None:
            yield first, last
        yield from (known for known in self._known if known[1] >= self.read_to)

    def encode(self) -> bytes:
        """As JSON, for the journal."""
        return orjson.dumps(
            {
                "next": self.lowest_unfinished,
                "done": list(self.ranges()),
                "generation": self.generation,
                "open_set_asides": +self.open_set_asides,
                "counts": self.counts.told(),
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> Progress:
        """Read what :meth:`encode` wrote; ``read_to`` is then the lowest unfinished offset."""
        part = orjson.loads(value)
        return cls(
            generation=part["generation"],
            counts=Counts.read(part["counts"]),
            open_set_asides=Counter(part["open_set_asides"]),
            read_to=part["next"],
            _known=tuple((first, last) for first, last in part["done"]),
        )
