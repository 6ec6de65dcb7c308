"""The small parts: who is alive, what is remembered, what is wanted, what becomes of an event, how failures are told."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from syncer.config import PUBLIC_DOMAINS, WikiSettings
from syncer.errors import FeedUnavailable
from syncer.feed import Delivered, Scope
from syncer.feed.decode import digest
from syncer.feed.event import AsideReason, SkipReason
from syncer.feed.memory import APART, Memory, Told
from syncer.feed.sift import Sift, Unfit
from syncer.feed.sse import KEPT, Rejected
from syncer.feed.vitals import QUIET_AFTER, SILENT_AFTER, Vitals
from syncer.model import Cause, Change, Source
from syncer.trouble import LONGEST_ASKED, MOST, Trouble

if TYPE_CHECKING:
    from syncer.feed.position import TopicPartition

RECENT, PAGE_CHANGE, CREATE = "mediawiki.recentchange", "mediawiki.page_change.v1", "mediawiki.revision-create"
EQIAD, CODFW, PAGES = (f"eqiad.{RECENT}", 0), (f"codfw.{RECENT}", 0), (f"codfw.{PAGE_CHANGE}", 0)
NOW = "2026-11-24T05:00:00.000Z"
T0 = 1_795_496_400_000  # that, as a timestamp


# -- vitals ----------------------------------------------------------------------------------------------------------------


def test_nothing_is_known_before_anything_came() -> None:
    assert Vitals().feed_time(0) is None
    assert Vitals().quiet(10**6) == {}


def test_the_feed_is_as_far_as_its_slowest_topic_partition() -> None:
    vitals = Vitals()
    vitals.listening(0)
    vitals.heard({EQIAD: 5000, PAGES: 3000}, 1)
    assert vitals.feed_time(2) == 3000
    vitals.heard({EQIAD: 9000, PAGES: 4000}, 3)
    assert vitals.feed_time(3) == 4000


def test_who_is_silent_while_others_talk_does_not_hold_the_feed_back() -> None:
    vitals = Vitals()
    vitals.listening(0)
    vitals.heard({EQIAD: 5000, CODFW: 100}, 0)
    vitals.heard({EQIAD: 9000, CODFW: 100}, SILENT_AFTER - 1)
    assert vitals.feed_time(SILENT_AFTER - 1) == 100
    assert vitals.feed_time(SILENT_AFTER + 1) == 9000


def test_after_a_reconnect_everybody_gets_the_time_to_speak_and_the_feed_time_does_not_fall() -> None:
    vitals = Vitals()
    vitals.listening(0)
    vitals.heard({EQIAD: 9000, CODFW: 100}, 0)
    vitals.heard({EQIAD: 9500, CODFW: 100}, 100)
    assert vitals.feed_time(100) == 9500
    vitals.listening(101)
    vitals.heard({EQIAD: 9900, CODFW: 100}, 102)
    assert vitals.feed_time(103) == 9500
    assert vitals.feed_time(101 + SILENT_AFTER) == 9900


def test_if_all_are_silent_nothing_new_is_known() -> None:
    vitals = Vitals()
    vitals.heard({EQIAD: 9000}, 0)
    assert vitals.feed_time(1) == 9000
    assert vitals.feed_time(10**6) == 9000
    assert Vitals().feed_time(10**6) is None


def test_a_topic_without_even_canaries_is_quiet_until_it_speaks() -> None:
    vitals = Vitals()
    vitals.heard({EQIAD: 1000, CODFW: 1000}, 0)
    vitals.heard({EQIAD: 2000, CODFW: 1000}, QUIET_AFTER)
    assert vitals.quiet(QUIET_AFTER) == {}
    assert vitals.quiet(QUIET_AFTER + 1) == {CODFW[0]: QUIET_AFTER + 1}
    vitals.heard({EQIAD: 2000, CODFW: 1001}, QUIET_AFTER + 2)
    assert vitals.quiet(QUIET_AFTER + 3) == {}


def test_one_partition_that_speaks_is_proof_for_its_topic() -> None:
    vitals = Vitals()
    vitals.heard({EQIAD: 1, (EQIAD[0], 1): 1}, 0)
    vitals.heard({EQIAD: 1, (EQIAD[0], 1): 2}, QUIET_AFTER)
    assert vitals.quiet(QUIET_AFTER + 1) == {}


# -- memory ----------------------------------------------------------------------------------------------------------------


def test_an_event_is_seen_once() -> None:
    memory = Memory(0)
    assert [memory.seen(event_id, EQIAD, T0) for event_id in "abab"] == [False, False, True, True]


def test_what_a_rewound_connection_brings_again_is_remembered_and_no_more() -> None:
    memory = Memory(30_000)
    for at in range(0, 100_000, 1000):
        memory.seen(str(at), EQIAD, at)
    memory.forget({EQIAD: 99_000}, 99_000)
    assert {at for at in range(0, 100_000, 1000) if memory.seen(str(at), EQIAD, at)} == set(range(69_000, 100_000, 1000))


def test_what_a_connect_with_since_brings_again_is_remembered() -> None:
    memory = Memory(30_000)
    memory.seen("ahead", EQIAD, 50_000)
    memory.forget({EQIAD: 900_000, PAGES: 20_000}, 20_000)
    assert memory.seen("ahead", EQIAD, 50_000)


def test_the_last_events_of_who_is_silent_are_remembered_for_as_long() -> None:
    memory = Memory(30_000)
    memory.seen("last", CODFW, 1000)
    memory.seen("other", EQIAD, 1000)
    memory.forget({EQIAD: 10**9, CODFW: 1000}, 10**9)
    assert memory.seen("last", CODFW, 1000)
    assert not memory.seen("other", EQIAD, 1000)


def test_an_event_that_came_late_comes_again_with_those_before_it() -> None:
    """Kafka goes back to the first event that is not earlier than what is asked for, and gives all that follow it."""
    memory = Memory(1000)
    memory.seen("in time", EQIAD, 50_000)
    memory.seen("late", EQIAD, 10_000)
    memory.forget({EQIAD: 51_000}, 51_000)  # by a canary, which nobody remembers
    memory.seen("later", EQIAD, 20_000)
    memory.forget({EQIAD: 51_000}, 51_000)
    assert [memory.seen(event_id, EQIAD, 10_000) for event_id in ("in time", "late", "later")] == [True, True, True]


def test_a_revision_that_two_streams_name_is_one_change() -> None:
    memory = Memory(0)
    told = [memory.told("enwiki", 2, stream, T0) for stream in (RECENT, PAGE_CHANGE, CREATE)]
    assert told == [Told.FIRST, Told.ELSEWHERE, Told.ELSEWHERE]
    assert memory.told("enwiki", 3, PAGE_CHANGE, T0) is Told.FIRST
    assert memory.told("dewiki", 2, PAGE_CHANGE, T0) is Told.FIRST


def test_a_revision_that_one_stream_names_again_is_something_new() -> None:
    memory = Memory(0)
    assert [memory.told("enwiki", 2, stream, T0) for stream in (PAGE_CHANGE, CREATE, CREATE, CREATE)] == [
        Told.FIRST, Told.ELSEWHERE, Told.AGAIN, Told.AGAIN,
    ]  # fmt: skip
    assert memory.told("enwiki", 2, PAGE_CHANGE, T0) is Told.AGAIN


def test_revisions_are_forgotten_once_every_stream_has_passed_them() -> None:
    memory = Memory(30_000)
    memory.told("enwiki", 2, RECENT, 1000)
    memory.forget({EQIAD: 10**6, PAGES: 1000}, 1000)
    assert memory.told("enwiki", 2, PAGE_CHANGE, 1000) is Told.ELSEWHERE
    memory.forget({EQIAD: 10**6, PAGES: 1001}, 1001)
    assert len(memory) == 0


def test_memory_is_bounded_by_its_oldest() -> None:
    memory = Memory(0, limit=100)
    for number in range(1000):
        memory.seen(f"e{number}", EQIAD if number % 10 else CODFW, T0 + number)
        memory.told("enwiki", number, RECENT, T0 + number)
        memory.forget({EQIAD: T0}, None)
        assert len(memory) <= 100
    assert memory.seen("e999", EQIAD, T0)
    assert memory.told("enwiki", 999, PAGE_CHANGE, T0) is Told.ELSEWHERE
    assert not memory.seen("e1", EQIAD, T0)


def appended(event_id: str, stream: str, at: str, rev_id: int, cause: Cause = Cause.EDIT) -> Change:
    source = Source(stream, event_id, at, at)
    return Change(wiki_id="enwiki", domain="en.wikipedia.org", cause=cause, source=source, rev_ids=(rev_id,))


def test_what_was_appended_before_a_start_is_known_when_it_comes_again() -> None:
    position = {EQIAD: T0, CODFW: T0 - 10**6, PAGES: T0}
    memory = Memory(30_000)
    memory.recall(appended("e-1", RECENT, NOW, 2), position)
    memory.forget(position, T0)
    assert memory.seen("e-1", EQIAD, T0)
    assert not memory.seen("e-2", EQIAD, T0)


def test_after_a_start_another_stream_still_has_to_name_what_it_will_be_asked_for_again() -> None:
    position = {EQIAD: T0, PAGES: T0}
    memory = Memory(30_000)
    memory.recall(appended("e-1", RECENT, NOW, 2), position)
    assert memory.told("enwiki", 2, PAGE_CHANGE, T0) is Told.ELSEWHERE


def test_after_a_start_a_stream_that_passed_a_revision_tells_something_new_when_it_names_it() -> None:
    position = {EQIAD: T0, PAGES: T0 + 30_000 + APART}
    memory = Memory(30_000)
    memory.recall(appended("e-1", RECENT, "2026-11-24T04:59:59.000Z", 2), position)
    assert memory.told("enwiki", 2, PAGE_CHANGE, T0) is not Told.ELSEWHERE


def test_what_others_appended_is_no_event_of_the_feed() -> None:
    memory = Memory(30_000)
    memory.recall(appended("r-1", "repair", NOW, 2, Cause.REPAIR), {EQIAD: T0})
    assert len(memory) == 0


def test_what_was_set_aside_before_a_start_is_known_wherever_it_comes_from() -> None:
    memory = Memory(30_000)
    memory.recall_key("k", {EQIAD: T0, PAGES: T0 - 10**6})
    memory.forget({EQIAD: T0 + 10**6, PAGES: T0 - 10**6}, T0 + 10**6)
    assert memory.seen("k", PAGES, T0)


# -- scope -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        (("*.wikipedia.org",), (), {"enwiki", "dewiki"}), (("*",), (), {"enwiki", "dewiki", "commonswiki"}),
        (("*",), ("*.wikipedia.org",), {"commonswiki"}), (("dewiki", "commons*"), (), {"dewiki", "commonswiki"}),
        (("*.wikipedia.org",), ("dewiki",), {"enwiki"}), (("EN.Wikipedia.org",), (), {"enwiki"}),
        (("wikipedia.org",), (), set()), (("[ed]?wiki",), (), {"enwiki", "dewiki"}),
    ],
)  # fmt: skip
def test_which_wikis_are_wanted(include: tuple[str, ...], exclude: tuple[str, ...], wanted: set[str]) -> None:
    wikis = {"enwiki": "en.wikipedia.org", "dewiki": "DE.wikipedia.org", "commonswiki": "commons.wikimedia.org"}
    scope = Scope(WikiSettings(include=include, exclude=exclude))
    assert {wiki_id for wiki_id, domain in wikis.items() if scope.wanted(domain, wiki_id)} == wanted


def test_which_wikis_may_be_asked() -> None:
    scope = Scope(WikiSettings())
    assert all(scope.allowed(f"x.{domain}") and scope.allowed(domain.upper()) for domain in PUBLIC_DOMAINS)
    assert not scope.allowed("evilwikipedia.org")
    assert not scope.allowed("wikipedia.org.evil.example")
    assert not scope.allowed("org")
    assert Scope(WikiSettings(domains=("127.0.0.1",))).allowed("127.0.0.1")
    assert not Scope(WikiSettings(domains=("127.0.0.1",))).allowed("en.wikipedia.org")


# -- sift ------------------------------------------------------------------------------------------------------------------


def event(stream: str = RECENT, event_id: str = "e-1", domain: str = "en.wikipedia.org", **more: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"wiki": "enwiki", "type": "edit", "title": "A", "revision": {"new": 2}}
    if stream == CREATE:
        about = {"database": "enwiki", "rev_id": 2, "page_id": 7}
    return {"meta": {"id": event_id, "stream": stream, "domain": domain}, **about, **more}


def delivered(data: object, source: TopicPartition = EQIAD) -> Delivered:
    return Delivered(source, T0, data if isinstance(data, bytes) else json.dumps(data).encode())


def sift(**wiki: Any) -> Sift:
    return Sift(Scope(WikiSettings(**wiki)), Memory(30_000))


def verdicts(sifter: Sift, *events: object) -> list[object]:
    found = [sifter.judge(delivered(each), NOW) for each in events]
    reasons = [each.entry.reason if isinstance(each, Unfit) else each for each in found]
    return ["change" if isinstance(each, Change) else each for each in reasons]


def test_an_event_is_judged_in_the_order_of_the_design() -> None:
    elsewhere = {"domain": "de.wikibooks.org", "event_id": "e-3"}
    assert verdicts(
        sift(), event(domain="canary"), event(), event(), event(type="categorize"), event(event_id="e-2", type="categorize"),
        event(**elsewhere), event(**elsewhere, type=7),
    ) == [
        SkipReason.CANARY, "change", SkipReason.DUPLICATE, SkipReason.DUPLICATE, SkipReason.CATEGORIZE, SkipReason.NOT_INCLUDED,
        SkipReason.DUPLICATE,
    ]  # fmt: skip


def test_a_wiki_that_is_wanted_and_may_not_be_asked_is_set_aside_whole() -> None:
    found = sift(include=("*",), domains=("wikipedia.org",)).judge(delivered(event(domain="x.example")), NOW)
    assert isinstance(found, Unfit)
    assert (found.key, found.entry.reason) == ("e-1", AsideReason.DOMAIN)
    assert found.entry.change
    assert found.entry.change.rev_ids == (2,)
    assert found.entry.raw is None


def test_nothing_about_content_comes_before_whether_a_wiki_may_be_asked() -> None:
    events = event(domain="x.example", type="categorize"), event(event_id="e-2", domain="x.example", type=7)
    assert verdicts(sift(include=("*",)), *events) == [SkipReason.CATEGORIZE, AsideReason.BAD_EVENT]


def test_bad_json_is_set_aside_once_with_its_beginning() -> None:
    sifter, raw = sift(), b'{"meta":' + b"x" * 10_000
    found = sifter.judge(delivered(raw), NOW)
    assert isinstance(found, Unfit)
    assert (found.key, found.entry.raw, found.entry.at) == (digest(raw), raw[:KEPT], NOW)
    assert sifter.judge(delivered(raw), NOW) is SkipReason.DUPLICATE


def test_a_bad_event_is_set_aside_without_its_user_and_comment() -> None:
    found = sift().judge(delivered(event(type=7, user="Somebody", comment="Something")), NOW)
    assert isinstance(found, Unfit)
    assert (found.key, found.entry.detail) == ("e-1", "type is int")
    assert found.entry.raw
    assert b"Some" not in found.entry.raw
    assert json.loads(found.entry.raw)["wiki"] == "enwiki"


def test_a_block_too_long_is_set_aside_once_though_its_id_differs() -> None:
    sifter = sift()
    blocks = [Rejected(10**6, b"event: message\nid: %d\ndata: {" % number) for number in (1, 2)]
    found = [sifter.rejected(block, T0, NOW) for block in (*blocks, Rejected(10**6, b"nothing of the kind"))]
    assert isinstance(found[0], Unfit)
    assert (found[0].entry.reason, found[0].entry.detail) == (AsideReason.TOO_LONG, "1000000 bytes")
    assert found[0].entry.raw == blocks[0].raw
    assert found[1] is SkipReason.DUPLICATE
    assert isinstance(found[2], Unfit)


def test_the_same_revision_from_two_streams_is_one_change_the_second_time_from_one_is_another() -> None:
    create = [event(CREATE, f"c-{number}") for number in range(3)]
    assert verdicts(sift(), event(), *create) == ["change", SkipReason.SAME_REVISION, "change", "change"]
    assert verdicts(sift(), create[0], event(), event(event_id="e-2")) == ["change", SkipReason.SAME_REVISION, "change"]


def test_a_revision_that_a_stream_names_again_is_a_page_to_read() -> None:
    sifter = sift()
    first, again = (sifter.judge(delivered(event(CREATE, f"c-{number}", page_title="A_b")), NOW) for number in range(2))
    assert isinstance(first, Change)
    assert isinstance(again, Change)
    assert (first.rev_ids, again.rev_ids, again.parent_rev_id) == ((2,), (), None)
    assert (again.titles, again.page_ids) == (("A b",), (7,))


def test_only_edits_and_creations_are_the_same_from_two_streams() -> None:
    hidden = {"visibility": {"text": False, "user": True, "comment": True}}
    shown = event(CREATE, "v-1") | hidden
    shown["meta"]["stream"] = "mediawiki.revision-visibility-change"
    assert verdicts(sift(), event(), shown, event(CREATE, "c-1")) == ["change", "change", SkipReason.SAME_REVISION]


# -- trouble ---------------------------------------------------------------------------------------------------------------


def test_each_kind_of_failure_is_told_once_and_closed_by_the_recovery() -> None:
    trouble = Trouble("feed")
    with capture_logs() as logs:
        for problem in ("a", "a", "b", "a"):
            trouble.failed(FeedUnavailable(problem, hint="h"))
        trouble.over()
        trouble.over()
        trouble.failed(FeedUnavailable("a"))
    assert [(line["event"], line.get("problem"), line.get("failures")) for line in logs] == [
        ("trouble, trying again", "a", None), ("trouble, trying again", "b", None), ("recovered", None, 4),
        ("trouble, trying again", "a", None),
    ]  # fmt: skip
    assert (trouble.in_a_row, trouble.total) == (1, 5)


def test_ever_new_kinds_of_failure_do_not_fill_the_log() -> None:
    trouble = Trouble("feed")
    with capture_logs() as logs:
        for number in range(1000):
            trouble.failed(FeedUnavailable(str(number)))
    assert len(logs) == 20


def test_waits_grow_with_full_jitter_and_honour_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[float] = []

    def uniform(low: float, high: float) -> float:
        assert low == 0
        bounds.append(high)
        return high / 2

    monkeypatch.setattr(random, "uniform", uniform)
    trouble = Trouble("feed")
    waits = [trouble.failed(FeedUnavailable("a")) for _ in range(9)]
    assert bounds == [1, 2, 4, 8, 16, 32, MOST, MOST, MOST]
    assert waits == [bound / 2 for bound in bounds]
    assert trouble.failed(FeedUnavailable("a", after=120.0)) == 120.0
    assert trouble.failed(FeedUnavailable("a", after=10.0**9)) == LONGEST_ASKED
    assert trouble.failed(FeedUnavailable("a", after=0.1)) == MOST / 2
