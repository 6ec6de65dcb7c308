"""The first stage: feed -> changes. This module composes it; nothing else does.

                                        ┌─► changes    a change, in the partition of its wiki            \
    feed ──► sift ──► change, skip or ──┼─► set-aside  what cannot be used, in ingest's own partition     } one transaction
                      unfit             └─► positions  where the feed goes on, and all counts            /
                                            changes    every 60 s a mark in each partition: the feed's complete time

While a batch is committed no other is taken: memory stays bounded, and two threads do not fight over the interpreter. Nothing
here waits for the API. After a commit that failed, or of which nobody knows, everything starts over from what is
committed: the feed is rewound to the committed position, and what then comes again is known by the tail of the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import structlog

from syncer.errors import JournalUnavailable, OutcomeUnknown, ResumeLost
from syncer.faultpoints import at
from syncer.feed.memory import LIMIT, Memory
from syncer.feed.position import iso, milliseconds, since
from syncer.feed.sift import Sift, Unfit
from syncer.journal import INGEST, POSITION_KEY, Record, Topic, change_record, latest
from syncer.model import Change, Position
from syncer.reconciled import REACHES_BACK
from syncer.records import (
    MARK_KEY,
    Resume,
    decode_change,
    decode_mark,
    decode_resume,
    encode_mark,
    encode_resume,
    encode_set_aside,
)
from syncer.tasks import unless
from syncer.telemetry import FEED_CONNECTED, FEED_EVENTS, FEED_LAG, FEED_QUIET
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from syncer.config import FeedSettings
    from syncer.feed import Batch, Feed, Scope
    from syncer.feed.event import SkipReason
    from syncer.journal import Journal, Owner, Stored

log = structlog.get_logger()

COMMIT_EVERY = 0.25  # seconds, where there are changes: a quarter of a second is the least delay anybody sees
NOTE_EVERY = 5.0  # seconds, where there is only a position to note, and counts
FULL = 1000  # records: 1000 x 0.4 KB; at 30 changes/s only catching up fills that within COMMIT_EVERY
MARK_EVERY = 60.0  # seconds
RETENTION = 7 * 86_400_000  # milliseconds of feed that are sure to be there (PROTOCOL 8)
SILENCE = (
    3_600_000  # milliseconds without an event, where canaries come every 15 minutes: the feed begins later than we asked for
)
GAPS_KEPT = 100
DISORDER = 60_000  # milliseconds by which the order of appending may differ from that of the events' times
TAIL_STEP = 1000  # offsets that are gone back at first


class Ingest:
    """Owns the feed's position, and appends what the feed brings.

    ``last_appended`` is when something was last appended to ``changes``, of the steady clock (the start, if nothing was yet).
    """

    def __init__(self, journal: Journal, feed: Feed, scope: Scope, settings: FeedSettings) -> None:
        self.last_appended = time.monotonic()
        self._journal, self._feed, self._scope, self._settings = journal, feed, scope, settings
        self._trouble = Trouble("journal")
        self._session: _Session | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then commit what was taken. Raises Stop errors."""
        try:
            while not stop.is_set():
                try:
                    self._session = await self._open()
                    await self._session.run(stop)
                except (JournalUnavailable, OutcomeUnknown) as error:
                    await self._feed.hang_up()
                    await unless(stop, self._trouble.failed(error))
        finally:
            await self._feed.close()

    def status(self) -> dict[str, object]:
        """The feed, and what became of its events since the journal began. ``lag`` in seconds of the newest event."""
        newest, session = self._feed.newest, self._session
        return {
            "connected": self._feed.connected,
            "lag": None if newest is None else round(time.time() - newest / 1000, 3),
            "quiet": self._feed.quiet,
            "pending": len(session.pending) if session else 0,
            "appended": sum(session.appended.values()) if session else 0,
            "skipped": session.skipped if session else {},
            "set_aside": session.set_aside if session else {},
        }

    def idle_for(self) -> float:
        """For how many seconds the feed has been connected, or read again and again, without anything to append."""
        idle = self._feed.connected and self._session is not None and not self._session.pending
        return time.monotonic() - self.last_appended if idle else 0.0

    async def _open(self) -> _Session:
        """Read what is committed, and put the feed there."""
        owner = await self._journal.own(INGEST)
        stored = (await latest(self._journal, Topic.POSITIONS, 0)).get(POSITION_KEY)
        resume = decode_resume(stored.value) if stored else Resume(Position(), {}, {}, {})
        memory = Memory(int(self._settings.rewind * 1000))
        mark = await _recall(self._journal, resume.position, memory)
        session = _Session(self, self._journal, self._feed, owner, Sift(self._scope, memory), memory, mark)
        self._feed.start(resume.position)
        session.restore(resume, self._feed.begin)
        if not resume.position.timestamps and self._settings.since is None:
            session.gaps = [(None, iso(self._feed.begin))]
            log.warning("no position and no feed.since: the feed begins now, what was before is a known gap")
        log.info("the feed goes on", since=since(resume.position, self._settings.rewind), remembered=len(memory))
        return session

    def committed(self, changes: int, outcomes: Mapping[tuple[str, str], int]) -> None:
        """A session committed so many changes, and so many events by what became of them."""
        self._trouble.over()
        if changes:
            self.last_appended = time.monotonic()
        for (outcome, reason), count in outcomes.items():
            FEED_EVENTS.labels(outcome=outcome, reason=reason).inc(count)


@dataclass(slots=True)
class _Session:
    """From one reading of what is committed to the next."""

    ingest: Ingest
    journal: Journal
    feed: Feed
    owner: Owner
    sift: Sift
    memory: Memory
    mark: int
    pending: list[Record] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # and reasons, of the events since the last commit
    position: Position = field(default_factory=Position)
    appended: dict[int, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)
    gaps: list[tuple[str | None, str]] = field(default_factory=list)
    complete: int | None = None  # the feed's complete time as of the position: by now the feed may have more in hand
    reached: int = 0  # the largest timestamp so far
    told: set[str] = field(default_factory=set)  # reasons for setting aside that the log has heard of
    noted_at: float = field(default_factory=time.monotonic)
    mark_at: float = field(default_factory=lambda: time.monotonic() + MARK_EVERY)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)  # set while the reader may take

    def restore(self, resume: Resume, begin: int) -> None:
        """Go on counting from there; the feed goes on from its position or, if it has none, from ``begin``."""
        self.position = resume.position
        self.reached = max(resume.position.timestamps.values(), default=begin)
        self.appended, self.skipped, self.set_aside = dict(resume.appended), dict(resume.skipped), dict(resume.set_aside)
        self.gaps = list(resume.gaps)

    async def run(self, stop: asyncio.Event) -> None:
        """Read and commit until ``stop``, an error of the journal, or a Stop error of the feed."""
        self.room.set()
        reader, stopped = asyncio.ensure_future(self._receive()), asyncio.ensure_future(stop.wait())
        for end in (reader, stopped):
            end.add_done_callback(lambda _: self.wake.set())
        try:
            while not (stopped.done() or reader.done()):
                await unless(self.wake, COMMIT_EVERY)
                if self._due():
                    await self._commit()
        finally:
            reader.cancel()
            stopped.cancel()
            await asyncio.gather(reader, stopped, return_exceptions=True)
        if self.outcomes:
            await self._commit()
        if not reader.cancelled():
            reader.result()

    async def _receive(self) -> None:
        while True:
            batch = await self.feed.read()
            await self.room.wait()
            self._take(batch)
            if len(self.pending) >= FULL:
                self.room.clear()
                self.wake.set()

    def _take(self, batch: Batch) -> None:
        """Judge what came. Without a pause, so that a position never stands without its events. Raises ResumeLost."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if batch.events and _now() - self.reached > RETENTION:
            first = min(event.at for event in batch.events)
            if first - self.reached > SILENCE:
                self._gap(iso(self.reached), iso(first))
        self.reached = max((self.reached, *batch.position.timestamps.values()))
        for event in batch.events:
            self._settle(self.sift.judge(event, now))
        for block in batch.rejected:
            self._settle(self.sift.rejected(block, self.reached, now))
        self.position, self.complete = batch.position, self.feed.feed_time()
        self.memory.forget(batch.position.timestamps, self.complete)
        FEED_LAG.set((_now() - self.reached) / 1000)

    def _settle(self, verdict: Change | SkipReason | Unfit) -> None:
        if isinstance(verdict, Change):
            record = change_record(verdict, self.journal.partitions)
            self.pending.append(record)
            self.appended[record.partition] = self.appended.get(record.partition, 0) + 1
            self.outcomes["appended", ""] += 1
        elif isinstance(verdict, Unfit):
            reason = verdict.entry.reason
            if reason not in self.told:
                self.told.add(reason)
                log.warning("an event was set aside, the first of its kind", reason=reason, detail=verdict.entry.detail)
            self.pending.append(Record(Topic.SET_ASIDE, self.journal.partitions, verdict.key, encode_set_aside(verdict.entry)))
            self.set_aside[reason] = self.set_aside.get(reason, 0) + 1
            self.outcomes["set_aside", reason] += 1
        else:
            self.skipped[verdict.value] = self.skipped.get(verdict.value, 0) + 1
            self.outcomes["skipped", verdict.value] += 1

    def _gap(self, start: str, end: str) -> None:
        """Note what the feed has lost; enrich fills it from what the wikis keep. Raises ResumeLost where they keep no more."""
        if self.position.timestamps and _now() - self.reached > REACHES_BACK * 1000:
            raise ResumeLost(
                f"the feed has lost everything from {start} to {end}, and the wikis tell of {REACHES_BACK // 86_400} days only",
                hint="move the journal and store.path away and start anew, every mirror too; nobody tells of what was lost",
            )
        log.error("the position was older than what the feed keeps: a known gap, to be filled", start=start, end=end)
        self.gaps = [*self.gaps, (start, end)][-GAPS_KEPT:]

    def _due(self) -> bool:
        now = time.monotonic()
        FEED_CONNECTED.set(self.feed.connected)
        FEED_QUIET.set(len(self.feed.quiet))
        return bool(self.pending) or now >= self.mark_at or (bool(self.outcomes) and now >= self.noted_at + NOTE_EVERY)

    async def _commit(self) -> None:
        """Append what was taken, with the position after it."""
        resume = Resume(self.position, self.appended, self.skipped, self.set_aside, tuple(self.gaps))
        position = Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume))
        records = [*self.pending, *self._marks(), position]
        changes, outcomes = self.outcomes["appended", ""], self.outcomes
        self.pending, self.outcomes, self.noted_at = [], Counter(), time.monotonic()
        self.room.clear()
        at("ingest-appends")
        await self.owner.append(records)
        at("ingest-committed")
        self.wake.clear()
        self.room.set()
        self.ingest.committed(changes, outcomes)

    def _marks(self) -> list[Record]:
        """A mark for each partition, when it is time and the feed's complete time has moved."""
        if time.monotonic() < self.mark_at:
            return []
        self.mark_at = time.monotonic() + MARK_EVERY
        if self.complete is None or self.complete <= self.mark:
            return []
        self.mark = self.complete
        value = encode_mark(iso(self.complete))
        return [Record(Topic.CHANGES, partition, MARK_KEY, value) for partition in range(self.journal.partitions)]


def _now() -> float:
    """The time in the feed's unit: milliseconds since the epoch."""
    return time.time() * 1000


async def _recall(journal: Journal, position: Position, memory: Memory) -> int:
    """Remember what the feed will send again from this position, and return the last mark, a timestamp (0 if there is none)."""
    timestamps = position.timestamps
    if not timestamps:
        return 0
    mark, back_to = 0, min(timestamps.values()) - memory.rewind - DISORDER
    for partition in range(journal.partitions):
        async for record in _tail(journal, Topic.CHANGES, partition, back_to):
            with suppress(KeyError, TypeError, ValueError):  # what is no change, and no mark, is for enrich to set aside
                if record.key == MARK_KEY:
                    mark = max(mark, milliseconds(decode_mark(record.value)))
                else:
                    memory.recall(decode_change(record.value), timestamps)
    async for record in _tail(journal, Topic.SET_ASIDE, journal.partitions, back_to):
        memory.recall_key(record.key, timestamps)
    memory.forget(timestamps, None)
    return mark


async def _tail(journal: Journal, topic: Topic, partition: int, back_to: int) -> AsyncIterator[Stored]:
    """The records at the end of a partition: those of events after ``back_to``, but no more than memory can hold."""
    start, end = await journal.bounds(topic, partition)
    step = TAIL_STEP
    while step < min(end - start, LIMIT):
        first = await journal.read(topic, partition, end - step, limit=1)
        if first and _time(first[0]) < back_to:
            break
        step *= 2
    offset = max(start, end - step)
    while offset < end and (records := await journal.read(topic, partition, offset)):
        for record in records:
            yield record
        offset = records[-1].offset + 1


def _time(record: Stored) -> int:
    """When the event of a record happened, or the record was appended: the earlier, as a timestamp."""
    appended = int(record.appended_at * 1000)
    return min(appended, milliseconds(orjson.loads(record.value).get("event_time") or iso(appended)))
