"""What every SQLite file of the project has in common: its pragmas, its layout version, its migrations, its errors. No policy."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncer.errors import JournalUnavailable, Misconfigured, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUSY_TIMEOUT = 10.0  # seconds another process's transaction is waited for; ours last milliseconds
PAGE = 4096  # bytes
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def state_folder() -> Path:
    """The folder for the project's own files: ``$STATE_DIRECTORY`` (systemd), else the XDG state folder."""
    if folder := os.environ.get("STATE_DIRECTORY"):
        return Path(folder.split(":")[0])
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "state") / "syncer"  # XDG: a relative one is to be ignored


def expand(path: str) -> Path:
    """A path of the settings, ``<state>`` filled in and its folder made."""
    full = Path(path.replace("<state>", str(state_folder()))).expanduser()
    try:
        full.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"cannot make the folder of {full}: {error.strerror}") from error
    return full


def lock(path: Path, what: str) -> int:
    """Lock a file beside a database for as long as this process lives, or until the descriptor returned is closed.

    Raises Superseded when it is locked already; ``what`` says what the other process is.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise JournalUnavailable(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Superseded(f"another process is {what}", hint="stop it first: there can be one only") from error
    return descriptor


class Connection(sqlite3.Connection):
    """A connection that knows its file."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self.path = path


def connect(path: Path, migrations: Sequence[str]) -> Connection:
    """Open a file, durable (WAL, every commit synced) and erasing what it deletes, and bring its layout up to date.

    The connection is in autocommit mode and may be handed from thread to thread, used by one at a time. Raises Misconfigured
    when the file is of a newer layout, damaged or no database, JournalUnavailable when it cannot be opened.
    """
    with speaking(path):
        db = Connection(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        with closing_on_error(db):
            db.execute(f"PRAGMA page_size = {PAGE}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA journal_size_limit = 67108864")
            _migrate(db, migrations)
    return db


@contextmanager
def closing_on_error(db: Connection) -> Iterator[None]:
    """Close a connection that its maker will not get."""
    try:
        yield
    except BaseException:
        db.close()
        raise


def _migrate(db: Connection, migrations: Sequence[str]) -> None:
    """Apply the migrations the file has not seen; ``user_version`` counts those it has."""
    if db.execute("PRAGMA user_version").fetchone()[0] == len(migrations):
        return
    with transaction(db):
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise Misconfigured(
                f"{db.path} has layout {version}, this program knows up to {len(migrations)}", hint="install the newer syncer"
            )
        for script in migrations[version:]:
            for statement in filter(str.strip, script.split(";\n")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(migrations)}")


@contextmanager
def speaking(path: Path) -> Iterator[None]:
    """Say what an error of SQLite means: damage is for the operator, a failing disk or lock may pass, a bug stays one."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # what is above says more than we ask
        if code in DAMAGED:
            raise Misconfigured(
                f"{path} is no sound database: {error}", hint="restore it from a backup, or move it away to start anew"
            ) from error
        if code == sqlite3.SQLITE_ERROR or not isinstance(error, sqlite3.OperationalError):
            raise
        raise JournalUnavailable(f"{path}: {error}", hint="look at the disk's space and health") from error


@contextmanager
def transaction(db: Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """BEGIN ... COMMIT, or ROLLBACK and the error. ``DEFERRED`` is a snapshot to read from."""
    with speaking(db.path):
        try:
            db.execute(f"BEGIN {kind}")
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def checkpoint(db: Connection) -> bool:
    """Empty the write-ahead log into the file, so that nothing erased stands in it; False where a reader is in the way."""
    db.execute("PRAGMA busy_timeout = 0")  # who waits here holds up everybody
    try:
        busy: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
    return not busy
