"""How a mirror stands: of every wiki, up to when it is complete and what is missing, by the hub's watermarks and the mirror."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from syncer.journal import Topic, latest, partition_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncer.journal import Journal, Stored
    from syncer.store import Store


@dataclass(frozen=True, slots=True)
class WikiStanding:
    """One wiki of a mirror. Times are ISO, ``behind`` seconds: how old the news is that may be missing; None where unknown.

    ``complete_to``: up to which feed time the hub has published everything. ``unread_since``: since when the mirror has not read
    what is published, None where it has read all. ``cut``: what it would read next is no longer there. ``gaps`` are open spans
    of feed time; ``begins``, the feed time before which the hub knows of nothing. ``diverged``: pages by why they have no text.
    """

    wiki_id: str
    complete_to: str | None
    behind: float | None
    unread_since: float | None
    cut: bool
    open_set_asides: int
    gaps: Sequence[tuple[str, str]]
    begins: str | None
    diverged: Mapping[str, int]

    def missing(self, most: float) -> list[str]:
        """What keeps it from being complete, where news may be as old as ``most`` seconds."""
        found = ["cut"] if self.cut else []
        found += ["gaps"] if self.gaps else []
        found += ["set aside"] if self.open_set_asides else []
        found += ["diverged"] if self.diverged else []
        return [*found, "behind"] if self.behind is None or self.behind > most else found


async def read_standing(journal: Journal, store: Store, wikis: Sequence[str], now: float) -> list[WikiStanding]:
    """Every wiki of these (globs) that the hub has told of or the mirror has a page of."""
    said: dict[str, Stored] = {}
    unread: dict[int, tuple[float | None, bool]] = {}
    for partition in range(journal.partitions):
        said |= await latest(journal, Topic.WATERMARKS, partition)
        unread[partition] = await _unread(journal, store, partition)
    diverged: dict[str, Counter[str]] = {}
    for wiki_id, _, reason in store.diverged():
        diverged.setdefault(wiki_id, Counter())[reason] += 1
    known = sorted(wiki for wiki in {*said, *store.wikis()} if any(fnmatch.fnmatchcase(wiki, glob) for glob in wikis))
    found = []
    for wiki_id in known:
        part: dict[str, Any] = orjson.loads(said[wiki_id].value) if wiki_id in said else {}
        since, cut = unread[partition_of(wiki_id, journal.partitions)]
        complete_to = part.get("complete_to")
        told = datetime.fromisoformat(complete_to).timestamp() if complete_to else -math.inf
        behind = now - min(told, now if since is None else since)
        found.append(
            WikiStanding(
                wiki_id=wiki_id,
                complete_to=complete_to,
                behind=round(behind, 1) if math.isfinite(behind) else None,
                unread_since=since,
                cut=cut,
                open_set_asides=part.get("open_set_asides", 0),
                gaps=[(start, end) for start, end in part.get("gaps", ()) if start is not None],
                begins=max((end for start, end in part.get("gaps", ()) if start is None), default=None),
                diverged=dict(diverged.get(wiki_id, {})),
            )
        )
    return found


async def _unread(journal: Journal, store: Store, partition: int) -> tuple[float | None, bool]:
    """When the first record was appended that the mirror has not read, if any; and whether it cannot read on."""
    offset = store.offset(partition)
    start, end = await journal.bounds(Topic.MUTATIONS, partition)
    if not start <= offset <= end:
        return None, True
    records = await journal.read(Topic.MUTATIONS, partition, offset, limit=1)
    return (records[0].appended_at if records else None), False
