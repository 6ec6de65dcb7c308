"""What waits to be asked about, by wiki. No I/O; times are of the loop's clock.

A change waits in its wiki's queue in the order of the journal; one that is to be asked again later waits beside it until it
is due. What is in work is in neither. What is patient waits in a line of its own, and is taken by itself: there may be a whole
wiki of it, and no edit is to wait behind that.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from syncer.model import REPAIR, SEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from syncer.model import Change
    from syncer.outcome import Question

MOST_VALUES = 50  # ids or titles a request, without special rights (PROTOCOL 21)
PATIENT = frozenset({REPAIR, SEED})  # streams of changes that give way to all others


@dataclass(slots=True, eq=False)
class Item:
    """A change in work. ``tries`` counts how often it was put off; ``alone``: it may have killed a process before."""

    partition: int
    offset: int
    change: Change
    arrived: float
    values: int = 1
    tries: int = 0
    alone: bool = False

    @property
    def patient(self) -> bool:
        """Whether it gives way to what has just happened."""
        return self.change.source.stream in PATIENT


@dataclass(slots=True)
class WikiQueue:
    """One wiki's changes. ``patient`` are those that give way to the ``waiting``. ``most`` values are asked for at once: fewer
    where so many were not answered.
    """

    wiki_id: str
    domain: str
    waiting: deque[Item] = field(default_factory=deque)
    patient: deque[Item] = field(default_factory=deque)
    delayed: list[tuple[float, int, Item]] = field(default_factory=list)
    in_work: int = 0
    values: int = 0  # of what is waiting
    most: int = MOST_VALUES

    def __len__(self) -> int:
        """How many changes are not finished."""
        return len(self.waiting) + len(self.patient) + len(self.delayed) + self.in_work

    @property
    def oldest(self) -> float:
        """When the first of what is waiting arrived."""
        return self.waiting[0].arrived

    def add(self, item: Item) -> None:
        """Put a change at the end."""
        if item.patient:
            self.patient.append(item)
        else:
            self.waiting.append(item)
            self.values += item.values

    def put_back(self, items: list[Item]) -> None:
        """Put changes that could not be asked about back to the front, in their order."""
        self.in_work -= len(items)
        for item in reversed(items):
            (self.patient if item.patient else self.waiting).appendleft(item)
            self.values += 0 if item.patient else item.values

    def put_off(self, item: Item, until: float) -> None:
        """Let a change wait until it is due again."""
        self.in_work -= 1
        heapq.heappush(self.delayed, (until, item.offset, item))

    def due(self, now: float) -> None:
        """Let those that are due wait with the others."""
        while self.delayed and self.delayed[0][0] <= now:
            self.add(heapq.heappop(self.delayed)[2])

    def take(self, *, patient: bool = False) -> list[Item]:
        """A batch, of those that are ``patient`` or of the others: what fits into one request, or a suspect alone."""
        line = self.patient if patient else self.waiting
        batch: list[Item] = []
        values = 0
        while line:
            item = line[0]
            if batch and (values + item.values > self.most or item.alone or batch[0].alone):
                break
            batch.append(line.popleft())
            values += item.values
        self.values -= 0 if patient else values
        self.in_work += len(batch)
        return batch

    def answered(self) -> None:
        """The wiki answered what was taken."""
        self.most = MOST_VALUES

    def failed(self) -> None:
        """It did not: half as much may be easier for it."""
        self.most = max(self.most // 2, 1)

    def drain(self) -> list[Item]:
        """Everything that waits, due or not: the wiki is taken out of the way."""
        items = [*self.waiting, *self.patient, *(item for _, _, item in sorted(self.delayed, key=lambda entry: entry[:2]))]
        self.waiting.clear()
        self.patient.clear()
        self.delayed.clear()
        self.values = 0
        return items


def batched(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Items by wiki, in the order of each, so many at a time."""
    by_wiki: dict[str, list[Item]] = {}
    for item in items:
        by_wiki.setdefault(item.change.wiki_id, []).append(item)
    for own in by_wiki.values():
        yield from (own[at : at + most] for at in range(0, len(own), most))


def chunks(question: Question) -> Iterator[tuple[str, tuple[int | str, ...]]]:
    """A question as single requests: the field it is of, and values, in a fixed order."""
    for kind, values in (("rev_ids", question.rev_ids), ("titles", question.titles), ("page_ids", question.page_ids)):
        ordered: tuple[int | str, ...] = tuple(sorted(values, key=str))
        for at in range(0, len(ordered), MOST_VALUES):
            yield kind, ordered[at : at + MOST_VALUES]
