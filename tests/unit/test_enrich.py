"""The stage as a whole, with virtual time: wikis that do not answer, poison, bounds, starting over."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from syncer.config import ApiSettings, EnrichSettings, ReconcileSettings, WikiSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.sites import SITES
from syncer.enrich import Enrich
from syncer.enrich.inwork import InWork
from syncer.enrich.settle import Settler
from syncer.errors import JournalUnavailable, Refused, Superseded
from syncer.journal import WHOLE, Record, Topic, change_record
from syncer.model import REPAIR, Cause, Change, Source
from syncer.records import SetAside, encode_set_aside
from syncer.set_asides import set_asides
from syncer.status import read_status
from syncer.store import Store
from tests.inprocess import CrashingJournal, FarmApi, Rig, Trouble
from tests.virtual import EPOCH, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from syncer.journal import Journal
    from tests.virtual import Clock

    Play = Callable[..., None]

WHEN = "2027-01-15T08:00:00Z"
NOTHING_OLD = ReconcileSettings(interval=86_400.0, sample=0, sweep_per_hour=0.0)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Run a story on a rig: two wikis with ten pages each, unless the story wants it otherwise."""

    def playing(story: Callable[[Rig], Coroutine[Any, Any, None]], **settings: Any) -> None:
        async def main(clock: Clock) -> None:
            farm = Farm(SITES[: settings.pop("sites", 2)], seed=1, clock=clock.time)
            rig = Rig(farm, clock, tmp_path, **settings)
            await rig.open()
            try:
                for wiki in farm.wikis.values():
                    for number in range(10):
                        wiki.edit(f"Page {number}", "A line of text.\n" * 20)
                await story(rig)
            finally:
                await rig.journal.close()

        run(monkeypatch, main)

    return playing


async def edit(rig: Rig, wiki_id: str, number: int, count: int = 1) -> None:
    wiki = rig.farm[wiki_id]
    for _ in range(count):
        wiki.edit(f"Page {number}", wiki.latest(wiki.page(f"Page {number}")).text + b"One more.\n")
    await rig.feed()


async def equal(rig: Rig) -> None:
    """The laws hold, and a mirror equals the farm."""
    assert await rig.mirrored() == sorted(rig.farm.export(), key=lambda page: (page["wiki_id"], page["page_id"]))
    assert not await rig.violations()


async def until(condition: Callable[[], bool], step: float = 1.0) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(step)
    raise AssertionError("it never came")


async def to_be_read(rig: Rig, wiki_id: str, page_ids: Iterable[int]) -> None:
    """Have pages read again, as `syncer repair` does."""
    for page_id in page_ids:
        source = Source(REPAIR, f"repair {page_id}", WHEN, WHEN)
        change = Change(
            wiki_id=wiki_id, domain=rig.farm[wiki_id].site.domain, cause=Cause.REPAIR, source=source, page_ids=(page_id,)
        )
        await rig.journal.append(change_record(change, rig.journal.partitions))


def outcomes(status: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", status["outcomes"])


def test_what_ingest_sets_aside_counts_within_seconds(play: Play) -> None:
    async def story(rig: Rig) -> None:
        async with rig.running():
            await rig.drain()
            change = Change(wiki_id="enwiki", domain="en.example.org", cause=Cause.EDIT, source=Source("s", "id", WHEN, WHEN))
            entry = SetAside("foreign_domain", "en.example.org is not allowed", WHEN, change=change)
            await rig.journal.append(Record(Topic.SET_ASIDE, rig.journal.partitions, "id", encode_set_aside(entry)))
            await asyncio.sleep(15)
            assert (await read_status(rig.journal))["open_set_asides"] == {"enwiki": 1}

    play(story)


# -- whose turn it is --------------------------------------------------------------------------------------------------


def test_an_edit_does_not_wait_behind_what_is_patient(play: Play) -> None:
    """Of a wiki of which a thousand pages are to be read again: twenty requests, a second each."""

    async def story(rig: Rig) -> None:
        async with rig.running():
            await rig.drain()
            await to_be_read(rig, "enwiki", range(1, 1001))
            asked = [len(rig.starts)]
            rig.enrich.watch.on_outcome.append(
                lambda change, _outcome, _delay: asked.append(len(rig.starts)) if change.cause is Cause.EDIT else None
            )
            await edit(rig, "enwiki", 1)
            await edit(rig, "dewiki", 1)
            await until(lambda: len(asked) > 2)
            assert max(asked) - asked[0] <= 6  # one in flight, two while the edits wait for company, and the edits' own
            await rig.drain()
            assert len(rig.starts) - asked[0] == 1000 / 50 + 2
        await equal(rig)

    play(story, per_minute=60, reconcile=NOTHING_OLD)


def test_what_is_patient_has_its_turn_however_much_else_there_is(play: Play) -> None:
    async def story(rig: Rig) -> None:
        async def too_much() -> None:
            for _ in range(5):
                for wiki_id in rig.farm.wikis:  # six requests, of which the budget has two
                    await edit(rig, wiki_id, 1)
                await asyncio.sleep(40.0)

        async with rig.running():
            await rig.drain()
            await too_much()
            await to_be_read(rig, "enwiki", range(1, 101))
            since = len(rig.starts)
            await too_much()
            assert [kind for _, _, kind, _ in rig.starts[since:]].count("pageids") == 2
            await rig.drain()
        await equal(rig)

    play(story, per_minute=3, sites=6, reconcile=NOTHING_OLD)


# -- wikis that do not answer -----------------------------------------------------------------------------------------


def test_a_wiki_that_stays_broken_is_taken_out_of_the_way_and_replayed(play: Play) -> None:
    async def story(rig: Rig) -> None:
        async with rig.running():
            await rig.drain()
            rig.broken = {"dewiki": "server_error"}
            for _ in range(45):
                await asyncio.sleep(60)
                await edit(rig, "dewiki", 1)
                await edit(rig, "enwiki", 1)
            status = await read_status(rig.journal)
            assert rig.enrich.wikis_out == {"dewiki"}
            assert outcomes(status)["set_aside"] == {"wiki_unavailable": status["open_set_asides"]["dewiki"]}
            assert status["queued"] <= 2  # it pins nothing
            asked = [at for at, wiki, *_ in rig.starts if wiki == "dewiki"]
            assert len(asked) < 40  # backing off to five minutes, then probed as often
            for partition in range(rig.journal.partitions):
                assert rig.enrich._session
                assert rig.enrich._session.house.settler.progress[partition].unfinished <= 1
            rig.broken = {}
            await rig.drain()
        await equal(rig)
        assert not (await read_status(rig.journal))["open_set_asides"]
        assert not [one async for one in set_asides(rig.journal)]

    play(story)


def test_many_changes_take_it_out_sooner_but_never_one_failure(play: Play) -> None:
    async def story(rig: Rig) -> None:
        async with rig.running():
            await rig.drain()
            rig.broken = {"dewiki": "maxlag"}
            await edit(rig, "dewiki", 1, count=40)
            await asyncio.sleep(5)
            assert not rig.enrich.wikis_out
            await asyncio.sleep(115)
            assert rig.enrich.wikis_out == {"dewiki"}
            rig.broken = {}
            await rig.drain()
        await equal(rig)

    play(story, enrich_settings=EnrichSettings(unavailable_changes=20))


def test_a_hub_that_starts_while_a_wiki_is_out_goes_on_probing(play: Play) -> None:
    async def story(rig: Rig) -> None:
        rig.broken = {"dewiki": "hang"}
        async with rig.running():
            await rig.feed()
            await asyncio.sleep(3600)
            assert rig.enrich.wikis_out == {"dewiki"}
        async with rig.running():
            await asyncio.sleep(100)
            assert rig.enrich.wikis_out == {"dewiki"}
            await edit(rig, "dewiki", 1)
            await asyncio.sleep(100)
            rig.broken = {}
            await rig.drain()
        await equal(rig)

    play(story)


def test_a_probe_that_is_told_to_slow_down_tries_again(play: Play) -> None:
    async def story(rig: Rig) -> None:
        rig.broken = {"dewiki": "server_error"}
        async with rig.running():
            await rig.feed()
            await asyncio.sleep(2400)
            rig.broken = {"dewiki": "throttled"}
            await asyncio.sleep(900)
            assert rig.enrich.wikis_out == {"dewiki"}
            rig.broken = {}
            await rig.drain()
        await equal(rig)

    play(story)


def test_one_wiki_that_refuses_us_is_unavailable(play: Play) -> None:
    async def story(rig: Rig) -> None:
        rig.broken = {"dewiki": "forbidden"}
        async with rig.running():
            await rig.feed()
            await asyncio.sleep(2400)
            assert rig.enrich.wikis_out == {"dewiki"}
            rig.broken = {}
            await rig.drain()
        await equal(rig)

    play(story)


def test_two_wikis_that_refuse_us_end_the_hub(play: Play) -> None:
    async def story(rig: Rig) -> None:
        rig.broken = {"dewiki": "forbidden", "enwiki": "forbidden"}
        await rig.start()
        await rig.feed()
        with pytest.raises(Refused, match="403 from dewiki and enwiki"):
            await asyncio.wait_for(rig._hub, 60)

    play(story)


def test_a_token_that_is_not_valid_ends_it_at_once(play: Play) -> None:
    async def story(rig: Rig) -> None:
        rig.broken = {"dewiki": "unauthorized"}
        await rig.start()
        await rig.feed()
        with pytest.raises(Refused):
            await asyncio.wait_for(rig._hub, 60)

    play(story)


def test_everybody_waits_when_the_api_says_so_and_no_wiki_is_blamed(play: Play) -> None:
    async def story(rig: Rig) -> None:
        async with rig.running():
            await rig.drain()
            rig.broken = {"dewiki": "throttled_bare"}
            await edit(rig, "dewiki", 1, count=5)
            await asyncio.sleep(2000)
            assert not rig.enrich.wikis_out
            asked = [at for at, *_ in rig.starts][-10:]
            assert min(late - early for early, late in zip(asked[-4:], asked[-3:], strict=False)) > 200
            rig.broken = {}
            await rig.drain()
        await equal(rig)

    play(story)


def test_a_wiki_that_may_not_be_asked_is_set_aside_and_the_others_go_on(play: Play) -> None:
    """The operator has narrowed ``wiki.domains`` since."""

    async def story(rig: Rig) -> None:
        source = Source("mediawiki.recentchange", "foreign", rig.clock.iso(), rig.clock.iso())
        foreign = Change(wiki_id="xwiki", domain="x.example.org", cause=Cause.EDIT, source=source, rev_ids=(1,), titles=("A",))
        rig.appended[change_record(foreign, rig.journal.partitions).partition] += 1
        await rig.journal.append(change_record(foreign, rig.journal.partitions))
        async with rig.running():
            await rig.drain()
        await equal(rig)
        (entry,) = [one async for one in set_asides(rig.journal)]
        assert (entry["reason"], entry["wiki_id"]) == ("foreign_domain", "xwiki")

    play(story, wiki=WikiSettings(include=("*",), namespaces=("*",)))


def test_a_page_that_no_answer_has_room_for_is_set_aside_alone(play: Play) -> None:
    async def story(rig: Rig) -> None:
        wiki = rig.farm["enwiki"]
        wiki.edit("Large", b"x" * 100_000)
        wiki.edit("Grown", b"small")
        first = wiki.latest(wiki.page("Grown"))
        wiki.edit("Grown", b"y" * 100_000)
        async with rig.running():
            await rig.drain()
        pages = {page["title"] for page in await rig.mirrored()}
        assert pages == {page["title"] for page in rig.farm.export()} - {"Large", "Grown"}
        assert {entry["reason"] async for entry in set_asides(rig.journal)} == {"answer_too_large"}
        assert first.rev_id in {rev_id async for entry in set_asides(rig.journal) for rev_id in entry["rev_ids"]}
        assert len(rig.starts) < 40
        assert not await rig.violations()

    play(story, api=ApiSettings(url="http://farm/{wiki_id}/w/api.php", requests_per_minute=1_200, max_body=50_000))


# -- poison -----------------------------------------------------------------------------------------------------------


def test_a_change_that_kills_the_process_three_times_is_poison(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = Settler.settle

    def deadly(self: Settler, items: Sequence[Any], *args: Any) -> Any:
        if any("Page 3" in item.change.titles for item in items):
            raise SystemError("out of memory")
        return settle(self, items, *args)

    async def story(rig: Rig) -> None:
        monkeypatch.setattr(Settler, "settle", deadly)
        deaths = 0
        await rig.feed()
        while True:
            await rig.start()
            await asyncio.sleep(30)
            if not rig._hub.done():
                break
            with pytest.raises(SystemError):
                await rig._hub
            deaths += 1
        assert deaths == 3 * 2  # one of either wiki, one after the other
        await rig.drain()
        await rig.stop()
        asides = [one async for one in set_asides(rig.journal)]
        assert {(entry["wiki_id"], entry["reason"], *entry["titles"]) for entry in asides} == {
            ("enwiki", "poison", "Page 3"), ("dewiki", "poison", "Page 3"),
        }  # fmt: skip
        assert {page["title"] for page in await rig.mirrored()} == {f"Page {n}" for n in range(10) if n != 3}
        monkeypatch.setattr(Settler, "settle", settle)
        async with rig.running():
            assert await rig.replay("poison") == len(asides)
            await rig.drain()
        await equal(rig)

    play(story)


def test_who_died_with_many_is_told_apart_one_by_one(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(rig: Rig) -> None:
        await rig.feed()
        offsets = {
            (partition, record.offset)
            for partition in range(rig.journal.partitions)
            for record in await rig.journal.read(Topic.CHANGES, partition, 0)
        }
        monkeypatch.setattr(InWork, "deaths", lambda _self, partition, offset: int((partition, offset) in offsets))
        async with rig.running():
            await rig.drain()
        assert max(count for *_, source, count in rig.starts if source == "revids") <= 2  # a revision, and its parent
        await equal(rig)

    play(story)


# -- bounds -----------------------------------------------------------------------------------------------------------

BACKLOG = 100_000
GROWTH = 30_000  # KiB; measured 9,000: 2 x 4,500 changes in work at 1 KB


async def _append_many(rig: Rig, count: int) -> None:
    """So many edits, of long ago, of pages that do not exist."""
    source = Source("mediawiki.recentchange", "", "2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z")
    for start in range(0, count, 5000):
        records = []
        for number in range(start, start + 5000):
            made = Change(
                wiki_id=("enwiki", "dewiki")[number % 2], domain="en.wikipedia.org", cause=Cause.EDIT, rev_ids=(10**12 + number,),
                titles=(f"Nowhere {number}",), namespace=0, source=replace(source, event_id=f"event-{number}"),
            )  # fmt: skip
            records.append(change_record(made, rig.journal.partitions))
            rig.appended[records[-1].partition] += 1
        await rig.journal.commit([*records, rig.noted()])


def test_a_backlog_does_not_fill_the_memory(play: Play) -> None:
    """Law 9: what is in work is bounded, whatever stands in the journal; intake pauses, and goes on."""

    async def story(rig: Rig) -> None:
        await _append_many(rig, BACKLOG)
        before = _resident()
        rig.broken = {"enwiki": "server_error", "dewiki": "server_error"}
        most = 0
        async with rig.running():
            for _ in range(40):
                await asyncio.sleep(1)
                most = max(most, rig.enrich.queued())
            assert 2 * 4_000 <= most < 2 * (4_000 + 500)
            assert _resident() - before < GROWTH
        status = await read_status(rig.journal)
        assert status["queued"] == BACKLOG

    play(story)


def test_intake_goes_on_when_there_is_room_again(play: Play) -> None:
    async def story(rig: Rig) -> None:
        await _append_many(rig, 5_000)
        async with rig.running():
            most = 0
            while (await read_status(rig.journal))["queued"]:
                await asyncio.sleep(1)
                most = max(most, rig.enrich.queued())
            await rig.drain()
        assert most < 2 * (100 + 500)
        assert outcomes(await read_status(rig.journal))["skipped"]["page_gone"] >= 5_000
        await equal(rig)

    play(story, per_minute=60_000, enrich_settings=EnrichSettings(unfinished_limit=100))


def test_it_is_not_idle_while_there_is_more_in_the_journal(play: Play) -> None:
    async def story(rig: Rig) -> None:
        await _append_many(rig, 5_000)
        told: list[str] = []
        await rig.start()
        rig.enrich.watch.on_outcome.append(lambda _change, outcome, _delay: told.append(type(outcome).__name__))
        await until(lambda: bool(rig.enrich.status()["idle"]), 0.0)
        assert told == ["Skip"] * 5_000  # none of them was ever queued
        await rig.stop()

    play(story, wiki=WikiSettings(namespaces=(4,)))


def _resident() -> int:
    """KiB at most so far, or now where that can be had."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - not a path of ours
            return int(file.read().split()[1]) * resource.getpagesize() // 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# -- starting over ----------------------------------------------------------------------------------------------------


class Failing(CrashingJournal):
    """A journal whose disk is full for some commits."""

    fails = 0

    async def own(self, name: str, partitions: Any = ()) -> Any:
        owner, outer = await self.journal.own(name, partitions), self

        class Full:
            async def append(self, records: Sequence[Record]) -> Sequence[int]:
                if outer.fails:
                    outer.fails -= 1
                    raise JournalUnavailable("no space left on the device")
                return await owner.append(records)

            async def assured(self) -> None:
                await owner.assured()

        return Full()


async def _with(rig: Rig, journal: object, story: Callable[[Enrich], Awaitable[None]]) -> None:
    store = Store(rig.folder / "store.db", 10**9)
    rig.enrich = Enrich(cast("Journal", journal), store, rig.settings, rig.folder / "store.in-work")
    rig.enrich.api = FarmApi(rig, rig.enrich.turn)
    try:
        await story(rig.enrich)
    finally:
        rig.enrich._thread.shutdown()
        store.close()


def test_it_starts_over_when_the_journal_refuses(play: Play) -> None:
    async def story(rig: Rig) -> None:
        journal = Failing(rig.journal, rig)

        async def work(enrich: Enrich) -> None:
            stop = asyncio.Event()
            rig._hub = asyncio.create_task(enrich.run(stop))
            await asyncio.sleep(5)
            began, journal.fails = rig.clock.monotonic(), 7
            await edit(rig, "enwiki", 1, count=3)
            await until(lambda: not journal.fails)
            assert 2 < rig.clock.monotonic() - began < 150  # 0.5 + 1 + 2 + 4 + 8 + 16 + 30 on the mean
            await rig.drain()
            stop.set()
            await rig._hub

        await _with(rig, journal, work)
        await equal(rig)

    play(story)


def test_another_owner_ends_it(play: Play) -> None:
    async def story(rig: Rig) -> None:
        await rig.start()
        await asyncio.sleep(5)
        await rig.journal.own(WHOLE.owner)
        await edit(rig, "enwiki", 1)
        with pytest.raises(Superseded):
            await asyncio.wait_for(rig._hub, 60)

    play(story)


def test_what_is_in_work_is_finished_at_the_end(play: Play) -> None:
    async def story(rig: Rig) -> None:
        await rig.feed()
        async with rig.running():
            await until(lambda: bool(rig.starts), 0.01)
            assert rig.enrich.status()["in_flight"]
        status = await read_status(rig.journal)
        assert outcomes(status)["published"]
        assert status["balanced"]

    play(story, per_minute=60)


def test_it_says_what_it_does(play: Play) -> None:
    async def story(rig: Rig) -> None:
        told: list[str] = []
        store = Store(rig.folder / "other.db", 10**9)
        idle = Enrich(cast("Journal", rig.journal), store, rig.settings, rig.folder / "other")
        assert idle.status() == {
            "idle": False, "queued": 0, "in_flight": 0, "wikis_waiting": {}, "wikis_out": [], "filling": {}
        }  # fmt: skip
        store.close()
        await rig.start()
        await asyncio.sleep(1)
        rig.enrich.watch.on_outcome.append(lambda change, outcome, delay: told.append(type(outcome).__name__))
        await rig.feed()
        await asyncio.sleep(0.2)
        status = rig.enrich.status()
        assert status["queued"] == sum(cast("dict[str, int]", status["wikis_waiting"]).values()) > 0
        assert not status["idle"]
        await rig.drain()
        await rig.stop()
        assert rig.enrich.status()["idle"]
        assert sorted(told).count("Publish") == len(rig.enrich.watch.delays) == 20
        assert all(0 < delay < 20 for delay in rig.enrich.watch.delays)

    play(story)


def test_a_wiki_is_asked_about_itself_once_a_day(play: Play) -> None:
    async def story(rig: Rig) -> None:
        async def asked() -> int:
            await edit(rig, "enwiki", 1)
            await rig.drain()
            return sum(source == "site" for *_, source, _ in rig.starts)

        async with rig.running():
            assert await asked() == 2
        async with rig.running():
            assert await asked() == 2
            await asyncio.sleep(60)
            assert await asked() == 2
        # A day later. Nobody needs the hours in between.
        cast("Any", rig.clock)._loop.now += 86_400
        async with rig.running():
            assert await asked() == 3
        records = await rig.records()
        assert {record["value"]["attribution"]["licence"]["url"] for record in records} == {
            "https://creativecommons.org/licenses/by-sa/4.0/"
        }

    play(story)


def test_scope_is_what_the_settings_say(play: Play) -> None:
    async def story(rig: Rig) -> None:
        work = Workload(rig.farm, seed=3)
        async with rig.running():
            for _ in range(40):
                work.step()
                await rig.feed()
            await rig.drain()
        assert {page["namespace"] for page in await rig.mirrored()} <= {0, 2}

    play(story, wiki=WikiSettings(namespaces=(0, 2)), trouble=Trouble(apart=1.0))


def test_what_a_wiki_asked_for_holds_across_a_restart(play: Play) -> None:
    """Of all wikis: who died meanwhile asks no sooner."""

    async def story(rig: Rig) -> None:
        await rig.start()
        rig.broken["enwiki"] = "ratelimited"
        await edit(rig, "enwiki", 1)
        await until(lambda: len(rig.starts) > 5)
        await asyncio.sleep(1.0)
        refused = rig.starts[-1][0]
        rig.broken.clear()
        await rig.stop()
        store = Store(rig.folder / "store.db", 10**9)
        paused = float(store.meta("paused until") or 0) - EPOCH
        store.close()
        assert paused > refused + 5
        await rig.start()
        await edit(rig, "dewiki", 1)
        await rig.drain()
        assert paused <= rig.starts[6][0] < paused + 2
        await rig.stop()

    play(story)
