"""The pages of a dump beside all that goes on: a mirror ends with every page that there is, whether it ever changed or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from syncer.cli.appending import Appending
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.model import SEED, Cause, Change, Source
from syncer.status import read_status
from tests.inprocess import Rig, Trouble
from tests.property.test_hub import EVERYTHING, HARD, Scenario, by_key, live, settle_down
from tests.property.test_reconcile import LISTS_ALONE
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.virtual import Clock

PAGES = 250


async def seed(rig: Rig, dumped: Sequence[tuple[str, int]]) -> None:
    """As the verb does, but for pages too of which the hub has heard."""
    appending = Appending(rig.journal, rig.settings.enrich.unfinished_limit)
    for wiki_id, page_id in dumped:
        source = Source(SEED, f"{wiki_id} {page_id}", rig.clock.iso(), rig.clock.iso())
        domain = rig.farm[wiki_id].site.domain
        change = Change(wiki_id=wiki_id, domain=domain, cause=Cause.RECONCILE, source=source, page_ids=(page_id,))
        await appending.append(change)


@pytest.mark.parametrize("trouble", [Trouble(), EVERYTHING], ids=["nothing goes wrong", "everything goes wrong"])
def test_every_page_of_a_dump_and_every_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, trouble: Trouble
) -> None:
    async def main(clock: Clock, number: int) -> None:
        farm = Farm(SITES[:2], pages=PAGES, seed=number, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(number), seed=number, trouble=trouble, reconcile=LISTS_ALONE)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=number, weights=HARD)
        async with rig.running():
            await live(rig, work, Scenario(), 40)
            dumped = [(page["wiki_id"], page["page_id"]) for page in farm.export()]
            await live(rig, work, Scenario(), 20)
            seeding = asyncio.create_task(seed(rig, dumped))
            await live(rig, work, Scenario(), 60)
            await seeding
            await settle_down(rig)
            assert by_key(await rig.mirrored()) == by_key(farm.export())
            assert not await rig.violations()
            seeded = [one for one in await rig.records() if one["value"]["source"]["stream"] == SEED]
            assert len(seeded) > PAGES / 2
            assert {one["value"]["kind"] for one in seeded} == {"snapshot"}
            assert (await read_status(rig.journal))["outcomes"]["merged"] > 0
        await rig.journal.close()

    for number in range(1, 31) if request.config.getoption("torture") else range(1, 2):
        run(monkeypatch, lambda clock, number=number: main(clock, number))  # type: ignore[misc]
