"""How long partners wait when the hub is killed and a standby takes over.

    python -m tests.bench.takeover [times]

Ordinary processes on a real broker, with the demo's farm at work upstream, eight changes a second. The hub is killed by
``kill -9`` and its standby follows, for which another standby is started; and so on. Measured is from the kill to the standby's
first request to a wiki, to its first record, and until it has published everything that happened before that.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import orjson

from syncer.journal import Topic, open_journal
from tests.bench.kafka import broker, journal_on
from tests.farmland import Farmland, Hub, until

if TYPE_CHECKING:
    import subprocess

    from syncer.config import JournalSettings

TIMES = 3
RATE = 8.0  # changes a second
WARM, AFTER = 3.0, 4.0  # seconds of ordinary work before a kill, and after a take-over


class Kill(NamedTuple):
    """When a hub was killed, in seconds since the epoch, and how long after that its standby first asked a wiki."""

    at: float
    asked_after: float


def started(hub: Hub, verb: str, says: str) -> subprocess.Popen[bytes]:
    """A process that has said so."""
    process = hub.start(*verb.split())
    until(lambda: says in hub.log, f"{hub.contact} never said: {says}", process)
    return process


def take_over(land: Farmland, hubs: list[Hub]) -> list[Kill]:
    """Kill each hub but the last, one after the other."""
    kills = []
    owner = started(hubs[0], "run", "the hub runs")
    for old, new in pairwise(hubs):
        standby = started(new, "run --standby", "standing by")
        time.sleep(WARM)
        at, began = time.time(), time.monotonic()
        old.kill(owner)
        until(lambda new=new: land.requests(new.contact), "nobody takes over", standby)  # type: ignore[misc]
        kills.append(Kill(at, land.requests(new.contact)[0].at - began))
        time.sleep(AFTER)
        owner = standby
    hubs[-1].stop(owner)
    return kills


async def published(settings: JournalSettings) -> list[tuple[float, float]]:
    """When every mutation was appended, and when that happened which it tells; in the order of the former."""
    journal = await open_journal(settings)
    found = []
    for part in range(journal.partitions):
        offset = 0
        while records := await journal.read(Topic.MUTATIONS, part, offset):
            offset = records[-1].offset + 1
            sources = [orjson.loads(record.value)["source"] for record in records]
            happened = [datetime.fromisoformat(source["event_time"]).timestamp() for source in sources]
            found += list(zip((record.appended_at for record in records), happened, strict=True))
    await journal.close()
    return sorted(found)


def main() -> None:
    """Measure and print."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    with broker() as cluster, tempfile.TemporaryDirectory() as folder, Farmland() as land:
        settings = asyncio.run(journal_on(cluster, "takeover"))
        journal = {"JOURNAL__URL": settings.url, "JOURNAL__PREFIX": settings.prefix, "JOURNAL__KAFKA__REPLICATION": "1"}
        hubs = [Hub(Path(folder), f"hub{number}", land, journal) for number in range(times + 1)]
        work = land.work(1_000_000, RATE)
        try:
            kills = take_over(land, hubs)
        finally:
            work.cancel()
            for hub in hubs:
                hub.clean_up()
        found = asyncio.run(published(settings))
    print(f"{len(found)} mutations; seconds from the kill of the hub to the standby's")
    print(f"  {'first request':>14} {'first record':>14} {'last that was late':>19}")
    rows = []
    for kill, until_then in zip(kills, [*(kill.at for kill in kills[1:]), time.time()], strict=True):
        after = [(appended, happened) for appended, happened in found if kill.at < appended < until_then]
        first = after[0][0]
        late = max(appended for appended, happened in after if happened < first)
        rows.append((kill.asked_after, first - kill.at, late - kill.at))
    for row in [*rows, tuple(map(median, zip(*rows, strict=True)))]:
        print(f"  {row[0]:14.1f} {row[1]:14.1f} {row[2]:19.1f}{'   median' if len(rows) > 1 and row not in rows else ''}")


if __name__ == "__main__":
    main()
