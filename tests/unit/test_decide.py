"""What is decided: every cause on every state of a page with every answer, and what is asked first."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from syncer.decide import Context, decide, first_question
from syncer.model import Cause, Change, Source
from syncer.outcome import Answers, Ask, Later, Merged, Publish, Question, Skip, SkipReason
from tests.desk import START, Desk, at, change, facts, made, seed
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = frozenset({0})
SHOWS = {Cause.VISIBILITY, Cause.UNDELETE, Cause.REPAIR, Cause.RECONCILE}
NAMES_REVISIONS = {Cause.EDIT, Cause.CREATE, Cause.VISIBILITY}


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
