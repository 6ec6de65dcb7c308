"""Progress of a partition, case by case; every order of events is in tests/property/test_progress.py."""

from __future__ import annotations

from collections import Counter

from syncer.progress import Counts, Progress


def taken(*offsets: int, progress: Progress | None = None) -> Progress:
    progress = progress or Progress()
    for offset in offsets:
        progress.take_in(offset)
    return progress


def test_nothing_is_taken_in_at_first() -> None:
    progress = Progress(read_to=7)
    assert (progress.lowest_unfinished, progress.unfinished, [*progress.ranges()]) == (7, 0, [])


def test_what_is_finished_in_order_leaves_nothing_to_remember() -> None:
    progress = taken(3, 5, 9)
    for offset, lowest in ((3, 5), (5, 9), (9, 10)):
        progress.finish(offset)
        assert (progress.lowest_unfinished, [*progress.ranges()]) == (lowest, [])


def test_what_is_finished_out_of_order_is_remembered_as_ranges() -> None:
    progress = taken(*range(10))
    for offset in (2, 3, 7, 5):
        progress.finish(offset)
    assert progress.lowest_unfinished == 0
    assert [*progress.ranges()] == [(2, 3), (5, 5), (7, 7)]
    progress.finish(0)
    progress.finish(1)
    assert (progress.lowest_unfinished, progress.unfinished) == (4, 4)
    assert [*progress.ranges()] == [(5, 5), (7, 7)]


def test_after_a_restart_what_was_finished_is_not_done_again() -> None:
    progress = taken(*range(10))
    for offset in (0, 2, 3, 7):
        progress.finish(offset)
    again = Progress.decode(progress.encode())
    assert again.read_to == 1
    assert [offset for offset in range(1, 12) if again.take_in(offset)] == [1, 4, 5, 6, 8, 9, 10, 11]


def test_a_second_restart_before_all_is_read_again_forgets_nothing() -> None:
    progress = taken(*range(10))
    for offset in (2, 3, 8):
        progress.finish(offset)
    again = taken(0, 1, 2, progress=Progress.decode(progress.encode()))
    again.finish(0)
    third = Progress.decode(again.encode())
    assert [offset for offset in range(1, 11) if third.take_in(offset)] == [1, 4, 5, 6, 7, 9, 10]


def test_everything_is_read_as_it_was_written() -> None:
    counts = Counts(3, 2, Counter(namespace=4), Counter(poison=1), Counter(patch=5, snapshot=1), 2, 1)
    progress = Progress(generation=4, counts=counts, open_set_asides=Counter(enwiki=1, dewiki=0), read_to=12)
    again = Progress.decode(progress.encode())
    assert (again.generation, again.counts, again.read_to) == (4, counts, 12)
    assert dict(again.open_set_asides) == {"enwiki": 1}
    assert again.encode() == progress.encode()


def test_counts_add_up() -> None:
    one = Counts(1, 2, Counter(a=1), Counter(b=2), Counter(patch=1), 1, 0)
    two = Counts(10, 20, Counter(a=1, c=5), Counter(), Counter(delete=1), 0, 3)
    assert one + two == Counts(11, 22, Counter(a=2, c=5), Counter(b=2), Counter(patch=1, delete=1), 1, 3)
    assert one.finished == 1 + 2 + 1 + 2
