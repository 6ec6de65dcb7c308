"""Saying once an hour, by wiki, what was published: signed, so that a partner can tell that nothing is missing.

    mutations ──read back──► spans ─┐
    outcomes  ──committed──► tallies ┴─► manifests and the mark of how far they go, in one transaction

Everything is cut at once, in the store's thread, where nothing is being committed: what stands before is in these manifests, what
comes after in the next ones. The records are read back from the journal, as partners read them. Who dies before the transaction
cuts anew, a little later; who dies after it has the mark. So none is missing and none is there twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from syncer import telemetry
from syncer.clock import now_iso
from syncer.errors import ResumeLost
from syncer.faultpoints import at
from syncer.journal import Record, Topic, latest
from syncer.manifest import HOUR, MARK_KEY, PUBLIC_KEY, SIGNATURE, Manifest, Mark, Span, Tally, encode, tally_key
from syncer.tasks import unless

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable

    from syncer.enrich.settle import Settler
    from syncer.journal import Journal
    from syncer.signing import Signer

log = structlog.get_logger()

EVERY = HOUR  # from one manifest to the next
LOOK_EVERY = 15.0  # seconds between two readings: so at the hour's end only the last of it is still to be read
READ_AT_ONCE = 200  # mutations
READ_AGAIN = 0.5  # seconds


def _hour(seconds: float) -> str:
    """The last full hour that has ended by then, as its beginning."""
    return datetime.fromtimestamp((seconds // EVERY - 1) * EVERY, UTC).isoformat().replace("+00:00", "Z")


def overdue(hour: str, now: float) -> float:
    """For how many seconds the manifests of the hour after this one could have been made."""
    return max(0.0, now - datetime.fromisoformat(hour).timestamp() - 2 * EVERY)


@dataclass(slots=True)
class _Part:
    """A partition: up to where manifests are made, up to where records were read since, and what they were, by wiki."""

    mark: Mark
    read_to: int
    lost_to: int = 0  # what is before was cut by retention and not read before that
    spans: dict[str, Span] = field(default_factory=dict)


@dataclass(slots=True)
class Manifests:
    """Of the partitions that a settler owns; ``work`` does things with the store, in its thread."""

    journal: Journal
    settler: Settler
    signer: Signer
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    _parts: dict[int, _Part] = field(default_factory=dict)

    async def load(self, partitions: Iterable[int]) -> None:
        """Read how far manifests are made, and what has counted since. They begin with what comes next where there are none."""
        for partition in partitions:
            found = await latest(self.journal, Topic.PROGRESS, partition)
            if stored := found.get(MARK_KEY):
                mark = Mark.decode(stored.value)
            else:
                mark = await self.work(partial(self._begin, partition))
            self._parts[partition] = _Part(mark, mark.to)
            for key, each in found.items():
                if key.startswith(tally_key("")):
                    self.settler.tallies.of[key.removeprefix(tally_key(""))] = Tally.decode(each.value)
        telemetry.MANIFESTS_OVERDUE.set_function(self.overdue)
        if max(part.mark for part in self._parts.values()).signed_with != self.signer.public:
            log.warning(
                "manifests are signed with another key than before: partners who pinned that one are told of wrong signatures",
                public_key=self.signer.public,
                hint="put the key file of the hub before in the place of manifests.key_file, or give partners the public key",
            )

    def _begin(self, partition: int) -> Mark:
        mark = Mark(_hour(time.time()), self.settler.store.offset(partition), self.signer.public)
        self.settler.append([Record(Topic.PROGRESS, partition, MARK_KEY, mark.encode())])
        return mark

    def overdue(self) -> float:
        """For how many seconds an hour has been over, and its manifests are not made."""
        return overdue(min((part.mark.hour for part in self._parts.values()), default=_hour(time.time())), time.time())

    async def run(self, stop: asyncio.Event) -> None:
        """Read on, and make the manifests of every hour when it is over, until ``stop``."""
        while not stop.is_set():
            hour = _hour(time.time())
            for partition, part in self._parts.items():
                if hour > part.mark.hour:
                    to = await self.work(partial(self._cut, partition))
                    if await self._read(partition, part, to, stop):
                        await self.work(partial(self._tell, partition, part, Mark(hour, to, self.signer.public)))
                else:
                    await self._read(partition, part, (await self.journal.bounds(Topic.MUTATIONS, partition))[1], stop)
            await unless(stop, LOOK_EVERY)

    def _cut(self, partition: int) -> int:
        """Up to where the next manifests go: everything that is committed."""
        self.settler.tallies.cut(partition, self.journal.partitions)
        return self.settler.store.offset(partition)

    async def _read(self, partition: int, part: _Part, to: int, stop: asyncio.Event) -> bool:
        """Read up to this offset; False if asked to stop before. What retention has cut meanwhile is not there."""
        while part.read_to < to and not stop.is_set():
            start, end = await self.journal.bounds(Topic.MUTATIONS, partition)
            if start > part.read_to:
                part.read_to = part.lost_to = min(start, to)
                part.spans.clear()
                continue
            try:
                records = await self.journal.read(Topic.MUTATIONS, partition, part.read_to, limit=READ_AT_ONCE)
            except ResumeLost:
                if (await self.journal.bounds(Topic.MUTATIONS, partition))[0] <= part.read_to:
                    raise
                continue  # it was cut just now
            if not records and end < to:  # who has it now does not know yet that it is committed
                await unless(stop, READ_AGAIN)
                continue
            for record in (record for record in records if record.offset < to):
                part.spans.setdefault(record.headers["wiki"], Span()).take(
                    record.offset, record.key, record.headers.get("kind", ""), record.digest
                )
            part.read_to = min(to, records[-1].offset + 1) if records else to
        return part.read_to >= to

    def _tell(self, partition: int, part: _Part, mark: Mark) -> None:
        """Append the manifests of all wikis of which there is something to say, and that they are made."""
        tallies = self.settler.tallies
        records: list[Record] = []
        for wiki_id in sorted({*part.spans, *tallies.counted(partition, self.journal.partitions)}):
            tally = tallies.changing(partition, wiki_id)
            manifest = self._manifest(partition, part, wiki_id, tally, mark)
            value = encode(manifest)
            tally.told(manifest, value)
            headers = {"wiki": wiki_id, PUBLIC_KEY: self.signer.public, SIGNATURE: self.signer.sign(value)}
            records.append(Record(Topic.MANIFESTS, partition, manifest.key, value, headers))
        if records:
            at("manifests-made")
            told = Record(Topic.PROGRESS, partition, MARK_KEY, mark.encode())
            self.settler.append_with(partition, [*records, told])
            at("manifests-told")
        part.mark, part.spans = mark, {}

    def _manifest(self, partition: int, part: _Part, wiki_id: str, tally: Tally, mark: Mark) -> Manifest:
        span = part.spans.get(wiki_id, Span())
        return Manifest(
            journal=self.journal.identity,
            wiki_id=wiki_id,
            hour=mark.hour,
            made_at=now_iso(),
            partition=partition,
            start=max(part.mark.to if tally.to is None else tally.to, part.lost_to),
            to=mark.to,
            records=span.records,
            first=span.first,
            last=span.last,
            sha256=span.sha256,
            mutations=dict(span.mutations),
            outcomes=tally.cut.outcomes,
            gaps=self.settler.watermarks.open_gaps(wiki_id),
            previous=tally.previous,
        )
