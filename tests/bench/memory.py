"""The memory of an ordinary hub at 20 times the live rate, and what is queued while its budget cannot keep up.

    python -m tests.bench.memory [seconds]

The farm is busy 500 times a second; the hub is the ordinary process with the ordinary budget, 180 requests a minute. That fills
whatever has a bound: the events that ingest remembers, and the changes that enrich has in hand of every partition.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from syncer.demo.actions import Workload, drive
from syncer.demo.farm import Farm
from syncer.demo.faults import Faults
from syncer.demo.server import serve
from syncer.demo.sites import SITES

if TYPE_CHECKING:
    from syncer.demo.sites import Site

RATE = 500.0  # 20 x 25 a second
LIMIT = 200.0  # MB
SECONDS = 300.0
PROJECTS = ("wiki", "wiktionary", "wikisource", "wikibooks", "wikiquote")  # with seven languages they are in every partition


async def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    farm = Farm([of(site, project) for site in SITES for project in PROJECTS], pages=1000)
    farm.faults = Faults(latency=0.3, canary_every=1.0)
    async with serve(farm) as upstream:
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ, "STATE_DIRECTORY": folder, "SYNCER_CONTACT": "bench@example.org",
                "SYNCER_FEED__URL": upstream.feed_url, "SYNCER_API__URL": upstream.api_url,
                "SYNCER_WIKI__INCLUDE": "*", "SYNCER_WIKI__NAMESPACES": "*", "SYNCER_OPS__LISTEN": "127.0.0.1:0",
            }  # fmt: skip
            hub = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "syncer", "--log-level", "error", "run", env=environment, stdin=asyncio.subprocess.DEVNULL
            )
            await asyncio.sleep(2)
            samples: list[float] = []
            busy = asyncio.ensure_future(drive(Workload(farm), rate=RATE, count=round(RATE * seconds)))
            began = time.monotonic()
            while not busy.done() and hub.returncode is None:
                await asyncio.sleep(0.5)
                samples.append(megabytes(hub.pid, "VmRSS"))
            took, most = time.monotonic() - began, megabytes(hub.pid, "VmHWM")
            hub.terminate()
            await hub.wait()
            status = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "syncer", "status", "--json", env=environment, stdout=asyncio.subprocess.PIPE
            )
            told, _ = await status.communicate()
    queued, appended = (orjson.loads(told)[name] for name in ("queued", "appended"))
    print(f"{RATE * seconds / took:.0f} actions/s for {took:.0f} s, {appended:,} changes appended, {queued:,} queued at the end")
    thirds = ", ".join(f"{samples[len(samples) * part // 3 - 1]:.0f} MB after {took * part / 3:.0f} s" for part in (1, 2, 3))
    print(f"resident: {thirds}; {most:.0f} MB at most, limit {LIMIT:.0f} MB")


def of(site: Site, project: str) -> Site:
    """The wiki of another project in the same language."""
    domain = site.domain if project == "wiki" else f"{site.language}.{project}.org"
    return replace(site, wiki_id=f"{site.language}{project}", domain=domain)


def megabytes(pid: int, what: str) -> float:
    """A size of a process: VmRSS, its resident memory now, or VmHWM, the most it ever was."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024 / 1e6 if found else 0.0


if __name__ == "__main__":
    asyncio.run(main())
