"""The store as a fold of mutations: what is in it, the ledger, its transactions, and the journal that it belongs to."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from syncer.errors import JournalUnavailable, Misconfigured, ResumeLost
from syncer.model import (
    VISIBLE,
    Base,
    PageFacts,
    PageState,
    Prior,
    Redacted,
    SectionChange,
    Visibility,
)
from syncer.store import Store
from tests.mutations import HIDDEN, Pages, moved
from tests.stores import LOREM, WIKI, dump, fold, page, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "mirror.db"


@pytest.fixture
def opening(path: Path) -> Iterator[Callable[..., Store]]:
    path.parent.mkdir()
    opened: list[Store] = []

    def one(max_bytes: int | None = None) -> Store:
        opened.append(Store(path, max_bytes))
        return opened[-1]

    yield one
    for store in opened:
        store.close()


@pytest.fixture
def store(opening: Callable[..., Store]) -> Store:
    return opening()


# -- what a fold gives ---------------------------------------------------------------------------------------------------


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.page(WIKI, 1) is None
    assert store.page_at(WIKI, "One") is None
    assert store.text(WIKI, 1) is None
    assert not store.has_text(WIKI, 1)
    assert not store.was_at(WIKI, "One")
    assert store.offset(0) == 0
    assert [*store.pages()] == []
    assert store.wikis() == {}
    assert store.diverged() == []


def test_a_snapshot_makes_a_page_with_its_facts_and_text(store: Store, pages: Pages) -> None:
    text = "Aß😀\r\n\0\u2028".encode()
    mutation = pages.snapshot(1, "Talk:One", text, page=PageFacts(1, "Talk:One", 1, is_redirect=True))
    fold(store, mutation)
    assert page(store, 1) == PageState(
        page_id=1, title="Talk:One", namespace=1, is_redirect=True, seq=1, live=True,
        revision=mutation.revision, attribution=mutation.attribution,
    )  # fmt: skip
    assert store.page_at(WIKI, "Talk:One") == page(store, 1)
    assert store.text(WIKI, 1) == text
    assert store.has_text(WIKI, 1)
    assert store.page("otherwiki", 1) is None
    assert store.wikis() == {WIKI: "test.wikipedia.org"}
    assert [*store.pages()] == [(WIKI, page(store, 1))]


def test_a_patch_gives_the_next_text(store: Store, pages: Pages) -> None:
    text = b"".join((LOREM, "é".encode(), LOREM))
    fold(store, pages.snapshot(1, "One", LOREM), patch := pages.patch(1, "One", text))
    assert store.text(WIKI, 1) == text
    assert page(store, 1).revision == patch.revision
    assert page(store, 1).seq == 2


def test_a_patch_without_operations_changes_facts_alone(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), moved(pages.patch(1, "Two", LOREM), Prior(title="One")))
    assert store.text(WIKI, 1) == LOREM
    assert store.page_at(WIKI, "One") is None
    assert store.page_at(WIKI, "Two") == page(store, 1)


def test_a_snapshot_without_gap_builds_on_what_is_there(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.snapshot(1, "One", b"quite another", gap=False))
    assert store.text(WIKI, 1) == b"quite another"


def test_an_empty_text_is_a_text(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", b""))
    assert store.text(WIKI, 1) == b""
    fold(store, pages.patch(1, "One", LOREM), pages.patch(1, "One", b""))
    assert store.text(WIKI, 1) == b""


def test_a_delete_leaves_seq_and_nothing_else(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.delete(1, "One"))
    state = page(store, 1)
    assert (state.live, state.title, state.seq, state.revision, state.attribution) == (False, None, 2, None, None)
    assert store.text(WIKI, 1) is None
    assert store.page_at(WIKI, "One") is None
    assert store.was_at(WIKI, "One")
    assert [*store.pages()] == []


def test_a_deleted_page_comes_back_by_a_gap_snapshot_alone(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.delete(1, "One"))
    pages.texts[1] = LOREM
    assert refused(store, replace(pages.patch(1, "One", b"x" + LOREM), seq=3)) == "unknown page"
    pages.seqs[1] = 2
    fold(store, pages.snapshot(1, "One", LOREM))
    assert (page(store, 1).live, page(store, 1).seq, store.text(WIKI, 1)) == (True, 3, LOREM)
    assert not store.was_at(WIKI, "One")


def test_a_page_nobody_knew_may_be_deleted_and_is_known_to_be_gone(store: Store, pages: Pages) -> None:
    fold(store, pages.delete(7, "Never seen"))
    assert page(store, 7).live is False
    assert store.was_at(WIKI, "Never seen")
    assert not store.was_at("otherwiki", "Never seen")


def test_a_delete_without_id_takes_whoever_holds_the_title(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.snapshot(2, "Two", LOREM), pages.delete(None, "One"))
    assert (page(store, 1).live, page(store, 1).seq, store.text(WIKI, 1)) == (False, 1, None)
    assert (page(store, 2).live, store.text(WIKI, 2)) == (True, LOREM)
    assert page(store, 0).seq == 1
    fold(store, pages.delete(None, "Nobody's"), pages.delete(None, "Nor that"))
    assert page(store, 0).seq == 3
    for title in ("One", "Nobody's", "Nor that"):
        assert store.was_at(WIKI, title)
    assert [state.page_id for _, state in store.pages()] == [2]


def test_a_title_has_one_holder_the_last(store: Store, pages: Pages) -> None:
    fold(
        store,
        pages.snapshot(1, "One", b"1"),
        pages.snapshot(2, "Two", b"2"),
        moved(pages.patch(2, "One", b"2"), Prior(title="Two")),
    )
    assert page(store, 1).title is None
    assert page(store, 1).live
    assert store.text(WIKI, 1) == b"1"
    assert store.page_at(WIKI, "One") == page(store, 2)
    fold(store, moved(pages.patch(1, "Elsewhere", b"1"), Prior(title="One")))
    assert store.page_at(WIKI, "Elsewhere") == page(store, 1)
    assert store.page_at(WIKI, "One") == page(store, 2)


def test_two_pages_may_change_titles(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", b"1"), pages.snapshot(2, "Two", b"2"))
    fold(store, pages.patch(1, "Two", b"1"), pages.patch(2, "One", b"2"))
    assert (page(store, 1).title, page(store, 2).title) == ("Two", "One")


def test_the_same_title_on_two_wikis_is_two_pages(store: Store, pages: Pages) -> None:
    other = Pages("otherwiki", "other.wikipedia.org")
    fold(store, pages.snapshot(1, "One", b"1"), other.snapshot(1, "One", b"2"))
    assert (store.text(WIKI, 1), store.text("otherwiki", 1)) == (b"1", b"2")
    assert [wiki for wiki, _ in store.pages()] == ["otherwiki", WIKI]
    assert [wiki for wiki, _ in store.pages(WIKI)] == [WIKI]
    fold(store, other.delete(1, "One"))
    assert store.page_at(WIKI, "One")


def test_pages_come_by_wiki_and_id(store: Store, pages: Pages) -> None:
    fold(store, *(pages.snapshot(page_id, f"Page {page_id}", b"") for page_id in (10, 9, 100, 1)))
    assert [state.page_id for _, state in store.pages()] == [1, 9, 10, 100]


# -- the ledger ----------------------------------------------------------------------------------------------------------


def test_the_ledger_holds_what_is_hidden_until_it_is_shown_again(store: Store, pages: Pages) -> None:
    user = Visibility(text=True, user=False, comment=True)
    fold(store, pages.snapshot(1, "One", LOREM), pages.redact(1, "One", Redacted(50, HIDDEN), Redacted(51, user)))
    assert store.hidden(WIKI, (49, 50, 51, 101)) == {50: HIDDEN, 51: user}
    assert store.hidden("otherwiki", (50, 51)) == {}
    fold(store, pages.redact(1, "One", Redacted(50, user), Redacted(51, VISIBLE)))
    assert store.hidden(WIKI, (50, 51)) == {50: user}


def test_the_ledger_outlives_the_page(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.redact(1, "One", Redacted(50, HIDDEN)), pages.delete(1, "One"))
    fold(store, pages.delete(2, "Two", redacted=(Redacted(60, HIDDEN),)))
    assert store.hidden(WIKI, (50, 60)) == {50: HIDDEN, 60: HIDDEN}


def test_a_current_text_that_is_hidden_is_a_page_without_text(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.snapshot(1, "One", None, redacted=(Redacted(102, HIDDEN),)))
    assert store.text(WIKI, 1) is None
    assert page(store, 1).live
    assert page(store, 1).revision == pages.revisions[1]
    assert store.diverged() == []


def test_a_record_whose_sections_tell_of_the_base_holds_something_of_it(store: Store, pages: Pages) -> None:
    first = pages.snapshot(1, "One", b"lead\n== A ==\na\n")
    second = replace(
        pages.snapshot(1, "One", b"lead\n"),
        base=Base(101, "0" * 40),
        sections=(SectionChange(("A",), 0, "removed", (5, 15), "0" * 40, None),),
    )
    with store.folding():
        store.publish(first, 1, 7)
        store.publish(second, 1, 8)
    assert first.revision is not None
    assert store.recall(WIKI, 101) == ((1, 7), (1, 8))


def test_it_is_known_which_records_hold_a_revision_until_they_are_gone(store: Store, pages: Pages) -> None:
    first, delete = pages.snapshot(1, "One", LOREM), pages.delete(1, "One")
    with store.folding():
        store.fold(first)
        for partition, offset in ((1, 30), (1, 7), (1, 30), (2, 8)):
            store.publish(first, partition, offset)
        store.publish(delete, 1, 31)
    assert store.recall(WIKI, 101) == ((1, 7), (2, 8), (1, 30))
    store.forget(1, 30)
    assert store.recall(WIKI, 101) == ((2, 8), (1, 30))
    assert store.recall("otherwiki", 101) == ()


# -- transactions --------------------------------------------------------------------------------------------------------


def test_an_error_undoes_everything_folded_with_it(opening: Callable[..., Store], pages: Pages) -> None:
    store = opening(10**6)
    fold(store, pages.snapshot(1, "One", LOREM))
    before, size, touched = dump(store), store._bytes, store._touched

    def fail() -> None:
        with store.folding():
            store.fold(pages.snapshot(2, "Two", LOREM))
            store.fold(pages.delete(1, "One"))
            store.advance(0, 7)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (dump(store), store._bytes, store._touched) == (before, size, touched)
    assert store.text(WIKI, 1) == LOREM
    assert store.offset(0) == 0


def test_an_attempt_is_undone_alone(opening: Callable[..., Store], pages: Pages) -> None:
    store = opening(10**6)

    def fail() -> None:
        with store.attempt():
            store.fold(pages.snapshot(2, "Two", LOREM))
            store.fold(pages.delete(1, "One"))
            raise RuntimeError

    with store.folding():
        store.fold(pages.snapshot(1, "One", LOREM))
        with pytest.raises(RuntimeError):
            fail()
        with store.attempt():
            store.fold(pages.snapshot(3, "Three", LOREM))
        store.advance(0, 7)
    assert [state.page_id for _, state in store.pages()] == [1, 3]
    assert store.text(WIKI, 1) == LOREM
    assert store.offset(0) == 7
    assert store._bytes == store._db.execute("SELECT sum(length(packed)) FROM texts").fetchone()[0]


def test_offsets_are_by_partition(store: Store) -> None:
    with store.folding():
        store.advance(0, 10)
        store.advance(3, 5)
    with store.folding():
        store.advance(0, 11)
    assert [store.offset(partition) for partition in range(4)] == [11, 0, 0, 5]


@pytest.mark.parametrize("inside", [True, False])
def test_a_full_disk_is_passing_trouble_and_undoes_everything(store: Store, pages: Pages, inside: bool) -> None:  # noqa: FBT001
    fold(store, pages.snapshot(1, "One", LOREM))
    store._db.execute(f"PRAGMA max_page_count = {store._db.execute('PRAGMA page_count').fetchone()[0] + 2}")
    large = pages.snapshot(2, "Two", random.Random(1).randbytes(50_000).hex().encode())

    def write() -> None:
        with store.folding():
            store.fold(pages.patch(1, "One", b"x" + LOREM))
            with store.attempt() if inside else contextlib.nullcontext():
                store.fold(large)

    with pytest.raises(JournalUnavailable, match="full") as caught:
        write()
    assert "mirror.db" in str(caught.value)
    assert store.text(WIKI, 1) == LOREM
    store._db.execute("PRAGMA max_page_count = 1000000")
    pages.seqs[2] = 0
    fold(store, large)
    assert store.has_text(WIKI, 2)


def test_a_store_belongs_to_one_journal(opening: Callable[..., Store]) -> None:
    store = opening()
    assert store.bind("one") is True
    assert store.bind("one") is False
    store.close()
    again = opening()
    assert again.bind("one") is False
    with pytest.raises(ResumeLost, match=r"mirror\.db belongs to journal one, this is journal two") as caught:
        again.bind("two")
    assert caught.value.hint
    assert again.meta("journal") == "one"


def test_damage_is_said_by_name(opening: Callable[..., Store], pages: Pages, path: Path) -> None:
    store = opening()
    fold(store, *(pages.snapshot(n, f"Page {n}", random.Random(n).randbytes(9_000).hex().encode()) for n in range(60)))
    store.close()
    content = bytearray(path.read_bytes())
    for at in range(4096 * 30, len(content), 4096):
        content[at : at + 64] = os.urandom(64)
    path.write_bytes(content)

    def read_all() -> None:
        store = opening()
        with store.reading():
            for _, state in store.pages():
                store.text(WIKI, state.page_id)

    with pytest.raises(Misconfigured, match=r"mirror\.db is no sound database"):
        read_all()


def test_a_snapshot_for_reading_is_of_one_moment(opening: Callable[..., Store], store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", b"before"), pages.snapshot(2, "Two", b"before"))
    reader = opening()
    with reader.reading():
        found = reader.pages()
        assert next(found)[1].title == "One"
        fold(store, pages.patch(2, "Three", b"after"))
        assert next(found)[1].title == "Two"
        assert reader.text(WIKI, 2) == b"before"
    assert reader.text(WIKI, 2) == b"after"
