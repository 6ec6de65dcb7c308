"""Pages are looked at in turn: those first that nobody has looked at for longest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncer.config import ReconcileSettings
from syncer.model import Cause
from syncer.reconcile.rounds import Rounds
from syncer.store import Store
from tests.desk import WIKI, Desk, change
from tests.world import World

if TYPE_CHECKING:
    from pathlib import Path


def filled(pages: int) -> Store:
    """A store of so many pages, each with one revision."""
    desk, world = Desk(), World()
    for page_id in range(1, pages + 1):
        world.page(page_id, f"P{page_id}", 100 + page_id)
    desk.settle(world, *(change(Cause.CREATE, f"P{page_id}", rev=100 + page_id) for page_id in range(1, pages + 1)))
    world.delete(2)
    desk.settle(world, change(Cause.DELETE, "P2", page=2))
    return desk.store


@pytest.fixture
def store() -> Store:
    return filled(7)


def test_pages_come_in_turn_and_begin_anew_when_all_were_seen(store: Store) -> None:
    store.seen.enroll(10.0)
    turns = []
    for now in range(20, 26):
        page_ids = store.seen.unseen(WIKI, 3, now)
        store.seen.saw(WIKI, page_ids, now)
        turns.append(page_ids)
    assert turns == [[1, 3, 4], [5, 6, 7], [1, 3, 4], [5, 6, 7], [1, 3, 4], [5, 6, 7]]  # page 2 is gone


def test_a_page_that_is_new_was_just_read(store: Store) -> None:
    store.seen.enroll(10.0)
    store.seen.enroll(20.0)
    assert store.seen.unseen(WIKI, 50, 10.0) == []
    assert store.seen.unseen(WIKI, 50, 11.0) == [1, 3, 4, 5, 6, 7]


def test_the_wiki_that_waits_longest_comes_first(store: Store) -> None:
    assert store.seen.longest_ago([WIKI]) is None
    store.seen.enroll(10.0)
    store._db.execute("INSERT INTO seen VALUES (99, 'dewiki', 5.0)")
    assert store.seen.longest_ago([WIKI, "dewiki", "frwiki"]) == "dewiki"
    assert store.seen.longest_ago([WIKI]) == WIKI


def test_pages_that_are_gone_are_in_nobodys_way(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr("syncer.store.seen.AT_ONCE", 1)
    store.seen.enroll(10.0)
    store.seen.saw(WIKI, [1, 3, 4, 5, 6, 7], 15.0)
    assert store.seen.unseen(WIKI, 50, 20.0) == [1]
    for page_id in (1, 3, 4, 5, 6, 7):
        store._db.execute("UPDATE pages SET live = 0 WHERE page_id = ?", (page_id,))
    assert store.seen.unseen(WIKI, 50, 21.0) == []


@pytest.mark.parametrize(
    ("share", "found"), [(0.0, [1, 3, 4]), (0.2, [3, 4, 5]), (0.5, [4, 5, 6]), (0.99, [6, 7, 1]), (1.0, [7, 1, 3])]
)
def test_some_are_neighbours_from_anywhere_on(store: Store, share: float, found: list[int]) -> None:
    assert store.seen.some(WIKI, 3, share) == found
    assert store.seen.some("dewiki", 3, share) == []


def test_a_sweep_comes_when_it_is_time_and_passes_over_who_does_not_answer(store: Store) -> None:
    rounds = Rounds(ReconcileSettings(sweep_per_hour=60.0), store.seen)
    assert [rounds.time_to_plan(now) for now in (940.0, 999.0, 1000.0)] == [False, False, True]
    rounds.plan([WIKI], 1000.0)
    assert rounds.due(WIKI) == "sweep"
    page_ids = rounds.pages("sweep", WIKI, 1001.0)
    assert page_ids == [1, 3, 4, 5, 6, 7]
    rounds.done("sweep", WIKI, page_ids, 1001.0)
    assert rounds.due(WIKI) is None
    assert [rounds.time_to_plan(now) for now in (1060.0, 1061.0)] == [False, True]
    store._db.execute("INSERT INTO seen VALUES (99, 'dewiki', 5.0)")
    rounds.plan([WIKI, "dewiki"], 1061.0)
    assert (rounds.due(WIKI), rounds.due("dewiki")) == (None, "sweep")
    rounds.plan([WIKI, "dewiki"], 1062.0)  # it was not done
    assert (rounds.due(WIKI), rounds.due("dewiki")) == ("sweep", None)


def test_what_is_switched_off_is_never_due(store: Store) -> None:
    rounds = Rounds(ReconcileSettings(sample=0, sweep_per_hour=0.0), store.seen)
    rounds.samples.add(WIKI)
    assert not any(rounds.time_to_plan(now) for now in (1000.0, 10.0**12))
    assert rounds.due(WIKI) is None


def test_a_sample_is_one_request_an_interval(store: Store) -> None:
    rounds = Rounds(ReconcileSettings(sample=2), store.seen)
    rounds.samples.add(WIKI)
    assert rounds.due(WIKI) == "sample"
    page_ids = rounds.pages("sample", WIKI, 1000.0)
    assert 1 <= len(page_ids) <= 2
    rounds.done("sample", WIKI, page_ids, 1000.0)
    assert rounds.due(WIKI) is None


def test_it_outlives_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.db")
    store._db.execute("INSERT INTO seen VALUES (1, 'dewiki', 5.0)")
    store.close()
    assert Store(tmp_path / "store.db").seen.longest_ago(["dewiki"]) == "dewiki"
