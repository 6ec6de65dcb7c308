"""What lies in ``../shared`` about the feed: raw captures of a real EventStreams, recorded events, events of known actions."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = SHARED / "data" / "events"
SAMPLES = SHARED / "lab" / "samples"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings of ../shared are not there")


@dataclass(frozen=True, slots=True)
class Capture:
    """One exchange: ``asked`` are the request's headers, ``chunks`` the body as it was framed."""

    name: str
    asked: dict[str, str]
    status: int | None
    headers: dict[str, str]
    chunks: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def ids(self) -> list[str]:
        """The ``id:`` lines, in order."""
        return [line[4:].decode() for line in self.body.split(b"\n") if line.startswith(b"id: ")]

    @property
    def events(self) -> list[Any]:
        """The ``data:`` lines as JSON, in order."""
        return [json.loads(line[6:]) for line in self.body.split(b"\n") if line.startswith(b"data: ")]


@cache
def captures() -> dict[str, Capture]:
    """All captures, by the number at the front of their name."""
    found = {path.name.partition("-")[0]: _read(path) for path in (SAMPLES / "sse").glob("[0-9]*.txt")}
    found |= {path.stem: _read(path) for path in (SAMPLES / "sse").glob("[0-9]*.txt")}
    return found


def _read(path: Path) -> Capture:
    comments, _, rest = path.read_bytes().partition(b"### REQUEST\n")
    assert comments.startswith(b"### ")
    request, _, response = rest.partition(b"### RESPONSE (raw bytes, chunk framing included)\n")
    head, _, body = response.partition(b"\r\n\r\n")
    headers = _headers(head)
    chunked = headers.get("transfer-encoding") == "chunked"
    status = int(head.split()[1]) if head.strip() else None
    return Capture(path.stem, _headers(request), status, headers, tuple(_chunks(body)) if chunked else (body,))


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("utf-8", "replace").splitlines()[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def _chunks(body: bytes) -> Iterator[bytes]:
    while size := re.match(rb"([0-9a-f]+)\r\n", body):
        begin, length = size.end(), int(size[1], 16)
        if length:
            yield body[begin : begin + length]
        body = body[begin + length + 2 :]


def recorded(path: Path) -> list[bytes]:
    """The events of a recording, a line each, as they were."""
    return [line for line in gzip.decompress(path.read_bytes()).split(b"\n") if line.strip()]


def actions(folder: str) -> dict[str, dict[str, Any]]:
    """What was recorded of each action of ``samples/<folder>``, by the name of the action."""
    paths = sorted((SAMPLES / folder).glob("*.json"))
    return {path.stem.partition("-")[2]: json.loads(path.read_bytes()) for path in paths}
