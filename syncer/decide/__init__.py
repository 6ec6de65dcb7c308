"""Change + answer + page state -> what to do. Pure, and the only place where that is decided.

    first_question(change)  ->  Ask | Merged | Skip            before anything was asked
    decide(change, answers) ->  Publish | Merged | Skip | Ask | Later

The word of an event decides nothing: it says what to read again, and the wiki's answer says what is. A change is about
*subjects*, pages by id: those its revisions belong to, those found at its titles, those that held these titles before, and
those whose title a subject has taken over. Nothing is decided before every subject was answered for; until then the outcome
is ``Ask``. An answer that may be too old to go by is no reason for anything: the outcome is ``Later``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.decide.case import REVISION_CAUSES, Case, Context, View
from syncer.decide.doubt import doubt
from syncer.decide.steps import removed, restated, steps
from syncer.model import SEED, VISIBLE, Cause
from syncer.outcome import Ask, Later, Merged, Outcome, Publish, Question, Skip, SkipReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.model import Change, PageState, RevisionFacts
    from syncer.outcome import Answers

__all__ = ["Context", "View", "decide", "first_question", "left", "restated"]

REVISIONS_TOLD = REVISION_CAUSES | {Cause.VISIBILITY}  # causes of events that name revisions which there must be


def first_question(change: Change, view: View, context: Context) -> Ask | Merged | Skip:
    """What to ask about a change, unless it needs no asking at all."""
    if not context.included(change):
        return Skip(SkipReason.NOT_INCLUDED)
    states = [view.page(page_id) for page_id in change.page_ids] + [view.page_at(title) for title in change.titles]
    known = next((state for state in states if state and state.live), None)
    if known is None and _out_of_scope(change, context):
        return Skip(SkipReason.NAMESPACE)
    if _covered(change, known, states):
        return Merged()
    if change.cause in REVISION_CAUSES and change.rev_ids:
        return Ask(Question(rev_ids=frozenset(change.rev_ids) | _base(change, known, view, context)))
    if change.rev_ids:
        return Ask(Question(rev_ids=frozenset(change.rev_ids)))
    titles, page_ids = _named(change)
    return Ask(Question(titles=frozenset(titles))) if titles else Ask(Question(page_ids=frozenset(page_ids)))


def _covered(change: Change, known: PageState | None, states: Sequence[PageState | None]) -> bool:
    """Whether a change says nothing new: its revision is published; of a dump's page anything, be it that it is gone."""
    if change.source.stream == SEED:
        return any(states)
    return change.cause in REVISION_CAUSES and bool(known and known.revision and known.revision.rev_id in change.rev_ids)


def left(change: Change, view: View, context: Context) -> Publish | Skip:
    """What to do about pages that the settings may not want any more: they are as published, and nobody has to be asked.

    One that has moved back unheard is lost by it until that is heard of, or found: the wiki's log is compared every hour.
    """
    states = (view.page(page_id) for page_id in change.page_ids)
    gone = tuple(removed(state) for state in states if state and state.live and not context.keeps(change, state.namespace))
    return Publish(gone) if gone else Skip(SkipReason.UNCHANGED)


def _out_of_scope(change: Change, context: Context) -> bool:
    """Whether the event itself says that its page is not wanted. One that names several may mean others, of other namespaces."""
    namespace = change.namespace
    if namespace is None or namespace < 0 or len(change.titles) > 1:  # a negative one is that of a special page
        return False
    return not context.in_scope(namespace)


def _base(change: Change, known: PageState | None, view: View, context: Context) -> frozenset[int]:
    """The revision to fetch beside an edit's own, as the base of its patch, where the store cannot give it."""
    if known and known.revision and known.revision.visibility.text:
        return frozenset() if view.has_text(known.page_id) else frozenset({known.revision.rev_id})
    parent = change.parent_rev_id
    if not context.parents or not parent or not view.hidden((parent,)).get(parent, VISIBLE).text:
        return frozenset()
    return frozenset({parent})


def _named(change: Change) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The titles and page ids to read. Where the id says which page it is, the title may be another page's (PROTOCOL j)."""
    by_id = change.page_ids and (change.rev_ids or change.cause is Cause.DELETE)
    return (() if by_id else change.titles), change.page_ids


def decide(change: Change, answers: Answers, view: View, context: Context) -> Outcome:
    """What to do about a change, given all that was answered so far."""
    case = Case(change, answers, view, context)
    for stage in (_from_revisions, _from_titles, _from_answers, _from_takeovers, _contents):
        if outcome := stage(case):
            return outcome
        if question := case.open:
            return Ask(question)
    if later := doubt(case):
        return later
    found = tuple(steps(case))
    return Publish(found) if found else _nothing(case)


def _from_revisions(case: Case) -> Outcome | None:
    """The pages that the change's revisions belong to."""
    for rev_id in case.change.rev_ids:
        if page := case.answers.page_of(rev_id):
            case.subjects[page.page_id] = None
        elif rev_id not in case.answers.bad_rev_ids:
            return Later("no_answer")
        elif case.young and case.change.cause in REVISIONS_TOLD:
            return Later("bad_revision")  # a replica that has not heard of it, or a deletion: the title tells, but later
    return None


def _from_titles(case: Case) -> Outcome | None:
    """The pages at the change's titles and those that were there before, unless its revisions already said which page."""
    if case.change.rev_ids and case.subjects:
        return None
    titles, page_ids = _named(case.change)
    for title in titles:
        if title not in case.answers.asked.titles:
            case.titles.add(title)
            continue
        name = case.answers.canonical.get(title, title)
        page = case.answers.page_at(name)
        if page:
            case.subjects[page.page_id] = None
        elif name in case.answers.missing_titles:
            case.lost_titles[name] = case.answers.missing_titles[name]
        elif title in case.answers.invalid_titles:
            case.invalid = True
        else:
            return Later("no_answer")  # left out of the answer, or moved on in between
        if holder := case.view.page_at(name):
            case.subjects[holder.page_id] = None
    case.subjects.update(dict.fromkeys(page_ids))
    return None


def _from_answers(case: Case) -> None:
    """Every subject is answered for."""
    known = case.answers.pages.keys() | case.answers.missing_page_ids
    case.page_ids.update(page_id for page_id in case.subjects if page_id not in known)


def _from_takeovers(case: Case) -> Outcome | None:
    """Whoever holds a title that a subject has now is a subject too: where it is has to be known at once (DESIGN 6)."""
    found = -1
    while found < len(case.subjects) and not case.open:
        found = len(case.subjects)
        for page in case.wanted():
            if holder := case.view.page_at(page.title):
                case.subjects[holder.page_id] = None
        _from_answers(case)
    return None if case.answers.torn.isdisjoint(case.subjects) else Later("lagging")


def _contents(case: Case) -> Outcome | None:
    """The current revision of every wanted subject is at hand, unless it is the published one."""
    for page in case.wanted():
        current, published = page.revisions.get(page.last_rev_id), case.published(page.page_id)
        if current and current.fault:
            return Later(current.fault)
        at_hand = published and published.rev_id == page.last_rev_id and _has_text(case.view, page.page_id, published)
        if current is None and (not at_hand or case.change.cause is Cause.REPAIR):
            if page.last_rev_id in case.answers.asked.rev_ids:
                return Later("no_answer")  # asked for, and not there: deleted or moved on in between
            case.rev_ids.add(page.last_rev_id)
    return None


def _has_text(view: View, page_id: int, published: RevisionFacts) -> bool:
    """Whether the published text, if it may be seen, is at hand."""
    return not published.visibility.text or view.has_text(page_id)


def _nothing(case: Case) -> Merged | Skip:
    """Nothing is to be published: because it is already, or because it is not wanted."""
    wanted = bool(case.wanted())
    if wanted and case.change.cause in REVISION_CAUSES and case.change.rev_ids:
        return Merged()
    if wanted or any(case.view.page(page_id) for page_id in case.subjects):
        return Skip(SkipReason.UNCHANGED)
    if case.live():
        return Skip(SkipReason.NAMESPACE)
    return Skip(SkipReason.INVALID_TITLE if case.invalid and not case.lost_titles else SkipReason.PAGE_GONE)
