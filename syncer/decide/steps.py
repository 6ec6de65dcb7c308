"""What has to be published for an answer to be what is published. Pure; every subject of the case was answered for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from syncer.decide.doubt import may_show
from syncer.model import VISIBLE, Cause, PageFacts, Prior, Redacted, Visibility
from syncer.outcome import Bring, Redact, Remove

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.decide.case import Case
    from syncer.model import Change, Page, PageState, Revision, RevisionFacts
    from syncer.outcome import Step


def steps(case: Case) -> list[Step]:
    """First what is gone, so that titles are free, then what is."""
    found: list[Step] = []
    for page_id in case.subjects:
        page, state = case.answers.pages.get(page_id), case.view.page(page_id)
        if page is None:
            found += _gone(case, page_id, state)
        elif state and state.live and not case.context.in_scope(page.namespace):
            found.append(Remove(_facts(page), _prior(page, state)))
    found += _unheard(case)
    for page in case.wanted():
        found += _brought(case, page, case.view.page(page.page_id))
    return found


def restated(state: PageState | None, *, has_text: bool) -> Step | None:
    """What tells a reader all of a page as it is published; None where the wiki has to be asked."""
    if state is None or (state.live and state.title is None):
        return None
    if not state.live:
        return removed(state)
    page = PageFacts(state.page_id, state.title or "", state.namespace, state.is_redirect)
    hidden = state.revision is not None and not state.revision.visibility.text
    return Bring(page, None, None, gap=True) if has_text or hidden else None


def removed(state: PageState) -> Remove:
    """What takes a page away, as it is published."""
    return Remove(PageFacts(state.page_id, state.title or "", state.namespace, state.is_redirect))


def _gone(case: Case, page_id: int, state: PageState | None) -> list[Step]:
    """A page that the wiki does not have: known here, or named by a delete before anything else was heard of it.

    Who began with a dump, or before this store did, may have that page at another title: so it is told by its id though the
    title is known to have no page any more.
    """
    change = case.change
    if state:
        title = state.title or next(iter(change.titles), "")
        return [Remove(PageFacts(page_id, title, state.namespace, state.is_redirect))] if state.live else []
    if change.cause is not Cause.DELETE or not change.titles or change.namespace is None:
        return []
    if not case.context.in_scope(change.namespace):
        return []
    return [Remove(PageFacts(page_id, change.titles[0], change.namespace))]


def _unheard(case: Case) -> list[Step]:
    """A page that was deleted and named by no id, and of which nothing was heard before."""
    if case.change.cause not in {Cause.DELETE, Cause.MERGE} or case.change.page_ids or case.subjects:
        return []
    lost = case.lost_titles.items()
    return [
        Remove(PageFacts(None, title, namespace))
        for title, namespace in lost
        if case.context.in_scope(namespace) and not case.view.was_at(title)
    ]


def _brought(case: Case, page: Page, state: PageState | None) -> list[Step]:
    """From the published state of a page to what the wiki says it is."""
    change, facts = case.change, _facts(page)
    ledger = case.view.hidden(page.revisions)
    seen = {rev_id: _as_ledger_says(change, revision, ledger) for rev_id, revision in page.revisions.items()}
    redacted = tuple(
        Redacted(rev_id, revision.visibility)
        for rev_id, revision in sorted(seen.items())
        if revision.visibility != ledger.get(rev_id, VISIBLE)
    )
    current, published = seen.get(page.last_rev_id), case.published(page.page_id)
    if state is None or published is None:
        parent = seen.get(current.rev_parent_id) if current else None
        return [Bring(facts, None, current, gap=True, parent=parent, redacted=redacted)]
    prior = _prior(page, state)
    gap = prior is not None and prior.namespace is not None
    if current and _moves_on(current, published, change):
        gap = gap or change.cause is Cause.REPAIR or _erased(published, seen, current)
        way = [current] if gap else [*_between(seen, published.rev_id, current), current]
        first: Step = Bring(facts, prior, way[0], gap=gap, redacted=redacted)
        return [first, *(Bring(facts, None, revision, gap=False) for revision in way[1:])]
    if prior or page.is_redirect != state.is_redirect:
        return [Bring(facts, prior, current, gap=gap, redacted=redacted)]
    if current and current.visibility != published.visibility:
        return [Redact(facts, current, redacted or (Redacted(current.rev_id, current.visibility),))]
    return [Redact(facts, current, redacted)] if redacted else []


def _moves_on(current: Revision, published: RevisionFacts, change: Change) -> bool:
    """Whether the text to publish is another one than the published."""
    if current.rev_id != published.rev_id or change.cause is Cause.REPAIR:
        return True
    digest = None if current.text is None else hashlib.sha1(current.text, usedforsecurity=False).hexdigest()
    return digest != published.sha1


def _erased(published: RevisionFacts, seen: Mapping[int, Revision], current: Revision) -> bool:
    """Whether the published text may not be built on: it is hidden, or is from here on."""
    base = seen.get(published.rev_id)
    return not published.visibility.text or (base is not None and base is not current and not base.visibility.text)


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
    if held is None or may_show(change, revision.rev_id):
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
