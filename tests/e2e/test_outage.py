"""A hub that was away for longer than the feed keeps: what was lost meanwhile is read from the wikis, whoever is killed when."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from syncer.config import JournalSettings
from syncer.demo.actions import WEIGHTS, Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.journal import POSITION_KEY, Record, Topic, latest, open_journal
from syncer.model import Position
from syncer.records import decode_resume, encode_resume
from tests.e2e import test_mediawiki as on_lab
from tests.farmland import PATIENCE, Farmland, Hub, arrive, verify

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from syncer.demo.actions import Done
    from tests.e2e.lab import Lab
    from tests.e2e.program import Syncer

DAY = 86_400.0
DEATHS = ("reconcile-found:1", "reconcile-appended:1", "reconcile-found:3", "reconcile-appended:2")  # on the way


class Yesteryear(Farmland):
    """A farm whose clock is so many days behind until it is set."""

    def __init__(self, days: float, *, seed: int = 1) -> None:
        super().__init__(seed=seed)
        self.behind = days * DAY
        self.farm = Farm(SITES[:3], pages=40, seed=seed, clock=lambda: time.time() - self.behind)
        self._work = Workload(self.farm, seed=seed, weights=WEIGHTS)
        self.started = datetime.fromtimestamp(self.farm.clock() - 60, UTC).isoformat()

    def happen(self) -> Done:
        """Something is done."""
        return self.call(self._work.step)

    def unheard(self, actions: int) -> None:
        """So much is done up to now, and the feed has forgotten all of it."""

        def forget() -> None:
            self.farm.log.flush()
            for partition in self.farm.log.partitions.values():
                partition.forget(partition.end)

        step = self.behind / actions
        for _ in range(actions):
            self.happen()
            self.behind -= step
        self.call(forget)
        self.behind = 0.0


def hub_of(land: Farmland, folder: Path, per_minute: int) -> Hub:
    return Hub(folder, "hub", land, {"API__REQUESTS_PER_MINUTE": str(per_minute)})


def ended(land: Yesteryear, hub: subprocess.Popen[bytes]) -> int | None:
    """How a hub ends, by itself, while things happen."""
    deadline = time.monotonic() + PATIENCE
    while hub.poll() is None:
        assert time.monotonic() < deadline, "the hub runs on"
        land.happen()
        time.sleep(0.3)
    return hub.returncode


def test_a_gap_of_days_is_filled_and_live_goes_on(tmp_path: Path, seed: int) -> None:
    with Yesteryear(12, seed=seed) as land:
        hub = hub_of(land, tmp_path, 1800)
        try:
            for _ in range(30):
                land.happen()
            arrive(hub)
            verify(land, hub)
            land.unheard(120)
            for fault in DEATHS:
                assert ended(land, hub.start("run", fault=f"KILL:{fault}")) == -signal.SIGKILL
            land.happen()
            arrive(hub)
            verify(land, hub)
            told = json.loads(hub.ask("status", "--json"))
            (gap,) = told["feed"]["gaps"]
            assert told["reconcile"]["filled"] == {" to ".join(gap): told["reconcile"]["wikis"]} == {" to ".join(gap): 3}
            assert sum(told["reconcile"]["found"].values()) > 20  # by whoever came first
            assert "a gap is filled" in hub.log
        finally:
            hub.clean_up()


def test_a_gap_that_no_wiki_reaches_back_over_ends_the_hub(tmp_path: Path) -> None:
    with Yesteryear(31) as land:
        hub = hub_of(land, tmp_path, 6000)
        try:
            land.happen()
            arrive(hub)
            land.unheard(5)
            for _ in range(2):
                assert ended(land, hub.start("run")) == 3
            assert "start anew" in hub.log
        finally:
            hub.clean_up()


def grow_old(program: Syncer, days: float) -> None:
    """The hub has not been at work for so long: that is how old its position is."""

    async def change() -> None:
        journal = await open_journal(JournalSettings(url=f"sqlite:///{program.folder}/journal.db"), create=False)
        resume = decode_resume((await latest(journal, Topic.POSITIONS, 0))[POSITION_KEY].value)
        then = {source: at - int(days * DAY * 1000) for source, at in resume.position.timestamps.items()}
        resume = replace(resume, position=Position(then))
        await journal.append(Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume)))
        await journal.close()

    asyncio.run(change())


@pytest.mark.timeout(600)
def test_a_real_wiki_tells_what_the_feed_has_lost(
    start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], seed: int
) -> None:
    """Everything that is done on a wiki, and the feed keeps nothing of most of it. What no list names is found by the sweep."""
    lab = start_lab()
    program = set_up(lab, streams=("recentchange",), journal={"RECONCILE__SWEEP_PER_HOUR": "3600"})
    lab.edits(80, seed)
    on_lab.arrive(program)
    lab.edits(150, seed + 100)
    lab.set_fault("retention", 1)
    lab.edits(10, seed + 200)  # what is said now takes the place of all that was said before
    time.sleep(1.0)
    grow_old(program, 8)
    hub = program.start("run")
    time.sleep(3.0)
    lab.set_fault("retention", 0)
    lab.edits(30, seed + 300)
    time.sleep(8.0)  # sweeps, of all pages by now
    program.stop(hub)
    on_lab.arrive(program)
    on_lab.verify(lab, program, suppressions_are_told=False)
    told = json.loads(program.ask("status", "--json"))
    (gap,) = told["feed"]["gaps"]
    assert told["reconcile"]["filled"] == {" to ".join(gap): 1}
    assert sum(told["reconcile"]["found"].values()) > 20  # by whoever came first
