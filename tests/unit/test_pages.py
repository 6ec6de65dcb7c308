"""Keeping the topic of pages: what a record says of its page, what is read back, and what is no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from syncer import wire
from syncer.enrich import pages as pages_module
from syncer.enrich.pages import withdraw
from syncer.journal import Record, Topic, latest
from syncer.model import Prior
from syncer.pages import MARK_KEY, Mark
from tests.following import record
from tests.kept import EACH, PART, Hub
from tests.mutations import moved, sha1
from tests.wire_schema import LENIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.mutations import Pages


@pytest.fixture
async def hub(tmp_path: Path, pages: Pages) -> AsyncIterator[Hub]:
    made = Hub(tmp_path, pages)
    yield made
    await made.close()


async def test_a_record_is_a_snapshot_that_any_reader_of_mutations_understands(hub: Hub) -> None:
    await hub.load()
    first = hub.pages.snapshot(1, "A", b"one")
    await hub.publish(first, hub.pages.patch(1, "A", b"two"), hub.pages.snapshot(2, "B", None), hub.pages.snapshot(3, "C", b"x"))
    await hub.publish(hub.pages.delete(3, "C"))
    await hub.flush()
    told = await hub.told()
    assert set(told) == {"testwiki:1", "testwiki:2", "testwiki:3"}
    assert told["testwiki:3"] is None
    for part in (told["testwiki:1"], told["testwiki:2"]):
        LENIENT.validate(part)
        assert (part["kind"], part["gap"], part["cause"]) == ("snapshot", True, "repair")
        assert (part["partition"], part["offset"]) == (PART, hub.store.offset(PART))
    assert (told["testwiki:1"]["text"], told["testwiki:1"]["seq"]) == ("two", 2)
    assert told["testwiki:1"]["attribution"]["editor"] == "Ada"
    assert told["testwiki:2"]["text"] is None
    assert "erased" not in told["testwiki:2"]
    (headers,) = [one.headers for one in (await latest(hub.journal, Topic.PAGES, PART)).values() if one.key == "testwiki:1"]
    assert (headers["wiki"], headers["namespace"], headers["kind"]) == ("testwiki", "0", "snapshot")
    assert await hub.mark() == Mark(hub.store.offset(PART))


async def test_nothing_is_written_where_nothing_has_changed(hub: Hub) -> None:
    await hub.publish(hub.pages.snapshot(1, "A", b"one"), hub.pages.snapshot(2, "B", b"one"))
    await hub.load()
    hub.appended.clear()
    await hub.flush()
    assert hub.appended == []
    await hub.publish(hub.pages.patch(1, "A", b"two"), hub.pages.patch(1, "A", b"three"))
    await hub.flush()
    assert hub.appended == [["testwiki:1", MARK_KEY]]
    await hub.again()
    assert hub.appended == [["testwiki:1", MARK_KEY]]


async def test_a_page_that_loses_its_title_to_another_has_none_in_the_topic(hub: Hub) -> None:
    """Whoever took it may go on to another title: then nothing else would say so."""
    await hub.load()
    await hub.publish(hub.pages.snapshot(1, "A", b"one"), hub.pages.snapshot(2, "B", b"two"))
    await hub.flush()
    await hub.publish(hub.pages.patch(2, "A", b"three"), hub.pages.patch(2, "C", b"four"))
    await hub.flush()
    assert {key: page["page"]["title"] for key, page in (await hub.told()).items()} == {"testwiki:1": "", "testwiki:2": "C"}


async def test_what_a_dead_process_had_not_written_is_read_back(hub: Hub) -> None:
    await hub.load()
    await hub.publish(*(hub.pages.snapshot(number, f"P{number}", b"text of %d" % number) for number in range(1, 8)))
    await hub.flush()
    before = await hub.told()
    await hub.publish(hub.pages.patch(2, "P1", b"another"), hub.pages.patch(2, "P0", b"one more"), hub.pages.delete(3, "P3"))
    await hub.publish(moved(hub.pages.patch(4, "Q4", b"text of 4"), Prior(title="P4")))
    await hub.again()
    told = await hub.told()
    assert {key for key in told if told[key] != before[key]} == {f"testwiki:{number}" for number in (1, 2, 3, 4)}
    assert (told["testwiki:1"]["page"]["title"], told["testwiki:2"]["text"], told["testwiki:3"]) == ("", "one more", None)
    assert await hub.mark() == Mark(hub.store.offset(PART))


async def test_many_that_are_read_back_are_written_in_portions_and_marked_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark in between would promise what is not there yet."""
    await hub.load()
    await hub.publish(*(hub.pages.snapshot(number, f"P{number}", b"text" * 100) for number in range(1, 8)))
    hub.appended.clear()
    monkeypatch.setattr(pages_module, "PORTION", 1_500)
    monkeypatch.setattr(pages_module, "MOST", 1)
    await hub.again()
    keys = [key for portion in hub.appended for key in portion]
    assert len(hub.appended) > 3
    assert keys == [*(f"testwiki:{number}" for number in range(1, 8)), MARK_KEY]


async def test_a_text_that_is_not_at_hand_is_missing_and_says_so(tmp_path: Path, pages: Pages) -> None:
    hub = Hub(tmp_path, pages, store_bytes=1)
    await hub.load()
    await hub.publish(pages.snapshot(1, "A", b"evicted at once"))
    await hub.flush()
    part = (await hub.told())["testwiki:1"]
    LENIENT.validate(part)
    assert (part["erased"], "text" in part, part["revision"]["sha1"]) == (True, False, sha1(b"evicted at once"))
    await hub.close()


async def test_a_page_too_large_for_a_record_comes_without_its_text(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.load()
    await hub.publish(hub.pages.snapshot(1, "A", b"long" * 400), hub.pages.snapshot(2, "B", b"short"))
    monkeypatch.setattr(wire, "MAX_RECORD", 1_500)
    await hub.flush()
    told = await hub.told()
    assert (told["testwiki:1"].get("erased"), told["testwiki:2"]["text"]) == (True, "short")


async def test_what_was_cut_since_the_mark_has_it_filled_again(hub: Hub) -> None:
    """Also pages of which nobody knows any more: the store was lost, and what became of them is not in the journal."""
    await hub.load()
    await hub.publish(hub.pages.snapshot(1, "A", b"one"), hub.pages.snapshot(2, "B", b"two"))
    await hub.flush()
    cut, last = hub.pages.delete(2, "B"), hub.pages.snapshot(3, "C", b"three")
    for mutation in (cut, last):
        await hub.journal.commit([record(mutation)])
    start, end = await hub.journal.bounds(Topic.MUTATIONS, PART)
    hub.journal._writer.execute('DELETE FROM "mutations" WHERE "offset" < ?', (end - 1,))
    hub.journal._writer.execute("INSERT OR REPLACE INTO floors VALUES ('mutations', ?, ?)", (PART, end - 1))
    hub.store.close()
    (hub.folder / "hub.db").unlink()
    hub.start()
    with hub.store.folding():
        hub.store.begin(PART, end - 1)
        hub.store.fold(last)
        hub.store.advance(PART, end)
    await hub.kept.load(EACH)
    mark = await hub.mark()
    assert start < end - 1
    assert mark
    assert mark.filled is not None
    while hub.kept.filling:
        await asyncio.to_thread(hub.kept.fill)
    assert {key: page and page["text"] for key, page in (await hub.told()).items()} == {
        "testwiki:1": None, "testwiki:2": None, "testwiki:3": "three"
    }  # fmt: skip
    assert await hub.mark() == Mark(end)


async def test_a_partition_that_is_being_filled_goes_on_where_it_was(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.publish(*(hub.pages.snapshot(number, f"P{number}", b"text") for number in range(1, 8)))
    monkeypatch.setattr(pages_module, "FILL_AT_ONCE", 3)
    await hub.kept.load(EACH)
    while (mark := await hub.mark()) != Mark(hub.store.offset(PART), ("testwiki", 3)):
        assert mark
        assert mark.filled
        await asyncio.to_thread(hub.kept.fill)
    await hub.publish(hub.pages.patch(2, "P2", b"behind it"), hub.pages.patch(6, "P6", b"before it"))
    hub.appended.clear()
    await hub.again()
    keys = [key for portion in hub.appended for key in portion if key != MARK_KEY]
    assert keys == [f"testwiki:{number}" for number in (2, 6, 4, 5, 6, 7)]
    assert [page["text"] for _, page in sorted((await hub.told()).items())] == [
        "text", "behind it", "text", "text", "text", "before it", "text"
    ]  # fmt: skip
    assert await hub.mark() == Mark(hub.store.offset(PART))


async def test_a_topic_that_is_not_kept_any_more_is_taken_back(hub: Hub) -> None:
    await hub.load()
    await hub.publish(hub.pages.snapshot(1, "A", b"a text that is erased some day"))
    await hub.flush()
    await withdraw(hub.journal, EACH, hub.append, asyncio.to_thread)
    assert (await hub.told(), await hub.mark()) == ({"testwiki:1": None}, None)
    hub.appended.clear()
    await withdraw(hub.journal, EACH, hub.append, asyncio.to_thread)
    assert hub.appended == []


async def test_the_last_mark_is_found_from_the_end(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await hub.mark() is None
    await hub.load()
    for number in range(1, 60):
        await hub.publish(hub.pages.snapshot(number, f"P{number}", b"text"))
    monkeypatch.setattr(pages_module, "PORTION", 1)
    await hub.flush()
    assert await hub.mark() == Mark(hub.store.offset(PART))
    for number in range(1, 60):  # as who is killed before the mark leaves it
        await hub.journal.append(await latest_record(hub, number))
    assert await hub.mark() == Mark(hub.store.offset(PART))


async def latest_record(hub: Hub, number: int) -> Record:
    stored = (await latest(hub.journal, Topic.PAGES, PART))[f"testwiki:{number}"]
    return Record(Topic.PAGES, PART, stored.key, stored.value, stored.headers)
