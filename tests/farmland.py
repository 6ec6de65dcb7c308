"""A farm of wikis, served for hubs that are processes of their own, and what must be so when these have done their work."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from syncer.clock import now_iso
from syncer.demo.actions import WEIGHTS, Workload, drive
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.demo.sites import SITES
from tests.background import Background
from tests.e2e import checker
from tests.e2e.program import Syncer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from syncer.demo.api import Asked

PATIENCE = 60.0  # seconds for what takes a few
BUDGET = 600  # requests a minute
PER_TEN_SECONDS = BUDGET // 6
LATE = 1.0  # seconds: who is asked hears of it later than it was sent, by a little or, on a busy machine, more
IDLE = "2"  # seconds without anything new until everything has arrived


class Farmland(Background):
    """A farm at work. What it serves looks as :class:`tests.e2e.lab.Lab`'s does to whoever is set up for it."""

    def __init__(self, *, seed: int = 1) -> None:
        super().__init__()
        self.farm = Farm(SITES, pages=60, seed=seed)
        self.started = now_iso()
        self._work = Workload(self.farm, seed=seed, weights=WEIGHTS)
        self._stack = AsyncExitStack()

    async def enter(self) -> None:
        """Serve."""
        self._upstream = await self._stack.enter_async_context(serve(self.farm))
        self.stream_url, self.api_url = self._upstream.feed_url, self._upstream.api_url

    async def leave(self) -> None:
        """Stop serving."""
        await self._stack.aclose()

    def work(self, count: int, rate: float) -> Future[int]:
        """So many things are done, so many a second."""
        return self.begin(drive(self._work, rate=rate, count=count))

    def requests(self, contact: str = "") -> list[Asked]:
        """What the API was asked by whoever gives this contact, in order."""
        return [each for each in self.call(lambda: self._upstream.api.requests) if contact in (each.user_agent or "")]

    def pages(self, *, touched: bool = False) -> dict[tuple[str, int], dict[str, Any]]:
        """The wikis as they are."""
        return by_key(self.call(lambda: list(self.farm.export(touched=touched))))


class Hub(Syncer):
    """A hub, or a part of one, and a mirror, set up for a farm; ``name`` is its folder and its contact."""

    def __init__(self, folder: Path, name: str, land: Farmland, journal: dict[str, str], **more: str) -> None:
        domains = json.dumps(sorted(wiki.site.domain for wiki in land.farm.wikis.values()))
        own = {
            "CONTACT": f"{name}@example.org",
            "FEED__REWIND": "2",
            "API__YOUNG": "1.5",
            "API__REQUESTS_PER_MINUTE": str(BUDGET),
            "WIKI__DOMAINS": domains,
            "WIKI__INCLUDE": '["*"]',
            "MIRROR__HEAL": "off",
        }
        streams = ("recentchange", "mediawiki.page_change.v1", "mediawiki.revision-visibility-change")
        super().__init__(folder / name, land, streams=streams, journal=own | journal | more)
        self.contact = own["CONTACT"]
        self.prefix = journal.get("JOURNAL__PREFIX", "")

    @property
    def log(self) -> str:
        """What everything has said so far."""
        return (self.folder / "syncer.log").read_text()


def by_key(pages: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Pages by wiki and page id."""
    return {(page["wiki_id"], page["page_id"]): page for page in pages}


def until(what: Callable[[], object], why: str, *running: subprocess.Popen[bytes]) -> None:
    """Wait until something is so; meanwhile none of these may end."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why
        assert all(process.poll() is None for process in running), f"a process ended: {why}"
        time.sleep(0.05)


def arrive(hub: Hub) -> None:
    """Let the hub, then its mirror, run until there is nothing more to do."""
    hub.finish("run", "--until-idle", IDLE)
    hub.finish("mirror", "follow", "--until-idle", "1")


def verify(land: Farmland, hub: Hub, *others: Hub) -> None:
    """The laws, when all has arrived: 2 to 4 by the records and the counts, 5 by the mirror, 6 by the records, 8 by the farm.

    ``others`` worked on the same journal, and had the same budget.
    """
    published = checker.Checker()
    published.read(checker.parse(hub.ask("journal", "read", "mutations", "--json")))
    assert published.finish() == []
    mirrored, true = by_key(hub.export()), land.pages()
    assert mirrored == {key: page for key, page in true.items() if key in mirrored}
    assert mirrored.keys() >= land.pages(touched=True).keys()
    assert mirrored
    status = json.loads(hub.ask("status", "--json"))
    assert checker.check_counts(status) == []
    assert status["queued"] == 0
    assert status["outcomes"]["set_aside"] == {}
    starts = sorted(each.at for one in (hub, *others) for each in land.requests(one.contact))
    for first, last in zip(starts, starts[PER_TEN_SECONDS:], strict=False):
        assert last - first > 10.0 - LATE, "law 8"
    for never in ("Traceback", "never retrieved", "was destroyed but it is pending"):
        at = hub.log.find(never)
        assert at < 0, hub.log[max(at - 2000, 0) : at + 4000]
