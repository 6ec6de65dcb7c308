"""What the journal says of the hub's work, told from journals written by hand; law 3 in particular."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from syncer import status
from syncer.config import JournalSettings
from syncer.journal import POSITION_KEY, Journal, Record, Topic, change_record, open_journal
from syncer.model import Cause, Change, Position, Source
from syncer.progress import PROGRESS_KEY, Counts, Progress
from syncer.reconciled import Reconciled, reconciled_key
from syncer.records import MARK_KEY, Resume, SetAside, encode_mark, encode_resume, encode_set_aside
from syncer.set_asides import set_asides
from syncer.status import read_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from syncer.journal import Stored

PARTITIONS = 3
NEWEST = 1_762_077_598_123


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await open_journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db", partitions=PARTITIONS))
    yield journal
    await journal.close()


def change(number: int, *, stream: str = "mediawiki.recentchange", wiki: str = "wiki0") -> Change:
    source = Source(stream, f"id-{number}", "2026-11-02T09:59:58Z", "2026-11-02T09:59:59Z")
    return Change(wiki_id=wiki, domain="d", cause=Cause.EDIT, source=source, rev_ids=(number,), titles=(f"Page {number}",))


class Hub:
    """Writes what ingest and enrich write, of as many changes as are asked for, all in partition 0."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.numbers = 0
        self.appended = 0
        self.progress = Progress()

    async def append(self, count: int, *, stream: str = "mediawiki.recentchange", told: bool = True) -> None:
        records = []
        for _ in range(count):
            self.numbers += 1
            made = change_record(change(self.numbers, stream=stream), PARTITIONS)
            records.append(Record(made.topic, 0, made.key, made.value, made.headers))
        if told and stream.startswith("mediawiki"):
            self.appended += count
        resume = Resume(Position({("eqiad.x", 0): NEWEST, ("codfw.x", 0): 5}), {0: self.appended}, {"canary": 2}, {"bad_json": 1})
        owner = await self.journal.own("ingest")
        await owner.append([*records, Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume))])

    async def finish(self, *which: int, **counts: Any) -> None:
        """Take in everything, finish these of it by number, and commit the counts."""
        for record in await self.journal.read(Topic.CHANGES, 0, self.progress.read_to):
            self.progress.take_in(record.offset)
        offsets = [*self.progress._done]
        for number in which:
            self.progress.finish(offsets[number])
        self.progress.counts += Counts(**counts)
        await self.journal.append(Record(Topic.PROGRESS, 0, PROGRESS_KEY, self.progress.encode()))


async def test_a_new_journal_is_balanced_and_has_nothing_to_tell(journal: Journal) -> None:
    assert await read_status(journal) == {
        "journal": journal.identity, "appended": 0, "queued": 0, "queued_since": None,
        "outcomes": {"published": 0, "merged": 0, "skipped": {}, "set_aside": {}}, "balanced": True, "mutations": {},
        "upstream_hash_wrong": 0, "open_set_asides": {},
        "feed": {"skipped": {}, "set_aside": {}, "gaps": [], "newest_event": None},
        "reconcile": {"wikis": 0, "rescoping": 0, "found": {}, "asked": {}, "filled": {}},
        "manifests": {"last_hour": None},
    }  # fmt: skip


async def test_what_was_appended_is_what_has_an_outcome_and_what_is_queued(journal: Journal) -> None:
    hub = Hub(journal)
    await hub.append(7)
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (7, 7, True)
    hub.progress.open_set_asides["wiki0"] += 1
    await hub.finish(
        0, 1, 3, 4, published=1, merged=1, skipped=Counter(namespace=1), set_aside=Counter(no_answer=1),
        mutations=Counter(patch=2), upstream_hash=1,
    )  # fmt: skip
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (7, 3, True)
    assert told["outcomes"] == {"published": 1, "merged": 1, "skipped": {"namespace": 1}, "set_aside": {"no_answer": 1}}
    assert (told["mutations"], told["upstream_hash_wrong"], told["open_set_asides"]) == ({"patch": 2}, 1, {"wiki0": 1})
    assert told["feed"] == {
        "skipped": {"canary": 2}, "set_aside": {"bad_json": 1}, "gaps": [], "newest_event": "2025-11-02T09:59:58.123Z"
    }  # fmt: skip


async def test_since_when_the_oldest_change_is_queued(journal: Journal) -> None:
    hub = Hub(journal)
    await hub.append(1)
    await asyncio.sleep(0.01)
    await hub.append(2)
    first, second, _ = [record.appended_at for record in await journal.read(Topic.CHANGES, 0, 0)]
    told = await read_status(journal)
    assert datetime.fromisoformat(told["queued_since"]).timestamp() == pytest.approx(first, abs=0.001)
    await hub.finish(0, 2, published=2)
    told = await read_status(journal)
    assert datetime.fromisoformat(told["queued_since"]).timestamp() == pytest.approx(second, abs=0.001)
    await hub.finish(0, published=1)
    assert (await read_status(journal))["queued_since"] is None


async def test_marks_are_no_changes_and_other_partitions_count_too(journal: Journal) -> None:
    hub = Hub(journal)
    await hub.append(2)
    for partition in range(PARTITIONS):
        await journal.append(Record(Topic.CHANGES, partition, MARK_KEY, encode_mark("2026-11-02T09:59:58Z")))
    assert ((await read_status(journal))["queued"], (await read_status(journal))["balanced"]) == (2, True)
    await journal.append(Record(Topic.CHANGES, 2, "k", change_record(change(99, stream="repair"), 1).value))
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (3, 3, True)


async def test_what_was_appended_by_hand_counts_before_and_after(journal: Journal) -> None:
    hub = Hub(journal)
    await hub.append(2)
    for stream in ("repair", "replay", "reconcile"):
        await hub.append(1, stream=stream)
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (5, 5, True)
    await hub.finish(0, 2, 3, published=3, by_hand=2)
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (5, 2, True)


@pytest.mark.parametrize("published", [0, 2])
async def test_a_change_that_was_lost_or_counted_twice_shows(journal: Journal, published: int) -> None:
    hub = Hub(journal)
    await hub.append(3)
    await hub.finish(0, published=published)
    told = await read_status(journal)
    assert told["balanced"] is False
    assert told["appended"] == 3


async def test_a_change_that_ingest_did_not_count_shows(journal: Journal) -> None:
    hub = Hub(journal)
    await hub.append(3)
    await hub.append(1, told=False)
    assert (await read_status(journal))["balanced"] is False


async def test_of_a_long_queue_only_the_beginning_is_looked_at(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "LOOKED_AT", 5)
    hub = Hub(journal)
    await hub.append(1, stream="repair")
    await hub.append(30)
    await hub.finish(1, 2, 7, published=3)
    read, records = journal.read, 0

    async def counted(*args: Any, **options: Any) -> Sequence[Stored]:
        nonlocal records
        found = await read(*args, **options)
        records += len(found)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(journal, "read", counted)
        told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (31, 28, True)
    assert records < 15
    await hub.append(3, stream="replay")  # behind what is looked at
    assert (await read_status(journal))["queued"] == 28
    await hub.finish(*(number for number in range(30) if number not in {1, 2, 7}), published=27, by_hand=1)
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (34, 4, True)


@pytest.mark.parametrize("published", [3, 9])
async def test_what_is_lost_of_a_long_queue_shows_when_it_is_short(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, published: int
) -> None:
    """Of what was done, two changes fewer or four more are counted than there were."""
    monkeypatch.setattr(status, "LOOKED_AT", 5)
    hub = Hub(journal)
    await hub.append(30)
    await hub.finish(*range(5), published=published)
    await hub.finish(*range(21), published=21)
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (30, 4, False)


async def test_a_record_that_is_no_change_is_queued_like_one(journal: Journal) -> None:
    hub = Hub(journal)
    await hub.append(1)
    await journal.append(Record(Topic.CHANGES, 0, "broken", b"[]"))
    assert (await read_status(journal))["queued"] == 2


async def test_a_hub_at_work_is_balanced_at_every_moment(journal: Journal, tmp_path: Path) -> None:
    hub = Hub(journal)
    working = True

    async def work() -> None:
        for round_ in range(60):
            await hub.append(3)
            if round_ % 2:
                await hub.finish(0, 1, 2, published=3)

    other = await open_journal(JournalSettings(url=f"sqlite:///{tmp_path}/journal.db", partitions=PARTITIONS))

    async def look() -> None:
        seen = []
        while working:
            told = await read_status(other)
            assert told["balanced"], told
            seen.append(told["appended"])
        await other.close()
        assert seen == sorted(seen)
        assert len(set(seen)) > 3

    looking = asyncio.ensure_future(look())
    await work()
    working = False
    await looking
    told = await read_status(journal)
    assert (told["appended"], told["queued"], told["balanced"]) == (180, 90, True)


async def test_known_gaps_are_told(journal: Journal) -> None:
    resume = Resume(Position(), {}, {}, {}, ((None, "2026-11-02T09:00:00Z"),))
    await journal.append(Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume)))
    assert (await read_status(journal))["feed"]["gaps"] == [(None, "2026-11-02T09:00:00Z")]


async def test_what_is_reconciled_is_told(journal: Journal) -> None:
    gap = ("2026-11-12T09:00:00Z", "2026-11-20T09:00:00Z")
    resume = Resume(Position(), {}, {}, {}, ((None, "2026-11-02T09:00:00Z"), gap))
    await journal.append(Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume)))
    for partition, filled in enumerate(((gap,), (), (gap,))):
        each = Reconciled(f"wiki{partition}", "a.example", gap[1], filled, found=Counter(gap=3), asked=Counter(gap=2, window=1))
        await journal.append(Record(Topic.PROGRESS, partition, reconciled_key(each.wiki_id), each.encode()))
    assert (await read_status(journal))["reconcile"] == {
        "wikis": 3, "rescoping": 0, "found": {"gap": 9}, "asked": {"gap": 6, "window": 3}, "filled": {f"{gap[0]} to {gap[1]}": 2}
    }  # fmt: skip


# -- what stands set aside -----------------------------------------------------------------------------------------------


async def put(journal: Journal, partition: int, key: str, entry: SetAside) -> None:
    await journal.append(Record(Topic.SET_ASIDE, partition, key, encode_set_aside(entry)))


def aside(number: int, reason: str = "no_answer", at: str = "2026-11-02T10:00:00Z") -> SetAside:
    return SetAside(reason, "detail", at, change(number))


async def test_set_asides_are_listed_oldest_first_with_what_a_replay_repeats(journal: Journal) -> None:
    await put(journal, 2, "id-2", aside(2, at="2026-11-02T10:00:02Z"))
    await put(journal, 0, "id-1", aside(1, at="2026-11-02T10:00:01Z"))
    raw = SetAside("bad_json", "at 7", "2026-11-02T10:00:03Z", None, b"{")
    await put(journal, PARTITIONS, "raw", raw)
    assert [one async for one in set_asides(journal)] == [
        {
            "key": f"id-{number}", "partition": partition, "reason": "no_answer", "detail": "detail",
            "at": f"2026-11-02T10:00:0{number}Z", "wiki_id": "wiki0", "titles": [f"Page {number}"], "rev_ids": [number],
            "page_ids": [],
            "closed_by": None, "entry": aside(number, at=f"2026-11-02T10:00:0{number}Z"),
        }
        for number, partition in ((1, 0), (2, 2))
    ] + [
        {
            "key": "raw", "partition": PARTITIONS, "reason": "bad_json", "detail": "at 7", "at": "2026-11-02T10:00:03Z",
            "wiki_id": None, "titles": [], "rev_ids": [], "page_ids": [], "closed_by": None, "entry": raw,
        }
    ]  # fmt: skip


async def test_what_was_tried_and_set_aside_again_is_listed_once(journal: Journal) -> None:
    await put(journal, PARTITIONS, "id-1", SetAside("bad_json", "at 7", "2026-11-02T10:00:03Z", None, b"{"))
    await put(journal, 0, "id-1", aside(1, at="2026-11-02T10:00:04Z"))
    assert [(entry["partition"], entry["reason"]) async for entry in set_asides(journal)] == [(0, "no_answer")]
    await put(journal, 0, "id-1", SetAside("closed", "", "2026-11-02T11:00:00Z", closed_by="id-9"))
    assert [one async for one in set_asides(journal)] == []


async def test_what_was_closed_is_listed_only_where_it_is_asked_for(journal: Journal) -> None:
    await put(journal, 0, "id-1", aside(1))
    await put(journal, 0, "id-2", aside(2))
    await put(journal, 0, "id-1", SetAside("closed", "", "2026-11-02T11:00:00Z", closed_by="id-9"))
    await put(journal, 0, "unheard", SetAside("closed", "", "2026-11-02T11:00:00Z", closed_by="id-9"))
    assert [entry["key"] async for entry in set_asides(journal)] == ["id-2"]
    assert {entry["key"]: entry["closed_by"] async for entry in set_asides(journal, closed=True)} == {
        "id-1": "id-9",
        "id-2": None,
    }


async def test_what_failed_again_stands_again(journal: Journal) -> None:
    await put(journal, 0, "id-1", aside(1))
    await put(journal, 0, "id-1", SetAside("closed", "", "2026-11-02T11:00:00Z", closed_by="id-9"))
    await put(journal, 0, "id-1", aside(1, reason="poison"))
    for closed in (False, True):
        found = [(entry["reason"], entry["closed_by"]) async for entry in set_asides(journal, closed=closed)]
        assert found == [("poison", None)]


async def test_the_same_key_in_two_partitions_is_two_entries(journal: Journal) -> None:
    await put(journal, 0, "id-1", aside(1))
    await put(journal, 1, "id-1", aside(1))
    assert len([one async for one in set_asides(journal)]) == 2


async def test_set_asides_of_all_partitions_are_told_in_turn_and_a_part_of_them_is_held(journal: Journal) -> None:
    for number in range(3000):
        at = f"2026-11-02T10:{number // 60:02}:{number % 60:02}Z"
        await put(journal, number % 2, f"id-{number}", aside(number + 1, at=at))
    keys, held = [], 0
    async for entry in set_asides(journal):
        keys.append(entry["key"])
        if len(keys) % 500 == 0:
            held = max(held, sum(isinstance(one, SetAside) for one in gc.get_objects()))
    assert keys == [f"id-{number}" for number in range(3000)]
    assert held < 100
