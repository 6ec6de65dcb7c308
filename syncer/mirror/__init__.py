"""A partner's side: subscribe, apply, verify, heal. Imports nothing of feed, fetch, ingest or enrich.

    mutations ──► in scope? ──► fold, proven by hash ──► pages, texts and the offset reached, in one transaction
    (journal)         │                 │
                      └─ left alone     └─ does not fit: the divergence is recorded, and healed where that is asked for

A text that is not the announced one is never kept, and never guessed.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from syncer import telemetry
from syncer.errors import JournalUnavailable, ResumeLost, Retry, Unusable
from syncer.journal import Topic
from syncer.model import Kind
from syncer.store import Divergence
from syncer.tasks import unless
from syncer.trouble import Trouble
from syncer.wire import decode_mutation

if TYPE_CHECKING:
    from syncer.config import MirrorSettings
    from syncer.journal import Journal, Stored
    from syncer.model import Mutation
    from syncer.store import Store

T = TypeVar("T")
log = structlog.get_logger()

APPLY_AT_ONCE = 500  # mutations a transaction
HEAL_EVERY = 10.0  # seconds before the next look for pages to heal, where there was none
HEAL_AGAIN = 3600.0  # seconds before a text is asked for again that the wiki did not have: others have their turn
HEAL_AT_ONCE = 50  # revisions: one request

# Gives the texts of revisions of a wiki, of those that it has: (wiki id, domain, revision ids) -> revision id -> text.
Healer = Callable[[str, str, Sequence[int]], Awaitable[dict[int, bytes]]]


@dataclass(slots=True)
class Tally:
    """What a mirror has done since it was started."""

    applied: Counter[str] = field(default_factory=Counter)
    left_alone: int = 0
    diverged: Counter[str] = field(default_factory=Counter)
    healed: int = 0


class Mirror:
    """Keeps a store equal to what the mutations say of the pages in its own scope.

    ``heal``, where given, is asked for the texts that diverged. ``run`` ends at ``stop``, or with ``until_idle`` seconds at
    the journal's end.
    """

    def __init__(self, journal: Journal, store: Store, settings: MirrorSettings, heal: Healer | None = None) -> None:
        self.tally = Tally()
        self._journal, self._store, self._settings, self._heal = journal, store, settings, heal
        self._thread = ThreadPoolExecutor(1, "mirror")
        self._heal_at = 0.0
        self._tried: dict[tuple[str, int], float] = {}  # revisions asked for in vain, and when

    async def run(self, stop: asyncio.Event, until_idle: float | None = None) -> None:
        """Follow the journal. Raises ResumeLost when it is another one, or no longer has what comes next."""
        now = asyncio.get_running_loop().time
        moved, trouble = now(), Trouble("journal")
        offsets: dict[int, int] = {}
        while not stop.is_set():
            try:
                offsets = offsets or await self._start()
                found = [part for part in offsets if await self._step(part, offsets)]
            except JournalUnavailable as error:
                await unless(stop, trouble.failed(error))
                continue
            trouble.over()
            if found or await self._heal_some():
                moved = now()
            elif until_idle is not None and now() - moved >= until_idle:
                return
            else:
                await self._journal.wait(0.5 if until_idle is None else min(0.5, until_idle))

    async def _start(self) -> dict[int, int]:
        """Where to go on in every partition; a new mirror begins with the journal."""
        bounds = {part: await self._journal.bounds(Topic.MUTATIONS, part) for part in range(self._journal.partitions)}
        return await self._work(lambda: self._begin(bounds))

    def _begin(self, bounds: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        if self._store.meta("journal") is None:
            with self._store.folding():
                for partition, (start, _) in bounds.items():
                    self._store.advance(partition, start)
        self._store.bind(self._journal.identity)
        offsets = {partition: self._store.offset(partition) for partition in bounds}
        for partition, offset in offsets.items():
            start, end = bounds[partition]
            if not start <= offset <= end:
                raise ResumeLost(
                    f"the mirror goes on at offset {offset} of partition {partition}, the journal has {start} to {end}",
                    hint="it was away for longer than the journal keeps: move mirror.path away and start the mirror anew",
                )
        return offsets

    async def _step(self, partition: int, offsets: dict[int, int]) -> bool:
        """Apply what comes next of a partition; False at its end."""
        records = await self._journal.read(Topic.MUTATIONS, partition, offsets[partition], limit=APPLY_AT_ONCE)
        if not records:
            return False
        await self._work(partial(self._apply, partition, records))
        offsets[partition] = records[-1].offset + 1
        return True

    def _apply(self, partition: int, records: Sequence[Stored]) -> None:
        with self._store.folding():
            for record in records:
                if not self._of_interest(record):
                    self.tally.left_alone += 1
                    continue
                try:
                    mutation = decode_mutation(record.value)
                except Unusable as error:
                    raise ResumeLost(
                        f"partition {partition}, offset {record.offset}: {error}",
                        hint="the journal is damaged there; tell its operator",
                    ) from error
                self._fold(mutation)
            self._store.advance(partition, records[-1].offset + 1)
        telemetry.DIVERGED.set(len(self._store.diverged()))

    def _of_interest(self, record: Stored) -> bool:
        """Judge by the headers alone, as any partner can: the page's namespace, and the one that it left."""
        headers, scope = record.headers, self._settings
        if not any(fnmatch.fnmatchcase(headers["wiki"], pattern) for pattern in scope.wikis):
            return False
        wanted = {str(number) for number in scope.namespaces}
        return "*" in wanted or headers["namespace"] in wanted or headers.get("prior_namespace") in wanted

    def _fold(self, mutation: Mutation) -> None:
        wanted = self._settings.namespaces
        if "*" not in wanted and mutation.page.namespace not in wanted:
            mutation = replace(mutation, kind=Kind.DELETE, revision=None)  # it has left the scope of this mirror
        try:
            self._store.fold(mutation)
        except Divergence as divergence:
            log.warning("a page diverged", page=f"{mutation.wiki_id}:{mutation.page.page_id}", why=divergence.reason)
            self._store.diverge(mutation, divergence.reason)
            self.tally.diverged[divergence.reason] += 1
        self.tally.applied[mutation.kind.value] += 1
        telemetry.APPLIED.labels(mutation.kind.value).inc()

    async def _heal_some(self) -> bool:
        """Ask for the texts of some pages that diverged, and keep those with the announced hash. Whether any was asked for."""
        now = asyncio.get_running_loop().time()
        if self._heal is None or now < self._heal_at:
            return False
        self._tried = {tried: at for tried, at in self._tried.items() if now < at + HEAL_AGAIN}
        asked = False
        for wiki_id, domain, pages in await self._work(self._to_heal):
            try:
                texts = await self._heal(wiki_id, domain, list(pages))
            except (Retry, Unusable) as error:
                log.warning("a wiki could not be asked to heal", wiki=wiki_id, why=str(error))
                continue
            asked = True
            self._tried.update({(wiki_id, rev_id): now for rev_id in pages})
            self.tally.healed += await self._work(partial(self._put_right, wiki_id, pages, texts))
        self._heal_at = now if asked else now + HEAL_EVERY
        return asked

    def _to_heal(self) -> list[tuple[str, str, dict[int, int]]]:
        """By wiki: its domain, and the revisions whose texts are missing, with their pages; at most a request of each."""
        domains = self._store.wikis()
        wanted: dict[str, dict[int, int]] = {}
        for wiki_id, page_id, _ in self._store.diverged():
            state = self._store.page(wiki_id, page_id)
            pages = wanted.setdefault(wiki_id, {})
            if state is None or state.revision is None or not state.revision.visibility.text or len(pages) >= HEAL_AT_ONCE:
                continue
            if (wiki_id, state.revision.rev_id) not in self._tried:
                pages[state.revision.rev_id] = page_id
        return [(wiki_id, domains[wiki_id], pages) for wiki_id, pages in wanted.items() if pages]

    def _put_right(self, wiki_id: str, pages: dict[int, int], texts: dict[int, bytes]) -> int:
        with self._store.folding():
            healed = sum(self._store.heal(wiki_id, pages[rev_id], text) for rev_id, text in texts.items() if rev_id in pages)
        telemetry.HEALED.inc(healed)
        telemetry.DIVERGED.set(len(self._store.diverged()))
        return healed

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
