"""A hub that is killed while it makes manifests, at either side of the transaction, and the one that follows it."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

from syncer.clock import now_iso
from syncer.demo.actions import Workload, drive
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.journal import Topic
from tests import command
from tests.command import Place, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.command import Said

# The program as it is, but that its hours are over after two seconds.
HASTY = "from syncer.enrich import manifests; manifests.EVERY, manifests.LOOK_EVERY = 2, 0.2; from syncer.cli import main; main()"


@pytest.mark.parametrize("step", ["manifests-made", "manifests-told"])
@pytest.mark.parametrize("times", [1, 4])
def test_nothing_is_missing_and_nothing_is_twice(
    step: str, times: int, place: Place, run: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SYNCER", [sys.executable, "-c", HASTY])

    async def work() -> None:
        began, farm = now_iso(), Farm(pages=20, seed=times)
        async with serve(farm) as upstream:
            place.settings |= {
                "FEED__URL": upstream.feed_url, "FEED__SINCE": began, "FEED__REWIND": "1", "API__URL": upstream.api_url,
                "API__REQUESTS_PER_MINUTE": "6000", "API__YOUNG": "0", "WIKI__NAMESPACES": "*", "JOURNAL__PARTITIONS": "3",
                "WIKI__DOMAINS": ",".join(wiki.site.domain for wiki in farm.wikis.values()), "WIKI__INCLUDE": "*",
            }  # fmt: skip
            hub = place.start("run", TEST_FAULT=f"KILL:{step}:{times}")
            doing = asyncio.create_task(drive(Workload(farm, seed=times), rate=30, count=240))
            killed = await asyncio.to_thread(told, hub)
            assert killed.code == -signal.SIGKILL, killed.err
            hub = place.start("run", "--until-idle", "5")
            await doing
            done = await asyncio.to_thread(told, hub)
            assert done.code == 0, done.err

    asyncio.run(work())
    assert run("mirror", "follow", "--until-idle", "0.5").code == 0
    public = run("manifests", "key").out.decode().strip()
    said = run("mirror", "verify", "--manifest", "--json", MIRROR__PUBLIC_KEYS=public)
    assert said.code == 0, said.out
    found = said.lines[0]["manifests"]
    assert found["faults"] == []
    assert (found["manifests"]["wrong"], found["untold"]) == (0, 0)
    keys = [orjson.dumps(line["key"]) for line in run("journal", "read", Topic.MANIFESTS.value).lines]
    assert len(keys) == len(set(keys)) == found["manifests"]["right"] > times
