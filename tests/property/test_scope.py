"""A filter changed in the settings: in the end the mirror is what the wikis have of what is wanted, and holds nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from syncer.config import WikiSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.feed import Scope
from syncer.journal import Topic
from syncer.status import read_status
from tests.inprocess import ANYTHING, Rig, Trouble
from tests.property.test_hub import TOLD, by_key, hub_store, live
from tests.property.test_hub import Scenario as Pace
from tests.property.test_reconcile import LISTS_ALONE, states
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from tests.virtual import Clock

DAY = 86_400.0
SCOPES: Mapping[str, WikiSettings] = {
    "articles": WikiSettings(namespaces=(0,)),
    "articles and talk": WikiSettings(namespaces=(0, 1)),
    "users and talk": WikiSettings(namespaces=(1, 2)),
    "everything": WikiSettings(namespaces=("*",)),
    "everything of one": WikiSettings(namespaces=("*",), exclude=("dewiki",)),
    "users of the other": WikiSettings(namespaces=(2,), include=("de.*",)),
    "nothing that may be asked": WikiSettings(namespaces=("*",), domains=("example.org",)),
}
EVERYTHING = Trouble(lag=4.5, mishaps=ANYTHING, crash=0.05, max_result=30_000)


def wants(rig: Rig, settings: WikiSettings) -> None:
    """What the settings say at the next start, of both stages."""
    rig.wiki = settings
    rig.settings = rig.settings.model_copy(update={"wiki": settings})
    rig.sift._scope = Scope(settings)


def wanted(rig: Rig, pages: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    scope, spaces = Scope(rig.settings.wiki), rig.settings.wiki.namespaces
    domains = {wiki_id: wiki.site.domain for wiki_id, wiki in rig.farm.wikis.items()}
    return {
        key: page
        for key, page in by_key(pages).items()
        if scope.wanted(domains[page["wiki_id"]], page["wiki_id"])
        and scope.allowed(domains[page["wiki_id"]])
        and ("*" in spaces or page["namespace"] in spaces)
    }


async def ends_well(rig: Rig) -> None:
    """The mirror has every page that something happened to and that is wanted, as it is; no other; and the laws hold.

    Every wiki is heard of once more: of one that is silent nobody knows that there is such a wiki.
    """
    rig.trouble = Trouble()
    for wiki in rig.farm.wikis.values():
        wiki.edit("Heard of", f"This was said at {rig.clock.iso()}.")
    await rig.drain()
    await rig.replay()
    await rig.drain()
    mine = by_key(await rig.mirrored())
    touched, true = wanted(rig, rig.farm.export(touched=True)), wanted(rig, rig.farm.export())
    assert mine == touched | {key: page for key, page in true.items() if key in mine}
    assert by_key(hub_store(rig)) == mine
    assert not await rig.violations()
    assert not any(each.rescoping or each.job for each in (await states(rig)).values())


def test_filters_change_from_start_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """From any scope to any other, sometimes before what the last one meant is done, whatever goes wrong meanwhile."""

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(seed), seed=seed, trouble=EVERYTHING, reconcile=LISTS_ALONE)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=TOLD)
        for _ in range(6):
            name = rig.rng.choice(list(SCOPES))
            wants(rig, SCOPES[name])
            rig.trouble = EVERYTHING
            await rig.start()
            await live(rig, work, Pace(), rig.rng.choice((0, 3, 40)))
            if rig.rng.random() < 0.5:
                await ends_well(rig)
            await rig.stop()
        wants(rig, SCOPES["everything"] if seed % 2 else SCOPES["articles and talk"])
        await rig.start()
        await ends_well(rig)
        await rig.stop()
        await rig.journal.close()

    for seed in range(1, 31) if request.config.getoption("torture") else range(1, 5):
        try:
            run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_pages_that_left_come_back_however_long_ago_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wikis tell of 30 days; and nothing is asked for what was wanted all the time."""

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], seed=1, clock=clock.time)
        rig = Rig(farm, clock, tmp_path, reconcile=LISTS_ALONE, wiki=SCOPES["articles and talk"])
        await rig.open()
        async with rig.running():
            for wiki in farm.wikis.values():
                for title in ("A", "Talk:A", "User:A"):
                    wiki.edit(title, f"{title} as it was")
            await rig.drain()
        for name, count in (("articles", 2), ("nothing that may be asked", 0), ("articles", 2), ("articles and talk", 4)):
            await asyncio.sleep(40 * DAY)
            wants(rig, SCOPES[name])
            begun = len(rig.starts)
            async with rig.running():
                for wiki in farm.wikis.values():
                    wiki.edit("User:B", f"unwanted, in the days of {name}")
                await rig.feed()
                await until_watermarks_are_whole(rig)
            assert len(await rig.mirrored()) == count
            if name == "nothing that may be asked":
                assert len(rig.starts) == begun
        assert {page["title"] for page in await rig.mirrored()} == {"A", "Talk:A"} | {
            page["title"] for page in rig.farm.export() if page["namespace"] == 1
        }
        assert not await rig.violations()
        await rig.journal.close()

    run(monkeypatch, main)


async def until_watermarks_are_whole(rig: Rig) -> None:
    """Until then it is told what is missing: from when to when what is wanted now was passed over."""
    await rig.drain()
    await rig.mark()
    await rig.drain()
    newest = {record["key"]: record["value"] for record in await rig.records(Topic.WATERMARKS)}
    assert {wiki_id: value["gaps"] for wiki_id, value in newest.items()} == {wiki_id: [] for wiki_id in newest}


def test_a_wiki_says_what_is_missing_until_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], seed=1, clock=clock.time)
        rig = Rig(farm, clock, tmp_path, reconcile=LISTS_ALONE, wiki=SCOPES["articles"])
        await rig.open()
        async with rig.running():
            for wiki in farm.wikis.values():
                for title in ("A", "Talk:A", "User:A"):
                    wiki.edit(title, f"{title} as it was")
            await rig.drain()
            await rig.mark()
            await rig.drain()
        wants(rig, SCOPES["articles and talk"])
        rig.broken = {"dewiki": "unavailable"}
        began, since = len(rig.starts), clock.time()
        async with rig.running():
            await asyncio.sleep(60)
            assert list(rig.enrich.status()["filling"]) == ["dewiki"]  # type: ignore[call-overload]
            assert not rig.enrich.status()["idle"]
            newest = {record["key"]: record["value"]["gaps"] for record in await rig.records(Topic.WATERMARKS)}
            assert newest["enwiki"] == []
            ((start, end),) = newest["dewiki"]
            assert start < end == datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            assert (await read_status(rig.journal))["reconcile"]["rescoping"] == 1
            rig.broken = {}
            await until_watermarks_are_whole(rig)
            assert (await read_status(rig.journal))["reconcile"]["rescoping"] == 0
        asked = Counter((wiki_id, kind) for _, wiki_id, kind, _ in rig.starts[began:] if wiki_id == "enwiki")
        assert asked == {("enwiki", "recentchanges"): 1, ("enwiki", "logevents"): 1, ("enwiki", "revids"): 1}
        assert {page["title"] for page in await rig.mirrored()} == {"A", "Talk:A", "Diskussion:A"}
        await rig.journal.close()

    run(monkeypatch, main)


def test_a_wiki_that_does_not_answer_is_not_asked_once_it_is_not_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was set aside because of that is closed."""

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], seed=1, clock=clock.time)
        rig = Rig(farm, clock, tmp_path, reconcile=LISTS_ALONE)
        await rig.open()
        async with rig.running():
            farm["dewiki"].edit("A", "as it was")
            await rig.drain()
            rig.broken = {"dewiki": "unavailable"}
            farm["dewiki"].edit("A", "as it is")
            await rig.feed()
            await asyncio.sleep(3000)
            assert rig.enrich.wikis_out == {"dewiki"}
        assert (await read_status(rig.journal))["open_set_asides"] == {"dewiki": 1}
        wants(rig, SCOPES["everything of one"])
        begun = len(rig.starts)
        async with rig.running():
            await asyncio.sleep(1000)
            assert not rig.enrich.wikis_out
        assert len(rig.starts) == begun
        assert not (await read_status(rig.journal))["open_set_asides"]
        assert not await rig.mirrored()
        assert not await rig.violations()
        await rig.journal.close()

    run(monkeypatch, main)
