"""Changes of many pages, appended from outside: one by one (law 10), and only as many as the hub has to do next.

The changes of a partition are taken in in their order, and no more once ``enrich.unfinished_limit`` of them are unfinished. So of
a whole wiki appended at once every later edit would have to wait for the last page; and what it is worth to be told of a wiki,
that everything up to a time is published, would not be told meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from syncer.cli import stderr
from syncer.errors import WikiUnavailable
from syncer.journal import Topic, change_record
from syncer.progress import PROGRESS_KEY, Progress

if TYPE_CHECKING:
    from syncer.journal import Journal
    from syncer.model import Change

A_REQUEST = 50  # pages
AHEAD = 4 * A_REQUEST  # changes that are appended and not finished: the next request is there when the hub has done one
LOOK_EVERY = 0.25  # seconds: a request is 0.33 s at 180 a minute
STALLED_AFTER = 60.0  # seconds in which none was finished


@dataclass(slots=True)
class _Partition:
    """What was appended to it and is not known to be finished, and what is known of its progress: read up to an offset."""

    read_to: int
    unfinished: list[int] = field(default_factory=list)
    progress: Progress | None = None
    set_aside: dict[str, int] = field(default_factory=dict)  # by wiki, when it was first looked at


@dataclass(slots=True)
class Appending:
    """Appends to a journal, and says so where the hub has finished nothing for a while. ``limit`` is the hub's
    ``enrich.unfinished_limit``: half of that is left to others.
    """

    journal: Journal
    limit: int
    _partitions: dict[int, _Partition] = field(default_factory=dict)

    @property
    def _ahead(self) -> int:
        return min(AHEAD, self.limit // 2)

    async def append(self, change: Change) -> None:
        """Append a change as soon as not too many are ahead of it.

        Raises WikiUnavailable where the hub sets the changes of its wiki aside: so it would go on, for all of them.
        """
        record = change_record(change, self.journal.partitions)
        own = self._partitions.get(record.partition)
        if own is None:
            start, _ = await self.journal.bounds(Topic.PROGRESS, record.partition)
            own = self._partitions[record.partition] = _Partition(start)
        if len(own.unfinished) >= self._ahead:
            await self._make_room(record.partition, own, change.wiki_id)
        own.unfinished.append(await self.journal.append(record))

    async def _make_room(self, partition: int, own: _Partition, wiki_id: str) -> None:
        """Wait until one of them is finished."""
        now = asyncio.get_running_loop().time
        told_at = now() + STALLED_AFTER
        while True:
            await self._learn(partition, own)
            if progress := own.progress:
                asides = progress.open_set_asides[wiki_id]
                if asides >= own.set_aside.setdefault(wiki_id, asides) + AHEAD:
                    raise WikiUnavailable(
                        f"the hub cannot read the pages of {wiki_id}: it sets them aside",
                        hint=f"syncer set-aside list --wiki {wiki_id} says why; then run this again",
                    )
                own.unfinished = [offset for offset in own.unfinished if not progress.has_finished(offset)]
                if len(own.unfinished) < self._ahead:
                    return
            if now() >= told_at:
                told_at = float("inf")
                stderr.print("waiting for the hub, which has finished none of them for a minute: see syncer health, and status")
            await asyncio.sleep(LOOK_EVERY)

    async def _learn(self, partition: int, own: _Partition) -> None:
        """Read what was committed of the partition's progress since."""
        while records := await self.journal.read(Topic.PROGRESS, partition, own.read_to):
            own.read_to = records[-1].offset + 1
            for record in records:
                if record.key == PROGRESS_KEY:
                    own.progress = Progress.decode(record.value)
