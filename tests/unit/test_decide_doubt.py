"""What is decided on an answer that may be too old to go by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncer.decide import Context, decide
from syncer.model import Cause, Change, Visibility
from syncer.outcome import Answers, Later, Question, Skip, SkipReason
from tests.desk import START, Desk, at, change, facts, lagging, made, seed
from tests.world import World

NO_TEXT = Visibility(text=False)
NO_USER = Visibility(user=False)


# -- what an answer may be too old for --------------------------------------------------------------------------------


YOUNG: dict[str, tuple[Cause, World, World, dict[str, Any]]] = {
    # cause, with the wiki before and after, and how the event names it
    "edit": (Cause.EDIT, World().page(1, "A", 10), World().page(1, "A", 10, 11), {"rev": 11}),
    "create": (Cause.CREATE, World(), World().page(5, "A", 11), {"rev": 11}),
    "move": (Cause.MOVE, World().page(1, "A", 10), World().page(1, "A", 10).move(1, "B", 11, 3), {}),
    "move by id": (Cause.MOVE, World().page(1, "A", 10), World().page(1, "A", 10).move(1, "B", 11, 3), {"page": (1, 3)}),
    "move over a redirect": (
        Cause.MOVE, World().page(1, "A", 10).page(2, "B", 9, redirect=True),
        World().page(1, "B", 11).page(3, "A", 12, redirect=True), {},
    ),
    "delete": (Cause.DELETE, World().page(1, "A", 10), World(), {}),
    "delete by id": (Cause.DELETE, World().page(1, "A", 10), World(), {"page": 1}),
    "undelete": (Cause.UNDELETE, World(), World().page(1, "A", 10), {}),
    "undelete under a page": (Cause.UNDELETE, World().page(1, "A", 10), World().page(1, "A", 10).page(1, "A", 9), {}),
    "hide": (
        Cause.VISIBILITY, World().page(1, "A", 10), World().page(1, "A", 10).hide(10, 4), {"rev": 10, "claims": ((10, NO_USER),)},
    ),
    "hide what is new": (
        Cause.VISIBILITY, World(), World().page(1, "A", 10).hide(10, 4), {"rev": 10, "claims": ((10, NO_USER),)},
    ),
    "protect": (Cause.PROTECT, World().page(1, "A", 10), World().page(1, "A", 10, 11, timestamp=at(-1)), {}),
    "import": (Cause.IMPORT, World(), World().page(5, "A", 11, timestamp=at(-1)), {}),
    "upload": (Cause.UPLOAD, World(), World().page(5, "A", 11, timestamp=at(-1)), {}),
    "merge": (
        Cause.MERGE, World().page(1, "A", 10).page(2, "B", 20),
        World().page(1, "A", 21, redirect=True, timestamp=at(-1)).page(2, "B", 20), {},
    ),
    "model": (Cause.CONTENT_MODEL, World().page(1, "A", 10), World().page(1, "A", 10, 11, timestamp=at(-1)), {}),
    "log": (Cause.LOG, World().page(1, "A", 10), World().page(1, "A", 10, 11, timestamp=at(-1)), {}),
    "told twice": (Cause.EDIT, World().page(1, "A", 10), World().page(1, "A", 10, 11, timestamp=at(-1)), {}),
}  # fmt: skip


def _titles(cause: Cause, more: dict[str, Any]) -> tuple[str, ...]:
    """The titles that the event names: of a move, first where the page is if it names the page by id, else where it was."""
    if cause not in {Cause.MOVE, Cause.MERGE}:
        return ("A",)
    return ("B", "A") if "page" in more else ("A", "B")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("lag", [0.0, 1.0, 4.9])
@pytest.mark.parametrize("name", YOUNG)
def test_an_answer_from_before_the_event_is_not_the_last_word(name: str, lag: float, *, known: bool) -> None:
    cause, before, after, more = YOUNG[name]
    desk = Desk()
    if known:
        seed(desk, before)
    titles = _titles(cause, more)
    desk.settle(lagging(before, after, lag - 1.0), change(cause, *titles, when=-1.0, **more))
    found, true = desk.live(), facts(after)
    assert found.items() <= true.items()
    if known or cause is not Cause.EDIT:
        assert found == true
    assert desk.now - START < 14  # nobody waits long after the event is old
    desk.close()


@pytest.mark.parametrize(
    "name", ["edit", "delete", "delete by id", "hide", "protect", "move", "move by id", "upload", "told twice"]
)
def test_an_answer_that_shows_the_effect_is_believed_at_once(name: str) -> None:
    cause, before, after, more = YOUNG[name]
    desk = Desk()
    seed(desk, before)
    titles = _titles(cause, more)
    desk.settle(after, change(cause, *titles, when=-0.5, **more))
    assert desk.live() == facts(after)
    assert not desk.waited
    desk.close()


def test_a_log_entry_that_changes_nothing_is_asked_about_twice(desk: Desk) -> None:
    world = World().page(1, "A", 10)
    seed(desk, world)
    desk.settle(world, change(Cause.LOG, "A", when=-1.0))
    assert desk.waited == {"unconfirmed": 1}
    assert len(desk.asked) == 2
    assert desk.now == START + 9.0  # when the event is ten seconds old


def test_a_revision_of_the_time_of_the_event_tells_that_it_is_seen(desk: Desk) -> None:
    world = World().page(1, "A", 10).page(1, "A", 11, timestamp=at(-1.0))
    seed(desk, world)  # another stream named the revision
    (outcome,) = desk.settle(world, change(Cause.PROTECT, "A", when=-0.6))
    assert outcome == Skip(SkipReason.UNCHANGED)
    assert len(desk.asked) == 1


def test_of_a_merge_only_the_source_tells(desk: Desk) -> None:
    before = World().page(1, "A", 10).page(2, "B", 20, timestamp=at(-1.0))
    after = World().page(1, "A", 21, redirect=True, timestamp=at(-1.0)).page(2, "B", 20, timestamp=at(-1.0))
    seed(desk, before)
    desk.settle(lagging(before, after, 3.0), change(Cause.MERGE, "A", "B", when=-0.5))
    assert desk.live() == facts(after)


RECENT: list[tuple[str, World, World, Change]] = [
    # what was published a moment ago; what a lagging replica still says; an old change that makes us ask it
    ("an edit", World().page(1, "A", 10, 11), World().page(1, "A", 10), change(Cause.PROTECT, "A")),
    ("a move", World().page(1, "A", 10).page(1, "B", 11), World().page(1, "A", 10), change(Cause.PROTECT, "A")),
    ("a creation", World().page(1, "A", 10), World(), change(Cause.PROTECT, "A")),
    ("a creation, told by id", World().page(1, "A", 10), World(), change(Cause.DELETE, "A", page=1)),
]


@pytest.mark.parametrize(("name", "now", "stale", "asking"), RECENT)
def test_what_was_published_a_moment_ago_is_not_taken_back(
    desk: Desk, name: str, now: World, stale: World, asking: Change
) -> None:
    desk.settle(now, change(Cause.RECONCILE, page=1))
    published = len(desk.mutations)
    desk.settle(lagging(stale, now, 5.0), asking)
    assert desk.live() == facts(now)
    assert len(desk.mutations) == published
    assert desk.waited["lagging"]


def test_a_deleted_page_does_not_come_back_from_a_lagging_replica(desk: Desk) -> None:
    world = World().page(1, "A", 10, 11)
    seed(desk, world)
    desk.settle(World(), change(Cause.DELETE, "A", when=-1.0))
    desk.settle(lagging(world, World(), 4.0), change(Cause.EDIT, "A", rev=11, when=-12.0))
    assert desk.live() == {}
    assert desk.kinds()[-1] == "delete"
    assert desk.waited == {"lagging": 2}


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_page_nobody_heard_of_does_not_come_back_after_its_deletion(desk: Desk, *, by_id: bool, before: bool) -> None:
    """Its creation is asked about last, at a replica that has not heard of the deletion."""
    if before:  # another page was deleted there, long ago
        seed(desk, World().page(1, "A", 10))
        desk.settle(World(), change(Cause.DELETE, "A"))
        desk.now += 100
    page = {"page": 5} if by_id else {}
    now = desk.now - START
    desk.settle(World(), change(Cause.DELETE, "A", namespace=0, when=now - 1.0, **page))
    created = change(Cause.CREATE, "A", rev=20, when=now - 3.0, **page)
    desk.settle(lagging(World().page(5, "A", 20), World(), now + 3.0), created)
    assert desk.live() == {}
    assert not [one for one in desk.mutations if one.revision and one.revision.rev_id == 20]


def test_a_page_made_anew_after_its_deletion_comes_at_once(desk: Desk) -> None:
    desk.settle(World(), change(Cause.DELETE, "A", namespace=0, when=-2.0))
    desk.settle(World().page(5, "A", 20), change(Cause.CREATE, "A", rev=20, when=0.5))
    assert desk.live() == facts(World().page(5, "A", 20))
    assert not desk.waited


def test_what_was_hidden_a_moment_ago_is_not_shown_again_by_a_lagging_replica(desk: Desk) -> None:
    shown, hidden = World().page(1, "A", 10, 11), World().page(1, "A", 10, 11).hide(10, 1)
    seed(desk, shown)
    desk.settle(hidden, change(Cause.VISIBILITY, "A", rev=10, claims=((10, NO_TEXT),), when=-1.0))
    late = change(Cause.VISIBILITY, "A", rev=10, claims=((10, NO_USER),), when=-12.0)  # of a change before that
    desk.settle(lagging(shown, hidden, 4.0), late)
    assert desk.hidden(10) == {10: NO_TEXT}


def test_a_delete_after_a_publication_is_believed(desk: Desk) -> None:
    desk.settle(World().page(1, "A", 10), change(Cause.CREATE, "A", rev=10, when=-0.5))
    desk.now += 2
    desk.settle(World(), change(Cause.DELETE, "A", when=1.0))
    assert desk.live() == {}
    assert not desk.waited


def test_after_a_start_nothing_is_known_to_be_long_ago(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10, 11))
    desk.settler.recent._at.clear()
    desk.settler.recent.since = desk.now
    desk.settle(lagging(World().page(1, "A", 10), World().page(1, "A", 10, 11), 4.0), change(Cause.PROTECT, "A"))
    assert made(desk, 1) == []


def test_a_clock_that_was_set_back_holds_up_nothing(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    desk.settler.recent.note("enwiki", 1, START + 3600)
    desk.settle(World(), change(Cause.DELETE, "A"))
    assert desk.live() == {}
    event = change(Cause.LOG, "A", when=-30.0)
    event = replace(event, source=replace(event.source, event_time=at(+3600)))  # upstream's clock is ahead of ours
    desk.settle(World(), event)
    assert not desk.waited


def test_two_answers_from_two_replicas_are_asked_for_again(desk: Desk) -> None:
    old, new = World().page(1, "A", 10), World().page(1, "A", 10, 11)
    seed(desk, old)
    answers = Answers()
    for world, question in ((new, Question(rev_ids=frozenset({11}))), (old, Question(titles=frozenset({"A"})))):
        for part, answer in world.answers(question):
            answers.add(part, answer)
    context = Context(None, parents=True, young=10.0, now=START)
    for one in (change(Cause.EDIT, "A", rev=11), change(Cause.PROTECT, "A")):
        assert decide(one, answers, desk.settler.view("enwiki"), context) == Later("lagging")


def test_two_pages_at_one_title_are_asked_for_again(desk: Desk) -> None:
    old, new = World().page(1, "A", 10).page(2, "B", 20), World().page(1, "A", 10).move(1, "B", 11).page(2, "C", 21)
    seed(desk, old)
    answers = Answers()
    for world, question in ((new, Question(titles=frozenset({"B"}))), (old, Question(page_ids=frozenset({2})))):
        for part, answer in world.answers(question):
            answers.add(part, answer)
    context = Context(None, parents=True, young=10.0, now=START)
    assert decide(change(Cause.LOG, "B"), answers, desk.settler.view("enwiki"), context) == Later("lagging")
