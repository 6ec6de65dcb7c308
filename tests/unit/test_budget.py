"""The policy by example, and on the recorded minutes."""

from __future__ import annotations

import math

import pytest

from syncer.budget import BACKOFF_LIMIT, REMEMBERED, Budget, Pace
from tests.bench import budget as bench

NOW = 1000.0
PATH, TIMES = bench.RECORDED["66 s of August 2021, 10 times"]


@pytest.fixture
def pace() -> Pace:
    return Pace(200, 0.0)


@pytest.fixture
def budget(pace: Pace) -> Budget:
    return Budget(pace)


def test_the_first_start_waits_a_whole_gap(pace: Pace) -> None:
    assert pace.next_start(0.0) == pytest.approx(0.3, abs=1e-5)
    with pytest.raises(ValueError, match="too early"):
        pace.start(0.2999)


def test_a_refused_start_books_nothing(pace: Pace) -> None:
    pace.start(NOW)
    for early in (NOW, NOW + 0.29, math.nan):
        with pytest.raises(ValueError, match="too early"):
            pace.start(early)
    assert pace.next_start(NOW) == pytest.approx(NOW + 0.3, abs=1e-5)
    assert pace.next_start(NOW + 9) == NOW + 9


def test_nothing_to_ask(budget: Budget) -> None:
    assert budget.choose(NOW) is None
    assert budget.wake_at(NOW) == math.inf
    budget.queued("a", 3, NOW)
    budget.queued("a", 0, NOW)
    assert budget.wake_at(NOW) == math.inf


def test_a_change_lingers_for_company_but_a_whole_batch_does_not(budget: Budget, pace: Pace) -> None:
    budget.queued("a", 2, NOW)
    assert budget.choose(NOW) is None
    assert budget.wake_at(NOW) == NOW + 2 * pace.gap
    budget.queued("a", 50, NOW)
    assert budget.choose(NOW) == "a"


def test_one_request_a_wiki_and_so_many_in_all() -> None:
    budget = Budget(Pace(200, 0.0), concurrency=2)
    for wiki in "abc":
        budget.queued(wiki, 100, 0.0)
    first, second = budget.choose(NOW), budget.choose(NOW)
    assert first
    assert second
    assert first != second
    assert budget.choose(NOW) is None
    assert budget.wake_at(NOW) == math.inf
    budget.answered(first)
    assert budget.choose(NOW) not in {None, second}


def test_what_can_wait_gives_way_to_what_waits_as_long_as_it_is_patient(budget: Budget, pace: Pace) -> None:
    budget.queued("a", 50, NOW)
    assert not budget.lend("b", NOW, patient=True)
    assert budget.lend("b", NOW, patient=False)
    assert budget.choose(NOW) is None  # one at a time
    assert budget.free_at(NOW) == math.inf
    budget.answered("b")
    assert budget.choose(NOW) == "a"
    assert not budget.lend("a", NOW, patient=False)
    budget.answered("a")
    budget.queued("a", 0, NOW)
    pace.start(NOW)
    assert not budget.lend("b", NOW, patient=True)  # too early
    assert budget.free_at(NOW) == NOW + pace.gap
    assert budget.lend("b", NOW + 1, patient=True)


def test_what_lingers_for_company_is_in_nobodys_way(budget: Budget) -> None:
    budget.queued("a", 1, NOW)
    assert budget.lend("b", NOW, patient=True)


def test_a_wiki_that_failed_is_tried_with_what_waits_for_it(budget: Budget) -> None:
    assert budget.lend("bad", NOW, patient=True)
    until = budget.failed("bad", NOW)
    assert not budget.lend("bad", NOW, patient=False)
    assert budget.lend("bad", until, patient=False)
    until = budget.failed("bad", until)
    budget.queued("bad", 1, NOW)
    assert not budget.lend("bad", until, patient=False)
    assert budget.choose(until) == "bad"


def test_after_a_429_what_waits_is_asked_first(budget: Budget, pace: Pace) -> None:
    budget.queued("a", 50, NOW)
    assert budget.choose(NOW) == "a"
    until = budget.throttled("a", NOW, 5.0)
    assert not budget.lend("b", until, patient=False)
    assert budget.choose(until) == "a"
    pace.start(until)
    budget.answered("a")
    assert budget.lend("b", until + 1, patient=False)


def test_a_wiki_in_trouble_is_left_in_peace_longer_each_time_and_others_are_not(budget: Budget) -> None:
    budget.queued("bad", 100, 0.0)
    pauses = []
    now = NOW
    for _ in range(12):
        assert budget.choose(now) == "bad"
        until = budget.failed("bad", now)
        assert budget.choose(math.nextafter(until, 0)) is None
        assert budget.wake_at(now) == until
        pauses.append(until - now)
        now = until
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, BACKOFF_LIMIT, BACKOFF_LIMIT, BACKOFF_LIMIT]
    assert budget.failing_since("bad") == NOW
    assert budget.choose(now) == "bad"
    assert budget.failed("bad", now, after=1000.0) == now + 1000
    budget.queued("good", 2, now - 9)
    assert budget.choose(now) == "good"
    assert budget.failing_since("good") is None


def test_an_answer_ends_the_trouble(budget: Budget) -> None:
    budget.queued("a", 100, 0.0)
    assert budget.choose(NOW) == "a"
    budget.failed("a", NOW)
    assert budget.choose(NOW + 1) == "a"
    budget.answered("a")
    assert budget.failing_since("a") is None
    assert budget.choose(NOW + 1) == "a"


def test_throttling_stops_everybody_and_longer_when_repeated(budget: Budget, pace: Pace) -> None:
    budget.queued("a", 100, 0.0)
    budget.queued("b", 100, 0.0)
    now, pauses = NOW, []
    for _ in range(5):
        wiki = budget.choose(now)
        assert wiki
        until = budget.throttled(wiki, now, after=5.0)
        assert pace.next_start(now) == until
        assert budget.choose(until - 0.001) is None
        pauses.append(until - now)
        now = until
    assert pauses == [5, 5, 5, 8, 16]
    assert budget.failing_since("a") is None
    wiki = budget.choose(now)
    assert wiki
    budget.answered(wiki)
    assert budget.choose(now)
    assert budget.throttled(wiki, now, after=5.0) == now + 5


def test_the_fuller_wiki_first_but_every_third_request_to_whoever_has_waited_longest(budget: Budget) -> None:
    chosen = []
    for turn in range(9):
        now = NOW + turn
        for wiki, values, age in (("full", 40, 1.0), ("half", 20, 1.5), ("single", 2, 3.0 + turn)):
            budget.queued(wiki, values, now - age)
        asked = budget.choose(now)
        assert asked
        chosen.append(asked)
        budget.answered(asked)
    assert chosen[2::3] == ["single"] * 3
    assert set(chosen[0::3] + chosen[1::3]) == {"full", "half"}


def test_with_whole_batches_waiting_only_every_eighth_is_spent_on_little(budget: Budget) -> None:
    budget.queued("single", 2, NOW - 60)
    chosen = []
    for turn in range(8):
        budget.queued("large", 1000, NOW - 50)
        wiki = budget.choose(NOW + turn)
        assert wiki
        chosen.append(wiki)
        budget.answered(wiki)
        if wiki == "single":
            budget.queued("single", 0, NOW)
    assert chosen == ["large"] * 7 + ["single"]


def test_a_batch_is_all_that_counts_of_a_backlog(budget: Budget) -> None:
    budget.queued("large", 10**6, NOW - 10)
    budget.queued("older", 50, NOW - 11)
    assert budget.choose(NOW) == "older"


def test_of_two_with_as_much_the_quieter_one_first(budget: Budget) -> None:
    for turn in range(10):  # a busy wiki, asked every second
        budget.queued("busy", 10, NOW + turn - 1)
        assert budget.choose(NOW + turn) == "busy"
        budget.queued("busy", 0, NOW)
        budget.answered("busy")
    budget.queued("busy", 4, NOW + 10)
    budget.queued("quiet", 4, NOW + 10.5)
    assert budget.choose(NOW + 12) == "quiet"


def test_memory_is_bounded_whatever_wikis_are_named(budget: Budget) -> None:
    for n in range(REMEMBERED + 500):
        budget.queued(f"wiki{n}", 2, 0.0)
        assert budget.choose(NOW + n) == f"wiki{n}"
        budget.queued(f"wiki{n}", 0, 0.0)
        budget.answered(f"wiki{n}")
        if n % 100 == 0:  # one that comes back is remembered, however many others there are
            budget.queued("regular", 2, 0.0)
            assert budget.choose(NOW + n) == "regular"
            budget.queued("regular", 0, 0.0)
            budget.answered("regular")
        assert "regular" in budget._turns
    assert len(budget._turns) == REMEMBERED
    assert not budget._waiting
    assert not budget._in_flight


@pytest.mark.skipif(not PATH.exists(), reason="the recorded minutes of ../shared/data are not here")
@pytest.mark.parametrize(
    ("articles", "median", "p99"),
    [pytest.param(False, 2.5, 20.0, id="all-wikis"), pytest.param(True, 2.0, 6.5, id="wikipedia-articles")],
)
def test_delays_of_the_recorded_minutes_at_200_a_minute(*, articles: bool, median: float, p99: float) -> None:
    arrivals = bench.load(PATH, TIMES, bench.CONTENT, articles=articles)
    ours = bench.simulate(arrivals, bench.POLICIES["syncer"], 200)
    assert len(ours.delays) == len(arrivals)
    assert ours.quantile(0.5) <= median
    assert ours.quantile(0.99) <= p99
    summed_age = bench.simulate(arrivals, bench.POLICIES["summed age"], 200)
    assert ours.quantile(0.5) < summed_age.quantile(0.5)
    assert ours.quantile(0.99) < summed_age.quantile(0.99)


@pytest.mark.skipif(not PATH.exists(), reason="the recorded minutes of ../shared/data are not here")
def test_a_budget_far_too_small_degrades_gracefully() -> None:
    """At 80 a minute no policy keeps all wikis fresh. One that wastes requests on small ones falls behind for good."""
    arrivals = bench.load(PATH, TIMES, bench.WITH_LOG, articles=False)
    ours = bench.simulate(arrivals, bench.POLICIES["syncer"], 80)
    summed_age = bench.simulate(arrivals, bench.POLICIES["summed age"], 80)
    assert sum(ours.delays) < 1.2 * sum(summed_age.delays)
    assert ours.quantile(0.99) < 1.2 * summed_age.quantile(0.99)
