"""A hub that was away for longer than the feed keeps: what was lost meanwhile is read from the wikis, whoever is killed when."""

from __future__ import annotations

import json
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from syncer.demo.actions import WEIGHTS, Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from tests.farmland import PATIENCE, Farmland, Hub, arrive, verify

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from syncer.demo.actions import Done

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
            assert told["reconcile"]["found"]["gap"] > 20
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
