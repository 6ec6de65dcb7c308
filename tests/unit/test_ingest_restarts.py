from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import orjson
import pytest

from syncer import ingest as module
from syncer.config import FeedSettings, JournalSettings, WikiSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.errors import JournalUnavailable, OutcomeUnknown, Superseded, SyncerError
from syncer.feed import Feed, Scope
from syncer.feed.position import iso
from syncer.ingest import Ingest
from syncer.journal import POSITION_KEY, Record, Topic, change_record, latest
from syncer.journal.sqlite import SqliteJournal
from syncer.model import Change, Position
from syncer.records import MARK_KEY, decode_change, decode_resume
from syncer.trouble import Trouble
from tests.ingesting import (
    CODFW,
    EQIAD,
    T0,
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

    from syncer.journal import Stored


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


# -- starting over ---------------------------------------------------------------------------------------------------------


async def test_a_restart_goes_on_from_the_committed_position_and_knows_what_comes_again(journal: SqliteJournal) -> None:
    await ingested(journal, batch(event(1), event(2, type=7), event(3)))
    feed = await ingested(journal, batch(event(1), event(2, type=7), event(3), event(4)))
    assert feed.starts == [Position({EQIAD: T0 + 3, CODFW: T0})]
    assert await ids(journal) == ["e-1", "e-3", "e-4"]
    assert len(await records(journal, Topic.SET_ASIDE)) == 1
    told = await resume(journal)
    assert (sum(told.appended.values()), told.skipped, told.set_aside) == (3, {"duplicate": 3}, {"bad_event": 1})


@pytest.mark.parametrize("value", [b"garbage", b"{}", b'{"cause":"of a later version"}'])
async def test_a_record_that_is_no_change_does_not_stop_a_restart(journal: SqliteJournal, value: bytes) -> None:
    await ingested(journal, batch(event(1)))
    await journal.append(Record(Topic.CHANGES, 0, "enwiki:x", value))
    await journal.append(Record(Topic.CHANGES, 0, MARK_KEY, value))
    await ingested(journal, batch(event(1), event(2)))
    assert (await resume(journal)).total == 2


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
