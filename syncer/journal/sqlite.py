"""The embedded journal: one SQLite file, no server. The default.

One table a topic; AUTOINCREMENT makes offsets that are never given out twice, so those of a partition rise with gaps. Two
connections, each with a thread of its own, so that a reader never waits for a disk to sync. That to write is made only where
something is to be written, and is closed first: so what SQLite needs to read stays beside the journal, for those who may not
write there. An owner holds a lock on a file beside the journal for as long as its process lives, and an epoch that is checked
in every commit.

Mutations are rewritten when a later one erases something of them, in the transaction that appends it. It is applied once the
write-ahead log is empty again, for which readers have to be away for a moment: their transactions are short.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from sqlite3 import Error
from typing import TYPE_CHECKING, TypeVar

import orjson
import structlog

from syncer import sqlite
from syncer.errors import Misconfigured, Missing, ResumeLost, Superseded
from syncer.journal import COMPACTED, TOMBSTONES, Record, Stored, Topic
from syncer.journal.layout import MIGRATIONS
from syncer.journal.values import SEALED, Values
from syncer.seal import KEY, unseal
from syncer.tasks import unless

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from syncer.config import JournalSettings, Retention

T = TypeVar("T")
log = structlog.get_logger()

Row = tuple[int, str, bytes, bytes, int, float]

POLL = 0.05  # seconds between looks for what another process appended
LOOK = 0.5  # seconds between a standby's looks at a lock
READ_BYTES = 16 * 1024 * 1024  # a read stops after this many bytes of values: memory stays bounded
CLEAN_WITHIN = 10.0  # seconds for which who reads what was erased is waited for
CLEAN_AT_ONCE = 0.02  # seconds of that without letting anybody write
TRIM_AT_ONCE = 1000  # records removed in one transaction, so that a writer waits for milliseconds only
SPARE = 0.1  # share of the file that may be free: what is appended next fills it again
VACUUM_AT_ONCE = 500  # pages of 4 KiB given back in one transaction: 0.1 s
DAY = 86_400.0


class SqliteJournal:
    """See :class:`syncer.journal.Journal`. ``wait`` serves one waiter at a time."""

    rewrites = True

    def __init__(self, path: Path, settings: JournalSettings, *, create: bool = True) -> None:
        self._path = path
        self._retention: Retention = settings.retention
        self._writing = ThreadPoolExecutor(1, "journal-write")
        self._reading = ThreadPoolExecutor(1, "journal-read")
        self._locks: dict[str, int] = {}
        self._appended = asyncio.Event()
        self._seen_version = -1
        self._unclean = False  # whether something erased may still be in the write-ahead log
        self._waited_in_vain = False
        if create:
            self._make(settings)
        try:
            self._reader = sqlite.connect_to_read(path, MIGRATIONS)
            with sqlite.closing_on_error(self._reader):
                self.identity, self.partitions = self._identify(settings)
            self._read_values = Values(self._reader)
        except BaseException:
            if create:
                self._writer.close()
            raise

    @cached_property
    def _writer(self) -> sqlite.Connection:
        return sqlite.connect(self._path, MIGRATIONS)

    @cached_property
    def _values(self) -> Values:
        return Values(self._writer)

    @classmethod
    async def open(cls, settings: JournalSettings, *, create: bool = True) -> SqliteJournal:
        """Open ``sqlite:///path``; the path is absolute with four slashes, or begins with ``<state>`` or ``~``."""
        path = settings.url.removeprefix("sqlite:///")
        if not path.startswith(("<state>", "~")) and not Path(path).is_absolute():
            raise Misconfigured(f"journal.url names no absolute path: {settings.url}", hint="use sqlite:////path, or <state>")
        full = sqlite.expand(path, "journal.url") if create else sqlite.existing(path, "journal.url", "syncer run")
        return await asyncio.to_thread(cls, full, settings, create=create)

    def _make(self, settings: JournalSettings) -> None:
        """Make on first use what the journal says of itself."""
        fresh = {"identity": uuid.uuid4().hex, "partitions": str(settings.partitions), "prefix": settings.prefix}
        with sqlite.closing_on_error(self._writer), sqlite.transaction(self._writer):
            self._writer.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", fresh.items())
        self._unclean = not sqlite.checkpoint(self._writer)  # who died may have left there what he had just erased

    def _identify(self, settings: JournalSettings) -> tuple[str, int]:
        """Read what the journal says of itself."""
        with sqlite.transaction(self._reader, "DEFERRED"):
            meta = dict(self._reader.execute("SELECT name, value FROM meta"))
        if not meta:
            raise Missing(f"{self._path} is being made at this moment", self._path, hint="try again")
        for name, wanted in (("partitions", str(settings.partitions)), ("prefix", settings.prefix)):
            if meta[name] != wanted:
                raise Misconfigured(
                    f"{self._path} was made with journal.{name} = {meta[name]}, the settings say {wanted}",
                    hint=f"set journal.{name} = {meta[name]}: it cannot change after creation",
                )
        return meta["identity"], int(meta["partitions"])

    async def own(self, name: str, partitions: Collection[int] = ()) -> SqliteOwner:
        """Become the owner ``name``: lock it against other processes, and outdate every epoch before."""
        if partitions and len(partitions) < self.partitions:
            raise Misconfigured("one process writes an embedded journal", hint="shards need a journal.url of kafka://")
        return await self._write(lambda: self._own(name))

    def _own(self, name: str) -> SqliteOwner:
        if name not in self._locks:
            self._locks[name] = sqlite.lock(self._lock_of(name), f"the owner '{name}' of {self._path}")
        with sqlite.transaction(self._writer):
            row = self._writer.execute(
                "INSERT INTO owners VALUES (?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch", (name,)
            ).fetchone()
        return SqliteOwner(self, name, row[0])

    async def stand_by(self, names: Sequence[str]) -> None:
        """See :meth:`Journal.stand_by`: a lock is free at once when its process is gone."""
        while self._locks:
            os.close(self._locks.popitem()[1])
        while not all(sqlite.is_free(self._lock_of(name)) for name in names):  # noqa: ASYNC110 - a lock tells nobody
            await asyncio.sleep(LOOK)

    async def doubts(self) -> Sequence[str]:
        """See :meth:`Journal.doubts`: all of it is made here."""
        return ()

    async def lost(self) -> None:
        """See :meth:`Journal.lost`: while this process lives, nobody else can have its locks."""
        await asyncio.Event().wait()

    def _lock_of(self, name: str) -> Path:
        return Path(f"{self._path}.{name}.lock")

    @property
    def clean(self) -> bool:
        """Whether nothing that was erased is left in the write-ahead log."""
        return not self._unclean

    async def append(self, record: Record) -> int:
        """Append one record without owning anything."""
        return (await self.commit((record,)))[0]

    async def commit(self, records: Sequence[Record], owner: tuple[str, int] | None = None) -> list[int]:
        """Append all or none; with an owner's name and epoch, only while that epoch is the newest."""
        offsets = await self._write(lambda: self._commit(records, owner))
        self._appended.set()
        if self._unclean:
            erased = any(record.erases for record in records)
            await self._come_clean(0.0 if self._waited_in_vain or not erased else CLEAN_WITHIN)
        return offsets

    async def _come_clean(self, within: float = 0.0) -> None:
        """Empty the write-ahead log of what was erased, once who reads is away; every later write tries again."""
        deadline = time.monotonic() + within
        while not await self._write(lambda: sqlite.checkpoint(self._writer, CLEAN_AT_ONCE)):
            if time.monotonic() >= deadline:
                if within:
                    log.warning(
                        "what was erased stays in the journal's files for as long as somebody reads it", journal=self._path
                    )
                    self._waited_in_vain = True
                return
        self._unclean = self._waited_in_vain = False

    def _commit(self, records: Sequence[Record], owner: tuple[str, int] | None) -> list[int]:
        db, now = self._writer, time.time()
        offsets = [0] * len(records)
        places: dict[Topic, list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault(record.topic, []).append(place)
        rows = [self._row(record, now) for record in records]
        erasing = [place for place, record in enumerate(records) if record.erases]
        with sqlite.transaction(db):
            if owner and db.execute("SELECT epoch FROM owners WHERE name = ?", owner[:1]).fetchone() != owner[1:]:
                raise Superseded(f"another process has become the owner '{owner[0]}' of {self._path}")
            for topic, own in places.items():
                last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (topic,)).fetchone()
                for offset, place in enumerate(own, last[0] + 1 if last else 1):
                    offsets[place] = offset
                if topic in COMPACTED:
                    db.executemany(f'DELETE FROM "{topic}" WHERE part = ? AND key = ?', (rows[place][:2] for place in own))  # noqa: S608 - an enum
                if topic in {Topic.MUTATIONS, Topic.PAGES}:
                    self._seal(topic, rows, own, offsets[own[0]])
                db.executemany(
                    f'INSERT INTO "{topic}" VALUES (?, ?, ?, ?, ?, ?, ?)',  # noqa: S608 - an enum
                    ((offsets[place], *rows[place]) for place in own),
                )
            used = {topic: sum(len(rows[place][3]) for place in own) for topic, own in places.items() if topic not in COMPACTED}
            for place in (each for each in erasing if records[each].topic is Topic.MUTATIONS):
                used[Topic.MUTATIONS] -= self._values.erase(records[place], offsets[place])
            _count(db, used)
        self._unclean = self._unclean or bool(erasing)
        return offsets

    def _seal(self, topic: Topic, rows: list[Row], own: Sequence[int], first: int) -> None:
        """Put those rows that are a topic's own under keys; their offsets follow each other from the ``first`` on."""
        if topic is Topic.PAGES:
            renewed = {rows[place][:2]: self._values.renew(*rows[place][:2]) for place in own}
            keys = b"".join(renewed[rows[place][:2]] for place in own)
        else:
            keys = os.urandom(KEY * len(own))
            self._values.keep(first, keys)
        for number, place in enumerate(own):
            rows[place] = _sealed(rows[place], keys[number * KEY :][:KEY])

    def _row(self, record: Record, now: float) -> Row:
        """A record as it is stored, but for its offset: partition, key, headers, value, what was done to the value, time."""
        value, how = self._values.pack(record.value)
        return record.partition, record.key, orjson.dumps(record.headers), value, how, now

    async def read(self, topic: Topic, partition: int, offset: int, *, limit: int = 1000) -> list[Stored]:
        """See :meth:`Journal.read`."""
        return await self._read(partial(self._records, topic, partition, offset, limit))

    def _records(self, topic: Topic, partition: int, offset: int, limit: int) -> list[Stored]:
        query = (
            f'SELECT "offset", key, headers, value, packed, appended_at FROM "{topic}"'  # noqa: S608 - an enum
            ' WHERE part = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?'
        )
        records: list[Stored] = []
        size = 0
        self._read_values.begin()
        start, end = self._bounds(topic, partition)
        if not start <= offset <= end:
            raise ResumeLost(
                f"offset {offset} of {topic}, partition {partition}, is not in {self._path}: it holds {start} to {end}",
                hint="the journal was cut by retention, or is not the one this reader followed; start the reader anew",
            )
        values, pages = self._read_values, topic is Topic.PAGES
        for at, key, headers, value, packed, appended_at in self._reader.execute(query, (partition, offset, limit)):
            plain = values.plain((at, value, packed), values.own_key(partition, key) if pages else None)
            salt = "" if pages else values.salt(at, packed)
            records.append(Stored(at, key, plain, orjson.loads(headers), appended_at, salt))
            size += len(plain)
            if size >= READ_BYTES:
                break
        return records

    async def bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        """See :meth:`Journal.bounds`."""
        return await self._read(partial(self._bounds, topic, partition))

    def _bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        floor = self._reader.execute("SELECT floor FROM floors WHERE topic = ? AND part = ?", (topic, partition)).fetchone()
        start = floor[0] if floor else 0
        last = self._reader.execute(f'SELECT max("offset") FROM "{topic}" WHERE part = ?', (partition,)).fetchone()[0]  # noqa: S608 - an enum
        return start, start if last is None else last + 1

    async def wait(self, timeout: float) -> None:
        """See :meth:`Journal.wait`: at once for this process's own appends, within POLL for another's."""
        deadline = time.monotonic() + timeout
        while True:
            self._appended.clear()
            version = await self._read(lambda: self._reader.execute("PRAGMA data_version").fetchone()[0])
            left = deadline - time.monotonic()
            if version != self._seen_version or left <= 0:
                self._seen_version = version
                return
            await unless(self._appended, min(POLL, left))

    async def retain(self, unfinished: Mapping[int, int]) -> int:
        """See :meth:`Journal.retain`; the space is given back, too."""
        removed, nothing = 0, dict[int, int]()
        for topic, days, most, kept in (
            (Topic.CHANGES, self._retention.changes_days, self._retention.changes_bytes, unfinished),
            (Topic.MUTATIONS, self._retention.mutations_days, self._retention.mutations_bytes, nothing),
            (Topic.SET_ASIDE, self._retention.set_aside_days, self._retention.set_aside_bytes, nothing),
            (Topic.RECEIPTS, self._retention.mutations_days, self._retention.mutations_bytes, nothing),
            (Topic.REQUESTS, self._retention.changes_days, self._retention.set_aside_bytes, nothing),
            (Topic.MANIFESTS, self._retention.mutations_days, self._retention.mutations_bytes, nothing),
        ):
            trim = partial(self._trim, topic, time.time() - days * DAY, most, kept)
            while count := await self._write(trim):
                removed += count
        await self._write(self._drop_tombstones)
        while await self._write(self._give_back):
            pass
        if self._unclean:
            await self._come_clean()
        return removed

    def _trim(self, topic: Topic, before: float, most: int, kept: Mapping[int, int]) -> int:
        """Remove the oldest records, a bounded number, that are too old or too much; none from those on that are to be kept."""
        db = self._writer
        with sqlite.transaction(db):
            row = db.execute("SELECT bytes FROM used WHERE topic = ?", (topic,)).fetchone()
            excess = (row[0] if row else 0) - most
            query = f'SELECT "offset", part, length(value), appended_at FROM "{topic}" ORDER BY "offset" LIMIT ?'  # noqa: S608 - an enum
            freed = last = count = 0
            floors: dict[int, int] = {}
            for offset, part, size, appended_at in db.execute(query, (TRIM_AT_ONCE,)):
                if (appended_at >= before and freed >= excess) or offset >= kept.get(part, offset + 1):
                    break
                freed, last, count = freed + size, offset, count + 1
                floors[part] = offset + 1
            if count:
                db.execute(f'DELETE FROM "{topic}" WHERE "offset" <= ?', (last,))  # noqa: S608 - an enum
                db.executemany(
                    "INSERT INTO floors VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET floor = excluded.floor",
                    ((topic, part, floor) for part, floor in floors.items()),
                )
                _count(db, {topic: -freed})
                if topic is Topic.MUTATIONS:
                    self._values.drop_keys(last + 1)
        return count

    def _drop_tombstones(self) -> None:
        before = time.time() - TOMBSTONES * DAY
        self._writer.execute(f'DELETE FROM "{Topic.PAGES}" WHERE packed = 0 AND appended_at < ?', (before,))  # noqa: S608 - an enum

    def _give_back(self) -> bool:
        """Return some free pages to the file system; False if there are too few to matter."""
        db = self._writer
        pages, free = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        if free <= pages * SPARE:
            return False
        # execute() would stop after the first page: the statement gives a row without columns for each.
        db.executescript(f"PRAGMA incremental_vacuum({VACUUM_AT_ONCE}); PRAGMA wal_checkpoint(PASSIVE)")
        return True

    async def close(self) -> None:
        """Let go of the owners' locks and the connections."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writing.shutdown()
        self._reading.shutdown()
        if "_writer" in self.__dict__:
            with suppress(Error):
                sqlite.checkpoint(self._writer)
            self._writer.close()
        self._reader.close()
        while self._locks:
            os.close(self._locks.popitem()[1])

    async def _write(self, work: Callable[[], T]) -> T:
        return await self._in(self._writing, work)

    async def _read(self, work: Callable[[], T]) -> T:
        """Read, everything as it was at one moment."""

        def snapshot() -> T:
            with sqlite.transaction(self._reader, "DEFERRED"):
                return work()

        return await self._in(self._reading, snapshot)

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        with sqlite.speaking(self._path):
            return await asyncio.get_running_loop().run_in_executor(pool, work)


class SqliteOwner:
    """See :class:`syncer.journal.Owner`."""

    def __init__(self, journal: SqliteJournal, name: str, epoch: int) -> None:
        self._journal = journal
        self._owner = (name, epoch)

    async def append(self, records: Sequence[Record]) -> list[int]:
        """Append all or none; see :meth:`syncer.journal.Owner.append`. A local commit is never of unknown outcome."""
        return await self._journal.commit(records, self._owner)

    async def assured(self) -> None:
        """Nothing to be asked: nobody else can have the lock while this process lives."""


def _sealed(row: Row, key: bytes) -> Row:
    """A row with its value under a key; what is empty is nobody's secret."""
    partition, name, headers, value, how, now = row
    return partition, name, headers, unseal(key, value), how | SEALED if value else 0, now


def _count(db: sqlite.Connection, used: dict[Topic, int]) -> None:
    """Keep the sums of bytes by topic: nobody wants to add up gigabytes to know them."""
    rows: Iterable[tuple[Topic, int]] = used.items()
    db.executemany("INSERT INTO used VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes", rows)
