"""What the journal says of the hub's work: the counts of law 3, what is queued, how far behind. Needs no running hub."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from syncer.journal import POSITION_KEY, Topic, latest
from syncer.manifest import Tally, tally_key
from syncer.model import Position
from syncer.progress import PROGRESS_KEY, Counts, Progress
from syncer.reconciled import Gap, Reconciled, reconciled_key
from syncer.records import MARK_KEY, Resume, decode_resume, is_from_feed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from syncer.journal import Journal

LOOKED_AT = 1000  # changes of a partition's queue: 12 x 1,000 x 25 us = 0.3 s, however long it is


class _Queue(NamedTuple):
    """Changes of a partition without an outcome: all of them, or so many that it was not worth while to look at them all."""

    changes: int
    by_hand: int  # of them were not ingest's
    whole: bool
    since: float | None  # when the first was appended, in seconds since the epoch


async def read_status(journal: Journal) -> dict[str, Any]:
    """The counts as committed. ``balanced`` is law 3: what was appended is what has an outcome and what is queued.

    A hub at work goes on while this reads. So what ingest says it has appended is read before the rest and after it, and the
    rest has to lie in between: for a hub at rest that is equality. Of a partition with a long queue only the beginning is
    looked at: what ingest appended there and has no outcome is taken to be queued (if a change was lost there, it shows when
    the queue is short again), and what others appended behind that beginning is not counted.
    """
    before = await _resume(journal)
    counts, open_entries, reconciled = Counts(), Counter[str](), list[Reconciled]()
    queues: list[tuple[int, _Queue]] = []  # by partition, with how many of ingest's changes are finished
    hours = list[str]()  # of which the partitions' last manifests are
    for partition in range(journal.partitions):
        progress, known, hour = await _progress(journal, partition)
        hours += [hour] if hour else []
        reconciled += known
        counts += progress.counts
        open_entries += progress.open_set_asides
        queue = await _queue(journal, partition, progress)
        queues.append((progress.counts.finished - progress.counts.by_hand, queue))
    resume = await _resume(journal)
    queued = 0
    for partition, (finished, queue) in enumerate(queues):
        told = resume.appended.get(partition, 0) - finished + queue.by_hand
        queued += queue.changes if queue.whole else max(queue.changes, told)
    found, by_hand = counts.finished + queued, counts.by_hand + sum(queue.by_hand for _, queue in queues)
    appended = min(max(found, before.total + by_hand), resume.total + by_hand)
    newest = max(resume.position.timestamps.values(), default=None)
    since = min((queue.since for _, queue in queues if queue.since is not None), default=None)
    return {
        "journal": journal.identity,
        "appended": appended,
        "queued": queued,
        "queued_since": None if since is None else _iso(int(since * 1000)),
        "outcomes": {
            "published": counts.published,
            "merged": counts.merged,
            "skipped": dict(counts.skipped),
            "set_aside": dict(counts.set_aside),
        },
        "balanced": appended == found,
        "mutations": dict(counts.mutations),
        "upstream_hash_wrong": counts.upstream_hash,
        "open_set_asides": dict(open_entries),
        "feed": {
            "skipped": resume.skipped,
            "set_aside": resume.set_aside,
            "gaps": list(resume.gaps),
            "newest_event": None if newest is None else _iso(newest),
        },
        "reconcile": _reconciled(reconciled, resume.gaps),
        "manifests": {"last_hour": max(hours, default=None)},
    }


def _reconciled(known: Sequence[Reconciled], gaps: Iterable[Gap]) -> dict[str, Any]:
    """What was found that upstream had not told of, what that cost, and of how many wikis each known gap is filled."""
    return {
        "wikis": len(known),
        "rescoping": sum(each.rescoping for each in known),
        "found": dict(sum((each.found for each in known), Counter[str]())),
        "asked": dict(sum((each.asked for each in known), Counter[str]())),
        "filled": {f"{gap[0]} to {gap[1]}": sum(gap in each.filled for each in known) for gap in gaps if gap[0]},
    }


def _iso(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _resume(journal: Journal) -> Resume:
    stored = (await latest(journal, Topic.POSITIONS, 0)).get(POSITION_KEY)
    return decode_resume(stored.value) if stored else Resume(Position(), {}, {}, {})


async def _progress(journal: Journal, partition: int) -> tuple[Progress, list[Reconciled], str | None]:
    newest = await latest(journal, Topic.PROGRESS, partition)
    tallies = (Tally.decode(stored.value) for key, stored in newest.items() if key.startswith(tally_key("")))
    hour = max((tally.previous.hour for tally in tallies if tally.previous), default=None)
    known = [Reconciled.decode(stored.value) for key, stored in newest.items() if key.startswith(reconciled_key(""))]
    if stored := newest.get(PROGRESS_KEY):
        return Progress.decode(stored.value), known, hour
    start, _ = await journal.bounds(Topic.CHANGES, partition)
    return Progress(read_to=start), known, hour


async def _queue(journal: Journal, partition: int, progress: Progress) -> _Queue:
    """Look at what has no outcome yet, as far as one reading goes."""
    changes = by_hand = 0
    since = None
    records = await journal.read(Topic.CHANGES, partition, progress.read_to, limit=LOOKED_AT)
    for record in records:
        if progress.take_in(record.offset):
            progress.finish(record.offset)
            if record.key != MARK_KEY:
                since = record.appended_at if since is None else since
                changes += 1
                by_hand += not is_from_feed(record.value)
    more = records and await journal.read(Topic.CHANGES, partition, progress.read_to, limit=1)
    return _Queue(changes, by_hand, not more, since)
