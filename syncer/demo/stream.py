"""The feed over HTTP: one handler for ``/v2/stream/a,b,c``, with the framing, the silences and the cuts of the real one."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from syncer.demo.subscription import Refusal, Subscription, sse
from syncer.tasks import unless

if TYPE_CHECKING:
    from syncer.demo.farm import Farm
    from syncer.demo.faults import Cut, Faults
    from syncer.demo.subscription import Delivery

HIGH_WATER = 1 << 20  # bytes waiting in the socket's buffer before the log is read on
LAST_CHUNK = b"0\r\n\r\n"
NOTHING_YET = b'event: message\nid: []\ndata: {"$schema":"/mediawiki/recentchange/1.0.0"}\n\n'
HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}


@dataclass(frozen=True, slots=True)
class Connected:
    """One connection to the feed, as it was asked for; ``at`` is monotonic seconds."""

    at: float
    streams: str
    since: str | None
    last_event_id: str | None
    status: int


class Feed:
    """Serves a farm's event log. ``connections`` keeps every request in order, refused ones too."""

    def __init__(self, farm: Farm) -> None:
        self.connections: list[Connected] = []
        self._farm = farm
        self._open: set[_Connection] = set()
        self._closing = False

    def cut(self, how: Cut = "abrupt") -> None:
        """End every open connection now."""
        for connection in self._open:
            connection.cut(how)

    def close(self) -> None:
        """End every connection for good, and let nobody wait."""
        self._closing = True
        self.cut("clean")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        try:
            subscription = await self._admit(request)
        except Refusal as refusal:
            self._note(request, refusal.status)
            headers = {"Retry-After": refusal.retry_after} if refusal.retry_after else {}
            if "origin" not in refusal.body:  # what KafkaSSE refuses has no Content-Type
                headers["Content-Type"] = "application/json; charset=utf-8"
            return web.Response(status=refusal.status, reason=refusal.reason, body=orjson.dumps(refusal.body), headers=headers)
        self._note(request, 200)
        connection = _Connection(subscription)
        self._open.add(connection)
        self._farm.log.listeners.add(connection.news.set)
        try:
            return await self._serve(request, connection)
        finally:
            self._farm.log.listeners.discard(connection.news.set)
            self._open.discard(connection)

    async def _admit(self, request: web.Request) -> Subscription:
        """The subscription that the request asks for. Raises Refusal."""
        while self._farm.faults.mute and not self._closing:  # noqa: ASYNC110 -- nothing tells when faults are replaced
            await asyncio.sleep(0.02)
        faults = self._farm.faults
        if not request.headers.get("User-Agent"):
            raise Refusal(403, "Forbidden", {"title": "a User-Agent is compulsory"})
        if faults.refuse:
            raise Refusal(faults.refuse[0], "Refused", {"title": "refused on demand"}, faults.refuse[1])
        streams = request.match_info["streams"].split(",")
        subscription = Subscription(self._farm.log, streams, request.query.get("since"), request.headers.get("Last-Event-ID"))
        if len(self._open) >= faults.max_connections:
            raise Refusal(429, "Too Many Requests", {"status": 429, "type": "too_many_requests"}, "1")
        return subscription

    def _note(self, request: web.Request, status: int) -> None:
        asked = (request.match_info["streams"], request.query.get("since"), request.headers.get("Last-Event-ID"))
        self.connections.append(Connected(time.monotonic(), *asked, status))

    async def _serve(self, request: web.Request, connection: _Connection) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        await response.write(b":ok\n\n")
        if request.transport is not None:
            ends = time.monotonic() + (self._farm.faults.cut_after or float("inf"))
            await self._run(connection, request.transport, ends)
        return response

    async def _run(self, connection: _Connection, transport: asyncio.Transport, ends: float) -> None:
        while not transport.is_closing():
            faults, left = self._farm.faults, ends - time.monotonic()
            if left <= 0:
                connection.cut(faults.cut)
            if connection.ending:
                connection.end(transport)
                return
            connection.news.clear()
            found = [] if faults.stall else connection.subscription.read()
            if found:
                transport.write(_framed(found, faults))
                await asyncio.sleep(0)
                while transport.get_write_buffer_size() > HIGH_WATER:  # noqa: ASYNC110 -- only its protocol is told when it drains
                    await asyncio.sleep(0.005)
            else:  # a quarter of a second is how late a client that went away is noticed
                await unless(connection.news, min(left, 0.25))


class _Connection:
    """An open stream: what it reads, what wakes it, how it is to end."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.news = asyncio.Event()
        self.ending: Cut | None = None

    def cut(self, how: Cut) -> None:
        self.ending = how
        self.news.set()

    def end(self, transport: asyncio.Transport) -> None:
        """End it with the last chunk, with an error event, in the middle of an event, or with a reset."""
        if self.ending == "error":
            transport.write(_chunk(b'event: error\ndata: {"message":"the broker is away","origin":"KafkaSSE"}\n\n'))
        if self.ending in {"clean", "error"}:
            transport.write(LAST_CHUNK)
        elif self.ending == "midevent":
            event = sse(self.subscription.read()[:1]) or NOTHING_YET
            transport.write(_chunk(event)[: event.index(b"\ndata: ") + 40])
        else:
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        transport.close()


def _framed(deliveries: list[Delivery], faults: Faults) -> bytes:
    """Events in HTTP chunks of our own: the framework would write each line apart, at three times the cost."""
    if faults.chunk == "line":
        lines = ((b"event: message\n", b"id: %b\n" % position, b"data: %b\n\n" % data) for position, data in deliveries)
        return b"".join(_chunk(line) for event in lines for line in event)
    if faults.chunk == "event":
        return b"".join(_chunk(sse([delivery])) for delivery in deliveries)
    whole = sse(deliveries)
    return b"".join(_chunk(whole[at : at + faults.chunk]) for at in range(0, len(whole), faults.chunk))


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)
