from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from syncer.config import FeedSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.feed import Delivered, Feed
from syncer.feed.position import iso, milliseconds
from syncer.feed.sse import Rejected
from syncer.feed.vitals import QUIET_AFTER
from syncer.model import Position
from tests.feed_server import (
    CODFW,
    EQIAD,
    PAGES,
    PATIENCE,
    T0,
    answering,
    block,
    read,
    reading,
    streaming,
    unwaited,
)

if TYPE_CHECKING:
    from syncer.errors import Retry


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Retry]:
    return unwaited(monkeypatch)


# -- a connection ----------------------------------------------------------------------------------------------------------


async def test_events_are_delivered_with_where_they_came_from_and_the_position_after_them() -> None:
    stream = streaming(block(T0, '{"a":1}'), block(T0 + 5, '{"b":2}', CODFW) + block(T0 + 3, "{}"))
    async with reading(stream) as (feed, _):
        events: list[Delivered] = []
        position = Position()
        while len(events) < 3:
            batch = await read(feed)
            events, position = [*events, *batch.events], batch.position
        assert events == [Delivered(EQIAD, T0, b'{"a":1}'), Delivered(CODFW, T0 + 5, b'{"b":2}'), Delivered(EQIAD, T0 + 3, b"{}")]
        assert position == Position({EQIAD: T0 + 3, CODFW: T0 + 5})
        assert feed.connected
        assert (feed.counts.events, feed.newest) == (3, T0 + 5)
    assert not feed.connected


async def test_how_a_stream_is_asked_for() -> None:
    streams = ["recentchange", "mediawiki.page_change.v1"]
    async with reading(streaming(block(T0)), streams=streams) as (feed, server):
        await read(feed)
        request = server.requests[0]
        assert request.path == "/v2/stream/recentchange,mediawiki.page_change.v1"
        assert request.headers["User-Agent"] == "us/1 (bot)"
        assert request.headers["Accept"] == "text/event-stream"
        assert "gzip" not in request.headers["Accept-Encoding"]
        assert "Last-Event-ID" not in request.headers
        assert dict(request.query) == {"since": "2026-11-24T05:00:00.000Z"}


async def test_without_since_the_start_is_now() -> None:
    async with reading(streaming(block(T0)), since=None) as (feed, server):
        await read(feed)
        assert abs(milliseconds(server.requests[0].query["since"]) / 1000 - time.time()) < 60
        assert server.requests[0].query["since"] == iso(feed.begin)


async def test_a_position_is_sent_as_a_token_of_rewound_timestamps() -> None:
    position = Position({EQIAD: T0, CODFW: T0 - 5000, PAGES: T0})
    async with reading(streaming(block(T0 + 1)), start=position, rewind=2.5) as (feed, server):
        await read(feed)
        assert server.token(0) == [
            {"topic": CODFW[0], "partition": 0, "timestamp": T0 - 7500},
            {"topic": EQIAD[0], "partition": 0, "timestamp": T0 - 2500},
        ]
        assert not server.requests[0].query


async def test_a_stream_added_to_the_settings_is_subscribed() -> None:
    position = Position({EQIAD: T0, CODFW: T0 - 5000})
    streams = ["recentchange", "mediawiki.page_change.v1"]
    async with reading(streaming(block(T0 + 1)), start=position, streams=streams, rewind=1) as (feed, server):
        await read(feed)
        assert "Last-Event-ID" not in server.requests[0].headers
        assert server.requests[0].query["since"] == iso(T0 - 1000)


async def test_now_and_then_new_partitions_are_looked_for(failures: list[Retry]) -> None:
    position = Position({EQIAD: T0})
    stream = streaming(block(T0 + 60_000), then="close")
    async with reading(stream, start=position, rewind=1) as (feed, server):
        await read(feed)
        feed._discover_at = 0
        await read(feed)
        await read(feed)
        assert ["since" in request.query for request in server.requests] == [False, True, False]
        # The other data centre came with the first id, and has had no time to say that it has nothing.
        assert server.requests[1].query["since"] == iso(T0 - 2000)


async def test_who_delivered_nothing_yet_is_asked_for_from_the_start(failures: list[Retry]) -> None:
    async with reading(streaming(block(T0 + 60_000), then="close"), rewind=0) as (feed, server):
        await read(feed)
        await read(feed)
        assert server.token(1) == [
            {"topic": CODFW[0], "partition": 0, "timestamp": T0},
            {"topic": EQIAD[0], "partition": 0, "timestamp": T0 + 60_000},
        ]


async def test_a_block_too_long_is_handed_on_and_the_next_event_delivered() -> None:
    long = b"data: " + b"x" * 5000 + b"\n\n"
    async with reading(streaming(long + block(T0)), max_block=1000) as (feed, _):
        batch = await read(feed)
        assert batch.rejected == [Rejected(5006, long[:1000])]
        assert len(batch.events) == 1


# -- its end ---------------------------------------------------------------------------------------------------------------


async def test_a_connection_is_given_up_before_the_edge_cuts_it(failures: list[Retry]) -> None:
    async with reading(streaming(block(T0)), connect_for=0.15) as (feed, server):
        begin = time.monotonic()
        for _ in range(3):
            await read(feed)
        assert 0.25 < time.monotonic() - begin < PATIENCE
        assert feed.counts.ends == {"planned": 2}
        assert [len(request.query) for request in server.requests] == [1, 0, 0]
        assert not failures


async def test_a_silent_connection_is_given_up(failures: list[Retry]) -> None:
    async with reading(streaming(), streaming(block(T0)), idle_timeout=0.1) as (feed, _):
        await read(feed)
        assert feed.counts.ends == {"idle": 1}


@pytest.mark.parametrize(("then", "end"), [("close", "closed"), ("reset", "broken")])
async def test_an_end_in_the_middle_of_an_event_loses_nothing(then: str, end: str, failures: list[Retry]) -> None:
    first = streaming(block(T0), block(T0 + 1, '{"whole":1}')[:-1], then=then)
    async with reading(first, streaming(block(T0 + 1, '{"whole":1}'))) as (feed, server):
        assert (await read(feed)).position.timestamps[EQIAD] == T0
        assert [event.data for event in (await read(feed)).events] == [b'{"whole":1}']
        assert feed.counts.ends == {end: 1}
        assert server.token(1)[1]["timestamp"] == T0 - 30_000
        assert not failures


async def test_an_error_event_ends_a_connection_after_what_came_before_it(failures: list[Retry]) -> None:
    first = streaming(block(T0) + b'event: error\ndata: {"message":"no"}\n\n' + block(T0 + 9), then="close")
    async with reading(first, streaming(block(T0 + 1))) as (feed, _):
        assert [event.at for event in (await read(feed)).events] == [T0]
        assert [event.at for event in (await read(feed)).events] == [T0 + 1]
        assert list(map(str, failures)) == ["the server reported an error in the stream"]


async def test_a_connection_that_ends_at_once_is_a_failure(failures: list[Retry]) -> None:
    async with reading(streaming(then="close"), streaming(block(T0))) as (feed, _):
        await read(feed)
        assert list(map(str, failures)) == ["the connection was closed before anything came"]


@pytest.mark.parametrize(("then", "bound"), [("close", [(0, 1)]), ("reset", [(0, 1)]), ("hang", [])])
async def test_the_wait_after_an_ordinary_end_is_short_and_after_a_planned_one_none(
    then: str, bound: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return 0.0

    monkeypatch.setattr("random.uniform", uniform)
    async with reading(streaming(block(T0), then=then), connect_for=0.3) as (feed, _):
        for _ in range(4):
            await read(feed)
        assert bounds == bound * 3


async def test_the_next_connection_may_name_things_in_another_order(failures: list[Retry]) -> None:
    async with reading(streaming(block(T0), then="close"), streaming(block(T0, "{}", CODFW))) as (feed, _):
        assert [event.source for event in (await read(feed)).events] == [EQIAD]
        batch = await read(feed)
        assert [event.source for event in batch.events] == [CODFW]


# -- what is told ----------------------------------------------------------------------------------------------------------


async def test_failures_are_told_once_and_so_is_the_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.0)
    with capture_logs() as logs:
        async with reading(answering(503), answering(503), answering(503), streaming(block(T0))) as (feed, _):
            await read(feed)
    told = [(line["event"], line.get("failures")) for line in logs if line["log_level"] != "debug"]
    assert told == [("trouble, trying again", None), ("recovered", 3)]


async def test_a_topic_gone_quiet_is_reported_and_so_is_its_return(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = streaming(block(T0), then="close"), streaming(block(T0 + 1), then="close"), streaming(block(T0 + 5, "{}", CODFW))
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.0)
    with capture_logs() as logs:
        async with reading(*stream) as (feed, _):
            await read(feed)
            feed._vitals._heard[CODFW] -= QUIET_AFTER + 1
            feed._look_at = 0
            await read(feed)
            assert list(feed.quiet) == [CODFW[0]]
            feed._look_at = 0
            await read(feed)
            assert feed.quiet == {}
    told = [(line["event"].split(",")[0], line["topic"]) for line in logs if line["log_level"] != "debug"]
    assert told == [("feed: a topic has gone quiet", CODFW[0]), ("feed: a topic speaks again", CODFW[0])]


async def test_the_feed_time_is_what_was_returned_but_for_disorder() -> None:
    async with reading(streaming(block(T0 + 60_000)), rewind=2) as (feed, _):
        assert feed.feed_time() is None
        await read(feed)
        assert feed.feed_time() == T0 - 2000  # the other data centre has not spoken since
        feed._vitals._heard[CODFW] -= 100
        feed._vitals.listening(time.monotonic() - 100)
        assert feed.feed_time() == T0 + 58_000


async def test_a_new_start_forgets_the_connection_and_how_far_the_last_one_was() -> None:
    async with reading(streaming(block(T0 + 60_000)), rewind=0) as (feed, server):
        await read(feed)
        await feed.hang_up()
        feed.start(Position({EQIAD: T0}))
        assert feed.feed_time() is None
        await read(feed)
        assert server.token(1) == [{"topic": EQIAD[0], "partition": 0, "timestamp": T0}]


# -- against the farm that the demo runs on --------------------------------------------------------------------------------


@pytest.mark.parametrize(("cut", "chunk"), [("clean", "line"), ("abrupt", "event"), ("midevent", 7), ("error", 1000)])
async def test_nothing_is_lost_however_connections_end(cut: Any, chunk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.01)
    farm = Farm(pages=50, seed=5)
    farm.faults = replace(farm.faults, cut=cut, cut_after=0.15, chunk=chunk, duplicate=0.1, reorder=0.1, canary_every=0.3)
    streams = ("recentchange", "mediawiki.page_change.v1", "mediawiki.revision-create")
    async with serve(farm) as upstream:
        settings = FeedSettings(url=upstream.feed_url, streams=streams, rewind=1.0)
        feed, seen = Feed(settings, "us/1"), set[bytes]()

        async def follow() -> None:
            while True:
                seen.update(event.data for event in (await feed.read()).events)

        following = asyncio.create_task(follow())
        while not feed.connected:  # noqa: ASYNC110 -- nor does the feed
            await asyncio.sleep(0.01)
        workload = Workload(farm, seed=5)
        for number in range(60):
            farm.faults = replace(farm.faults, datacentre=("eqiad", "codfw")[number // 20 % 2])
            workload.step()
            await asyncio.sleep(0.02)
        farm.log.flush()
        wanted = {
            record.data
            for (topic, _), partition in farm.log.partitions.items()
            if "visibility" not in topic
            for record in partition.read(partition.base, 10**6)
        }
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not wanted <= seen:  # noqa: ASYNC110 -- nor does a set
                    await asyncio.sleep(0.05)
        following.cancel()
        await feed.close()
        assert wanted <= seen
        assert len(upstream.feed.connections) > 4
