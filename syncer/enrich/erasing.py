"""What a journal that is rewritten loses with a mutation, and what it needs then for a reader from its start to arrive. Pure.

Who reads an erased record has the facts of the page but no text, up to its next whole one. So a mutation that hides a text comes
as a whole one itself, and one follows for every other page of which a record is erased: a revision may have been merged away.
A page that is still published with what is hidden, or at a title that another takes, is yet to be read again: that brings it.

Revisions that were merged away go with the page they went to, and nobody says which they were. So their old page comes whole, and
everything from before is erased.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from syncer.journal import Erasure
from syncer.model import NOTHING, VISIBLE, Cause, Kind, PageFacts
from syncer.outcome import Bring, Question, Remove

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from syncer.enrich.view import WikiView
    from syncer.model import Change, Mutation
    from syncer.outcome import Answers, Redact, Step


class Told(NamedTuple):
    """A step, and the change that it is told for."""

    step: Step
    change: Change


def bereft(change: Change, answers: Answers, view: WikiView) -> frozenset[int]:
    """The page, if it is published, of which the change says that revisions were merged into another's history."""
    if change.cause is not Cause.MERGE or not change.titles:
        return frozenset()
    state = view.page_at(answers.canonical.get(change.titles[0], change.titles[0]))
    return frozenset({state.page_id} if state else ())


def erasures(mutation: Mutation, left: Collection[int]) -> tuple[Erasure, ...]:
    """What the records before a mutation lose by it: what it hides of a revision, or all of a page that is gone, or that is
    ``left`` by some of its revisions.
    """
    if mutation.kind is Kind.DELETE or (mutation.gap and mutation.page.page_id in left):
        return (Erasure(None, NOTHING, None),)
    hidden = (entry for entry in mutation.redacted if not entry.visibility.full)
    return tuple(Erasure(entry.rev_id, entry.visibility, tuple(at for _, at in entry.recall)) for entry in hidden)


def lasting(
    steps: Sequence[Step], change: Change, view: WikiView, whole: Collection[int], left: Collection[int] = ()
) -> list[Told]:
    """The steps for a journal that is rewritten. ``whole``: pages of which a whole text is to be appended before them anyway;
    ``left``: those that revisions have left.
    """
    found = list[Told]()
    hidden = [rev_id for step in steps if not isinstance(step, Remove) for rev_id in _newly_hidden(step, view)]
    broken = {page_id for page_id in view.holders(hidden) if (state := view.page(page_id)) and state.live} - set(whole)
    broken |= set(left)
    others = {page_id for page_id in broken if not _shows(page_id, hidden, view)} - {step.page.page_id for step in steps}
    for step in steps:
        own = step.page.page_id or 0
        if isinstance(step, Remove) or own not in broken:
            found.append(Told(step, change))
        else:
            found.append(Told(_whole(step), change))
            broken.discard(own)
    taken = {step.page.title for step in steps}
    found += (
        Told(again, replace(change, cause=Cause.REPAIR)) for again in _others(others, view) if again.page.title not in taken
    )
    return found


def texts(told: Sequence[Told], view: WikiView) -> Question:
    """What has to be fetched for the whole texts that are not at hand: they were evicted."""
    wanted: set[int] = set()
    for step, _ in told:
        state = view.page(step.page.page_id or 0)
        revision = state.revision if state else None
        published = isinstance(step, Bring) and step.gap and step.revision is None
        if published and revision and revision.visibility.text and not view.has_text(step.page.page_id or 0):
            wanted.add(revision.rev_id)
    return Question(rev_ids=frozenset(wanted))


def _newly_hidden(step: Bring | Redact, view: WikiView) -> list[int]:
    """The revisions whose text is hidden from here on, and was not before."""
    texts = [entry.rev_id for entry in step.redacted if not entry.visibility.text]
    known = view.hidden(texts)
    return [rev_id for rev_id in texts if known.get(rev_id, VISIBLE).text]


def _shows(page_id: int, rev_ids: Collection[int], view: WikiView) -> bool:
    """Whether one of the revisions is what is published of a page: it went elsewhere, and the page is yet to be read again."""
    state = view.page(page_id)
    return state is not None and state.revision is not None and state.revision.rev_id in rev_ids


def _whole(step: Bring | Redact) -> Bring:
    if isinstance(step, Bring):
        return replace(step, gap=True)
    return Bring(step.page, None, step.revision, gap=True, redacted=step.redacted)


def _others(page_ids: Collection[int], view: WikiView) -> Iterator[Bring]:
    """Pages as they are published."""
    for page_id in sorted(page_ids):
        state = view.page(page_id)
        if state and state.live and state.title is not None:
            yield Bring(PageFacts(page_id, state.title, state.namespace, state.is_redirect), None, None, gap=True)
