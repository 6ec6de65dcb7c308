"""The journal's inner records: what is written is read again, and nothing is in them that would have to be erased."""

from __future__ import annotations

from datetime import UTC
from enum import StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.journal import Topic, change_record, partition_of
from syncer.model import Cause, Change, Position, Source, Visibility
from syncer.records import (
    BY_HAND,
    Resume,
    SetAside,
    decode_change,
    decode_mark,
    decode_resume,
    decode_set_aside,
    encode_change,
    encode_mark,
    encode_resume,
    encode_set_aside,
    encode_watermark,
    replayed,
)

NAMES = st.text(min_size=1, max_size=8)
IDS = st.lists(st.integers(1, 2**40), max_size=3).map(tuple)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda when: when.isoformat())
SOURCES = st.builds(Source, NAMES, NAMES, TIMES, TIMES)
SEEN = st.builds(Visibility, st.booleans(), st.booleans(), st.booleans())
CHANGES = st.builds(
    Change,
    wiki_id=NAMES,
    domain=NAMES,
    cause=st.sampled_from(Cause),
    source=SOURCES,
    rev_ids=IDS,
    titles=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    page_ids=IDS,
    namespace=st.none() | st.integers(-2, 3000),
    parent_rev_id=st.none() | st.integers(0, 2**40),
    claims=st.lists(st.tuples(st.integers(1, 2**40), SEEN), max_size=2).map(tuple),
    bot=st.booleans(),
    replay_of=st.none() | NAMES,
)
SOURCE = Source("mediawiki.recentchange", "id-1", "2026-11-02T09:59:58Z", "2026-11-02T09:59:59Z")
CHANGE = Change(
    wiki_id="enwiki", domain="en.wikipedia.org", cause=Cause.EDIT, source=SOURCE, rev_ids=(7,), titles=("One",), namespace=0
)


@given(CHANGES)
def test_a_change_is_read_as_it_was_written(change: Change) -> None:
    assert decode_change(encode_change(change)) == change


def test_a_change_says_nothing_that_is_empty() -> None:
    assert orjson.loads(encode_change(CHANGE)) == {
        "wiki_id": "enwiki", "domain": "en.wikipedia.org", "cause": "edit", "rev_ids": [7], "titles": ["One"], "namespace": 0,
        "bot": False, "stream": SOURCE.stream, "event_id": "id-1", "event_time": SOURCE.event_time,
        "received_at": SOURCE.received_at,
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [b"", b"null", b"[]", b"7", b"{}", b'"wiki_id"', b"\xff", encode_change(CHANGE).replace(b'"edit"', b'"sneeze"'),
     encode_change(CHANGE).replace(b'"wiki_id"', b'"wiki"'), encode_change(CHANGE).replace(b"[7]", b"7"),
     *(encode_change(CHANGE).replace(b"[7]", b"[%d]" % number) for number in (0, -1, 2**63, 2**64, 10**30)),
     encode_change(CHANGE).replace(b"[7]", b"[7.0]"), encode_change(CHANGE).replace(b"2026-11-02T09:59:58Z", b"not a time"),
     encode_change(CHANGE).replace(b"2026-11-02T09:59:59Z", b"2026-11-02T09:59:59")],
)  # fmt: skip
def test_what_is_no_change_is_an_error_that_the_reader_expects(value: bytes) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_change(value)


def test_a_change_lies_with_its_wiki_under_its_page() -> None:
    record = change_record(CHANGE, 12)
    assert (record.topic, record.partition, record.key) == (Topic.CHANGES, partition_of("enwiki", 12), "enwiki:One")
    assert record.headers == {"wiki": "enwiki", "cause": "edit"}
    assert decode_change(record.value) == CHANGE
    for parts, key in ({"page_ids": (5,)}, "w:5"), ({"rev_ids": (6,)}, "w:6"), ({}, "w:"):
        nameless: dict[str, Any] = {"wiki_id": "w", "domain": "d", "cause": Cause.LOG, "source": SOURCE, **parts}
        assert change_record(Change(**nameless), 12).key == key


def test_a_replay_is_a_new_change_that_names_the_first_one() -> None:
    once = replayed(CHANGE, "id-2", "2026-11-03T00:00:00Z")
    assert (once.change_id, once.replay_of, once.source.event_time) == ("id-2", "id-1", SOURCE.event_time)
    assert once.source.received_at == "2026-11-03T00:00:00Z"
    assert once.source.stream in BY_HAND
    assert (once.rev_ids, once.titles, once.cause) == (CHANGE.rev_ids, CHANGE.titles, CHANGE.cause)
    assert replayed(once, "id-3", "2026-11-04T00:00:00Z").replay_of == "id-1"


def test_a_mark_is_a_time() -> None:
    assert decode_mark(encode_mark("2026-11-02T09:59:58.123Z")) == "2026-11-02T09:59:58.123Z"


class Reason(StrEnum):
    CANARY = "canary"


def test_ingests_own_record_is_read_as_it_was_written() -> None:
    resume = Resume(
        Position({("eqiad.mediawiki.recentchange", 0): 1_762_077_598_123, ("codfw.mediawiki.recentchange", 0): 5}),
        {0: 7, 11: 9},
        {Reason.CANARY: 4, "duplicate": 1},
        {"too_large": 1},
        ((None, "2026-11-02T09:00:00Z"), ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")),
    )
    assert decode_resume(encode_resume(resume)) == resume
    assert decode_resume(encode_resume(Resume(Position(), {}, {}, {}))) == Resume(Position(), {}, {}, {})


@given(st.builds(SetAside, NAMES, st.text(max_size=9), NAMES, st.none() | CHANGES, st.none(), st.none() | NAMES))
def test_a_set_aside_is_read_as_it_was_written(entry: SetAside) -> None:
    assert decode_set_aside(encode_set_aside(entry)) == entry


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"data: {", b"data: {"),
        (b"\xff\x00\xc3", b"\\xff\x00\\xc3"),
        ("é😀".encode(), "é😀".encode()),
        (b"", b""),
    ],
)
def test_what_could_not_be_read_is_kept_as_text(raw: bytes, kept: bytes) -> None:
    encoded = encode_set_aside(SetAside("bad_json", "at 7", "2026-11-02T10:00:00Z", None, raw))
    assert decode_set_aside(encoded).raw == kept
    orjson.loads(encoded)


def test_a_watermark_answers_whether_a_wiki_is_complete() -> None:
    gaps = ((None, "2026-11-02T09:00:00Z"),)
    assert orjson.loads(encode_watermark("enwiki", "2026-11-02T09:59:58Z", 2, gaps)) == {
        "wiki_id": "enwiki", "complete_to": "2026-11-02T09:59:58Z", "open_set_asides": 2,
        "gaps": [[None, "2026-11-02T09:00:00Z"]],
    }  # fmt: skip
