"""Where a mirror that begins with dumps has to follow the journal from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from syncer.errors import Misconfigured, Refused
from syncer.journal import Topic, partition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.journal import Journal

# Seconds by which clocks, replicas and the beginning of a dump may be apart. A day of records is read in minutes; what is missed
# is missed for ever.
MARGIN = 86_400.0


async def since(journal: Journal, began: Mapping[str, float]) -> dict[int, int]:
    """By partition, the offset to follow from, for dumps of these wikis that were begun at these times (since the epoch).

    What was appended before a dump was begun says nothing that the dump does not. Partitions of no such wiki are followed from
    their start. Raises Misconfigured where the journal does not go back to a dump.
    """
    starts = {part: (await journal.bounds(Topic.MUTATIONS, part))[0] for part in range(journal.partitions)}
    found = dict(starts)
    for wiki_id, at in sorted(began.items(), key=lambda item: -item[1]):  # the oldest of a partition last
        part = partition_of(wiki_id, journal.partitions)
        await _check(journal, wiki_id, at, starts)
        found[part] = await _first(journal, part, at - MARGIN)
    return found


async def _first(journal: Journal, part: int, at: float) -> int:
    """The offset of the first mutation that was appended at a time or later; that of the next one where there is none."""
    low, high = await journal.bounds(Topic.MUTATIONS, part)
    while low < high:
        middle = (low + high) // 2
        records = await journal.read(Topic.MUTATIONS, part, middle, limit=1)
        if records and records[0].appended_at < at:
            low = records[0].offset + 1
        else:
            high = middle
    return low


async def _check(journal: Journal, wiki_id: str, at: float, starts: Mapping[int, int]) -> None:
    """Raise unless the journal has all mutations of a wiki from a time on, as far as it can tell by itself."""
    part = partition_of(wiki_id, journal.partitions)
    if starts[part]:  # some were removed: those that are left have to go back to it
        known = [await _oldest(journal, Topic.MUTATIONS, part)]
    else:  # none were removed: the hub has to have been at work by then, whatever happened on this wiki
        known = [await _oldest(journal, Topic.MUTATIONS, each) for each, start in starts.items() if not start]
        known += [await _oldest(journal, Topic.CHANGES, each) for each in starts]
    oldest = min((time for time in known if time is not None), default=None)
    if oldest is None or oldest > at:
        back = "holds nothing yet" if oldest is None else f"goes back to {_iso(oldest)}"
        raise Misconfigured(
            f"the dump of {wiki_id} was begun at {_iso(at)}, and the journal {back}: what changed in between is in neither",
            hint="take a dump that was begun later than that, once there is one",
        )


async def _oldest(journal: Journal, topic: Topic, part: int) -> float | None:
    """When the first record that is still there was appended; None where there is none, or it may not be read."""
    try:
        start, _ = await journal.bounds(topic, part)
        records = await journal.read(topic, part, start, limit=1)
    except (Misconfigured, Refused):
        return None  # on Kafka a partner need not be allowed to read the changes
    return records[0].appended_at if records else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
