"""What stands set aside, as the journal has it: read once for where each of it stands, and again for what it is, so that no more
than a part of it is held at a time.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from syncer.journal import Topic
from syncer.records import decode_set_aside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from syncer.journal import Journal, Stored


async def set_asides(journal: Journal, *, closed: bool = False) -> AsyncIterator[dict[str, Any]]:
    """What stands set aside, oldest first, as ``entry`` and in plain values; with ``closed``, what was handled since as well.

    It is what stood there at the start: what becomes of it while this is read makes no difference.
    """
    lines = [_line(journal, partition, places) for partition, places in (await _places(journal, closed=closed)).items()]
    heads = [(str(head["at"]), number, head) for number, line in enumerate(lines) if (head := await anext(line, None))]
    heapq.heapify(heads)
    while heads:
        _, number, head = heads[0]
        yield head
        if following := await anext(lines[number], None):
            heapq.heapreplace(heads, (str(following["at"]), number, following))
        else:
            heapq.heappop(heads)


async def read(journal: Journal, partition: int, offset: int = 0) -> AsyncIterator[Sequence[Stored]]:
    """The records of a partition from an offset on, up to the end as it is now, some at a time."""
    start, end = await journal.bounds(Topic.SET_ASIDE, partition)
    offset = max(offset, start)
    while offset < end and (records := await journal.read(Topic.SET_ASIDE, partition, offset)):
        yield records
        offset = records[-1].offset + 1


async def _places(journal: Journal, *, closed: bool) -> Mapping[int, Mapping[int, str | None]]:
    """By partition, the offsets of what stands set aside, and what closed it, if that is asked for."""
    found: dict[tuple[int, str], tuple[int, str | None]] = {}
    own = journal.partitions  # what ingest set aside is closed in its wiki's partition
    for partition in (own, *range(own)):
        async for records in read(journal, partition):
            for record in records:
                closed_by, places = decode_set_aside(record.value).closed_by, ((partition, record.key), (own, record.key))
                for place in places:
                    if closed_by is None or not closed:
                        found.pop(place, None)  # it was handled, or tried, and is here now
                    elif place in found:
                        found[place] = (found[place][0], closed_by)
                if closed_by is None:
                    found[partition, record.key] = (record.offset, None)
    by_partition: dict[int, dict[int, str | None]] = {}
    for (partition, _), (offset, closed_by) in found.items():
        by_partition.setdefault(partition, {})[offset] = closed_by
    return by_partition


async def _line(journal: Journal, partition: int, places: Mapping[int, str | None]) -> AsyncIterator[dict[str, Any]]:
    """What stands at these offsets of a partition, in their order."""
    async for records in read(journal, partition, min(places)):
        for record in records:
            if record.offset not in places:
                continue
            entry = decode_set_aside(record.value)
            change = entry.change
            yield {
                "key": record.key, "partition": partition, "reason": entry.reason, "detail": entry.detail, "at": entry.at,
                "wiki_id": change.wiki_id if change else None, "titles": list(change.titles) if change else [],
                "rev_ids": list(change.rev_ids) if change else [], "page_ids": list(change.page_ids) if change else [],
                "closed_by": places[record.offset], "entry": entry,
            }  # fmt: skip
