"""Asking the wikis for the texts that diverged, without being a nuisance to them.

one wiki is in trouble                        that wiki waits alone, longer each time
one asks this address to slow down            all wait
one refuses us (403)                          it is left alone for an hour
two refuse us, or nobody takes our token      healing is over until the next start; the mirror goes on without
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from syncer import telemetry
from syncer.errors import Forbidden, Refused, Retry, Throttled, Unusable
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from syncer.store import Store

log = structlog.get_logger()

AT_ONCE = 50  # revisions: one request
LOOK_EVERY = 10.0  # seconds before the next look for pages to heal, where there was none
AGAIN = 3600.0  # seconds before a text is asked for again that the wiki did not have, and a wiki that refused us
BLOCKED = 2  # wikis that refuse us: one alone may be closed, two mean us

# Gives the texts of revisions of a wiki, of those that it has: (wiki id, domain, revision ids) -> revision id -> text.
Healer = Callable[[str, str, Sequence[int]], Awaitable[dict[int, bytes]]]
Work = Callable[[Callable[[], Any]], Awaitable[Any]]


class Healing:
    """Heals a store's diverged pages beside whoever fills it; ``work`` does things with the store, in its thread.

    ``heal`` None: nobody is asked. ``over`` says why nobody is asked any more.
    """

    def __init__(self, store: Store, work: Work, heal: Healer | None) -> None:
        self.healed = 0
        self.over: str | None = None
        self._store, self._work, self._heal = store, work, heal
        self._round: asyncio.Task[None] | None = None
        self._next = 0.0  # of these times and the two below: the loop's, in seconds
        self._wiki_next: dict[str, float] = {}
        self._tried: dict[tuple[str, int], float] = {}  # revisions asked for in vain, and when
        self._trouble: defaultdict[str, Trouble] = defaultdict(lambda: Trouble("healing"))
        self._closed: set[str] = set()  # wikis that refused us the last time they were asked

    def going_on(self) -> bool:
        """Whether wikis are being asked; begins with that where it is time. Raises what went wrong with the store."""
        if self._round and self._round.done():
            self._round.result()
            self._round = None
        if self._round is None and self._heal and not self.over and asyncio.get_running_loop().time() >= self._next:
            self._round = asyncio.create_task(self._heal_some(self._heal))
        return self._round is not None

    async def end(self) -> None:
        """Ask nobody any more; what is being done with the store is finished first."""
        if self._round:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
        await self._work(lambda: None)

    async def _heal_some(self, heal: Healer) -> None:
        """Ask for the texts of some pages, a request a wiki, and keep those with the announced hash."""
        now = asyncio.get_running_loop().time
        self._tried = {tried: at for tried, at in self._tried.items() if now() < at + AGAIN}
        began, asked = now(), False
        for wiki_id, domain, pages in await self._work(self._wanted):
            if self.over or now() < max(self._next, self._wiki_next.get(wiki_id, 0.0)):
                continue
            asked = True
            try:
                texts = await heal(wiki_id, domain, list(pages))
            except (Retry, Unusable, Refused) as error:
                self._failed(wiki_id, error)
                continue
            self._closed.discard(wiki_id)
            for name in (wiki_id, ""):
                self._trouble[name].over()
            self._tried.update({(wiki_id, rev_id): began for rev_id in pages})
            self.healed += await self._work(partial(self._put_right, wiki_id, pages, texts))
        if not asked:
            self._next = max(self._next, now() + LOOK_EVERY)

    def _failed(self, wiki_id: str, error: Retry | Unusable | Refused) -> None:
        now = asyncio.get_running_loop().time()
        match error:
            case Refused():
                self._stop(error)
            case Throttled():
                self._next = now + self._trouble[""].failed(error)
            case Forbidden():
                self._closed.add(wiki_id)
                self._wiki_next[wiki_id] = now + max(AGAIN, self._trouble[wiki_id].failed(error))
                if len(self._closed) >= BLOCKED:
                    self._stop(error)
            case Retry():
                self._wiki_next[wiki_id] = now + self._trouble[wiki_id].failed(error)
            case Unusable():
                self._wiki_next[wiki_id] = now + self._trouble[wiki_id].failed(Retry(str(error), hint=error.hint))

    def _stop(self, error: Forbidden | Refused) -> None:
        self.over = str(error)
        log.error("nobody is asked to heal any more; the mirror goes on without", why=self.over, hint=error.hint)

    def _wanted(self) -> list[tuple[str, str, dict[int, int]]]:
        """By wiki: its domain, and the revisions whose texts are missing, with their pages; at most a request of each."""
        domains = self._store.wikis()
        wanted: dict[str, dict[int, int]] = {}
        for wiki_id, page_id, _ in self._store.diverged():
            state = self._store.page(wiki_id, page_id)
            pages = wanted.setdefault(wiki_id, {})
            if state is None or state.revision is None or not state.revision.visibility.text or len(pages) >= AT_ONCE:
                continue
            if (wiki_id, state.revision.rev_id) not in self._tried:
                pages[state.revision.rev_id] = page_id
        return [(wiki_id, domains[wiki_id], pages) for wiki_id, pages in wanted.items() if pages]

    def _put_right(self, wiki_id: str, pages: dict[int, int], texts: dict[int, bytes]) -> int:
        with self._store.folding():
            healed = sum(self._store.heal(wiki_id, pages[rev_id], text) for rev_id, text in texts.items() if rev_id in pages)
        telemetry.HEALED.inc(healed)
        telemetry.DIVERGED.set(self._store.diverging())
        return healed
