"""What does not fit a store (law 2), what becomes of it, and how it is healed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from syncer.model import (
    Base,
    Kind,
    Patch,
    Redacted,
)
from syncer.store import Divergence, Store
from tests.mutations import HIDDEN, Pages, sha1
from tests.stores import LOREM, WIKI, fold, page, refused

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
