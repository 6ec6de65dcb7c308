"""One open connection to the bridge's feed."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bridge import Handler
    from .topics import Assigned

RUN_LENGTH = 50  # events of one partition at a time, as librdkafka delivers them


class Stream:
    """Events in runs of a partition, each line its own chunk, until somebody hangs up."""

    def __init__(self, request: Handler, assigned: list[Assigned]) -> None:
        self._request, self._bridge = request, request.server
        self._ndjson = (request.headers.get("Accept") or "").startswith("application/json")
        self._entries = {(a.entry["topic"], a.entry["partition"]): a.entry for a in assigned}
        self._at = {(a.entry["topic"], a.entry["partition"]): a.at for a in assigned if a.at is not None}
        self._started = time.monotonic()
        self._generation = self._bridge.generation

    def run(self) -> None:
        """Send until the end of the connection."""
        self._bridge.open_streams += 1
        self._bridge.counts["connections"] += 1
        try:
            self._head()
            self._send_events()
        except OSError:
            pass  # the client is gone
        finally:
            self._bridge.open_streams -= 1

    def _head(self) -> None:
        request = self._request
        request.send_response(200)
        kind = "application/json" if self._ndjson else "text/event-stream"
        request.send_header("access-control-allow-origin", "*")
        request.send_header("content-type", f"{kind}; charset=utf-8")
        request.send_header("cache-control", "no-cache")
        request.send_header("connection", "keep-alive")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.close_connection = True  # whatever the header says
        self._chunk("\n" if self._ndjson else ":ok\n\n")

    def _send_events(self) -> None:
        topics, options = self._bridge.topics, self._bridge.options
        while True:
            if self._expired() or self._bridge.generation != self._generation:
                self._bridge.counts["forced_disconnects"] += 1
                self._drop()
                return
            with topics.changed:
                batch = self._pull()
                if not batch:
                    topics.changed.wait(0.2)
                    batch = self._pull()
            if not batch and self._hung_up():
                return
            for key, offset, ms, event in batch:
                if self._expired():
                    break
                self._event(key, offset, ms, event)
                if options.throttle:
                    time.sleep(options.throttle)

    def _pull(self) -> list[tuple[tuple[str, int], int, int, dict[str, Any]]]:
        """What is there to send, some of each partition; where retention was quicker, go on at the end."""
        batch = []
        for key, at in self._at.items():
            first, end = self._bridge.topics.bounds(key)
            records = self._bridge.topics.read(key, at, RUN_LENGTH) if at >= first else ()
            batch += [(key, *record) for record in records]
            self._at[key] = at + len(records) if at >= first else end
        return batch

    def _event(self, key: tuple[str, int], offset: int, ms: int, event: dict[str, Any]) -> None:
        topic, partition = key
        place = {"timestamp": ms + 1} if self._bridge.options.id_mode == "timestamp" else {"offset": offset + 1}
        self._entries[key] = {"topic": topic, "partition": partition, **place}
        placed = {**event, "meta": {**event["meta"], "topic": topic, "partition": partition, "offset": offset}}
        data = _compact(placed)
        if self._ndjson:
            self._chunk(data + "\n")
            return
        self._chunk("event: message\n")
        self._chunk(f"id: {_compact(list(self._entries.values()))}\n")
        self._chunk(f"data: {data}\n\n")

    def _chunk(self, text: str) -> None:
        body = text.encode()
        self._request.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))

    def _expired(self) -> bool:
        limit = self._bridge.options.max_conn_seconds
        return bool(limit) and time.monotonic() - self._started >= limit

    def _drop(self) -> None:
        """End the connection the way that is set."""
        how, request = self._bridge.options.disconnect, self._request
        if how == "clean":
            request.wfile.write(b"0\r\n\r\n")
            return
        if how == "midevent":
            self._chunk("event: message\n")
            self._chunk('id: [{"topic":"eqiad.mediawiki.recentchange","partition":0,"timestamp":99')
            request.wfile.flush()
        else:
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    def _hung_up(self) -> bool:
        """Whether the client has closed its side."""
        connection = self._request.connection
        try:
            return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False


_compact: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
