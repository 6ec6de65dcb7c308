"""The connection to EventStreams: made, read, given up and made again, always from a position of our own.

A connection starts from a ``Last-Event-ID`` that :class:`Cursor` made; or from ``since``: at the first start, when the token was
refused, when a stream asked for is not in it, and now and then to find partitions added upstream (PROTOCOL 6). Connections end
all the time (PROTOCOL 3); one that brought something, or lasted a while, is no failure when it ends.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import structlog

from syncer.errors import FeedUnavailable, Misconfigured, Retry
from syncer.feed import answers
from syncer.feed.decode import STREAMS
from syncer.feed.position import Cursor, canonical, floor, iso, milliseconds
from syncer.feed.sse import Cutter, Rejected
from syncer.feed.vitals import Vitals
from syncer.model import Position
from syncer.proxy import through
from syncer.telemetry import FEED_CONNECTIONS
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from syncer.config import FeedSettings
    from syncer.feed.position import TopicPartition

log = structlog.get_logger()

DISCOVER_EVERY = 6 * 3600.0  # seconds between looks for new partitions; each costs a minute of events sent twice
LASTED = 3.0  # seconds after which a connection's end is no failure
AWAY = 5.0  # seconds between two reads after which a stream's silence says nothing
LOOK_EVERY = 60.0  # seconds between looks for topics gone quiet
NO_ADDRESS = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
CLOCKS_APART = 600_000  # milliseconds a producer's clock may be ahead of the server's


class Delivered(NamedTuple):
    """An event's data, the topic-partition it came from, and its Kafka timestamp in milliseconds."""

    source: TopicPartition
    at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read brought, and the position after it."""

    events: list[Delivered]
    rejected: list[Rejected]
    position: Position


@dataclass(slots=True)
class Counts:
    """What happened so far, as plain numbers for whoever shows them; ``ends`` counts connections by how they ended."""

    connections: int = 0
    bytes: int = 0
    events: int = 0
    ends: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Connection:
    response: aiohttp.ClientResponse
    cutter: Cutter
    made_at: float
    deadline: float
    safe: int  # a timestamp before which nothing was skipped
    clock_ahead: int  # milliseconds that the server's clock is ahead of ours
    delivered: int = 0
    error: FeedUnavailable | None = None


class _Ended(Exception):
    """The connection is over; the argument says how."""


class Feed:
    """Reads batches without end. One reader at a time; it raises Stop errors only, everything else it waits for."""

    def __init__(self, settings: FeedSettings, user_agent: str) -> None:
        unknown = [stream for stream in settings.streams if canonical(stream) not in STREAMS]
        if unknown:
            raise Misconfigured(f"feed.streams: {unknown}", hint=f"the streams that can be read: {', '.join(STREAMS)}")
        self.counts = Counts()
        self.quiet: dict[str, float] = {}
        self._settings = settings
        self._rewind = int(settings.rewind * 1000)
        self._headers = {"User-Agent": user_agent, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        self._url = settings.url.rstrip("/") + "/" + ",".join(settings.streams)
        self._session: aiohttp.ClientSession | None = None
        self._connection: _Connection | None = None
        self._trouble = Trouble("feed")
        self._discover_at = time.monotonic() + DISCOVER_EVERY
        self._look_at = self._left_at = time.monotonic()
        self.start(Position())

    def start(self, position: Position) -> None:
        """Go on from a position, not connected; without one from ``begin``, which is ``feed.since`` or else now."""
        self._cursor = Cursor(self._settings.streams, position)
        self._worked = self._cursor.complete or self.counts.connections > 0  # with these streams, now or before a restart
        self._vitals = Vitals()
        self.begin = _milliseconds(self._settings.since) if self._settings.since else int(time.time() * 1000)

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self._connection is not None

    @property
    def newest(self) -> int | None:
        """The largest Kafka timestamp delivered, in milliseconds: how far the feed is, for lag."""
        return max(self._cursor.timestamps.values(), default=None)

    def feed_time(self) -> int | None:
        """The timestamp up to which everything has been returned by :meth:`read`, disorder allowed for; None if not known."""
        at = self._vitals.feed_time(time.monotonic())
        return None if at is None else at - self._rewind

    async def read(self) -> Batch:
        """What comes next, at least one event or rejected block; connects, reconnects and waits as it takes."""
        if time.monotonic() - self._left_at > AWAY:
            self._vitals.listening(time.monotonic())
        while True:
            try:
                batch = await self._next(self._connection or await self._connect())
            except _Ended as end:
                await asyncio.sleep(await self._ended(str(end)))
            except Retry as error:
                await self.hang_up()
                await asyncio.sleep(self._trouble.failed(error))
            else:
                if batch.events or batch.rejected:
                    self._took(batch)
                    return batch

    async def close(self) -> None:
        """Let go of the connection."""
        await self.hang_up()
        if self._session:
            await self._session.close()
            self._session = None

    async def _connect(self) -> _Connection:
        now = time.monotonic()
        fresh = not self._cursor.complete or now >= self._discover_at
        begin = self._since()
        headers = self._headers if fresh else {**self._headers, "Last-Event-ID": self._cursor.token(self._settings.rewind)}
        response = await self._get(headers, {"since": iso(begin)} if fresh else {})
        if response.status != HTTPStatus.OK or response.content_type != "text/event-stream":
            response.close()
            if not fresh and answers.token_refused(response):
                self._forget_token(begin)
            raise answers.refusal(response, worked=self._worked)
        ahead = answers.clock_ahead(response)
        self._connection = _Connection(
            response,
            Cutter(self._settings.max_block),
            now,
            now + self._settings.connect_for,
            min(begin, int(time.time() * 1000) + ahead),
            ahead,
        )
        self._worked = True
        self._cursor.connected()
        self._vitals.listening(now)
        self.counts.connections += 1
        FEED_CONNECTIONS.inc()
        if fresh:
            self._discover_at = now + DISCOVER_EVERY
        log.debug("feed: connected", since=iso(begin) if fresh else None)
        return self._connection

    async def _get(self, headers: dict[str, str], params: dict[str, str]) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with asyncio.timeout(self._settings.header_timeout):
                return await self._session.get(
                    self._url, headers=headers, params=params, allow_redirects=False, **through(self._url)
                )
        except TimeoutError:
            raise FeedUnavailable(f"no answer within {self._settings.header_timeout:g} s") from None
        except NO_ADDRESS as error:
            raise Misconfigured(f"feed.url: {self._settings.url} is no address") from error
        except (aiohttp.ClientError, OSError) as error:
            raise FeedUnavailable(f"no connection: {type(error).__name__}: {error}") from error

    def _since(self) -> int:
        """The timestamp from which a connect with ``since`` misses nothing."""
        at = self.feed_time()
        if at is None and (reached := floor(self._cursor.timestamps)):
            at = reached - self._rewind
        return max(0, self.begin if at is None else at)

    def _forget_token(self, begin: int) -> None:
        """Go on with ``since`` alone, and learn anew which topic-partitions there are."""
        self.begin = begin
        self._cursor = Cursor(self._settings.streams, Position())
        self._vitals = Vitals()

    async def _next(self, connection: _Connection) -> Batch:
        chunk = await self._chunk(connection)
        horizon = int(time.time() * 1000) + connection.clock_ahead + CLOCKS_APART
        events: list[Delivered] = []
        rejected: list[Rejected] = []
        for item in connection.cutter.feed(chunk):
            if isinstance(item, Rejected):
                rejected.append(item)
            elif item.kind == "error":
                connection.error = FeedUnavailable("the server reported an error in the stream")
                break
            else:
                events.append(Delivered(*self._cursor.absorb(item.id, connection.safe, horizon, item.data), item.data))
        connection.delivered += len(events)
        self.counts.bytes += len(chunk)
        self.counts.events += len(events)
        return Batch(events, rejected, self._cursor.position())

    async def _chunk(self, connection: _Connection) -> bytes:
        """The next bytes. Raises _Ended, or FeedUnavailable when they stop in the middle."""
        if connection.error:
            raise connection.error
        left = connection.deadline - time.monotonic()
        if left <= 0:
            raise _Ended("planned")
        try:
            async with asyncio.timeout(min(left, self._settings.idle_timeout)):
                chunk = await connection.response.content.readany()
        except TimeoutError:
            raise _Ended("planned" if left <= self._settings.idle_timeout else "idle") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Ended("broken") from error
        if not chunk:
            raise _Ended("closed")
        return chunk

    def _took(self, batch: Batch) -> None:
        now = self._left_at = time.monotonic()
        self._vitals.heard(batch.position.timestamps, now)
        self._trouble.over()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._look_for_quiet(now)

    def _look_for_quiet(self, now: float) -> None:
        quiet = self._vitals.quiet(now)
        for topic in quiet.keys() - self.quiet.keys():
            log.warning("feed: a topic has gone quiet, not even its canaries come", topic=topic, seconds=round(quiet[topic]))
        for topic in self.quiet.keys() - quiet.keys():
            log.info("feed: a topic speaks again", topic=topic)
        self.quiet = quiet

    async def _ended(self, how: str) -> float:
        """Count the end of a connection, and return the seconds to wait before the next."""
        connection = self._connection
        await self.hang_up()
        self.counts.ends[how] = self.counts.ends.get(how, 0) + 1
        log.debug("feed: the connection ended", how=how)
        if how == "planned":
            return 0.0
        if connection and not connection.delivered and time.monotonic() - connection.made_at < LASTED:
            return self._trouble.failed(FeedUnavailable(f"the connection was {how} before anything came"))
        return random.uniform(0, 1)  # noqa: S311 - spreads load, keeps no secret

    async def hang_up(self) -> None:
        """Close the connection, if there is one; the next read makes a new one."""
        connection, self._connection = self._connection, None
        if connection:
            connection.response.close()


def _milliseconds(since: str) -> int:
    try:
        return milliseconds(since)
    except ValueError:
        raise Misconfigured(f"feed.since: {since} is no ISO 8601 time", hint="for example 2026-11-24T00:00:00Z") from None
