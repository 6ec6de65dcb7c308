from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import orjson
import pytest

from syncer import ingest as module
from syncer.config import FeedSettings, JournalSettings
from syncer.errors import Refused, ResumeLost
from syncer.feed import Batch, Delivered, Scope
from syncer.feed.event import AsideReason, SkipReason
from syncer.feed.position import iso
from syncer.feed.sse import Rejected
from syncer.ingest import Ingest
from syncer.journal import Topic
from syncer.journal.sqlite import SqliteJournal
from syncer.model import Position
from syncer.records import MARK_KEY, decode_change, decode_mark, decode_set_aside
from syncer.trouble import Trouble
from tests.ingesting import (
    CODFW,
    EQIAD,
    PATIENCE,
    SETTINGS,
    T0,
    WIKIS,
    Failing,
    Script,
    batch,
    event,
    ids,
    ingested,
    records,
    resume,
    running,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from syncer.journal import Journal


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


async def test_a_feed_that_goes_on_for_weeks_has_no_gap(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(0, 60, 5):
        monkeypatch.setattr(module, "_now", lambda at=T0 + day * 86_400_000: at)
        await ingested(journal, batch(event(day, at=T0 + day * 86_400_000)))
    assert (await resume(journal)).gaps == ()


@pytest.mark.parametrize("lost", [3_600_001, module.RETENTION, 3 * module.RETENTION])
async def test_a_position_older_than_the_feed_keeps_is_a_known_gap(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """What was lost is what is older than the feed keeps: an hour of it, or weeks."""
    monkeypatch.setattr(module, "_now", lambda: T0 + module.RETENTION + lost)
    await ingested(journal, batch(event(1)))
    await ingested(journal, batch(event(2, at=T0 + module.SILENCE)))
    assert (await resume(journal)).gaps == ()
    first = T0 + module.SILENCE + lost
    await ingested(journal, batch(event(4, at=first + 9), event(3, at=first)))
    assert (await resume(journal)).gaps == ((iso(T0 + module.SILENCE), iso(first)),)


async def test_a_gap_that_the_wikis_do_not_reach_back_over_is_the_end(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 3, at every start, until somebody has done something about it; not for a hub that begins."""
    month = 30 * 86_400_000
    monkeypatch.setattr(module, "_now", lambda: T0 + month + 1_000)
    settings = FeedSettings(streams=("recentchange",), since=iso(T0 - month))
    feed = Script(batch(event(1)), settings=settings)
    async with running(journal, feed, settings=settings):
        await asyncio.wait_for(feed.exhausted.wait(), PATIENCE)
    assert (await resume(journal)).gaps == ((iso(T0 - month), iso(T0 + 1)),)
    for _ in range(2):
        with pytest.raises(ResumeLost, match="30 days") as lost:
            await ingested(journal, batch(event(2, at=T0 + month)))
        assert "start anew" in str(lost.value.hint)
    assert (await resume(journal)).position.timestamps[EQIAD] == T0 + 1
    monkeypatch.setattr(module, "_now", lambda: T0 + month)
    await ingested(journal, batch(event(2, at=T0 + month)))
    assert (await resume(journal)).gaps[-1] == (iso(T0 + 1), iso(T0 + month))


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
