"""What the journal says of the hub's work: the counts of law 3, what is queued, how far behind. Needs no running hub."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from syncer.journal import POSITION_KEY, Topic, latest
from syncer.model import Position
from syncer.progress import PROGRESS_KEY, Counts, Progress
from syncer.records import MARK_KEY, Resume, decode_resume, decode_set_aside, is_from_feed

if TYPE_CHECKING:
    from syncer.journal import Journal, Stored


async def read_status(journal: Journal) -> dict[str, Any]:
    """The counts as committed. ``balanced`` is law 3: what was appended is what has an outcome and what is queued.

    A hub at work goes on while this reads. So what ingest says it has appended is read before the rest and after it, and the
    rest has to lie in between: for a hub at rest that is equality.
    """
    before = await _resume(journal)
    counts, queued, by_hand_queued, open_entries = Counts(), 0, 0, Counter[str]()
    for partition in range(journal.partitions):
        progress = await _progress(journal, partition)
        counts += progress.counts
        open_entries += progress.open_set_asides
        waiting, by_hand = await _queued(journal, partition, progress)
        queued, by_hand_queued = queued + waiting, by_hand_queued + by_hand
    resume = await _resume(journal)
    found, by_hand = counts.finished + queued, counts.by_hand + by_hand_queued
    appended = min(max(found, before.total + by_hand), resume.total + by_hand)
    newest = max(resume.position.timestamps.values(), default=None)
    return {
        "journal": journal.identity,
        "appended": appended,
        "queued": queued,
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
    }


def _iso(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _resume(journal: Journal) -> Resume:
    stored = (await latest(journal, Topic.POSITIONS, 0)).get(POSITION_KEY)
    return decode_resume(stored.value) if stored else Resume(Position(), {}, {}, {})


async def _progress(journal: Journal, partition: int) -> Progress:
    stored = (await latest(journal, Topic.PROGRESS, partition)).get(PROGRESS_KEY)
    if stored:
        return Progress.decode(stored.value)
    start, _ = await journal.bounds(Topic.CHANGES, partition)
    return Progress(read_to=start)


async def _queued(journal: Journal, partition: int, progress: Progress) -> tuple[int, int]:
    """How many changes have no outcome yet, and how many of them were not ingest's."""
    queued = by_hand = 0
    while records := await journal.read(Topic.CHANGES, partition, progress.read_to):
        for record in records:
            if progress.take_in(record.offset):
                progress.finish(record.offset)
                if record.key != MARK_KEY:
                    queued += 1
                    by_hand += _by_hand(record)
    return queued, by_hand


def _by_hand(record: Stored) -> bool:
    return not is_from_feed(record.value)


async def set_asides(journal: Journal, *, closed: bool = False) -> list[dict[str, Any]]:
    """What stands set aside, oldest first; with ``closed``, what was handled since as well."""
    entries: dict[tuple[int, str], dict[str, Any]] = {}
    for partition in (journal.partitions, *range(journal.partitions)):  # what ingest set aside is closed in its wiki's partition
        offset, end = await journal.bounds(Topic.SET_ASIDE, partition)
        while offset < end:
            records = await journal.read(Topic.SET_ASIDE, partition, offset)
            if not records:
                break  # what is left up to the end is no record
            for record in records:
                entry, key = decode_set_aside(record.value), (partition, record.key)
                if entry.closed_by is None:
                    change = entry.change
                    entries[key] = {
                        "key": record.key, "partition": partition, "reason": entry.reason, "detail": entry.detail, "at": entry.at,
                        "wiki_id": change.wiki_id if change else None, "titles": list(change.titles) if change else [],
                        "rev_ids": list(change.rev_ids) if change else [], "closed_by": None, "change": change,
                    }  # fmt: skip
                    continue
                for place in (key, (journal.partitions, record.key)):
                    if closed and place in entries:
                        entries[place]["closed_by"] = entry.closed_by
                    else:
                        entries.pop(place, None)
            offset = records[-1].offset + 1
    return sorted(entries.values(), key=lambda entry: str(entry["at"]))
