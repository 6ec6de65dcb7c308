"""What is decided: every cause on every state of a page with every answer; then the cases that lie in wait."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import pytest

from syncer.decide import Context, decide, first_question
from syncer.model import VISIBLE, Cause, Change, Kind, Prior, Redacted, Source, Visibility
from syncer.outcome import Answers, Ask, Later, Merged, Publish, Question, Skip, SkipReason
from tests.desk import START, Desk, at, change, facts
from tests.world import World, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NO_TEXT = Visibility(text=False)
NO_USER = Visibility(user=False)
SCOPE = frozenset({0})
SHOWS = {Cause.VISIBILITY, Cause.UNDELETE, Cause.REPAIR, Cause.RECONCILE}
NAMES_REVISIONS = {Cause.EDIT, Cause.CREATE, Cause.VISIBILITY}


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def seed(desk: Desk, world: World, *page_ids: int) -> None:
    """Publish what a world has, long ago."""
    desk.now -= 1000
    desk.settle(world, change(Cause.RECONCILE, page=page_ids or sorted(world.pages)))
    desk.now += 1000
    desk.asked.clear()
    desk.waited.clear()


def made(desk: Desk, before: int) -> list[str]:
    """What was published since there were so many: kind, page, revision, with ``+gap``."""
    return [
        f"{one.kind.value}{'+gap' if one.gap else ''} {one.page.page_id} {one.revision.rev_id if one.revision else '-'}"
        for one in desk.mutations[before:]
    ]


# -- every cause x page x answer --------------------------------------------------------------------------------------
# Page 1 is "A", at revision 10 when it is known. An event an hour old names it, by title or by id, and revision 11 where it
# names one; nothing lags any more. Whatever it was called: what is published in the end is what the wiki has.


def _unknown(desk: Desk) -> None:
    """Nothing was heard of it."""


def _live(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))


def _deleted(desk: Desk) -> None:
    _live(desk)
    desk.settle(World(), change(Cause.DELETE, page=1))


def _hidden(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10, bits=1))


def _left(desk: Desk) -> None:
    """It was in scope once."""
    _live(desk)
    desk.settle(World().page(1, "A", 10).page(1, "User:A", 12), change(Cause.MOVE, "A", "User:A"))


STATES = {"unknown": _unknown, "live": _live, "deleted": _deleted, "hidden": _hidden, "left": _left}

ANSWERS: dict[str, Callable[[], World]] = {
    "same": lambda: World().page(1, "A", 10),
    "newer": lambda: World().page(1, "A", 10, 11),
    "older": lambda: World().page(1, "A", 9),  # partly restored
    "moved": lambda: World().page(1, "A", 10).move(1, "B", 11, 3),
    "other": lambda: World().page(2, "A", 12),  # another page has the title
    "again": lambda: World().page(4, "A", 10),  # restored under another id
    "hides": lambda: World().page(1, "A", 10, bits=5),
    "out": lambda: World().page(1, "A", 10).page(1, "User:A", 11),
    "redirect": lambda: World().page(1, "A", 10, redirect=True),
    "missing": World,
}
NAMING: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {"by title": (("A",), ()), "by id": (("A",), (1,))}


def _event(cause: Cause, naming: str) -> Change:
    titles, page_ids = NAMING[naming]
    rev_ids = (10 if cause is Cause.VISIBILITY else 11,) if cause in NAMES_REVISIONS else ()
    if cause is Cause.MOVE:
        titles = ("B", "A") if page_ids else ("A", "B")
    return change(cause, *titles, rev=rev_ids, page=page_ids, namespace=0, when=-3600)


@pytest.mark.parametrize(("cause", "naming", "state", "answer"), list(product(Cause, NAMING, STATES, ANSWERS)))
def test_whatever_the_event_is_called_what_is_published_is_what_the_wiki_has(
    cause: Cause, naming: str, state: str, answer: str
) -> None:
    desk, world = Desk(namespaces=SCOPE), ANSWERS[answer]()
    STATES[state](desk)
    desk.now += 1000
    event = _event(cause, naming)
    if state == "hidden" and cause not in SHOWS and 10 in world.revisions:
        world.hide(10, 1)  # whatever the wiki says: until somebody shows it again, it is hidden
    wanted = {page_id: page for page_id, page in facts(world).items() if page[1] == 0}
    known, before = desk.live().keys(), len(desk.mutations)
    (outcome,) = desk.settle(world, event)
    found = desk.live()
    assert found.items() <= wanted.items()
    assert found.keys() >= known & wanted.keys()
    if cause not in NAMES_REVISIONS and naming == "by title":
        assert found.keys() >= {page_id for page_id, page in wanted.items() if page[0] in event.titles}
    assert (len(desk.mutations) > before) == isinstance(outcome, Publish)
    for page_id in found:
        shown = world.revisions[world.pages[page_id].last_rev_id][1].text
        assert desk.text(page_id) == (None if shown is None else shown.decode())
    # The same again, under another id, finds nothing to do; but for a repair, which is asked for.
    again = len(desk.mutations)
    desk.settle(world, replace(event, source=replace(event.source, event_id="again")))
    assert cause is Cause.REPAIR or not [one for one in desk.mutations[again:] if one.page.page_id]
    desk.close()


OUTCOMES = [
    # state, answer: what an edit of revision 11 and a log entry about "A" come to, and what is published for either
    ("unknown", "newer", Publish, ["snapshot+gap 1 11"], Publish, ["snapshot+gap 1 11"]),
    ("unknown", "missing", Skip(SkipReason.PAGE_GONE), [], Skip(SkipReason.PAGE_GONE), []),
    ("unknown", "out", Skip(SkipReason.NAMESPACE), [], Skip(SkipReason.PAGE_GONE), []),
    ("live", "same", Merged(), [], Skip(SkipReason.UNCHANGED), []),
    ("live", "newer", Publish, ["patch 1 11"], Publish, ["patch 1 11"]),
    ("live", "older", Publish, ["patch 1 9"], Publish, ["patch 1 9"]),
    ("live", "moved", Publish, ["patch 1 11"], Publish, ["snapshot+gap 3 12", "patch 1 11"]),
    ("live", "other", Publish, ["delete 1 -", "snapshot+gap 2 12"], Publish, ["delete 1 -", "snapshot+gap 2 12"]),
    ("live", "hides", Publish, ["snapshot 1 10"], Publish, ["snapshot 1 10"]),
    ("live", "out", Publish, ["delete 1 -"], Publish, ["delete 1 -"]),
    ("live", "redirect", Publish, ["patch 1 10"], Publish, ["patch 1 10"]),
    ("live", "missing", Publish, ["delete 1 -"], Publish, ["delete 1 -"]),
    ("deleted", "same", Publish, ["snapshot+gap 1 10"], Publish, ["snapshot+gap 1 10"]),
    ("deleted", "missing", Skip(SkipReason.PAGE_GONE), [], Skip(SkipReason.PAGE_GONE), []),
    ("deleted", "again", Publish, ["snapshot+gap 4 10"], Publish, ["snapshot+gap 4 10"]),
    ("hidden", "newer", Publish, ["snapshot+gap 1 11"], Publish, ["snapshot+gap 1 11"]),
    ("left", "newer", Publish, ["snapshot+gap 1 11"], Publish, ["snapshot+gap 1 11"]),
    ("left", "out", Skip(SkipReason.UNCHANGED), [], Skip(SkipReason.PAGE_GONE), []),
]


@pytest.mark.parametrize(("state", "answer", "edit", "by_edit", "log", "by_log"), OUTCOMES)
def test_what_an_edit_and_a_log_entry_come_to(
    *, state: str, answer: str, edit: object, by_edit: list[str], log: object, by_log: list[str]
) -> None:
    for cause, expected, published in ((Cause.EDIT, edit, by_edit), (Cause.PROTECT, log, by_log)):
        desk = Desk(namespaces=SCOPE)
        STATES[state](desk)
        desk.now += 1000
        before = len(desk.mutations)
        (outcome,) = desk.settle(ANSWERS[answer](), _event(cause, "by title"))
        assert outcome == expected or (expected is Publish and isinstance(outcome, Publish)), cause
        assert made(desk, before) == published, cause
        desk.close()


# -- what an answer may be too old for --------------------------------------------------------------------------------


def _lagging(before: World, after: World, until: float) -> Callable[[float], World]:
    return lambda now: before if now < START + until else after


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
    desk.settle(_lagging(before, after, lag - 1.0), change(cause, *titles, when=-1.0, **more))
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
    desk.settle(_lagging(before, after, 3.0), change(Cause.MERGE, "A", "B", when=-0.5))
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
    desk.settle(_lagging(stale, now, 5.0), asking)
    assert desk.live() == facts(now)
    assert len(desk.mutations) == published
    assert desk.waited["lagging"]


def test_a_deleted_page_does_not_come_back_from_a_lagging_replica(desk: Desk) -> None:
    world = World().page(1, "A", 10, 11)
    seed(desk, world)
    desk.settle(World(), change(Cause.DELETE, "A", when=-1.0))
    desk.settle(_lagging(world, World(), 4.0), change(Cause.EDIT, "A", rev=11, when=-12.0))
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
    desk.settle(_lagging(World().page(5, "A", 20), World(), now + 3.0), created)
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
    desk.settle(_lagging(shown, hidden, 4.0), late)
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
    desk.settle(_lagging(World().page(1, "A", 10), World().page(1, "A", 10, 11), 4.0), change(Cause.PROTECT, "A"))
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
    again = desk.settle(World(), change(Cause.DELETE, "A", namespace=0), change(Cause.DELETE, "A", page=7, namespace=0))
    assert [type(outcome) for outcome in again] == [Skip, Skip]


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


def test_a_title_is_looked_up_as_the_api_writes_it(desk: Desk) -> None:
    world = World().page(1, "Straße nach A", 10)
    seed(desk, world)
    desk.settle(World(), change(Cause.DELETE, "straße_nach_A", namespace=0))
    assert desk.live() == {}
    assert desk.mutations[-1].page.page_id == 1


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
    desk.settle(_lagging(broken, sound, 20.0), change(cause, "A", rev=11 if cause is Cause.EDIT else ()))
    assert desk.live() == facts(sound)
    assert set(desk.waited) == {"textmissing"}


def test_a_fault_of_a_revision_that_nobody_needs_is_none(desk: Desk) -> None:
    seed(desk, World().page(1, "A", 10))
    world = World().page(1, "A", 10, 11, 12)
    world.revision(11, 1, rev_parent_id=10, fault="textmissing", sha1=None)
    world.revisions[11] = (1, replace(world.revisions[11][1], text=None))
    desk.settle(world, change(Cause.EDIT, "A", rev=11))
    assert made(desk, 1) == ["patch 1 12"]


# -- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "question"),
    [
        (change(Cause.EDIT, "A", rev=11), Question(rev_ids=frozenset({11}))),
        (change(Cause.MOVE, "A", "B", page=1), Question(titles=frozenset({"A", "B"}))),
        (change(Cause.DELETE, "A", page=1), Question(page_ids=frozenset({1}))),
        (change(Cause.DELETE, "A"), Question(titles=frozenset({"A"}))),
        (change(Cause.VISIBILITY, "A", rev=(9, 10)), Question(rev_ids=frozenset({9, 10}))),
        (change(Cause.RECONCILE, page=(1, 2)), Question(page_ids=frozenset({1, 2}))),
        (change(Cause.EDIT, "A"), Question(titles=frozenset({"A"}))),
    ],
)
def test_what_is_asked_first(desk: Desk, event: Change, question: Question) -> None:
    context = Context(None, parents=True, young=10.0, now=START)
    assert first_question(event, desk.settler.view("enwiki"), context) == Ask(question)


def test_a_bad_revision_sends_us_to_the_title_but_not_at_once(desk: Desk) -> None:
    context = Context(None, parents=True, young=10.0, now=START)
    answers = Answers()
    for part, answer in World().answers(Question(rev_ids=frozenset({11}))):
        answers.add(part, answer)
    view = desk.settler.view("enwiki")
    for cause in (Cause.EDIT, Cause.CREATE, Cause.VISIBILITY):
        assert decide(change(cause, "A", rev=11, when=-9), answers, view, context) == Later("bad_revision")
        assert decide(change(cause, "A", rev=11, when=-10), answers, view, context) == Ask(Question(titles=frozenset({"A"})))
        by_id = change(cause, "A", rev=11, page=1, when=-10)
        assert decide(by_id, answers, view, context) == Ask(Question(page_ids=frozenset({1})))


def test_a_source_is_all_that_an_old_change_needs(desk: Desk) -> None:
    event = change(Cause.LOG, "A")
    assert replace(event, source=Source("x", "y", at(0), at(0))).change_id == "y"
