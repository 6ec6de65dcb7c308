"""What every SQLite file of the project has in common: its pragmas, its layout version, its migrations, its errors. No policy."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from syncer.errors import JournalUnavailable, Misconfigured, Missing, ResumeLost, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUSY_TIMEOUT = 10.0  # seconds another process's transaction is waited for; ours last milliseconds
LOOK_EVERY = 1.0  # seconds between looks whether a file is still where it was opened
PAGE = 4096  # bytes
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
CLOSED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR})
ELSEWHERE = "let the user who runs this write there, or choose another place: STATE_DIRECTORY, or the setting of this file"

READABLE = "let the user who runs this read the folder, the file, and the two beside it that end with -wal and -shm"
AT_REST = "start the hub, or look at the journal as its user: either leaves beside it what a reader needs"


def state_folder() -> Path:
    """The folder for the project's own files: ``$STATE_DIRECTORY`` (systemd), else the XDG state folder."""
    if folder := os.environ.get("STATE_DIRECTORY"):
        return Path(folder.split(":")[0])
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "state") / "syncer"  # XDG: a relative one is to be ignored


def spelled_out(text: str) -> str:
    """A setting with ``<state>`` filled in."""
    return text.replace("<state>", str(state_folder().absolute()))


def resolve(path: str, key: str) -> Path:
    """The path that the setting ``key`` names, ``<state>`` and ``~`` filled in. Raises Misconfigured where that leads nowhere."""
    try:
        full = Path(spelled_out(path)).expanduser()
    except RuntimeError as error:  # ~somebody
        raise Misconfigured(f"{key}: {path} leads nowhere: {error}", hint="begin it with / or <state>") from error
    if "\0" in path or not full.is_absolute():
        raise Misconfigured(f"{key}: {path!r} is no absolute path", hint="begin it with / or <state>")
    if os.path.isdir(full):  # noqa: PTH112 - what may not be looked at is told of when it is opened
        raise Misconfigured(f"{key}: {path!r} is a folder, no file", hint=ELSEWHERE)
    return full


def expand(path: str, key: str) -> Path:
    """The path that the setting ``key`` names, its folder made."""
    full = resolve(path, key)
    try:
        full.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{key}: cannot make the folder of {full}: {error.strerror}", hint=ELSEWHERE) from error
    return full


def existing(path: str, key: str, maker: str) -> Path:
    """The path that the setting ``key`` names, where there has to be a file; ``maker`` is the command that makes it.

    Raises Missing.
    """
    full = resolve(path, key)
    try:
        there = full.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except OSError as error:
        raise Misconfigured(f"{key}: {full} cannot be looked at: {error.strerror}", hint=ELSEWHERE) from error
    if not there:
        raise Missing(f"{key}: there is no file {full}", full, hint=f"correct {key} or STATE_DIRECTORY, or make it: {maker}")
    return full


def creatable(path: Path) -> None:
    """Raise Misconfigured where the file, or a folder on the way to it, could not be made. Makes nothing."""
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise Misconfigured(f"{path} cannot be made: {folder} is no folder", hint=ELSEWHERE)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Misconfigured(f"{path} cannot be made: {folder} may not be written", hint=ELSEWHERE)


def lock(path: Path, what: str) -> int:
    """Lock a file beside a database for as long as this process lives, or until the descriptor returned is closed.

    Raises Superseded when it is locked already; ``what`` says what the other process is.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        kind = Misconfigured if error.errno in FORBIDDEN else JournalUnavailable
        raise kind(f"{path} cannot be opened: {error.strerror}", hint=ELSEWHERE) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Superseded(f"another process is {what}", hint="stop it first: there can be one only") from error
    return descriptor


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock on a file."""
    try:
        os.close(lock(path, ""))
    except Superseded:
        return False
    return True


class Connection(sqlite3.Connection):
    """A connection in autocommit mode that knows its file, and may be handed from thread to thread, used by one at a time."""

    def __init__(self, path: Path, *, to_read: bool = False) -> None:
        name = f"{path.as_uri()}?mode=ro" if to_read else path
        super().__init__(name, uri=to_read, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        self.path = path
        self._file = _identity(path)
        self._look_at = 0.0

    def look(self) -> None:
        """Raise ResumeLost, within a second, when the file at the path is no longer the one that is open: it would be written
        and read in vain.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        if self._file not in {None, there := _identity(self.path)}:
            raise ResumeLost(
                f"{self.path} was {'removed' if there is None else 'replaced'} while it was in use",
                hint="put it back if that was a mistake; else start again, and be told what belongs to the one before",
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path; None where there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def connect(path: Path, migrations: Sequence[str]) -> Connection:
    """Open a file, durable (WAL, every commit synced) and erasing what it deletes, and bring its layout up to date.

    Raises Misconfigured when the file is of another kind or a newer layout, damaged, no database or not ours to write,
    JournalUnavailable when it cannot be opened for the moment.
    """
    with speaking(path):
        db = Connection(path)
        with closing_on_error(db):
            db.execute(f"PRAGMA page_size = {PAGE}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA journal_size_limit = 67108864")
            _migrate(db, migrations)
    return db


def connect_to_read(path: Path, migrations: Sequence[str]) -> Connection:
    """Open a file to read what others write. Takes no right to write, but for the case that nobody has left its ``-wal`` and
    ``-shm`` beside it: SQLite needs them, and then has to make them.

    Raises what :func:`connect` raises, Misconfigured also when the layout is older; Missing while the file is being made.
    """
    try:
        db = Connection(path, to_read=True)
        with closing_on_error(db):
            known = _kind(migrations), len(migrations)
            found = _mark(db)
            if found == (0, 0) and not db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                raise Missing(f"{path} is being made at this moment", path, hint="try again")
            if found != known:
                raise _foreign(path, found, known)
    except sqlite3.DatabaseError as error:
        sides = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
        if shut := next((file for file in (path.parent, *sides) if file.exists() and not os.access(file, os.R_OK)), None):
            raise Misconfigured(f"{path} cannot be read: {shut} may not be", hint=READABLE) from error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in CLOSED and not all(file.exists() for file in sides):
            raise JournalUnavailable(f"{path} is at rest, and who may not write beside it has to wait", hint=AT_REST) from error
        with speaking(path):
            raise
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
    """Apply the migrations the file has not seen; ``user_version`` counts those it has.

    ``application_id`` says which kind of file it is, by its first layout: a journal is not taken for a store.
    """
    known = kind, _ = _kind(migrations), len(migrations)
    if _mark(db) == known:
        return
    with transaction(db):
        found = _, version = _mark(db)
        new = found == (0, 0) and not db.execute("SELECT 1 FROM sqlite_schema").fetchone()
        if not new and (found[0] != kind or version > len(migrations)):
            raise _foreign(db.path, found, known)
        for script in migrations[version:]:
            for statement in filter(str.strip, script.split(";\n")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(migrations)}")
        db.execute(f"PRAGMA application_id = {kind}")


def _kind(migrations: Sequence[str]) -> int:
    return zlib.crc32(migrations[0].encode()) >> 1  # 31 bits


def _foreign(path: Path, found: tuple[int, int], known: tuple[int, int]) -> Misconfigured:
    """What to say of a file whose kind or layout is not the one that is known."""
    if found[0] != known[0]:
        hint = "correct the setting that names it; nothing was changed in it"
        return Misconfigured(f"{path} is a database of another kind", hint=hint)
    older = "its owner has to start the newer syncer first"
    hint = "install the newer syncer" if found[1] > known[1] else older
    return Misconfigured(f"{path} has layout {found[1]}, this program knows up to {known[1]}", hint=hint)


def _mark(db: Connection) -> tuple[int, int]:
    kind, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    return kind, version


@contextmanager
def speaking(path: Path) -> Iterator[None]:
    """Say what an error of SQLite means: damage and locked doors are for the operator, a failing disk or a lock may pass, a bug
    stays one.
    """
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
        if code in CLOSED and (why := _closed(path)):
            raise Misconfigured(f"{path} cannot be used: {why}", hint=ELSEWHERE) from error
        raise JournalUnavailable(f"{path}: {error}", hint="look at the disk's space and health") from error


def _closed(path: Path) -> str | None:
    """Why a database cannot be opened or written, as far as the file system says."""
    for needed, rights in ((path.parent, os.R_OK | os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)):
        if os.access(needed, os.F_OK) and not os.access(needed, rights):
            return f"{needed} may not be read and written"
    return "it is a folder" if os.access(f"{path}/.", os.F_OK) else None


@contextmanager
def transaction(db: Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """BEGIN ... COMMIT, or ROLLBACK and the error. ``DEFERRED`` is a snapshot to read from."""
    db.look()
    with speaking(db.path):
        try:
            db.execute(f"BEGIN {kind}")
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def checkpoint(db: Connection, patience: float = 0.0) -> bool:
    """Empty the write-ahead log into the file, so that nothing erased stands in it; False where a reader is in the way.

    He is waited for so many seconds, and so is everybody who wants to write.
    """
    db.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
    try:
        busy: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
    return not busy
