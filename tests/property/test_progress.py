"""Progress is a set of finished offsets, whatever the order in which they are finished and however often the process dies."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from syncer.progress import Progress

# Offsets of one partition: they rise, with gaps.
OFFSETS = st.lists(st.integers(1, 3), min_size=1, max_size=40).map(lambda steps: [sum(steps[: n + 1]) for n in range(len(steps))])


class Model:
    """What is finished and what is taken in, by offset, as plain sets; ``committed`` is what was when it was last encoded."""

    def __init__(self, offsets: list[int]) -> None:
        self.offsets, self.position = offsets, 0
        self.progress = Progress(read_to=0)
        self.finished: set[int] = set()
        self.taken: list[int] = []
        self.committed = (self.progress.encode(), set(self.finished))

    @property
    def open(self) -> list[int]:
        return [offset for offset in self.taken if offset not in self.finished]

    def take_in(self) -> None:
        if self.position == len(self.offsets):
            return
        offset = self.offsets[self.position]
        assert offset >= self.progress.read_to
        assert self.progress.take_in(offset) is (offset not in self.finished)
        self.position += 1
        self.taken.append(offset)

    def finish(self, which: int) -> None:
        if not self.open:
            return
        offset = self.open[which % len(self.open)]
        self.progress.finish(offset)
        self.finished.add(offset)

    def commit(self) -> None:
        self.committed = (self.progress.encode(), set(self.finished))

    def die(self) -> None:
        """Lose everything but what was committed, and read on from there."""
        encoded, self.finished = self.committed[0], set(self.committed[1])
        self.progress = Progress.decode(encoded)
        self.taken = [offset for offset in self.offsets if offset < self.progress.read_to]
        self.position = len(self.taken)
        assert not self.open

    def check(self) -> None:
        lowest = min(self.open, default=self.progress.read_to)
        assert self.progress.lowest_unfinished == lowest
        assert self.progress.unfinished == len(self.open)
        ranges = [*self.progress.ranges()]
        assert len(ranges) <= len(self.open) + 1 + len(self.progress._known)
        for offset in self.offsets:
            if offset >= lowest:
                assert any(first <= offset <= last for first, last in ranges) is (offset in self.finished)
        assert orjson.loads(self.progress.encode())["next"] == lowest


# What is done between two deaths: so many taken in, some of them finished, and what of that is committed.
LIVES = st.lists(st.tuples(st.integers(0, 12), st.lists(st.integers(0, 50), max_size=8), st.integers(0, 8)), max_size=5)


@given(OFFSETS, LIVES, st.booleans())
def test_progress_is_what_a_set_of_offsets_would_be(
    offsets: list[int],
    lives: list[tuple[int, list[int], int]],
    eager: bool,  # noqa: FBT001
) -> None:
    model = Model(offsets)
    for takes, finishes, committed in lives:
        for _ in range(takes):
            model.take_in()
            model.check()
        for number, which in enumerate(finishes):
            model.finish(which)
            model.check()
            if number == committed:
                model.commit()
        model.die()
        model.check()
    while model.position < len(offsets):
        model.take_in()
        model.check()
        if eager:
            model.finish(0)
            model.check()
    while model.open:
        model.finish(0)
        model.check()
    assert model.finished == set(offsets)
    assert not [*model.progress.ranges()]
    assert not model.progress._done  # memory is given back
