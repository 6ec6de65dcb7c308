"""What an hour of reconciliation and a whole sweep cost in requests, by the rates of a recorded minute: 1, 20 and 340 wikis.

    python -m tests.bench.reconcile

The largest wiki alone, the 20 largest, and all of 340: those that the minute does not name are taken to be quiet. Of every wiki
an hour costs at least one request for each of the two lists, and one for the sample; beyond that one for every 500 rows of a
list, and one for every 50 titles that the log names and that may concern a page (two for a move). Spans overlap, as they do.
"""

from __future__ import annotations

import gzip
from collections import Counter, defaultdict
from math import ceil

import orjson

from syncer.config import ApiSettings, ReconcileSettings
from syncer.fetch import MOST_VALUES
from syncer.reconcile import SETTLED
from syncer.reconcile.compare import WITHOUT_CONTENT
from tests.bench.budget import RECORDED

PATH, SECONDS = RECORDED["66 s of August 2021, 10 times"][0], 66.0
ROWS = 500
WIKIS = (1, 20, 340)
KNOWN = 1_000_000  # pages


def minute() -> dict[str, Counter[str]]:
    """By wiki: edits, log entries, and titles to look at."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in gzip.decompress(PATH.read_bytes()).splitlines():
        event = orjson.loads(line)
        if not str(event.get("server_name")).endswith(".wikipedia.org"):
            continue
        counts = found[event["wiki"]]
        if event["type"] in {"edit", "new"}:
            counts["edits"] += 1
        elif event["type"] == "log":
            counts["log"] += 1
            if event["log_type"] not in WITHOUT_CONTENT:
                counts["titles"] += 1 + (event["log_type"] == "move")
    return found


def hour(counts: Counter[str], settings: ReconcileSettings) -> int:
    """Requests of one wiki."""
    factor = (settings.interval + SETTLED) / SECONDS
    windows = 3600 / settings.interval
    lists = max(1, ceil(counts["edits"] * factor / ROWS)) + max(1, ceil(counts["log"] * factor / ROWS))
    return round(windows * (lists + ceil(counts["titles"] * factor / MOST_VALUES) + bool(settings.sample)))


def main() -> None:
    settings, budget = ReconcileSettings(), 60 * ApiSettings().requests_per_minute
    largest = sorted(minute().values(), key=lambda counts: -counts.total())
    print(f"a budget of {budget:,} requests an hour; {settings.sweep_per_hour:.0f} of them for the sweep")
    for wikis in WIKIS:
        chosen = [*largest, *[Counter[str]()] * WIKIS[-1]][:wikis]
        cost = sum(hour(counts, settings) for counts in chosen)
        rate = sum(counts["edits"] for counts in chosen) / SECONDS
        print(f"{wikis:4d} wikis  {rate:5.1f} edits/s  {cost:5,d} requests an hour  {100 * cost / budget:5.2f} % of the budget")
    sweep = ceil(KNOWN / MOST_VALUES)
    print(f"a sweep of {KNOWN:,} pages: {sweep:,} requests, {sweep / settings.sweep_per_hour / 24:.1f} days")


if __name__ == "__main__":
    main()
