"""The journal: an ordered, durable, transactional record, and the seam behind which SQLite and Kafka are alike.

It promises three things: records are appended atomically, whatever topics they go to (so data and the progress made with it
commit together); they are read from an offset on, committed ones only; and the end is known, so that a reader can tell that
it has read everything. Offsets of a partition rise but may have gaps. One contract suite runs over both implementations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from syncer.errors import Misconfigured
from syncer.extras import missing
from syncer.manifest import digest
from syncer.receipts import encode as encode_receipt
from syncer.records import encode_change
from syncer.requests import encode as encode_request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from syncer.config import JournalSettings
    from syncer.model import Change, Visibility
    from syncer.receipts import Receipt
    from syncer.requests import Request


class Topic(StrEnum):
    """Every topic; on Kafka named ``<prefix>.<topic>.v1``."""

    CHANGES = "changes"  # ingest and by-hand appenders -> enrich
    MUTATIONS = "mutations"  # enrich -> partners
    SET_ASIDE = "set-aside"  # what could not be handled, with a reason; one partition more than the others: ingest's own
    POSITIONS = "positions"  # ingest's resume point; one partition
    PROGRESS = "progress"  # enrich's resume point and counts, by partition
    WATERMARKS = "watermarks"  # per wiki: complete up to which feed time
    RECEIPTS = "receipts"  # hub and mirrors: what each has honoured of what was hidden or deleted
    REQUESTS = "requests"  # mirrors -> enrich: pages that have no text there, to be published whole again
    MANIFESTS = "manifests"  # enrich -> partners: what of a wiki was published in an hour, signed
    PAGES = "pages"  # enrich -> new mirrors, where the operator wants it: every page as it is published


# Of these only the newest record of a key matters, and only that is kept.
COMPACTED = frozenset({Topic.POSITIONS, Topic.PROGRESS, Topic.WATERMARKS, Topic.PAGES})
TOMBSTONES = 7.0  # days for which an empty record is kept, which says that its key is gone: who reads for longer may miss it


POSITION_KEY = "feed"  # of ingest's record in POSITIONS

INGEST = "ingest"  # the name of the one owner of set-asides' last partition and of positions


class Shard(NamedTuple):
    """Which of how many processes enriches: number ``number`` (from 1) ``of`` so many, each with partitions of its own."""

    number: int
    of: int

    @property
    def owner(self) -> str:
        """The name of its owner."""
        return f"enrich-{self.number}-of-{self.of}"

    def partitions(self, partitions: int) -> range:
        """Those of so many that are its own."""
        return range(self.number - 1, partitions, self.of)


WHOLE = Shard(1, 1)


def partitions_of(topic: Topic, partitions: int) -> int:
    """How many partitions a topic has when the wikis are spread over ``partitions``."""
    match topic:
        case Topic.POSITIONS:
            return 1
        case Topic.SET_ASIDE:
            return partitions + 1
        case _:
            return partitions


@lru_cache(4096)  # wikis; there are about a thousand
def partition_of(wiki_id: str, partitions: int) -> int:
    """The partition of a wiki: murmur2 of its id, as Kafka's own default partitioner would place that key."""
    return (_murmur2(wiki_id.encode()) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """32-bit MurmurHash2 with the seed that Kafka clients share."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = (int.from_bytes(data[i : i + 4], "little") * m) & mask
        k = ((k ^ (k >> 24)) * m) & mask
        h = ((h * m) & mask) ^ k
    if tail := data[whole:]:
        h = ((h ^ int.from_bytes(tail, "little")) * m) & mask
    h = ((h ^ (h >> 13)) * m) & mask
    return h ^ (h >> 15)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What committed mutations lose: what is not ``seen`` any more of a revision, in the records at these offsets.

    ``rev_id`` None: of every revision. ``offsets`` None: in every record of the key of the one that says so.
    """

    rev_id: int | None
    seen: Visibility
    offsets: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Record:
    """Something to append. ``value`` is UTF-8 JSON, or in a compacted topic empty: the key is gone.

    ``erases`` is taken out of what stands before it in its partition, with it or not at all, where the journal ``rewrites``. In a
    compacted topic that is always what has its key.
    """

    topic: Topic
    partition: int
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    erases: tuple[Erasure, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A committed record. ``appended_at`` is the journal's own time, in seconds since the epoch.

    ``salt``, where the journal ``rewrites``, goes into a mutation's hash (see ``manifest``) and is lost with what is erased.
    """

    offset: int
    key: str
    value: bytes
    headers: Mapping[str, str]
    appended_at: float
    salt: str = ""

    @property
    def digest(self) -> str:
        """The hash of its value as it was published."""
        return digest(self.value, self.headers, self.salt)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a committed record stands in its topic."""

    partition: int
    offset: int


def change_record(change: Change, partitions: int) -> Record:
    """A change as a record, in the partition of its wiki."""
    page = change.titles[0] if change.titles else next(iter(change.page_ids or change.rev_ids), "")
    headers = {"wiki": change.wiki_id, "cause": change.cause.value}
    partition = partition_of(change.wiki_id, partitions)
    return Record(Topic.CHANGES, partition, f"{change.wiki_id}:{page}", encode_change(change), headers)


def receipt_record(receipt: Receipt) -> Record:
    """A receipt as a record: in the partition of what it is about."""
    headers = {"wiki": receipt.wiki_id, "mirror": receipt.mirror}
    return Record(Topic.RECEIPTS, receipt.partition, receipt.key, encode_receipt(receipt), headers)


def request_record(request: Request, partitions: int) -> Record:
    """A request as a record, in the partition of its wiki."""
    headers = {"wiki": request.wiki_id, "mirror": request.mirror}
    return Record(Topic.REQUESTS, partition_of(request.wiki_id, partitions), request.key, encode_request(request), headers)


class Owner(Protocol):
    """The only writer of some partitions, until somebody takes over."""

    async def append(self, records: Sequence[Record]) -> Sequence[int]:
        """Append all or none, and return the offset of each in the same order, once they are durable.

        What they erase is gone from every file by then, unless somebody reads for longer than can be waited for.
        Raises Superseded when another owner of the same name has taken over, JournalUnavailable when nothing was written, and
        OutcomeUnknown when only reading back can tell.
        """

    async def assured(self) -> None:
        """Return once it is known that no other process has become the owner a moment ago; raises what ``append`` raises."""


class Journal(Protocol):
    """What readers see, and where an owner is had. ``identity`` is made with the journal and never changes.

    ``rewrites``: what was appended can be taken out of it again. Else it stays until retention cuts it. ``clean``: nothing that
    was taken out is left in any file.
    """

    identity: str
    partitions: int
    rewrites: bool

    @property
    def clean(self) -> bool: ...  # noqa: D102 - above

    async def own(self, name: str, partitions: Collection[int] = ()) -> Owner:
        """Become the owner of that name (INGEST, a shard's).

        Raises Superseded while another process lives as it, or as an owner of another name with one of these partitions. While
        such an owner is frozen or away it can write no more.
        """

    async def stand_by(self, names: Sequence[str]) -> None:
        """Give up what is owned, and return once no other process has lived for some time as any of these owners."""

    async def doubts(self) -> Sequence[str]:
        """In what it is set up otherwise than it has to be, a line each; none where nobody else sets it up.

        Raises Misconfigured where that removes what is needed.
        """

    async def lost(self) -> None:
        """Never return; raise Superseded once another process has become an owner in the place of one that was had here."""

    async def append(self, record: Record) -> int:
        """Append a single record without owning anything (law 10: repair, replay, reconcile)."""

    async def read(self, topic: Topic, partition: int, offset: int, *, limit: int = 1000) -> Sequence[Stored]:
        """Up to ``limit`` committed records at ``offset`` and after, or none at the end. At most about 16 MiB at once.

        Raises ResumeLost when records at or after ``offset`` were already removed, or ``offset`` lies beyond the end.
        """

    async def bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        """The first offset still there, and the one after the last committed record."""

    async def wait(self, timeout: float) -> None:
        """Return when something may have been appended, by whomever, or after ``timeout`` seconds."""

    async def retain(self, unfinished: Mapping[int, int]) -> int:
        """Remove what is older or more than the settings allow, and say how many records; 0 where the journal does it itself.

        ``unfinished``: by partition, the offset from which on changes have no outcome yet. Those stay, however old.
        """

    async def close(self) -> None:
        """Give up what was owned and let go of every resource."""


async def latest(journal: Journal, topic: Topic, partition: int) -> dict[str, Stored]:
    """The newest record of every key of a compacted topic's partition."""
    newest: dict[str, Stored] = {}
    offset, end = await journal.bounds(topic, partition)
    while offset < end:
        records = await journal.read(topic, partition, offset)
        if not records:
            break
        newest.update((record.key, record) for record in records)
        offset = records[-1].offset + 1
    return newest


async def open_journal(settings: JournalSettings, *, create: bool = True, pages: bool = False) -> Journal:
    """Open the journal that ``journal.url`` names; make it if it is not there, or without ``create`` raise Missing.

    ``pages``: who becomes an owner keeps the topic of pages, too.
    """
    scheme = settings.url.partition("://")[0]
    if scheme == "sqlite":
        from syncer.journal.sqlite import SqliteJournal  # noqa: PLC0415 - only the journal that is used gets imported

        return await SqliteJournal.open(settings, create=create)
    if scheme == "kafka":
        try:
            from syncer.journal.kafka import KafkaJournal  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise missing("kafka", error) from error
        return await KafkaJournal.open(settings, pages=pages)
    raise Misconfigured(
        f"journal.url names no known kind of journal: {scheme}://", hint="use sqlite:///<path>, or kafka://host:port[,host:port]"
    )
