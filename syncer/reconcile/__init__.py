r"""What upstream never said, found by asking: gaps in the feed, and whatever was lost from one hour to the next.

    known gaps ──────┐               recent changes, log        ┌─► changes      what differs, to be read again    \  one
    every interval ──┴─► job ──ask──► of a span of time ───────►│                                                  } trans-
                          ▲                                     ├─► progress     how far the wiki is reconciled    /  action
                          └─────────── page by page ────────────┤
    known pages, in turn and at random ──ask──► as they are ───►┘   both compared with the store
    what the settings want of a wiki ──► less: its pages, without a question; more: a job

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
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from syncer.clock import now_iso
from syncer.faultpoints import at
from syncer.fetch import MOST_VALUES, Span
from syncer.journal import Record, Topic, change_record, latest, partition_of
from syncer.reconcile.asking import Api, Found
from syncer.reconcile.compare import Compare, about
from syncer.reconcile.leaving import keeps, not_wanted
from syncer.reconcile.merges import unheard
from syncer.reconcile.position import newest_resume
from syncer.reconcile.rounds import Rounds
from syncer.reconcile.scopes import Scopes, Wanted, seconds, without
from syncer.reconciled import ALL, REACHES_BACK, SCOPE_JOB, SCOPE_KEY, Gap, Job, Reconciled, reconciled_key
from syncer.records import decode_change
from syncer.telemetry import RECONCILE_FOUND, RECONCILE_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from syncer.config import Settings
    from syncer.journal import Journal, Stored
    from syncer.model import Change
    from syncer.store import Store

__all__ = ["Api", "Reconcile"]

log = structlog.get_logger()

SETTLED = 120.0  # seconds: what is younger may still be on its way here, and both ends of a span overlap by as much
TELL_EVERY = 20  # pages of a list between two lines in the log


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
    _wanted_now: Wanted = field(init=False)
    _scopes: dict[int, Scopes] = field(default_factory=dict)  # by partition
    _told_last: tuple[str, int] | None = None  # the last page of those that were told to be wanted no more
    _wikis: dict[str, Reconciled] = field(default_factory=dict)
    _met: dict[str, str] = field(default_factory=dict)  # with their domains
    _heard: set[str] = field(default_factory=set)
    _pages: dict[str, Found] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _reached: float | None = None  # how far ingest is, in seconds since the epoch
    _told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Take what is wanted from the settings."""
        self.rounds = Rounds(self.settings.reconcile, self.store.seen)
        self._wanted_now = Wanted.of(now_iso(), self.settings.wiki)

    async def load(self, partitions: Iterable[int]) -> None:
        """Read how far the wikis of these partitions are, and take note of what is wanted of them that was not, or is no more."""
        records: list[Record] = []
        for partition in partitions:
            newest = await latest(self.journal, Topic.PROGRESS, partition)
            for key, stored in newest.items():
                if key.startswith(reconciled_key("")):
                    each = Reconciled.decode(stored.value)
                    self._wikis[each.wiki_id] = each
            kept = newest[SCOPE_KEY].value if SCOPE_KEY in newest else None
            scopes = self._scopes[partition] = Scopes.after(kept, self.settings.wiki, now_iso())
            if scopes.encode() != kept:
                records.append(Record(Topic.PROGRESS, partition, SCOPE_KEY, scopes.encode()))
        await self._learn_position()
        met = (await self.work(self.store.wikis)).items()
        self._met = {wiki_id: domain for wiki_id, domain in met if self._partition(wiki_id) in self._scopes}
        for wiki_id, domain in self._met.items():  # none is new of which there are pages: it may be wanted no more
            self._wikis.setdefault(wiki_id, Reconciled(wiki_id, domain, self._begin()))
        applied = [(each, self._scopes[self._partition(each.wiki_id)].applied(each)) for each in self._wikis.values()]
        changed = [after for before, after in applied if after is not before]
        if records or changed:
            await self.work(partial(self.append, [*records, *map(self._record, changed)]))
        self._wikis.update((each.wiki_id, each) for each in changed)
        if rescoped := [each.wiki_id for each in self._wikis.values() if each.rescoping]:
            log.info("the settings want other pages than are published", wikis=len(rescoped), some=sorted(rescoped)[:5])
            shown_at = asyncio.get_running_loop().time() + self.settings.api.young  # what was passed over a moment ago
            self._not_before.update(dict.fromkeys(rescoped, shown_at))
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
        await self._learn_position()
        met, self._met = self._met, {}
        new = [
            self._scopes[self._partition(wiki_id)].begun(Reconciled(wiki_id, domain, self._begin()))
            for wiki_id, domain in met.items()
            if wiki_id not in self._wikis and self.wants(wiki_id, domain)
        ]
        if new:
            await self.work(partial(self.append, [self._record(each) for each in new]))
            self._wikis.update((each.wiki_id, each) for each in new)
        if self.rounds.time_to_plan(time.time()):
            await self.work(partial(self.rounds.plan, self.wanted, time.time()))

    async def _learn_position(self) -> None:
        if resume := await newest_resume(self.journal):
            self.gaps = resume.gaps
            self._reached = max(resume.position.timestamps.values(), default=0) / 1000 or None

    @property
    def wanted(self) -> list[str]:
        """The wikis that are known, and wanted still."""
        return [wiki_id for wiki_id, each in self._wikis.items() if self.wants(wiki_id, each.domain)]

    def wants(self, wiki_id: str, domain: str) -> bool:
        """Whether anything of a wiki is wanted, and it may be asked."""
        return bool(self._wanted_now.namespaces(wiki_id, domain))

    def _partition(self, wiki_id: str) -> int:
        return partition_of(wiki_id, self.journal.partitions)

    def _begin(self) -> str:
        """From when on a wiki is reconciled that was not known: not from before there was a hub, nor from long ago."""
        upto = self._upto()
        return _iso(min(upto, max(self._begun() or upto, upto - self.settings.reconcile.interval)))

    def _begun(self) -> float:
        """From when on the feed was read, where that is known."""
        return max((seconds(end) for start, end in self.gaps if start is None), default=0.0)

    def _upto(self) -> float:
        """Until when everything has arrived that will arrive, in seconds since the epoch."""
        return min(self._reached or time.time(), time.time() - self.api.ahead) - SETTLED

    # -- what is to be done --------------------------------------------------------------------------------------------

    @property
    def filled(self) -> Mapping[str, frozenset[Gap]]:
        """The known gaps that are closed, by wiki."""
        return {wiki_id: frozenset(each.filled) for wiki_id, each in self._wikis.items() if each.filled}

    @property
    def unread(self) -> Mapping[str, tuple[str, str]]:
        """From when to when changes of namespaces were passed over that are wanted now, by wiki."""
        return {
            wiki_id: self._passed_over(each) for wiki_id, each in self._wikis.items() if without(each.scope or (), each.complete)
        }

    def _passed_over(self, each: Reconciled) -> tuple[str, str]:
        until = seconds(each.since)
        return _iso(min(until, max(self._begun(), until - REACHES_BACK))), _iso(until)

    def filling(self, out: frozenset[str]) -> dict[str, str]:
        """The wikis of which a gap is being filled, or has to be, and where that is; not those out of the way.

        And those of which pages are told to be wanted no more, or that were not wanted before.
        """
        leaving = {
            each.wiki_id: f"not wanted any more: after page {'all' if each.leaving is None else each.leaving}"
            for each in self._wikis.values()
            if each.leaving is not None or (self._told_last and self._told_last[0] == each.wiki_id)
        }
        jobs = ((wiki_id, self._next_job(each)) for wiki_id, each in self._wikis.items() if wiki_id not in out)
        filling = {wiki_id: job for wiki_id, job in jobs if job and job.by != "window"}
        told = {"gap": "", SCOPE_JOB: "not wanted before: "}
        return {wiki_id: f"{told[job.by]}{job.listed} {job.more or job.start}" for wiki_id, job in filling.items()} | leaving

    def ready(self, now: float) -> Iterator[str]:
        """The wikis that there is something to ask of: gaps first, then windows, then whoever was asked longest ago."""
        waiting = [
            (job is None, job is not None and job.gap is None, self._last.get(wiki_id, 0.0), wiki_id)
            for wiki_id, each in self._wikis.items()
            if each.leaving is None
            and self._not_before.get(wiki_id, 0.0) <= now
            and ((job := self._next_job(each)) or self.rounds.due(wiki_id))
        ]
        return (wiki_id for *_, wiki_id in sorted(waiting))

    def overdue(self, out: frozenset[str]) -> float:
        """For how many seconds the window of a wiki has been due, at most; not of those out of the way."""
        upto = self._upto()
        ends = (seconds(self._wikis[wiki_id].window_to) for wiki_id in self.wanted if wiki_id not in out)
        return max(0.0, upto - min(ends, default=upto) - self.settings.reconcile.interval)

    def put_off(self, wiki_id: str, until: float) -> None:
        """Leave a wiki in peace until then, of the loop's clock."""
        self._not_before[wiki_id] = until

    def _next_job(self, each: Reconciled) -> Job | None:
        if not self.wants(each.wiki_id, each.domain):
            return None
        if each.job:
            return each.job
        if gap := self._open_gap(each):
            start = min(seconds(gap[0] or gap[1]), seconds(each.window_to))
            return Job("gap", _iso(start - SETTLED), _iso(seconds(gap[1]) + SETTLED), gap=gap)
        if each.leaving is None and each.rescoping:
            namespaces = without(each.scope or (), each.complete)
            restricted = () if namespaces == ALL else tuple(map(int, namespaces))
            since, until = map(seconds, self._passed_over(each))
            return Job(SCOPE_JOB, _iso(since - SETTLED), _iso(until + SETTLED), namespaces=restricted)
        upto, since = self._upto(), seconds(each.window_to)
        if upto - since < self.settings.reconcile.interval:
            return None
        return Job("window", _iso(since - SETTLED), _iso(upto))

    def _open_gap(self, each: Reconciled) -> Gap | None:
        """A gap that can be filled, and was not: recent changes do not go back for ever."""
        oldest = time.time() - REACHES_BACK
        return next((gap for gap in self.gaps if gap not in each.filled and gap[0] and seconds(gap[0]) >= oldest), None)

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

    async def _list(self, each: Reconciled, job: Job) -> Found:
        """Read a page of a list."""
        if not each.job and job.by != "window":
            job = await self._begin_with(each, job)
        if job.listed == "pages":
            return await self._once_published(each, job)
        RECONCILE_REQUESTS.labels(job.by).inc()
        span = Span(job.start, job.end, job.namespaces)
        listing = await self.api.listed(each.wiki_id, each.domain, job.listed, span, job.more)
        following = job._replace(more=listing.more) if listing.more else None
        if job.listed == "recentchanges":
            following = following or job._replace(listed="logevents", more=None)
        elif job.by == SCOPE_JOB:
            following = following or job._replace(listed="pages", more=None)
        rows = about(listing.rows, job.namespaces)
        compare = self._compare(each)
        changes, titles = await self.work(partial(compare.happened, rows))
        changes += await unheard(rows, compare, self.journal, self.work)
        return Found(job, following, changes, titles)

    async def _begin_with(self, each: Reconciled, job: Job) -> Job:
        """Say that it begins; where all namespaces are wanted from now on, learn which are new."""
        log.info(
            "filling a gap" if job.gap else "reading what was not wanted before", wiki=each.wiki_id, start=job.start, end=job.end
        )
        namespaces: Collection[int] = job.namespaces
        if job.by == SCOPE_JOB and each.scope == ALL and each.complete:
            RECONCILE_REQUESTS.labels(job.by).inc()
            site = await self.api.site(each.wiki_id, each.domain)
            namespaces = {number for number in site.namespaces.values() if number >= 0}.difference(each.complete)
        return job._replace(namespaces=tuple(sorted(namespaces)) if len(namespaces) <= MOST_VALUES else ())

    async def _once_published(self, each: Reconciled, job: Job) -> Found:
        """Look at some of the pages that are published no more: those that had left what is wanted may be wanted again."""
        page_ids = await self.work(partial(self.store.seen.gone, each.wiki_id, int(job.more or 0), MOST_VALUES))
        if not page_ids:
            return Found(job, None, [], [], asked=0)
        RECONCILE_REQUESTS.labels(job.by).inc()
        answer = await self.api.glance(each.wiki_id, each.domain, page_ids=page_ids)
        changes = await self.work(partial(self._compare(each).pages, answer))
        return Found(job, job._replace(more=str(page_ids[-1])), changes, [])

    async def _look(self, each: Reconciled, page: Found) -> None:
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
        namespaces = self.settings.wiki.namespaces
        return "*" in namespaces or namespace in namespaces

    async def _commit(self, each: Reconciled, page: Found) -> None:
        """Append what was found on a page of a list, with how far that is."""
        job, done = page.job, replace(each, job=page.following)
        if page.following is None:
            if job.by == SCOPE_JOB:
                done.complete = each.scope or ()
            if not job.namespaces:
                done.window_to = max(each.window_to, job.gap[1] if job.gap else job.end)
            done.filled = tuple(gap for gap in self.gaps if gap in each.filled or gap == job.gap)
            self.rounds.samples.add(each.wiki_id)
        await self._append(done, job.by, page.changes, asked=page.asked)
        if job.by != "window":
            self._tell(done, job, page.following)

    async def leave(self) -> None:
        """Have it published of some pages that they are not wanted any more, once that is done of those before."""
        if self._told_last and await self.work(partial(self._stays, *self._told_last)):
            return
        self._told_last = None
        while not self._told_last and (each := next((one for one in self._wikis.values() if one.leaving is not None), None)):
            page_ids, following = await self.work(partial(not_wanted, self.store.seen, each))
            compare = self._compare(each)
            await self._append(
                replace(each, leaving=following), SCOPE_JOB, [compare.left(page_id) for page_id in page_ids], asked=0
            )
            self._told_last = (each.wiki_id, page_ids[-1]) if page_ids else None
            if following is None:
                log.info("all pages that are not wanted are told of", wiki=each.wiki_id)

    def _stays(self, wiki_id: str, page_id: int) -> bool:
        """Whether a page that is not wanted is still published."""
        state = self.store.page(wiki_id, page_id)
        return state is not None and state.live and not keeps(self._wikis[wiki_id], state.namespace)

    async def _append(self, each: Reconciled, by: str, found: Sequence[Change], *, asked: int) -> None:
        """Append what was found with the state that the wiki is in from here on."""
        each = replace(each, found=each.found + Counter({by: len(found)}), asked=each.asked + Counter({by: asked}))
        changes = [change_record(change, self.journal.partitions) for change in found]
        at("reconcile-found")
        await self.work(partial(self.append, [*changes, self._record(each)]))
        at("reconcile-appended")
        self._wikis[each.wiki_id] = each
        RECONCILE_FOUND.labels(by).inc(len(found))
        if found and by not in {"gap", SCOPE_JOB}:
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
            done = "a gap is filled" if job.gap else "what was not wanted before is read"
            log.info(done, wiki=each.wiki_id, start=job.start, end=job.end, found=found)
        elif self._told[each.wiki_id] % TELL_EVERY == 0:
            log.info("filling a gap", wiki=each.wiki_id, place=job.more, of=job.listed, found=found)


def _iso(seconds: float) -> str:
    """A time in whole seconds, which is what wikis count in."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
