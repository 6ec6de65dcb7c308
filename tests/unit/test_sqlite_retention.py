"""What the embedded journal removes, and that the space is given back."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from syncer.config import JournalSettings, Retention
from syncer.errors import ResumeLost
from syncer.journal import Record, Topic, open_journal
from syncer.journal import sqlite as journal_module
from syncer.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Open = Callable[..., Awaitable[SqliteJournal]]

KB = 1000
DAY = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def opening(path: Path) -> AsyncIterator[Open]:
    opened: list[SqliteJournal] = []

    async def one(*, partitions: int = 3, **retention: float) -> SqliteJournal:
        settings = JournalSettings(url=f"sqlite:///{path}", partitions=partitions, retention=Retention.model_validate(retention))
        journal = await open_journal(settings)
        assert isinstance(journal, SqliteJournal)
        opened.append(journal)
        return journal

    yield one
    for journal in opened:
        await journal.close()


def size(path: Path) -> int:
    return path.stat().st_size


def mutation(key: str, partition: int = 0, size: int = 100) -> Record:
    return Record(Topic.MUTATIONS, partition, key, random.Random(key).randbytes(size))


async def test_a_change_without_an_outcome_stays_however_old(opening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await opening(changes_days=1)
    offsets = [await journal.append(Record(Topic.CHANGES, number % 2, str(number), b"{}")) for number in range(10)]
    late = time.time() + 3 * DAY
    monkeypatch.setattr("time.time", lambda: late)
    assert await journal.retain({0: offsets[4], 1: offsets[7]}) == 4  # what is finished behind it waits its turn
    assert await keys(journal, Topic.CHANGES, 0) == ["4", "6", "8"]
    assert await keys(journal, Topic.CHANGES, 1) == ["5", "7", "9"]
    assert await journal.retain({0: offsets[9] + 1, 1: offsets[9] + 1}) == 6


async def keys(journal: SqliteJournal, topic: Topic = Topic.MUTATIONS, partition: int = 0) -> list[str]:
    start, _ = await journal.bounds(topic, partition)
    return [record.key for record in await journal.read(topic, partition, start, limit=100_000)]


async def test_only_the_newest_record_of_a_key_is_kept(opening: Open) -> None:
    journal = await opening()
    owner = await journal.own("owner")
    for number in range(50):
        await owner.append([Record(Topic.PROGRESS, part, "progress", b"%d" % number) for part in range(3)])
    for part in range(3):
        assert await keys(journal, Topic.PROGRESS, part) == ["progress"]
    offset, end = await journal.bounds(Topic.PROGRESS, 2)
    assert end > offset
    assert [record.value for record in await journal.read(Topic.PROGRESS, 2, offset)] == [b"49"]


async def test_nothing_is_cut_that_the_settings_allow(opening: Open) -> None:
    journal = await opening()
    for topic in Topic:
        await journal.append(Record(topic, 0, "a", b"{}"))
    assert await journal.retain({}) == 0
    for topic in Topic:
        assert await keys(journal, topic) == ["a"]


async def test_retention_by_size_keeps_the_newest_and_gives_the_space_back(opening: Open, path: Path) -> None:
    journal = await opening(mutations_bytes=510 * KB)  # ten of them: bytes that are random gain some when packed
    owner = await journal.own("owner")
    for number in range(60):
        await owner.append([mutation(f"{number}/{part}", part, 50 * KB) for part in range(3)])
    assert await journal.retain({}) == 170
    assert [await keys(journal, partition=part) for part in range(3)] == [
        [f"{number}/{part}" for number in range(60 - count, 60)] for part, count in ((0, 3), (1, 3), (2, 4))
    ]
    assert size(path) < 2 * 510 * KB
    for part in range(3):
        start, end = await journal.bounds(Topic.MUTATIONS, part)
        records = await journal.read(Topic.MUTATIONS, part, start)
        assert [record.offset for record in records] == sorted(record.offset for record in records)
        assert end == records[-1].offset + 1
        with pytest.raises(ResumeLost, match="retention") as caught:
            await journal.read(Topic.MUTATIONS, part, start - 1)
        assert caught.value.exit_code == 3
    assert await journal.retain({}) == 0
    await journal.close()
    again = await opening(mutations_bytes=499 * KB)
    assert await again.retain({}) == 1  # what is used is counted on over a restart
    offset = await again.append(mutation("new", 1))
    assert await keys(again, partition=1) == ["57/1", "58/1", "59/1", "new"]
    assert offset > records[-1].offset


async def test_an_emptied_partition_goes_on_where_it_was(opening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = await opening(mutations_bytes=1)
    last = [await journal.append(mutation(str(number))) for number in range(5)][-1]
    assert await journal.retain({}) == 5
    assert await journal.bounds(Topic.MUTATIONS, 0) == (last + 1, last + 1)
    assert await journal.read(Topic.MUTATIONS, 0, last + 1) == []
    for lost in (last, last + 2):
        with pytest.raises(ResumeLost):
            await journal.read(Topic.MUTATIONS, 0, lost)
    await journal.close()
    assert await (await opening()).append(mutation("next")) == last + 1


async def test_retention_by_age_cuts_what_is_older_and_every_topic_by_its_own_setting(
    opening: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await opening(changes_days=1, mutations_days=2, set_aside_days=3)
    topics = (Topic.CHANGES, Topic.MUTATIONS, Topic.SET_ASIDE, Topic.POSITIONS, Topic.PROGRESS, Topic.WATERMARKS)
    now = time.time()
    for days in (3.5, 2.5, 1.5, 0.5):
        monkeypatch.setattr(time, "time", lambda days=days: now - days * DAY)
        for topic in topics:
            await journal.append(Record(topic, 0, f"{days}", b"{}"))
    monkeypatch.setattr(time, "time", lambda: now)
    assert await journal.retain({}) == 6
    ages = ["3.5", "2.5", "1.5", "0.5"]
    assert {topic: await keys(journal, topic) for topic in topics} == {
        Topic.CHANGES: ages[3:],
        Topic.MUTATIONS: ages[2:],
        Topic.SET_ASIDE: ages[1:],
        Topic.POSITIONS: ages,
        Topic.PROGRESS: ages,
        Topic.WATERMARKS: ages,
    }


async def test_cutting_much_lets_others_write_in_between(opening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "TRIM_AT_ONCE", 10)
    monkeypatch.setattr(journal_module, "VACUUM_AT_ONCE", 10)
    journal = await opening(mutations_bytes=1)
    owner = await journal.own("owner")
    await owner.append([mutation(str(number), size=20 * KB) for number in range(120)])
    cutting = asyncio.ensure_future(journal.retain({}))
    written = 0
    while not cutting.done():
        await owner.append([Record(Topic.CHANGES, 0, str(written), b"{}")])
        written += 1
    assert await cutting == 120
    assert written > 10
