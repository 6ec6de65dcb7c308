"""A feed server that behaves, connection after connection, as a test tells it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from syncer.config import FeedSettings
from syncer.feed import Batch, Feed
from syncer.model import Position
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import pytest

    from syncer.errors import Retry

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


def unwaited(monkeypatch: pytest.MonkeyPatch) -> list[Retry]:
    """What the feed takes for a failure from now on; nothing is waited for."""
    found: list[Retry] = []

    def failed(_: Trouble, error: Retry) -> float:
        found.append(error)
        return 0.0

    monkeypatch.setattr(Trouble, "failed", failed)
    monkeypatch.setattr("random.uniform", lambda _low, _high: 0.0)
    return found
