"""The memory of an ordinary hub at 20 times the live rate, and what is queued while its budget cannot keep up.

    python -m tests.bench.memory [seconds]

The farm is busy 500 times a second; the hub is the ordinary process with the ordinary budget, 180 requests a minute.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import orjson

from syncer.demo.actions import Workload, drive
from syncer.demo.farm import Farm
from syncer.demo.faults import Faults
from syncer.demo.server import serve

RATE = 500.0  # 20 x 25 a second
LIMIT = 200.0  # MB
SECONDS = 60.0


async def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    farm = Farm(pages=1000)
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
                samples.append(resident(hub.pid))
            took = time.monotonic() - began
            hub.terminate()
            await hub.wait()
            status = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "syncer", "status", "--json", env=environment, stdout=asyncio.subprocess.PIPE
            )
            told, _ = await status.communicate()
    queued, appended = (orjson.loads(told)[name] for name in ("queued", "appended"))
    print(f"{RATE * seconds / took:.0f} actions/s for {took:.0f} s, {appended:,} changes appended, {queued:,} queued at the end")
    first, most, last = samples[0], max(samples), samples[-1]
    print(f"resident: {first:.0f} MB at first, {most:.0f} MB at most, {last:.0f} MB at the end; limit {LIMIT:.0f} MB")


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024 / 1e6 if found else 0.0


if __name__ == "__main__":
    asyncio.run(main())
