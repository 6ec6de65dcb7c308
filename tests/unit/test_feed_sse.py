from __future__ import annotations

import gzip
import json
import logging
import time

import pytest
from sseclient import SSEClient

from syncer.feed.sse import KEPT, MAX_LINES, Cutter, Event, Rejected
from tests.captures import EVENTS, Capture, captures, needs_shared

BLOCK = b'event: message\nid: [1]\ndata: {"a":1}\n\n'
ONE = Event("message", "[1]", b'{"a":1}')


def cut(*chunks: bytes, max_block: int = 1000) -> list[Event | Rejected]:
    cutter = Cutter(max_block)
    return [found for chunk in chunks for found in cutter.feed(chunk)]


def test_blocks_become_events() -> None:
    assert cut(b":ok\n\n", BLOCK, BLOCK) == [ONE, ONE]
    assert cut(b":ok\n\n" + BLOCK + BLOCK) == [ONE, ONE]


def test_every_line_may_be_a_chunk_of_its_own() -> None:
    lines = (b":ok\n\n" + BLOCK).splitlines(keepends=True)
    assert cut(*lines) == [ONE]
    assert cut(*(bytes([byte]) for byte in b":ok\n\n" + BLOCK)) == [ONE]


def test_a_truncated_last_event_is_not_dispatched_and_moves_no_position() -> None:
    for end in range(len(BLOCK)):
        assert cut(BLOCK, BLOCK[:end]) == [ONE]
    assert [event.id for event in SSEClient(iter([BLOCK[:-2]])).events()] == ["[1]"]  # what it does by itself


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_every_kind_of_line_end(newline: bytes) -> None:
    assert cut(BLOCK.replace(b"\n", newline), b":\n") == [ONE]


def test_mixed_line_ends_do_not_merge_events() -> None:
    mixed = b"id: [1]\r\ndata: {}\n\r\nid: [2]\ndata: {}\r\n\n"
    expected = [Event("message", "[1]", b"{}"), Event("message", "[2]", b"{}")]
    assert cut(mixed) == expected
    assert cut(*(bytes([byte]) for byte in mixed)) == expected
    assert len(list(SSEClient(iter([mixed])).events())) < 2  # what it does by itself


def test_a_return_at_the_end_of_a_chunk_waits_for_what_follows() -> None:
    assert cut(b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"\n") == [Event("message", "", b"1\n2")]
    assert cut(b"data: 1\r", b"\r", b":") == [Event("message", "", b"1")]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_a_byte_order_mark_at_the_start_hides_no_event(size: int) -> None:
    stream = b"\xef\xbb\xbf" + BLOCK
    assert cut(*(stream[at : at + size] for at in range(0, len(stream), size))) == [ONE]
    assert not list(SSEClient(iter([b"\xef\xbb\xbfdata: 1\n\n"])).events())  # what it does by itself


def test_a_byte_order_mark_elsewhere_is_part_of_the_line() -> None:
    later = b"\n\n\xef\xbb\xbfdata: 1\n\n"
    assert cut(later) == cut(later[:2], later[2:]) == []


def test_line_separators_of_unicode_do_not_tear_data() -> None:
    data = '{"comment":"a\u2028b\u2029c\x85d\x0be"}'.encode()
    assert cut(b"data: " + data + b"\n\n") == [Event("message", "", data)]


def test_bytes_that_are_no_utf8_come_through_as_they_are() -> None:
    assert cut(b"data: \xff\xfe{\n\n", BLOCK) == [Event("message", "", b"\xff\xfe{"), ONE]
    with pytest.raises(UnicodeDecodeError):  # what it does by itself
        list(SSEClient(iter([b"data: \xff\n\n"])).events())


def test_an_id_is_that_of_its_own_block() -> None:
    assert cut(BLOCK, b"data: {}\n\n")[1] == Event("message", "", b"{}")


def test_an_error_event_keeps_its_kind() -> None:
    assert cut(b"event: error\ndata: {}\n\n") == [Event("error", "", b"{}")]


def test_a_block_too_long_is_read_past_and_its_beginning_kept() -> None:
    long = b"id: [2]\ndata: " + b"x" * 200 + b"\n\n"
    stream = BLOCK + long + BLOCK
    expected = [ONE, Rejected(len(long) - 2, long[:100]), ONE]
    assert cut(stream, max_block=100) == expected
    for size in (1, 7, 64, 150):
        assert cut(*(stream[at : at + size] for at in range(0, len(stream), size)), max_block=100) == expected


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_exactly_as_long_as_allowed_is_not_too_long(size: int) -> None:
    for length in (99, 100, 101):
        stream = b":\n\n\ndata: " + b"x" * (length - 6) + b"\n\n"
        found = cut(*(stream[at : at + size] for at in range(0, len(stream), size)), max_block=100)
        assert [type(item) for item in found] == [Rejected if length > 100 else Event]


def test_no_more_than_the_beginning_of_an_endless_block_is_held() -> None:
    cutter = Cutter(10_000)
    for _ in range(1000):
        assert cutter.feed(b"x" * 10_000) == []
        assert len(cutter._buffer) <= 20_000
    found = cutter.feed(b"\n\n" + BLOCK)
    assert found == [Rejected(10_000_000, b"x" * KEPT), ONE]


def test_many_data_lines_are_rejected_for_what_they_would_cost() -> None:
    def block(lines: int) -> bytes:
        return b"data: 1\n" * lines + b"\n"

    assert cut(block(MAX_LINES)) == [Event("message", "", b"\n".join([b"1"] * MAX_LINES))]
    assert cut(block(MAX_LINES + 1), BLOCK) == [Rejected(8 * MAX_LINES + 7, block(MAX_LINES + 1)[: 8 * MAX_LINES + 7]), ONE]
    begin = time.process_time()
    assert all(isinstance(found, Rejected) for found in cut(block(100_000) * 4, max_block=10**6))
    assert time.process_time() - begin < 1.0  # 4 x 0.8 MB; by itself it would take some ten seconds


def test_the_library_writes_nothing_of_the_stream_into_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        cut(b"secret: 1\ndata: secret\n\n")
    assert not caplog.records


@needs_shared
def test_every_capture_gives_the_events_it_has() -> None:
    streams = [
        capture
        for capture in captures().values()
        if capture.status == 200 and capture.headers["content-type"].startswith("text/event-stream")
    ]
    assert len(streams) > 30
    for capture in streams:
        found = [event for event in cut(*capture.chunks, max_block=10**6) if isinstance(event, Event)]
        assert [event.id for event in found] == capture.ids, capture.name
        assert [json.loads(event.data) for event in found] == capture.events
        assert cut(capture.body, max_block=10**6) == found


@needs_shared
def test_the_odd_payloads_of_a_real_server() -> None:
    capture: Capture = captures()["50"]
    found = cut(*capture.chunks, max_block=256 * 1024)
    rejected = [item for item in found if isinstance(item, Rejected)]
    assert [item.size > 700_000 and len(item.raw) == KEPT for item in rejected] == [True]
    assert rejected[0].raw.startswith(b"event: message\nid: [{")
    assert len(found) == len(capture.events)


@needs_shared
def test_the_recorded_minute_is_decoded_to_its_last_complete_event() -> None:
    stream = gzip.decompress((EVENTS / "raw-recentchange-20210827-kirajano.sse.gz").read_bytes())
    lines = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: ")]
    found = cut(*(stream[at : at + 4096] for at in range(0, len(stream), 4096)), max_block=256 * 1024)
    assert [event.data for event in found if isinstance(event, Event)] == lines[:-1]  # the recording stops behind one line end
    assert len(cut(stream + b"\n", max_block=256 * 1024)) == len(lines) == 1950
