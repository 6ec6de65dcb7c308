from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from syncer.enrich.queues import MOST_VALUES, Item, WikiQueue, chunks
from syncer.model import REPAIR, SEED, Cause
from syncer.outcome import Question
from tests.desk import change


def item(offset: int, *, values: int = 1, arrived: float = 0.0, alone: bool = False, stream: str = "recentchange") -> Item:
    return Item(0, offset, change(Cause.EDIT, "A", rev=offset, stream=stream), arrived, values, alone=alone)


def queue(*items: Item) -> WikiQueue:
    made = WikiQueue("enwiki", "en.wikipedia.org")
    for one in items:
        made.add(one)
    return made


def offsets(items: list[Item]) -> list[int]:
    return [one.offset for one in items]


def test_a_batch_is_what_fits_into_a_request_in_order() -> None:
    waiting = queue(*(item(n) for n in range(60)))
    assert (waiting.values, len(waiting)) == (60, 60)
    assert offsets(waiting.take()) == list(range(50))
    assert (waiting.values, waiting.in_work, len(waiting)) == (10, 50, 60)
    assert offsets(waiting.take()) == list(range(50, 60))
    assert waiting.take() == []


def test_a_change_of_many_values_goes_with_those_that_fit_or_alone() -> None:
    waiting = queue(item(1, values=30), item(2, values=30), item(3, values=20), item(4, values=500), item(5))
    assert [offsets(waiting.take()) for _ in range(4)] == [[1], [2, 3], [4], [5]]


def test_a_suspect_is_taken_alone() -> None:
    waiting = queue(item(1), item(2, alone=True), item(3), item(4))
    assert [offsets(waiting.take()) for _ in range(3)] == [[1], [2], [3, 4]]


def test_less_is_asked_of_a_wiki_that_does_not_answer() -> None:
    waiting = queue(*(item(n) for n in range(100)))
    sizes = []
    for _ in range(8):
        taken = waiting.take()
        sizes.append(len(taken))
        waiting.failed()
        waiting.put_back(taken)
    assert sizes == [50, 25, 12, 6, 3, 1, 1, 1]
    waiting.answered()
    assert len(waiting.take()) == MOST_VALUES


def test_what_could_not_be_asked_about_comes_first_again() -> None:
    waiting = queue(item(1, arrived=5.0), item(2), item(3))
    taken = waiting.take()
    waiting.add(item(4, arrived=9.0))
    assert waiting.oldest == 9.0
    waiting.put_back(taken[:2])
    assert (waiting.oldest, waiting.in_work, waiting.values) == (5.0, 1, 3)
    assert offsets(waiting.take()) == [1, 2, 4]


def test_what_is_put_off_waits_until_it_is_due() -> None:
    waiting = queue(item(1), item(2), item(3))
    taken = waiting.take()
    waiting.put_off(taken[0], 20.0)
    waiting.put_off(taken[1], 10.0)
    waiting.put_off(taken[2], 10.0)
    assert (len(waiting), waiting.in_work, waiting.values) == (3, 0, 0)
    waiting.due(9.9)
    assert waiting.take() == []
    waiting.due(10.0)
    assert offsets(waiting.take()) == [2, 3]
    waiting.due(99.0)
    assert offsets(waiting.take()) == [1]
    assert waiting.delayed == []


def test_a_wiki_taken_out_of_the_way_leaves_nothing() -> None:
    waiting = queue(item(1), item(2), item(3))
    (first, *rest) = waiting.take()
    waiting.put_off(first, 20.0)
    waiting.put_back(rest)
    assert offsets(waiting.drain()) == [2, 3, 1]
    assert (len(waiting), waiting.values) == (0, 0)


def test_what_is_patient_is_taken_by_itself() -> None:
    waiting = queue(item(1, stream=SEED), item(2), item(3, stream=REPAIR, arrived=3.0), item(4))
    assert (waiting.values, len(waiting), waiting.oldest) == (2, 4, 0.0)
    assert offsets(waiting.take()) == [2, 4]
    assert waiting.take() == []
    taken = waiting.take(patient=True)
    assert (offsets(taken), waiting.in_work, waiting.values) == ([1, 3], 4, 0)
    waiting.put_back(taken)
    assert waiting.take() == []
    assert offsets(waiting.drain()) == [1, 3]
    assert waiting.take(patient=True) == []


@given(st.integers(0, 2**32), st.lists(st.tuples(st.integers(1, 70), st.sampled_from(["recentchange", SEED])), max_size=80))
def test_nothing_is_lost_whatever_becomes_of_it(seed: int, values: list[tuple[int, str]]) -> None:
    """Law 3, for queues: what was added is taken once, or is still there, and the sums say how much."""
    rng, done = Random(seed), list[int]()
    waiting = queue(*(item(n, values=value, stream=stream) for n, (value, stream) in enumerate(values)))
    for now in range(300):
        taken = waiting.take(patient=rng.random() < 0.5)
        for one in list(taken):
            fate = rng.random()
            if fate < 0.4:
                done.append(one.offset)
            elif fate < 0.7:
                waiting.put_off(one, now + rng.random() * 5)
            else:
                continue
            taken.remove(one)
        waiting.in_work -= len(done) - (len(values) - len(waiting))
        waiting.put_back(taken)
        waiting.due(float(now))
        assert waiting.in_work == 0
        assert len(waiting) + len(done) == len(values)
        assert waiting.values == sum(one.values for one in waiting.waiting)
    waiting.due(1e9)
    assert sorted([*done, *offsets(waiting.drain())]) == list(range(len(values)))


def test_a_question_becomes_requests_of_fifty_of_a_kind() -> None:
    question = Question(frozenset(range(120)), frozenset({"B", "A"}), frozenset({7}))
    parts = list(chunks(question))
    assert [(kind, len(values)) for kind, values in parts] == [
        ("rev_ids", 50), ("rev_ids", 50), ("rev_ids", 20), ("titles", 2), ("page_ids", 1),
    ]  # fmt: skip
    assert {value for kind, values in parts if kind == "rev_ids" for value in values} == set(range(120))
    assert parts[3] == ("titles", ("A", "B"))
    assert list(chunks(Question())) == []
