"""What is decided about pages that move, go, come back, are made anew, and enter or leave the scope."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from syncer.decide import decide
from syncer.model import SEED, Answer, Cause, Kind, Prior, Visibility
from syncer.outcome import Answers, Later, Merged, Question, Skip, SkipReason
from tests.desk import Desk, change, facts, made, seed
from tests.world import World

if TYPE_CHECKING:
    from syncer.model import Change

NO_TEXT = Visibility(text=False)
SCOPE = frozenset({0})


# -- pages of a dump --------------------------------------------------------------------------------------------------


def dumped(*page_ids: int) -> list[Change]:
    return [change(Cause.RECONCILE, page=page_id, stream=SEED) for page_id in page_ids]


def test_pages_of_a_dump_are_asked_for_together_and_come_whole(desk: Desk) -> None:
    world = World().page(1, "A", 10).page(2, "Moved since", 20, 21).page(3, "Hidden", 30).hide(30, 1)
    desk.settle(world, *dumped(1, 2, 3))
    assert desk.live() == facts(world)
    assert desk.kinds() == ["snapshot+gap"] * 3
    assert [(one.cause, one.source.stream) for one in desk.mutations] == [(Cause.RECONCILE, SEED)] * 3
    assert desk.mutations[2].text is None
    assert desk.asked == [Question(page_ids=frozenset({1, 2, 3}))]


def test_of_a_page_that_was_heard_of_a_dump_says_nothing_new(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10).page(2, "B", 20))
    desk.settle(World().page(1, "A", 10), change(Cause.DELETE, "B"))
    desk.asked.clear()
    assert desk.settle(World().page(1, "A", 10, 11).page(2, "B", 20), *dumped(1, 2)) == [Merged(), Merged()]
    assert desk.asked == []


def test_a_page_that_is_heard_of_while_it_waits_comes_once(desk: Desk) -> None:
    world = World().page(1, "A", 10)
    outcomes = desk.settle(world, change(Cause.EDIT, "A", rev=10), *dumped(1))
    assert outcomes[1] == Skip(SkipReason.UNCHANGED)
    assert desk.kinds() == ["snapshot+gap"]


def test_pages_of_a_dump_that_are_gone_or_not_wanted_any_more_yield_nothing() -> None:
    desk = Desk(SCOPE)
    world = World().page(1, "Talk:A", 10)
    assert desk.settle(world, *dumped(1, 2)) == [Skip(SkipReason.NAMESPACE), Skip(SkipReason.PAGE_GONE)]
    assert desk.mutations == []
    desk.close()


# -- moves, deletions, titles that change hands -----------------------------------------------------------------------


def test_an_edit_of_a_page_that_was_just_moved(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    world = World().page(1, "A", 10, 11, 12).move(1, "B", 13, 3)
    desk.settle(world, *(change(Cause.EDIT, "A", rev=rev) for rev in (11, 12)), change(Cause.MOVE, "A", "B"))
    assert desk.live() == facts(world)
    assert made(desk, 1) == ["patch 1 11", "patch 1 12", "patch 1 13", "snapshot+gap 3 14"]
    assert [one.prior for one in desk.mutations[1:4]] == [Prior("A"), None, None]
    assert {one.page.title for one in desk.mutations[1:4]} == {"B"}


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
def test_two_pages_that_swap_their_titles(desk: Desk, order: tuple[int, ...], *, together: bool) -> None:
    seed(desk, World().page(1, "A", 10).page(2, "B", 20))
    world = World().page(1, "A", 10).page(2, "B", 20).page(1, "B", 11).page(2, "A", 21)
    moves = [change(Cause.MOVE, "A", "C"), change(Cause.MOVE, "B", "A"), change(Cause.MOVE, "C", "B")]
    for batch in [[moves[n] for n in order]] if together else [[moves[n]] for n in order]:
        desk.settle(world, *batch)
    assert desk.live() == facts(world)


def test_three_pages_in_a_ring_are_all_asked_for(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10).page(2, "B", 20).page(3, "C", 30))
    world = World().page(1, "B", 11).page(2, "C", 21).page(3, "A", 31)
    desk.settle(world, change(Cause.EDIT, "B", rev=11))
    assert desk.live() == facts(world)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("named", [(), (1, 2)])
def test_a_page_that_is_deleted_and_made_anew(desk: Desk, order: tuple[int, ...], named: tuple[int, ...]) -> None:
    seed(desk, World().page(1, "A", 10))
    world = World().page(2, "A", 20, 21)
    ids = ({"page": 1}, {"page": 2}, {"page": 2}) if named else ({}, {}, {})
    events = [
        change(Cause.DELETE, "A", namespace=0, **ids[0]),
        change(Cause.CREATE, "A", rev=20, namespace=0, **ids[1]),
        change(Cause.EDIT, "A", rev=21, namespace=0, **ids[2]),
    ]
    for number in order:
        desk.settle(world, events[number])
    assert desk.live() == facts(world)


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_a_move_over_its_own_redirect(desk: Desk, order: tuple[int, ...]) -> None:
    """The deletion of what was at the new title comes after the move (PROTOCOL b)."""
    seed(desk, World().page(1, "B", 10).page(2, "A", 11, redirect=True))
    world = World().page(1, "A", 12).page(3, "B", 13, redirect=True)
    events = [change(Cause.MOVE, "B", "A"), change(Cause.DELETE, "A")]
    for number in order:
        desk.settle(world, events[number])
    assert desk.live() == facts(world)
    assert desk.page(2).live is False  # type: ignore[union-attr]


def test_a_full_merge_and_a_partial_one(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10).page(2, "B", 20))
    world = World().page(1, "A", 21, redirect=True).page(2, "B", 20)
    desk.settle(world, change(Cause.MERGE, "A", "B"))
    assert desk.live() == facts(world)
    (outcome,) = desk.settle(world, change(Cause.MERGE, "B", "A"))
    assert outcome == Skip(SkipReason.UNCHANGED)


def test_a_page_restored_to_an_older_revision_goes_back(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 8, 9, 10))
    world = World().page(1, "A", 8)
    desk.settle(world, change(Cause.UNDELETE, "A"))
    assert desk.live() == facts(world)
    desk.settle(world, change(Cause.EDIT, "A", rev=10))  # of before, and late
    assert desk.live() == facts(world)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_an_undelete_of_which_each_revision_is_told_again(desk: Desk, order: tuple[int, ...]) -> None:
    seed(desk, World().page(1, "A", 8, 9, 10))
    world = World().page(4, "A", 8, 9)
    told = [change(Cause.EDIT, "A", rev=rev, page=4, stream="mediawiki.revision-create") for rev in (8, 9)]
    events = [change(Cause.DELETE, "A", page=1, namespace=0), change(Cause.UNDELETE, "A", page=4), *told]
    for number in order:
        desk.settle(world, events[number])
    assert desk.live() == facts(world)
    assert desk.page(1).live is False  # type: ignore[union-attr]


# -- pages nobody heard of, and scope ---------------------------------------------------------------------------------


def test_a_page_never_heard_of_is_deleted_by_title(desk: Desk) -> None:
    desk.settle(World(), change(Cause.DELETE, "A", namespace=0), change(Cause.DELETE, "B", namespace=0))
    assert [(one.kind, one.page.page_id, one.page.title) for one in desk.mutations] == [
        (Kind.DELETE, None, "A"),
        (Kind.DELETE, None, "B"),
    ]
    (again,) = desk.settle(World(), change(Cause.DELETE, "A", namespace=0))
    assert again == Skip(SkipReason.PAGE_GONE)


def test_a_title_that_a_page_has_left_needs_no_deletion(desk: Desk) -> None:
    """Whoever had another page there, from a dump, lost it when the first page came (DESIGN 6)."""
    seed(desk, World().page(1, "A", 10))
    desk.settle(World().page(1, "B", 11), change(Cause.MOVE, "A", "B"))
    (outcome,) = desk.settle(World().page(1, "B", 11), change(Cause.DELETE, "A", namespace=0))
    assert outcome == Skip(SkipReason.PAGE_GONE)
    world = World().page(1, "A", 12).page(2, "B", 20)
    desk.settle(world, change(Cause.MOVE, "B", "A"), change(Cause.CREATE, "B", rev=20))
    assert (desk.store.was_at("enwiki", "A"), desk.store.was_at("enwiki", "B")) == (False, False)


def test_a_page_named_by_id_is_deleted_by_id_though_nobody_heard_of_it(desk: Desk) -> None:
    desk.settle(World().page(2, "A", 20), change(Cause.DELETE, "A", page=7, namespace=0))
    assert [(one.page.page_id, one.page.title) for one in desk.mutations] == [(7, "A")]
    desk.settle(World(), change(Cause.DELETE, "A", namespace=0))
    assert len(desk.mutations) == 1


def test_a_page_named_by_id_is_deleted_once_whatever_is_known_of_its_title(desk: Desk) -> None:
    """Who began with a dump may have it where it was before it was moved to the title it was deleted at."""
    by_id = change(Cause.DELETE, "A", page=7, namespace=0)
    desk.settle(World(), change(Cause.DELETE, "A", namespace=0), by_id)
    assert [(one.page.page_id, one.page.title) for one in desk.mutations] == [(None, "A"), (7, "A")]
    assert desk.settle(World(), by_id) == [Skip(SkipReason.UNCHANGED)]


def test_a_page_that_was_never_in_scope_yields_nothing() -> None:
    desk, world = Desk(namespaces=SCOPE), World().page(1, "User:A", 10, 11)
    events = [
        change(Cause.EDIT, "User:A", rev=11, page=1, namespace=2),
        change(Cause.EDIT, "A", rev=11, namespace=0),  # the event is wrong about it
        change(Cause.VISIBILITY, "User:A", rev=10, claims=((10, NO_TEXT),)),
        change(Cause.MOVE, "User:B", "User:A"),
        change(Cause.DELETE, "User:Z", namespace=2),
        change(Cause.DELETE, "User:Z", page=9, namespace=2),
        change(Cause.LOG, "User:A", page=1),
    ]
    outcomes = desk.settle(world, *events)
    assert all(isinstance(outcome, Skip) for outcome in outcomes)
    assert not desk.mutations
    assert desk.asked[0] == Question(frozenset({10, 11}), frozenset({"User:A", "User:B"}))  # three were not asked about at all
    desk.close()


def test_a_page_enters_and_leaves_the_scope() -> None:
    desk = Desk(namespaces=SCOPE)
    inside, outside = World().page(1, "A", 10, 11), World().page(1, "User:A", 12)
    desk.settle(inside, change(Cause.MOVE, "User:A", "A", namespace=2))
    desk.now += 60
    desk.settle(outside, change(Cause.MOVE, "A", "User:A", namespace=0))
    desk.now += 60
    desk.settle(inside, change(Cause.MOVE, "User:A", "A", namespace=2))
    assert desk.kinds() == ["snapshot+gap", "delete", "snapshot+gap"]
    left = desk.mutations[1]
    assert (left.page.title, left.page.namespace, left.prior, left.revision) == ("User:A", 2, Prior("A", 0), None)
    assert [one.seq for one in desk.mutations] == [1, 2, 3]
    desk.close()


def test_a_page_that_is_known_is_asked_for_whatever_its_event_says() -> None:
    desk = Desk(namespaces=SCOPE)
    seed(desk, World().page(1, "A", 10))
    desk.settle(World().page(1, "User:A", 11, 12), change(Cause.EDIT, "User:A", rev=12, page=1, namespace=2))
    assert desk.live() == {}
    desk.close()


def test_a_page_out_of_scope_is_not_waited_for() -> None:
    desk = Desk(namespaces=SCOPE)
    (outcome,) = desk.settle(World().page(1, "User:A", 10), change(Cause.LOG, "User:A", when=-1.0))
    assert outcome == Skip(SkipReason.NAMESPACE)
    assert not desk.waited
    desk.close()


def test_a_page_out_of_scope_is_not_deleted_by_title() -> None:
    desk = Desk(namespaces=SCOPE)
    (outcome,) = desk.settle(World(), change(Cause.DELETE, "User:A"))
    assert outcome == Skip(SkipReason.PAGE_GONE)
    assert not desk.mutations
    desk.close()


def test_a_move_between_two_namespaces_in_scope_is_a_snapshot(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    desk.settle(World().page(1, "A", 10).page(1, "User:A", 11), change(Cause.MOVE, "A", "User:A"))
    assert made(desk, 1) == ["snapshot+gap 1 11"]
    assert desk.mutations[-1].prior == Prior("A", 0)


def test_a_log_entry_on_a_special_page_is_about_the_pages_it_names() -> None:
    desk = Desk(namespaces=SCOPE)
    desk.settle(World().page(1, "A", 10), change(Cause.LOG, "A", namespace=-1))
    assert desk.live() == facts(World().page(1, "A", 10))
    desk.close()


@pytest.mark.parametrize("title", ["Special:Log", "Media:A"])
def test_a_title_that_can_be_no_page(desk: Desk, title: str) -> None:
    (outcome,) = desk.settle(World(), change(Cause.LOG, "Special:Log"))
    assert outcome == Skip(SkipReason.INVALID_TITLE)


def test_a_title_that_is_left_out_of_the_answer_is_asked_for_again(desk: Desk) -> None:
    world = World().page(1, "A", 10)
    event = change(Cause.MOVE, "A", "B")
    answers = Answers()
    answers.add(Question(titles=frozenset({"A", "B"})), Answer(missing_titles={"B": 0}))
    assert decide(event, answers, desk.settler.view("enwiki"), desk.settler.context()) == Later("no_answer")
    desk.settle(world, event)
    assert desk.live() == facts(world)


def test_a_title_is_looked_up_as_the_api_writes_it(desk: Desk) -> None:
    world = World().page(1, "Straße nach A", 10)
    seed(desk, world)
    desk.settle(World(), change(Cause.DELETE, "straße_nach_A", namespace=0))
    assert desk.live() == {}
    assert desk.mutations[-1].page.page_id == 1
