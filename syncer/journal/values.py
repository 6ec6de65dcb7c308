"""How values of records lie in an embedded journal's file: packed, and those of mutations sealed, so that they can be erased.

What is erased gets a new key, and the one before is overwritten: then copies that SQLite has left behind, where it moved rows,
are noise (see :mod:`syncer.seal`). So no copy of a key may be left behind. Retention removes rows, and SQLite moves their
neighbours. Therefore keys lie in large blocks, behind as much of a row as can lie beside others: on pages of their own, which
are overwritten in place, and when they are freed.

Of the topic of pages there is one record of each name at a time, and one key: its row is appended, and never changes its size or
goes. So SQLite never moves it, and the next record of that name overwrites it.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import orjson
import zstandard

from syncer.journal import Topic
from syncer.manifest import DIGEST, digest
from syncer.seal import KEY, unseal
from syncer.sqlite import PAGE
from syncer.wire import erase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncer.journal import Erasure, Record
    from syncer.sqlite import Connection

PACK_FROM = 1024  # bytes; below this zstd gains little, and a change has less
PACKED, SEALED = 1, 2  # bits of what was done to a value
SALT = 32  # hex digits
KEYS = 1024  # in a block: 16 KiB, and the page before them
SCHEMA = "CREATE TABLE keys (block INTEGER PRIMARY KEY, keys BLOB NOT NULL);\n"
OWN_KEYS = (
    "CREATE TABLE own_keys (id INTEGER PRIMARY KEY, part INTEGER NOT NULL, name TEXT NOT NULL, key BLOB NOT NULL);\n"
    'CREATE UNIQUE INDEX "own keys by name" ON own_keys (part, name);\n'
)

Row = tuple[int, bytes, int]  # a record's offset, its value as it lies there, what was done to it


class Values:
    """The values in one connection's file. What is read is of one transaction after ``begin``."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._pack = zstandard.ZstdCompressor(level=1)
        self._unpack = zstandard.ZstdDecompressor()
        self.begin()

    def begin(self) -> None:
        """A transaction begins: nothing that is known from before counts."""
        self._block, self._keys = -1, b""

    def pack(self, value: bytes) -> tuple[bytes, int]:
        """A value as it may lie in the file, if it never has to be erased."""
        return (self._pack.compress(value), PACKED) if len(value) >= PACK_FROM else (value, 0)

    def plain(self, row: Row, own: bytes | None = None) -> bytes:
        """A value as it was appended; ``own``: the key that it has to itself."""
        offset, value, how = row
        if how & SEALED:
            value = unseal(own or self._key(offset), value)
        return self._unpack.decompress(value) if how & PACKED else value

    def salt(self, offset: int, how: int) -> str:
        """What a record's hash is salted with, if that can be erased: it comes of the key, and is lost with it."""
        return hashlib.sha256(b"salt" + self._key(offset)).hexdigest()[:SALT] if how & SEALED else ""

    def keep(self, first: int, keys: bytes) -> None:
        """Write down the keys of records that follow each other, from this offset on."""
        while keys:
            block, place = divmod(first, KEYS)
            own, keys = keys[: (KEYS - place) * KEY], keys[(KEYS - place) * KEY :]
            self._db.execute("INSERT OR IGNORE INTO keys VALUES (?, zeroblob(?))", (block, PAGE + KEYS * KEY))
            with self._db.blobopen("keys", "keys", block) as blob:
                blob.seek(PAGE + place * KEY)
                blob.write(own)
            first += len(own) // KEY
        self.begin()

    def _key(self, offset: int) -> bytes:
        block, place = divmod(offset, KEYS)
        if block != self._block:
            with self._db.blobopen("keys", "keys", block, readonly=True) as blob:
                blob.seek(PAGE)
                self._block, self._keys = block, blob.read(KEYS * KEY)
        return self._keys[place * KEY :][:KEY]

    def own_key(self, partition: int, name: str) -> bytes:
        """The key of the one record of that name; noise where there is none."""
        row = self._db.execute("SELECT key FROM own_keys WHERE part = ? AND name = ?", (partition, name)).fetchone()
        return bytes(row[0]) if row else os.urandom(KEY)

    def renew(self, partition: int, name: str) -> bytes:
        """A new key for the one record of that name; what was under the key before is noise."""
        key = os.urandom(KEY)
        query = "INSERT INTO own_keys (part, name, key) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET key = excluded.key"
        self._db.execute(query, (partition, name, key))
        return key

    def drop_keys(self, before: int) -> None:
        """Drop those of records that are removed: whole blocks, so some are there a little longer."""
        self._db.execute("DELETE FROM keys WHERE block < ?", (before // KEYS,))

    def erase(self, record: Record, before: int) -> int:
        """Take out of mutations before an offset what a record of it erases. Returns by how many bytes less there are."""
        freed = 0
        for erasure in record.erases:
            for offset, stored, how, headers in list(self._named(erasure, record, before)):
                value = self.plain((offset, stored, how))
                left = erase(value, erasure.rev_id, erasure.seen)
                if left is not value:
                    known = orjson.loads(headers)
                    if salt := self.salt(offset, how):
                        known[DIGEST] = digest(value, known, salt)
                    freed += len(stored) - self._rewrite(offset, left, orjson.dumps(known))
        return freed

    def _named(self, erasure: Erasure, record: Record, before: int) -> Iterable[tuple[int, bytes, int, bytes]]:
        """The records that an erasure is about and that are still there, with their headers."""
        query = f'SELECT "offset", value, packed, headers FROM "{Topic.MUTATIONS}" WHERE "offset" < ?'  # noqa: S608 - an enum
        if erasure.offsets is None:
            yield from self._db.execute(f"{query} AND key = ?", (before, record.key))
        else:
            for offset in erasure.offsets:
                yield from self._db.execute(f'{query} AND "offset" = ? AND part = ?', (before, offset, record.partition))

    def _rewrite(self, offset: int, value: bytes, headers: bytes) -> int:
        """Put another value in a record's place, and other headers. Returns the value's length there."""
        packed, how = self.pack(value)
        key = os.urandom(KEY)
        query = f'UPDATE "{Topic.MUTATIONS}" SET value = ?, packed = ?, headers = ? WHERE "offset" = ?'  # noqa: S608 - an enum
        self._db.execute(query, (unseal(key, packed), how | SEALED, headers, offset))
        self.keep(offset, key)
        return len(packed)
