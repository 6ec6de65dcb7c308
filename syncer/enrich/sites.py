"""What the wikis say of themselves: asked once a day, and kept in the store in between."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from syncer.model import Licence, Site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncer.enrich.batch import Api
    from syncer.store import Store

KEPT_FOR = 86_400.0  # seconds: a wiki hardly ever changes its licence, and a thousand of them are five minutes of the budget


@dataclass(slots=True)
class Sites:
    """``work`` does things with the store in its thread."""

    store: Store
    api: Api
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    _known: dict[str, tuple[float, Site]] = field(default_factory=dict)

    async def get(self, wiki_id: str, domain: str) -> Site:
        """What a wiki says, if need be by asking it."""
        known = self._known.get(wiki_id) or await self.work(partial(self._recall, wiki_id))
        if known is None or not known[0] <= time.time() < known[0] + KEPT_FOR:
            return await self.ask(wiki_id, domain)
        self._known[wiki_id] = known
        site: Site = known[1]
        return site

    async def ask(self, wiki_id: str, domain: str) -> Site:
        """Ask it, whatever is known."""
        site = await self.api.site(wiki_id, domain)
        self._known[wiki_id] = (time.time(), site)
        await self.work(partial(self.store.remember, _name(wiki_id), orjson.dumps(self._known[wiki_id]).decode()))
        return site

    def _recall(self, wiki_id: str) -> tuple[float, Site] | None:
        kept = self.store.meta(_name(wiki_id))
        if kept is None:
            return None
        asked_at, part = orjson.loads(kept)
        licence = Licence(**part["licence"]) if part["licence"] else None
        return asked_at, Site(licence, part["namespaces"], part["article_url"])


def _name(wiki_id: str) -> str:
    return f"site:{wiki_id}"
