"""What every SQLite file of the project has in common: its pragmas, its layout version, its migrations. No policy."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.errors import JournalUnavailable, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

from contextlib import contextmanager

BUSY_TIMEOUT = 10.0  # seconds another process's transaction is waited for; ours last milliseconds


def state_folder() -> Path:
    """The folder for the project's own files: ``$STATE_DIRECTORY`` (systemd), else the XDG state folder."""
    if folder := os.environ.get("STATE_DIRECTORY"):
        return Path(folder.split(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "syncer"


def expand(path: str) -> Path:
    """A path of the settings, ``<state>`` filled in and its folder made."""
    full = Path(path.replace("<state>", str(state_folder()))).expanduser()
    try:
        full.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"cannot make the folder of {full}: {error.strerror}") from error
    return full


def connect(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """Open a file, durable (WAL, every commit synced) and erasing what it deletes, and bring its layout up to date.

    The connection is in autocommit mode and may be handed from thread to thread, used by one at a time. Raises Misconfigured
    when the file is of a newer layout or is no database, JournalUnavailable when it cannot be opened.
    """
    try:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA journal_size_limit = 67108864")
        _migrate(db, path, migrations)
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error) or "malformed" in str(error):
            raise Misconfigured(
                f"{path} is not a readable database: {error}", hint="restore it from a backup, or move it away to start anew"
            ) from error
        raise JournalUnavailable(f"{path}: {error}") from error
    return db


def _migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    """Apply the migrations the file has not seen; ``user_version`` counts those it has."""
    if db.execute("PRAGMA user_version").fetchone()[0] == len(migrations):
        return
    with transaction(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise Misconfigured(
                f"{path} has layout {version}, this program knows up to {len(migrations)}", hint="install the newer syncer"
            )
        for script in migrations[version:]:
            for statement in filter(str.strip, script.split(";\n")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(migrations)}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK and the error. A failing disk or lock becomes JournalUnavailable."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise JournalUnavailable(f"the database cannot be written: {error}") from error
        raise
