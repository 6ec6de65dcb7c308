"""That a watermark is true: also when nothing else happens, after a restart, and of a wiki that is wanted no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from syncer.config import WikiSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.enrich.watermarks import Said, Watermarks
from syncer.journal import Topic, latest
from syncer.progress import Progress
from tests.inprocess import Rig
from tests.property.test_hub import Scenario, live
from tests.virtual import run

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.virtual import Clock

BEFORE, NOW = "2026-11-24T04:00:00.000Z", "2026-11-24T05:00:00.000Z"
GAP = ("2026-11-24T03:00:00.000Z", "2026-11-24T03:30:00.000Z")


def told(watermarks: Watermarks, **open_set_asides: int) -> dict[str, Any]:
    progress = Progress(read_to=100)
    progress.open_set_asides.update(open_set_asides)
    return {record.key: orjson.loads(record.value) for record in watermarks.records(0, progress)}


def test_what_changes_between_two_marks_is_told_of_that_wiki_alone() -> None:
    watermarks = Watermarks(1)
    for wiki_id in ("dewiki", "enwiki"):
        watermarks.know(wiki_id)
    assert told(watermarks, enwiki=1) == {}  # nobody knows yet how complete they are
    watermarks.mark(0, 50, BEFORE)
    assert set(told(watermarks)) == {"dewiki", "enwiki"}
    assert told(watermarks) == {}
    assert told(watermarks, enwiki=1) == {
        "enwiki": {"wiki_id": "enwiki", "complete_to": BEFORE, "open_set_asides": 1, "gaps": []}
    }
    watermarks.gaps, watermarks.filled = (GAP,), {"enwiki": frozenset({GAP})}
    assert told(watermarks, enwiki=1)["dewiki"]["gaps"] == [list(GAP)]


def test_after_a_restart_it_goes_on_with_what_was_said() -> None:
    watermarks = Watermarks(1)
    watermarks.begin({"dewiki": Said(BEFORE, 0, ()), "frwiki": Said(BEFORE, 0, ())}, ["dewiki"])
    assert told(watermarks, dewiki=2)["dewiki"]["complete_to"] == BEFORE
    watermarks.mark(0, 50, NOW)
    assert {wiki: value["complete_to"] for wiki, value in told(watermarks).items()} == {"dewiki": NOW}


def test_a_wiki_that_is_dropped_stays_as_complete_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is read any more; to move its watermark on would be to say that nothing happened there."""

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], seed=3, clock=clock.time)
        rig = Rig(farm, clock, tmp_path, seed=3)
        await rig.open()
        complete: list[dict[str, str]] = []
        for exclude in ((), ("dewiki",)):
            wanted = WikiSettings(namespaces=("*",), exclude=exclude)
            rig.settings = rig.settings.model_copy(update={"wiki": wanted})
            async with rig.running():
                await live(rig, Workload(farm, seed=3), Scenario(), 30 if not exclude else 0)
                await rig.drain()
                await rig.mark()
                await rig.drain()
            found = [await latest(rig.journal, Topic.WATERMARKS, part) for part in range(rig.journal.partitions)]
            complete.append({key: orjson.loads(one.value)["complete_to"] for each in found for key, one in each.items()})
        first, second = complete
        assert set(first) == {"dewiki", "enwiki"}
        assert second["dewiki"] == first["dewiki"]
        assert second["enwiki"] > first["enwiki"]
        await rig.journal.close()

    run(monkeypatch, main)


def test_wikis_of_which_nothing_was_published_are_known_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the watermark of a wiki where everything was skipped would stand still."""

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], seed=3, clock=clock.time)
        rig = Rig(farm, clock, tmp_path, seed=3, wiki=WikiSettings(namespaces=(9,)))
        await rig.open()
        complete = []
        for actions in (30, 0):
            async with rig.running():
                await live(rig, Workload(farm, seed=3), Scenario(), actions)
                await rig.drain()
                await rig.mark()
                await rig.drain()
            found = [await latest(rig.journal, Topic.WATERMARKS, part) for part in range(rig.journal.partitions)]
            complete.append({key: orjson.loads(one.value)["complete_to"] for each in found for key, one in each.items()})
        assert not await rig.records()
        assert set(complete[0]) == set(complete[1]) == {"dewiki", "enwiki"}
        assert min(complete[1].values()) > max(complete[0].values())
        await rig.journal.close()

    run(monkeypatch, main)
