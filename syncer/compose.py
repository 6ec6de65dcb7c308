"""Step + page state + base text -> mutation. Pure.

:mod:`syncer.decide` says what is to be published; here it gets its number, its patch or whole text, its sections and hashes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never
from urllib.parse import quote

from syncer import diff, sections
from syncer.errors import Unusable
from syncer.model import Attribution, Base, Cause, Kind, Mutation, RevisionFacts
from syncer.outcome import Bring, Redact, Remove

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.model import Change, PageFacts, PageState, Revision, SectionChange, Site
    from syncer.outcome import Step

GENERATION = 1 << 32  # seqs of one generation of the store: more than a page will ever have
# What a deletion is called when it was found by looking for something else.
FOUND_BY_LOOKING = frozenset({Cause.EDIT, Cause.CREATE, Cause.PROTECT, Cause.UPLOAD, Cause.VISIBILITY, Cause.LOG})


@dataclass(frozen=True, slots=True)
class Published:
    """What is published of a page: its state, its text where it is at hand, and which records hold a revision of it."""

    state: PageState | None
    text: bytes | None
    recall: Callable[[int], tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Frame:
    """What mutations of one batch share: the wiki's word of itself, the store's generation, the time (ISO).

    ``bots`` are the revisions that their events flag as made by a bot.
    """

    site: Site
    generation: int
    published_at: str
    bots: frozenset[int] = frozenset()


def compose(step: Step, change: Change, published: Published, frame: Frame) -> Mutation:
    """One step as a mutation. Raises Unusable where the published text is needed and is not the announced one any more."""
    state = published.state
    mutation = Mutation(
        seq=state.seq + 1 if state else frame.generation * GENERATION + 1,
        kind=Kind.DELETE,
        cause=change.cause,
        wiki_id=change.wiki_id,
        domain=change.domain,
        page=step.page,
        source=change.source,
        published_at=frame.published_at,
    )
    match step:
        case Remove(prior=prior):
            cause = Cause.DELETE if change.cause in FOUND_BY_LOOKING and prior is None else change.cause
            return replace(mutation, cause=cause, prior=prior)
        case Redact() | Bring():
            told = _with_revision(mutation, step, state, frame)
            told = replace(told, redacted=tuple(replace(entry, recall=published.recall(entry.rev_id)) for entry in step.redacted))
            return told if isinstance(step, Redact) else _with_text(told, step, state, published.text)
        case _:
            assert_never(step)


def _with_revision(mutation: Mutation, step: Bring | Redact, state: PageState | None, frame: Frame) -> Mutation:
    """State the current revision: as fetched, or as published where it was not fetched again."""
    kind, revision = Kind.REDACT, step.revision
    if revision is None:
        if state is None or state.revision is None:
            raise AssertionError("a page that was never published is always fetched")
        return replace(mutation, kind=kind, revision=state.revision, attribution=state.attribution)
    digest = None if revision.text is None else hashlib.sha1(revision.text, usedforsecurity=False).hexdigest()
    same = state.revision if state and state.revision and state.revision.rev_id == revision.rev_id else None
    facts = RevisionFacts(
        rev_id=revision.rev_id,
        rev_parent_id=revision.rev_parent_id,
        timestamp=revision.timestamp,
        size=revision.size,
        sha1=digest,
        content_model=revision.content_model,
        minor=revision.minor,
        bot=same.bot if same else revision.rev_id in frame.bots,
        tags=revision.tags,
        visibility=revision.visibility,
    )
    attribution = Attribution(frame.site.licence, _permalink(frame.site, step.page, revision), revision.editor, revision.comment)
    upstream = revision.sha1 if digest and revision.sha1 and revision.sha1 != digest else None
    return replace(mutation, kind=kind, revision=facts, attribution=attribution, upstream_sha1=upstream)


def _with_text(mutation: Mutation, step: Bring, state: PageState | None, base: bytes | None) -> Mutation:
    """The patch from the published text, or the whole text where that is smaller or the reader has no base."""
    mutation = replace(mutation, prior=step.prior, kind=Kind.SNAPSHOT)
    published = state.revision if state and state.live else None
    if base is not None and (published is None or _sha1(base) != published.sha1):
        base = None  # a store that rots is no reason to publish what fits nobody else's
    gap = step.gap or published is None or published.sha1 is None or base is None
    text = base if step.revision is None else step.revision.text
    if mutation.revision and not mutation.revision.visibility.text:
        return replace(mutation, gap=published is None or step.gap)
    if text is None:
        page = f"{mutation.wiki_id} {mutation.page.page_id}"
        raise Unusable("no_text", f"the store has lost the text of page {page}", hint=f"syncer repair {page}")
    if gap:
        parent = step.parent
        first = replace(mutation, gap=True, text=text)
        if parent is None or parent.text is None:
            return first
        return _from_base(first, Base(parent.rev_id, _sha1(parent.text)), parent.text, text)
    if published is None or published.sha1 is None or base is None:
        raise AssertionError("without a published text there is a gap")
    patched = _from_base(mutation, Base(published.rev_id, published.sha1), base, text)
    return replace(patched, kind=Kind.PATCH) if patched.patch else replace(patched, text=text)


def _from_base(mutation: Mutation, base: Base, old: bytes, new: bytes) -> Mutation:
    """Add base, sections, and the patch unless the whole text is as small."""
    model = mutation.revision.content_model if mutation.revision else ""
    changed: tuple[SectionChange, ...] = sections.changed(old, new) if model == "wikitext" and old != new else ()
    return replace(mutation, base=base, patch=diff.patch(old, new), sections=changed)


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


def _permalink(site: Site, page: PageFacts, revision: Revision) -> str:
    """The address of this very revision, as the wiki itself forms it."""
    return f"{site.article_url.replace('$1', quote(page.title.replace(' ', '_'), safe='/:'))}?oldid={revision.rev_id}"
