"""Changes of many pages: how far ahead of the hub they are appended."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from syncer.cli import appending
from syncer.cli.appending import AHEAD, Appending
from syncer.errors import WikiUnavailable
from syncer.journal import Record, Topic, change_record, partition_of
from syncer.model import REPAIR, Cause
from syncer.progress import PROGRESS_KEY, Progress
from tests.desk import WIKI, change
from tests.following import PARTITIONS

if TYPE_CHECKING:
    from syncer.journal.sqlite import SqliteJournal

PART = partition_of(WIKI, PARTITIONS)
LOOK_EVERY = 0.01


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks more often."""
    monkeypatch.setattr(appending, "LOOK_EVERY", LOOK_EVERY)


async def append(journal: SqliteJournal, count: int, limit: int = 10 * AHEAD) -> None:
    work = Appending(journal, limit)
    for page_id in range(1, count + 1):
        await work.append(change(Cause.REPAIR, page=page_id, stream=REPAIR))


async def appended(journal: SqliteJournal, count: int) -> list[int]:
    """The offsets of the changes: so many, and no more come."""
    found: list[int] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            await asyncio.sleep(LOOK_EVERY)
            found = [one.offset for one in await journal.read(Topic.CHANGES, PART, 0, limit=10_000)]
    await asyncio.sleep(10 * LOOK_EVERY)
    assert len(await journal.read(Topic.CHANGES, PART, 0, limit=10_000)) == count
    return found


async def finish(journal: SqliteJournal, offsets: list[int], *done: int, open_set_asides: int = 0) -> None:
    """Commit the progress of a hub that has finished what is at these places."""
    progress = Progress(read_to=offsets[0], open_set_asides=Counter({WIKI: open_set_asides}))
    for offset in offsets:
        progress.take_in(offset)
    for place in done:
        progress.finish(offsets[place])
    await journal.append(Record(Topic.PROGRESS, PART, PROGRESS_KEY, progress.encode()))
    await journal.append(Record(Topic.PROGRESS, PART, "another's", b"{}"))


async def test_as_many_are_appended_as_the_hub_has_to_do_next(journal: SqliteJournal) -> None:
    for number in range(300):  # what was there before does not count
        await journal.append(change_record(change(Cause.EDIT, "A", rev=number + 1), PARTITIONS))
    work = asyncio.create_task(append(journal, 2 * AHEAD + 10))
    offsets = await appended(journal, 300 + AHEAD)
    await finish(journal, offsets, *range(300))
    await appended(journal, 300 + AHEAD)
    await finish(journal, offsets, *range(310))
    offsets = await appended(journal, 300 + AHEAD + 10)
    await finish(journal, offsets, *range(310), *range(400, 440))
    offsets = await appended(journal, 300 + AHEAD + 50)
    await finish(journal, offsets, *range(len(offsets)))
    await work
    await appended(journal, 300 + 2 * AHEAD + 10)


async def test_half_of_what_may_be_unfinished_is_left_to_others(journal: SqliteJournal) -> None:
    work = asyncio.create_task(append(journal, 60, limit=100))
    await finish(journal, await appended(journal, 50), *range(50))
    await work


async def test_a_hub_that_is_at_nothing_is_waited_for_and_that_is_said(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(appending, "STALLED_AFTER", 5 * LOOK_EVERY)
    work = asyncio.create_task(append(journal, AHEAD + 1))
    offsets = await appended(journal, AHEAD)
    await asyncio.sleep(20 * LOOK_EVERY)
    assert capsys.readouterr().err.count("waiting for the hub") == 1
    assert not work.done()
    await finish(journal, offsets, 0)
    await work


async def test_no_more_is_appended_of_a_wiki_that_is_set_aside(journal: SqliteJournal) -> None:
    """What stood there before is no reason: that may be of any age."""
    work = asyncio.create_task(append(journal, 10 * AHEAD))
    offsets = await appended(journal, AHEAD)
    await finish(journal, offsets, *range(AHEAD), open_set_asides=AHEAD)
    offsets = await appended(journal, 2 * AHEAD)
    await finish(journal, offsets, *range(2 * AHEAD), open_set_asides=2 * AHEAD)
    with pytest.raises(WikiUnavailable, match="sets them aside"):
        await work
    await appended(journal, 2 * AHEAD)
