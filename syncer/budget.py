"""Whose turn it is: one budget of requests for all wikis, spent where it helps most. Pure; the clock is passed in.

    Pace    when the next request of this process may start (law 8)
    Budget  which wiki it should be for, or that it is better to wait

Times are float seconds of one steady clock, ``loop.time()`` say, not one that somebody sets. Neither class waits: the caller
asks, sleeps and asks again. What a caller does, in full (``values`` are revisions, titles or page ids to ask for)::

    budget.queued(wiki, values, oldest)          # whenever what waits for a wiki has changed
    wiki = budget.choose(now)                    # None: nothing worth a request yet; look again at budget.wake_at(now)
    ... before every single request: wait until pace.next_start(now) <= now, then pace.start(now)
    wiki, if budget.lend(wiki, now, ...)         # for what can wait
    budget.answered(wiki)                        # or failed(wiki, now, after), or throttled(wiki, now, after)

The policy. A request costs the same whether it carries one value or fifty, and there are more wikis at work than requests
to spend on them. Three rules, measured in ``tests/bench/budget.py``:

1. A change lingers for two paces before its wiki is asked, unless a whole batch waits: edits come in company.
2. Requests go where they gain most: to the wiki with the most values waiting (a batch at most), times a power of the time
   in which it usually gathers as many. So a busy wiki is asked when a good batch has come together. A wiki at a quarter of
   its traffic is asked half as often, and waits longer; a very quiet one would wait for company in vain, and need not.
3. But every third request goes to the wiki that has waited longest, whatever it has. While some wiki has a whole batch
   waiting, it is every eighth: then the budget does not suffice, and requests that carry little only make that worse.

Rule 3 bounds the wait whatever others send: a wiki is asked after at most eight requests for each wiki that waits with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LINGER = 2  # paces a change may wait for company: 2 x 0.33 s at 180 a minute; saves a tenth of the requests at half load
GAIN = 0.85  # 1 gives the least mean delay, less favours the large wikis; best median and p99 of the recorded minutes
MEMORY = 120.0  # seconds over which a wiki's traffic is averaged: longer is slow to see a burst end, shorter sees only noise
FAIR, FAIR_BEHIND = 3, 8  # of so many requests one goes to whoever has waited longest: as a rule, and while we are behind
BACKOFF, BACKOFF_LIMIT = 1.0, 300.0  # seconds: 1, 2, 4 ... 300 between attempts at a wiki that fails
REMEMBERED = 4096  # wikis whose traffic is remembered; Wikimedia has about a thousand
GRAIN = 1e-6  # seconds; sums of floats the size of a Unix time are wrong by up to 0.24 us each


class Pace:
    """Request starts at least 60/N s apart (law 8).

    N + 1 starts therefore take more than 60 s, and no half-open window of a minute holds more than N. That is true across a
    restart too: this process knows nothing of the last start of the one before, so its own first is a whole gap after
    ``started_at``. ``gap`` is the time between two starts in seconds.
    """

    def __init__(self, per_minute: float, started_at: float) -> None:
        self.gap = 60 / per_minute + GRAIN
        self._next = started_at + self.gap

    def next_start(self, now: float) -> float:
        """When the next request may start: ``now``, or later."""
        return max(now, self._next)

    def start(self, now: float) -> None:
        """Book a request that starts now. Raises ValueError, and books nothing, if that is too early."""
        if not now >= self._next:  # this way round, a NaN is too early as well
            raise ValueError(f"a request at {now} is too early: the next may start at {self._next}")
        self._next = now + self.gap

    def pause(self, until: float) -> None:
        """Start nothing before ``until``: the API asked every client of this address to wait (429)."""
        self._next = max(self._next, until)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What a wiki has to be asked: how many values, and when the oldest of them arrived."""

    values: int
    oldest: float


@dataclass(frozen=True, slots=True)
class _Turn:
    """When a wiki was last asked, and how many values it had been asked for by then, older ones counting less."""

    at: float
    values: float


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A wiki that fails: since when, how often in a row, and when it is tried again."""

    since: float
    times: int
    until: float


class Budget:
    """Shares the pace among the wikis: at most ``concurrency`` requests in flight, and one a wiki.

    Every call costs constant time, but for ``choose`` and ``wake_at``, which look once at every wiki that has something
    waiting, however much that is. A wiki with nothing waiting costs at most the memory of its last turn.
    """

    def __init__(self, pace: Pace, *, concurrency: int = 1, batch: int = 50) -> None:
        self._pace = pace
        self._concurrency = concurrency
        self._batch = batch
        self._waiting: dict[str, _Waiting] = {}
        self._turns: dict[str, _Turn] = {}  # in their order, the last one last
        self._in_flight: set[str] = set()
        self._trouble: dict[str, _Trouble] = {}
        self._throttled = 0  # times in a row
        self._unfair = 0  # requests since one went to whoever had waited longest

    def queued(self, wiki: str, values: int, oldest: float) -> None:
        """State what waits for a wiki now: so many values, the oldest arrived at ``oldest``. None left: ``values`` 0."""
        if values > 0:
            self._waiting[wiki] = _Waiting(values, oldest)
        else:
            self._waiting.pop(wiki, None)

    def choose(self, now: float) -> str | None:
        """The wiki to ask now, in flight from here on; None if it is too early, or nothing is worth a request yet.

        With several requests at a time: let the one chosen for start before choosing again.
        """
        if self.free_at(now) > now:
            return None
        ready = [wiki for wiki in self._waiting if self._ready_at(wiki) <= now]
        if not ready:
            return None
        behind = any(self._waiting[wiki].values >= self._batch for wiki in ready)
        self._unfair += 1
        if self._unfair >= (FAIR_BEHIND if behind else FAIR):
            self._unfair = 0
            wiki = min(ready, key=self._waits_since)
        else:
            wiki = max(ready, key=lambda wiki: self._gain(wiki, now))
        self._in_flight.add(wiki)
        self._remember(wiki, now)
        return wiki

    def lend(self, wiki: str, now: float, *, patient: bool) -> bool:
        """Whether a wiki may be asked something beside what waits, now; if so it is in flight from here on.

        If ``patient``, only while nothing that waits is worth a request. A wiki that failed, and an API that asked all of us to
        wait, are tried with what waits for them.
        """
        trouble = self._trouble.get(wiki)
        if self.free_at(now) > now or wiki in self._in_flight or (self._throttled and self._waiting):
            return False
        if trouble and (trouble.until > now or wiki in self._waiting):
            return False
        if patient and any(self._ready_at(other) <= now for other in self._waiting):
            return False
        self._in_flight.add(wiki)
        return True

    def free_at(self, now: float) -> float:
        """When the next request may start, whatever for; infinity while as many are in flight as may be."""
        return math.inf if len(self._in_flight) >= self._concurrency else self._pace.next_start(now)

    def wake_at(self, now: float) -> float:
        """When ``choose`` may have an answer if nothing else happens; infinity if only a call of another method can help."""
        ready_at = min(map(self._ready_at, self._waiting), default=math.inf)
        return max(ready_at, self.free_at(now))

    def answered(self, wiki: str) -> None:
        """The wiki answered: it may be asked again, and whatever trouble there was is over."""
        self._in_flight.discard(wiki)
        self._trouble.pop(wiki, None)
        self._throttled = 0

    def failed(self, wiki: str, now: float, after: float | None = None) -> float:
        """The wiki did not answer as it should (maxlag, 5xx ...): it alone is left in peace. Returns until when.

        For ``after`` seconds if it named any, and for longer from one failure to the next (PROTOCOL 19).
        """
        self._in_flight.discard(wiki)
        before = self._trouble.get(wiki, _Trouble(now, 0, now))
        until = now + max(after or 0.0, _backoff(before.times))
        self._trouble[wiki] = _Trouble(before.since, before.times + 1, until)
        return until

    def throttled(self, wiki: str, now: float, after: float) -> float:
        """The API asks all of us to wait (429): nobody is asked for ``after`` seconds, longer if it says so again at once."""
        self._in_flight.discard(wiki)
        until = now + max(after, _backoff(self._throttled))
        self._throttled += 1
        self._pace.pause(until)
        return until

    def failing_since(self, wiki: str) -> float | None:
        """When the first of the wiki's failures in a row was, None if it answers."""
        trouble = self._trouble.get(wiki)
        return trouble.since if trouble else None

    def _ready_at(self, wiki: str) -> float:
        """When a wiki with something waiting is worth a request."""
        if wiki in self._in_flight:
            return math.inf
        waiting = self._waiting[wiki]
        company = -math.inf if waiting.values >= self._batch else waiting.oldest + LINGER * self._pace.gap
        trouble = self._trouble.get(wiki)
        return max(company, trouble.until) if trouble else company

    def _waits_since(self, wiki: str) -> float:
        """Since when it has been waiting for its turn: a backlog is no excuse for another one at once."""
        oldest, turn = self._waiting[wiki].oldest, self._turns.get(wiki)
        return max(oldest, turn.at) if turn else oldest

    def _gain(self, wiki: str, now: float) -> float:
        waiting = self._waiting[wiki]
        values = min(waiting.values, self._batch)
        gathered_in = MEMORY * values / (self._traffic(wiki, now) + waiting.values)
        # A backlog has waited longer than that. Its age counts, so that we keep up wherever that can be done.
        return values * math.pow(max(gathered_in, now - waiting.oldest), GAIN)

    def _traffic(self, wiki: str, now: float) -> float:
        """How many values the wiki was asked for in about the last ``MEMORY`` seconds."""
        turn = self._turns.get(wiki)
        return turn.values * math.exp((turn.at - now) / MEMORY) if turn else 0.0

    def _remember(self, wiki: str, now: float) -> None:
        values = self._traffic(wiki, now) + min(self._waiting[wiki].values, self._batch)
        self._turns.pop(wiki, None)
        self._turns[wiki] = _Turn(now, values)
        if len(self._turns) > REMEMBERED:
            del self._turns[next(iter(self._turns))]


def _backoff(times: int) -> float:
    """Seconds to wait after a failure that ``times`` others came before."""
    return min(BACKOFF * 2.0 ** min(times, 32), BACKOFF_LIMIT)
