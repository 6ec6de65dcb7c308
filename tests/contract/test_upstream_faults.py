"""Only the fake: what it does wrong on demand, and what production does that a lab does not."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from syncer.demo.actions import Workload
from syncer.demo.events import RECENT_CHANGE
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.demo.sites import SITES, Site
from tests.contract.upstream import AGENT, COMMON, FULL, Event, all_events, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from syncer.demo.server import Upstream
    from syncer.demo.wiki import Wiki

TEST = Site(wiki_id="testwiki", domain="test.wikipedia.org")


class Served:
    """A served farm of one wiki and somebody who reads it."""

    def __init__(self, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        self.upstream = upstream
        self.session = session

    @property
    def wiki(self) -> Wiki:
        return self.upstream.farm["testwiki"]

    def set(self, **faults: Any) -> None:
        self.upstream.faults = replace(self.upstream.faults, **faults)

    def ask(self, **params: str) -> Any:
        url = self.upstream.api_url.format(wiki_id="testwiki")
        return self.session.get(url, params={**COMMON, **FULL, "revids": "1", **params}, allow_redirects=False)

    def connect(self, streams: str = "recentchange", **headers: str) -> Any:
        return self.session.get(f"{self.upstream.feed_url}/{streams}", headers=headers)

    async def events(self, count: int, streams: str = "recentchange") -> list[Event]:
        """The first events since the beginning."""
        found: list[Event] = []
        async with asyncio.timeout(10), self.connect(f"{streams}?since=2001-01-01T00:00:00Z") as response:
            async for event in read(response):
                found.append(event)
                if len(found) == count:
                    break
        return found


@asynccontextmanager
async def serving(farm: Farm) -> AsyncIterator[Served]:
    async with serve(farm) as upstream, aiohttp.ClientSession(headers=AGENT) as session:
        yield Served(upstream, session)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(Farm([TEST])) as one:
        one.wiki.edit("A", "one " * 50)
        yield one


@pytest.mark.parametrize(
    ("mishap", "status", "header", "starts"),
    [
        ("maxlag", 200, {"Retry-After": "5", "MediaWiki-API-Error": "maxlag"}, b'{"errors":'),
        ("ratelimited", 200, {"MediaWiki-API-Error": "ratelimited"}, b'{"errors":'),
        ("internal_error", 200, {"MediaWiki-API-Error": "internal_api_error_DBQueryError"}, b'{"errors":'),
        ("throttled", 429, {"Retry-After": "1"}, b"Too many"),
        ("throttled_bare", 429, {}, b"Too many"),
        ("throttled_text", 200, {"Content-Type": "text/plain"}, b"Too many"),
        ("server_error", 500, {}, b"<!DOCTYPE"),
        ("unavailable", 503, {"Retry-After": "1"}, b"<!DOCTYPE"),
        ("not_json", 200, {"Content-Type": "text/html"}, b"<!DOCTYPE"),
        ("elsewhere", 302, {"Location": "http://elsewhere.invalid/w/api.php"}, b""),
        ("unauthorized", 401, {}, b'{"error"'),
        ("forbidden", 403, {}, b"Requests"),
    ],
)
async def test_a_mishap_is_another_answer(
    served: Served, mishap: Any, status: int, header: dict[str, str], starts: bytes
) -> None:
    served.upstream.api.script.append(mishap)
    async with served.ask() as response:
        assert response.status == status
        assert header.items() <= dict(response.headers).items()
        assert ("Retry-After" in response.headers) == ("Retry-After" in header)
        assert (await response.read()).startswith(starts)
    async with served.ask() as response:
        assert "pages" in (await response.json())["query"]
    assert [(asked.mishap, asked.status) for asked in served.upstream.api.requests] == [(mishap, status), (None, 200)]


async def test_a_truncated_answer_is_half_the_json(served: Served) -> None:
    async with served.ask() as response:
        whole = await response.text()
    served.upstream.api.script.append("truncated")
    served.set(gzip=0)
    async with served.ask() as response:
        half = await response.text()
        assert (response.status, whole.startswith(half), len(half)) == (200, True, len(whole.encode()) // 2)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(half)


@pytest.mark.parametrize("mishap", ["reset", "cut"])
async def test_a_broken_connection_is_an_error_to_the_client(served: Served, mishap: Any) -> None:
    served.upstream.api.script.append(mishap)
    url = served.upstream.api_url.format(wiki_id="testwiki")
    with pytest.raises(aiohttp.ClientError):
        async with served.session.post(url, data={**COMMON, **FULL, "revids": "1"}) as response:
            await response.read()
    (asked,) = served.upstream.api.requests
    assert asked.mishap == mishap


async def test_a_get_that_is_reset_is_sent_twice_by_the_client_library_unasked(served: Served) -> None:
    served.upstream.api.script.append("reset")
    async with served.ask() as response:
        assert response.status == 200
    assert [asked.mishap for asked in served.upstream.api.requests] == ["reset", None]


async def test_an_oversized_answer_has_as_many_bytes_as_told(served: Served) -> None:
    served.set(oversize=300_000)
    served.upstream.api.script.append("oversized")
    async with served.ask() as response:
        assert len(await response.read()) > 300_000


async def test_a_hanging_answer_holds_up_nothing_else(served: Served) -> None:
    served.upstream.api.script.append("hang")
    hanging = asyncio.ensure_future(served.ask().__aenter__())
    await asyncio.sleep(0.1)
    async with served.ask() as response:
        assert response.status == 200
    assert not hanging.done()
    hanging.cancel()
    await asyncio.sleep(0.05)
    assert [asked.status for asked in served.upstream.api.requests] == [0, 200]
    assert [asked.in_flight for asked in served.upstream.api.requests] == [1, 2]


async def test_a_broken_wiki_leaves_the_others_whole() -> None:
    async with serving(Farm([TEST, SITES[0]])) as served:
        served.set(broken={"testwiki": "unavailable"})
        async with served.ask() as broken, served.session.get(served.upstream.api_url.format(wiki_id="enwiki")) as whole:
            assert (broken.status, whole.status) == (503, 200)


async def test_mishaps_come_by_chance(served: Served) -> None:
    served.set(mishaps={"throttled": 0.3, "unavailable": 0.3})
    statuses = []
    for _ in range(60):
        async with served.ask() as response:
            statuses.append(response.status)
    assert 8 < statuses.count(429) < 30
    assert 8 < statuses.count(503) < 30
    assert statuses.count(200) > 10


async def test_beyond_the_budget_there_is_429(served: Served) -> None:
    served.set(budget=3)
    statuses = []
    for _ in range(5):
        async with served.ask() as response:
            statuses.append(response.status)
    assert statuses == [200, 200, 200, 429, 429]


async def test_lag_is_an_error_where_the_request_allows_less(served: Served) -> None:
    served.set(lag=6.0)
    async with served.ask() as response:
        assert (await response.json())["errors"][0]["data"] == {"host": "db1", "lag": 6.0, "type": "db"}
    served.set(lag=4.0)
    async with served.ask() as response:
        assert "badrevids" in (await response.json())["query"]


async def test_an_answer_takes_its_time_and_is_logged(served: Served) -> None:
    served.set(latency=0.1)
    begin = time.monotonic()
    async with served.ask(revids="1|2|3") as response:
        sent = response.content_length
        assert (await response.json())["query"]["badrevids"].keys() == {"2", "3"}
    assert time.monotonic() - begin >= 0.1
    (asked,) = served.upstream.api.requests
    assert (asked.wiki_id, asked.source, asked.count, asked.status, asked.size) == ("testwiki", "revids", 3, 200, sent)
    assert asked.user_agent == AGENT["User-Agent"]
    assert begin <= asked.at < begin + 0.1


async def test_answers_are_compressed_for_those_who_say_so(served: Served) -> None:
    for coding, level, packed in (("gzip", 6, True), ("identity", 6, False), ("gzip", 0, False)):
        served.set(gzip=level)
        url = served.upstream.api_url.format(wiki_id="testwiki")
        async with (
            aiohttp.ClientSession(headers={**AGENT, "Accept-Encoding": coding}, auto_decompress=False) as session,
            session.get(url, params={**COMMON, **FULL, "revids": "1"}) as response,
        ):
            body = await response.read()
        assert (response.headers.get("Content-Encoding") == "gzip") == packed
        assert b"badrevids" not in (gzip.decompress(body) if packed else body)


async def test_without_a_user_agent_both_doors_are_shut(served: Served) -> None:
    async with aiohttp.ClientSession(skip_auto_headers=["User-Agent"]) as nobody:
        for url in (f"{served.upstream.feed_url}/recentchange", served.upstream.api_url.format(wiki_id="testwiki")):
            async with nobody.get(url) as response:
                assert response.status == 403


async def test_a_wiki_is_served_by_id_and_by_domain(served: Served) -> None:
    for name, status in (("testwiki", 200), ("test.wikipedia.org", 200), ("nowiki", 404)):
        async with served.session.get(served.upstream.api_url.format(wiki_id=name), params={**COMMON, **FULL}) as response:
            assert response.status == status


async def test_page_change_has_no_alias(served: Served) -> None:
    async with served.connect("page_change.v1") as response:
        assert response.status == 400


async def test_a_third_connection_is_one_too_many(served: Served) -> None:
    async with served.connect(), served.connect(), served.connect() as third:
        assert (third.status, third.headers["Retry-After"]) == (429, "1")
    await asyncio.sleep(0.05)
    async with served.connect() as again:
        assert again.status == 200
    assert [connected.status for connected in served.upstream.feed.connections] == [200, 200, 429, 200]


@pytest.mark.parametrize(("cut", "broken"), [("clean", False), ("error", False), ("abrupt", True), ("midevent", True)])
async def test_a_connection_ends_after_its_time(served: Served, cut: Any, broken: bool) -> None:  # noqa: FBT001 -- a parameter
    served.set(cut_after=0.2, cut=cut)
    begin, body = time.monotonic(), b""
    async with served.connect("recentchange?since=2001-01-01T00:00:00Z") as response:
        with pytest.raises(aiohttp.ClientError) if broken else contextlib.nullcontext():
            async for piece in response.content.iter_any():
                body += piece
    assert 0.15 < time.monotonic() - begin < 2
    assert body.count(b"event: message\nid: [") == (2 if cut == "midevent" else 1)
    assert (b"event: error\ndata: {" in body) == (cut == "error")
    if cut == "midevent":
        last = body.rpartition(b"event: message\n")[2]
        assert last.startswith(b"id: [")
        assert b"\ndata: {" in last
        assert not last.endswith(b"\n")


async def test_a_connection_can_be_refused_or_left_without_an_answer(served: Served) -> None:
    served.set(refuse=(503, "7"))
    async with served.connect() as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "7")
    served.set(refuse=None, mute=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), served.connect():
            pass
    served.set(mute=False)
    async with served.connect() as response:
        assert response.status == 200


async def test_a_stalled_feed_keeps_what_it_holds_back(served: Served) -> None:
    served.set(stall=True)
    async with served.connect("recentchange?since=2001-01-01T00:00:00Z") as response:
        await response.content.readexactly(5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.2)
        served.set(stall=False)
        assert (await asyncio.wait_for(anext(read(response)), 2)).data["title"] == "A"


@pytest.mark.parametrize("chunk", ["line", "event", 7, 1000])
async def test_however_it_is_cut_into_chunks_the_stream_is_the_same(served: Served, chunk: Any) -> None:
    served.wiki.edit("Б", "—\u2028😀")
    served.set(chunk=chunk)
    assert [event.data["title"] for event in await served.events(2)] == ["A", "Б"]


async def test_a_line_separator_comes_raw(served: Served) -> None:
    served.wiki.edit("Line\u2028separator", "x")
    (_, event) = await served.events(2)
    assert event.data["title"] == "Line\u2028separator"
    assert "\u2028".encode() in served.upstream.farm.log.partitions["eqiad.mediawiki.recentchange", 0].read(1, 1)[0].data


async def test_canaries_come_into_every_topic(served: Served) -> None:
    served.set(canary_every=0.1)
    await asyncio.sleep(0.3)
    found = [event for event in all_events(served.upstream.farm.log) if event["meta"]["domain"] == "canary"]
    assert {event["meta"]["topic"] for event in found} == {topic for topic, _ in served.upstream.farm.log.partitions}
    assert len({event["meta"]["id"] for event in found}) == len(found) > 8


async def test_of_events_in_one_millisecond_a_token_loses_the_rest() -> None:
    async with serving(Farm([TEST], clock=lambda: 1_800_000_000.5)) as served:
        for n in range(3):
            served.wiki.edit("A", f"text {n}")
        first, *_ = await served.events(3)
        async with served.connect(**{"Last-Event-ID": json.dumps(first.position)}) as response:
            await response.content.readexactly(5)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.content.readany(), 0.2)


def published(**faults: Any) -> list[dict[str, Any]]:
    """The recentchange events of two hundred edits, where publishing goes wrong."""
    farm = Farm([TEST])
    farm.faults = replace(farm.faults, **faults)
    for n in range(200):
        farm["testwiki"].edit("A", f"text {n}")
    farm.log.flush()
    return [event for event in all_events(farm.log) if event["meta"]["stream"] == RECENT_CHANGE]


def test_events_are_lost_doubled_and_held_back() -> None:
    assert 120 < len(published(lose=0.2)) < 190
    doubled = published(duplicate=0.2)
    assert 210 < len(doubled) < 280
    assert len({event["meta"]["id"] for event in doubled}) == 200
    assert len({event["meta"]["offset"] for event in doubled}) == len(doubled)
    order = [event["revision"]["new"] for event in published(reorder=0.2)]
    assert sorted(order) == list(range(1, 201))
    assert order != sorted(order)


async def test_events_move_to_the_other_data_centre(served: Served) -> None:
    served.set(datacentre="codfw")
    served.wiki.edit("B", "two")
    topics = {event.data["title"]: event.data["meta"]["topic"] for event in await served.events(2)}
    assert topics == {"A": "eqiad.mediawiki.recentchange", "B": "codfw.mediawiki.recentchange"}


async def test_a_new_partition_is_in_the_ids_of_those_who_bring_no_token(served: Served) -> None:
    served.upstream.farm.log.add_partition(RECENT_CHANGE)
    for n in range(20):
        served.wiki.edit(f"Page {n}", "x")
    found = await served.events(21)
    assert {event.data["meta"]["partition"] for event in found} == {0, 1}
    assert len(found[0].position) == 4


async def test_what_is_past_retention_is_gone(served: Served) -> None:
    partition = served.upstream.farm.log.partitions["eqiad.mediawiki.recentchange", 0]
    served.wiki.edit("B", "two")
    partition.forget(1)
    (event,) = await served.events(1)
    assert (event.data["title"], event.data["meta"]["offset"]) == ("B", 1)


def test_a_partition_lets_go_of_its_oldest_records() -> None:
    farm = Farm([TEST])
    farm.log._retention = 10
    farm.log.add_partition(RECENT_CHANGE)
    partition = farm.log.partitions["eqiad.mediawiki.recentchange", 1]
    for n in range(100):
        farm["testwiki"].edit(f"P{n}", "x")
    assert 10 <= partition.end - partition.base <= 11
    assert partition.base > 20


async def test_thousands_of_events_a_second_go_through() -> None:
    farm = Farm(pages=60)
    workload = Workload(farm)
    for _ in range(1_500):
        workload.step()
    async with serving(farm) as served:
        count = sum(partition.end for place, partition in farm.log.partitions.items() if "recentchange" in place[0])
        begin = time.perf_counter()
        found = await served.events(count)
        assert len(found) / (time.perf_counter() - begin) > 2_000
