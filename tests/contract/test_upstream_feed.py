"""How a feed is asked for, framed, resumed and refused: the same assertions on the fake and on the lab's."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.contract.upstream import STREAMS, Event, read, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.contract.upstream import Outside

RECENT, CHANGE = "eqiad.mediawiki.recentchange", "eqiad.mediawiki.page_change.v1"
QUIET = 0.7  # seconds after which nothing more is taken to come


def stamp(event: Event) -> int:
    """``meta.dt`` in milliseconds."""
    return round(datetime.fromisoformat(event.data["meta"]["dt"]).timestamp() * 1000)


def place(topic: str, **where: int) -> dict[str, Any]:
    """An entry of a token."""
    return {"topic": topic, "partition": 0, **where}


async def seen(
    outside: Outside, entries: Sequence[Any], streams: Sequence[str] = STREAMS, since: str | None = None
) -> list[Event]:
    """This test's events that a connection with that token delivers, until it falls quiet."""
    found = []
    async with outside.connect(streams, since, json.dumps(entries)) as response:
        events = read(response)
        try:
            while True:
                event = await asyncio.wait_for(anext(events), QUIET)
                if outside.prefix in (event.data.get("title") or title_of(event)):
                    found.append(event)
        except TimeoutError:
            return found


async def edits(outside: Outside, count: int) -> list[Event]:
    """So many edits of one page, each in a millisecond of its own; their recentchange events."""
    for n in range(count):
        await outside.wiki.edit(outside.name("A"), f"text {n}")
        await asyncio.sleep(0.02)
    return await outside.events(lambda found: len(found) == count, ["recentchange"])


async def test_each_line_is_a_chunk_of_its_own(outside: Outside) -> None:
    async with outside.connect(["recentchange"]) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        await asyncio.sleep(0.1)
        await outside.wiki.edit(outside.name("A"), "one")
        chunks, whole = [], b""
        async for piece, ends in response.content.iter_chunks():
            whole += piece
            if ends:
                chunks.append(whole)
                whole = b""
            if len(chunks) == 4:
                break
    assert [chunk[:6] for chunk in chunks] == [b":ok\n\n", b"event:", b"id: [{", b"data: "]
    assert [chunk.count(b"\n") for chunk in chunks] == [2, 1, 1, 2]


async def test_an_idle_stream_is_silent(outside: Outside) -> None:
    async with outside.connect(["mediawiki.revision-visibility-change"]) as response:
        assert await response.content.readexactly(5) == b":ok\n\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), QUIET)


async def test_an_id_names_every_topic_of_both_data_centres(outside: Outside) -> None:
    async with outside.connect(STREAMS) as response:
        await asyncio.sleep(0.1)
        await outside.wiki.edit(outside.name("A"), "one")
        event = await asyncio.wait_for(anext(read(response)), 10)
    topics = [entry["topic"] for entry in event.position]
    names = [name if name.startswith("mediawiki.") else f"mediawiki.{name}" for name in STREAMS]
    assert sorted(topics) == sorted(f"{centre}.{name}" for centre in ("eqiad", "codfw") for name in names)
    own = event.data["meta"]["topic"]
    for entry in event.position:
        assert entry == (place(own, timestamp=stamp(event) + 1) if entry["topic"] == own else place(entry["topic"], offset=-1))
    assert event.data["meta"].keys() >= {"id", "dt", "stream", "topic", "partition", "offset"}


async def test_a_token_resumes_after_its_event_and_a_millisecond_before_it_repeats_it(outside: Outside) -> None:
    first, second, third = await edits(outside, 3)
    later = await seen(outside, first.position, ["recentchange"])
    assert [event.data["meta"]["id"] for event in later] == [event.data["meta"]["id"] for event in (second, third)]
    again = await seen(outside, [place(RECENT, timestamp=stamp(first))], ["recentchange"])
    assert [event.data["meta"]["id"] for event in again] == [event.data["meta"]["id"] for event in (first, second, third)]


async def test_the_resolved_entries_of_other_topics_are_offsets(outside: Outside) -> None:
    (event,) = await edits(outside, 1)
    other = f"codfw{RECENT.removeprefix('eqiad')}"
    (again,) = await seen(outside, [place(RECENT, timestamp=stamp(event)), place(other, timestamp=2**41)])
    assert again.position == [place(RECENT, timestamp=stamp(event) + 1), place(other, offset=-1)]


async def test_latest_in_a_token_loses_what_came_meanwhile(outside: Outside) -> None:
    async with outside.connect(STREAMS[:2]) as response:
        await asyncio.sleep(0.1)
        await outside.wiki.edit(outside.name("A"), "one")
        event = await asyncio.wait_for(anext(read(response)), 10)
    token = [place(RECENT, timestamp=stamp(event)), place(CHANGE, offset=-1)]
    await outside.wiki.edit(outside.name("A"), "two")
    await outside.events(lambda found: sum(one.stream == "page_change.v1" for one in found) == 2)
    assert {one.stream for one in await seen(outside, token)} == {"recentchange"}


async def test_a_token_beats_since_and_streams(outside: Outside) -> None:
    (event, *_) = await edits(outside, 2)
    found = await seen(outside, [place(RECENT, timestamp=stamp(event))], since="2001-01-01T00:00:00Z")
    assert len(found) == 2
    assert all(one.stream == "recentchange" and len(one.position) == 1 for one in found)


async def test_offsets_are_exact(outside: Outside) -> None:
    first, second = await edits(outside, 2)
    (again,) = await seen(outside, [place(RECENT, offset=first.data["meta"]["offset"] + 1)])
    assert again.data["meta"]["id"] == second.data["meta"]["id"]


async def test_entries_with_both_are_ignored(outside: Outside) -> None:
    (event,) = await edits(outside, 1)
    both = place(CHANGE, timestamp=1, offset=event.data["meta"]["offset"])
    found = await seen(outside, [place(RECENT, timestamp=stamp(event)), both])
    assert [one.stream for one in found] == ["recentchange"]


async def test_an_unknown_partition_is_silence(outside: Outside) -> None:
    await edits(outside, 1)
    assert await seen(outside, [{"topic": RECENT, "partition": 7, "offset": 0}]) == []


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("hello", 400),
        ("", 400),
        ("[]", 400),
        (json.dumps(place(RECENT, offset=1)), 400),
        (json.dumps([place(RECENT)]), 400),
        (json.dumps([{"topic": RECENT, "partition": 0, "timestamp": 1.5}]), 400),
        (json.dumps([{"topic": RECENT, "timestamp": 1}]), 400),
        (json.dumps([place("eqiad.nope", offset=0)]), 404),
        (json.dumps([place(RECENT, offset=0), place(RECENT, offset=3)]), 500),
        (json.dumps([RECENT]), 200),
        (json.dumps([place(RECENT, offset=10**9)]), 200),
    ],
)
async def test_a_bad_token_is_refused_before_the_stream_starts(outside: Outside, token: str, status: int) -> None:
    async with outside.connect(["recentchange"], last_event_id=token) as response:
        assert response.status == status
        if status in {400, 404}:
            assert json.loads(await response.text())["statusCode"] == status


async def test_a_stream_taken_off_the_list_makes_its_token_unknown(outside: Outside) -> None:
    token = json.dumps([place(RECENT, timestamp=1), place(CHANGE, timestamp=1)])
    async with outside.connect(["recentchange"], last_event_id=token) as response:
        assert response.status == 404


@pytest.mark.parametrize("streams", [["nope"], ["recentchange", "nope"]])
async def test_an_unknown_stream_is_400(outside: Outside, streams: list[str]) -> None:
    async with outside.connect(streams) as response:
        assert response.status == 400
        assert (await response.json())["title"] == "Stream Not Found"


@pytest.mark.parametrize("name", ["recentchange", "mediawiki.recentchange", "revision-create", "mediawiki.page_change.v1"])
async def test_streams_have_aliases(outside: Outside, name: str) -> None:
    async with outside.connect([name]) as response:
        assert response.status == 200


async def test_since_is_a_time(outside: Outside) -> None:
    first, second = await edits(outside, 2)
    moment = datetime.fromtimestamp(stamp(second) / 1000, UTC).isoformat(timespec="milliseconds")
    async with outside.connect(["recentchange"], moment) as response:
        async for event in read(response):
            assert event.data["meta"]["id"] != first.data["meta"]["id"]
            if event.data["meta"]["id"] == second.data["meta"]["id"]:
                break


@pytest.mark.parametrize("unit", [1, 1000])
async def test_a_number_is_taken_for_the_beginning(outside: Outside, unit: int) -> None:
    await edits(outside, 1)
    async with outside.connect(["recentchange"], str(round(time.time() * unit))) as response:
        event = await asyncio.wait_for(anext(read(response)), 10)
    assert event.data["meta"]["offset"] == 0


@pytest.mark.parametrize("ahead", [timedelta(hours=1), None])
async def test_later_than_the_end_is_latest_and_so_is_nothing(outside: Outside, ahead: timedelta | None) -> None:
    await edits(outside, 1)
    since = (datetime.now(UTC) + ahead).isoformat() if ahead else ""
    async with outside.connect(["recentchange"], since) as response:
        await asyncio.sleep(0.3)
        await outside.wiki.edit(outside.name("B"), "one")
        async for event in read(response):
            assert event.data["title"] != outside.name("A")
            if event.data["title"] == outside.name("B"):
                break


async def test_nonsense_for_a_time_is_400(outside: Outside) -> None:
    async with outside.connect(["recentchange"], "yesterday") as response:
        assert response.status == 400
        assert (await response.json())["type"] == "invalid_timestamp"


async def test_a_cut_is_an_error_to_the_reader(outside: Outside) -> None:
    async with outside.connect(["recentchange"]) as response:
        await response.content.readexactly(5)
        await outside.wiki.cut()
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(response.content.read(), 10)
