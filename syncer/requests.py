"""What a mirror asks its hub for, as a record of ``requests``: a page of which it has not what the journal says. Pure.

    key   <wiki_id>:<page_id>      value   who asks, how far it has read, and what it has

Whatever whole text of the page (or its delete, or that its text is hidden) stands at ``read_to`` or after it is the answer: the
mirror has not seen it yet. So one answer serves all who ask, and a request may come twice, or never: it is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from syncer.model import MAX_ID

SCHEMA: Final = "request/1.0.0"
MOST_NAME = 255  # characters of a mirror's or wiki's id: anybody's program may write here


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """``read_to``: the first offset of its partition of ``mutations`` that the mirror has not read.

    ``seq``, ``rev_id`` and ``sha1`` are what it has been told of the page last, 0 and None where that is nothing; ``reason`` is
    why it has no text. ``asked_at``: ISO time.
    """

    mirror: str
    wiki_id: str
    page_id: int
    read_to: int
    seq: int
    rev_id: int | None
    sha1: str | None
    reason: str
    asked_at: str

    @property
    def key(self) -> str:
        """The key of its record: that of the page's mutations."""
        return f"{self.wiki_id}:{self.page_id}"


def encode(request: Request) -> bytes:
    """As the value of a record."""
    return orjson.dumps({"schema": SCHEMA, **{name: getattr(request, name) for name in request.__dataclass_fields__}})


def decode(value: bytes) -> Request:
    """Read what :func:`encode` wrote, or a partner's own program. Raises KeyError, TypeError or ValueError on anything else."""
    part = orjson.loads(value)
    if not isinstance(part, dict) or not str(part["schema"]).startswith("request/1."):
        raise ValueError("no request")
    request = Request(
        mirror=part["mirror"],
        wiki_id=part["wiki_id"],
        page_id=part["page_id"],
        read_to=part["read_to"],
        seq=part.get("seq", 0),
        rev_id=part.get("rev_id"),
        sha1=part.get("sha1"),
        reason=part.get("reason", ""),
        asked_at=part.get("asked_at", ""),
    )
    if not all(isinstance(name, str) and 0 < len(name) <= MOST_NAME for name in (request.mirror, request.wiki_id)):
        raise ValueError("a name that is none")
    if not all(type(number) is int and 0 <= number <= MAX_ID for number in (request.page_id, request.read_to)):
        raise ValueError("a number that is none")
    return request
