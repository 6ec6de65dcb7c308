"""What goes out of a store: erased so that no file has it any more, evicted where there is no room; and kills in between."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import zstandard

from syncer import store as store_module
from syncer.model import (
    Attribution,
    Redacted,
    Visibility,
)
from syncer.seal import unseal
from syncer.store import Store
from tests.command import ROOT
from tests.mutations import HIDDEN, Pages
from tests.stores import LOREM, WIKI, fold, page

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


# -- killed --------------------------------------------------------------------------------------------------------------

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
