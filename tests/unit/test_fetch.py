"""The client against a server that does as it is told: what is sent, what is followed, what breaks."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
import pytest
from aiohttp import web
from yarl import URL

from syncer.config import Settings
from syncer.errors import Forbidden, Refused, SyncerError, Throttled, Unusable, WikiUnavailable
from syncer.fetch import MOST_VALUES, WikiApi, user_agent
from syncer.fetch.client import _elsewhere
from syncer.model import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WIKI, DOMAIN = "enwiki", "en.wikipedia.org"
PAGE = {"pageid": 1, "ns": 0, "title": "A", "lastrevid": 10}
REVISION = {"revid": 10, "parentid": 9, "timestamp": "2026-11-24T02:41:28Z", "slots": {"main": {"content": "text"}}}


class Said(NamedTuple):
    """A response that can be given again and again."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


def json(body: object, **headers: str) -> Said:
    return Said(orjson.dumps(body), headers={"Content-Type": "application/json", **headers})


def whole(*pages: dict[str, Any]) -> Said:
    return json({"batchcomplete": True, "query": {"pages": list(pages)}})


class Upstream:
    """Answers each request with the next of ``answers``, the last one again and again; keeps what was asked, and the turns."""

    def __init__(self, *answers: Said | Handler) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.turns: list[str] = []
        self.url = ""

    async def turn(self, wiki_id: str) -> None:
        assert len(self.turns) == len(self.asked), "the request before this one was never sent"
        self.turns.append(wiki_id)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        params = {**request.query, **(await request.post())} if request.method == "POST" else dict(request.query)
        self.asked.append((request.method, {key: str(value) for key, value in params.items()}, dict(request.headers)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Said):
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        return await answer(request)


@asynccontextmanager
async def asking(upstream: Upstream, contact: str | None = None, **api: object) -> AsyncIterator[WikiApi]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", upstream.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = Settings.model_validate({"api": {"url": f"{upstream.url}/{{wiki_id}}/api.php", **api}})
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield WikiApi(session, settings.api, settings.wiki, contact, upstream.turn)
        assert len(upstream.turns) == len(upstream.asked), "every request had its turn, and every turn was used"
    finally:
        await runner.cleanup()


# -- what is sent ------------------------------------------------------------------------------------------------------


async def test_the_request_is_as_the_protocol_says() -> None:
    upstream = Upstream(whole({**PAGE, "revisions": [REVISION]}))
    async with asking(upstream, contact="ops@example.org") as api:
        answer = await api.revisions(WIKI, DOMAIN, [10, 9, 10])
    assert answer.pages[1].revisions[10].text == b"text"
    method, params, headers = upstream.asked[0]
    assert method == "GET"
    assert params == {
        "action": "query",
        "prop": "revisions|info",
        "revids": "10|9",
        "rvslots": "main",
        "rvprop": "ids|timestamp|content|contentmodel|sha1|slotsha1|size|flags|comment|user|userid|tags",
        "format": "json",
        "formatversion": "2",
        "errorformat": "plaintext",
        "maxlag": "5",
    }
    assert headers["User-Agent"] == user_agent("ops@example.org")
    assert headers["Accept-Encoding"] == "gzip"
    assert "Authorization" not in headers
    assert "Cookie" not in headers
    assert upstream.turns == [WIKI]


async def test_the_token_is_sent_as_a_bearer() -> None:
    upstream = Upstream(whole())
    async with asking(upstream, token="t0ken") as api:  # noqa: S106 - for the test's own server
        await api.page_ids(WIKI, DOMAIN, [1])
    assert upstream.asked[0][2]["Authorization"] == "Bearer t0ken"
    assert upstream.asked[0][1]["pageids"] == "1"


async def test_many_long_titles_are_posted() -> None:
    upstream = Upstream(whole())
    titles = [f"{n} {'ठ' * 60}" for n in range(MOST_VALUES)]
    async with asking(upstream) as api:
        await api.titles(WIKI, DOMAIN, titles)
    method, params, _ = upstream.asked[0]
    assert method == "POST"
    assert params["titles"].split("|") == titles


async def test_values_that_would_spoil_the_request_are_answered_without_it() -> None:
    upstream = Upstream(whole())
    async with asking(upstream) as api:
        answer = await api.titles(WIKI, DOMAIN, ["A|B", "A", "", "\x1fA", "\ud800", " "])
        assert answer.invalid_titles == {"A|B", "", "\x1fA", "\ud800", " "}
        assert (await api.revisions(WIKI, DOMAIN, [0, -3, 2**63, 7])).bad_rev_ids == {0, -3, 2**63}
        assert (await api.page_ids(WIKI, DOMAIN, [0, -3, 2**63, 7])).missing_page_ids == {0, -3, 2**63}
        assert [asked[1].get("titles", asked[1].get("revids", asked[1].get("pageids"))) for asked in upstream.asked] == [
            "A",
            "7",
            "7",
        ]
        assert await api.titles(WIKI, DOMAIN, ["|"]) == Answer(invalid_titles=frozenset("|"))
        assert await api.revisions(WIKI, DOMAIN, []) == Answer()
    assert len(upstream.asked) == 3


async def test_more_than_fifty_values_are_the_callers_mistake() -> None:
    upstream = Upstream(whole())
    async with asking(upstream) as api:
        with pytest.raises(ValueError, match="51 values"):
            await api.revisions(WIKI, DOMAIN, range(1, 52))
    assert not upstream.asked


async def test_a_wiki_that_is_not_allowed_is_not_asked() -> None:
    upstream = Upstream(whole())
    async with asking(upstream) as api:
        with pytest.raises(Unusable, match="is not asked"):
            await api.revisions(WIKI, "evil.example", [1])
        with pytest.raises(Unusable, match="is not asked"):
            await api.site(WIKI, "evil.example")
    assert not upstream.asked


# -- what is followed --------------------------------------------------------------------------------------------------


async def test_an_answer_in_parts_is_followed_and_put_together() -> None:
    more = {"rvcontinue": 20, "continue": "||"}
    warnings = [{"code": "result", "text": "This result was truncated", "module": "main"}]
    bare = {"pageid": 2, "ns": 0, "title": "B"}
    first = {"continue": more, "warnings": warnings, "query": {"pages": [{**PAGE, "revisions": [REVISION]}, bare]}}
    second = {"pageid": 2, "ns": 0, "title": "B", "lastrevid": 20, "revisions": [{**REVISION, "revid": 20}]}
    upstream = Upstream(json(first), whole(PAGE, second))
    async with asking(upstream) as api:
        answer = await api.revisions(WIKI, DOMAIN, [10, 20])
    assert {page_id: set(page.revisions) for page_id, page in answer.pages.items()} == {1: {10}, 2: {20}}
    assert upstream.turns == [WIKI, WIKI]
    assert upstream.asked[1][1] == {**upstream.asked[0][1], "rvcontinue": "20", "continue": "||"}


@pytest.mark.parametrize("same", [True, False])
async def test_an_answer_without_an_end_is_given_up(same: bool) -> None:  # noqa: FBT001 - a parameter of the test
    numbers = iter(range(10**6))

    async def again(_: web.Request) -> web.Response:
        return web.json_response({"continue": {"rvcontinue": 0 if same else next(numbers)}, "query": {}})

    upstream = Upstream(again)
    async with asking(upstream) as api:
        with pytest.raises(WikiUnavailable, match="without an end"):
            await api.revisions(WIKI, DOMAIN, [10])
    assert len(upstream.asked) == (2 if same else 100)


async def test_an_error_in_a_later_part_fails_the_whole_answer() -> None:
    lag = {"errors": [{"code": "maxlag", "text": "Waiting", "module": "main"}]}
    upstream = Upstream(json({"continue": {"rvcontinue": 1}, "query": {}}), json(lag, **{"Retry-After": "4"}))
    async with asking(upstream) as api:
        with pytest.raises(WikiUnavailable) as caught:
            await api.revisions(WIKI, DOMAIN, [10])
    assert caught.value.after == 4


async def test_a_redirect_on_the_same_host_is_followed_in_its_turn() -> None:
    upstream = Upstream(Said(status=308, headers={"Location": "/new/api.php?x=1"}), whole(PAGE))
    async with asking(upstream) as api:
        assert set((await api.revisions(WIKI, DOMAIN, [10])).pages) == {1}
    assert upstream.asked[1] == upstream.asked[0]
    assert upstream.turns == [WIKI, WIKI]


@pytest.mark.parametrize(
    "location", ["http://localhost/api.php", "//evil.example/api.php", "ftp://127.0.0.1/", "http://[", "mailto:x"]
)
async def test_a_redirect_elsewhere_is_refused(location: str) -> None:
    upstream = Upstream(Said(status=302, headers={"Location": location}))
    async with asking(upstream, token="t0ken") as api:  # noqa: S106 - for the test's own server
        with pytest.raises(WikiUnavailable, match="another host") as caught:
            await api.revisions(WIKI, DOMAIN, [10])
    assert caught.value.hint
    assert len(upstream.asked) == 1


def test_a_redirect_never_leaves_https() -> None:
    """The token would go with it."""
    secure, open_ = URL("https://en.wikipedia.org/w/api.php"), URL("http://en.wikipedia.org/w/api.php")
    assert _elsewhere(WIKI, open_, str(secure)) == secure
    assert _elsewhere(WIKI, secure, "https://en.wikipedia.org/api.php") == URL("https://en.wikipedia.org/api.php")
    with pytest.raises(WikiUnavailable):
        _elsewhere(WIKI, secure, str(open_))


async def test_redirects_in_circles_end() -> None:
    upstream = Upstream(Said(status=301, headers={"Location": "/again"}))
    async with asking(upstream) as api:
        with pytest.raises(WikiUnavailable, match="redirected 3 times"):
            await api.revisions(WIKI, DOMAIN, [10])
    assert len(upstream.asked) == 3


# -- what breaks -------------------------------------------------------------------------------------------------------


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(5)
    raise AssertionError


async def reset(request: web.Request) -> web.Response:
    assert request.transport
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


async def close(request: web.Request) -> web.Response:
    assert request.transport
    request.transport.close()
    return web.Response()


def cut(*, chunked: bool) -> Handler:
    """Half of what was announced, then the end of the connection."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = 1000
        await response.prepare(request)
        await response.write(b'{"query": {"pages": [')
        assert request.transport
        request.transport.close()
        return response

    return handler


async def slowly(request: web.Request) -> web.StreamResponse:
    """Always something, never all of it."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(50):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


PLAIN = gzip.compress(b'{"query":{}}')
BREAKS: dict[str, tuple[Said | Handler, type[SyncerError]]] = {
    "hang": (hang, WikiUnavailable),
    "slowly": (slowly, WikiUnavailable),
    "reset": (reset, WikiUnavailable),
    "close": (close, WikiUnavailable),
    "cut": (cut(chunked=False), WikiUnavailable),
    "cut in a chunk": (cut(chunked=True), WikiUnavailable),
    "bad gzip": (Said(b"no gzip", headers={"Content-Encoding": "gzip"}), WikiUnavailable),
    "half a gzip": (Said(PLAIN[: len(PLAIN) // 2], headers={"Content-Encoding": "gzip"}), WikiUnavailable),
    "html": (Said(b"<html>"), WikiUnavailable),
    "empty": (Said(), WikiUnavailable),
    "500": (Said(status=500), WikiUnavailable),
    "429": (Said(status=429), Throttled),
    "throttled with 200": (Said(b"You are making too many requests to the API"), Throttled),
    "401": (Said(status=401), Refused),
    "403": (Said(status=403), Forbidden),
    "304": (Said(status=304), WikiUnavailable),
    "too large": (Said(b" " * 70_000), Unusable),
    "a gzip bomb": (Said(gzip.compress(b" " * 10**7), headers={"Content-Encoding": "gzip"}), Unusable),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_whatever_breaks_is_one_attempt_and_the_next_is_fine(name: str) -> None:
    answer, fate = BREAKS[name]
    # The first answer opens a connection that is kept: aiohttp would send a GET again that broke on such a one.
    upstream = Upstream(whole(PAGE), answer, whole(PAGE))
    async with asking(upstream, timeout=0.3, max_body=65_536) as api:
        await api.revisions(WIKI, DOMAIN, [10])
        with pytest.raises(SyncerError) as caught:
            await api.revisions(WIKI, DOMAIN, [10])
        assert type(caught.value) is fate
        assert str(caught.value).startswith(f"{WIKI}: ")
        assert ("no answer within 0.3 s" in str(caught.value)) == (name in {"hang", "slowly"})
        assert len(upstream.asked) == 2
        assert set((await api.revisions(WIKI, DOMAIN, [10])).pages) == {1}


async def test_an_answer_too_large_names_its_reason_and_parts_count_together() -> None:
    part = {"continue": {"rvcontinue": 1}, "query": {"pages": [{**PAGE, "revisions": [{**REVISION, "comment": "x" * 40_000}]}]}}
    upstream = Upstream(json(part), whole(), whole(PAGE))
    async with asking(upstream, max_body=65_536) as api:
        await api.revisions(WIKI, DOMAIN, [10])
        upstream.answers[:] = [json(part), json({**part, "continue": {"rvcontinue": 2}})]
        with pytest.raises(Unusable) as caught:
            await api.revisions(WIKI, DOMAIN, [10])
    assert caught.value.reason == "answer_too_large"


async def test_nobody_there() -> None:
    upstream = Upstream(whole())
    async with asking(upstream) as api:
        pass
    settings = Settings.model_validate({"api": {"url": f"{upstream.url}/api.php"}})
    async with aiohttp.ClientSession() as session:
        api = WikiApi(session, settings.api, settings.wiki, None, Upstream().turn)
        with pytest.raises(WikiUnavailable, match="Cannot connect"):
            await api.site(WIKI, DOMAIN)


async def test_a_turn_that_is_refused_sends_nothing() -> None:
    upstream = Upstream(whole())

    async def no(_: str) -> None:
        raise RuntimeError

    async with asking(upstream) as api:
        api._turn = no
        with pytest.raises(RuntimeError):
            await api.revisions(WIKI, DOMAIN, [10])
    assert not upstream.asked


def aiohttp_errors() -> list[type[BaseException]]:
    return [kind for _, kind in inspect.getmembers(aiohttp, inspect.isclass) if issubclass(kind, aiohttp.ClientError)]


@pytest.mark.parametrize("kind", [*aiohttp_errors(), TimeoutError, OSError, ConnectionResetError], ids=lambda kind: kind.__name__)
async def test_every_error_of_aiohttp_is_a_wiki_unavailable(kind: type[BaseException]) -> None:
    class Shown(kind):  # type: ignore[valid-type,misc]
        def __init__(self) -> None:
            """Whatever the real one takes: only its type counts."""

        def __str__(self) -> str:
            return "shown"

    class Session:
        def request(self, *_: object, **__: object) -> None:
            raise Shown

    settings = Settings.model_validate({"api": {"url": "http://127.0.0.1:1/api.php"}})
    api = WikiApi(Session(), settings.api, settings.wiki, None, lambda _: asyncio.sleep(0))  # type: ignore[arg-type]
    with pytest.raises(WikiUnavailable):
        await api.revisions(WIKI, DOMAIN, [10])


async def test_the_wiki_itself() -> None:
    query = {
        "general": {"server": "//en.wikipedia.org", "articlepath": "/wiki/$1"},
        "rightsinfo": {"url": "https://creativecommons.org/licenses/by-sa/4.0/deed.en", "text": "CC BY-SA 4.0"},
        "namespaces": {"0": {"id": 0, "name": ""}},
    }
    upstream = Upstream(json({"query": query}))
    async with asking(upstream) as api:
        site = await api.site(WIKI, DOMAIN)
    assert site.licence
    assert site.article_url == "https://en.wikipedia.org/wiki/$1"
    assert upstream.turns == [WIKI]
    _, params, _ = upstream.asked[0]
    assert params["siprop"] == "general|rightsinfo|namespaces|namespacealiases"
    assert params["maxlag"] == "5"
