"""Files as they are downloaded: plain, .gz, .bz2 (many streams), .xz, or .7z through a program that streams it.

Unpacking goes on ahead of whoever reads, on a processor of its own: for .bz2 it takes longer than all that is then done.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import queue
import shutil
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
SEVEN = ".7z"
PACKED = frozenset({*OPENERS, SEVEN})
# Programs that write what is in a .7z to a pipe, in the order of preference, and how each is told to.
UNPACKERS = {"7zz": ("x", "-so", "-bd"), "7z": ("x", "-so", "-bd"), "7za": ("x", "-so", "-bd"), "bsdtar": ("-xOf",)}
SAID = 300  # bytes of what a program says
CHUNK, CHUNKS = 256 * 1024, 8  # bytes that are unpacked at once, and how many of them ahead


class Reading:
    """A file that is read: ``read`` gives what is in it, ``at`` how many bytes of the file itself that took."""

    def __init__(self, plain: IO[bytes] | io.BufferedReader | _Output, at: Callable[[], int]) -> None:
        self._plain, self._at = plain, at

    def read(self, size: int) -> bytes:
        """The next so many bytes, none only at the end."""
        return self._plain.read(size)

    def readline(self) -> bytes:
        """The next line with its end; nothing at the end of the file."""
        return self._plain.readline()

    @property
    def at(self) -> int:
        """The place in the file as it lies there; 0 where another program reads it."""
        return self._at()


class _Ahead(io.RawIOBase):
    """What is read from a file by a thread of its own, up to CHUNKS ahead; what goes wrong there is raised where it is met."""

    def __init__(self, plain: IO[bytes], raw: IO[bytes]) -> None:
        self._plain, self._raw = plain, raw
        self.at = 0
        self._chunks: queue.Queue[tuple[bytes, int] | Exception] = queue.Queue(CHUNKS)
        self._left, self._over = memoryview(b""), threading.Event()
        self._thread = threading.Thread(target=self._work, name="unpacking", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        data = b"begun"
        while data and not self._over.is_set():
            try:
                data = self._plain.read(CHUNK)
                found: tuple[bytes, int] | Exception = data, self._raw.tell()
            except Exception as error:  # noqa: BLE001 - it is raised again, in the thread that reads
                data, found = b"", error
            self._chunks.put(found)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            found = self._chunks.get()
            if isinstance(found, Exception) or not found[0]:
                self._chunks.put(found)  # and so it is from then on: the thread has ended
            if isinstance(found, Exception):
                raise found
            self._left, self.at = memoryview(found[0]), found[1]
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def end(self) -> None:
        """Read no more."""
        self._over.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._chunks.get(timeout=0.01)


@contextmanager
def opened(path: Path) -> Iterator[Reading]:
    """Read a file; its ending says how it is packed. Raises OSError, EOFError or lzma.LZMAError where that is not so."""
    with path.open("rb") as raw:
        if path.suffix == SEVEN:
            with _unpacking(path) as output:
                yield Reading(output, lambda: 0)
        elif opener := OPENERS.get(path.suffix):
            with opener(raw, "rb") as plain:
                ahead = _Ahead(plain, raw)
                try:
                    yield Reading(io.BufferedReader(ahead, CHUNK), lambda: ahead.at)
                finally:
                    ahead.end()
        else:
            yield Reading(raw, raw.tell)


@contextmanager
def _unpacking(path: Path) -> Iterator[_Output]:
    """What a program makes of a .7z."""
    name = next((name for name in UNPACKERS if shutil.which(name)), None)
    if name is None:
        raise Misconfigured(
            f"{path} is packed with 7-Zip, and none of {', '.join(UNPACKERS)} is installed here",
            hint="apt-get install 7zip (or p7zip-full, or libarchive-tools), or take the same dump as .bz2",
        )
    command = [name, *UNPACKERS[name], str(path.absolute())]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints) as process,  # noqa: S603
    ):
        try:
            yield _Output(process, complaints)
        finally:
            process.kill()


class _Output:
    """A program's output, whose end is the end only where the program says that all is well."""

    def __init__(self, process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        if process.stdout is None:
            raise AssertionError("it is a pipe")
        self._process, self._output, self._complaints = process, process.stdout, complaints

    def read(self, size: int) -> bytes:
        return self._output.read(size) or self._end()

    def readline(self) -> bytes:
        return self._output.readline() or self._end()

    def _end(self) -> bytes:
        if code := self._process.wait():
            self._complaints.seek(0)
            said = self._complaints.read(SAID).decode(errors="replace").strip()
            raise EOFError(f"the program that unpacks it ended with {code}: {said}")
        return b""
