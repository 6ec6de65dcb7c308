"""Mirrors that are damaged, or begin in the middle, beside a hub at work: they end equal to it, and no wiki hears of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from random import Random
from typing import TYPE_CHECKING

import pytest

from syncer.config import ReconcileSettings
from syncer.demo.actions import WEIGHTS, Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.journal import Topic
from syncer.mirror import Mirror, against_hub
from syncer.mirror.reading import export, verify
from syncer.store import Store
from tests.damage import begin_late, damage
from tests.inprocess import Rig, Trouble
from tests.property.test_hub import Scenario, by_key, expected, live, settle_down
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.virtual import Clock

PATIENCE = 3600.0  # seconds, virtual
QUIET = ReconcileSettings(interval=86_400.0, sample=0, sweep_per_hour=0.0)  # so the hub asks nobody of its own accord


@asynccontextmanager
async def following(rig: Rig, store: Store) -> AsyncIterator[Mirror]:
    mirror, stop = Mirror(rig.journal, store, rig.settings.mirror), asyncio.Event()
    task = asyncio.create_task(mirror.run(stop))
    try:
        yield mirror
    finally:
        stop.set()
        await task
        mirror._thread.shutdown()


async def healed(rig: Rig, store: Store) -> None:
    """Compare, have healed what is wrong, until nothing is."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with following(rig, store):
                await asyncio.sleep(10.0)
                while store.diverging():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(1.0)
            faults = [fault for fault in verify(store) if fault]
            for fault in faults:
                assert against_hub.suspect(store, fault)
            compared = await against_hub.compare(rig.journal, store, rig.settings.mirror, None)
            for wrong in compared.wrong:
                await against_hub.doubt(rig.journal, store, rig.settings.mirror, wrong)
            if not faults and not compared.wrong:
                return


@pytest.mark.parametrize("trouble", [Trouble(), Trouble(crash=0.4)], ids=["at rest", "the hub dies"])
def test_what_is_damaged_and_what_began_late_end_as_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    seed, scenario = 7, Scenario(weights=WEIGHTS)

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], pages=0, seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path, seed=seed, reconcile=QUIET)
        await rig.open()
        work, middle = Workload(farm, seed=seed, weights=WEIGHTS), {}
        damaged, late = tmp_path / "damaged.db", tmp_path / "late.db"
        async with rig.running():
            await live(rig, work, scenario, 150)
            await settle_down(rig)
            for part in range(rig.journal.partitions):
                _, middle[part] = await rig.journal.bounds(Topic.MUTATIONS, part)
            await live(rig, work, scenario, 150)
            await settle_down(rig)
            with closing(Store(damaged)) as store:
                async with following(rig, store):
                    await asyncio.sleep(5)
            done = damage(damaged, Random(seed))
            assert all(done.values()), done
            begin_late(late, rig.journal.identity, middle)
            await live(rig, work, scenario, 20)
            await settle_down(rig)
            rig.trouble, asked = trouble, len(rig.starts)
            for path in (damaged, late):
                with closing(Store(path)) as store:
                    await healed(rig, store)
                    mine = by_key(export(store))
                assert mine == expected(farm, mine, scenario), path.name
            assert bool(rig.crashes) == bool(trouble.crash)
            rig.trouble = Trouble()
            assert rig.starts[asked:] == []
        assert await rig.violations() == []
        causes = [record["value"]["source"]["stream"] for record in await rig.records()]
        assert causes.count("heal") > 20
        await rig.journal.close()

    run(monkeypatch, main)
