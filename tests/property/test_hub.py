"""The hub on a wiki farm, with everything going wrong that can: a mirror ends equal to the wikis, and the laws hold.

What happens on the farm is random, and so is what goes wrong. Time is virtual, nothing else is: the decoders, the client's
reading of answers, the stages, journal and store on their files are those that ship.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from syncer.config import ApiSettings, EnrichSettings, FeedSettings, JournalSettings, MirrorSettings, Settings, WikiSettings
from syncer.demo.actions import WEIGHTS, Workload, drive
from syncer.demo.events import PAGE_CHANGE, RECENT_CHANGE, REVISION_CREATE, STREAMS
from syncer.demo.farm import Farm
from syncer.demo.faults import Faults
from syncer.demo.server import serve
from syncer.demo.sites import SITES
from syncer.enrich import Enrich
from syncer.enrich.outages import UNAVAILABLE
from syncer.feed import Feed, Scope
from syncer.fetch import WikiApi, user_agent
from syncer.ingest import Ingest
from syncer.journal.sqlite import SqliteJournal
from syncer.mirror.reading import export
from syncer.set_asides import set_asides
from syncer.status import read_status
from syncer.store import Store
from syncer.tasks import together
from tests.inprocess import ANYTHING, Rig, Trouble
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from syncer.demo.faults import Mishap
    from tests.virtual import Clock

# Much of what moves pages, takes them away and hides them: ten times what a wiki does.
HARD: Mapping[str, float] = {
    **WEIGHTS, "move": 12, "move_back": 5, "delete": 8, "undelete": 7, "undelete_some": 4, "recreate": 4, "hide": 8, "unhide": 5,
    "redirect": 5, "merge": 4, "import_": 3, "change_model": 1, "upload": 2, "protect": 3, "noise": 2,
}  # fmt: skip
TOLD = {
    name: weight for name, weight in HARD.items() if not name.startswith("suppress")
}  # recentchange is silent about the others
DEFAULT, LATE = STREAMS[:3], (RECENT_CHANGE,)
BOTH = (PAGE_CHANGE, REVISION_CREATE)
EVERYTHING = Trouble(lag=4.5, apart=3.0, twice=0.1, mishaps=ANYTHING, crash=0.02, max_result=30_000)
REPLICAS = Trouble(lag=4.5, apart=3.0)
ARTICLES = WikiSettings(namespaces=(0,))


@dataclass(frozen=True)
class Scenario:
    """``rate`` in actions a second. ``rig`` are settings of the rig; ``pages`` are there before the feed begins."""

    streams: Sequence[str] = DEFAULT
    trouble: Trouble = field(default_factory=Trouble)
    weights: Mapping[str, float] = field(default_factory=lambda: HARD)
    rate: float = 3.0
    sites: int = 2
    pages: int = 0
    rig: Mapping[str, Any] = field(default_factory=dict)


SCENARIOS = {
    "nothing goes wrong": Scenario(),
    "everything goes wrong": Scenario(trouble=EVERYTHING),
    "seven wikis": Scenario(trouble=EVERYTHING, sites=7, weights=WEIGHTS, streams=STREAMS),
    "recentchange alone": Scenario(LATE, EVERYTHING, TOLD),
    "page_change and revision-create": Scenario(BOTH, EVERYTHING),
    "every stream": Scenario(STREAMS, EVERYTHING),
    "replicas lag": Scenario(trouble=REPLICAS),
    "replicas lag, recentchange alone": Scenario(LATE, REPLICAS, TOLD),
    "replicas lag, every stream": Scenario(STREAMS, REPLICAS),
    "replicas lag, our clock is ahead": Scenario(LATE, REPLICAS, TOLD, rig={"skew": 45.0}),
    "replicas lag, our clock is behind": Scenario(LATE, REPLICAS, TOLD, rig={"skew": -45.0}),
    "the process dies": Scenario(trouble=Trouble(crash=0.1)),
    "pages nobody heard of": Scenario(trouble=EVERYTHING, pages=60),
    "pages nobody heard of, recentchange alone": Scenario(LATE, REPLICAS, TOLD, pages=60),
    "articles only": Scenario(trouble=EVERYTHING, pages=60, rig={"wiki": ARTICLES}),
    "articles only, recentchange alone": Scenario(LATE, REPLICAS, TOLD, rig={"wiki": ARTICLES}),
    "texts are evicted": Scenario(trouble=EVERYTHING, rig={"store_bytes": 3_000}),
    "no parents": Scenario(trouble=EVERYTHING, rig={"enrich_settings": EnrichSettings(first_sight="snapshot")}),
    "a burst": Scenario(trouble=EVERYTHING, rate=30.0),
    "hardly anything": Scenario(LATE, REPLICAS, TOLD, rate=0.3),
}
KEY = ("wiki_id", "page_id")


def by_key(pages: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(page[name] for name in KEY): page for page in pages}


def expected(farm: Farm, mine: Mapping[tuple[Any, ...], Any], scenario: Scenario) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Every page that something happened to, and whatever else the mirror has, as it is on the farm."""
    everything, touched = by_key(farm.export()), by_key(farm.export(touched=True))
    true = touched | {key: page for key, page in everything.items() if key in mine}
    return {key: page for key, page in true.items() if scenario.rig.get("wiki") is not ARTICLES or page["namespace"] == 0}


async def live(rig: Rig, work: Workload, scenario: Scenario, actions: int) -> None:
    for _ in range(actions):
        work.step()
        await asyncio.sleep(rig.rng.expovariate(scenario.rate))
        await rig.feed()


async def settle_down(rig: Rig) -> None:
    """The trouble is over: what was set aside is tried again, and everything ends."""
    await rig.drain()
    rig.trouble = Trouble()
    await rig.replay()
    await rig.drain()


def hub_store(rig: Rig) -> list[dict[str, Any]]:
    store = Store(rig.folder / "store.db", rig.store_bytes)
    try:
        return list(export(store))
    finally:
        store.close()


def play(folder: Path, monkeypatch: pytest.MonkeyPatch, scenario: Scenario, seed: int, actions: int) -> Rig:
    """One run of a scenario; raises AssertionError where something is not as it should be."""

    async def main(clock: Clock) -> Rig:
        skew = scenario.rig.get("skew", 0.0)
        farm = Farm(SITES[: scenario.sites], pages=scenario.pages, seed=seed, clock=lambda: clock.time() - skew)
        rig = Rig(farm, clock, folder, streams=scenario.streams, trouble=scenario.trouble, seed=seed, **scenario.rig)
        await rig.open()
        async with rig.running():
            await live(rig, Workload(farm, seed=seed, weights=scenario.weights), scenario, actions)
            await settle_down(rig)
        mirrored = await rig.mirrored()
        mine = by_key(mirrored)
        assert mine == expected(farm, mine, scenario)
        assert not await rig.violations()
        hub = hub_store(rig)
        if rig.store_bytes > 10**6:
            assert hub == mirrored
        else:  # texts may be gone, facts are not
            assert [{**page, "text": None} for page in hub] == [{**page, "text": None} for page in mirrored]
        await rig.journal.close()
        return rig

    return run(monkeypatch, main)


def seeds(request: pytest.FixtureRequest) -> range:
    return range(1, 31) if request.config.getoption("torture") else range(1, 2)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_mirror_ends_equal(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    for seed in seeds(request):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            play(folder, monkeypatch, SCENARIOS[name], seed, 200 if request.config.getoption("torture") else 120)
        except AssertionError as error:
            raise AssertionError(f"{name}, seed {seed}: {error}") from error


@pytest.mark.parametrize("cut", [False, True])
def test_a_store_that_is_lost_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, *, cut: bool
) -> None:
    """From the journal; and where that has been cut, from the wiki. No seq comes twice, and a mirror that follows stays whole."""
    scenario = Scenario(trouble=Trouble(crash=0.02, lag=3.0))

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:2], seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(seed), trouble=scenario.trouble, seed=seed)
        rig.folder.mkdir()
        await rig.open()
        work = Workload(farm, seed=seed, weights=HARD)
        before: list[dict[str, Any]] = []
        for _ in range(3):
            async with rig.running():
                await live(rig, work, scenario, 60)
                await rig.drain()
            await rig.mirrored(name="follower")
            assert not await rig.violations() or cut
            before = await rig.records()
            (rig.folder / "store.db").unlink()
            if cut:
                kept = rig.journal._retention
                rig.journal._retention = kept.model_copy(update={"mutations_bytes": 10_000})
                assert await rig.journal.retain({})
                rig.journal._retention = kept
        async with rig.running():
            await live(rig, work, scenario, 60)
            await settle_down(rig)
        mine = by_key(await rig.mirrored(name="follower"))
        assert mine == expected(farm, mine, scenario)
        places = {(record["partition"], record["offset"]) for record in before}  # some were rewritten meanwhile
        after = [record for record in await rig.records() if (record["partition"], record["offset"]) not in places]
        ids = Counter(record["headers"]["ce_id"] for record in [*before, *after])
        assert max(ids.values()) == 1
        # The generations that began with a store lost, and any that was committed by who died before his store knew of it.
        assert max(record["value"]["seq"] for record in after) >> 32 >= 3
        await rig.journal.close()

    for seed in seeds(request):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]


def test_mirrors_of_their_own_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A partner who wants some wikis and namespaces has those pages, judged by headers, and no others."""

    async def main(clock: Clock, seed: int) -> None:
        farm = Farm(SITES[:3], seed=seed, clock=clock.time)
        rig = Rig(farm, clock, tmp_path / str(seed), trouble=Trouble(apart=2.0), seed=seed)
        rig.folder.mkdir()
        await rig.open()
        async with rig.running():
            await live(rig, Workload(farm, seed=seed, weights=HARD), Scenario(), 150)
            await settle_down(rig)
        for wikis, namespaces in ((("enwiki",), (0, 10)), (("*wiki",), (2,)), (("de*", "ru*"), ("*",))):
            mine = await rig.mirrored(MirrorSettings(wikis=wikis, namespaces=namespaces))
            names = {wiki for wiki in farm.wikis if any(wiki.startswith(glob.strip("*")) or glob == "*wiki" for glob in wikis)}
            true = [
                page for page in farm.export()
                if page["wiki_id"] in names and ("*" in namespaces or page["namespace"] in namespaces)
            ]  # fmt: skip
            assert by_key(mine) == by_key(true)
        await rig.journal.close()

    for seed in seeds(request):
        run(monkeypatch, lambda clock, seed=seed: main(clock, seed))  # type: ignore[misc]


@pytest.mark.parametrize("mishap", ["truncated", "internal_error", "server_error"])
def test_what_is_set_aside_holds_nothing_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mishap: Mishap) -> None:
    """Nobody looks there for what is hidden later: neither answers that came in part, nor errors, nor events leave a word."""

    async def main(clock: Clock) -> None:
        farm = Farm(SITES[:2], seed=1, clock=clock.time)
        rig, work = Rig(farm, clock, tmp_path, seed=1), Workload(farm, seed=1, weights=HARD)
        await rig.open()
        async with rig.running():
            await live(rig, work, Scenario(), 40)
            rig.broken = dict.fromkeys(farm.wikis, mishap)
            await live(rig, work, Scenario(), 60)
            while len([one async for one in set_asides(rig.journal)]) < 20:  # noqa: ASYNC110 - virtual
                await asyncio.sleep(60)
            assert {entry["reason"] async for entry in set_asides(rig.journal)} == {UNAVAILABLE}
            assert not await rig.leaks()
        await rig.journal.close()

    run(monkeypatch, main)


def test_requests_are_not_wasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 180 a minute and five changes a second, one for two changes; and a wiki is asked about itself once, whoever dies."""
    scenario = Scenario(weights=WEIGHTS, rate=5.0, trouble=Trouble(lag=0.5, crash=0.03), rig={"per_minute": 180})
    rig = play(tmp_path, monkeypatch, scenario, 1, 300)
    kinds = Counter(kind for *_, kind, _ in rig.starts)
    assert rig.crashes
    assert 2 <= kinds["site"] <= 4  # it may die between the answer and the keeping of it
    assert len(rig.starts) < 0.8 * sum(rig.appended.values())  # 0.5, and more where a busy machine breaks batches up


BUDGET = 1_200  # requests a minute, one in 50 ms


async def test_over_sockets(tmp_path: Path) -> None:
    """Both stages, the feed and the API as they are served, in real time: connections are cut, answers fail in every way."""
    farm = Farm(SITES[:3], pages=30, seed=1)
    async with serve(farm) as upstream, aiohttp.ClientSession() as session:
        settings = Settings(
            feed=FeedSettings(url=upstream.feed_url, rewind=2.0, connect_for=2.0),
            api=ApiSettings(url=upstream.api_url, requests_per_minute=BUDGET, young=1.5, timeout=1.0),
            wiki=WikiSettings(namespaces=("*",)),
            journal=JournalSettings(partitions=4),
        )
        journal, store = SqliteJournal(tmp_path / "journal.db", settings.journal), Store(tmp_path / "store.db", 10**9)
        ingest = Ingest(journal, Feed(settings.feed, user_agent("test@example.org")), Scope(settings.wiki), settings.feed)
        enrich = Enrich(journal, store, settings, tmp_path / "in-work")
        enrich.api = WikiApi(session, settings.api, settings.wiki, "test@example.org", enrich.turn)
        stop = asyncio.Event()
        running = asyncio.create_task(together(ingest.run(stop), enrich.run(stop)))
        while not ingest.status()["connected"]:  # noqa: ASYNC110 - it says so nowhere else
            await asyncio.sleep(0.01)
        upstream.faults = Faults(
            duplicate=0.1, reorder=0.1, cut_after=1.0, cut="midevent", lag=0.3, mishaps={**ANYTHING, "reset": 0.02, "cut": 0.02}
        )
        await drive(Workload(farm, seed=1, weights=HARD), rate=40.0, count=240)
        upstream.faults = Faults()
        quiet = 0
        while quiet < 8:
            await asyncio.sleep(0.25)
            quiet = quiet + 1 if ingest.idle_for() > 1.0 and enrich.status()["idle"] else 0
            assert not running.done()
        stop.set()
        await running
        assert by_key(export(store)).items() >= by_key(farm.export(touched=True)).items()
        status = await read_status(journal)
        assert status["balanced"]
        assert not status["open_set_asides"]
        # Law 8, from the other side: who is asked hears of it some milliseconds later, now sooner, now later.
        asked = upstream.api.requests
        starts = [one.at for one in asked]
        assert len(asked) > 30
        assert max(one.in_flight for one in asked) == 1
        assert all(late - early > 10 * 60 / BUDGET - 0.04 for early, late in zip(starts, starts[10:], strict=False))
        store.close()
        await journal.close()
