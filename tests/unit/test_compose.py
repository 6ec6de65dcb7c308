from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from syncer.compose import GENERATION, Frame, Published, compose
from syncer.diff import FORMATS
from syncer.errors import Unusable
from syncer.model import (
    Attribution,
    Base,
    Cause,
    Kind,
    Licence,
    Mutation,
    PageFacts,
    PageState,
    Prior,
    Redacted,
    Revision,
    RevisionFacts,
    Site,
    Visibility,
)
from syncer.outcome import Bring, Redact, Remove
from tests.desk import change
from tests.world import World, text_of

LICENCE = Licence("https://creativecommons.org/licenses/by-sa/4.0/", "CC BY-SA 4.0")
SITE = Site(LICENCE, {}, "https://en.wikipedia.org/wiki/$1")
FRAME = Frame(SITE, 0, "2026-11-24T03:00:00.000Z")
PAGE = PageFacts(1, "A b/c:ü?", 0)
HIDDEN = Visibility(text=False)


def fetched(rev_id: int, **more: Any) -> Revision:
    return replace(World().revision(rev_id, 1, rev_parent_id=rev_id - 1).revisions[rev_id][1], **more)


def facts(rev_id: int, **more: Any) -> RevisionFacts:
    revision = fetched(rev_id)
    return replace(
        RevisionFacts(
            rev_id=rev_id, rev_parent_id=rev_id - 1, timestamp=revision.timestamp, size=revision.size, sha1=revision.sha1,
            content_model="wikitext", minor=False, bot=False, tags=(), visibility=Visibility(),
        ),
        **more,
    )  # fmt: skip


def published(revision: RevisionFacts | None, text: str | None, *, seq: int = 7, live: bool = True) -> Published:
    """A page as published, at a seq; its records stand at offset 100 and what their revision's id adds."""
    attribution = Attribution(LICENCE, "https://…", "somebody", "something") if revision else None
    state = PageState(
        page_id=1, title="Old", namespace=0, is_redirect=False, seq=seq, live=live, revision=revision, attribution=attribution
    )
    return Published(state, None if text is None else text.encode(), lambda rev_id: ((0, 100 + rev_id),))


NOTHING = Published(None, None, lambda _rev_id: ())


def made(step: Bring | Redact | Remove, before: Published = NOTHING, frame: Frame = FRAME, **event: Any) -> Mutation:
    return compose(step, change(event.pop("cause", Cause.EDIT), "A", **event), before, frame)


def bring(revision: Revision | None, *, gap: bool = False, **more: Any) -> Bring:
    return Bring(PAGE, more.pop("prior", None), revision, gap=gap, **more)


def test_first_sight_begins_a_generation() -> None:
    mutation = made(bring(fetched(10), gap=True), frame=replace(FRAME, generation=3))
    assert mutation.seq == 3 * GENERATION + 1
    assert (mutation.kind, mutation.gap, mutation.base, mutation.patch) == (Kind.SNAPSHOT, True, None, None)
    assert mutation.text == text_of(10).encode()


def test_first_sight_tells_what_changed_against_the_parent() -> None:
    mutation = made(bring(fetched(10), gap=True, parent=fetched(9)))
    assert mutation.base == Base(9, hashlib.sha1(text_of(9).encode(), usedforsecurity=False).hexdigest())
    assert mutation.patch
    assert FORMATS[mutation.patch.format].apply(text_of(9).encode(), mutation.patch.ops) == mutation.text
    assert [section.path for section in mutation.sections] == [("Heading",)]
    hidden = fetched(9, text=None, sha1=None, visibility=HIDDEN)
    assert made(bring(fetched(10), gap=True, parent=hidden)).base is None


def test_an_edit_is_a_patch_of_what_is_published() -> None:
    mutation = made(bring(fetched(11)), published(facts(10), text_of(10)))
    assert (mutation.seq, mutation.kind, mutation.gap, mutation.text) == (8, Kind.PATCH, False, None)
    assert mutation.base == Base(10, facts(10).sha1 or "")
    assert mutation.patch
    assert FORMATS[mutation.patch.format].apply(text_of(10).encode(), mutation.patch.ops) == text_of(11).encode()
    assert mutation.sections


def test_a_text_that_shares_nothing_is_sent_whole_but_is_no_gap() -> None:
    mutation = made(bring(fetched(11, text=b"something else")), published(facts(10), text_of(10)))
    assert (mutation.kind, mutation.gap, mutation.patch) == (Kind.SNAPSHOT, False, None)
    assert (mutation.text, mutation.base) == (b"something else", Base(10, facts(10).sha1 or ""))


@pytest.mark.parametrize(
    "before",
    [
        published(None, None, live=False),  # deleted
        published(facts(10, sha1=None, visibility=HIDDEN), None),  # hidden
        published(facts(10), None),  # evicted
    ],
)
def test_without_a_base_there_is_a_gap(before: Published) -> None:
    mutation = made(bring(fetched(11)), before)
    assert (mutation.seq, mutation.kind, mutation.gap, mutation.base) == (8, Kind.SNAPSHOT, True, None)


def test_a_move_with_the_text_unchanged_is_a_patch_without_operations() -> None:
    mutation = made(bring(None, prior=Prior("Old")), published(facts(10), text_of(10)))
    assert (mutation.kind, mutation.prior, mutation.revision) == (Kind.PATCH, Prior("Old"), facts(10))
    assert mutation.patch
    assert mutation.patch.ops == ()
    assert mutation.sections == ()
    assert mutation.attribution
    assert mutation.attribution.editor == "somebody"


@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_a_hidden_text_is_a_snapshot_without_one(*, gap: bool, again: bool) -> None:
    hidden = fetched(10, text=None, sha1=None, visibility=HIDDEN)
    before = published(facts(10, sha1=None, visibility=HIDDEN), None) if again else published(facts(10), text_of(10))
    mutation = made(bring(None if again else hidden, gap=gap), before)
    assert (mutation.kind, mutation.gap, mutation.text, mutation.base) == (Kind.SNAPSHOT, gap, None, None)
    assert mutation.revision
    assert mutation.revision.sha1 is None


def test_what_is_hidden_is_not_attributed() -> None:
    hidden = fetched(11, editor=None, comment=None, visibility=Visibility(user=False, comment=False))
    attribution = made(bring(hidden), published(facts(10), text_of(10))).attribution
    assert attribution == Attribution(LICENCE, "https://en.wikipedia.org/wiki/A_b/c:%C3%BC%3F?oldid=11", None, None)


def test_other_content_models_have_no_sections() -> None:
    mutation = made(bring(fetched(11, content_model="json")), published(facts(10), text_of(10)))
    assert (mutation.kind, mutation.sections) == (Kind.PATCH, ())


def test_a_wrong_hash_is_told() -> None:
    assert made(bring(fetched(11), gap=True)).upstream_sha1 is None
    assert made(bring(fetched(11, sha1="0" * 40), gap=True)).upstream_sha1 == "0" * 40
    assert made(bring(fetched(11, sha1=None), gap=True)).upstream_sha1 is None
    mutation = made(bring(fetched(11, sha1="0" * 40)), published(facts(10), text_of(10)))
    assert mutation.revision
    assert mutation.revision.sha1 == hashlib.sha1(text_of(11).encode(), usedforsecurity=False).hexdigest()


def test_bots_are_known_by_their_events() -> None:
    flagged = replace(FRAME, bots=frozenset({11}))
    assert made(bring(fetched(11), gap=True), frame=flagged).revision.bot  # type: ignore[union-attr]
    assert not made(bring(fetched(12), gap=True), frame=flagged).revision.bot  # type: ignore[union-attr]
    again = published(facts(11, bot=True), text_of(11))
    assert made(Redact(PAGE, fetched(11), ()), again).revision.bot  # type: ignore[union-attr]  # nobody flags it any more


def test_a_redaction_says_where_it_was_published() -> None:
    hidden = fetched(10, editor=None, visibility=Visibility(user=False))
    entries = (Redacted(9, HIDDEN), Redacted(10, Visibility(user=False)))
    mutation = made(Redact(PAGE, hidden, entries), published(facts(10), text_of(10)), cause=Cause.VISIBILITY)
    assert (mutation.kind, mutation.text, mutation.patch) == (Kind.REDACT, None, None)
    assert mutation.redacted == (Redacted(9, HIDDEN, ((0, 109),)), Redacted(10, Visibility(user=False), ((0, 110),)))
    assert mutation.attribution
    assert mutation.attribution.editor is None
    kept = made(Redact(PAGE, None, entries[:1]), published(facts(10), text_of(10)))
    assert kept.revision == facts(10)


@pytest.mark.parametrize(
    ("cause", "prior", "told"),
    [
        (Cause.EDIT, None, Cause.DELETE),  # found by looking for something else
        (Cause.PROTECT, None, Cause.DELETE),
        (Cause.DELETE, None, Cause.DELETE),
        (Cause.MERGE, None, Cause.MERGE),
        (Cause.RECONCILE, None, Cause.RECONCILE),
        (Cause.EDIT, Prior("Old", 0), Cause.EDIT),  # it has left the scope
    ],
)
def test_what_a_deletion_is_called(cause: Cause, prior: Prior | None, told: Cause) -> None:
    mutation = made(Remove(PAGE, prior), published(facts(10), text_of(10)), cause=cause)
    assert (mutation.kind, mutation.cause, mutation.prior, mutation.revision) == (Kind.DELETE, told, prior, None)
    assert (mutation.seq, mutation.attribution, mutation.text) == (8, None, None)


def test_it_says_where_it_comes_from() -> None:
    event = change(Cause.EDIT, "A", rev=11)
    mutation = compose(bring(fetched(11), gap=True), event, NOTHING, FRAME)
    assert (mutation.source, mutation.wiki_id, mutation.domain) == (event.source, event.wiki_id, event.domain)
    assert (mutation.published_at, mutation.page) == (FRAME.published_at, PAGE)
    nothing_stated = replace(FRAME, site=Site(None, {}, "//x/$1"))
    assert compose(bring(fetched(11), gap=True), event, NOTHING, nothing_stated).attribution.licence is None  # type: ignore[union-attr]


def test_a_page_never_published_is_always_fetched() -> None:
    with pytest.raises(AssertionError, match="always fetched"):
        made(bring(None, gap=True))


@pytest.mark.parametrize("text", [None, "another text"])
def test_a_published_text_that_is_lost_is_not_made_up(text: str | None) -> None:
    """The store is no better than its disk. A patch would fit nobody's copy but its own."""
    mutation = made(bring(fetched(11)), published(facts(10), text))
    assert (mutation.kind, mutation.gap, mutation.base) == (Kind.SNAPSHOT, True, None)
    with pytest.raises(Unusable, match="lost the text") as caught:
        made(bring(None), published(facts(10), text))
    assert (caught.value.reason, caught.value.hint) == ("no_text", "syncer repair enwiki 1")
