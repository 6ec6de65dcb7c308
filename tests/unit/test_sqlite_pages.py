"""Records of pages in the embedded journal: one of each key, and nothing is left of what was replaced."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from syncer.journal import TOMBSTONES, Erasure, Record, Topic
from syncer.model import NOTHING
from syncer.seal import unseal
from tests.following import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from syncer.journal.sqlite import SqliteJournal

GONE = (Erasure(None, NOTHING, None),)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    made = opened(tmp_path)
    yield made
    await made.close()


@dataclass
class Watched:
    """Slices and keys of records as they lie there, to be found in no file later."""

    journal: SqliteJournal
    needles: list[bytes] = field(default_factory=list)

    def note(self, name: str) -> None:
        (stored,) = self.journal._writer.execute('SELECT value FROM "pages" WHERE key = ?', (name,)).fetchone()
        key = self.journal._values.own_key(0, name)
        plain = unseal(key, stored)
        self.needles += [key, stored[:24], stored[-24:], plain[:24], plain[len(plain) // 2 :][:24], plain[-24:]]

    def found(self) -> list[str]:
        folder = self.journal._path.parent
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("journal.db")}
        assert {"journal.db", "journal.db-wal", "journal.db-shm"} <= files.keys()
        return [f"{needle!r} in {name}" for needle in self.needles for name, content in files.items() if needle in content]


def page(name: str, value: bytes, erases: tuple[Erasure, ...] = ()) -> Record:
    return Record(Topic.PAGES, 0, name, value, {"wiki": "w"}, erases)


async def test_what_comes_and_goes_for_long_leaves_nothing_behind(journal: SqliteJournal) -> None:
    """Records of all sizes replace one another, SQLite moves their neighbours and leaves copies, and the file is made shorter."""
    rng, live, watched, erased = random.Random(1), dict[str, bytes](), Watched(journal), 0
    for number in range(200):
        batch: dict[str, bytes] = {}
        for _ in range(rng.choice((1, 1, 4, 12))):
            batch[f"w:{rng.randrange(60)}"] = rng.randbytes(rng.choice((40, 300, 1_500, 4_100, 20_000)) // 2).hex().encode()
        await journal.commit([page(*one) for one in batch.items()])
        live |= batch
        if rng.random() < 0.5:
            name = rng.choice(sorted(name for name, value in live.items() if value))
            watched.note(name)
            erased += len(watched.needles)
            live[name] = b"" if rng.random() < 0.5 else rng.randbytes(300).hex().encode()
            await journal.commit([page(name, live[name], GONE)])
            assert watched.found() == []
            watched.needles.clear()
        if number % 20 == 0:
            await journal.retain({})
    assert erased > 300
    there = await journal.read(Topic.PAGES, 0, 0)
    assert {one.key: one.value for one in there} == live
    assert all(one.salt == "" for one in there)
    assert journal._writer.execute("SELECT count(*) FROM own_keys").fetchone() == (len(live),)


async def test_what_is_replaced_by_the_way_is_gone_with_the_next_that_has_to_be(journal: SqliteJournal) -> None:
    watched = Watched(journal)
    await journal.append(page("w:1", random.Random(2).randbytes(400).hex().encode()))
    watched.note("w:1")
    await journal.append(page("w:1", b"another"))
    await journal.append(page("w:2", b"another", GONE))
    assert watched.found() == []


async def test_a_tombstone_stays_as_long_as_somebody_may_read(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    for record in (page("w:1", b"{}"), page("w:2", b"{}"), page("w:1", b""), page("mark", b"{}")):
        await journal.append(record)
    now = time.time()
    for days, left in ((TOMBSTONES - 0.1, ["w:2", "w:1", "mark"]), (TOMBSTONES + 0.1, ["w:2", "mark"])):
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda days=days: now + days * 86_400)
            await journal.retain({})
        assert [one.key for one in await journal.read(Topic.PAGES, 0, 0)] == left
