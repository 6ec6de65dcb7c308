r"""What upstream never said, found by asking: gaps in the feed, and whatever was lost from one hour to the next.

    known gaps ──────┐               recent changes, log        ┌─► changes      what differs, to be read again    \  one
    every interval ──┴─► job ──ask──► of a span of time ───────►│                                                  } trans-
                          ▲                                     ├─► progress     how far the wiki is reconciled    /  action
                          └─────────── page by page ────────────┤
    known pages, in turn and at random ──ask──► as they are ───►┘   both compared with the store

It works inside enrich, which owns the wikis (law 10): one request at a time, when nothing fresher is worth one. A step is one
request; what it found is committed with how far it got, so that a process that dies goes on there, without a gap or a double.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from syncer.clock import now_iso
from syncer.faultpoints import at
from syncer.feed import Scope
from syncer.fetch import MOST_VALUES, Span
from syncer.journal import POSITION_KEY, Record, Topic, change_record, latest, partition_of
from syncer.reconcile.compare import Compare
from syncer.reconcile.rounds import Rounds
from syncer.reconciled import REACHES_BACK, Gap, Job, Reconciled, reconciled_key
from syncer.records import decode_change, decode_resume
from syncer.telemetry import RECONCILE_FOUND, RECONCILE_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from syncer.config import Settings
    from syncer.fetch import Listing
    from syncer.journal import Journal, Stored
    from syncer.model import Answer, Change
    from syncer.store import Store

log = structlog.get_logger()

SETTLED = 120.0  # seconds: what is younger may still be on its way here, and both ends of a span overlap by as much
TAIL = 16  # records at the end of positions: one of them is the newest
TELL_EVERY = 20  # pages of a list between two lines in the log


class Api(Protocol):
    """What is asked of the wikis; see :class:`syncer.fetch.WikiApi`."""

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock is ahead of the wikis'."""

    async def glance(self, wiki_id: str, domain: str, *, titles: Sequence[str] = (), page_ids: Sequence[int] = ()) -> Answer:
        """Ask for pages as they are now, but for their texts."""

    async def listed(self, wiki_id: str, domain: str, name: str, span: Span, more: str | None) -> Listing:
        """Ask for a page of a list."""


@dataclass(slots=True)
class _Page:
    """A page of a list on its way: what was found on it, what has to be looked at yet, and the job that follows."""

    job: Job
    following: Job | None
    changes: list[Change]
    titles: list[str]
    asked: int = 1


@dataclass(slots=True)
class Reconcile:
    """``append`` commits records; it and everything else with the store is done by ``work``, in the store's thread.

    ``learn`` from time to time, ``step`` for one of ``ready``; a step raises the errors of Retry, and Unusable.
    """

    settings: Settings
    journal: Journal
    store: Store
    api: Api
    append: Callable[[Sequence[Record]], object]
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    gaps: tuple[Gap, ...] = ()
    stepped_at: float = 0.0  # of the loop's clock
    rounds: Rounds = field(init=False)
    _scope: Scope = field(init=False)
    _namespaces: frozenset[object] = field(init=False)
    _wikis: dict[str, Reconciled] = field(default_factory=dict)
    _met: dict[str, str] = field(default_factory=dict)  # with their domains
    _heard: set[str] = field(default_factory=set)
    _pages: dict[str, _Page] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _reached: float | None = None  # how far ingest is, in seconds since the epoch
    _told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Take what is wanted from the settings."""
        self.rounds = Rounds(self.settings.reconcile, self.store.seen)
        self._scope, self._namespaces = Scope(self.settings.wiki), frozenset(self.settings.wiki.namespaces)

    async def load(self, partitions: Iterable[int]) -> None:
        """Read how far the wikis of these partitions are."""
        for partition in partitions:
            for key, stored in (await latest(self.journal, Topic.PROGRESS, partition)).items():
                if key.startswith(reconciled_key("")):
                    each = Reconciled.decode(stored.value)
                    self._wikis[each.wiki_id] = each
        self._met = await self.work(self.store.wikis)
        await self.learn()

    def heard(self, records: Iterable[Stored]) -> None:
        """These changes were taken in: there are such wikis, whatever becomes of the changes."""
        for record in records:
            wiki_id = record.headers.get("wiki")
            if wiki_id and wiki_id not in self._heard:
                self._heard.add(wiki_id)
                with suppress(KeyError, TypeError, ValueError):  # what is no change is set aside as that
                    self._met[wiki_id] = decode_change(record.value).domain

    async def learn(self) -> None:
        """Learn what gaps the feed has and how far it is; note the wikis that are new; plan what to look at."""
        if value := await self._position():
            resume = decode_resume(value)
            self.gaps = resume.gaps
            self._reached = max(resume.position.timestamps.values(), default=0) / 1000 or None
        met, self._met = self._met, {}
        new = [
            Reconciled(wiki_id, domain, self._begin())
            for wiki_id, domain in met.items()
            if wiki_id not in self._wikis and self._wanted(wiki_id, domain)
        ]
        if new:
            await self.work(partial(self.append, [self._record(each) for each in new]))
            self._wikis.update((each.wiki_id, each) for each in new)
        if self.rounds.time_to_plan(time.time()):
            await self.work(partial(self.rounds.plan, self.wanted, time.time()))

    async def _position(self) -> bytes | None:
        """Ingest's own record: one of the last, as it is the only one there is."""
        start, end = await self.journal.bounds(Topic.POSITIONS, 0)
        records = await self.journal.read(Topic.POSITIONS, 0, max(start, end - TAIL))
        stored = records[-1] if records else (await latest(self.journal, Topic.POSITIONS, 0)).get(POSITION_KEY)
        return stored.value if stored else None

    @property
    def wanted(self) -> list[str]:
        """The wikis that are known, and wanted still."""
        return [wiki_id for wiki_id, each in self._wikis.items() if self._wanted(wiki_id, each.domain)]

    def _wanted(self, wiki_id: str, domain: str) -> bool:
        return self._scope.wanted(domain, wiki_id) and self._scope.allowed(domain)

    def _begin(self) -> str:
        """From when on a wiki is reconciled that was not known: not from before there was a hub, nor from long ago."""
        upto = self._upto()
        begun = max((_seconds(end) for start, end in self.gaps if start is None), default=upto)
        return _iso(min(upto, max(begun, upto - self.settings.reconcile.interval)))

    def _upto(self) -> float:
        """Until when everything has arrived that will arrive, in seconds since the epoch."""
        return min(self._reached or time.time(), time.time() - self.api.ahead) - SETTLED

    # -- what is to be done --------------------------------------------------------------------------------------------

    @property
    def filled(self) -> Mapping[str, frozenset[Gap]]:
        """The known gaps that are closed, by wiki."""
        return {wiki_id: frozenset(each.filled) for wiki_id, each in self._wikis.items() if each.filled}

    def filling(self, out: frozenset[str]) -> dict[str, str]:
        """The wikis of which a gap is being filled, or has to be, and where that is; not those out of the way."""
        jobs = ((wiki_id, self._next_job(each)) for wiki_id, each in self._wikis.items() if wiki_id not in out)
        return {wiki_id: f"{job.listed} {job.more or job.start}" for wiki_id, job in jobs if job and job.gap}

    def ready(self, now: float) -> Iterator[str]:
        """The wikis that there is something to ask of: gaps first, then windows, then whoever was asked longest ago."""
        waiting = [
            (job is None, job is not None and job.gap is None, self._last.get(wiki_id, 0.0), wiki_id)
            for wiki_id, each in self._wikis.items()
            if self._not_before.get(wiki_id, 0.0) <= now and ((job := self._next_job(each)) or self.rounds.due(wiki_id))
        ]
        return (wiki_id for *_, wiki_id in sorted(waiting))

    def put_off(self, wiki_id: str, until: float) -> None:
        """Leave a wiki in peace until then, of the loop's clock."""
        self._not_before[wiki_id] = until

    def _next_job(self, each: Reconciled) -> Job | None:
        if not self._wanted(each.wiki_id, each.domain):
            return None
        if each.job:
            return each.job
        if gap := self._open_gap(each):
            start = min(_seconds(gap[0] or gap[1]), _seconds(each.window_to))
            return Job("gap", _iso(start - SETTLED), _iso(_seconds(gap[1]) + SETTLED), gap=gap)
        upto, since = self._upto(), _seconds(each.window_to)
        if upto - since < self.settings.reconcile.interval:
            return None
        return Job("window", _iso(since - SETTLED), _iso(upto))

    def _open_gap(self, each: Reconciled) -> Gap | None:
        """A gap that can be filled, and was not: recent changes do not go back for ever."""
        oldest = time.time() - REACHES_BACK
        return next((gap for gap in self.gaps if gap not in each.filled and gap[0] and _seconds(gap[0]) >= oldest), None)

    # -- doing it ------------------------------------------------------------------------------------------------------

    async def step(self, wiki_id: str) -> None:
        """Ask a wiki one thing."""
        self._last[wiki_id] = self.stepped_at = asyncio.get_running_loop().time()
        each, page = self._wikis[wiki_id], self._pages.pop(wiki_id, None)
        if page is not None:
            await self._look(each, page)
        elif job := self._next_job(each):
            page = await self._list(each, job)
        elif by := self.rounds.due(wiki_id):
            await self._go_round(each, by)
        if page and page.titles:
            self._pages[wiki_id] = page
        elif page:
            await self._commit(each, page)

    async def _list(self, each: Reconciled, job: Job) -> _Page:
        """Read a page of a list."""
        if job.gap and not each.job:
            log.info("filling a gap", wiki=each.wiki_id, start=job.start, end=job.end)
        RECONCILE_REQUESTS.labels(job.by).inc()
        listing = await self.api.listed(each.wiki_id, each.domain, job.listed, Span(job.start, job.end), job.more)
        following = job._replace(more=listing.more) if listing.more else None
        if job.listed == "recentchanges":
            following = following or job._replace(listed="logevents", more=None)
        changes, titles = await self.work(partial(self._compare(each).happened, listing.rows))
        return _Page(job, following, changes, titles)

    async def _look(self, each: Reconciled, page: _Page) -> None:
        """Look at some of the pages that the log names."""
        asked = page.titles[:MOST_VALUES]
        RECONCILE_REQUESTS.labels(page.job.by).inc()
        answer = await self.api.glance(each.wiki_id, each.domain, titles=asked)
        page.changes += await self.work(partial(self._compare(each).titles, answer))
        page.asked += 1
        del page.titles[:MOST_VALUES]

    async def _go_round(self, each: Reconciled, by: str) -> None:
        """Look at some pages of which nobody says that anything happened to them."""
        page_ids = await self.work(partial(self.rounds.pages, by, each.wiki_id, time.time()))
        if page_ids:
            RECONCILE_REQUESTS.labels(by).inc()
            answer = await self.api.glance(each.wiki_id, each.domain, page_ids=page_ids)
            await self._append(each, by, await self.work(partial(self._compare(each).pages, answer)), asked=1)
        await self.work(partial(self.rounds.done, by, each.wiki_id, page_ids, time.time()))

    def _compare(self, each: Reconciled) -> Compare:
        return Compare(self.store, each.wiki_id, each.domain, self._in_scope, now_iso())

    def _in_scope(self, namespace: int) -> bool:
        return "*" in self._namespaces or namespace in self._namespaces

    async def _commit(self, each: Reconciled, page: _Page) -> None:
        """Append what was found on a page of a list, with how far that is."""
        job, done = page.job, replace(each, job=page.following)
        if page.following is None:
            done.window_to = max(each.window_to, job.gap[1] if job.gap else job.end)
            done.filled = tuple(gap for gap in self.gaps if gap in each.filled or gap == job.gap)
            self.rounds.samples.add(each.wiki_id)
        await self._append(done, job.by, page.changes, asked=page.asked)
        if job.gap:
            self._tell(done, job, page.following)

    async def _append(self, each: Reconciled, by: str, found: Sequence[Change], *, asked: int) -> None:
        """Append what was found with the state that the wiki is in from here on."""
        each = replace(each, found=each.found + Counter({by: len(found)}), asked=each.asked + Counter({by: asked}))
        changes = [change_record(change, self.journal.partitions) for change in found]
        at("reconcile-found")
        await self.work(partial(self.append, [*changes, self._record(each)]))
        at("reconcile-appended")
        self._wikis[each.wiki_id] = each
        RECONCILE_FOUND.labels(by).inc(len(found))
        if found and by != "gap":
            log.warning("upstream had not told of everything", wiki=each.wiki_id, found=len(found), by=by)

    def _record(self, each: Reconciled) -> Record:
        partition = partition_of(each.wiki_id, self.journal.partitions)
        return Record(Topic.PROGRESS, partition, reconciled_key(each.wiki_id), each.encode(), {"wiki": each.wiki_id})

    def _tell(self, each: Reconciled, job: Job, following: Job | None) -> None:
        """Say now and then how far a gap is filled."""
        found = self._wikis[each.wiki_id].found[job.by]
        self._told[each.wiki_id] += 1
        if following is None:
            del self._told[each.wiki_id]
            log.info("a gap is filled", wiki=each.wiki_id, start=job.start, end=job.end, found=found)
        elif self._told[each.wiki_id] % TELL_EVERY == 0:
            log.info("filling a gap", wiki=each.wiki_id, place=job.more, of=job.listed, found=found)


def _iso(seconds: float) -> str:
    """A time in whole seconds, which is what wikis count in."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(4096)  # every wiki's, looked at again and again
def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
