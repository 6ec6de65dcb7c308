"""What is decided about revisions: hidden ones, bases of patches, repairs, faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncer.model import VISIBLE, Cause, Kind, Prior, Redacted, Visibility
from syncer.outcome import Merged, Publish, Question, Skip, SkipReason
from tests.desk import START, Desk, change, facts, lagging, made, seed
from tests.world import World, text_of

NO_TEXT = Visibility(text=False)
NO_USER = Visibility(user=False)


# -- what is hidden ---------------------------------------------------------------------------------------------------


def test_hiding_an_old_revision(desk: Desk) -> None:
    world = World().page(1, "A", 9, 10)
    seed(desk, world)
    desk.settle(world.hide(9, 1), change(Cause.VISIBILITY, "A", rev=9, claims=((9, NO_TEXT),)))
    assert made(desk, 1) == ["redact 1 10"]
    assert desk.mutations[-1].redacted == (Redacted(9, NO_TEXT, ()),)
    assert desk.text(1) == text_of(10)


def test_hiding_the_current_revision_by_parts(desk: Desk) -> None:
    world = World().page(1, "A", 10)
    seed(desk, world)
    desk.settle(world.hide(10, 6), change(Cause.VISIBILITY, "A", rev=10, claims=((10, Visibility(True, False, False)),)))
    redact = desk.mutations[-1]
    assert (redact.kind, redact.revision.visibility) == (Kind.REDACT, Visibility(True, False, False))  # type: ignore[union-attr]
    assert (redact.attribution.editor, redact.attribution.comment) == (None, None)  # type: ignore[union-attr]
    assert redact.redacted == (Redacted(10, Visibility(True, False, False), ((0, 0),)),)
    desk.settle(world.hide(10, 1), change(Cause.VISIBILITY, "A", rev=10, claims=((10, NO_TEXT),)))
    hidden = desk.mutations[-1]
    assert (hidden.kind, hidden.text, hidden.revision.sha1) == (Kind.SNAPSHOT, None, None)  # type: ignore[union-attr]
    assert desk.text(1) is None
    desk.now += 60
    desk.settle(world.hide(10, 0), change(Cause.VISIBILITY, "A", rev=10, claims=((10, VISIBLE),)))
    assert desk.kinds()[-1] == "snapshot+gap"
    assert (desk.text(1), desk.hidden(10)) == (text_of(10), {})


def test_several_revisions_at_once(desk: Desk) -> None:
    world = World().page(1, "A", 8, 9, 10)
    seed(desk, world)
    world.hide(8, 1).hide(9, 1).hide(10, 4)
    claims = ((8, NO_TEXT), (9, NO_TEXT), (10, NO_USER))
    desk.settle(world, change(Cause.VISIBILITY, "A", rev=(8, 9, 10), claims=claims))
    assert made(desk, 1) == ["redact 1 10"]
    assert [(entry.rev_id, entry.visibility) for entry in desk.mutations[-1].redacted] == list(claims)


def test_hiding_on_a_page_never_seen(desk: Desk) -> None:
    world = World().page(1, "A", 9, 10).hide(9, 1)
    desk.settle(world, change(Cause.VISIBILITY, "A", rev=9, page=1, claims=((9, NO_TEXT),)))
    assert made(desk, 0) == ["snapshot+gap 1 10"]
    assert desk.mutations[0].base is None  # its parent is hidden
    assert desk.hidden(9) == {9: NO_TEXT}


@pytest.mark.parametrize("lag", [0.0, 4.9])
def test_hidden_and_shown_again_while_replicas_lag(desk: Desk, lag: float) -> None:
    shown = World().page(1, "A", 9, 10)
    hidden = shown.copy().hide(9, 1)
    seed(desk, shown)
    events = [
        change(Cause.VISIBILITY, "A", rev=9, claims=((9, NO_TEXT),), when=-1.0),
        change(Cause.VISIBILITY, "A", rev=9, claims=((9, VISIBLE),), when=0.0),
    ]
    stages = ((-1.0 + lag, shown), (0.0 + lag, hidden), (1e9, shown))
    desk.settle(lambda now: next(world for until, world in stages if now < START + until), *events)
    assert desk.hidden(9) == {}


CAUSES_THAT_DO_NOT_SHOW = [cause for cause in Cause if cause not in {Cause.UNDELETE, Cause.REPAIR, Cause.RECONCILE}]


@pytest.mark.parametrize("cause", CAUSES_THAT_DO_NOT_SHOW)
def test_nothing_that_the_ledger_holds_is_published_again(desk: Desk, cause: Cause) -> None:
    """The answer is from before the hiding, or from before the showing was heard of: nobody can tell."""
    world = World().page(1, "A", 9, 10)
    seed(desk, world)
    desk.settle(world.copy().hide(10, 7), change(Cause.VISIBILITY, "A", rev=10, claims=((10, Visibility.from_bits(7)),)))
    desk.now += 60
    rev = {"rev": 9} if cause is Cause.VISIBILITY else {}  # of another revision
    desk.settle(world, change(cause, "A", page=1, namespace=0, **rev))
    state = desk.page(1)
    assert state
    assert state.revision
    assert state.revision.visibility == Visibility.from_bits(7)
    assert desk.text(1) is None
    assert state.attribution
    assert (state.attribution.editor, state.attribution.comment) == (None, None)
    for one in desk.mutations[2:]:
        assert one.text is None
        assert one.patch is None


def test_a_visibility_change_shows_only_what_it_names(desk: Desk) -> None:
    """Though the other revision is there: something else in the batch was about it."""
    world = World().page(1, "A", 9, 10)
    seed(desk, world)
    desk.settle(world.copy().hide(10, 1), change(Cause.VISIBILITY, "A", rev=10, claims=((10, NO_TEXT),)))
    desk.now += 60
    desk.settle(world, change(Cause.LOG, "A"), change(Cause.VISIBILITY, "A", rev=9))
    assert desk.text(1) is None


def test_a_parent_known_to_be_hidden_is_not_asked_for(desk: Desk) -> None:
    desk.settle(World().page(1, "A", 9, 10).hide(9, 1), change(Cause.VISIBILITY, "A", rev=9, claims=((9, NO_TEXT),)))
    desk.settle(World(), change(Cause.DELETE, "A"))
    desk.now += 60
    desk.asked.clear()
    desk.settle(World().page(1, "A", 9, 10).hide(9, 1), change(Cause.EDIT, "A", rev=10, parent_rev_id=9))
    assert desk.asked == [Question(rev_ids=frozenset({10}))]


def test_a_new_revision_on_top_of_one_that_is_hidden_from_here_on(desk: Desk) -> None:
    """The hiding of what is published comes together with what came after it: no patch builds on a hidden text."""
    seed(desk, World().page(1, "A", 10))
    world = World().page(1, "A", 10, 11).hide(10, 1)
    desk.settle(world, change(Cause.VISIBILITY, "A", rev=10, claims=((10, NO_TEXT),)), change(Cause.EDIT, "A", rev=11))
    assert made(desk, 1) == ["snapshot+gap 1 11"]
    assert desk.mutations[-1].base is None
    assert desk.mutations[-1].redacted == (Redacted(10, NO_TEXT, ((0, 0),)),)


def test_what_one_batch_publishes_and_then_redacts_is_recalled(desk: Desk) -> None:
    """A record can be recalled when its offset is known, and not before: the batch is committed in two parts."""
    seed(desk, World().page(1, "A", 9, 10))
    desk.settle(World().page(1, "A", 9, 10).hide(9, 4), change(Cause.VISIBILITY, "A", rev=9, claims=((9, NO_USER),)))
    desk.now += 60
    world = World().page(1, "A", 9)  # restored to what is hidden, and that shown again
    desk.settle(world, change(Cause.EDIT, "A", rev=9), change(Cause.VISIBILITY, "A", rev=9, claims=((9, VISIBLE),)))
    assert made(desk, 2) == ["patch 1 9", "redact 1 9"]
    (entry,) = desk.mutations[-1].redacted
    assert (entry.visibility, len(entry.recall)) == (VISIBLE, 1)


def test_an_erased_title_is_no_reason_to_fail(desk: Desk) -> None:
    """A page whose text is hidden gets another title without a new revision, as when a wiki renames a namespace."""
    seed(desk, World().page(1, "A", 9, 10).hide(10, 1))
    world = World().page(1, "A", 9, 10).hide(10, 1)
    world.pages[1] = replace(world.pages[1], title="AA")
    desk.settle(world, change(Cause.EDIT, "AA", rev=9))
    assert made(desk, 1) == ["snapshot 1 10"]
    assert (desk.mutations[-1].text, desk.mutations[-1].prior) == (None, Prior("A"))
    world.pages[1] = replace(world.pages[1], title="User:A", namespace=2)
    desk.settle(world, change(Cause.EDIT, "AA", rev=9, event_id="later"))
    assert made(desk, 2) == ["snapshot+gap 1 10"]


# -- revisions and bases ----------------------------------------------------------------------------------------------


def test_two_changes_about_one_page_in_one_batch(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    outcomes = desk.settle(World().page(1, "A", 10, 11, 12), *(change(Cause.EDIT, "A", rev=rev) for rev in (11, 12)))
    assert [type(outcome) for outcome in outcomes] == [Publish, Merged]
    assert made(desk, 1) == ["patch 1 11", "patch 1 12"]


def test_a_revision_that_is_published_needs_no_asking(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    assert desk.settle(World(), change(Cause.EDIT, "A", rev=10)) == [Merged()]
    assert not desk.asked


def test_a_revision_told_a_second_time_is_a_page_to_read_again(desk: Desk) -> None:
    """Such a change names no revision (DESIGN 2): what it means is that something has happened to the page."""
    seed(desk, World().page(1, "A", 10))
    world = World().page(4, "A", 10)
    desk.settle(world, change(Cause.EDIT, "A", page=1))
    assert desk.live() == facts(world)
    assert desk.settle(world, change(Cause.EDIT, "A", page=4)) == [Skip(SkipReason.UNCHANGED)]


def test_an_evicted_base_is_fetched_with_the_edit(desk: Desk) -> None:
    world = World().page(1, "A", 10, 11)
    seed(desk, World().page(1, "A", 10))
    desk.store._max_bytes = 0
    with desk.store.folding():
        pass
    assert not desk.store.has_text("enwiki", 1)
    desk.store._max_bytes = 10**9
    desk.settle(world, change(Cause.EDIT, "A", rev=11))
    assert desk.asked == [Question(rev_ids=frozenset({10, 11}))]
    assert made(desk, 1) == ["patch 1 11"]


def test_an_evicted_text_is_fetched_where_it_is_sent_whole(desk: Desk) -> None:
    """A namespace was renamed: the page is to be a snapshot though it has no new revision."""
    world = World().page(1, "A", 9, 10)
    seed(desk, world)
    desk.store._max_bytes = 0
    with desk.store.folding():
        pass
    desk.store._max_bytes = 10**9
    world.pages[1] = replace(world.pages[1], title="User:A", namespace=2)
    desk.settle(world, change(Cause.VISIBILITY, "A", rev=9))
    assert made(desk, 1) == ["snapshot+gap 1 10"]
    assert desk.mutations[-1].text == text_of(10).encode()


def test_an_evicted_base_that_is_gone_makes_a_gap(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    desk.store._max_bytes = 0
    with desk.store.folding():
        pass
    desk.store._max_bytes = 10**9
    world = World().page(1, "A", 10, 11)
    del world.revisions[10]
    desk.settle(world, change(Cause.EDIT, "A", rev=11))
    assert made(desk, 1) == ["snapshot+gap 1 11"]


@pytest.mark.parametrize(
    ("world", "base"),
    [
        (World().page(1, "A", 10, 11), 10),
        (World().page(1, "A", 10, 11).hide(10, 1), None),
        (World().page(2, "B", 10).page(1, "A", 11), None),  # the event names a parent that is another page's
        (World().page(1, "A", 11), None),  # it is deleted
    ],
)
def test_first_sight(desk: Desk, world: World, base: int | None) -> None:
    desk.settle(world, change(Cause.EDIT, "A", rev=11, parent_rev_id=10))
    assert made(desk, 0) == ["snapshot+gap 1 11"]
    assert (desk.mutations[0].base.rev_id if desk.mutations[0].base else None) == base
    assert desk.asked == [Question(rev_ids=frozenset({10, 11}))]


def test_first_sight_without_parents() -> None:
    desk = Desk(parents=False)
    desk.settle(World().page(1, "A", 10, 11), change(Cause.EDIT, "A", rev=11, parent_rev_id=10))
    assert desk.asked == [Question(rev_ids=frozenset({11}))]
    desk.close()


def test_the_same_revision_with_another_text(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    world = World().page(1, "A", 10, text="written over")
    desk.settle(world, change(Cause.RECONCILE, page=1))
    assert desk.text(1) == "written over"
    assert desk.mutations[-1].base.rev_id == desk.mutations[-1].revision.rev_id == 10  # type: ignore[union-attr]


def test_a_repair_publishes_the_page_whole(desk: Desk) -> None:
    world = World().page(1, "A", 10)
    seed(desk, world)
    for one in (change(Cause.REPAIR, "A", when=0.0), change(Cause.REPAIR, page=1), change(Cause.REPAIR, "A", rev=9)):
        assert isinstance(desk.settle(world, one)[0], Publish)
    assert made(desk, 1) == ["snapshot+gap 1 10"] * 3


def test_a_repair_asks_again_for_what_is_there(desk: Desk) -> None:
    world = World().page(1, "A", 9, 10)
    seed(desk, world)
    desk.settle(world, change(Cause.REPAIR, "A", rev=9))
    assert desk.asked == [Question(rev_ids=frozenset({9})), Question(rev_ids=frozenset({10}))]
    (outcome,) = desk.settle(World(), change(Cause.RECONCILE, page=77, when=0.0))
    assert outcome == Skip(SkipReason.PAGE_GONE)
    assert not desk.waited  # nothing has happened that could have to show


@pytest.mark.parametrize("cause", [Cause.EDIT, Cause.PROTECT])
def test_a_fault_of_the_storage_is_waited_for(desk: Desk, cause: Cause) -> None:
    seed(desk, World().page(1, "A", 10))
    broken, sound = World().page(1, "A", 10, 11), World().page(1, "A", 10, 11)
    broken.revision(11, 1, rev_parent_id=10, fault="textmissing")
    desk.settle(lagging(broken, sound, 20.0), change(cause, "A", rev=11 if cause is Cause.EDIT else ()))
    assert desk.live() == facts(sound)
    assert set(desk.waited) == {"textmissing"}


def test_a_fault_of_a_revision_that_nobody_needs_is_none(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    world = World().page(1, "A", 10, 11, 12)
    world.revision(11, 1, rev_parent_id=10, fault="textmissing", sha1=None)
    world.revisions[11] = (1, replace(world.revisions[11][1], text=None))
    desk.settle(world, change(Cause.EDIT, "A", rev=11))
    assert made(desk, 1) == ["patch 1 12"]
