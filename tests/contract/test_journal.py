"""What every journal promises (syncer/journal), whichever it is: one suite over all that :mod:`tests.contract.journals` names."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncer.errors import ResumeLost, Superseded
from syncer.journal import Journal, Record, Stored, Topic, latest, open_journal, partition_of, partitions_of
from tests.contract.journal_worker import OWNER, batch, progress
from tests.contract.journals import JOURNALS, PARTITIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from syncer.config import JournalSettings
    from tests.kafka import Kafka

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
KILLS = 6
SOON = 5.0  # seconds: what has to happen at once, on a busy machine


@pytest.fixture(params=sorted(JOURNALS))
def settings(request: pytest.FixtureRequest, tmp_path: Path, kafka: Kafka) -> JournalSettings:
    return JOURNALS[request.param](tmp_path)


@pytest.fixture
async def open_one(settings: JournalSettings) -> AsyncIterator[Callable[[], Awaitable[Journal]]]:
    """Opens the journal as often as wanted: each is a client of its own."""
    opened: list[Journal] = []

    async def one() -> Journal:
        opened.append(await open_journal(settings))
        return opened[-1]

    yield one
    for journal in opened:
        await journal.close()


@pytest.fixture
async def journal(open_one: Callable[[], Awaitable[Journal]]) -> Journal:
    return await open_one()


@pytest.fixture
def start(settings: JournalSettings) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts workers on the journal in processes of their own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def one(work: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.contract.journal_worker", settings.model_dump_json(), work]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def change(key: str, partition: int = 0, value: bytes = b"{}") -> Record:
    return Record(Topic.CHANGES, partition, key, value)


async def everything(journal: Journal, topic: Topic, partition: int = 0) -> list[Stored]:
    found: list[Stored] = []
    offset, end = await journal.bounds(topic, partition)
    while offset < end and (records := await journal.read(topic, partition, offset)):
        found += records
        offset = records[-1].offset + 1
    return found


# -- append and read -----------------------------------------------------------------------------------------------------


async def test_a_record_is_read_as_it_was_appended(journal: Journal) -> None:
    before = time.time()
    record = Record(Topic.MUTATIONS, 1, "ǳ:736", '{"text":"नमस्ते 😀"}'.encode(), {"wiki": "hiwiki", "ce_subject": "क:1"})
    offset = await journal.append(record)
    (stored,) = await everything(journal, Topic.MUTATIONS, 1)
    assert (stored.offset, stored.key, stored.value, dict(stored.headers)) == (
        offset, record.key, record.value, dict(record.headers)
    )  # fmt: skip
    assert before - 1 <= stored.appended_at <= time.time() + 1


async def test_a_batch_goes_to_several_topics_and_its_offsets_come_back_in_its_order(journal: Journal) -> None:
    owner = await journal.own("owner")
    records = [
        change("a"),
        Record(Topic.MUTATIONS, 0, "m", b"{}"),
        change("b", 1),
        change("c"),
        Record(Topic.PROGRESS, 2, "p", b"1"),
    ]
    offsets = await owner.append(records)
    assert len(offsets) == len(records)
    for record, offset in zip(records, offsets, strict=True):
        stored = {each.offset: each.key for each in await everything(journal, record.topic, record.partition)}
        assert stored[offset] == record.key


async def test_an_empty_batch_is_nothing(journal: Journal) -> None:
    owner = await journal.own("owner")
    assert list(await owner.append([])) == []


async def test_offsets_of_a_partition_rise_and_reading_may_begin_at_any(journal: Journal) -> None:
    for number in range(9):
        await journal.append(change(str(number), number % 2))
    records = await everything(journal, Topic.CHANGES, 0)
    offsets = [record.offset for record in records]
    assert [record.key for record in records] == ["0", "2", "4", "6", "8"]
    assert offsets == sorted(set(offsets))
    for index, offset in enumerate(offsets):
        assert [record.key for record in await journal.read(Topic.CHANGES, 0, offset)] == ["0", "2", "4", "6", "8"][index:]
    assert [record.key for record in await journal.read(Topic.CHANGES, 0, offsets[0] + 1)] == ["2", "4", "6", "8"]


async def test_a_read_stops_at_its_limit(journal: Journal) -> None:
    for number in range(5):
        await journal.append(change(str(number)))
    start, _ = await journal.bounds(Topic.CHANGES, 0)
    assert [record.key for record in await journal.read(Topic.CHANGES, 0, start, limit=2)] == ["0", "1"]


async def test_topics_and_partitions_are_apart(journal: Journal) -> None:
    await journal.append(change("a", 2))
    places = [(topic, part) for topic in Topic for part in range(partitions_of(topic, PARTITIONS))]
    found = {place: await everything(journal, *place) for place in places}
    assert [place for place, records in found.items() if records] == [(Topic.CHANGES, 2)]


async def test_bounds_are_the_first_record_and_one_past_the_last(journal: Journal) -> None:
    start, end = await journal.bounds(Topic.CHANGES, 0)
    assert start == end
    assert not await journal.read(Topic.CHANGES, 0, end)
    offsets = [await journal.append(change(str(number))) for number in range(3)]
    start, end = await journal.bounds(Topic.CHANGES, 0)
    assert start <= offsets[0]
    assert end == offsets[-1] + 1
    assert not await journal.read(Topic.CHANGES, 0, end)
    assert [record.offset for record in await journal.read(Topic.CHANGES, 0, start)] == offsets


async def test_to_go_on_beyond_the_end_is_a_lost_resume_point(journal: Journal) -> None:
    await journal.append(change("a"))
    _, end = await journal.bounds(Topic.CHANGES, 0)
    with pytest.raises(ResumeLost, match=str(end + 1)) as caught:
        await journal.read(Topic.CHANGES, 0, end + 1)
    assert caught.value.exit_code == 3
    assert caught.value.hint


async def test_a_value_of_16_mib_goes_through(journal: Journal) -> None:
    value = b'"%b"' % random.Random(1).randbytes(8 * MIB - 64).hex().encode()
    offset = await journal.append(Record(Topic.MUTATIONS, 0, "big", value))
    (stored,) = await journal.read(Topic.MUTATIONS, 0, offset)
    assert stored.value == value


async def test_a_read_gives_about_16_mib_at_most(journal: Journal) -> None:
    for number in range(6):
        await journal.append(Record(Topic.MUTATIONS, 0, str(number), b'"%b"' % (b"y" * 4 * MIB)))
    start, _ = await journal.bounds(Topic.MUTATIONS, 0)
    records = await journal.read(Topic.MUTATIONS, 0, start)
    assert 1 <= len(records) <= 5
    assert len(await everything(journal, Topic.MUTATIONS)) == 6


async def test_what_was_appended_is_there_after_reopening(journal: Journal, open_one: Callable[[], Awaitable[Journal]]) -> None:
    offset = await journal.append(change("a"))
    await journal.close()
    again = await open_one()
    assert [(record.offset, record.key) for record in await everything(again, Topic.CHANGES)] == [(offset, "a")]
    assert await again.append(change("b")) > offset


async def test_the_identity_is_the_journals_own_for_ever(
    journal: Journal, open_one: Callable[[], Awaitable[Journal]], settings: JournalSettings, tmp_path: Path
) -> None:
    assert journal.identity
    assert (await open_one()).identity == journal.identity
    assert journal.partitions == PARTITIONS
    for name, make in JOURNALS.items():
        (tmp_path / name).mkdir()
        other = await open_journal(make(tmp_path / name))
        assert other.identity != journal.identity
        await other.close()


async def test_of_a_compacted_topic_the_newest_of_every_key_counts(
    journal: Journal, open_one: Callable[[], Awaitable[Journal]]
) -> None:
    owner = await journal.own("owner")
    for number in range(20):
        await owner.append([Record(Topic.WATERMARKS, 0, f"wiki{number % 3}", b"%d" % number), change(str(number))])
    await owner.append([Record(Topic.WATERMARKS, 0, "twice", b"1"), Record(Topic.WATERMARKS, 0, "twice", b"2")])
    for reader in (journal, await open_one()):
        newest = {key: record.value for key, record in (await latest(reader, Topic.WATERMARKS, 0)).items()}
        assert newest == {"wiki0": b"18", "wiki1": b"19", "wiki2": b"17", "twice": b"2"}
    assert not await latest(journal, Topic.WATERMARKS, 1)


async def test_a_record_without_a_value_says_that_its_key_is_gone(
    journal: Journal, open_one: Callable[[], Awaitable[Journal]]
) -> None:
    """In its place: who has read what was there before learns of it."""
    owner = await journal.own("owner")
    await owner.append([Record(Topic.PAGES, 0, key, b'{"of":"%b"}' % key.encode(), {"wiki": "w"}) for key in ("a", "b")])
    (_, read), _ = await everything(journal, Topic.PAGES), await everything(journal, Topic.PAGES, 1)
    await owner.append([Record(Topic.PAGES, 0, "a", b"", {"wiki": "w"}), Record(Topic.PAGES, 0, "mark", b"{}")])
    for reader in (journal, await open_one()):
        later = await reader.read(Topic.PAGES, 0, read.offset + 1)
        assert [(one.key, one.value, dict(one.headers)) for one in later] == [("a", b"", {"wiki": "w"}), ("mark", b"{}", {})]
        newest = {key: record.value for key, record in (await latest(reader, Topic.PAGES, 0)).items()}
        assert newest == {"a": b"", "b": b'{"of":"b"}', "mark": b"{}"}


# -- together or not at all, to every reader -----------------------------------------------------------------------------


async def test_concurrent_appends_lose_and_repeat_nothing(journal: Journal) -> None:
    owner = await journal.own("owner")
    owned = [owner.append([change(f"o{number}"), change(f"p{number}")]) for number in range(40)]
    single = [journal.append(change(f"s{number}")) for number in range(40)]
    offsets = [each for pair in await asyncio.gather(*owned) for each in pair] + list(await asyncio.gather(*single))
    records = await everything(journal, Topic.CHANGES)
    assert sorted(offsets) == [record.offset for record in records]
    assert Counter(record.key[0] for record in records) == {"o": 40, "p": 40, "s": 40}


async def test_no_reader_sees_a_part_of_a_batch(journal: Journal, open_one: Callable[[], Awaitable[Journal]]) -> None:
    owner, reader = await journal.own("owner"), await open_one()

    async def write() -> None:
        for number in range(60):
            await owner.append([change(str(number)), Record(Topic.MUTATIONS, 1, str(number), b"{}")])

    writing = asyncio.ensure_future(write())
    looks = 0
    while not writing.done():
        # Whoever sees the first of a pair, and looks for the second after that, finds it, and the other way round.
        for first, second in (((Topic.CHANGES, 0), (Topic.MUTATIONS, 1)), ((Topic.MUTATIONS, 1), (Topic.CHANGES, 0))):
            seen = [record.key for record in await everything(reader, *first)]
            assert [record.key for record in await everything(reader, *second)][: len(seen)] == seen
            looks += 1
    await writing
    assert looks > 2
    assert len(await everything(reader, Topic.CHANGES)) == 60


async def test_reading_goes_on_while_much_is_written(journal: Journal) -> None:
    await journal.append(change("a"))
    start, _ = await journal.bounds(Topic.CHANGES, 0)
    value = b'"%b"' % random.Random(2).randbytes(4 * MIB).hex().encode()
    owner = await journal.own("owner")
    writing = asyncio.ensure_future(owner.append([Record(Topic.MUTATIONS, 0, str(number), value) for number in range(4)]))
    reads = 0
    while not writing.done():
        assert [record.key for record in await journal.read(Topic.CHANGES, 0, start)] == ["a"]
        reads += 1
    await writing
    assert reads > 2


# -- ownership -----------------------------------------------------------------------------------------------------------


async def test_taking_over_in_the_same_process_outdates_the_owner_before(journal: Journal) -> None:
    first = await journal.own("owner")
    await first.append([change("a")])
    second = await journal.own("owner")
    with pytest.raises(Superseded, match="owner") as caught:
        await first.append([change("b"), Record(Topic.MUTATIONS, 0, "b", b"{}")])
    assert caught.value.exit_code == 4
    await second.append([change("c")])
    assert [record.key for record in await everything(journal, Topic.CHANGES)] == ["a", "c"]
    assert not await everything(journal, Topic.MUTATIONS)


async def test_owners_of_different_names_do_not_meet(journal: Journal) -> None:
    ingest, enrich = await journal.own("ingest"), await journal.own("enrich-0")
    await ingest.append([change("a")])
    await enrich.append([change("b")])
    assert len(await everything(journal, Topic.CHANGES)) == 2


async def test_while_one_process_owns_another_cannot_but_may_append_single_records(
    journal: Journal, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    owner = await journal.own(OWNER)
    second = await asyncio.to_thread(
        lambda: subprocess.run(start("own").args, cwd=ROOT, capture_output=True, text=True, check=False)
    )
    assert second.returncode != 0
    assert "Superseded" in second.stderr
    assert await asyncio.to_thread(start("once").wait, 30) == 0
    await owner.append([change("a")])
    assert [record.key for record in await everything(journal, Topic.CHANGES, 2)] == ["once"]
    assert [record.key for record in await everything(journal, Topic.CHANGES, 0)] == ["a"]


async def test_an_owner_that_was_killed_is_followed_at_once(
    journal: Journal, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = start("own")
    assert process.stdout
    assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    with pytest.raises(Superseded) as caught:
        await journal.own(OWNER)
    assert caught.value.hint
    process.kill()
    process.wait()
    async with asyncio.timeout(SOON):
        owner = await journal.own(OWNER)
    await owner.append([change("a")])


async def test_closing_gives_up_what_was_owned(journal: Journal, open_one: Callable[[], Awaitable[Journal]]) -> None:
    await journal.own("owner")
    other = await open_one()
    await journal.close()
    await (await other.own("owner")).append([change("a")])


async def test_who_stands_by_owns_nothing(journal: Journal, open_one: Callable[[], Awaitable[Journal]]) -> None:
    """Else two that wait for two owners could each have one, and wait for ever."""
    for name in ("owner", "other"):
        await journal.own(name)
    async with asyncio.timeout(SOON):
        await journal.stand_by(["owner"])
        await (await (await open_one()).own("other")).append([change("a")])


# -- waiting -------------------------------------------------------------------------------------------------------------


async def settled(journal: Journal) -> None:
    """Wait until the journal has nothing new to tell."""
    while True:
        before = time.monotonic()
        await journal.wait(0.3)
        if time.monotonic() - before >= 0.3:
            return


async def test_waiting_ends_with_the_time_where_nothing_happens(journal: Journal) -> None:
    await settled(journal)
    before = time.monotonic()
    await journal.wait(0.2)
    assert 0.2 <= time.monotonic() - before < SOON


async def test_waiting_ends_with_an_append_of_ones_own(journal: Journal) -> None:
    await settled(journal)
    waiting = asyncio.ensure_future(journal.wait(60))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await journal.append(change("a"))
    await asyncio.wait_for(waiting, SOON)


async def test_waiting_ends_with_an_append_of_another_process(
    journal: Journal, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    await settled(journal)
    waiting = asyncio.ensure_future(journal.wait(60))
    await asyncio.sleep(0.05)
    process = start("once")
    await asyncio.wait_for(waiting, 30)
    await asyncio.to_thread(process.wait)


async def test_what_was_appended_just_before_waiting_is_not_missed(
    journal: Journal, open_one: Callable[[], Awaitable[Journal]]
) -> None:
    other = await open_one()
    for appender in (journal, other):
        await settled(journal)
        await appender.append(change("a"))
        async with asyncio.timeout(SOON):
            await journal.wait(60)


async def test_a_follower_that_reads_and_waits_gets_everything(
    journal: Journal, open_one: Callable[[], Awaitable[Journal]]
) -> None:
    reader = await open_one()
    offset, _ = await reader.bounds(Topic.CHANGES, 0)
    seen: list[str] = []

    async def follow() -> None:
        nonlocal offset
        while True:
            for record in await reader.read(Topic.CHANGES, 0, offset):
                seen.append(record.key)
                offset = record.offset + 1
            if len(seen) == 30:
                return
            await reader.wait(60)

    following = asyncio.ensure_future(follow())
    for number in range(30):
        await asyncio.sleep(random.Random(number).random() * 0.02)
        await journal.append(change(str(number)))
    await asyncio.wait_for(following, SOON)
    assert seen == [str(number) for number in range(30)]


# -- law 7 ---------------------------------------------------------------------------------------------------------------


async def test_killed_at_any_moment_a_batch_is_there_whole_or_not_at_all_and_once(
    settings: JournalSettings, start: Callable[[str], subprocess.Popen[str]], open_one: Callable[[], Awaitable[Journal]]
) -> None:
    rng = random.Random(7)
    acknowledged = -1
    for _ in range(KILLS):
        process = start("append")
        assert process.stdout
        await asyncio.to_thread(process.stdout.readline)
        for _ in range(rng.randrange(1, 25)):
            acknowledged = int(await asyncio.to_thread(process.stdout.readline))
        await asyncio.sleep(rng.random() * 0.02)
        process.kill()
        said = process.communicate()[0].split("\n")[:-1]  # what follows the last line end was cut off
        acknowledged = int(said[-1]) if said else acknowledged

        journal = await open_one()
        last = await progress(journal)
        assert acknowledged <= last <= acknowledged + 1
        expected = [record for number in range(last + 1) for record in batch(number) if record.topic is not Topic.PROGRESS]
        for topic, partition in ((Topic.CHANGES, 0), (Topic.CHANGES, 1), (Topic.MUTATIONS, 0)):
            there = [(record.key, record.value) for record in await everything(journal, topic, partition)]
            assert there == [
                (record.key, record.value) for record in expected if (record.topic, record.partition) == (topic, partition)
            ]
        await journal.close()
    assert acknowledged >= KILLS


# -- partitions ----------------------------------------------------------------------------------------------------------


def test_a_wiki_is_where_kafkas_own_partitioner_would_put_it() -> None:
    # Hashes of Kafka's own unit test of its murmur2, as signed 32-bit integers.
    vectors = {
        "21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "abc": 479470107,
        "a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    }  # fmt: skip
    for key, hashed in vectors.items():
        for partitions in (1, 2, 12, 1024, 0x7FFFFFFF):
            assert partition_of(key, partitions) == (hashed & 0x7FFFFFFF) % partitions


def test_set_asides_have_one_partition_more_and_positions_one() -> None:
    assert {topic: partitions_of(topic, 12) for topic in Topic} == {
        Topic.CHANGES: 12, Topic.MUTATIONS: 12, Topic.PROGRESS: 12, Topic.WATERMARKS: 12, Topic.SET_ASIDE: 13, Topic.POSITIONS: 1,
        Topic.RECEIPTS: 12, Topic.REQUESTS: 12, Topic.MANIFESTS: 12, Topic.PAGES: 12,
    }  # fmt: skip
