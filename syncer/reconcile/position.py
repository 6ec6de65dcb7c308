"""How far ingest is, as it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.journal import POSITION_KEY, Topic, latest
from syncer.records import decode_resume

if TYPE_CHECKING:
    from syncer.journal import Journal
    from syncer.records import Resume

TAIL = 16  # records at the end of positions: one of them is the newest


async def newest_resume(journal: Journal) -> Resume | None:
    """Ingest's own record: one of the last, as it is the only one there is. None before there is any."""
    start, end = await journal.bounds(Topic.POSITIONS, 0)
    records = await journal.read(Topic.POSITIONS, 0, max(start, end - TAIL))
    stored = records[-1] if records else (await latest(journal, Topic.POSITIONS, 0)).get(POSITION_KEY)
    return decode_resume(stored.value) if stored else None
