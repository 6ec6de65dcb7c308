"""Chunks of bytes -> complete blocks -> events, decoded by sseclient-py. Pure.

What sseclient-py must not meet is kept from it (PROTOCOL 29-31): it is given complete blocks only, so that a truncated last
event is never dispatched; a byte order mark at the start is cut off; every line end is made ``\\n``; blocks that are too long
or of too many lines, which cost it quadratic time, are rejected; and it reads bytes as Latin-1, which cannot fail and is
turned back into the same bytes afterwards. However the bytes are cut into chunks, the events are the same.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from sseclient import SSEClient

if TYPE_CHECKING:
    from collections.abc import Iterator

BOM = b"\xef\xbb\xbf"
MAX_LINES = 64  # of one block; an event has three. 64 lines of 256 KB in all cost sseclient-py 16 MB of copying
USUAL = b"event: message\n"  # how almost every block begins; a block without it means the same, and is decoded sooner
KEPT = 4096  # bytes of a rejected block that are kept, if it has as many

# sseclient-py logs under the name of its user's module, at level DEBUG also what it takes for a field's name.
logging.getLogger(__name__).disabled = True


class Event(NamedTuple):
    """One event: ``kind`` as in ``event:``, the ``id:`` of this very block ("" if it has none), and its data."""

    kind: str
    id: str
    data: bytes


class Rejected(NamedTuple):
    """A block that is not decoded: its size in bytes, and how it begins (at most ``KEPT`` bytes)."""

    size: int
    raw: bytes


class Cutter:
    """Cuts one connection's bytes into blocks. ``max_block`` is the most bytes of a block that is decoded."""

    def __init__(self, max_block: int) -> None:
        self._max_block = max_block
        self._kept = min(KEPT, max_block)
        self._buffer = bytearray()
        self._scanned = 0  # bytes of the buffer that hold no end of a block
        self._begun = False
        self._return_held = False
        self._skipped: Rejected | None = None  # the over-long block that is being read past

    def feed(self, chunk: bytes) -> list[Event | Rejected]:
        """The events of all blocks that this chunk completes, in order."""
        self._buffer += self._normal(chunk)
        found: list[Event | Rejected] = []
        if not self._past_bom() or not self._past_skipped(found):
            return found
        end = self._buffer.rfind(b"\n\n", self._scanned)
        if end >= 0:
            blocks = bytes(self._buffer[:end]).split(b"\n\n")
            del self._buffer[: end + 2]
            self._decode_all(blocks, found)
        self._scanned = max(0, len(self._buffer) - 1)
        if self._scanned > self._max_block:
            self._skip_if_too_long()
        return found

    def _normal(self, chunk: bytes) -> bytes:
        """The chunk with every line end as ``\\n``; a carriage return at its end waits for what follows."""
        if self._return_held:
            chunk = b"\r" + chunk
            self._return_held = False
        if b"\r" not in chunk:
            return chunk
        if chunk.endswith(b"\r"):
            chunk, self._return_held = chunk[:-1], True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _past_bom(self) -> bool:
        """Whether the start of the stream is known, and its byte order mark, if there is one, is gone."""
        if not self._begun and not (len(self._buffer) < len(BOM) and BOM.startswith(self._buffer)):
            self._begun = True
            if self._buffer.startswith(BOM):
                del self._buffer[: len(BOM)]
        return self._begun

    def _past_skipped(self, found: list[Event | Rejected]) -> bool:
        """Whether no over-long block is being skipped any more; its end puts it among what was found."""
        if self._skipped is None:
            return True
        end = self._buffer.find(b"\n\n")
        gone = end if end >= 0 else max(0, len(self._buffer) - 1)
        self._skipped = Rejected(self._skipped.size + gone, self._skipped.raw)
        if end < 0:
            del self._buffer[:gone]
            return False
        found.append(self._skipped)
        self._skipped = None
        del self._buffer[: end + 2]
        self._scanned = 0
        return True

    def _skip_if_too_long(self) -> None:
        block = bytes(self._buffer).lstrip(b"\n")
        whole = block[:-1] if block.endswith(b"\n") else block  # that one may be half of the block's end
        if len(whole) > self._max_block:
            self._skipped = Rejected(len(block) - 1, block[: self._kept])
            self._buffer[:] = block[-1:]

    def _decode_all(self, blocks: list[bytes], found: list[Event | Rejected]) -> None:
        if not [block for block in blocks if len(block) > self._max_block or block.count(b"\n") >= MAX_LINES]:
            found += _decode(blocks)
            return
        for padded in blocks:
            block = padded.strip(b"\n")
            if len(block) <= self._max_block and block.count(b"\n") < MAX_LINES:
                found += _decode([block])
            else:
                found.append(Rejected(len(block), block[: self._kept]))


class _Blocks(SSEClient):
    """sseclient-py, given blocks that are cut already: its own search for their ends costs a third of its time."""

    def __init__(self, blocks: list[bytes]) -> None:
        super().__init__(iter(blocks), char_enc="latin-1")
        self._blocks = blocks

    def _read(self) -> Iterator[bytes]:
        return iter([block.removeprefix(USUAL) for block in self._blocks])


def _decode(blocks: list[bytes]) -> list[Event]:
    """Complete blocks as events."""
    return [Event(event.event, event.id or "", event.data.encode("latin-1")) for event in _Blocks(blocks).events()]
