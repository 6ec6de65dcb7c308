"""What a run of the demo came to: the mirror against the farm, and figures from the journal and the request log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from syncer.journal import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from syncer.demo.api import Asked
    from syncer.demo.farm import Farm
    from syncer.journal import Journal


@dataclass(slots=True)
class Published:
    """The mutations of a run. ``bytes`` of values by kind; ``delays`` in seconds from event to publication."""

    counts: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    delays: list[float] = field(default_factory=list)
    texts: int = 0  # bytes of the whole texts that the patches stand for
    example: dict[str, Any] | None = None

    def delay(self, share: float) -> float:
        """A quantile of the delays; 0 without any."""
        ordered = sorted(self.delays)
        return ordered[int(share * (len(ordered) - 1))] if ordered else 0.0


async def read_published(journal: Journal) -> Published:
    """Read every mutation, and choose a small patch with a section as the example."""
    published = Published()
    for partition in range(journal.partitions):
        offset, end = await journal.bounds(Topic.MUTATIONS, partition)
        while offset < end:
            records = await journal.read(Topic.MUTATIONS, partition, offset)
            for record in records:
                _add(published, record.value)
            offset = records[-1].offset + 1
    return published


def _add(published: Published, raw: bytes) -> None:
    value = orjson.loads(raw)
    kind = value["kind"]
    published.counts[kind] += 1
    published.bytes[kind] += len(raw)
    if kind == "patch":
        published.texts += value["revision"]["size"]
    published.delays.append(_seconds(value["published_at"]) - _seconds(value["source"]["event_time"]))
    best = published.example
    if kind == "patch" and value.get("sections") and (best is None or len(raw) < len(orjson.dumps(best))):
        published.example = value


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A mirror against the farm: pages compared, and one line for each that differs."""

    pages: int
    differences: tuple[str, ...]


def compare(farm: Farm, mirrored: Iterable[dict[str, Any]]) -> Comparison:
    """Every page of the mirror is the farm's, and every page that something happened to is in the mirror (law 5)."""
    truth = {(page["wiki_id"], page["page_id"]): page for page in farm.export()}
    mirror = {(page["wiki_id"], page["page_id"]): page for page in mirrored}
    touched = {(page["wiki_id"], page["page_id"]) for page in farm.export(touched=True)}
    found = [f"missing: {truth[key]['title']}" for key in sorted(touched - mirror.keys())]
    for key, page in sorted(mirror.items()):
        if key not in truth:
            found.append(f"not in the wiki: {page['title']}")
        elif fields := [name for name, value in truth[key].items() if page[name] != value]:
            found.append(f"{page['title']}: {', '.join(fields)}")
    return Comparison(len(mirror), tuple(found))


def crawl(farm: Farm, seconds: float) -> int:
    """The requests of a crawler that reads every page once a minute to find out what changed, one page at a time."""
    return round(seconds / 60 * sum(len(wiki.pages) for wiki in farm.wikis.values()))


def asked(requests: Sequence[Asked]) -> tuple[int, int]:
    """Requests that were made, and bytes that were sent in answer."""
    return len(requests), sum(request.size for request in requests)
