"""What a client of EventStreams asked for and where it stands: sharp edges included (PROTOCOL 4 to 7, 11). No I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from syncer.demo.events import STREAMS
from syncer.demo.faults import DATACENTRES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncer.demo.log import EventLog, TopicPartition

LATEST, EARLIEST = -1, -2
RUN = 50  # events of one partition at a stretch, as the Kafka client hands them out
NAMES = {name: stream for stream in STREAMS for name in (stream, stream.removeprefix("mediawiki."))} | {
    "page_change.v1": ""  # no alias: this one needs its full name (PROTOCOL 1)
}


class Refusal(Exception):
    """An answer before the stream starts: an HTTP status, its reason phrase, a JSON body, perhaps a Retry-After."""

    def __init__(self, status: int, reason: str, body: dict[str, Any], retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.body = body
        self.retry_after = retry_after


class Delivery(NamedTuple):
    """One event: the ``id`` to stand before it, and its data."""

    position: bytes
    data: bytes


class Subscription:
    """Reads the topic-partitions it was given and writes the resume token that goes with each event.

    The token has one entry for each of them: the timestamp *after* the last event delivered, or as assigned where there was
    none. ``last_event_id`` beats both ``since`` and the streams; only what it names is read.
    """

    def __init__(self, log: EventLog, streams: Iterable[str], since: str | None = None, last_event_id: str | None = None) -> None:
        topics = [f"{centre}.{_stream(name)}" for name in dict.fromkeys(streams) for centre in DATACENTRES]
        moment = None if since in (None, "") else _moment(str(since))
        asked = _assigned(topics, log, moment) if last_event_id is None else _token(last_event_id, topics, log)
        self._log = log
        self._entries: dict[TopicPartition, bytes] = {}
        self._next: dict[TopicPartition, int] = {}
        # What has both an offset and a timestamp is in neither list and counts for nothing (PROTOCOL 5c).
        for entry in [e for e in asked if "timestamp" not in e] + [_resolve(log, e) for e in asked if "offset" not in e]:
            place = (entry["topic"], entry["partition"])
            if place in self._entries:
                raise Refusal(500, "Error: Local: Invalid argument or configuration", {})
            self._entries[place] = orjson.dumps(entry)
            if place in log.partitions:  # an unknown partition is silence, not an error (PROTOCOL 11)
                self._next[place] = _start(log, place, entry["offset"])

    def read(self) -> list[Delivery]:
        """What there is now, up to a run of each partition; order across partitions is not that of time."""
        found = []
        for place, offset in self._next.items():
            partition = self._log.partitions[place]
            records = partition.read(max(offset, partition.base), RUN)
            for record in records:
                entry = {"topic": place[0], "partition": place[1], "timestamp": record.timestamp + 1}
                self._entries[place] = orjson.dumps(entry)
                found.append(Delivery(b"[" + b",".join(self._entries.values()) + b"]", record.data))
            self._next[place] = max(offset, partition.base) + len(records)
        return found


def sse(deliveries: Iterable[Delivery]) -> bytes:
    """Events as they stand on the wire, without chunk framing."""
    return b"".join(b"event: message\nid: %b\ndata: %b\n\n" % delivery for delivery in deliveries)


def _stream(name: str) -> str:
    if not NAMES.get(name):
        body = {"status": 400, "type": "not_found", "title": "Stream Not Found", "detail": f"Invalid streams: {name}"}
        raise Refusal(400, "Bad Request", {**body, "method": "GET"})
    return NAMES[name]


def _moment(since: str) -> int:
    """Milliseconds. A number, in whatever unit, is taken for zero (PROTOCOL 7)."""
    try:
        float(since)
    except ValueError:
        pass
    else:
        return 0
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        body = {"status": 400, "type": "invalid_timestamp", "title": "Invalid timestamp", "method": "GET"}
        raise Refusal(400, "Bad Request", {**body, "detail": f"since is no timestamp: {since!r}"}) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _assigned(topics: Iterable[str], log: EventLog, moment: int | None) -> list[dict[str, Any]]:
    places = [place for topic in topics for place in log.partitions if place[0] == topic]
    where = {"offset": LATEST} if moment is None else {"timestamp": moment}
    return [{"topic": topic, "partition": partition, **where} for topic, partition in places]


def _token(last_event_id: str, topics: list[str], log: EventLog) -> list[dict[str, Any]]:
    try:
        entries = orjson.loads(last_event_id)
    except ValueError as error:
        raise _bad_token(str(error)) from None
    if not isinstance(entries, list) or not entries or not all(map(_is_entry, entries)):
        raise _bad_token("the token is an array of topics, or of objects with topic, partition and offset or timestamp")
    named = sorted({entry if isinstance(entry, str) else entry["topic"] for entry in entries} - set(topics))
    if named:
        said = f"Topics {', '.join(named)} are not available for consumption."
        body = {"message": said, "origin": "KafkaSSE", "name": "TopicNotAvailableError", "availableTopics": topics}
        raise Refusal(404, f"TopicNotAvailableError: {said}", {**body, "statusCode": 404})
    whole = _assigned([entry for entry in entries if isinstance(entry, str)], log, None)
    return whole + [entry for entry in entries if isinstance(entry, dict)]


def _is_entry(entry: Any) -> bool:
    if isinstance(entry, str):
        return True
    if not isinstance(entry, dict) or not isinstance(entry.get("topic"), str):
        return False
    numbers = [entry.get("partition"), entry.get("offset", entry.get("timestamp"))]
    return all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)


def _bad_token(why: str) -> Refusal:
    body = {"message": why, "origin": "KafkaSSE", "name": "InvalidAssignmentError", "statusCode": 400}
    return Refusal(400, f"InvalidAssignmentError: {why}", body)


def _resolve(log: EventLog, entry: dict[str, Any]) -> dict[str, Any]:
    """A timestamp entry as it stands in the first ids: the offset found for it, or "latest" (in this order of keys)."""
    partition = log.partitions.get((entry["topic"], entry["partition"]))
    offset = partition.offset_at(entry["timestamp"]) if partition else None
    return {"offset": LATEST if offset is None else offset, "partition": entry["partition"], "topic": entry["topic"]}


def _start(log: EventLog, place: TopicPartition, offset: int) -> int:
    """Where reading starts: out of range means the end, as Kafka's auto.offset.reset has it."""
    partition = log.partitions[place]
    if offset == EARLIEST:
        return partition.base
    return offset if partition.base <= offset <= partition.end else partition.end
