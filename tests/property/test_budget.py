"""Law 8, and that nobody starves: for every sequence of calls."""

from __future__ import annotations

import math
from collections import deque
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from syncer.budget import FAIR_BEHIND, LINGER, Budget, Pace

EPOCH = 1.8e9  # a Unix time: where floats are coarsest
clocks = st.sampled_from([0.0, 1e6, EPOCH])
rates = st.integers(1, 2000)
# What happens next: so much time goes by, then a start, an early start, a pause or a restart of the process.
steps = st.lists(st.tuples(st.floats(0, 90), st.sampled_from(["asap", "now", "now", "pause", "restart"])), max_size=60)


def starts_of(rate: int, clock: float, steps: list[tuple[float, str]]) -> list[Fraction]:
    """When requests started, exactly. ``asap`` is a burst of them, each as soon as it is allowed."""
    pace, now, starts = Pace(rate, clock), clock, []
    for wait, step in steps:
        now += wait
        if step == "restart":
            pace = Pace(rate, now)
        elif step == "pause":
            pace.pause(now + wait)
        for _ in range({"asap": 5, "now": 1}.get(step, 0)):
            if step == "asap":
                now = pace.next_start(now)
            try:
                pace.start(now)
            except ValueError:
                assert pace.next_start(now) > now
            else:
                starts.append(Fraction(now))
    return starts


@given(rates, clocks, steps)
def test_starts_are_apart_across_restarts_too(rate: int, clock: float, steps: list[tuple[float, str]]) -> None:
    starts = starts_of(rate, clock, steps)
    assert all(later - earlier >= Fraction(60, rate) for earlier, later in pairwise(starts))
    assert all(start - Fraction(clock) >= Fraction(60, rate) for start in starts)


@given(st.integers(1, 300), clocks)
def test_no_minute_holds_more_than_the_rate(rate: int, clock: float) -> None:
    pace, now, starts = Pace(rate, clock), clock, []
    for _ in range(2 * rate + 2):
        now = pace.next_start(now)
        pace.start(now)
        starts.append(Fraction(now))
    assert all(last - first >= 60 for first, last in zip(starts, starts[rate:], strict=False))


@given(st.floats(0, 1e4), st.floats(0, 1e4))
def test_a_pause_holds_and_is_never_shortened(first: float, second: float) -> None:
    pace = Pace(200, 0.0)
    pace.pause(first)
    pace.pause(second)
    assert pace.next_start(0.0) >= max(first, second)


# A wiki's traffic: how much waits for it at the start, of what age, and how much comes while it is being answered.
others = st.lists(
    st.tuples(st.integers(0, 10**6), st.floats(0, 1e5), st.integers(0, 200)),
    max_size=12,
)


@given(others, st.integers(1, 49), st.sampled_from([1, 3]))
def test_large_wikis_never_starve_a_small_one(others: list[tuple[int, float, int]], values: int, concurrency: int) -> None:
    now = 1e6
    pace = Pace(200, now)
    budget = Budget(pace, concurrency=concurrency)
    backlog = {f"large{i}": [waiting, now - age, more] for i, (waiting, age, more) in enumerate(others)}
    for wiki, (waiting, oldest, _) in backlog.items():
        budget.queued(wiki, int(waiting), oldest)
    budget.queued("small", values, now)
    in_flight: deque[str] = deque()
    for _ in range(FAIR_BEHIND * (len(others) + 1)):
        if len(in_flight) == concurrency:
            done = in_flight.popleft()
            backlog[done][0] = max(backlog[done][0] - 50, 0) + backlog[done][2]
            budget.queued(done, int(backlog[done][0]), backlog[done][1] if backlog[done][0] > 50 else now)
            budget.answered(done)
        now = max(now, budget.wake_at(now))
        chosen = budget.choose(now)
        assert chosen
        pace.start(now)
        if chosen == "small":
            return
        in_flight.append(chosen)
        now += 0.3
    raise AssertionError("it was never asked")


wikis = st.sampled_from(["a", "b", "c", "d"])
calls = st.lists(
    st.tuples(st.sampled_from(["queued", "answered", "failed", "throttled"]), wikis, st.integers(0, 120), st.floats(0, 20)),
    max_size=40,
)


@given(calls, st.integers(1, 3))
def test_choose_and_wake_at_agree(calls: list[tuple[str, str, int, float]], concurrency: int) -> None:
    """Whoever sleeps until ``wake_at`` wakes neither in vain nor late, and nobody is asked who must not be."""
    now = 50.0
    pace = Pace(600, 0.0)
    budget = Budget(pace, concurrency=concurrency)
    waiting: dict[str, tuple[int, float]] = {}
    peace: dict[str, float] = {}
    in_flight: set[str] = set()
    for call, wiki, values, wait in calls:
        if call == "queued":
            waiting[wiki] = (values, now)
            budget.queued(wiki, values, now)
        elif wiki in in_flight:
            in_flight.remove(wiki)
            if call == "answered":
                budget.answered(wiki)
            elif call == "failed":
                peace[wiki] = now + wait
                assert budget.failed(wiki, now, wait) >= peace[wiki]
            else:
                peace = dict.fromkeys("abcd", now + wait)
                assert budget.throttled(wiki, now, wait) >= now + wait
        wake = budget.wake_at(now)
        if wake > now:
            assert budget.choose(now) is None
            before_wake = wake - 1e-3 if math.isfinite(wake) else now + 1e9
            assert before_wake < now or budget.choose(before_wake) is None
        if math.isfinite(wake) and wake < now + wait:
            now = wake
            chosen = budget.choose(now)
            assert chosen is not None
            assert chosen not in in_flight
            assert now >= peace.get(chosen, 0.0)
            many, oldest = waiting[chosen]
            assert many >= 50 or now >= oldest + LINGER * pace.gap
            pace.start(now)
            in_flight.add(chosen)
            waiting[chosen] = (0, now)
            budget.queued(chosen, 0, now)
        now += wait / 4
    assert len(in_flight) <= concurrency
