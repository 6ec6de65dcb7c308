from __future__ import annotations

from dataclasses import replace

import pytest

from syncer.model import Answer
from syncer.outcome import Answers, Question
from tests.world import World


def told(*answers: tuple[World, Question]) -> Answers:
    made = Answers()
    for world, question in answers:
        for part, answer in world.answers(question):
            made.add(part, answer)
    return made


def revs(*rev_ids: int) -> Question:
    return Question(rev_ids=frozenset(rev_ids))


def titles(*names: str) -> Question:
    return Question(titles=frozenset(names))


def ids(*page_ids: int) -> Question:
    return Question(page_ids=frozenset(page_ids))


def test_questions_are_added_and_taken_apart() -> None:
    both = revs(1, 2) | titles("A") | ids(3)
    assert both == Question(frozenset({1, 2}), frozenset({"A"}), frozenset({3}))
    assert both - (revs(1) | titles("A", "B")) == Question(frozenset({2}), frozenset(), frozenset({3}))
    assert bool(both)
    assert not Question()
    assert not both - both


@pytest.mark.parametrize(("kind", "value"), [("rev_ids", 1), ("titles", "A"), ("page_ids", 3)])
def test_a_question_knows_what_it_names(kind: str, value: int | str) -> None:
    question = revs(1) | titles("A") | ids(3)
    assert question.names(kind, value)
    assert not question.names(kind, 2)


def test_answers_are_put_together_by_page() -> None:
    world = World().page(1, "A", 9, 10).page(2, "B", 20)
    answers = told((world, revs(9, 77)), (world, titles("A", "C", "b")), (world, ids(2, 5)))
    assert answers.asked == revs(9, 77) | titles("A", "C", "b") | ids(2, 5)
    assert sorted(answers.pages[1].revisions) == [9, 10]
    assert (answers.bad_rev_ids, answers.missing_titles, answers.missing_page_ids) == ({77}, {"C": 0}, {5})
    assert answers.canonical == {"b": "B"}
    assert not answers.torn
    for rev_id, page_id in ((9, 1), (10, 1), (20, 2)):
        page = answers.page_of(rev_id)
        assert page
        assert page.page_id == page_id
    assert answers.page_of(77) is None
    at = answers.page_at("A")
    assert at
    assert at.page_id == 1
    assert answers.page_at("C") is None


def test_what_moved_on_in_between_is_as_the_later_answer_says() -> None:
    old = World().page(1, "A", 10)
    new = old.copy().page(1, "B", 11)
    answers = told((old, titles("A")), (new, revs(11)))
    assert answers.page_at("A") is None
    assert answers.page_at("B") == answers.pages[1]
    assert sorted(answers.pages[1].revisions) == [10, 11]
    assert not answers.torn


A = World().page(1, "A", 10)
TORN = {
    "an older revision": (A.copy().page(1, "A", 11), A, titles("A"), titles("A"), {1}),
    "the same revision, another title": (A, World().page(1, "B", 10), ids(1), ids(1), {1}),
    "the same revision, a redirect": (A, World().page(1, "A", 10, redirect=True), ids(1), ids(1), {1}),
    "a revision that was hidden, or shown": (A, A.copy().hide(10, 1), revs(10), titles("A"), {1}),
    "gone by id": (A, World(), revs(10), ids(1), {1}),
    "gone by title": (A, World(), revs(10), titles("A"), {1}),
    "there after all, by id": (World(), A, ids(1), revs(10), {1}),
    "there after all, by title": (World(), A, titles("A"), revs(10), {1}),
    "two at a title": (A, World().page(2, "A", 20), revs(10), titles("A"), {1, 2}),
    "a newer revision": (A, A.copy().page(1, "A", 11), titles("A"), titles("A"), set()),
    "the same": (A, A, revs(10), titles("A"), set()),
}


@pytest.mark.parametrize("name", TORN)
def test_of_two_replicas_nobody_knows_which_lags(name: str) -> None:
    first, second, asked, then, torn = TORN[name]
    assert told((first, asked), (second, then)).torn == torn


def test_a_page_that_was_answered_for_keeps_its_revisions() -> None:
    world = World().page(1, "A", 10)
    answers = told((world, revs(10)))
    answers.add(ids(1), Answer(pages={1: replace(world.pages[1], revisions={})}))
    assert list(answers.pages[1].revisions) == [10]
