from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from syncer.config import JournalSettings
from syncer.enrich.catchup import Open, changes_at, load_progress, open_set_asides
from syncer.journal import Record, Topic, change_record
from syncer.journal.sqlite import SqliteJournal
from syncer.model import Cause
from syncer.progress import PROGRESS_KEY, Progress
from syncer.records import SetAside, encode_set_aside
from tests.desk import change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from syncer.model import Change


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    made = SqliteJournal(tmp_path / "journal.db", JournalSettings(partitions=2))
    yield made
    await made.close()


async def progress(journal: SqliteJournal, partition: int, made: Progress) -> None:
    await journal.append(Record(Topic.PROGRESS, partition, PROGRESS_KEY, made.encode()))


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_journal_without_progress_begins_the_first_generation(journal: SqliteJournal, *, fresh: bool) -> None:
    made, generation = await load_progress(journal, range(2), fresh=fresh)
    assert generation == 0
    assert {partition: (each.read_to, each.generation) for partition, each in made.items()} == {0: (0, 0), 1: (0, 0)}


async def test_it_goes_on_from_what_is_committed(journal: SqliteJournal) -> None:
    await progress(journal, 0, Progress(generation=4, read_to=17))
    made, generation = await load_progress(journal, range(2), fresh=False)
    assert generation == 4
    assert (made[0].read_to, made[1].read_to, made[1].generation) == (17, 0, 4)


async def test_a_lost_store_begins_another_generation(journal: SqliteJournal) -> None:
    await progress(journal, 0, Progress(generation=4, read_to=17))
    await progress(journal, 1, Progress(generation=2))
    made, generation = await load_progress(journal, range(2), fresh=True)
    assert generation == 5
    assert {each.generation for each in made.values()} == {5}


async def test_without_progress_it_begins_where_the_changes_do(journal: SqliteJournal) -> None:
    for _ in range(3):
        await journal.append(change_record(change(Cause.EDIT, "A", rev=1), 2))
    journal._retention = journal._retention.model_copy(update={"changes_bytes": 1})
    await journal.retain({})
    starts = {partition: (await journal.bounds(Topic.CHANGES, partition))[0] for partition in range(2)}
    made, _ = await load_progress(journal, range(2), fresh=True)
    assert {partition: each.read_to for partition, each in made.items()} == starts
    assert max(starts.values()) > 0


async def aside(journal: SqliteJournal, key: str, entry: SetAside, partition: int = 0) -> int:
    return await journal.append(Record(Topic.SET_ASIDE, partition, key, encode_set_aside(entry)))


def entry(reason: str, about: Change | None = None, **more: str) -> SetAside:
    return replace(SetAside(reason, "", "2026-11-24T03:00:00.000Z", about), **more)  # type: ignore[arg-type]


async def test_what_stands_set_aside_is_what_was_not_closed(journal: SqliteJournal) -> None:
    about = change(Cause.EDIT, "A", rev=1)
    await aside(journal, "a", entry("wiki_unavailable", about))
    await aside(journal, "b", entry("poison", about))
    raw = await aside(journal, "c", entry("bad_record"))
    await aside(journal, "b", entry("closed", closed_by="x"))
    await aside(journal, "z", entry("closed", closed_by="y"))  # of what retention has cut
    again = await aside(journal, "a", entry("unsettled", about))
    assert await open_set_asides(journal, 0) == {"a": Open(again, "enwiki", "unsettled"), "c": Open(raw, "", "bad_record")}
    assert await open_set_asides(journal, 1) == {}


async def test_the_changes_at_some_offsets(journal: SqliteJournal) -> None:
    made = [change(Cause.EDIT, "A", rev=number) for number in range(1, 2501)]
    offsets = await journal.commit([Record(Topic.SET_ASIDE, 0, one.change_id, encode_set_aside(entry("x", one))) for one in made])
    wanted = {offset for offset in offsets if offset % 3 == 0}
    found = [part async for part in changes_at(journal, 0, wanted)]
    assert [one.rev_ids[0] for part in found for one in part] == [
        number for number in range(1, 2501) if offsets[number - 1] in wanted
    ]
    assert max(map(len, found)) <= 1000
    assert [part async for part in changes_at(journal, 0, set())] == []
