"""A page of a dump, and the first mutations that speak of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from syncer.model import Cause, Kind, Mutation, PageFacts, Redacted, Source, Visibility
from syncer.seal import NO_KEY
from syncer.store.seeds import PASSED_BY
from tests.mutations import AT, SOURCE, Pages, sha1
from tests.stores import WIKI, fold, page

if TYPE_CHECKING:
    from syncer.model import RevisionFacts
    from syncer.store import Store

ONE, TWO, THREE, FOUR = b"one one one", b"one two one", b"one two three", b"four two three"


def dumped(page_id: int, title: str, facts: RevisionFacts, text: bytes | None) -> Mutation:
    return Mutation(
        seq=0, kind=Kind.SNAPSHOT, cause=Cause.IMPORT, wiki_id=WIKI, domain="test.wikipedia.org", gap=True,
        page=PageFacts(page_id, title, 0), source=Source("dump", "", AT, AT), published_at=AT, revision=facts, text=text,
    )  # fmt: skip


def seed(store: Store, *pages: Mutation, flaw: str | None = None) -> list[bool]:
    with store.folding():
        return [store.seed(page, flaw) for page in pages]


def chain(pages: Pages) -> list[Mutation]:
    """A snapshot and three patches of page 1: revisions 101 to 104."""
    return [pages.snapshot(1, "A", ONE), *(pages.patch(1, "A", text) for text in (TWO, THREE, FOUR))]


def dump_of(step: Mutation, text: bytes, title: str = "A") -> Mutation:
    assert step.revision
    return dumped(1, title, step.revision, text)


def test_a_dump_gives_pages(store: Store, pages: Pages) -> None:
    whole = dump_of(chain(pages)[1], TWO)
    assert seed(store, whole) == [True]
    state = page(store, 1)
    assert (state.title, state.revision, state.seq, store.text(WIKI, 1)) == ("A", whole.revision, 0, TWO)
    assert store.wikis() == {WIKI: "test.wikipedia.org"}
    assert [found.page_id for _, found in store.pages()] == [1]


def test_of_a_page_in_two_dumps_the_later_one_stays(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    assert seed(store, dump_of(steps[1], TWO), dump_of(steps[2], THREE, "B"), dump_of(steps[1], TWO)) == [True, True, False]
    assert (page(store, 1).title, store.text(WIKI, 1)) == ("B", THREE)
    assert seed(store, dump_of(steps[2], THREE)) == [False]
    fold(store, steps[3])
    assert seed(store, dump_of(replace(steps[3], revision=replace(steps[3].revision, rev_id=999)), FOUR)) == [False]  # type: ignore[type-var]
    assert store.text(WIKI, 1) == FOUR


def test_the_step_after_the_dump(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, dump_of(steps[1], TWO))
    fold(store, *steps[2:])
    assert (store.text(WIKI, 1), page(store, 1).seq, store.diverged()) == (FOUR, 4, [])


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_chain_from_before_the_dump_runs_into_it(store: Store, pages: Pages, first: int) -> None:
    steps = [*chain(pages), pages.patch(1, "A", ONE)]
    seed(store, dump_of(steps[3], FOUR))
    for step in steps[1 + first : 3]:
        fold(store, step)
        assert store.text(WIKI, 1) is None, "the text of another revision is not this one's"
        assert not store.has_text(WIKI, 1)
        assert page(store, 1).revision == step.revision
        assert store.diverged() == [(WIKI, 1, PASSED_BY)]
    fold(store, steps[3])
    assert (store.text(WIKI, 1), store.diverged()) == (FOUR, [])
    fold(store, steps[4])
    assert (store.text(WIKI, 1), page(store, 1).seq) == (ONE, 5)


def test_the_step_that_the_dump_has_already_is_noted(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, dump_of(steps[2], THREE))
    fold(store, steps[2])
    assert (store.text(WIKI, 1), page(store, 1).seq, store.diverged()) == (THREE, 3, [])
    fold(store, steps[3])
    assert store.text(WIKI, 1) == FOUR


def test_what_says_all_counts_even_if_it_is_older(store: Store, pages: Pages) -> None:
    """The steps after it are still to come, the dump's own among them."""
    steps = chain(pages)
    seed(store, dump_of(steps[2], THREE))
    fold(store, steps[0])
    assert (store.text(WIKI, 1), page(store, 1).seq) == (ONE, 1)
    fold(store, *steps[1:])
    assert (store.text(WIKI, 1), store.diverged()) == (FOUR, [])


def test_a_chain_that_passes_the_dump_by_has_to_be_healed(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    revision = pages.revisions[1]
    seed(store, dumped(1, "A", replace(revision, rev_id=102, sha1=sha1(b"seen by nobody else")), b"seen by nobody else"))
    fold(store, *steps[2:])
    assert (store.text(WIKI, 1), store.diverged()) == (None, [(WIKI, 1, PASSED_BY)])
    with store.folding():
        assert store.heal(WIKI, 1, FOUR)
    assert (store.text(WIKI, 1), store.diverged()) == (FOUR, [])
    assert store._db.execute("SELECT count(*) FROM seeds").fetchone() == (0,)
    fold(store, pages.patch(1, "A", ONE))
    assert store.text(WIKI, 1) == ONE


def test_the_wait_for_the_dump_outlasts_a_restart(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, dump_of(steps[3], FOUR))
    fold(store, steps[1])
    again = type(store)(store._db.path)
    fold(again, *steps[2:])
    assert (again.text(WIKI, 1), again.diverged()) == (FOUR, [])
    again.close()


def test_a_text_that_the_dump_has_wrong_is_never_shown(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, replace(dump_of(steps[2], THREE), text=None), flaw="hash of dump")
    assert (store.text(WIKI, 1), store.diverged()) == (None, [(WIKI, 1, "hash of dump")])
    fold(store, steps[2])
    assert (store.text(WIKI, 1), [reason for *_, reason in store.diverged()]) == (None, [PASSED_BY])
    fold(store, steps[3])
    assert store.text(WIKI, 1) is None
    fold(store, pages.snapshot(1, "A", ONE))
    assert (store.text(WIKI, 1), store.diverged()) == (ONE, [])


def test_what_the_dump_hides_comes_back_only_whole(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    hidden = replace(steps[2].revision, sha1=None, visibility=Visibility(text=False))  # type: ignore[type-var]
    assert hidden
    seed(store, dumped(1, "A", hidden, None))
    assert (store.text(WIKI, 1), store.diverged()) == (None, [])
    fold(store, steps[2])
    assert store.text(WIKI, 1) is None
    fold(store, pages.snapshot(1, "A", None, seq=4, gap=False, redacted=(Redacted(103, Visibility(text=False)),)))
    assert (store.text(WIKI, 1), store.diverged()) == (None, [])


def keys_left(store: Store) -> int:
    return store._db.execute("SELECT count(*) FROM seals WHERE text <> ?", (NO_KEY,)).fetchone()[0]  # type: ignore[no-any-return]


def test_a_waiting_text_is_erased_when_its_revision_is_hidden(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, dump_of(steps[3], FOUR))
    fold(store, steps[1])
    assert keys_left(store) == 1
    hidden = Redacted(104, Visibility(text=False))
    fold(store, replace(steps[2], redacted=(hidden,)))
    assert keys_left(store) == 0
    fold(store, steps[3])
    assert store.text(WIKI, 1) is None


def test_a_waiting_text_is_erased_with_its_page(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, dump_of(steps[3], FOUR))
    fold(store, steps[1], replace(pages.delete(1, "A"), seq=3))
    assert (keys_left(store), page(store, 1).live, store.diverged()) == (0, False, [])
    assert store._db.execute("SELECT count(*) FROM seeds").fetchone() == (0,)


def test_a_redaction_can_be_the_first_that_is_said(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, dump_of(steps[3], FOUR))
    older = Redacted(101, Visibility(text=False))
    fold(store, pages.redact(1, "A", older))
    assert (store.text(WIKI, 1), page(store, 1).seq, store.hidden(WIKI, [101])) == (FOUR, 5, {101: older.visibility})
    fold(store, pages.snapshot(1, "A", None, gap=False, redacted=(Redacted(104, Visibility(text=False)),)))
    assert (store.text(WIKI, 1), keys_left(store)) == (None, 0)


# -- titles -----------------------------------------------------------------------------------------------------------


def test_a_page_whose_title_another_takes_is_gone_unless_something_is_said_of_it(store: Store, pages: Pages) -> None:
    steps = chain(pages)
    seed(store, dump_of(steps[0], ONE), dumped(2, "B", pages.revisions[1], FOUR))
    fold(store, replace(pages.snapshot(3, "A", b"new"), page=PageFacts(3, "A", 0)), pages.snapshot(4, "B", b"other"))
    assert [state.title for _, state in store.pages()] == ["A", "B"], "what has no title is not shown"
    assert keys_left(store) == 4
    fold(store, replace(steps[1], page=PageFacts(1, "C", 0)))
    store.bury()
    assert [(state.page_id, state.title) for _, state in store.pages()] == [(1, "C"), (3, "A"), (4, "B")]
    assert (keys_left(store), page(store, 2).live, page(store, 2).revision) == (3, False, None)
    assert store.text(WIKI, 1) == TWO


def test_a_delete_that_names_only_a_title_is_not_of_a_younger_page(store: Store, pages: Pages) -> None:
    chain(pages)
    facts = replace(pages.revisions[1], timestamp="2026-11-02T10:00:00Z")
    seed(store, dumped(1, "A", facts, FOUR))
    before = replace(SOURCE, event_time="2026-11-02T09:59:59.500Z")
    fold(store, pages.delete(None, "A", source=before))
    assert store.text(WIKI, 1) == FOUR
    fold(store, pages.delete(None, "A", source=replace(SOURCE, event_time="2026-11-02T10:00:01Z")))
    assert (store.text(WIKI, 1), page(store, 1).live) == (None, False)


def test_a_page_that_mutations_spoke_of_is_deleted_by_its_title_whatever_its_age(store: Store, pages: Pages) -> None:
    fold(store, chain(pages)[0])
    fold(store, pages.delete(None, "A", source=replace(SOURCE, event_time="2020-01-01T00:00:00Z")))
    assert not page(store, 1).live
