from __future__ import annotations

import json
from typing import Any

import pytest

from syncer.feed.position import MAX_TOPIC_PARTITIONS, NOWHERE, Cursor, canonical, floor, iso, milliseconds, since, stream_of
from syncer.model import Position
from tests.captures import captures, needs_shared

EQIAD, CODFW = ("eqiad.mediawiki.recentchange", 0), ("codfw.mediawiki.recentchange", 0)
CHANGE = ("codfw.mediawiki.page_change.v1", 0)
STREAMS = ("recentchange",)
SAFE, HORIZON = 500, 10**15


def entry(source: tuple[str, int], **where: object) -> dict[str, Any]:
    return {"topic": source[0], "partition": source[1], **where}


def absorb(cursor: Cursor, *entries: object) -> tuple[tuple[str, int], int]:
    return cursor.absorb(json.dumps(entries), SAFE, HORIZON)


def token(cursor: Cursor, rewind: float = 0) -> list[Any]:
    return list(json.loads(cursor.token(rewind)))


def test_the_timestamp_in_an_id_is_one_more_than_the_events() -> None:
    cursor = Cursor(STREAMS, Position())
    assert absorb(cursor, entry(EQIAD, timestamp=1001), entry(CODFW, offset=-1)) == (EQIAD, 1000)
    assert cursor.position() == Position({EQIAD: 1000, CODFW: SAFE})


def test_the_largest_timestamp_counts_not_the_last() -> None:
    cursor = Cursor(STREAMS, Position())
    sources = [absorb(cursor, entry(EQIAD, timestamp=at + 1)) for at in (1000, 4000, 2000, 3000)]
    assert sources == [(EQIAD, 1000), (EQIAD, 4000), (EQIAD, 2000), (EQIAD, 3000)]
    assert cursor.position() == Position({EQIAD: 4000})


def test_a_token_names_everything_known_by_rewound_timestamps_alone() -> None:
    cursor = Cursor(STREAMS, Position())
    absorb(cursor, entry(EQIAD, timestamp=40_001), entry(CODFW, offset=17))
    assert token(cursor, 1.5) == [entry(CODFW, timestamp=0), entry(EQIAD, timestamp=38_500)]


def test_where_ids_are_of_offsets_alone_the_event_tells_its_time() -> None:
    cursor = Cursor(STREAMS, Position())
    ids = [json.dumps([entry(EQIAD, offset=number), entry(CODFW, offset=-1)]) for number in (7, 8, 9, 10)]
    times: list[dict[str, str]] = [{"dt": iso(1000)}, {"dt": iso(4000)}, {}, {"dt": iso(HORIZON // 10)}]
    told = [json.dumps({"meta": {"topic": EQIAD[0], "partition": 0, **each}}).encode() for each in times]
    found = [cursor.absorb(event_id, SAFE, 10_000, data) for event_id, data in zip(ids, told, strict=True)]
    assert found == [(EQIAD, 1000), *[(EQIAD, 4000)] * 3]
    assert cursor.position() == Position({EQIAD: 4000, CODFW: SAFE})
    assert cursor.absorb(ids[0], SAFE, 10_000, b"{") == (EQIAD, 4000)
    cursor.connected()
    dated = json.dumps([entry(EQIAD, timestamp=5001), entry(CODFW, offset=-1)])
    assert cursor.absorb(dated, SAFE, 10_000, told[0]) == (EQIAD, 5000)


def test_a_token_names_no_topic_of_a_stream_that_is_not_asked_for() -> None:
    start = Position({EQIAD: 1000, CHANGE: 2000})
    assert token(Cursor(STREAMS, start)) == [entry(EQIAD, timestamp=1000)]
    assert Cursor(STREAMS, start).position() == Position({EQIAD: 1000})


def test_a_stream_that_was_added_makes_the_position_incomplete() -> None:
    both = (*STREAMS, "mediawiki.page_change.v1")
    assert Cursor(STREAMS, Position({EQIAD: 1})).complete
    assert not Cursor(both, Position({EQIAD: 1})).complete
    assert Cursor(both, Position({EQIAD: 1, CHANGE: 1})).complete
    assert not Cursor(STREAMS, Position()).complete


def test_a_partition_added_upstream_joins_with_a_safe_time() -> None:
    cursor = Cursor(STREAMS, Position({EQIAD: 9000}))
    new = (EQIAD[0], 1)
    absorb(cursor, entry(EQIAD, timestamp=9501), entry(new, offset=-1))
    assert cursor.position() == Position({EQIAD: 9500, new: SAFE})
    absorb(cursor, entry(EQIAD, timestamp=9501), entry(new, timestamp=9601))
    assert cursor.position() == Position({EQIAD: 9500, new: 9600})


def test_a_known_topic_partition_without_a_timestamp_keeps_its_own() -> None:
    cursor = Cursor(STREAMS, Position({EQIAD: 9000, CODFW: 8000}))
    absorb(cursor, entry(CODFW, offset=3), entry(EQIAD, timestamp=9101))
    assert cursor.position() == Position({EQIAD: 9100, CODFW: 8000})


def test_events_of_one_millisecond_come_from_where_the_last_one_did() -> None:
    cursor = Cursor(STREAMS, Position())
    entries = entry(EQIAD, timestamp=1001), entry(CODFW, timestamp=1001)
    absorb(cursor, entry(EQIAD, timestamp=1001), entry(CODFW, timestamp=901))
    assert absorb(cursor, *entries) == (CODFW, 1000)
    assert absorb(cursor, *entries) == (CODFW, 1000)


def test_a_new_connection_may_name_things_in_another_order() -> None:
    cursor = Cursor(STREAMS, Position())
    assert absorb(cursor, entry(EQIAD, timestamp=1001), entry(CODFW, offset=5)) == (EQIAD, 1000)
    cursor.connected()
    assert absorb(cursor, entry(CODFW, timestamp=1001), entry(EQIAD, offset=5)) == (CODFW, 1000)
    assert cursor.position() == Position({EQIAD: 1000, CODFW: 1000})


def test_a_topic_of_no_stream_that_is_asked_for_is_not_remembered() -> None:
    cursor = Cursor(STREAMS, Position())
    absorb(cursor, entry(CHANGE, timestamp=1001), entry(EQIAD, timestamp=1001))
    assert cursor.position() == Position({EQIAD: 1000})


def test_a_producers_wrong_clock_does_not_move_the_position() -> None:
    cursor = Cursor(STREAMS, Position({EQIAD: 1000}))
    cursor.absorb(json.dumps([entry(EQIAD, timestamp=99_001)]), SAFE, 50_000)
    assert cursor.position() == Position({EQIAD: 1000})


@pytest.mark.parametrize(
    "event_id",
    [
        "", "x", "[", "1", "null", '"a"', "{}", '{"topic":"a"}', "[1]", "[null]", '["eqiad.mediawiki.recentchange"]', "[{}]",
        '[{"topic":["a"],"partition":0,"timestamp":5}]', '[{"topic":"eqiad.mediawiki.recentchange","timestamp":5}]',
        '[{"topic":"eqiad.mediawiki.recentchange","partition":"0","timestamp":5}]',
        '[{"topic":"eqiad.mediawiki.recentchange","partition":true,"timestamp":5}]', '[{"topic":7,"partition":0,"timestamp":5}]',
        "\udc80", "[" * 5000,
    ],
)  # fmt: skip
def test_an_id_that_cannot_be_read_changes_nothing(event_id: str) -> None:
    cursor = Cursor(STREAMS, Position())
    assert cursor.absorb(event_id, SAFE, HORIZON) == NOWHERE
    assert cursor.position() == Position()


@pytest.mark.parametrize("stated", [1.5, "5", True, 0, -7, None, [], 10**30])
def test_a_timestamp_that_is_none_moves_nothing(stated: object) -> None:
    cursor = Cursor(STREAMS, Position({EQIAD: 1000}))
    assert absorb(cursor, entry(EQIAD, timestamp=stated)) == NOWHERE
    assert cursor.position() == Position({EQIAD: 1000})


def test_ids_that_name_ever_more_are_bounded() -> None:
    cursor = Cursor(STREAMS, Position())
    absorb(cursor, *(entry((EQIAD[0], number), offset=0) for number in range(2 * MAX_TOPIC_PARTITIONS)))
    assert len(cursor.timestamps) == MAX_TOPIC_PARTITIONS


def test_the_safe_start_is_that_of_the_stream_least_advanced() -> None:
    assert floor({}) is None
    assert floor({EQIAD: 5000, CODFW: 100}) == 5000
    assert floor({EQIAD: 5000, CODFW: 100, CHANGE: 4000}) == 4000


def test_a_position_prints_as_the_setting_that_goes_on_from_it() -> None:
    assert since(Position({EQIAD: 1795487525872}), 30) == "2026-11-24T02:31:35.872Z"
    assert since(Position(), 30) is None


def test_times() -> None:
    assert iso(1795487525872) == "2026-11-24T02:32:05.872Z"
    for text in ("2026-11-24T02:32:05.872Z", "2026-11-24T02:32:05.872", "2026-11-24T03:32:05.872+01:00"):
        assert milliseconds(text) == 1795487525872
    with pytest.raises(ValueError, match="Invalid isoformat"):
        milliseconds("1795487525")


def test_names() -> None:
    assert canonical("recentchange") == "mediawiki.recentchange"
    assert canonical("mediawiki.page_change.v1") == "mediawiki.page_change.v1"
    assert stream_of("eqiad.mediawiki.page_change.v1") == "mediawiki.page_change.v1"


# -- what the captures of a real server teach ----------------------------------------------------------------------------------


def follow(name: str, start: Position | None = None, streams: tuple[str, ...] = STREAMS) -> Cursor:
    """A cursor that has seen what a capture delivered."""
    cursor = Cursor(streams, start or Position())
    for event_id in captures()[name].ids:
        cursor.absorb(event_id, SAFE, HORIZON)
    return cursor


def missed(name: str, cursor: Cursor, rewind: float) -> list[Any]:
    """Those of another capture's events that a token of this cursor would not ask for."""
    asked = {(each["topic"], each["partition"]): each["timestamp"] for each in token(cursor, rewind)}
    lost, other = [], Cursor(STREAMS, Position())
    for event_id, event in zip(captures()[name].ids, captures()[name].events, strict=True):
        source, at = other.absorb(event_id, SAFE, HORIZON)
        if source not in asked or at < asked[source]:
            lost.append(event["comment"])
    return lost


@needs_shared
def test_02_what_came_while_away_is_asked_for() -> None:
    assert len(captures()["02"].events) == 2
    assert missed("02", follow("01"), 0) == []


@needs_shared
def test_02b_the_other_data_centre_is_asked_for_though_it_was_silent() -> None:
    sent = captures()["02b"].asked["last-event-id"]
    assert {"topic": CODFW[0], "partition": 0, "offset": -1} in json.loads(sent)  # and so its event was lost
    cursor = Cursor(STREAMS, Position())
    cursor.absorb(sent, SAFE, HORIZON)
    assert entry(CODFW, timestamp=SAFE) in token(cursor)


@needs_shared
def test_04_and_05_the_others_of_one_millisecond_are_asked_for_again() -> None:
    cursor = Cursor(STREAMS, Position())
    for event_id in captures()["04"].ids[:2]:
        cursor.absorb(event_id, SAFE, HORIZON)
    assert len(captures()["05"].events) < 4  # upstream's own token lost them
    assert missed("04", cursor, 0) == []


@needs_shared
def test_06_and_07_disorder_is_covered_by_the_rewind() -> None:
    cursor = Cursor(STREAMS, Position())
    for event_id in captures()["06"].ids[:2]:
        cursor.absorb(event_id, SAFE, HORIZON)
    assert missed("06", cursor, 30) == []
    assert missed("06", cursor, 0) != []  # what 07-1 lost


@needs_shared
def test_08_offsets_in_a_token_are_never_sent_back() -> None:
    assert '"offset":1' in captures()["08"].ids[0]
    assert all(set(each) == {"topic", "partition", "timestamp"} for each in token(follow("08")))


@needs_shared
def test_10_a_topic_that_the_ids_stop_naming_is_still_asked_for() -> None:
    assert all("codfw" not in event_id for event_id in captures()["10"].ids)
    assert CODFW in follow("10", Position({CODFW: 1000})).timestamps


@needs_shared
def test_70_a_real_wikis_events_make_the_position_complete() -> None:
    assert not Cursor(STREAMS, Position()).complete
    assert follow("70").complete


@needs_shared
def test_every_capture_moves_the_position_to_the_largest_timestamp_it_delivered() -> None:
    for capture in captures().values():
        if not capture.ids:
            continue
        stated: dict[tuple[str, int], int] = {}
        for event_id in capture.ids:
            for each in json.loads(event_id):
                if "timestamp" in each:
                    source = (each["topic"], each["partition"])
                    stated[source] = max(each["timestamp"] - 1, stated.get(source, 0))
        found = follow(capture.name).timestamps
        assert {source: at for source, at in found.items() if at != SAFE} == stated, capture.name
