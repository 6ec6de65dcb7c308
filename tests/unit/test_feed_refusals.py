from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from syncer.config import FeedSettings
from syncer.errors import FeedUnavailable, Misconfigured, Refused, Retry
from syncer.feed import Feed
from syncer.feed.position import iso
from syncer.model import Position
from tests.feed_server import (
    CODFW,
    EQIAD,
    T0,
    answering,
    block,
    mute,
    read,
    reading,
    streaming,
    unwaited,
)

if TYPE_CHECKING:
    from tests.feed_server import Behaviour


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Retry]:
    return unwaited(monkeypatch)


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


@pytest.mark.parametrize("behaviour", [answering(400), answering(404), answering(301, Location="/"), answering(200)])
async def test_so_is_one_after_a_restart_with_the_same_streams(behaviour: Behaviour, failures: list[Retry]) -> None:
    """A passing 404 must not keep the hub down: with a position of theirs, the streams could be read before."""
    position = Position({EQIAD: T0})
    async with reading(behaviour, behaviour, behaviour, streaming(block(T0 + 1)), start=position) as (feed, _):
        await read(feed)
        assert [type(error) for error in failures] == [FeedUnavailable] * 3
        assert all("feed.url" in (error.hint or "") for error in failures)


async def test_other_streams_than_before_may_be_a_mistake() -> None:
    position = Position({("eqiad.mediawiki.revision-create", 0): T0})
    async with reading(answering(404), start=position) as (feed, _):
        with pytest.raises(Misconfigured, match="404"):
            await read(feed)


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
        ({"streams": ["recentchange", "mediawiki.nope"]}, "feed.streams"),
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
