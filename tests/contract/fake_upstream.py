"""The fake as the contract suite's upstream."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from syncer.demo.editing import Old
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.demo.sites import Site
from syncer.demo.state import By, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from syncer.demo.server import Upstream

LIKE_THE_LAB = 8 * 1024 * 1024  # bytes; the lab's limit of an answer, so that the same pages overflow both
ALICE = User("Alice", 4, ("sysop", "user", "autoconfirmed"))


class FakeWiki:
    """One wiki of a farm; its clock can be moved on."""

    def __init__(self, upstream: Upstream, clock: list[float]) -> None:
        self.upstream = upstream
        self.wiki = upstream.farm["testwiki"]
        self.api_url = upstream.api_url.format(wiki_id="testwiki")
        self.feed_url = upstream.feed_url
        self._clock = clock

    async def edit(self, title: str, text: str, comment: str = "", *, minor: bool = False) -> int | None:
        rev = self.wiki.edit(title, text, By(ALICE, comment, minor=minor))
        return rev.rev_id if rev else None

    async def move(self, title: str, to: str, *, redirect: bool = True) -> None:
        self.wiki.move(title, to, By(ALICE, "why"), redirect=redirect)

    async def delete(self, title: str) -> None:
        self.wiki.delete(title, By(ALICE, "why"))

    async def undelete(self, title: str, *rev_ids: int) -> None:
        self.wiki.undelete(title, By(ALICE, "why"), rev_ids=rev_ids or None)

    async def hide(self, rev_ids: Sequence[int], bits: int) -> None:
        self.wiki.hide(rev_ids, bits, By(ALICE, "why"))

    async def protect(self, title: str) -> None:
        self.wiki.protect(title, by=By(ALICE, "why"))

    async def merge(self, title: str, into: str, up_to: int | None = None) -> None:
        self.wiki.merge(title, into, By(ALICE, "why"), up_to=up_to)

    async def bring_in(self, title: str, texts: dict[int, str]) -> None:
        made = {year: int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in texts}
        revisions = [Old(made[year], By(User(f"Old{year}")), text.encode()) for year, text in texts.items()]
        self.wiki.import_revisions(title, revisions, By(ALICE, "why"))

    async def change_model(self, title: str, model: str) -> None:
        self.wiki.change_model(title, model, By(ALICE, "why"))

    async def tick(self) -> None:
        self._clock[0] += 1.1

    async def cut(self) -> None:
        await asyncio.sleep(0.05)
        self.upstream.feed.cut()


@asynccontextmanager
async def fake() -> AsyncIterator[FakeWiki]:
    """A farm of one wiki, served."""
    ahead = [0.0]
    farm = Farm([Site(wiki_id="testwiki", domain="test.wikipedia.org")], clock=lambda: time.time() + ahead[0])
    farm.faults = replace(farm.faults, max_result=LIKE_THE_LAB)
    async with serve(farm) as upstream:
        yield FakeWiki(upstream, ahead)
