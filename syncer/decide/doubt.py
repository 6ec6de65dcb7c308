"""Whether an answer may be too old to go by: replicas lag (PROTOCOL 22, 25), each request may meet another one.

Two things can be newer than an answer. The event: as long as it is young, its effect has to show. And what is published: soon
after a publication, an answer that would take it back is not believed, whatever the change it is for.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from syncer.model import VISIBLE, Cause
from syncer.outcome import Later

if TYPE_CHECKING:
    from syncer.decide.case import Case
    from syncer.model import Change, Page, PageState, Visibility

ASKED_FOR = frozenset({Cause.REPAIR, Cause.RECONCILE})  # by us: nothing has happened that could have to show
TOLD_WITHIN = 1.0  # seconds from a revision's timestamp, which is whole seconds, to the event; two in one are not told apart


def doubt(case: Case) -> Later | None:
    """Why to ask again rather than to go by the answer, if there is a reason."""
    if any(_takes_back(case, page_id) for page_id in case.subjects):
        return Later("lagging")
    seen = _effect(case)
    if seen or not case.young or case.change.cause in ASKED_FOR:
        return None
    return Later("lagging") if seen is False else Later("unconfirmed", case.event_at + case.context.young)


def may_show(change: Change, rev_id: int) -> bool:
    """Whether the answer to a change may show a revision again that the ledger holds as hidden."""
    return (
        change.cause in ASKED_FOR
        or change.cause is Cause.UNDELETE
        or (change.cause is Cause.VISIBILITY and rev_id in change.rev_ids)
    )


def _takes_back(case: Case, page_id: int) -> bool:
    """Whether the answer would undo what is published of a page, so lately that it may be from before."""
    page, state = case.answers.pages.get(page_id), case.view.page(page_id)
    if state is None:
        return page is not None and case.context.in_scope(page.namespace) and _refills(case, page)
    settled_at = case.view.settled_at(page_id)
    if not _lately(case, settled_at):
        return False
    if page is None:
        return state.live and not (case.change.cause is Cause.DELETE and case.event_at > settled_at)
    if not state.live or state.revision is None:
        return case.context.in_scope(page.namespace)
    return page.last_rev_id < state.revision.rev_id or _shows_again(case, page)


def _lately(case: Case, moment: float) -> bool:
    """Whether an answer may be from before that moment."""
    return moment <= case.context.now < moment + case.context.young


def _refills(case: Case, page: Page) -> bool:
    """Whether a page nobody heard of may stand at its title only in an answer from before it was deleted there."""
    missed_at = case.view.missed_at(page.page_id, page.title)
    made_since = case.event_at > missed_at and not page.revisions.keys().isdisjoint(case.change.rev_ids)
    return _lately(case, missed_at) and not made_since


def _shows_again(case: Case, page: Page) -> bool:
    ledger = case.view.hidden(page.revisions)
    return any(
        may_show(case.change, rev_id) and not _at_most(page.revisions[rev_id].visibility, held) for rev_id, held in ledger.items()
    )


def _at_most(shown: Visibility, held: Visibility) -> bool:
    """Whether no part is shown that is held to be hidden."""
    return shown.text <= held.text and shown.user <= held.user and shown.comment <= held.comment


def _effect(case: Case) -> bool | None:
    """Whether the answer shows what the event told of; False if it shows the contrary, None if nothing can be told by."""
    change = case.change
    match change.cause:
        case Cause.EDIT | Cause.CREATE if change.rev_ids:
            return True  # what is answered has the revision, or the event is old
        case Cause.VISIBILITY if change.claims:
            return _as_claimed(case)
        case Cause.DELETE:
            return not case.live()
        case Cause.UNDELETE:
            return _restored(case)
        case Cause.MOVE if change.titles:
            return _moved(case)
        case _:
            return _revised(case)


def _as_claimed(case: Case) -> bool | None:
    """The revisions that there are look as the event says. If they did before, that tells nothing: they may change twice."""
    claims, changed = dict(case.change.claims), False
    ledger = case.view.hidden(claims)
    for rev_id, claimed in claims.items():
        page = case.answers.page_of(rev_id)
        if page and page.revisions[rev_id].visibility != claimed:
            return False
        changed |= page is not None and claimed != ledger.get(rev_id, VISIBLE)
    return changed or None


def _restored(case: Case) -> bool | None:
    """A page is back that was known to be gone. One that is there may have been there before: restored under it, or moved."""
    pages = case.live()
    states = [(page, case.view.page(page.page_id)) for page in pages]
    if any(_was_gone(case, page, state) for page, state in states):
        return True
    return None if pages else False


def _was_gone(case: Case, page: Page, state: PageState | None) -> bool:
    return not state.live if state else case.view.was_at(page.title)


def _moved(case: Case) -> bool | None:
    """A move that names the page by id says first where it is now.

    One that does not says last where it is, and first where it was. If there is a page there, then it is the redirect that was
    left, or something made later: a page that moved is older than what came to be where it was.
    """
    titles = [case.answers.canonical.get(title, title) for title in case.change.titles]
    if case.change.page_ids:
        page = case.answers.pages.get(case.change.page_ids[0])
        return page.title == titles[0] if page else None
    old, new = case.answers.page_at(titles[0]), case.answers.page_at(titles[-1])
    return new is not None and (old is None or old.page_id > new.page_id)


def _revised(case: Case) -> bool | None:
    """The page that the event is about has a revision of its time; or there are pages, and none of them is wanted."""
    if case.live() and not case.wanted():
        return True
    title = next(iter(case.change.titles), "")
    page = case.answers.page_at(case.answers.canonical.get(title, title))
    return (page is not None and _revised_at(case, page) >= case.event_at - TOLD_WITHIN) or None


def _revised_at(case: Case, page: Page) -> float:
    """When the page's current revision was made, in seconds since the epoch; 0 where that is not known."""
    current, published = page.revisions.get(page.last_rev_id), case.published(page.page_id)
    if current:
        return datetime.fromisoformat(current.timestamp).timestamp() if current.timestamp else 0.0
    return datetime.fromisoformat(published.timestamp).timestamp() if published and published.rev_id == page.last_rev_id else 0.0
