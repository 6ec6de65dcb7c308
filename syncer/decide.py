"""Change + answer + page state -> what to do. Pure, and the only place where that is decided.

    first_question(change)  ->  Ask | Merged | Skip            before anything was asked
    decide(change, answers) ->  Publish | Merged | Skip | Aside | Ask | Later

The word of an event decides nothing: it says what to read again, and the wiki's answer says what is. A change is about
*subjects*, pages by id: those its revisions belong to, those found at its titles, those that held these titles before, and
those whose title a subject has taken over. Nothing is decided before every subject was answered for; until then the outcome
is ``Ask``. An answer that contradicts a young event comes from a lagging replica: the outcome is ``Later``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from syncer.model import VISIBLE, Cause, PageFacts, Prior, Redacted, Visibility
from syncer.outcome import Ask, Bring, Later, Merged, Outcome, Publish, Question, Redact, Remove, Skip, SkipReason, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncer.model import Change, Page, PageState, Revision, RevisionFacts
    from syncer.outcome import Answers

# Only these may show a text again that the ledger holds as hidden: others may come from a replica that lags behind.
MAY_SHOW_AGAIN = frozenset({Cause.VISIBILITY, Cause.UNDELETE, Cause.REPAIR, Cause.RECONCILE})
REVISION_CAUSES = frozenset({Cause.EDIT, Cause.CREATE})


class View(Protocol):
    """The pages of one wiki as they are published, and its ledger of hidden revisions."""

    def page(self, page_id: int) -> PageState | None:
        """The page of that id, deleted ones included."""

    def page_at(self, title: str) -> PageState | None:
        """The live page that holds the title."""

    def was_at(self, title: str) -> bool:
        """Whether a page last seen at the title is known to be gone."""

    def has_text(self, page_id: int) -> bool:
        """Whether the page's current text is at hand."""

    def hidden(self, rev_ids: Iterable[int]) -> Mapping[int, Visibility]:
        """Those of the revisions that the ledger holds."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision depends on beside the change. ``namespaces`` None is all; ``now`` in seconds since the epoch."""

    namespaces: frozenset[int] | None
    parents: bool
    young: float
    now: float

    def in_scope(self, namespace: int) -> bool:
        """Whether pages of that namespace are wanted."""
        return self.namespaces is None or namespace in self.namespaces


def first_question(change: Change, view: View, context: Context) -> Ask | Merged | Skip:
    """What to ask about a change, unless it needs no asking at all."""
    states = [view.page(page_id) for page_id in change.page_ids] + [view.page_at(title) for title in change.titles]
    known = next((state for state in states if state and state.live), None)
    one_page = len(change.titles) <= 1  # a move or a merge names another page, maybe of another namespace
    if change.namespace is not None and one_page and known is None and not context.in_scope(change.namespace):
        return Skip(SkipReason.NAMESPACE)
    if change.cause in REVISION_CAUSES and change.rev_ids:
        if known and known.revision and known.revision.rev_id in change.rev_ids:
            return Merged()
        return Ask(Question(rev_ids=frozenset(change.rev_ids) | _base(change, known, view, context)))
    if change.rev_ids:
        return Ask(Question(rev_ids=frozenset(change.rev_ids)))
    titles, page_ids = _named(change)
    return Ask(Question(titles=frozenset(titles))) if titles else Ask(Question(page_ids=frozenset(page_ids)))


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


@dataclass(slots=True)
class _Case:
    """A change while it is decided: the subjects found so far, and what has to be asked yet."""

    change: Change
    answers: Answers
    view: View
    context: Context
    young: bool
    subjects: dict[int, None] = field(default_factory=dict)
    lost_titles: dict[str, int] = field(default_factory=dict)
    invalid: bool = False
    rev_ids: set[int] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)
    page_ids: set[int] = field(default_factory=set)

    @property
    def open(self) -> Question:
        return Question(frozenset(self.rev_ids), frozenset(self.titles), frozenset(self.page_ids))

    def live(self) -> list[Page]:
        return [page for page_id in self.subjects if (page := self.answers.pages.get(page_id))]

    def wanted(self) -> list[Page]:
        return [page for page in self.live() if self.context.in_scope(page.namespace)]


def decide(change: Change, answers: Answers, view: View, context: Context) -> Outcome:
    """What to do about a change, given all that was answered so far."""
    young = context.now - datetime.fromisoformat(change.source.event_time).timestamp() < context.young
    case = _Case(change, answers, view, context, young)
    for stage in (_from_revisions, _from_titles, _from_answers, _from_takeovers, _contents):
        if outcome := stage(case):
            return outcome
        if question := case.open:
            return Ask(question)
    if young and (reason := _contradiction(case)):
        return Later(reason)
    steps = tuple(_steps(case))
    if steps:
        return Publish(steps)
    return _nothing(case)


def _from_revisions(case: _Case) -> Outcome | None:
    """The pages that the change's revisions belong to."""
    for rev_id in case.change.rev_ids:
        if page := case.answers.page_of(rev_id):
            case.subjects[page.page_id] = None
            if fault := page.revisions[rev_id].fault:
                return Later(fault)
        elif rev_id not in case.answers.bad_rev_ids:
            return Later("no_answer")
        elif case.young and case.change.cause in REVISION_CAUSES:
            return Later("bad_revision")  # a replica that has not heard of it, or a deletion: the title tells, but later
    return None


def _from_titles(case: _Case) -> None:
    """The pages at the change's titles and those that were there before, unless its revisions already said which page."""
    if case.change.rev_ids and case.subjects:
        return
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
        else:
            case.invalid = True
        if holder := case.view.page_at(name):
            case.subjects[holder.page_id] = None
    case.subjects.update(dict.fromkeys(page_ids))


def _from_answers(case: _Case) -> None:
    """Every subject is answered for."""
    known = case.answers.pages.keys() | case.answers.missing_page_ids
    case.page_ids.update(page_id for page_id in case.subjects if page_id not in known)


def _from_takeovers(case: _Case) -> Outcome | None:
    """Whoever holds a title that a subject has now is a subject too: where it is has to be known at once (DESIGN 6)."""
    found = -1
    while found < len(case.subjects) and not case.open:
        found = len(case.subjects)
        claims: dict[str, int] = {}
        for page in case.wanted():
            if claims.setdefault(page.title, page.page_id) != page.page_id:
                return Later("title_conflict")  # two answers of different moments: only a fresh one tells
            if holder := case.view.page_at(page.title):
                case.subjects[holder.page_id] = None
        _from_answers(case)
    return None


def _contents(case: _Case) -> Outcome | None:
    """The current revision of every wanted subject is at hand, unless it is the published one."""
    for page in case.wanted():
        current, state = page.revisions.get(page.last_rev_id), case.view.page(page.page_id)
        if current and current.fault:
            return Later(current.fault)
        published = state.revision if state and state.live else None
        at_hand = published and published.rev_id == page.last_rev_id and _has_text(case.view, page.page_id, published)
        if current is None and (not at_hand or case.change.cause is Cause.REPAIR):
            if page.last_rev_id in case.answers.asked.rev_ids:
                return Later("no_answer")  # asked for, and not there: deleted or moved on in between
            case.rev_ids.add(page.last_rev_id)
    return None


def _has_text(view: View, page_id: int, published: RevisionFacts) -> bool:
    """Whether the published text, if it may be seen, is at hand."""
    return not published.visibility.text or view.has_text(page_id)


def _contradiction(case: _Case) -> str | None:
    """Why the answer must be older than the event, if it must."""
    change = case.change
    for page_id in case.subjects:
        page, state = case.answers.pages.get(page_id), case.view.page(page_id)
        published = state.revision.rev_id if state and state.live and state.revision else 0
        if page is None and published and change.cause not in {Cause.DELETE, Cause.MOVE, Cause.MERGE}:
            return "lagging"
        if page and page.last_rev_id < max((published, *(rev_id for rev_id in change.rev_ids if rev_id in page.revisions))):
            return "lagging"
    for rev_id, claimed in change.claims:
        if (page := case.answers.page_of(rev_id)) and page.revisions[rev_id].visibility != claimed:
            return "lagging"
    effect_told = change.cause in {Cause.DELETE, Cause.MOVE, Cause.UNDELETE}
    return "lagging" if effect_told and not _confirmed(case) else None


def _steps(case: _Case) -> list[Step]:
    """What has to be published: first what is gone, so that titles are free, then what is."""
    steps: list[Step] = []
    for page_id in case.subjects:
        page, state = case.answers.pages.get(page_id), case.view.page(page_id)
        if page is None:
            steps += _gone(case, page_id, state)
        elif state and state.live and not case.context.in_scope(page.namespace):
            steps.append(Remove(_facts(page), _prior(page, state)))
    if case.change.cause in {Cause.DELETE, Cause.MERGE} and not case.change.page_ids:
        for title, namespace in case.lost_titles.items():
            unheard = not case.subjects and not case.view.was_at(title)
            if unheard and case.context.in_scope(namespace):
                steps.append(Remove(PageFacts(None, title, namespace)))
    for page in case.wanted():
        steps += _brought(case, page, case.view.page(page.page_id))
    return steps


def _gone(case: _Case, page_id: int, state: PageState | None) -> list[Step]:
    """A page that the wiki does not have: known here, or named by a delete before anything else was heard of it."""
    change = case.change
    if state:
        title = state.title or next(iter(change.titles), "")
        return [Remove(PageFacts(page_id, title, state.namespace, state.is_redirect))] if state.live else []
    if change.cause is not Cause.DELETE or not change.titles or change.namespace is None:
        return []
    if not case.context.in_scope(change.namespace) or case.view.was_at(change.titles[0]):
        return []
    return [Remove(PageFacts(page_id, change.titles[0], change.namespace))]


def _brought(case: _Case, page: Page, state: PageState | None) -> list[Step]:
    """The steps from the published state of a page to what the wiki says it is."""
    ledger = case.view.hidden(page.revisions)
    seen = {rev_id: _as_ledger_says(case.change, revision, ledger) for rev_id, revision in page.revisions.items()}
    redacted = tuple(
        Redacted(rev_id, revision.visibility)
        for rev_id, revision in sorted(seen.items())
        if revision.visibility != ledger.get(rev_id, VISIBLE)
    )
    current = seen.get(page.last_rev_id)
    facts = _facts(page)
    published = state.revision if state and state.live else None
    if state is None or published is None:
        parent = seen.get(current.rev_parent_id) if current else None
        return [Bring(facts, None, current, gap=True, parent=parent, redacted=redacted)]
    prior = _prior(page, state)
    gap = prior is not None and prior.namespace is not None
    if current is None or not _moves_on(current, published, case.change):
        if prior or page.is_redirect != state.is_redirect:
            return [Bring(facts, prior, current, gap=gap, redacted=redacted)]
        if current and current.visibility != published.visibility:
            return [Redact(facts, current, redacted or (Redacted(current.rev_id, current.visibility),))]
        return [Redact(facts, current, redacted)] if redacted else []
    gap = gap or not published.visibility.text or case.change.cause is Cause.REPAIR
    between = [] if gap else _between(seen, published.rev_id, current)
    steps: list[Step] = [Bring(facts, prior, revision, gap=False) for revision in between]
    return [*steps, Bring(facts, None if between else prior, current, gap=gap, redacted=redacted)]


def _moves_on(current: Revision, published: RevisionFacts, change: Change) -> bool:
    """Whether the text to publish is another one than the published."""
    digest = None if current.text is None else hashlib.sha1(current.text, usedforsecurity=False).hexdigest()
    return (current.rev_id, digest) != (published.rev_id, published.sha1) or change.cause is Cause.REPAIR


def _between(seen: Mapping[int, Revision], start: int, end: Revision) -> list[Revision]:
    """The fetched revisions that lead from the published one to the current, oldest first; none if one is missing or hidden."""
    chain: list[Revision] = []
    parent = seen.get(end.rev_parent_id)
    while parent and parent.rev_id != start and parent.text is not None and len(chain) < len(seen):
        chain.append(parent)
        if parent.rev_parent_id == start:
            return chain[::-1]
        parent = seen.get(parent.rev_parent_id)
    return []


def _as_ledger_says(change: Change, revision: Revision, ledger: Mapping[int, Visibility]) -> Revision:
    """A revision with everything removed that the ledger holds as hidden, unless the change may show it again."""
    held = ledger.get(revision.rev_id)
    if held is None or change.cause in MAY_SHOW_AGAIN:
        return revision
    shown = revision.visibility
    both = Visibility(shown.text and held.text, shown.user and held.user, shown.comment and held.comment)
    return replace(
        revision,
        text=revision.text if both.text else None,
        sha1=revision.sha1 if both.text else None,
        editor=revision.editor if both.user else None,
        comment=revision.comment if both.comment else None,
        visibility=both,
    )


def _facts(page: Page) -> PageFacts:
    return PageFacts(page.page_id, page.title, page.namespace, page.is_redirect)


def _prior(page: Page, state: PageState) -> Prior | None:
    """What changed of title and namespace."""
    title = state.title if state.title not in {None, page.title} else None
    namespace = state.namespace if state.namespace != page.namespace else None
    return Prior(title, namespace) if title is not None or namespace is not None else None


def _nothing(case: _Case) -> Outcome:
    """Nothing is to be published: because it is already, because it is not wanted, or because the answer lags."""
    change = case.change
    wanted = bool(case.wanted())
    if change.cause in REVISION_CAUSES and wanted:
        return Merged()
    if case.young and not _confirmed(case):
        return Later("unchanged")
    if wanted or any(case.view.page(page_id) for page_id in case.subjects):
        return Skip(SkipReason.UNCHANGED)
    if case.live():
        return Skip(SkipReason.NAMESPACE)
    return Skip(SkipReason.INVALID_TITLE if case.invalid and not case.lost_titles else SkipReason.PAGE_GONE)


def _confirmed(case: _Case) -> bool:
    """Whether the answer shows the effect that the event told of, so that it cannot be from before it."""
    change = case.change
    match change.cause:
        case Cause.DELETE:
            return not case.live()
        case Cause.UNDELETE:
            return bool(case.live())
        case Cause.MOVE if change.titles:
            return _moved(case)
        case Cause.VISIBILITY | Cause.EDIT | Cause.CREATE | Cause.REPAIR | Cause.RECONCILE:
            return True
        case _:
            return not case.wanted()


def _moved(case: _Case) -> bool:
    """Whether a move is seen in the answer. Its titles are the old one, others maybe, and last the new one."""
    old, new = (case.answers.canonical.get(title, title) for title in (case.change.titles[0], case.change.titles[-1]))
    there, before = case.answers.page_at(new), case.view.page_at(old)
    if there is None:
        return False
    answered = case.answers.pages.get(before.page_id) if before else None
    if before is None or answered is None or answered.title != old:
        return True
    holder = case.view.page_at(new)  # the old title may be held by the redirect that this very move left
    return holder is not None and holder.page_id == there.page_id and not there.is_redirect
