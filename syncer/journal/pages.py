"""How far the topic of pages is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.journal import Topic
from syncer.pages import MARK_KEY, Mark

if TYPE_CHECKING:
    from syncer.journal import Journal

NEAR, FURTHER = 8, 16  # offsets from the end that are read first; and how many times more if that was in vain


async def last_mark(journal: Journal, partition: int) -> Mark | None:
    """The newest mark of a partition of ``pages``, looked for from its end; None where there is none."""
    start, end = await journal.bounds(Topic.PAGES, partition)
    back, found = NEAR, None
    while found is None and start < end:
        offset = begin = max(start, end - back)
        while records := await journal.read(Topic.PAGES, partition, offset):
            marks = [record for record in records if record.key == MARK_KEY and record.value]
            found = Mark.decode(marks[-1].value) if marks else found
            offset = records[-1].offset + 1
        if begin == start:
            break
        back *= FURTHER
    return found
