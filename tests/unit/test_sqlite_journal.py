"""What is SQLite's own about the embedded journal: its files, its disk, its damage."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncer import sqlite
from syncer.config import JournalSettings, Retention
from syncer.errors import JournalUnavailable, Misconfigured
from syncer.journal import Record, Topic, latest, open_journal
from syncer.journal import sqlite as journal_module
from syncer.journal.layout import MIGRATIONS
from syncer.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Open = Callable[..., Awaitable[SqliteJournal]]

KB = 1000
DAY = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def opening(path: Path) -> AsyncIterator[Open]:
    opened: list[SqliteJournal] = []

    async def one(*, partitions: int = 3, **retention: float) -> SqliteJournal:
        settings = JournalSettings(url=f"sqlite:///{path}", partitions=partitions, retention=Retention.model_validate(retention))
        journal = await open_journal(settings)
        assert isinstance(journal, SqliteJournal)
        opened.append(journal)
        return journal

    yield one
    for journal in opened:
        await journal.close()


def size(path: Path) -> int:
    return path.stat().st_size


def damage(path: Path) -> None:
    """Spoil every page behind the tables' first ones."""
    content = bytearray(path.read_bytes())
    for at in range(4096 * 36, len(content), 4096):
        content[at : at + 64] = os.urandom(64)
    path.write_bytes(content)


def mutation(key: str, partition: int = 0, size: int = 100) -> Record:
    return Record(Topic.MUTATIONS, partition, key, random.Random(key).randbytes(size))


async def keys(journal: SqliteJournal, topic: Topic = Topic.MUTATIONS, partition: int = 0) -> list[str]:
    start, _ = await journal.bounds(topic, partition)
    return [record.key for record in await journal.read(topic, partition, start, limit=100_000)]


# -- killed between any two steps ----------------------------------------------------------------------------------------

KILLED_AT = textwrap.dedent("""
    import asyncio, os, signal, sys
    from syncer import sqlite
    from syncer.config import JournalSettings
    from syncer.journal import Record, Topic, open_journal

    async def main(url, fatal):
        journal = await open_journal(JournalSettings(url=url, partitions=3))
        owner = await journal.own("enrich-0")
        steps = 0

        def step(_statement):
            nonlocal steps
            steps += 1
            if steps == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        journal._writer.set_trace_callback(step)
        await owner.append([
            Record(Topic.CHANGES, 0, "new", b"{}"),
            Record(Topic.MUTATIONS, 0, "new", b"{}"),
            Record(Topic.MUTATIONS, 1, "new", b"x" * 5000),
            Record(Topic.PROGRESS, 0, "progress", b"2"),
        ])
        step("after")
        await journal.append(Record(Topic.SET_ASIDE, 0, "another", b"{}"))
        print(steps)

    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
""")


async def test_killed_between_any_two_steps_of_an_append_all_of_it_is_there_or_nothing(opening: Open, path: Path) -> None:
    journal = await opening()
    owner = await journal.own("enrich-0")
    await owner.append([Record(Topic.PROGRESS, 0, "progress", b"1")])
    await journal.close()
    with_all, steps, fatal = 0, 0, 0
    while not steps:
        fatal += 1
        command = [sys.executable, "-c", KILLED_AT, f"sqlite:///{path}", str(fatal)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, -9), done.stderr
        steps = int(done.stdout) if done.returncode == 0 else 0
        journal = await opening()
        found = [
            len(await keys(journal, topic, part))
            for topic, part in ((Topic.CHANGES, 0), (Topic.MUTATIONS, 0), (Topic.MUTATIONS, 1))
        ]
        assert found == [found[0]] * 3
        assert (await latest(journal, Topic.PROGRESS, 0))["progress"].value == (b"2" if found[0] else b"1")
        assert len(await keys(journal, Topic.SET_ASIDE)) == bool(steps)
        assert found[0] - with_all in (0, 1)
        with_all = found[0]
        await journal.close()
    # BEGIN, the owner's epoch, a row each, a row to replace, COMMIT: fewer would mean that nothing was killed in between.
    assert fatal > 8
    assert 2 <= with_all < fatal


# -- the disk ------------------------------------------------------------------------------------------------------------


async def test_a_full_database_takes_nothing_of_a_batch_and_goes_on_when_there_is_room(opening: Open) -> None:
    journal = await opening()
    owner = await journal.own("owner")
    await owner.append([mutation("before")])
    journal._writer.execute(f"PRAGMA max_page_count = {journal._writer.execute('PRAGMA page_count').fetchone()[0] + 3}")
    with pytest.raises(JournalUnavailable, match="full") as caught:
        await owner.append([Record(Topic.CHANGES, 0, "small", b"{}"), mutation("large", size=100 * KB)])
    assert caught.value.hint
    assert await keys(journal) == ["before"]
    assert await keys(journal, Topic.CHANGES) == []
    journal._writer.execute("PRAGMA max_page_count = 1000000")
    await owner.append([Record(Topic.CHANGES, 0, "small", b"{}"), mutation("large", size=100 * KB)])
    assert await keys(journal) == ["before", "large"]
    assert await keys(journal, Topic.CHANGES) == ["small"]


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Limits every file that this process writes: the system then refuses writes as a full disk does."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_write_that_the_system_refuses_leaves_nothing_behind(
    opening: Open, path: Path, file_size_limit: Callable[[int], None]
) -> None:
    journal = await opening()
    owner = await journal.own("owner")
    await owner.append([mutation("before")])
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    file_size_limit(size(path.with_name("journal.db-wal")) + 64 * KB)
    with pytest.raises(JournalUnavailable):
        await owner.append([Record(Topic.CHANGES, 0, "small", b"{}"), mutation("large", size=500 * KB)])
    file_size_limit(hard)
    assert await keys(journal) == ["before"]
    await owner.append([mutation("after")])
    await journal.close()
    assert await keys(await opening()) == ["before", "after"]


async def test_another_process_that_writes_for_too_long_is_passing_trouble(
    opening: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.1)
    journal = await opening()
    await journal.append(mutation("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable, match="locked"):
        await journal.append(mutation("b"))
    assert await keys(journal) == ["a"]  # and readers are not held up
    other.execute("ROLLBACK")
    other.close()
    await journal.append(mutation("b"))
    assert await keys(journal) == ["a", "b"]


async def test_a_commit_is_synced_and_deleted_content_is_overwritten(opening: Open) -> None:
    journal = await opening()
    pragmas = {
        name: journal._writer.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete", "auto_vacuum")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "auto_vacuum": 2}


async def test_the_reading_side_cannot_write(opening: Open) -> None:
    journal = await opening()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        journal._reader.execute('DELETE FROM "mutations"')


async def test_what_this_process_appends_is_seen_without_polling(opening: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "POLL", 60.0)
    journal = await opening()
    await journal.wait(0.0)
    waiting = asyncio.ensure_future(journal.wait(60.0))
    await asyncio.sleep(0.05)
    await journal.append(mutation("a"))
    await asyncio.wait_for(waiting, 5.0)


# -- files that are not as they should be --------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"This is a letter to my aunt." * 200, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_named_with_a_way_out(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(Misconfigured, match=r"journal\.db") as caught:
        asyncio.run(open_journal(JournalSettings(url=f"sqlite:///{path}")))
    assert caught.value.exit_code == 78
    assert "move it away" in (caught.value.hint or "")
    assert path.read_bytes() == content


async def test_damage_found_while_reading_stops_instead_of_being_tried_for_ever(opening: Open, path: Path) -> None:
    journal = await opening()
    owner = await journal.own("owner")
    for number in range(40):
        await owner.append([mutation(str(number), size=10 * KB)])
    await journal.close()
    damage(path)
    journal = await opening()
    with pytest.raises(Misconfigured, match=r"journal\.db is no sound database"):
        await keys(journal)


async def test_a_newer_layout_is_refused_and_left_alone(opening: Open, path: Path) -> None:
    await (await opening()).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Misconfigured, match="layout 99") as caught:
        await opening()
    assert "newer" in (caught.value.hint or "")


async def test_an_older_layout_is_brought_up_to_date_with_its_records(
    opening: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await opening()).append(mutation("old"))
    identity = (await opening()).identity
    newer = (*MIGRATIONS, 'ALTER TABLE "mutations" ADD COLUMN note TEXT;\nCREATE TABLE extra (x TEXT);\n')
    monkeypatch.setattr(journal_module, "MIGRATIONS", newer)
    journal = await opening()
    assert journal.identity == identity
    assert await keys(journal) == ["old"]
    assert journal._reader.execute("PRAGMA user_version").fetchone()[0] == len(newer)
    journal._reader.execute("SELECT note FROM mutations").fetchall()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    sqlite.connect(path, ("CREATE TABLE a (x)",)).close()
    with pytest.raises(sqlite3.OperationalError):
        sqlite.connect(path, ("CREATE TABLE a (x)", "CREATE TABLE b (x);\nCREATE TABLE a (x)"))
    db = sqlite3.connect(path)
    assert [row[0] for row in db.execute("SELECT name FROM sqlite_schema")] == ["a"]
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    db.close()


async def test_partitions_and_prefix_are_fixed_at_creation(opening: Open) -> None:
    await opening(partitions=3)
    with pytest.raises(Misconfigured, match=r"journal\.partitions = 3, the settings say 4") as caught:
        await opening(partitions=4)
    assert "journal.partitions = 3" in (caught.value.hint or "")


@pytest.mark.parametrize("url", ["sqlite:///journal.db", "sqlite://journal.db", "sqlite:///", "sqlite://", "sqlite:///tmp/j.db"])
def test_a_relative_path_is_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match="absolute"):
        asyncio.run(open_journal(JournalSettings(url=url)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["postgres://x", "journal.db", "", "kafka://localhost"])
async def test_an_unknown_kind_of_journal_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"journal\.url"):
        await open_journal(JournalSettings(url=url))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match="cannot make the folder"):
        asyncio.run(open_journal(JournalSettings(url=f"sqlite:///{tmp_path}/file/journal.db")))


def test_a_folder_in_the_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir()
    with pytest.raises(Misconfigured, match=r"journal\.db. is a folder, no file"):
        asyncio.run(open_journal(JournalSettings(url=f"sqlite:///{path}")))


def test_the_state_folder_is_never_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    for name, value, folder in (
        ("STATE_DIRECTORY", "/var/lib/syncer", "/var/lib/syncer"),
        ("STATE_DIRECTORY", "/var/lib/syncer:/var/lib/other", "/var/lib/syncer"),
        ("XDG_STATE_HOME", "/data/state", "/data/state/syncer"),
        ("XDG_STATE_HOME", "", "/home/somebody/.local/state/syncer"),
        ("XDG_STATE_HOME", "relative", "/home/somebody/.local/state/syncer"),
        ("HOME", "/home/somebody", "/home/somebody/.local/state/syncer"),
    ):
        for other in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, value)
        assert sqlite.state_folder() == Path(folder)


def test_many_processes_may_make_the_journal_at_once(path: Path) -> None:
    code = (
        "import asyncio, sys; from syncer.config import JournalSettings; from syncer.journal import *\n"
        "async def main():\n"
        "    journal = await open_journal(JournalSettings(url=sys.argv[1]))\n"
        "    await journal.append(Record(Topic.CHANGES, 0, 'a', b'{}'))\n"
        "    print(journal.identity)\n"
        "asyncio.run(main())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, f"sqlite:///{path}"], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM changes").fetchone()[0] == 4
    db.close()


# -- readers ------------------------------------------------------------------------------------------------------------


async def test_who_only_reads_needs_no_right_to_write(tmp_path: Path) -> None:
    """What SQLite needs to read is there, whether somebody has the journal open or not."""
    settings = JournalSettings(url=f"sqlite:///{tmp_path}/journal.db")
    made = await open_journal(settings)
    await made.append(mutation("a:1"))
    await made.close()
    assert (tmp_path / "journal.db-shm").exists()
    assert (tmp_path / "journal.db-wal").stat().st_size == 0  # all of it is in the file
    reader = await open_journal(settings, create=False)
    assert len(await reader.read(Topic.MUTATIONS, 0, 0)) == 1
    assert "_writer" not in vars(reader)
    await reader.append(mutation("a:2"))
    assert "_writer" in vars(reader)
    await reader.close()
