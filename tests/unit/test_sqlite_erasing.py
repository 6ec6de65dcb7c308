"""What is erased from the embedded journal: gone from its files whatever SQLite has done with them before, whoever reads, and
whoever is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from syncer import sqlite
from syncer.journal import Erasure, Record, Topic
from syncer.journal import sqlite as journal_module
from syncer.journal import values as values_module
from syncer.journal.layout import MIGRATIONS
from syncer.manifest import DIGEST, digest
from syncer.model import NOTHING, Visibility
from syncer.seal import KEY, unseal
from syncer.wire import NO_HASH, decode_mutation
from tests.command import ROOT
from tests.following import opened, record
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from syncer.journal.sqlite import SqliteJournal
    from syncer.model import Mutation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
async def journal(folder: Path) -> AsyncIterator[SqliteJournal]:
    made = opened(folder)
    yield made
    await made.close()


def erasing(mutation: Mutation, *erasures: Erasure) -> Record:
    return replace(record(mutation), erases=erasures)


def deleting(pages: Pages, page_id: int) -> Record:
    return erasing(pages.delete(page_id, f"Page {page_id}"), Erasure(None, NOTHING, None))


def noise(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size // 2).hex().encode()


@dataclass
class Watched:
    """Slices and keys of records as they lie there, to be found in no file later."""

    journal: SqliteJournal
    needles: list[bytes] = field(default_factory=list)

    def note(self, page_id: int) -> None:
        values = self.journal._values
        values.begin()
        query = 'SELECT "offset", value, packed FROM "mutations" WHERE key = ?'
        for offset, stored, how in self.journal._writer.execute(query, (f"testwiki:{page_id}",)).fetchall():
            if decode_mutation(values.plain((offset, stored, how))).text is None:
                continue
            key = values._key(offset)
            plain = unseal(key, stored)
            self.needles += [key, stored[:24], stored[-24:], plain[:24], plain[len(plain) // 2 :][:24], plain[-24:]]

    def found(self) -> list[str]:
        folder = self.journal._path.parent
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("journal.db")}
        assert {"journal.db", "journal.db-wal", "journal.db-shm"} <= files.keys()
        return [f"{needle!r} in {name}" for needle in self.needles for name, content in files.items() if needle in content]


@pytest.fixture
def watched(journal: SqliteJournal) -> Watched:
    return Watched(journal)


async def test_what_comes_and_goes_for_long_leaves_nothing_behind(
    folder: Path, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention removes records, SQLite moves their neighbours and leaves copies, and the file is made shorter."""
    monkeypatch.setattr(values_module, "KEYS", 16)
    monkeypatch.setattr(journal_module, "TRIM_AT_ONCE", 3)
    journal = opened(folder, mutations_bytes=150_000)
    watched, rng = Watched(journal), random.Random(1)
    live: set[int] = set()
    trimmed = erased = 0
    for _ in range(150):
        batch: list[Record] = []
        for _ in range(rng.choice((1, 1, 4, 12))):
            page_id = rng.randrange(1, 80)
            live.add(page_id)
            text = noise(rng, rng.choice((40, 300, 1_500, 4_100, 20_000)))
            batch.append(record(pages.snapshot(page_id, f"Page {page_id}", text)))
        await journal.commit(batch)
        trimmed += await journal.retain({})
        if rng.random() < 0.6:
            page_id = rng.choice(sorted(live))
            live.remove(page_id)
            watched.note(page_id)
            erased += len(watched.needles)
            await journal.commit([deleting(pages, page_id)])
            assert watched.found() == []
            watched.needles.clear()
    assert trimmed > 300
    assert erased > 300
    used = journal._writer.execute(
        'SELECT bytes, (SELECT sum(length(value)) FROM "mutations") FROM used WHERE topic = "mutations"'
    )
    ((counted, summed),) = used.fetchall()
    assert counted == summed
    (first,) = journal._writer.execute('SELECT min("offset") FROM "mutations"').fetchone()
    (block,) = journal._writer.execute("SELECT min(block) FROM keys").fetchone()
    assert block == first // 16
    await journal.close()


def test_of_a_key_that_is_overwritten_there_is_no_copy_whatever_was_removed_beside_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values_module, "KEYS", 4)
    path, rng = folder / "keys.db", random.Random(6)
    with contextlib.closing(sqlite.connect(path, (values_module.SCHEMA,))) as db:
        values = values_module.Values(db)
        before = [rng.randbytes(KEY) for _ in range(1_600)]
        for at in range(0, 1_600, 40):
            with sqlite.transaction(db):
                values.keep(at, b"".join(before[at : at + 40]))
                values.drop_keys(at - 600 + rng.randrange(40))
        first = db.execute("SELECT min(block) FROM keys").fetchone()[0] * 4
        assert values.plain((1_599, b"", values_module.SEALED)) == b""
        assert [values._key(at) for at in range(first, 1_600)] == before[first:]
        for at in range(first, 1_600):
            with sqlite.transaction(db):
                values.keep(at, rng.randbytes(KEY))
        assert sqlite.checkpoint(db)
        files = b"".join(file.read_bytes() for file in folder.iterdir())
        assert values._key(1_599) in files
        assert [at for at, key in enumerate(before) if key in files] == []


async def test_everything_else_stays_as_it_was(journal: SqliteJournal, pages: Pages) -> None:
    rng = random.Random(2)
    kept = [record(pages.snapshot(page_id, f"Page {page_id}", noise(rng, 3_000))) for page_id in range(2, 9)]
    first, second = pages.snapshot(1, "Page 1", b"one" * 900), pages.patch(1, "Page 1", b"two" * 900)
    assert second.revision
    offsets = await journal.commit([*kept[:4], record(first), record(second), *kept[4:]])
    before = await journal.read(Topic.MUTATIONS, kept[0].partition, 0)
    seen = Visibility(text=False)
    erasure = Erasure(second.revision.rev_id, seen, (offsets[5], 10**9))  # the other one was cut by retention
    await journal.commit([erasing(pages.snapshot(1, "Page 1", b"three"), erasure)])
    after = await journal.read(Topic.MUTATIONS, kept[0].partition, 0)
    assert [one for one in after[:-1] if one.offset != offsets[5]] == [one for one in before if one.offset != offsets[5]]
    told = decode_mutation(after[5].value)
    revision = replace(second.revision, sha1=NO_HASH)
    assert told == replace(second, revision=revision, patch=None, sections=(), erased=True)
    assert after[5].headers == {**before[5].headers, DIGEST: digest(before[5].value, {}, before[5].salt)}
    assert after[5].salt not in {"", before[5].salt}


async def test_records_of_an_older_layout_are_erased_too(folder: Path, pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was appended before there were keys is read, and rewritten with one."""
    old = record(pages.snapshot(1, "Page 1", b"what was said " * 200))
    with monkeypatch.context() as before:
        before.setattr(journal_module, "MIGRATIONS", MIGRATIONS[:1])
        made = opened(folder)
        row = made._row(old, 1.0)
        made._writer.execute('INSERT INTO "mutations" VALUES (1, ?, ?, ?, ?, ?, ?)', row)
        await made.close()
    journal = opened(folder)
    (stored,) = await journal.read(Topic.MUTATIONS, old.partition, 0)
    assert stored.value == old.value
    await journal.commit([deleting(pages, 1)])
    erased, _ = await journal.read(Topic.MUTATIONS, old.partition, 0)
    assert decode_mutation(erased.value).erased
    assert b"what was said" not in erased.value
    await journal.close()


# -- readers in the way --------------------------------------------------------------------------------------------------


async def test_who_reads_is_waited_for(journal: SqliteJournal, pages: Pages, watched: Watched, folder: Path) -> None:
    await journal.commit([record(pages.snapshot(1, "Page 1", noise(random.Random(3), 3_000)))])
    watched.note(1)
    reader = sqlite3.connect(folder / "journal.db", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    assert reader.execute('SELECT count(*) FROM "mutations"').fetchone() == (1,)
    committed = asyncio.ensure_future(journal.commit([deleting(pages, 1)]))
    await asyncio.sleep(0.3)
    assert not committed.done()  # it counts once it is applied
    assert len(await journal.read(Topic.MUTATIONS, record(pages.delete(1, "Page 1")).partition, 0)) == 2  # readers see it
    assert await asyncio.wait_for(journal.append(Record(Topic.CHANGES, 0, "c", b"{}")), 5.0)  # and others write
    reader.close()
    await committed
    assert watched.found() == []


async def test_who_reads_for_ever_is_told_of_and_holds_up_nobody_for_long(
    journal: SqliteJournal, pages: Pages, watched: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "CLEAN_WITHIN", 0.1)
    rng = random.Random(4)
    await journal.commit([record(pages.snapshot(page_id, f"Page {page_id}", noise(rng, 3_000))) for page_id in (1, 2)])
    watched.note(1)
    watched.note(2)
    with contextlib.closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as reader, capture_logs() as logs:
        reader.execute("BEGIN")
        reader.execute('SELECT count(*) FROM "mutations"').fetchone()
        await journal.commit([deleting(pages, 1)])
        await journal.commit([deleting(pages, 2)])
        assert watched.found()
        assert not journal.clean
    assert len([entry for entry in logs if "as long as somebody reads" in entry["event"]]) == 1
    await journal.append(Record(Topic.CHANGES, 0, "c", b"{}"))  # the next who writes, whatever it is
    assert watched.found() == []
    assert journal.clean


# -- killed --------------------------------------------------------------------------------------------------------------

KILLED = textwrap.dedent("""
    import asyncio, os, signal, sys
    from pathlib import Path
    from syncer.journal import Erasure
    from syncer.model import NOTHING
    from tests.following import opened
    from tests.mutations import Pages
    from tests.unit.test_sqlite_erasing import deleting

    async def main(folder, fatal):
        journal, steps, pages = opened(Path(folder)), 0, Pages()
        pages.seqs[1] = 1

        def step(_statement):
            nonlocal steps
            steps += 1
            if steps == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        journal._writer.set_trace_callback(step)
        await journal.commit([deleting(pages, 1)])
        print(steps, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
""")


async def test_killed_between_any_two_steps_it_is_erased_with_its_deletion_or_not_at_all(folder: Path) -> None:
    both, fatal, steps = 0, 0, 0
    while not steps:
        fatal += 1
        own = folder / str(fatal)
        own.mkdir()
        pages = Pages()
        journal = opened(own)
        first = record(pages.snapshot(1, "Page 1", noise(random.Random(5), 3_000)))
        await journal.commit([first])
        watched = Watched(journal)
        watched.note(1)
        await journal.close()
        command = [sys.executable, "-c", KILLED, str(own), str(fatal)]
        done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == -9, done.stderr
        steps = int(done.stdout or 0)
        journal = watched.journal = opened(own)  # the next start finishes it
        records = await journal.read(Topic.MUTATIONS, first.partition, 0)
        assert [decode_mutation(one.value).erased for one in records] in ([False], [True, False])
        both += len(records) == 2
        assert bool(watched.found()) == (len(records) == 1)
        await journal.close()
    assert fatal > 8
    assert both >= 2  # killed after the commit and before the log was emptied, and after that
