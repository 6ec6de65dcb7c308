"""The bridge: what the wiki says of its changes, served as an EventStreams endpoint with that service's sharp edges.

    MediaWiki's RCFeed (UDP) ──┐
    synth (page_change, ...) ──┼──► topics ──► GET /v2/stream/<names>   Last-Event-ID, ?since=
    canaries, noise ───────────┘              GET /_lab/state, /_lab/events, /_lab/disconnect, /_lab/set?name=value

Behaves as the real KafkaSSE and EventStreams were observed to: ids with the timestamp plus 1 (events of the same millisecond
are lost on resume), offset -1 for topics not yet seen, only partitions named in Last-Event-ID are read, a numeric ``since``
is the beginning, no keep-alive, no ``retry:``, one HTTP chunk a line, canaries not filtered. Standard library, loopback only.
"""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import urllib.parse
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from . import events
from .stream import Stream
from .topics import ALIASES, PAGE_CHANGE, RECENT_CHANGE, STREAMS, BadAssignment, Topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .options import Options
    from .topics import Assigned


class Bridge(ThreadingHTTPServer):
    """The endpoint and its sources. ``generation`` is raised to end every open stream."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, options: Options, *, port: int = 0, udp_port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.options = options
        self.topics = Topics(options)
        self.random = random.Random(options.seed)
        self.open_streams = 0
        self.generation = 0
        self._closed = threading.Event()
        self.counts = dict.fromkeys(("udp", "bad_udp", "posted", "canary", "noise", "connections", "forced_disconnects"), 0)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._udp.bind(("127.0.0.1", udp_port))
        self.udp_port: int = self._udp.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v2/stream"

    def start(self) -> None:
        """Serve and listen, in threads that end with the process."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        for work in (self._listen, self._canaries, self._noise):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Stop serving; open streams end with the process."""
        self._closed.set()
        self.generation += 1
        self.shutdown()
        self.server_close()
        self._udp.close()

    def post(self, event: dict[str, Any]) -> None:
        """Take an event that was made elsewhere."""
        self.counts["posted"] += 1
        self.topics.publish(*events.arrived(event, self.options))

    def _listen(self) -> None:
        while True:
            try:
                data, _ = self._udp.recvfrom(65536)
            except OSError:
                return  # closed
            self.counts["udp"] += 1
            try:
                self.topics.publish(*events.recent_change(json.loads(data), self.options))
            except ValueError:  # a packet longer than 64 KB arrives cut
                self.counts["bad_udp"] += 1

    def _canaries(self) -> None:
        while not self._closed.wait(max(0.05, self.options.canary_every or 1)):
            if not self.options.canary_every:
                continue
            for stream in STREAMS:
                for topic in self.topics.of(stream):
                    self.topics.append(topic, *self._invented("canary", "examplewiki", "canary", stream), partition=0)
                    self.counts["canary"] += 1

    def _noise(self) -> None:
        while not self._closed.wait(1 / self.options.noise_rate if self.options.noise_rate else 1):
            if self.options.noise_rate:
                domain, wiki = self.random.choice(events.OTHER_WIKIS)
                for stream in (RECENT_CHANGE, PAGE_CHANGE):
                    self.topics.publish(*self._invented(domain, wiki, "noise", stream))
                self.counts["noise"] += 1

    def _invented(self, domain: str, wiki: str, word: str, stream: str) -> tuple[int, dict[str, Any]]:
        return events.invented(domain, wiki, word, stream, self.random.randrange(10**9))

    def state(self) -> dict[str, Any]:
        """What went through, for people and for tests that wait."""
        bounds = {f"{topic}:{partition}": self.topics.bounds((topic, partition)) for topic, partition in self.topics.partitions()}
        return {"events": self.topics.events, "open_streams": self.open_streams, "bounds": bounds, **self.counts}

    def lines(self) -> Iterator[str]:
        """Every event still there, a JSON line each."""
        for key in self.topics.partitions():
            first, end = self.topics.bounds(key)
            for offset, ms, event in self.topics.read(key, first, end - first):
                place = {"topic": key[0], "partition": key[1], "offset": offset, "timestamp": ms}
                yield json.dumps({**place, "event": event}, ensure_ascii=False) + "\n"


class Answer(Exception):
    """Ends a request with this status and body."""

    def __init__(self, status: int, body: Any, *, reason: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.reason, self.retry_after = status, body, reason, retry_after


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Bridge

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        try:
            if url.path.startswith("/_lab/"):
                raise self._control(url.path.removeprefix("/_lab/"), query)
            assigned = self._assign(url.path, query)
        except Answer as answer:
            self._answer(answer)
        else:
            Stream(self, assigned).run()

    def _answer(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status, answer.reason)
        if answer.reason is None:  # KafkaSSE's own refusals have no content type
            self.send_header("Content-Type", "application/json; charset=utf-8")
        if answer.retry_after is not None:
            self.send_header("Retry-After", str(answer.retry_after))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _control(self, what: str, query: dict[str, list[str]]) -> Answer:
        bridge = self.server
        with bridge.topics.changed:
            match what:
                case "state":
                    return Answer(200, bridge.state())
                case "events":
                    return Answer(200, "".join(bridge.lines()).encode())
                case "disconnect":
                    bridge.generation += 1
                    return Answer(200, {"dropped": bridge.open_streams})
                case "set":
                    try:
                        for name, values in query.items():
                            bridge.options.set(name, values[0])
                    except (AttributeError, ValueError) as error:
                        return Answer(400, {"error": str(error)})
                    return Answer(200, {})
        return Answer(404, {"error": "no such control"})

    def _assign(self, path: str, query: dict[str, list[str]]) -> list[Assigned]:
        """Where this connection reads. Raises Answer for every request that gets no stream (PROTOCOL 1, 7, 10, 11)."""
        bridge, options = self.server, self.server.options
        match = re.fullmatch(r"/v2/stream/([^/]+)", path)
        if not match:
            raise Answer(404, self._problem(404, "not_found#route", "Not Found"))
        names = urllib.parse.unquote(match[1]).split(",")
        if bad := [name for name in names if name not in ALIASES]:
            raise Answer(400, self._problem(400, "not_found", "Stream Not Found", f"Invalid streams: {','.join(bad)}"))
        if bridge.random.random() < options.connect_fail_prob:
            raise Answer(503, b"upstream connect error", retry_after=1)
        if options.max_conns and bridge.open_streams >= options.max_conns:
            title = "Too Many Concurrent Connections From Your Client IP"
            raise Answer(429, self._problem(429, "too_many_requests", title), retry_after=1)
        since = self._since(query.get("since", [""])[0])
        topics = list(dict.fromkeys(topic for name in names for topic in bridge.topics.of(ALIASES[name])))
        try:
            with bridge.topics.changed:
                return bridge.topics.assign(self.headers.get("Last-Event-ID"), since, topics)
        except BadAssignment as error:
            reason = str(error).encode("ascii", "replace").decode()
            raise Answer(error.status, json.dumps(error.body).encode() + b"\n", reason=reason) from error

    def _since(self, text: str) -> int | None:
        """``since`` in ms; a number means the beginning, whatever it is (PROTOCOL 7)."""
        if not text:
            return None
        if re.fullmatch(r"[-+]?[\d.]+", text):
            return 0
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            detail = f"since timestamp is not a UTC milliseconds unix epoch and was not parseable: '{text}'"
            raise Answer(400, self._problem(400, "invalid_timestamp", "Invalid timestamp", detail)) from error
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)

    def _problem(self, status: int, kind: str, title: str, detail: str = "") -> dict[str, Any]:
        return {"status": status, "type": kind, "title": title, "detail": detail, "method": "GET", "uri": self.path}
