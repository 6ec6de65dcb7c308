"""A partner's side: subscribe, apply, verify, heal. Imports nothing of feed, fetch, ingest or enrich.

    mutations ──► in scope? ──► fold, proven by hash ──► pages, texts and the offset reached, in one transaction
    (journal)         │                 │                       └─ a receipt is owed for what was hidden or deleted
                      └─ left alone     └─ does not fit: the divergence is recorded, and healed where that is asked for

A text that is not the announced one is never kept, and never guessed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from syncer import telemetry
from syncer.errors import JournalUnavailable, ResumeLost, Unusable
from syncer.faultpoints import at
from syncer.journal import Topic
from syncer.mirror.bootstrap import check_bootstrapped
from syncer.mirror.healing import Healer, Healing
from syncer.mirror.receipts import Receipts
from syncer.mirror.requests import Requests
from syncer.mirror.scope import as_taken, of_interest
from syncer.store import Divergence
from syncer.tasks import unless
from syncer.trouble import Trouble
from syncer.wire import decode_mutation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from syncer.config import MirrorSettings
    from syncer.journal import Journal, Stored
    from syncer.model import Mutation
    from syncer.store import Store

__all__ = ["Healer", "Mirror", "Tally"]

T = TypeVar("T")
log = structlog.get_logger()

APPLY_AT_ONCE = 500  # mutations a transaction
UNKNOWN, TEXTLESS = "unknown page", "no base text"  # how pages diverge that were there before the mirror
BEHIND = 60.0  # seconds for which somebody may have something to catch up with, or wait for the journal, and be ready


@dataclass(slots=True)
class Tally:
    """What a mirror has done since it was started."""

    applied: Counter[str] = field(default_factory=Counter)
    left_alone: int = 0
    diverged: Counter[str] = field(default_factory=Counter)


class Mirror:
    """Keeps a store equal to what the mutations say of the pages in its own scope.

    ``heal``, where given, is asked for the texts that diverged, beside everything else. ``run`` ends at ``stop``, or with
    ``until_idle`` seconds at the journal's end.
    """

    def __init__(self, journal: Journal, store: Store, settings: MirrorSettings, heal: Healer | None = None) -> None:
        self.tally = Tally()
        self._journal, self._store, self._settings = journal, store, settings
        self._thread = ThreadPoolExecutor(1, "mirror")
        self.healing = Healing(store, self._work, heal)
        self.receipts = Receipts(journal, store, settings, self._work)
        self.requests = Requests(journal, store, settings, self._work)
        self._current_at: float | None = None  # when it was last at the journal's end, of the loop's clock
        self._newest: str | None = None
        self._unknown_told = 0  # pages

    async def done(self) -> dict[str, Any]:
        """What it has done since it was started, and how many pages stand diverged."""
        diverged = await self._work(self._store.diverging)
        tally = self.tally
        return {
            "applied": dict(tally.applied), "left_alone": tally.left_alone, "diverged": dict(tally.diverged),
            "healed": self.healing.healed, "pages_diverged": diverged, "asked_for": self.requests.asked,
        }  # fmt: skip

    async def status(self) -> dict[str, Any]:
        """What it has done, and how it is. ``newest_mutation``: when the last one applied was published."""
        told = {"journal": self._journal.identity, "newest_mutation": self._newest}
        told |= {"healing_is_over": self.healing.over, "receipts_are_over": self.receipts.over}
        return told | await self.done() | {"requests_are_over": self.requests.over}

    def unready(self) -> list[str]:
        """What keeps the mirror from being as the journal says."""
        if self._current_at is None:
            return ["the mirror has not reached the journal's end yet"]
        behind = asyncio.get_running_loop().time() - self._current_at
        return [f"the mirror was last at the journal's end {behind:.0f} s ago"] if behind > BEHIND else []

    async def run(self, stop: asyncio.Event, until_idle: float | None = None) -> None:
        """Follow the journal. Raises ResumeLost when it is another one, or no longer has what comes next."""
        try:
            await self._run(stop, until_idle)
        finally:
            self._tell_unknown()
            await self.healing.end()
            await self.receipts.end()
            await self.requests.end()

    async def _run(self, stop: asyncio.Event, until_idle: float | None) -> None:
        now = asyncio.get_running_loop().time
        moved, trouble = now(), Trouble("journal")
        offsets: dict[int, int] = {}
        while not stop.is_set():
            try:
                offsets = offsets or await self._start()
                found = [part for part in offsets if await self._step(part, offsets)]
                trouble.over()
                if not found:
                    self._tell_unknown()
                    await self._work(self._store.bury)
                # What does not fit on the way is often put right by what comes: nobody is asked before the end was seen.
                arrived = not found or self._current_at is not None
                asking = [arrived and one.going_on() for one in (self.healing, self.requests)]
                if any([*asking, self.receipts.going_on()]) or found:
                    moved = now()
                elif until_idle is not None and now() - moved >= until_idle:
                    return
                if not found:
                    self._current_at = now()
                    await self._journal.wait(0.5 if until_idle is None else min(0.5, until_idle))
            except JournalUnavailable as error:
                await unless(stop, trouble.failed(error))

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
        check_bootstrapped(self._store)
        self._note_scope()
        for partition, (start, _) in bounds.items():
            if start:
                self._store.forget(partition, start)
        offsets = {partition: self._store.offset(partition) for partition in bounds}
        for partition, offset in offsets.items():
            start, end = bounds[partition]
            if not start <= offset <= end:
                raise ResumeLost(
                    f"the mirror goes on at offset {offset} of partition {partition}, the journal has {start} to {end}",
                    hint="it was away for longer than the journal keeps: move mirror.path away and start the mirror anew",
                )
        return offsets

    def _note_scope(self) -> None:
        """Keep the scope with the mirror, and say what it means that it is another one than before."""
        wikis, namespaces = sorted(self._settings.wikis), sorted(map(str, self._settings.namespaces))
        scope = f"wikis {', '.join(wikis)}; namespaces {', '.join(namespaces)}"
        before = self._store.meta("scope")
        if before not in {None, scope}:
            log.warning(
                "the mirror's scope is another one: of what it takes only now it knows no page until that page changes, and then"
                " without its text; what it takes no longer stays as it was, and is kept current no more",
                before=before,
                now=scope,
                hint='mirror.heal = "hub" or "api" has such texts; for all that the journal still has, move mirror.path away'
                " and start the mirror anew",
            )
        self._store.remember("scope", scope)

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
                if not of_interest(record, self._settings):
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
                if self._store.debts.note(mutation, partition, record.offset):
                    self.receipts.owe()
            self._store.advance(partition, records[-1].offset + 1)
            at("mirror-folded")
        at("mirror-committed")
        if diverging := self._store.diverging():
            self.requests.owe()
        telemetry.DIVERGED.set(diverging)

    def _fold(self, mutation: Mutation) -> None:
        mutation = as_taken(mutation, self._settings)
        try:
            self._store.fold(mutation)
        except Divergence as divergence:
            tell = log.debug if divergence.reason in {UNKNOWN, TEXTLESS} else log.warning
            tell("a page diverged", page=f"{mutation.wiki_id}:{mutation.page.page_id}", why=divergence.reason)
            self._store.diverge(mutation, divergence.reason)
            self.tally.diverged[divergence.reason] += 1
            self.requests.owe()
        self.tally.applied[mutation.kind.value] += 1
        self._newest = mutation.published_at
        telemetry.APPLIED.labels(mutation.kind.value).inc()

    def _tell_unknown(self) -> None:
        """Say how many pages are older than what the journal had when the mirror began; again when they are twice as many."""
        unknown = self.tally.diverged[UNKNOWN]
        if unknown > 2 * self._unknown_told:
            self._unknown_told = unknown
            hint = 'mirror.heal = "hub" asks the hub for their texts, "api" the wikis'
            log.warning(
                "pages were published before this mirror begins, and the journal no longer has their texts: they are known"
                " once they are published whole again",
                pages=unknown,
                hint=hint if self._settings.heal == "off" else None,
            )

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
