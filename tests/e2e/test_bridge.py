"""The lab's feed answers as the real EventStreams was recorded to (PROTOCOL 2, 4 to 11)."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.lab.bridge import Bridge
from tests.e2e.lab.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EQIAD, CODFW = "eqiad.mediawiki.recentchange", "codfw.mediawiki.recentchange"
RECENT = "/v2/stream/recentchange"
WAIT = 5.0  # seconds until what was asked for has arrived


class Connection:
    """A raw client: what the server sent, byte for byte."""

    def __init__(self, bridge: Bridge, path: str, **headers: str) -> None:
        self.received, self.closed = b"", False
        self._socket = socket.create_connection(("127.0.0.1", bridge.server_address[1]))
        lines = [f"GET {path} HTTP/1.1", "Host: x", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def until(self, there: Callable[[Connection], Any], seconds: float = WAIT) -> Connection:
        """Read until that holds, the server hangs up, or the time is over."""
        deadline = time.monotonic() + seconds
        while not there(self) and not self.closed and time.monotonic() < deadline:
            self._socket.settimeout(0.02)
            with contextlib.suppress(TimeoutError):
                try:
                    data = self._socket.recv(65536)
                except ConnectionResetError:
                    data = b""
                self.received += data
                self.closed = not data
        return self

    def events(self, count: int, seconds: float = WAIT) -> list[str]:
        """The comments of the first events; ``count`` of them are waited for."""
        self.until(lambda connection: len(connection.data()) >= count, seconds)
        return [event["comment"] for event in self.data()]

    def status(self) -> int:
        self.until(lambda connection: b"\r\n\r\n" in connection.received)
        return int(self.received.split()[1])

    def data(self) -> list[dict[str, Any]]:
        return [json.loads(line[6:]) for line in self.received.split(b"\n") if line.startswith(b"data: ") and line.endswith(b"}")]

    def ids(self) -> list[list[dict[str, Any]]]:
        return [json.loads(line[4:]) for line in self.received.split(b"\n") if line.startswith(b"id: ") and line.endswith(b"]")]

    def close(self) -> None:
        self._socket.close()


class Feed:
    """A bridge, and a way to make the wiki speak and somebody listen."""

    def __init__(self, **options: Any) -> None:
        self.bridge = Bridge(Options(**options))
        self.bridge.start()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._opened: list[Connection] = []

    def say(self, *comments: str, apart: float = 0.005) -> None:
        """An edit for each comment, apart in time: events of one millisecond share a place in the feed."""
        for comment in comments:
            before = self.bridge.topics.events
            packet = {"type": "edit", "title": comment, "comment": comment, "timestamp": int(time.time()), "old": None}
            self._udp.sendto(json.dumps(packet).encode(), ("127.0.0.1", self.bridge.udp_port))
            deadline = time.monotonic() + WAIT
            while self.bridge.topics.events == before and time.monotonic() < deadline and not self.bridge.options.reorder_prob:
                time.sleep(0.001)
            time.sleep(apart)

    def connect(self, path: str = RECENT, **headers: str) -> Connection:
        connection = Connection(self.bridge, path, **headers)
        self._opened.append(connection)
        connection.until(lambda c: b"\r\n\r\n" in c.received)
        return connection

    def resume(self, *entries: Any, path: str = RECENT) -> Connection:
        return self.connect(path, Last_Event_ID=json.dumps(list(entries)))

    def close(self) -> None:
        for connection in self._opened:
            connection.close()
        self._udp.close()
        self.bridge.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Feed]]:
    feeds: list[Feed] = []

    def make_feed(**options: Any) -> Feed:
        feeds.append(Feed(**options))
        return feeds[-1]

    yield make_feed
    for feed in feeds:
        feed.close()


@pytest.fixture
def feed(make: Callable[..., Feed]) -> Feed:
    return make()


def place(topic: str = EQIAD, partition: int = 0, **where: Any) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, **where}


def test_framing_and_ids(feed: Feed) -> None:
    live = feed.connect()
    feed.say("a", "b")
    assert live.events(2) == ["a", "b"]
    assert live.received.split(b"\r\n\r\n", 1)[1].startswith(b"5\r\n:ok\n\n\r\n")
    assert b"text/event-stream; charset=utf-8" in live.received
    first, second = live.ids()
    assert first == [place(timestamp=first[0]["timestamp"]), place(CODFW, offset=-1)]
    assert second[0]["timestamp"] > first[0]["timestamp"]
    meta = live.data()[0]["meta"]
    assert (meta["topic"], meta["partition"], meta["offset"]) == (EQIAD, 0, 0)
    assert "old" not in live.data()[0]


def test_resume_by_timestamp_loses_what_shares_the_millisecond(feed: Feed) -> None:
    feed.bridge.topics.append(EQIAD, 5000, {"comment": "a", "meta": {}})
    feed.bridge.topics.append(EQIAD, 5000, {"comment": "b", "meta": {}})
    feed.bridge.topics.append(EQIAD, 5001, {"comment": "c", "meta": {}})
    assert feed.resume(place(timestamp=5000)).events(3) == ["a", "b", "c"]
    assert feed.resume(place(timestamp=5001)).events(1) == ["c"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"offset": 1}, ["b", "c"]),
        ({"offset": -2}, ["a", "b", "c"]),
        ({"offset": -1}, []),
        ({"offset": 99}, []),
        ({"timestamp": 4102444800000}, []),
        ({"timestamp": 0, "offset": 0}, []),  # both: ignored
    ],
)
def test_resume_by(feed: Feed, where: dict[str, Any], expected: list[str]) -> None:
    feed.say("a", "b", "c")
    assert feed.resume(place(**where)).events(len(expected) or 1, WAIT if expected else 0.3) == expected


def test_only_the_named_partitions_are_read(feed: Feed) -> None:
    resumed = feed.resume(place(CODFW, offset=-1))
    feed.say("a")
    assert resumed.events(1, 0.3) == []


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("hello", 400),
        ("[]", 400),
        ('{"topic": "x"}', 400),
        ("", 400),
        (json.dumps([place()]), 400),
        (json.dumps([place(timestamp=1.5)]), 400),
        (json.dumps([place("eqiad.nope", offset=0)]), 404),
        (json.dumps([place("eqiad.mediawiki.page_change.v1", offset=0)]), 404),
        (json.dumps([place(offset=0), place(offset=3)]), 500),
        (json.dumps([place(partition=7, offset=0)]), 200),
        (json.dumps([EQIAD]), 200),
    ],
)
def test_tokens(feed: Feed, token: str, status: int) -> None:
    assert feed.connect(Last_Event_ID=token).status() == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/stream/nope", 400),
        ("/v2/stream/recentchange,nope", 400),
        ("/v1/stream/recentchange", 404),
        (f"{RECENT}?since=yesterday", 400),
        (f"{RECENT}?since=", 200),
        ("/v2/stream/mediawiki.recentchange,page_change.v1", 200),
    ],
)
def test_paths(feed: Feed, path: str, status: int) -> None:
    assert feed.connect(path).status() == status


@pytest.mark.parametrize(
    ("since", "expected"), [("2001-01-01", ["a", "b"]), ("2099-01-01T00:00:00Z", []), ("9999999999999", ["a", "b"])]
)
def test_since(feed: Feed, since: str, expected: list[str]) -> None:
    feed.say("a", "b")
    assert feed.connect(f"{RECENT}?since={since}").events(len(expected) or 1, WAIT if expected else 0.3) == expected


def test_events_made_elsewhere_join_the_stream(feed: Feed) -> None:
    joined = feed.connect("/v2/stream/recentchange,mediawiki.page_change.v1")
    feed.bridge.post({"$schema": "/x/1.0.0", "meta": {"stream": "mediawiki.page_change.v1", "id": "I"}, "comment": "posted"})
    feed.say("said")
    assert sorted(joined.events(2)) == ["posted", "said"]
    assert len(joined.ids()[-1]) == 4
    (posted,) = [event for event in joined.data() if event["comment"] == "posted"]
    assert posted["meta"]["id"] == "I"
    assert posted["meta"]["dt"].endswith("Z")


@pytest.mark.parametrize("how", ["clean", "abrupt", "midevent"])
def test_the_connection_is_cut(make: Callable[..., Feed], how: str) -> None:
    feed = make(max_conn_seconds=0.3, disconnect=how)
    feed.say("a")
    cut = feed.connect(f"{RECENT}?since=2001-01-01").until(lambda _: False)
    assert cut.closed
    assert cut.received.endswith(b"0\r\n\r\n") == (how == "clean")
    assert (b'"timestamp":99' in cut.received) == (how == "midevent")


def test_canaries_noise_and_duplicates(make: Callable[..., Feed]) -> None:
    feed = make(canary_every=0.1, noise_rate=50, dup_prob=1)
    live = feed.connect()
    feed.say("twice")
    live.until(lambda c: {event["meta"]["topic"] for event in c.data() if event["meta"]["domain"] == "canary"} == {EQIAD, CODFW})
    first, second = [event["meta"] for event in live.data() if event["comment"] == "twice"]
    assert first["id"] == second["id"]
    assert first["offset"] != second["offset"]
    assert {event.get("wiki") for event in live.data() if event["comment"] == "noise"} <= {
        "enwiki",
        "wikidatawiki",
        "commonswiki",
    }
    assert any(event["comment"] == "noise" for event in live.data())


def test_switch_over_partitions_and_retention(make: Callable[..., Feed]) -> None:
    feed = make(dc_mode="switch:2", partitions=2)
    live = feed.connect()
    feed.say(*"abcdefgh")
    live.events(8)
    assert {event["meta"]["topic"] for event in live.data()} == {EQIAD, CODFW}
    assert {event["meta"]["partition"] for event in live.data()} == {0, 1}
    short = make(retention=3)
    short.say(*"abcdef")
    assert short.connect(f"{RECENT}?since=2001-01-01").events(3) == ["d", "e", "f"]
    assert short.resume(place(offset=0)).events(1, 0.3) == []


def test_reordered_but_complete(make: Callable[..., Feed]) -> None:
    feed = make(reorder_prob=0.5, seed=5)
    live = feed.connect()
    feed.say(*"abcdefghij", apart=0.02)
    seen = live.events(10)
    assert sorted(seen) == list("abcdefghij")
    assert seen != list("abcdefghij")


def test_whole_seconds(make: Callable[..., Feed]) -> None:
    feed = make(ts_mode="second")
    live = feed.connect()
    feed.say("a")
    live.events(1)
    assert live.ids()[0][0]["timestamp"] % 1000 == 1


def test_refusals(make: Callable[..., Feed]) -> None:
    failing = make(connect_fail_prob=1)
    assert failing.connect().status() == 503
    assert b"Retry-After: 1" in failing.connect().received
    full = make(max_conns=1)
    full.connect()
    assert full.connect().status() == 429
