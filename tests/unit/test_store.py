"""The store as a fold of mutations: what is in it, what is refused, what is erased, what survives a kill."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from syncer import store as store_module
from syncer.errors import JournalUnavailable, Misconfigured, ResumeLost
from syncer.model import (
    VISIBLE,
    Attribution,
    Base,
    Kind,
    PageFacts,
    PageState,
    Patch,
    Prior,
    Redacted,
    Visibility,
)
from syncer.store import Divergence, Store
from syncer.store.seal import unseal
from tests.command import ROOT
from tests.mutations import HIDDEN, Pages, moved, sha1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from syncer.model import Mutation

WIKI = "testwiki"
LOREM = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 8


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


@pytest.fixture
def pages() -> Pages:
    return Pages()


def fold(store: Store, *mutations: Mutation) -> None:
    with store.folding():
        for mutation in mutations:
            store.fold(mutation)


def refused(store: Store, mutation: Mutation) -> str:
    """Why a mutation does not fit; nothing has changed by it."""
    before = dump(store)
    with pytest.raises(Divergence) as caught, store.folding():
        store.fold(mutation)
    assert dump(store) == before
    with store.folding():  # and nothing even where the transaction goes on
        with pytest.raises(Divergence):
            store.fold(mutation)
        assert dump(store) == before
    return caught.value.reason


def dump(store: Store) -> dict[str, list[Any]]:
    tables = [row[0] for row in store._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'seals'")]
    return {table: store._db.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}  # noqa: S608


def page(store: Store, page_id: int) -> PageState:
    state = store.page(WIKI, page_id)
    assert state
    return state


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


# -- law 2: what does not fit --------------------------------------------------------------------------------------------


def test_a_gap_snapshot_may_jump_ahead_but_not_back(store: Store, pages: Pages) -> None:
    fold(store, replace(pages.snapshot(1, "One", b"1"), seq=5))
    fold(store, replace(pages.snapshot(1, "One", b"2"), seq=2**32 + 1))
    assert page(store, 1).seq == 2**32 + 1
    for seq in (6, 2**32 + 1):
        assert refused(store, replace(pages.snapshot(1, "One", b"3"), seq=seq)) == "old seq"
    assert store.text(WIKI, 1) == b"2"


@pytest.mark.parametrize("seq", [2, 4, 1])
def test_a_patch_is_the_very_next_mutation(store: Store, pages: Pages, seq: int) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.patch(1, "One", b"x" + LOREM))
    patch = pages.patch(1, "One", b"y" + LOREM)
    assert refused(store, replace(patch, seq=seq)) == ("missed seq" if seq > 3 else "old seq")
    fold(store, patch)


@pytest.mark.parametrize("base", [Base(100, sha1(LOREM)), Base(101, sha1(b"another")), Base(99, sha1(b"another"))])
def test_a_patch_builds_on_the_revision_and_hash_stated_before(store: Store, pages: Pages, base: Base) -> None:
    fold(store, pages.snapshot(1, "One", LOREM))
    patch = pages.patch(1, "One", b"x" + LOREM)
    assert patch.base == Base(101, sha1(LOREM))
    assert refused(store, replace(patch, base=base)) == "other base"
    assert refused(store, replace(patch, kind=Kind.SNAPSHOT, text=b"x" + LOREM, base=base)) == "other base"


def test_what_is_not_known_cannot_be_patched_or_redacted(store: Store, pages: Pages) -> None:
    pages.snapshot(1, "One", LOREM)
    assert refused(store, pages.patch(1, "One", b"x" + LOREM)) == "unknown page"
    assert refused(store, pages.redact(1, "One", Redacted(1, HIDDEN))) == "unknown page"
    assert refused(store, pages.snapshot(1, "One", LOREM, gap=False)) == "unknown page"


def test_a_text_that_has_not_the_announced_hash_is_refused(store: Store, pages: Pages) -> None:
    snapshot = pages.snapshot(1, "One", LOREM)
    assert refused(store, replace(snapshot, text=LOREM + b" ")) == "hash of snapshot"
    fold(store, snapshot)
    patch = pages.patch(1, "One", b"x" + LOREM)
    assert patch.patch
    assert refused(store, replace(patch, patch=Patch("splice/1", ((0, 0, "y"),)))) == "hash of result"
    assert refused(store, replace(patch, patch=Patch("splice/1", ()))) == "hash of result"
    assert refused(store, replace(patch, patch=Patch("splice/1", ((9999, 1, ""),)))) == "patch does not apply"
    assert refused(store, replace(patch, patch=Patch("bsdiff/1", patch.patch.ops))) == "unknown patch"
    assert refused(store, replace(patch, patch=None)) == "unknown patch"
    assert refused(store, replace(patch, revision=None)) == "no revision"
    fold(store, patch)


def test_a_divergence_says_which_page(store: Store, pages: Pages) -> None:
    pages.snapshot(1, "One", LOREM)
    with pytest.raises(Divergence, match="testwiki:1 at seq 2: unknown page"), store.folding():
        store.fold(pages.patch(1, "One", b""))


# -- divergences and healing ---------------------------------------------------------------------------------------------


def test_a_divergence_keeps_the_facts_and_no_text(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM), pages.snapshot(2, "Two", LOREM))
    patch = replace(pages.patch(1, "Two", b"x" + LOREM), seq=4)
    with store.folding():
        store.diverge(patch, "missed seq")
    assert store.diverged() == [(WIKI, 1, "missed seq")]
    assert store.text(WIKI, 1) is None
    assert (page(store, 1).revision, page(store, 1).seq, page(store, 1).title) == (patch.revision, 4, "Two")
    assert page(store, 2).title is None


def test_a_divergence_is_healed_by_the_announced_text_only(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM))
    with store.folding():
        store.diverge(pages.patch(1, "One", b"x" + LOREM), "other base")
    with store.folding():
        assert not store.heal(WIKI, 1, LOREM)
        assert not store.heal(WIKI, 2, LOREM)
        assert not store.heal("otherwiki", 1, b"x" + LOREM)
    assert store.text(WIKI, 1) is None
    with store.folding():
        assert store.heal(WIKI, 1, b"x" + LOREM)
    assert store.text(WIKI, 1) == b"x" + LOREM
    assert store.diverged() == []
    fold(store, pages.patch(1, "One", LOREM))
    assert store.text(WIKI, 1) == LOREM


def test_without_its_text_a_page_of_a_mirror_diverges_again_until_a_snapshot(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM))
    with store.folding():
        store.diverge(pages.patch(1, "One", b"x" + LOREM), "other base")
    patch = pages.patch(1, "One", b"y" + LOREM)
    assert refused(store, patch) == "no base text"
    with store.folding():
        store.diverge(patch, "no base text")
    fold(store, pages.snapshot(1, "One", b"z"))
    assert store.diverged() == []
    assert store.text(WIKI, 1) == b"z"


def test_a_redaction_of_another_revision_heals_nothing(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM))
    with store.folding():
        store.diverge(pages.patch(1, "One", b"x" + LOREM), "other base")
    fold(store, pages.redact(1, "One", Redacted(101, HIDDEN)))
    assert store.diverged() == [(WIKI, 1, "other base")]
    with store.folding():
        assert store.heal(WIKI, 1, b"x" + LOREM)
    assert store.diverged() == []


def test_nothing_is_left_to_heal_of_what_is_deleted_or_hidden(store: Store, pages: Pages) -> None:
    for page_id in (1, 2):
        fold(store, pages.snapshot(page_id, f"Page {page_id}", LOREM))
        with store.folding():
            store.diverge(pages.patch(page_id, f"Page {page_id}", b"x" + LOREM), "other base")
    fold(store, pages.delete(1, "Page 1"), pages.snapshot(2, "Page 2", None))
    assert store.diverged() == []
    with store.folding():
        assert not store.heal(WIKI, 1, b"x" + LOREM)
        assert not store.heal(WIKI, 2, b"x" + LOREM)


def test_a_divergence_still_keeps_the_ledger(store: Store, pages: Pages) -> None:
    fold(store, pages.snapshot(1, "One", LOREM))
    with store.folding():
        store.diverge(replace(pages.patch(1, "One", LOREM), redacted=(Redacted(90, HIDDEN),)), "other base")
    assert store.hidden(WIKI, (90,)) == {90: HIDDEN}


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


# -- erasing -------------------------------------------------------------------------------------------------------------


class Watched:
    """Knows what a page's row holds now, and finds it in the raw files afterwards: as it was, packed, and by its keys."""

    def __init__(self, store: Store, path: Path) -> None:
        self.store, self.folder = store, path.parent
        self.needles: list[bytes] = []

    def note(self, page_id: int, attribution: Attribution | None) -> None:
        query = "SELECT s.facts, s.text, packed FROM pages JOIN seals s USING (id) LEFT JOIN texts USING (id) WHERE page_id = ?"
        facts_key, text_key, packed = self.store._db.execute(query, (page_id,)).fetchone()
        self.needles.append(facts_key)
        if packed:
            plain = unseal(text_key, packed)
            assert zstandard.decompress(plain) == self.store.text(WIKI, page_id)
            self.needles += [text_key, plain[len(plain) // 2 :][:24], plain[-24:]]
        if attribution and attribution.editor and attribution.comment:
            self.needles += [attribution.editor.encode(), attribution.comment.encode()[:16], attribution.comment.encode()[-16:]]

    def found(self) -> list[str]:
        files = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        assert "mirror.db" in files
        return [f"{needle!r} in {name}" for needle in self.needles for name, content in files.items() if needle in content]


@pytest.fixture
def watched(store: Store, path: Path) -> Watched:
    return Watched(store, path)


def secret(rng: random.Random) -> Attribution:
    return Attribution(
        None, "https://test.wikipedia.org/", rng.randbytes(12).hex(), rng.randbytes(rng.choice((8, 60, 200))).hex()
    )


def test_what_is_live_can_be_found_in_the_files(store: Store, pages: Pages, watched: Watched) -> None:
    fold(store, pages.snapshot(1, "One", random.Random(1).randbytes(4_000).hex().encode()))
    watched.note(1, None)
    assert watched.found()  # the keys: else a search that finds nothing says nothing


@pytest.mark.parametrize("size", [40, 4_000, 400_000])
def test_a_deleted_text_is_in_no_file(store: Store, pages: Pages, watched: Watched, size: int) -> None:
    rng = random.Random(size)
    for page_id in range(1, 30):
        fold(store, pages.snapshot(page_id, f"Page {page_id}", rng.randbytes(size // 2).hex().encode(), attribution=secret(rng)))
    watched.note(7, page(store, 7).attribution)
    fold(store, pages.delete(7, "Page 7"))
    assert watched.found() == []
    watched.note(8, page(store, 8).attribution)
    fold(store, pages.delete(None, "Page 8"))
    assert watched.found() == []


def test_a_hidden_current_text_is_in_no_file(store: Store, pages: Pages, watched: Watched) -> None:
    fold(store, pages.snapshot(1, "One", random.Random(3).randbytes(3_000).hex().encode()))
    watched.note(1, page(store, 1).attribution)
    fold(store, pages.snapshot(1, "One", None, attribution=None))
    assert watched.found() == []


def test_an_older_text_that_is_hidden_is_in_no_file(store: Store, pages: Pages, watched: Watched) -> None:
    rng = random.Random(4)
    fold(store, pages.snapshot(1, "One", rng.randbytes(3_000).hex().encode(), attribution=secret(rng)))
    watched.note(1, page(store, 1).attribution)
    fold(store, pages.snapshot(1, "One", b"the current one, about something else", attribution=None))
    fold(store, pages.redact(1, "One", Redacted(101, HIDDEN), attribution=None))
    assert watched.found() == []


def test_hidden_names_and_comments_are_in_no_file(store: Store, pages: Pages, watched: Watched) -> None:
    fold(store, pages.snapshot(1, "One", LOREM, attribution=secret(random.Random(5))))
    attribution = page(store, 1).attribution
    assert attribution
    watched.needles = [str(attribution.editor).encode(), str(attribution.comment).encode()]
    hidden = replace(attribution, editor=None, comment=None)
    fold(store, pages.redact(1, "One", Redacted(101, Visibility(text=True, user=False, comment=False)), attribution=hidden))
    assert watched.found() == []
    assert store.text(WIKI, 1) == LOREM


def test_a_text_that_diverged_is_in_no_file(store: Store, pages: Pages, watched: Watched) -> None:
    fold(store, pages.snapshot(1, "One", random.Random(6).randbytes(3_000).hex().encode()))
    watched.note(1, None)
    with store.folding():
        store.diverge(pages.snapshot(1, "One", b"x"), "hash of snapshot")
    assert watched.found() == []


def test_an_evicted_text_that_is_hidden_later_is_in_no_file(opening: Callable[..., Store], pages: Pages, path: Path) -> None:
    store = opening(5_000)
    watched = Watched(store, path)
    fold(store, pages.snapshot(1, "One", random.Random(7).randbytes(1_500).hex().encode()))
    watched.note(1, None)
    fold(store, pages.snapshot(2, "Two", random.Random(8).randbytes(4_000).hex().encode()))
    assert not store.has_text(WIKI, 1)
    fold(store, pages.redact(1, "One", Redacted(101, HIDDEN), attribution=None))
    assert watched.found() == []


def test_pages_that_come_and_go_for_long_leave_nothing_behind(store: Store, pages: Pages, watched: Watched) -> None:
    """SQLite moves rows between pages all the time, and leaves copies where they were."""
    rng = random.Random(9)
    live: dict[int, str] = {}
    for _ in range(250):
        with store.folding():
            erased = rng.sample(sorted(live), min(len(live), 2)) if rng.random() < 0.4 else []
            for page_id in erased:
                watched.note(page_id, page(store, page_id).attribution)
                store.fold(pages.delete(page_id, live.pop(page_id)))
            for _ in range(rng.choice((1, 1, 5, 12))):
                page_id = rng.randrange(1, 100)
                if page_id not in erased:
                    text = rng.randbytes(rng.choice((15, 150, 1_500, 20_000))).hex().encode()
                    live[page_id] = f"Page {page_id}"
                    store.fold(pages.snapshot(page_id, live[page_id], text, attribution=secret(rng)))
        if erased:
            assert watched.found() == []
            watched.needles.clear()


def test_somebody_who_reads_is_no_way_to_keep_what_was_erased(
    opening: Callable[..., Store], store: Store, pages: Pages, watched: Watched
) -> None:
    fold(store, pages.snapshot(1, "One", random.Random(10).randbytes(3_000).hex().encode()))
    reader = opening()
    with reader.reading():
        assert reader.has_text(WIKI, 1)
        watched.note(1, None)
        fold(store, pages.delete(1, "One"))
        assert reader.has_text(WIKI, 1)  # it reads what was
        assert watched.found()  # and so long that cannot be helped
    assert watched.found() == []


def test_what_a_reader_kept_from_being_erased_is_erased_later(store: Store, pages: Pages, watched: Watched, path: Path) -> None:
    fold(store, pages.snapshot(1, "One", random.Random(11).randbytes(3_000).hex().encode()))
    reader = sqlite3.connect(path, isolation_level=None)  # one that does not clean up: it may have been killed
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM texts").fetchone() == (1,)
    watched.note(1, None)
    fold(store, pages.delete(1, "One"))
    reader.close()
    assert watched.found()
    fold(store, pages.snapshot(2, "Two", b"2"))
    assert watched.found() == []


# -- eviction ------------------------------------------------------------------------------------------------------------


def test_texts_are_evicted_within_the_bound_and_facts_never(
    opening: Callable[..., Store], pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVICT_AT_ONCE", 8)
    store = opening(100_000)
    rng = random.Random(12)
    for page_id in range(1, 401):
        fold(store, pages.snapshot(page_id, f"Page {page_id}", rng.randbytes(500).hex().encode()))
        assert store._db.execute("SELECT coalesce(sum(length(packed)), 0) FROM texts").fetchone()[0] == store._bytes <= 100_000
    kept = [state.page_id for _, state in store.pages() if store.has_text(WIKI, state.page_id)]
    assert len([*store.pages()]) == 400
    assert len(kept) > 50
    assert kept == list(range(kept[0], 401))  # the least recently changed have gone
    assert all(state.revision == pages.revisions[state.page_id] for _, state in store.pages())


def test_a_change_of_any_kind_makes_a_text_recent(opening: Callable[..., Store], pages: Pages) -> None:
    store = opening(10**6)
    text = random.Random(13).randbytes(500).hex().encode()
    fold(store, *(pages.snapshot(page_id, f"Page {page_id}", text) for page_id in range(1, 5)))
    fold(store, pages.patch(1, "Page 1", text), pages.redact(2, "Page 2", Redacted(50, HIDDEN)))
    fold(store, pages.delete(3, "Page 3"))
    order = [row[0] for row in store._db.execute("SELECT page_id FROM pages WHERE touched IS NOT NULL ORDER BY touched")]
    assert order == [4, 1, 2]


def test_the_facts_of_an_evicted_page_go_on_and_its_text_comes_back(opening: Callable[..., Store], pages: Pages) -> None:
    store = opening(1)
    fold(store, pages.snapshot(1, "One", LOREM), pages.snapshot(2, "Two", LOREM))
    assert not store.has_text(WIKI, 1)
    fold(store, patch := pages.patch(1, "One", b"x" + LOREM))
    assert page(store, 1).revision == patch.revision
    assert store.text(WIKI, 1) is None
    with store.folding():
        assert not store.heal(WIKI, 1, LOREM)
        assert store.heal(WIKI, 1, b"x" + LOREM)
        store.fold(pages.patch(1, "One", LOREM))
        assert store.text(WIKI, 1) == LOREM  # at hand for as long as the transaction lasts
    assert store.text(WIKI, 1) is None


def test_what_the_texts_take_is_known_after_reopening(opening: Callable[..., Store], pages: Pages) -> None:
    store = opening(10**6)
    fold(store, *(pages.snapshot(n, f"Page {n}", random.Random(n).randbytes(500).hex().encode()) for n in range(1, 20)))
    size, touched = store._bytes, store._touched
    store.close()
    again = opening(10**6)
    assert (again._bytes, again._touched) == (size, touched) != (0, 0)


def test_a_mirror_evicts_nothing(store: Store, pages: Pages) -> None:
    fold(store, *(pages.snapshot(page_id, f"Page {page_id}", LOREM) for page_id in range(1, 600)))
    assert all(store.has_text(WIKI, state.page_id) for _, state in store.pages())


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


KILLED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from syncer.store import Store
    from tests.mutations import Pages

    store = Store(Path(sys.argv[1]))
    fatal, steps, pages = int(sys.argv[2]), 0, Pages()

    def step(_statement):
        global steps
        steps += 1
        if steps == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    one, two = pages.snapshot(1, "One", b"1" * 3000), pages.snapshot(2, "Two", b"2" * 3000)
    if not store.offset(0):
        with store.folding():
            store.fold(one)
            store.advance(0, 1)
    store._db.set_trace_callback(step)
    with store.folding():
        store.fold(two)
        store.fold(pages.delete(1, "One"))
        store.advance(0, 3)
    print(steps)
""")


def test_killed_between_any_two_steps_data_and_offset_are_of_one_moment(path: Path, opening: Callable[..., Store]) -> None:
    whole, fatal, done = 0, 0, ""
    while not done:
        fatal += 1
        run = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(fatal)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert run.returncode in (0, -9), run.stderr
        done = run.stdout
        store = opening()
        live = [state.page_id for _, state in store.pages()]
        assert (live, store.offset(0)) in (([1], 1), ([2], 3))
        assert store.text(WIKI, live[0]) == b"%d" % live[0] * 3000
        if live == [2]:
            whole += 1
            done = done or "killed after the commit"
            assert path.with_name("mirror.db-wal").stat().st_size == 0  # opening emptied it: it still held what was erased
        store.close()
    assert fatal > 15
    assert whole == 1
    assert done == "killed after the commit"
