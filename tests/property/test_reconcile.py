"""What upstream never said is found: a mirror ends equal to the wikis although the feed lost days, or an event here and there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from syncer.config import ReconcileSettings, WikiSettings
from syncer.demo.actions import Workload
from syncer.demo.events import STREAMS
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.journal import Topic, latest
from syncer.reconcile.compare import STREAM
from syncer.reconciled import Reconciled
from tests.inprocess import ANYTHING, Rig, Trouble
from tests.property.test_hub import HARD, TOLD, by_key, live
from tests.property.test_hub import Scenario as Pace
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.virtual import Clock

DAY = 86_400.0
LISTS_ALONE = ReconcileSettings(interval=3600.0, sample=0, sweep_per_hour=0.0)
SILENT = {name: 15 for name in HARD if name.startswith("suppress")}
EVERYTHING = Trouble(lag=4.5, mishaps=ANYTHING, crash=0.05, max_result=30_000)


async def unheard(rig: Rig, work: Workload, actions: int, seconds: float) -> float:
    """So much is done while nobody listens, and the hub is down. Returns since when."""
    await rig.drain()
    await rig.stop()
    since = rig.clock.time()
    for _ in range(actions):
        await asyncio.sleep(seconds / actions)
        work.step()
    await rig.miss(since)
    await rig.start()
    return since


async def equal(rig: Rig) -> None:
    """The mirror is what the wikis are, for every page that something happened to; and the laws hold."""
    rig.trouble = Trouble()
    await rig.drain()
    await rig.replay()
    await rig.drain()
    mine = by_key(await rig.mirrored())
    wanted = rig.settings.wiki.namespaces
    touched, true = (
        {key: page for key, page in by_key(pages).items() if "*" in wanted or page["namespace"] in wanted}
        for pages in (rig.farm.export(touched=True), rig.farm.export())
    )
    assert mine == touched | {key: page for key, page in true.items() if key in mine}
    assert not await rig.violations()


async def states(rig: Rig) -> dict[str, Reconciled]:
    found: dict[str, Reconciled] = {}
    for partition in range(rig.journal.partitions):
        for key, stored in (await latest(rig.journal, Topic.PROGRESS, partition)).items():
            if key.startswith("reconciled:"):
                each = Reconciled.decode(stored.value)
                found[each.wiki_id] = each
    return found


async def watermarks(rig: Rig) -> Mapping[str, Any]:
    """The gaps that stand in every wiki's watermark, after the next mark."""
    await rig.mark()
    await rig.drain()
    return {record["key"]: record["value"]["gaps"] for record in await rig.records(Topic.WATERMARKS)}


def test_days_that_the_feed_has_lost_are_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Whatever goes wrong meanwhile, processes that die included; the gap is closed, once."""

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], pages=30, seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(seed), seed=seed, trouble=EVERYTHING, reconcile=LISTS_ALONE)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=TOLD)
        async with rig.running():
            await live(rig, work, Pace(), 60)
            since = await unheard(rig, work, 150, 10 * DAY)
            await live(rig, work, Pace(), 20)
            await equal(rig)
            gap = rig.gaps[0]
            first = await states(rig)
            assert {wiki_id: (each.filled, each.job) for wiki_id, each in first.items()} == dict.fromkeys(first, ((gap,), None))
            assert all(each.window_to >= str(gap[1])[:19] for each in first.values())
            assert set(await watermarks(rig)) == set(farm.wikis)
            assert set(map(str, (await watermarks(rig)).values())) == {"[]"}
            found = [record for record in await rig.records(Topic.CHANGES) if record["value"].get("stream") == STREAM]
            assert len(found) == sum(each.found["gap"] for each in first.values()) > 20
            assert len(found) < 150  # a page that changed often is read once
            await rig.stop()
            await rig.start()
            await rig.drain()
            assert {wiki_id: each.asked["gap"] for wiki_id, each in (await states(rig)).items()} == {
                wiki_id: each.asked["gap"] for wiki_id, each in first.items()
            }
            assert since < clock.time() - 10 * DAY
        await rig.journal.close()

    for seed in range(1, 31) if request.config.getoption("torture") else range(1, 3):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]


def test_a_wiki_that_is_not_wanted_any_more_is_not_asked_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], pages=30, seed=1, clock=clock.time)
        rig = Rig(farm, clock, tmp_path, reconcile=LISTS_ALONE)
        await rig.open()
        work = Workload(farm, seed=1, weights=TOLD)
        async with rig.running():
            await live(rig, work, Pace(), 30)
            await rig.drain()
            await rig.stop()
            wiki = rig.settings.wiki.model_copy(update={"exclude": ("dewiki",)})
            rig.settings = rig.settings.model_copy(update={"wiki": wiki})
            await rig.start()
            await unheard(rig, work, 50, 2 * DAY)
            begun = len(rig.starts)
            await rig.drain()
            assert {wiki_id for _, wiki_id, *_ in rig.starts[begun:]} == {"enwiki"}
            assert await watermarks(rig) == {"enwiki": []}  # of the other one nothing is said any more
        await rig.journal.close()

    run(monkeypatch, main)


def test_what_the_feed_loses_is_found_within_the_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A third of all events never come. The pages they were about, articles or all, are right after the next window."""

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], pages=30, seed=seed, clock=clock.time)
        scope = WikiSettings(namespaces=(0,) if seed % 2 else ("*",))
        trouble = Trouble(lag=4.5, mishaps=ANYTHING, crash=0.02)
        lost = {"streams": STREAMS[:1], "reconcile": LISTS_ALONE}
        rig = Rig(
            farm,
            clock,
            tmp_path / str(seed),
            seed=seed,
            trouble=trouble,
            wiki=scope,
            **lost,  # type: ignore[arg-type]
        )
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=TOLD)
        async with rig.running():
            await live(rig, work, Pace(), 20)  # so that both wikis have been heard of
            farm.faults = replace(farm.faults, lose=0.3)
            await live(rig, work, Pace(rate=0.2), 200)
            farm.faults = replace(farm.faults, lose=0.0)
            await rig.drain()
            before = by_key(await rig.mirrored())
            ended = datetime.fromtimestamp(clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            await asyncio.sleep(3600.0 + 240.0)
            while any(each.window_to < ended or each.job for each in (await states(rig)).values()):
                await rig.journal.commit([rig.noted()])
                await asyncio.sleep(60.0)
            await equal(rig)
            after = by_key(await rig.mirrored())
            wrong = {key for key, page in after.items() if before.get(key) != page} | (before.keys() - after.keys())
            found = sum(each.found["window"] for each in (await states(rig)).values())
            assert len(wrong) > 3
            assert found < 3 * len(wrong)
        await rig.journal.close()

    for seed in range(1, 31) if request.config.getoption("torture") else range(1, 3):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]


def test_a_wiki_of_which_nothing_wanted_was_heard_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:1], clock=clock.time)
        scope = WikiSettings(namespaces=(0,))
        rig = Rig(farm, clock, tmp_path, reconcile=LISTS_ALONE, wiki=scope, streams=STREAMS[:1])
        await rig.open()
        (wiki,) = farm.wikis.values()
        async with rig.running():
            wiki.edit("Talk:A", "all that is heard")
            await rig.drain()
            farm.faults = replace(farm.faults, lose=1.0)
            wiki.edit("A", "unheard")
            await asyncio.sleep(3600.0 + 240.0)
            await rig.journal.commit([rig.noted()])
            await asyncio.sleep(60.0)
            await equal(rig)
            assert [page["title"] for page in await rig.mirrored()] == ["A"]
        await rig.journal.close()

    run(monkeypatch, main)


@pytest.mark.parametrize(
    ("by", "settings"),
    [
        ("sweep", ReconcileSettings(interval=86_400.0, sweep_per_hour=360.0)),
        ("sample", ReconcileSettings(interval=60.0, sweep_per_hour=0.0)),
    ],
)
def test_what_no_list_names_is_found_by_looking(
    by: str, settings: ReconcileSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Suppressions: recentchange and the public log are silent about them. In turn, or at random, the pages are looked at."""

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], seed=seed, clock=clock.time)
        trouble = Trouble(lag=4.5, mishaps=ANYTHING, crash=0.02)
        rig = Rig(farm, clock, tmp_path / str(seed), seed=seed, trouble=trouble, reconcile=LISTS_ALONE, streams=STREAMS[:1])
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights={**TOLD, **SILENT})
        async with rig.running():
            await live(rig, work, Pace(rate=0.2), 150)
            await rig.drain()
            wrong = await different(rig)
            await rig.stop()
            rig.settings = rig.settings.model_copy(update={"reconcile": settings})
            await rig.start()
            for _ in range(20):
                await asyncio.sleep(60.0)
                await rig.journal.commit([rig.noted()])
            await equal(rig)
            reconciled = (await states(rig)).values()
            assert wrong
            assert sum(each.found.total() for each in reconciled) >= len(wrong)
            assert sum(each.found[by] for each in reconciled) > 0
            assert any(each.asked[by] for each in reconciled)
        await rig.journal.close()

    for seed in range(1, 31) if request.config.getoption("torture") else range(1, 2):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]


async def different(rig: Rig) -> set[tuple[Any, ...]]:
    """The pages of which the mirror has something else than the wiki; those that it has and the wiki has not among them."""
    mine, true = by_key(await rig.mirrored()), by_key(rig.farm.export())
    return {key for key, page in mine.items() if true.get(key) != page}


def test_what_is_fresh_does_not_wait_for_what_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of pages are made up for at 180 requests a minute; an edit every two seconds is published within seconds."""

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], clock=clock.time)
        rig = Rig(farm, clock, tmp_path, per_minute=180, reconcile=LISTS_ALONE, streams=STREAMS[:1])
        await rig.open()
        delays: list[float] = []
        async with rig.running():
            for wiki in farm.wikis.values():
                wiki.edit("Fresh", "0")
            await rig.feed()
            await rig.drain()
            await rig.stop()
            since = clock.time()
            for number in range(2_000):
                await asyncio.sleep(60.0)
                for wiki in farm.wikis.values():
                    wiki.edit(f"Old {number}", f"text {number}")
            await rig.miss(since)
            await rig.start()
            rig.enrich.watch.on_outcome.append(
                lambda change, _outcome, delay: delays.append(delay) if change.source.stream != "reconcile" else None
            )
            while not delays or rig.enrich.status()["filling"]:
                farm["enwiki"].edit("Fresh", f"{clock.time()}")
                await rig.feed()
                await asyncio.sleep(2.0)
            await equal(rig)
            assert 4_000 <= sum(each.found["gap"] for each in (await states(rig)).values()) < 4_010
            assert len(delays) > 10
            assert max(delays) < 10.0
        await rig.journal.close()

    run(monkeypatch, main)


def test_it_is_told_for_how_long_a_wiki_waits_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From when that was due; those that do not answer are told of as that."""

    async def main(clock: Clock) -> None:
        rig = Rig(Farm(SITES[:2], clock=clock.time), clock, tmp_path, reconcile=LISTS_ALONE)
        await rig.open()
        async with rig.running():
            for wiki in rig.farm.wikis.values():
                wiki.edit("A", "heard of")
            await rig.drain()
            assert rig.enrich.overdue() == 0
        rig.broken = dict.fromkeys(rig.farm.wikis, "unavailable")
        await asyncio.sleep(5 * 3600.0)
        rig.farm["dewiki"].edit("A", "because of which it is taken out of the way")
        await rig.feed()
        async with rig.running():
            while not rig.enrich.working:  # noqa: ASYNC110 - virtual
                await asyncio.sleep(0.01)
            assert 3.9 < rig.enrich.overdue() / 3600 < 4.1
            while rig.enrich.wikis_out != {"dewiki"}:  # noqa: ASYNC110 - virtual
                await asyncio.sleep(10)
            assert rig.enrich.overdue() > 3.9 * 3600
            rig.broken = {"dewiki": "unavailable"}
            await asyncio.sleep(600)
            assert rig.enrich.wikis_out == {"dewiki"}
            assert rig.enrich.overdue() == 0
            rig.broken = {}
            await rig.drain()
        await rig.journal.close()

    run(monkeypatch, main)


@pytest.mark.parametrize("whole", [False, True], ids=["partial", "whole"])
def test_a_merge_that_nobody_heard_of_is_one_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    """What it took away from a page goes with the page it went to. And one that was heard of is not told again."""

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:1], clock=clock.time)
        often = LISTS_ALONE.model_copy(update={"interval": 60.0})
        rig = Rig(farm, clock, tmp_path, reconcile=often)
        await rig.open()
        wiki = farm["enwiki"]

        async def merged(source: str, target: str, lose: float) -> None:
            revs = [wiki.edit(source, f"{source}, version {number}: " + 20 * f"{source}{number} ") for number in range(3)]
            await asyncio.sleep(2)
            wiki.edit(target, f"{target} as it was")
            await rig.drain()
            farm.faults = replace(farm.faults, lose=lose)
            wiki.merge(source, target, up_to=None if whole or revs[1] is None else revs[1].rev_id)
            await rig.drain()
            farm.faults = replace(farm.faults, lose=0.0)

        async def found() -> int:
            """After the next window."""
            await asyncio.sleep(60.0 + 240.0)
            await rig.journal.commit([rig.noted()])
            await asyncio.sleep(60.0)
            await rig.drain()
            return (await states(rig))["enwiki"].found["window"]

        async with rig.running():
            await merged("Heard of", "There", 0.0)
            assert await found() == 0
            await merged("Unheard", "Elsewhere", 1.0)
            once = await found()
            assert once > 0
            assert await found() == once
            wiki.delete("Elsewhere")
            await equal(rig)
            told = str([one["value"] for one in await rig.records()])
            assert [number for number in range(2 + whole) if f"Unheard{number}" in told] == []
        await rig.journal.close()

    run(monkeypatch, main)
