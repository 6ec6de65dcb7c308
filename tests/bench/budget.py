"""How soon every change is answered, by policy: the recorded minutes of DATA.md, over and over, at 0.3 s a request.

    python -m tests.bench.budget

Delay is from the arrival of a change's event to the wiki's answer. One request is in flight, of at most 50 ids; a change takes
two, its own revision and the one before. The policies compared are those DATA.md names, under the same pace.
"""

from __future__ import annotations

import gzip
import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import orjson

from syncer.budget import Budget, Pace
from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

REQUEST = 0.3  # seconds
IDS, IDS_A_CHANGE = 50, 2
RECORDED = {
    "66 s of August 2021, 10 times": (SHARED / "data/events/recentchange-20210827-kirajano.jsonl.gz", 10),
    "15 s of January 2026, 40 times": (SHARED / "data/events/recentchange-20260113-wikiscan.jsonl.gz", 40),
}
CONTENT, WITH_LOG = frozenset({"edit", "new"}), frozenset({"edit", "new", "log"})

Queues = dict[str, deque[float]]
Arrivals = list[tuple[float, str]]


class Policy(Protocol):
    """Whose turn it is: told of every queue that has changed, asked for a wiki, told of its answer."""

    batch: int

    def queued(self, wiki: str, queue: deque[float]) -> None: ...
    def choose(self, now: float) -> str | None: ...
    def wake_at(self, now: float) -> float: ...
    def answered(self, wiki: str) -> None: ...


class Ours:
    """The budget as it is."""

    batch = IDS // IDS_A_CHANGE

    def __init__(self, pace: Pace) -> None:
        self._budget = Budget(pace, batch=IDS)
        self.choose, self.wake_at, self.answered = self._budget.choose, self._budget.wake_at, self._budget.answered

    def queued(self, wiki: str, queue: deque[float]) -> None:
        self._budget.queued(wiki, IDS_A_CHANGE * len(queue), queue[0] if queue else math.inf)


class Largest:
    """The wiki whose next batch weighs most: a sum over the ages of its changes."""

    def __init__(self, pace: Pace, weight: Callable[[float], float], batch: int = IDS // IDS_A_CHANGE) -> None:
        self._pace = pace
        self._weight = weight
        self._waiting: Queues = {}
        self.batch = batch

    def queued(self, wiki: str, queue: deque[float]) -> None:
        if queue:
            self._waiting[wiki] = queue
        else:
            self._waiting.pop(wiki, None)

    def choose(self, now: float) -> str | None:
        def weight(wiki: str) -> float:
            return sum(self._weight(now - arrived) for _, arrived in zip(range(self.batch), self._waiting[wiki], strict=False))

        return max(self._waiting, key=weight, default=None)

    def wake_at(self, now: float) -> float:
        return self._pace.next_start(now) if self._waiting else math.inf

    def answered(self, wiki: str) -> None: ...


POLICIES: Mapping[str, Callable[[Pace], Policy]] = {
    "one request a change": lambda pace: Largest(pace, lambda age: age, batch=1),
    "summed age": lambda pace: Largest(pace, lambda age: age),
    "summed squares": lambda pace: Largest(pace, lambda age: age * age),
    "syncer": Ours,
}


@dataclass
class Result:
    delays: list[float] = field(default_factory=list)
    requests: int = 0

    def quantile(self, q: float) -> float:
        return sorted(self.delays)[min(int(q * len(self.delays)), len(self.delays) - 1)]


def load(path: Path, times: int, types: frozenset[str], *, articles: bool) -> Arrivals:
    """When changes arrive and of which wiki, from second 0 on. Times in whole seconds are spread over their second."""
    with gzip.open(path, "rb") as lines:
        events = [orjson.loads(line) for line in lines]
    seconds: dict[float, list[str]] = {}
    for event in events:
        wanted = event["namespace"] == 0 and event["meta"]["domain"].endswith(".wikipedia.org") if articles else True
        if wanted and event.get("type") in types:
            seconds.setdefault(datetime.fromisoformat(event["meta"]["dt"]).timestamp(), []).append(event["wiki"])
    minute = sorted((at + i / len(wikis), wiki) for at, wikis in seconds.items() for i, wiki in enumerate(wikis))
    start, length = minute[0][0], math.ceil(minute[-1][0] - minute[0][0])
    return [(n * length + at - start, wiki) for n in range(times) for at, wiki in minute]


def simulate(arrivals: Arrivals, make: Callable[[Pace], Policy], per_minute: int) -> Result:
    pace = Pace(per_minute, 0.0)
    policy = make(pace)
    queues: Queues = {}
    result = Result()
    now, told = 0.0, 0
    while len(result.delays) < len(arrivals):
        while told < len(arrivals) and arrivals[told][0] <= now:
            arrived, wiki = arrivals[told]
            told += 1
            queue = queues.setdefault(wiki, deque())
            queue.append(arrived)
            policy.queued(wiki, queue)
        chosen = policy.choose(now) if pace.next_start(now) <= now else None
        if chosen is None:
            next_arrival = arrivals[told][0] if told < len(arrivals) else math.inf
            now = min(max(next_arrival, pace.next_start(now)), policy.wake_at(now))
            continue
        pace.start(now)
        queue = queues[chosen]
        now += REQUEST
        result.requests += 1
        result.delays += [now - queue.popleft() for _ in range(min(policy.batch, len(queue)))]
        policy.queued(chosen, queue)
        policy.answered(chosen)
    return result


def main() -> None:
    for recording, (path, times) in RECORDED.items():
        for types, what in ((CONTENT, "edits and creations"), (WITH_LOG, "log entries too")):
            scopes = {name: load(path, times, types, articles=name == "articles") for name in ("all wikis", "articles")}
            for per_minute in (200, 180):
                print(f"\n{recording}; {what}; {per_minute} requests a minute")
                table(scopes, per_minute)
    print("\nseconds; x: against summed age; articles: namespace 0 of *.wikipedia.org")


def table(scopes: Mapping[str, Arrivals], per_minute: int) -> None:
    head = "".join(
        f" | {f'{name}, {len(arrivals) / arrivals[-1][0]:.1f}/s':<20} median    x    p99    x requests"
        for name, arrivals in scopes.items()
    )
    print(f"{'policy':<21}{head}")
    peer = {name: simulate(arrivals, POLICIES["summed age"], per_minute) for name, arrivals in scopes.items()}
    for policy, make in POLICIES.items():
        row = f"{policy:<21}"
        for name, arrivals in scopes.items():
            result = simulate(arrivals, make, per_minute)
            median, p99 = result.quantile(0.5), result.quantile(0.99)
            row += f" | {'':<20} {median:6.2f} {median / peer[name].quantile(0.5):4.2f} {p99:6.1f} "
            row += f"{p99 / peer[name].quantile(0.99):4.2f} {result.requests:8}"
        print(row)


if __name__ == "__main__":
    main()
