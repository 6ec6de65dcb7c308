"""Whether the journal holds what the hub has signed: every manifest is there, and every record that they tell of, unaltered.

That is about the records. Whether the mirror's pages are as these state them, ``verify --against-hub`` says.
"""

from __future__ import annotations

import fnmatch
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from syncer.journal import Topic, partition_of
from syncer.manifest import HOUR, PUBLIC_KEY, SIGNATURE, Manifest, Span, decode, digest, named
from syncer.signing import is_signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from syncer.journal import Journal, Stored
    from syncer.manifest import Named
    from syncer.store import Store

LATE = 2 * HOUR + 600  # seconds: a record is told of within an hour of the end of its own, and somewhat later by a busy hub


class Fault(NamedTuple):
    """Something that is not as it should be: of which wiki, in the manifest of which hour if of any."""

    wiki_id: str
    hour: str | None
    fault: str
    detail: str


@dataclass(slots=True)
class Checked:
    """``manifests`` by what became of them: ``right``, ``wrong``, ``cut`` where retention has cut some of their records, so that
    the hash cannot be had any more, ``ahead`` of what the mirror has read. ``untold``: records from before there were manifests,
    or too young for one.
    """

    manifests: Counter[str] = field(default_factory=lambda: Counter(right=0, wrong=0, cut=0, ahead=0))
    records: int = 0
    untold: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Task:
    """What is checked: of these wikis (globs), believing these keys. ``told`` hears of every so many records that were read."""

    journal: Journal
    public_keys: Collection[str]
    wikis: Sequence[str]
    told: Callable[[int], None] = lambda _: None

    def digest(self, record: Stored) -> str:
        """The hash of a record as it was published; what it says of that itself counts only where records are rewritten."""
        return record.digest if self.journal.rewrites else digest(record.value, {}, "")

    async def records(self, topic: Topic, partition: int, upto: int) -> AsyncIterator[Stored]:
        """The records of these wikis before an offset."""
        offset, end = await self.journal.bounds(topic, partition)
        while offset < min(end, upto):
            found = await self.journal.read(topic, partition, offset)
            for record in found:
                wiki_id = record.headers.get("wiki", "")
                if record.offset < upto and any(fnmatch.fnmatchcase(wiki_id, pattern) for pattern in self.wikis):
                    yield record
            self.told(len(found))
            offset = found[-1].offset + 1 if found else end


async def check(task: Task, store: Store) -> Checked:
    """Check all manifests that there are, and all records up to where the mirror has read."""
    found = Checked()
    for number in range(task.journal.partitions):
        part = _Partition(task, number, found)
        await part.read_manifests()
        await part.read_mutations(store.offset(number))
    return found


@dataclass(slots=True)
class _Wiki:
    """The manifests of a wiki that are still to be compared, the newest, and what was read of the first of them."""

    waiting: deque[Manifest] = field(default_factory=deque)
    newest: Manifest | None = None
    named: Named | None = None
    span: Span = field(default_factory=Span)
    late: int = 0  # records that a manifest should tell of by now, and none does
    late_since: float = 0.0


@dataclass(slots=True)
class _Partition:
    task: Task
    number: int
    found: Checked
    wikis: defaultdict[str, _Wiki] = field(default_factory=lambda: defaultdict(_Wiki))
    begin: int | None = None  # from which offset on there are manifests, as far as is known
    cut: bool = False  # whether retention has cut manifests

    def _fault(self, wiki_id: str, hour: str | None, fault: str, detail: str) -> None:
        self.found.faults.append(Fault(wiki_id, hour, fault, detail))

    # -- manifests ---------------------------------------------------------------------------------------------------

    async def read_manifests(self) -> None:
        """Take those that are signed and follow one another; what does not is a fault."""
        start, end = await self.task.journal.bounds(Topic.MANIFESTS, self.number)
        self.cut = start > 0
        async for record in self.task.records(Topic.MANIFESTS, self.number, end):
            if manifest := self._believed(record):
                self._follow(manifest, record.value)
        for wiki_id, wiki in self.wikis.items():
            for since, until in wiki.newest.gaps if wiki.newest else ():
                if since is not None:  # what was before the hub began is no gap in what it does
                    self._fault(wiki_id, None, "gap", f"nothing is known of what the feed said from {since} to {until}")

    def _believed(self, record: Stored) -> Manifest | None:
        """A manifest that one of the pinned keys has signed for this journal and this place."""
        wiki_id, hour, key = record.headers.get("wiki", ""), record.key.partition(":")[2], record.headers.get(PUBLIC_KEY, "")
        if key not in self.task.public_keys:
            self._fault(wiki_id, hour, "signature", f"offset {record.offset} is signed with the key {key or 'of nobody'}")
            return None
        if not is_signed(key, record.value, record.headers.get(SIGNATURE, "")):
            self._fault(wiki_id, hour, "signature", f"offset {record.offset} is not what was signed")
            return None
        try:
            manifest = decode(record.value)
        except (KeyError, TypeError, ValueError) as error:
            self._fault(wiki_id, hour, "unreadable", f"offset {record.offset} is no manifest that this reader knows: {error!r}")
            return None
        journal = self.task.journal
        place = journal.identity, wiki_id, record.key, partition_of(wiki_id, journal.partitions)
        if (manifest.journal, manifest.wiki_id, manifest.key, manifest.partition) != place or self.number != manifest.partition:
            self._fault(wiki_id, hour, "place", f"offset {record.offset} belongs elsewhere: {manifest.key} of {manifest.journal}")
            return None
        return manifest

    def _follow(self, manifest: Manifest, value: bytes) -> None:
        wiki = self.wikis[manifest.wiki_id]
        before = wiki.newest
        if before and manifest.hour <= before.hour:
            self._fault(manifest.wiki_id, manifest.hour, "twice", f"there is one already, and one of {before.hour}")
            return
        if manifest.previous != wiki.named and not (before is None and self.cut):
            gone = manifest.previous.hour if manifest.previous else "what was before"
            self._fault(manifest.wiki_id, manifest.hour, "missing manifest", f"it follows that of {gone}, which is not there")
        elif before and manifest.start != before.to:
            untold = f"nothing tells of the offsets from {before.to} to {manifest.start}: they were cut before they were told of"
            self._fault(manifest.wiki_id, manifest.hour, "untold", untold)
        wiki.newest, wiki.named = manifest, named(manifest, value)
        wiki.waiting.append(manifest)
        self.begin = manifest.start if self.begin is None else min(self.begin, manifest.start)

    # -- mutations ---------------------------------------------------------------------------------------------------

    async def read_mutations(self, upto: int) -> None:
        """Compare the records with what the manifests tell of them."""
        start, end = await self.task.journal.bounds(Topic.MUTATIONS, self.number)
        async for record in self.task.records(Topic.MUTATIONS, self.number, min(upto, end)):
            self.found.records += 1
            wiki = self.wikis[record.headers["wiki"]]
            while wiki.waiting and record.offset >= wiki.waiting[0].to:
                self._compare(wiki, start)
            if wiki.waiting and record.offset >= wiki.waiting[0].start:
                wiki.span.take(record.offset, record.key, record.headers.get("kind", ""), self.task.digest(record))
            else:
                self._untold(wiki, record)
        for wiki_id, wiki in self.wikis.items():
            while wiki.waiting and (wiki.waiting[0].last or 0) < upto:
                self._compare(wiki, start)
            self.found.manifests["ahead"] += len(wiki.waiting)
            if wiki.late:
                since = datetime.fromtimestamp(wiki.late_since, UTC).isoformat(timespec="seconds")
                self._fault(wiki_id, None, "missing manifest", f"none tells of {wiki.late} records, the first one of {since}")

    def _untold(self, wiki: _Wiki, record: Stored) -> None:
        """A record that no manifest tells of: a fault where one should."""
        self.found.untold += 1
        before = self.begin is not None and record.offset < self.begin
        if not before and not wiki.waiting and record.appended_at < time.time() - LATE:
            wiki.late_since = wiki.late_since or record.appended_at
            wiki.late += 1

    def _compare(self, wiki: _Wiki, start: int) -> None:
        """Compare the first manifest that waits with what was read of its records."""
        manifest, span = wiki.waiting.popleft(), wiki.span
        wiki.span = Span()
        if manifest.first is not None and manifest.first < start:
            self.found.manifests["cut"] += 1
        elif (span.records, span.sha256) == (manifest.records, manifest.sha256):
            self.found.manifests["right"] += 1
        else:
            self.found.manifests["wrong"] += 1
            where = f"offsets from {manifest.start} to {manifest.to}"
            if span.records == manifest.records:
                self._fault(manifest.wiki_id, manifest.hour, "altered record", f"{where}: the hash is another")
            else:
                fault = "missing record" if span.records < manifest.records else "record too many"
                self._fault(manifest.wiki_id, manifest.hour, fault, f"{where}: {span.records} of {manifest.records} records")
