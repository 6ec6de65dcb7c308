from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from syncer import ingest as module
from syncer.config import FeedSettings, JournalSettings, WikiSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.errors import JournalUnavailable, OutcomeUnknown, Refused, Superseded, SyncerError
from syncer.feed import Batch, Delivered, Feed, Scope
from syncer.feed.event import AsideReason, SkipReason
from syncer.feed.position import iso
from syncer.feed.sse import Rejected
from syncer.feed.trouble import Trouble
from syncer.ingest import Ingest
from syncer.journal import POSITION_KEY, Topic, change_record, latest
from syncer.journal.sqlite import SqliteJournal
from syncer.model import Change, Position
from syncer.records import MARK_KEY, Resume, decode_change, decode_mark, decode_resume, decode_set_aside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from syncer.journal import Journal, Owner, Record, Stored

EQIAD, CODFW = ("eqiad.mediawiki.recentchange", 0), ("codfw.mediawiki.recentchange", 0)
T0 = 1_795_496_400_000
SETTINGS = FeedSettings(streams=("recentchange",), since=iso(T0), rewind=30.0)
WIKIS = WikiSettings(include=("*",), exclude=("*.wikibooks.org",), domains=("wikipedia.org", "wikibooks.org"))
PATIENCE = 20.0


def event(number: int, *, at: int | None = None, **more: Any) -> Delivered:
    """An edit of revision ``number``, ``number`` milliseconds after T0; its ``meta.id`` is of the number too."""
    at = T0 + number if at is None else at
    meta = {"id": f"e-{number}", "stream": "mediawiki.recentchange", "domain": "en.wikipedia.org", "dt": iso(at)}
    body = {"wiki": f"wiki{number % 7}", "type": "edit", "title": f"T{number}", "revision": {"new": number + 1}, **more}
    return Delivered(EQIAD, at, json.dumps({"meta": meta | body.pop("meta", {}), **body}).encode())


def batch(*events: Delivered, rejected: Sequence[Rejected] = (), **position: int) -> Batch:
    reached = max((each.at for each in events), default=T0)
    return Batch(list(events), list(rejected), Position({EQIAD: position.get("eqiad", reached), CODFW: T0}))


class Script(Feed):
    """A feed that reads what it is given, and again from where it is started."""

    def __init__(self, *batches: Batch | Exception, settings: FeedSettings = SETTINGS) -> None:
        super().__init__(settings, "tests")
        self.batches = list(batches)
        self.starts: list[Position] = []
        self.complete: int | None = None
        self.taken = 0
        self.exhausted = asyncio.Event()

    @property
    def connected(self) -> bool:
        return True

    def start(self, position: Position) -> None:
        super().start(position)
        if hasattr(self, "starts"):
            self.starts.append(position)
            self.taken = 0

    def feed_time(self) -> int | None:
        return self.complete

    async def read(self) -> Batch:
        await asyncio.sleep(0)
        if self.taken == len(self.batches):
            self.exhausted.set()
            await asyncio.Event().wait()
        self.taken += 1
        found = self.batches[self.taken - 1]
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class Failing:
    """A journal whose owner fails as it is told, one commit after the other."""

    journal: SqliteJournal
    failures: list[SyncerError | str | None] = field(default_factory=list)
    gate: asyncio.Event | None = None
    sizes: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def own(self, name: str) -> Owner:
        self.owner = await self.journal.own(name)
        return self

    async def append(self, records: Sequence[Record]) -> Sequence[int]:
        self.sizes.append(len(records))
        if self.gate:
            await self.gate.wait()
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, SyncerError):
            raise failure
        offsets = await self.owner.append(records)
        if failure == "unknown":
            raise OutcomeUnknown("the answer was lost")
        return offsets


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = await SqliteJournal.open(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db", partitions=3))
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for."""
    monkeypatch.setattr(module, "COMMIT_EVERY", 0.01)
    monkeypatch.setattr(module, "NOTE_EVERY", 0.05)
    failed = Trouble.failed
    monkeypatch.setattr(Trouble, "failed", lambda self, error: failed(self, error) * 0)


@asynccontextmanager
async def running(
    journal: Any, feed: Feed, scope: WikiSettings = WIKIS, settings: FeedSettings = SETTINGS
) -> AsyncIterator[Ingest]:
    """An ingest at work; at the end it is stopped, and what it raised is raised."""
    stop, working = asyncio.Event(), Ingest(cast("Journal", journal), feed, Scope(scope), settings)
    task = asyncio.create_task(working.run(stop))
    try:
        yield working
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE)


async def ingested(journal: Any, *batches: Batch | Exception, **more: Any) -> Script:
    """Ingest these to the end."""
    feed = Script(*batches)
    async with running(journal, feed, **more):
        await asyncio.wait_for(feed.exhausted.wait(), PATIENCE)
    return feed


async def until(true: Callable[[], bool]) -> None:
    """Wait for something of which nobody tells."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 -- that is what this is for
            await asyncio.sleep(0.01)


async def records(journal: SqliteJournal, topic: Topic = Topic.CHANGES) -> list[Stored]:
    """Every record of every partition."""
    found: list[Stored] = []
    for partition in range(journal.partitions + (topic is Topic.SET_ASIDE)):
        found += await journal.read(topic, partition, (await journal.bounds(topic, partition))[0], limit=10**6)
    return sorted(found, key=lambda record: record.offset)


async def ids(journal: SqliteJournal) -> list[str]:
    """The ids of all changes, in order."""
    return [decode_change(record.value).change_id for record in await records(journal) if record.key != MARK_KEY]


async def resume(journal: SqliteJournal) -> Resume:
    return decode_resume((await latest(journal, Topic.POSITIONS, 0))[POSITION_KEY].value)


# -- what is appended ------------------------------------------------------------------------------------------------------


async def test_changes_and_the_position_are_appended_together(journal: SqliteJournal) -> None:
    failing = Failing(journal)
    await ingested(failing, batch(event(1), event(2)))
    assert failing.sizes == [3]
    found = await records(journal)
    assert [(record.key, dict(record.headers)) for record in found] == [
        ("wiki1:T1", {"wiki": "wiki1", "cause": "edit"}),
        ("wiki2:T2", {"wiki": "wiki2", "cause": "edit"}),
    ]
    assert decode_change(found[0].value).source.event_time == iso(T0 + 1)
    told = await resume(journal)
    assert told.position == Position({EQIAD: T0 + 2, CODFW: T0})
    assert sum(told.appended.values()) == 2


async def test_every_event_is_counted_once_by_what_became_of_it(journal: SqliteJournal) -> None:
    events = [
        event(1), event(1), event(2, type="categorize"), event(3, meta={"domain": "canary"}), event(4, type=7),
        event(5, meta={"domain": "de.wikibooks.org"}), event(6, meta={"domain": "x.example"}), Delivered(EQIAD, T0 + 7, b"{"),
    ]  # fmt: skip
    await ingested(journal, batch(*events, rejected=[Rejected(10**6, b"data: x"), Rejected(10**6, b"data: x")]))
    told = await resume(journal)
    assert sum(told.appended.values()) == 1
    assert told.skipped == {
        SkipReason.DUPLICATE: 2, SkipReason.CATEGORIZE: 1, SkipReason.CANARY: 1, SkipReason.NOT_INCLUDED: 1,
    }  # fmt: skip
    assert told.set_aside == {
        AsideReason.BAD_EVENT: 1, AsideReason.DOMAIN: 1, AsideReason.BAD_JSON: 1, AsideReason.TOO_LONG: 1,
    }  # fmt: skip
    assert 1 + sum(told.skipped.values()) + sum(told.set_aside.values()) == len(events) + 2


async def test_what_cannot_be_used_is_set_aside_in_a_partition_of_its_own(journal: SqliteJournal) -> None:
    await ingested(journal, batch(event(4, type=7, user="Somebody"), event(6, meta={"domain": "x.example"})))
    start, end = await journal.bounds(Topic.SET_ASIDE, journal.partitions)
    found = await journal.read(Topic.SET_ASIDE, journal.partitions, start)
    assert (len(found), end - start >= 2) == (2, True)
    bad, elsewhere = (decode_set_aside(record.value) for record in found)
    assert [record.key for record in found] == ["e-4", "e-6"]
    assert (bad.reason, bad.detail, bad.change) == ("bad_event", "type is int", None)
    assert bad.raw
    assert b"Somebody" not in bad.raw
    assert (elsewhere.reason, elsewhere.raw) == ("domain_not_allowed", None)
    assert elsewhere.change
    assert elsewhere.change.domain == "x.example"


async def test_a_position_without_changes_is_noted_now_and_then(journal: SqliteJournal) -> None:
    feed = Script(batch(event(5, type="categorize")))
    async with running(journal, feed) as working:
        await until(lambda: working.status()["skipped"] == {"categorize": 1})
        await asyncio.sleep(0.2)
        assert (await resume(journal)).position.timestamps[EQIAD] == T0 + 5


async def test_an_event_whose_id_cannot_be_read_is_taken_all_the_same(journal: SqliteJournal) -> None:
    await ingested(journal, Batch([event(1, at=T0)], [], Position()))
    assert await ids(journal) == ["e-1"]


async def test_a_stop_commits_what_was_taken(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_EVERY", 60.0)
    begin = time.monotonic()
    await ingested(journal, batch(event(1)))
    assert await ids(journal) == ["e-1"]
    assert time.monotonic() - begin < 10


async def test_a_stop_commits_what_was_only_counted(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NOTE_EVERY", 60.0)
    await ingested(journal, batch(event(1, type="categorize")))
    assert (await resume(journal)).skipped == {"categorize": 1}


async def test_a_refusal_of_the_feed_stops_after_what_was_taken_is_committed(journal: SqliteJournal) -> None:
    with pytest.raises(Refused):
        async with running(journal, Script(batch(event(1)), Refused("403"))):
            await asyncio.sleep(0.2)
    assert await ids(journal) == ["e-1"]


# -- bounds ----------------------------------------------------------------------------------------------------------------


async def test_no_more_is_taken_than_a_commit_holds(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL", 10)
    failing = Failing(journal, gate=asyncio.Event())
    feed = Script(*(batch(*(event(number) for number in range(first, first + 5))) for first in range(0, 500, 5)))
    async with running(failing, feed):
        for _ in range(50):
            await asyncio.sleep(0.005)
            assert feed.taken <= 4
        assert failing.gate
        failing.gate.set()
        await asyncio.wait_for(feed.exhausted.wait(), PATIENCE)
    assert await ids(journal) == [f"e-{number}" for number in range(500)]
    assert max(failing.sizes) <= 16


# -- starting over ---------------------------------------------------------------------------------------------------------


async def test_a_restart_goes_on_from_the_committed_position_and_knows_what_comes_again(journal: SqliteJournal) -> None:
    await ingested(journal, batch(event(1), event(2, type=7), event(3)))
    feed = await ingested(journal, batch(event(1), event(2, type=7), event(3), event(4)))
    assert feed.starts == [Position({EQIAD: T0 + 3, CODFW: T0})]
    assert await ids(journal) == ["e-1", "e-3", "e-4"]
    assert len(await records(journal, Topic.SET_ASIDE)) == 1
    told = await resume(journal)
    assert (sum(told.appended.values()), told.skipped, told.set_aside) == (3, {"duplicate": 3}, {"bad_event": 1})


async def test_what_comes_again_is_known_from_far_back_where_there_is_much(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TAIL_STEP", 4)
    old = [event(number, at=T0 - 10**7 + number) for number in range(50)]
    new = [event(number) for number in range(100, 150)]
    await ingested(journal, batch(*old), batch(*new))
    read = journal.read
    reads: list[int] = []

    async def counted(topic: Topic, partition: int, offset: int, *, limit: int = 1000) -> list[Stored]:
        found = await read(topic, partition, offset, limit=limit)
        reads.append(len(found) if topic is Topic.CHANGES and limit > 1 else 0)
        return found

    monkeypatch.setattr(journal, "read", counted)
    await ingested(journal, batch(*new, event(150)))
    assert 50 <= sum(reads) < 100  # not all, though all of the new
    assert Counter(await ids(journal)).most_common(1)[0][1] == 1


@pytest.mark.parametrize("failure", [JournalUnavailable("full"), OutcomeUnknown("timed out"), "unknown"])
async def test_after_a_commit_that_failed_everything_starts_over_from_what_is_committed(
    journal: SqliteJournal, failure: SyncerError | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FULL", 5)
    failing = Failing(journal, [None, failure, failure, None])
    feed = Script(*(batch(event(number)) for number in range(1, 30)))
    async with running(failing, feed):
        await until(lambda: len(feed.starts) == 3 and feed.taken == len(feed.batches))
    assert await ids(journal) == [f"e-{number}" for number in range(1, 30)]
    assert len(feed.starts) == 3
    told = await resume(journal)
    assert sum(told.appended.values()) == 29


async def test_another_owner_stops_it(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL", 5)
    feed = Script(*(batch(event(number)) for number in range(1, 30)))
    with pytest.raises(Superseded):
        async with running(Failing(journal, [None, Superseded("somebody")]), feed):
            await asyncio.sleep(0.2)
    assert len(await ids(journal)) < 30


async def test_a_repair_in_the_journal_is_not_taken_for_an_event(journal: SqliteJournal) -> None:
    await ingested(journal, batch(event(1)))
    first = (await records(journal))[0]
    change = decode_change(first.value)
    repair = replace(change, source=replace(change.source, stream="repair", event_id="e-2"))
    await journal.append(change_record(repair, journal.partitions))
    await ingested(journal, batch(event(2)))
    assert (await ids(journal)).count("e-2") == 2


# -- marks -----------------------------------------------------------------------------------------------------------------


async def test_a_mark_goes_to_every_partition_after_what_it_covers_and_only_when_the_feed_moved(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARK_EVERY", 0.03)
    feed = Script(batch(event(1)))
    feed.complete = T0 - 5000
    async with running(journal, feed):
        await asyncio.sleep(0.2)
        feed.complete = T0 - 4000  # but nothing was taken with it
        await asyncio.sleep(0.1)
    marks = [decode_mark(record.value) for record in await records(journal) if record.key == MARK_KEY]
    assert marks == [iso(T0 - 5000)] * journal.partitions
    again = Script(batch(event(2)))
    again.complete = T0 - 6000
    async with running(journal, again):
        await asyncio.sleep(0.1)
        again.complete = T0 - 3000
        again.batches.append(batch(event(3)))
        again.exhausted = asyncio.Event()
    found = await records(journal)
    assert len([record for record in found if record.key == MARK_KEY]) == journal.partitions  # a mark never falls


async def test_without_a_complete_time_there_is_no_mark(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MARK_EVERY", 0.0)
    await ingested(journal, batch(event(1)), batch(event(2)))
    assert MARK_KEY not in [record.key for record in await records(journal)]


# -- gaps ------------------------------------------------------------------------------------------------------------------


async def test_a_first_start_without_since_is_a_known_gap(journal: SqliteJournal) -> None:
    now = FeedSettings(streams=("recentchange",))
    feed = Script(batch(event(1)), settings=now)
    async with running(journal, feed, settings=now):
        await asyncio.wait_for(feed.exhausted.wait(), PATIENCE)
    assert (await resume(journal)).gaps == ((None, iso(feed.begin)),)
    await ingested(journal, batch(event(2)), settings=now)
    assert (await resume(journal)).gaps == ((None, iso(feed.begin)),)


async def test_a_first_start_with_since_is_none(journal: SqliteJournal) -> None:
    await ingested(journal, batch(event(1)))
    assert (await resume(journal)).gaps == ()


async def test_a_feed_that_goes_on_for_weeks_has_no_gap(journal: SqliteJournal) -> None:
    await ingested(journal, *(batch(event(day, at=T0 + day * 86_400_000)) for day in range(0, 60, 5)))
    assert (await resume(journal)).gaps == ()


async def test_a_position_older_than_the_feed_keeps_is_a_known_gap(journal: SqliteJournal) -> None:
    week, hour = module.RETENTION, 3_600_000
    await ingested(journal, batch(event(1)))
    await ingested(journal, batch(event(2, at=T0 + week - hour)))
    assert (await resume(journal)).gaps == ()
    await ingested(journal, batch(event(4, at=T0 + 2 * week + hour), event(3, at=T0 + 2 * week)))
    assert (await resume(journal)).gaps == ((iso(T0 + week - hour), iso(T0 + 2 * week)),)


# -- status ----------------------------------------------------------------------------------------------------------------


async def test_what_it_says_of_itself(journal: SqliteJournal) -> None:
    feed = Script(batch(event(1), event(2, type="categorize"), event(3, type=7)))
    async with running(journal, feed) as working:
        await asyncio.wait_for(feed.exhausted.wait(), PATIENCE)
        await until(lambda: not working.status()["pending"])
        await asyncio.sleep(0.05)
        status = working.status()
        status.pop("lag")
        assert status == {
            "connected": True, "quiet": {}, "pending": 0, "appended": 1,
            "skipped": {"categorize": 1}, "set_aside": {"bad_event": 1},
        }  # fmt: skip
        orjson.dumps(status)
        assert 0.03 < working.idle_for() < PATIENCE


async def test_before_it_runs_it_is_not_idle(journal: SqliteJournal) -> None:
    working = Ingest(cast("Journal", journal), Script(), Scope(WIKIS), SETTINGS)
    assert working.idle_for() == 0.0
    assert working.status()["appended"] == 0


# -- all together ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_event_is_appended_once_however_often_everything_dies(tmp_path: Path, seed: int) -> None:
    rng, farm = Random(seed), Farm(pages=60, seed=seed)
    farm.faults = replace(farm.faults, cut="midevent", cut_after=0.2, duplicate=0.1, reorder=0.1, canary_every=0.5)
    streams = ("recentchange", "mediawiki.page_change.v1", "mediawiki.revision-create", "mediawiki.revision-visibility-change")
    wikis = WikiSettings(include=("*",), domains=("wikipedia.org", "wikidata.org"))
    workload, remaining, deadline = Workload(farm, seed=seed), 150, time.monotonic() + 60
    async with serve(farm) as upstream:
        settings = FeedSettings(url=upstream.feed_url, streams=streams, since=iso(int(time.time() * 1000)), rewind=1.0)
        found: list[Change] = []
        while (remaining or not _said(farm) <= _named(found)) and time.monotonic() < deadline:
            journal = await SqliteJournal.open(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db", partitions=3))
            task = asyncio.create_task(Ingest(journal, Feed(settings, "us/1"), Scope(wikis), settings).run(asyncio.Event()))
            end = time.monotonic() + rng.uniform(0.1, 0.8)
            while time.monotonic() < end:
                if remaining:
                    farm.faults = replace(farm.faults, datacentre=rng.choice(("eqiad", "codfw")))
                    workload.step()
                    remaining -= 1
                await asyncio.sleep(0.01)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            found = [decode_change(record.value) for record in await records(journal) if record.key != MARK_KEY]
            told = await latest(journal, Topic.POSITIONS, 0)
            await journal.close()
    assert _said(farm) <= _named(found)
    assert max(Counter(change.change_id for change in found).values()) == 1
    assert sum(decode_resume(told[POSITION_KEY].value).appended.values()) == len(found)


def _named(changes: list[Change]) -> set[tuple[str, int]]:
    """The revisions that changes name, by wiki."""
    return {(change.wiki_id, rev_id) for change in changes for rev_id in change.rev_ids}


def _said(farm: Farm) -> set[tuple[str, int]]:
    """The revisions that the farm has told of on the stream that names all."""
    farm.log.flush()
    partitions = [each for (topic, _), each in farm.log.partitions.items() if topic.endswith("revision-create")]
    events = [orjson.loads(record.data) for each in partitions for record in each.read(each.base, 10**6)]
    return {(each["database"], each["rev_id"]) for each in events if each["meta"]["domain"] != "canary"}
