"""Step + page state + base text -> mutation. Pure.

:mod:`syncer.decide` says what is to be published; here it gets its number, its patch or whole text, its sections and hashes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, assert_never
from urllib.parse import quote

from syncer import diff, sections
from syncer.errors import Unusable
from syncer.model import Attribution, Base, Cause, Kind, Mutation, RevisionFacts
from syncer.outcome import Bring, Redact, Remove

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.model import Change, PageFacts, PageState, Patch, Revision, SectionChange, Site
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


class _Told(NamedTuple):
    """What a mutation states of the current revision."""

    revision: RevisionFacts | None = None
    attribution: Attribution | None = None
    upstream_sha1: str | None = None


class _Content(NamedTuple):
    """How a reader gets to the current text."""

    kind: Kind
    gap: bool = False
    text: bytes | None = None
    base: Base | None = None
    patch: Patch | None = None
    sections: tuple[SectionChange, ...] = ()


def compose(step: Step, change: Change, published: Published, frame: Frame) -> Mutation:
    """One step as a mutation. Raises Unusable where the published text is needed and is not the announced one any more."""
    state, told, content = published.state, _Told(), _Content(Kind.DELETE)
    cause, prior = change.cause, None if isinstance(step, Redact) else step.prior
    redacted = () if isinstance(step, Remove) else step.redacted
    match step:
        case Remove():
            cause = Cause.DELETE if change.cause in FOUND_BY_LOOKING and prior is None else change.cause
        case Redact():
            told, content = _told(step, state, frame), _Content(Kind.REDACT)
        case Bring():
            told = _told(step, state, frame)
            content = _content(step, told.revision, published, change.wiki_id)
        case _:
            assert_never(step)
    return Mutation(
        seq=state.seq + 1 if state else frame.generation * GENERATION + 1,
        kind=content.kind,
        cause=cause,
        wiki_id=change.wiki_id,
        domain=change.domain,
        page=step.page,
        prior=prior,
        revision=told.revision,
        base=content.base,
        patch=content.patch,
        text=content.text,
        gap=content.gap,
        sections=content.sections,
        redacted=tuple(replace(entry, recall=published.recall(entry.rev_id)) for entry in redacted),
        attribution=told.attribution,
        source=change.source,
        upstream_sha1=told.upstream_sha1,
        published_at=frame.published_at,
    )


def _told(step: Bring | Redact, state: PageState | None, frame: Frame) -> _Told:
    """The current revision: as fetched, or as published where it was not fetched again."""
    revision = step.revision
    if revision is None:
        if state is None or state.revision is None:
            raise AssertionError("a page that was never published is always fetched")
        return _Told(state.revision, state.attribution)
    digest = None if revision.text is None else _sha1(revision.text)
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
    return _Told(facts, attribution, revision.sha1 if digest and revision.sha1 and revision.sha1 != digest else None)


def _content(step: Bring, revision: RevisionFacts | None, before: Published, wiki_id: str) -> _Content:
    """The patch from the published text, or the whole text where that is smaller or the reader has no base."""
    published, base = before.state.revision if before.state and before.state.live else None, before.text
    if revision and not revision.visibility.text:
        return _Content(Kind.SNAPSHOT, gap=published is None or step.gap)
    if base is not None and (published is None or _sha1(base) != published.sha1):
        base = None  # a store that rots is no reason to publish what fits nobody else's
    text = base if step.revision is None else step.revision.text
    if text is None:
        page = f"{wiki_id} {step.page.page_id}"
        raise Unusable("no_text", f"the store has lost the text of page {page}", hint=f"syncer repair {page}")
    model = revision.content_model if revision else ""
    if step.gap or published is None or published.sha1 is None or base is None:
        first, parent = _Content(Kind.SNAPSHOT, gap=True, text=text), step.parent
        if parent is None or parent.text is None:
            return first
        patch, changed = _from_base(parent.text, text, model)
        return first._replace(base=Base(parent.rev_id, _sha1(parent.text)), patch=patch, sections=changed)
    patch, changed = _from_base(base, text, model)
    second = _Content(
        Kind.PATCH if patch else Kind.SNAPSHOT, base=Base(published.rev_id, published.sha1), patch=patch, sections=changed
    )
    return second if patch else second._replace(text=text)


def _from_base(old: bytes, new: bytes, model: str) -> tuple[Patch | None, tuple[SectionChange, ...]]:
    """The patch, unless the whole text is as small, and the sections that changed."""
    return diff.patch(old, new), sections.changed(old, new) if model == "wikitext" and old != new else ()


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


def _permalink(site: Site, page: PageFacts, revision: Revision) -> str:
    """The address of this very revision, as the wiki itself forms it."""
    return f"{site.article_url.replace('$1', quote(page.title.replace(' ', '_'), safe='/:'))}?oldid={revision.rev_id}"
