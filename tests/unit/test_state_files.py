"""Where the project's own files lie: found, made, refused; and that nobody takes one for another."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncer import sqlite
from syncer.config import JournalSettings
from syncer.errors import Misconfigured, Missing
from syncer.journal import open_journal
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
LAYOUT = ("CREATE TABLE a (x)",)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder that may be looked into, not written, with a file of a database; whoever we are, we are not its owner."""
    with tempfile.TemporaryDirectory(prefix="syncer-locked-") as name:
        folder = Path(name)
        sqlite.connect(folder / "old.db", LAYOUT).close()
        (folder / "old.db").chmod(0o444)
        folder.chmod(0o555)
        root = os.getuid() == 0
        if root:
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield folder
        finally:
            if root:
                os.setresuid(0, 0, 0)
            folder.chmod(0o755)


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
