"""Where the project's own files lie: found, made, refused; and that nobody takes one for another."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncer import sqlite
from syncer.config import JournalSettings
from syncer.errors import JournalUnavailable, Misconfigured, Missing, ResumeLost
from syncer.journal import open_journal
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
LAYOUT = ("CREATE TABLE a (x)",)


@contextmanager
def somebody_else(folder: Path, mode: int = 0o444) -> Iterator[None]:
    """Whoever we are, we do not own what is in the folder, and may look into it, not write there."""
    for file in folder.iterdir():
        file.chmod(mode)
    folder.chmod(0o555)
    root = os.getuid() == 0
    if root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others can reach, as those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="syncer-open-") as name:
        yield Path(name)


@pytest.fixture
def locked(open_folder: Path) -> Iterator[Path]:
    """A folder of somebody else, with a file of a database."""
    sqlite.connect(open_folder / "old.db", LAYOUT).close()
    with somebody_else(open_folder):
        yield open_folder


def settings(path: Path | str) -> JournalSettings:
    return JournalSettings(url=f"sqlite:///{path}")


# -- paths of the settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", ".", "here.db", "./here.db", "~nobody-of-that-name/x.db", "/tmp/a\0b.db"])  # noqa: S108 - not made
def test_a_path_that_leads_nowhere_is_refused_with_a_hint(path: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        sqlite.resolve(path, "store.path")
    assert str(caught.value).startswith("store.path: ")
    assert caught.value.hint


def test_a_state_folder_named_from_here_is_one_place_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", "state")
    assert sqlite.resolve("<state>/store.db", "store.path") == tmp_path / "state" / "store.db"
    assert not list(tmp_path.iterdir())


# -- what has to be there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [False, True])
def test_a_journal_that_is_not_there_is_not_made_where_it_was_to_be_read(
    tmp_path: Path,
    there: bool,  # noqa: FBT001
) -> None:
    path = tmp_path / "folder" / "journal.db"
    if there:
        path.parent.mkdir()
        path.touch()  # nothing is in it: nobody's yet
    with pytest.raises(Missing, match=r"journal\.url: there is no file .*/folder/journal\.db") as caught:
        asyncio.run(open_journal(settings(path), create=False))
    assert (caught.value.exit_code, caught.value.path) == (78, path)
    assert "syncer run" in (caught.value.hint or "")
    assert [(file.name, file.stat().st_size) for file in tmp_path.glob("*/*")] == [("journal.db", 0)] * there
    assert path.parent.exists() is there


async def test_a_journal_in_the_making_is_not_finished_by_who_reads(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    with pytest.raises(Missing, match="being made"):
        await open_journal(settings(path), create=False)
    journal = await open_journal(settings(path))
    await journal.close()
    again = await open_journal(settings(path), create=False)
    assert again.identity == journal.identity
    await again.close()


def test_what_could_be_made_is_told_without_making_it(tmp_path: Path, locked: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="syncer-own-") as own:
        sqlite.creatable(Path(own) / "deep" / "down" / "journal.db")
        assert not list(Path(own).iterdir())
        (Path(own) / "file").touch()
        with pytest.raises(Misconfigured, match="file is no folder"):
            sqlite.creatable(Path(own) / "file" / "journal.db")
    with pytest.raises(Misconfigured, match="may not be written") as caught:
        sqlite.creatable(locked / "deep" / "journal.db")
    assert caught.value.hint


# -- what may not be written ---------------------------------------------------------------------------------------------


async def test_a_folder_or_file_that_may_not_be_written_is_named_with_a_way_out(locked: Path) -> None:
    for opening in (
        lambda: sqlite.expand(str(locked / "deep" / "store.db"), "store.path"),
        lambda: sqlite.connect(locked / "new.db", LAYOUT),
        lambda: sqlite.connect(locked / "old.db", (*LAYOUT, "CREATE TABLE b (x)")),
        lambda: sqlite.lock(locked / "new.db.lock", "it"),
    ):
        with pytest.raises(Misconfigured, match=str(locked)) as caught:
            opening()
        assert "STATE_DIRECTORY" in (caught.value.hint or "")


# -- what may only be read -----------------------------------------------------------------------------------------------


def rows(db: sqlite.Connection) -> list[int]:
    return [row[0] for row in db.execute("SELECT x FROM a ORDER BY x")]


def test_who_may_not_write_reads_what_another_writes(open_folder: Path) -> None:
    path = open_folder / "a.db"
    with closing(sqlite.connect(path, LAYOUT)) as writer:
        writer.execute("INSERT INTO a VALUES (1)")
        before = sorted(open_folder.iterdir())
        with somebody_else(open_folder), closing(sqlite.connect_to_read(path, LAYOUT)) as reader:
            assert rows(reader) == [1]
            writer.execute("INSERT INTO a VALUES (2)")
            assert rows(reader) == [1, 2]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("INSERT INTO a VALUES (3)")
        assert sorted(open_folder.iterdir()) == before


def test_who_may_not_write_reads_what_lies_there_if_a_reader_went_last(open_folder: Path) -> None:
    path = open_folder / "a.db"
    with closing(sqlite.connect(path, LAYOUT)) as writer, closing(sqlite.connect_to_read(path, LAYOUT)) as last:
        writer.execute("INSERT INTO a VALUES (1)")
        assert sqlite.checkpoint(writer)
        writer.close()
        last.close()
    with somebody_else(open_folder), closing(sqlite.connect_to_read(path, LAYOUT)) as reader:
        assert rows(reader) == [1]


def test_a_database_at_rest_is_waited_for_by_who_may_not_write(locked: Path) -> None:
    with pytest.raises(JournalUnavailable, match=r"old\.db is at rest") as caught:
        sqlite.connect_to_read(locked / "old.db", LAYOUT)
    assert "start the hub" in (caught.value.hint or "")


@pytest.mark.parametrize("suffix", ["", "-wal"])  # SQLite opens -shm once a process
def test_what_may_not_be_read_is_named(open_folder: Path, suffix: str) -> None:
    path = open_folder / "a.db"
    with closing(sqlite.connect(path, LAYOUT)) as writer:
        writer.execute("INSERT INTO a VALUES (1)")
        with somebody_else(open_folder):
            if os.getresuid()[2] == 0:
                os.seteuid(0)
            (open_folder / f"a.db{suffix}").chmod(0)
            if os.getresuid()[2] == 0:
                os.seteuid(NOBODY)
            with pytest.raises(Misconfigured, match=rf"a\.db{suffix} may not be") as caught:
                sqlite.connect_to_read(path, LAYOUT)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("layout", "hint"),
    [
        ((*LAYOUT, "CREATE TABLE b (x)"), "its owner has to start the newer syncer first"),
        (("CREATE TABLE b (x)",), "nothing was changed"),
    ],
)
def test_a_reader_changes_no_layout(tmp_path: Path, layout: tuple[str, ...], hint: str) -> None:
    sqlite.connect(tmp_path / "a.db", LAYOUT).close()
    with pytest.raises(Misconfigured) as caught:
        sqlite.connect_to_read(tmp_path / "a.db", layout)
    assert hint in (caught.value.hint or "")
    sqlite.connect(tmp_path / "a.db", LAYOUT).close()


def test_a_reader_tells_damage_too(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database at all " * 300)
    with pytest.raises(Misconfigured, match="no sound database"):
        sqlite.connect_to_read(tmp_path / "a.db", LAYOUT)


def test_a_file_that_is_only_being_made_is_none_yet(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "a.db").execute("PRAGMA journal_mode = WAL").connection.close()
    with pytest.raises(Missing, match="being made"):
        sqlite.connect_to_read(tmp_path / "a.db", LAYOUT)


# -- what is moved away while it is in use -------------------------------------------------------------------------------


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_gone_or_another_one_is_used_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, replaced: bool
) -> None:
    monkeypatch.setattr(sqlite, "LOOK_EVERY", 0.0)
    path = tmp_path / "a.db"
    with closing(sqlite.connect(path, LAYOUT)) as writer, closing(sqlite.connect_to_read(path, LAYOUT)) as reader:
        path.rename(tmp_path / "moved.db")
        if replaced:
            sqlite.connect(path, LAYOUT).close()
        for db, kind in ((writer, "IMMEDIATE"), (reader, "DEFERRED")):
            with pytest.raises(ResumeLost, match="replaced" if replaced else "removed") as caught, sqlite.transaction(db, kind):
                pytest.fail("begun")
            assert caught.value.hint


# -- one for another -----------------------------------------------------------------------------------------------------


async def test_a_journal_is_not_taken_for_a_store_nor_a_store_for_a_journal(tmp_path: Path) -> None:
    await (await open_journal(settings(tmp_path / "journal.db"))).close()
    Store(tmp_path / "store.db").close()
    with pytest.raises(Misconfigured, match=r"journal\.db is a database of another kind") as caught:
        Store(tmp_path / "journal.db")
    assert caught.value.hint
    for create in (True, False):
        with pytest.raises(Misconfigured, match=r"store\.db is a database of another kind"):
            await open_journal(settings(tmp_path / "store.db"), create=create)


def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (x)")
    db.close()
    with pytest.raises(Misconfigured, match="another kind"):
        Store(path)
    db = sqlite3.connect(path)
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("bookmarks",)]
    db.close()
