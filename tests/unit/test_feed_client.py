from __future__ import annotations

import asyncio
import inspect
import json
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from syncer.config import FeedSettings
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.errors import FeedUnavailable, Misconfigured, Refused, Retry
from syncer.feed import Batch, Delivered, Feed
from syncer.feed.position import iso, milliseconds
from syncer.feed.sse import Rejected
from syncer.feed.trouble import Trouble
from syncer.feed.vitals import QUIET_AFTER
from syncer.model import Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

EQIAD, CODFW = ("eqiad.mediawiki.recentchange", 0), ("codfw.mediawiki.recentchange", 0)
PAGES = ("eqiad.mediawiki.page_change.v1", 0)
T0 = 1_795_496_400_000
SINCE = "2026-11-24T05:00:00Z"  # that
PATIENCE = 10.0  # seconds; nothing here takes one


def block(at: int, data: str = "{}", source: tuple[str, int] = EQIAD) -> bytes:
    entries = [{"topic": source[0], "partition": source[1], "timestamp": at + 1}]
    entries += [{"topic": other[0], "partition": 0, "offset": -1} for other in (EQIAD, CODFW) if other != source]
    return b"event: message\nid: %b\ndata: %b\n\n" % (json.dumps(entries).encode(), data.encode())


def streaming(*chunks: bytes, then: str = "hang") -> Behaviour:
    """Send these, then go on as if there were nothing, close, or reset the connection."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for chunk in (b":ok\n\n", *chunks):
            await response.write(chunk)
        if then == "reset":
            await asyncio.sleep(0.05)
            assert request.transport
            request.transport.abort()
        elif then == "hang":
            await asyncio.Event().wait()
        return response

    return behave


def answering(status: int, **headers: str) -> Behaviour:
    async def behave(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="no", headers={name.replace("_", "-"): value for name, value in headers.items()})

    return behave


async def mute(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


@dataclass
class Server:
    """Behaves one connection after the other as it is told, and stays with the last."""

    url: str = ""
    behaviours: list[Behaviour] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await (self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0])(request)

    def token(self, number: int) -> Any:
        """The ``Last-Event-ID`` of a request."""
        return json.loads(self.requests[number].headers["Last-Event-ID"])


@asynccontextmanager
async def reading(*behaviours: Behaviour, start: Position | None = None, **settings: Any) -> AsyncIterator[tuple[Feed, Server]]:
    server = Server(behaviours=list(behaviours))
    app = web.Application()
    app.router.add_get("/v2/stream/{streams}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2/stream/"
    feed = Feed(
        FeedSettings.model_validate({"url": server.url, "streams": ["recentchange"], "since": SINCE, **settings}), "us/1 (bot)"
    )
    feed.start(start or Position())
    try:
        yield feed, server
    finally:
        await feed.close()
        await runner.cleanup()


async def read(feed: Feed) -> Batch:
    return await asyncio.wait_for(feed.read(), PATIENCE)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Retry]:
    """What the feed takes for a failure; it is not waited for."""
    found: list[Retry] = []

    def failed(_: Trouble, error: Retry) -> float:
        found.append(error)
        return 0.0

    monkeypatch.setattr(Trouble, "failed", failed)
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.0)
    return found


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


# -- no connection ---------------------------------------------------------------------------------------------------------


async def test_a_server_that_sends_no_headers_is_not_waited_for(failures: list[Retry]) -> None:
    async with reading(mute, streaming(block(T0)), header_timeout=0.1) as (feed, _):
        await read(feed)
        assert list(map(str, failures)) == ["no answer within 0.1 s"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_for_good_stops(status: int) -> None:
    async with reading(answering(status)) as (feed, _):
        with pytest.raises(Refused, match=str(status)) as stop:
            await read(feed)
        assert stop.value.hint


@pytest.mark.parametrize(
    ("status", "header", "after"),
    [
        (429, {"Retry_After": "7"}, 7.0), (429, {}, None), (503, {"Retry_After": "2"}, 2.0), (500, {}, None), (502, {}, None),
        (503, {"Retry_After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0), (503, {"Retry_After": "soon"}, None), (408, {}, None),
        (503, {"Retry_After": "-3"}, None),
    ],
)  # fmt: skip
async def test_passing_refusals_are_waited_out(
    status: int, header: dict[str, str], after: float | None, failures: list[Retry]
) -> None:
    async with reading(answering(status, **header), streaming(block(T0))) as (feed, _):
        await read(feed)
        assert [(type(error), error.after) for error in failures] == [(FeedUnavailable, after)]


async def test_a_retry_after_may_be_a_date(failures: list[Retry]) -> None:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    async with reading(answering(503, Retry_After=date), streaming(block(T0))) as (feed, _):
        await read(feed)
        assert failures[0].after
        assert 95 < failures[0].after <= 100


@pytest.mark.parametrize("status", [400, 404])
async def test_a_token_that_is_refused_is_dropped_for_since(status: int, failures: list[Retry]) -> None:
    position = Position({EQIAD: T0, CODFW: T0 - 5000, (EQIAD[0], 7): T0})
    behaviours = answering(status), streaming(block(T0 + 60_000), then="close"), streaming(block(T0 + 60_001))
    async with reading(*behaviours, start=position, rewind=1) as (feed, server):
        batch = await read(feed)
        assert server.requests[1].query["since"] == iso(T0 - 1000)
        assert "Last-Event-ID" not in server.requests[1].headers
        assert batch.position == Position({EQIAD: T0 + 60_000, CODFW: T0 - 1000})
        await read(feed)
        assert {entry["topic"]: entry["timestamp"] for entry in server.token(2)} == {EQIAD[0]: T0 + 59_000, CODFW[0]: T0 - 2000}
        assert [type(error) for error in failures] == [FeedUnavailable]


@pytest.mark.parametrize("behaviour", [answering(400), answering(404), answering(301, Location="/"), answering(200)])
async def test_a_first_connection_that_is_refused_is_a_mistake_in_the_settings(behaviour: Behaviour) -> None:
    async with reading(behaviour) as (feed, server):
        with pytest.raises(Misconfigured) as stop:
            await read(feed)
        assert stop.value.hint
        assert len(server.requests) == 1


@pytest.mark.parametrize("behaviour", [answering(400), answering(404), answering(301, Location="/"), answering(200)])
async def test_a_later_one_is_trouble_of_the_servers(behaviour: Behaviour, failures: list[Retry]) -> None:
    behaviours = streaming(block(T0), then="close"), behaviour, behaviour, streaming(block(T0 + 1))
    async with reading(*behaviours) as (feed, _):
        await read(feed)
        await read(feed)
        assert [type(error) for error in failures] == [FeedUnavailable] * 2


async def test_a_server_that_is_away_is_waited_for(failures: list[Retry]) -> None:
    async with reading(streaming(block(T0))) as (feed, _):
        url, feed._url = feed._url, "http://127.0.0.1:9/v2/stream/recentchange"
        task = asyncio.create_task(read(feed))
        while len(failures) < 3:  # noqa: ASYNC110 -- a list tells nobody that it grows
            await asyncio.sleep(0.01)
        feed._url = url
        assert (await task).events
        assert {type(error) for error in failures} == {FeedUnavailable}
        assert "ClientConnectorError" in str(failures[0])


def test_every_exception_of_the_client_library_has_its_fate() -> None:
    exceptions = [value for value in vars(aiohttp.client_exceptions).values() if inspect.isclass(value)]
    found = {value for value in exceptions if issubclass(value, Exception) and value.__module__.startswith("aiohttp")}
    assert len(found) > 25
    # InvalidURL is a mistake in the settings, the rest is waited out; what is left over belongs to websockets.
    assert {each for each in found if not issubclass(each, aiohttp.ClientError | OSError)} == {aiohttp.WSMessageTypeError}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"streams": ["recentchange", "mediawiki.nope"]}, "feed.streams"), ({"streams": []}, "feed.streams"),
        ({"streams": ["page_change.v1"]}, "feed.streams"), ({"since": "yesterday"}, "feed.since"),
        ({"since": "1795487525"}, "feed.since"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said) as stop:
        Feed(FeedSettings.model_validate(settings), "us/1")
    assert stop.value.hint


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://stream.example/v2", "http://[1"])
async def test_an_address_that_is_none(url: str) -> None:
    feed = Feed(FeedSettings(url=url), "us/1")
    with pytest.raises(Misconfigured, match=r"feed\.url"):
        await read(feed)
    await feed.close()


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
