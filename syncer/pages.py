"""A page as a record of ``pages``, for mirrors that are new: the whole of it, in the form of a mutation. Pure.

    key   <wiki_id>:<page_id>      value   a snapshot with ``gap``, and the place in ``mutations`` before which all is in it
    key   mark                     value   up to where the whole partition is so

No value: the page is gone, or is not published any more. Where a mark is the newest record of a partition, the newest records of
its keys are the pages as the mutations before that place leave them, those and no others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import orjson

from syncer.errors import Unusable
from syncer.model import Cause, Kind, Mutation, PageFacts, Source
from syncer.wire import encode_mutation, headers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.model import PageState

MARK_KEY: Final = "mark"
STREAM: Final = "pages"  # the source of what is told again
Filled = tuple[str, int]  # wiki and page id, in whose order a partition is filled
NOTHING_YET: Final[Filled] = ("", 0)


@dataclass(frozen=True, slots=True)
class Mark:
    """``offset``: of ``mutations``, everything before it is in the pages. ``filled``: if only those up to there; None: all."""

    offset: int
    filled: Filled | None = None

    def encode(self) -> bytes:
        """As the value of a record."""
        return orjson.dumps({"offset": self.offset, "filled": self.filled})

    @classmethod
    def decode(cls, value: bytes) -> Mark:
        """Read what ``encode`` wrote."""
        part = orjson.loads(value)
        return cls(part["offset"], tuple(part["filled"]) if part["filled"] else None)


def whole(wiki_id: str, domain: str, state: PageState, text: bytes | None, at: str) -> Mutation:
    """A page that lives, told again as it is published; ``erased`` where its text may be seen and is not at hand."""
    page = PageFacts(state.page_id, state.title or "", state.namespace, state.is_redirect)
    return Mutation(
        seq=state.seq,
        kind=Kind.SNAPSHOT,
        cause=Cause.REPAIR,
        wiki_id=wiki_id,
        domain=domain,
        page=page,
        source=Source(STREAM, f"{wiki_id}:{state.page_id}:{state.seq}", at, at),
        published_at=at,
        revision=state.revision,
        text=text,
        gap=True,
        attribution=state.attribution,
        erased=text is None and state.revision is not None and state.revision.visibility.text,
    )


def encode(page: Mutation, partition: int, offset: int) -> tuple[bytes, Mapping[str, str]]:
    """Value and headers of a page as the mutations before that place leave it; without the text, where it is too large."""
    try:
        value = encode_mutation(page)
    except Unusable:
        page = replace(page, text=None, erased=True)
        value = encode_mutation(page)
    part = orjson.loads(value) if page.erased else {}
    if part:
        del part["text"]
        value = orjson.dumps(part | {"erased": True})
    return value[:-1] + b"," + orjson.dumps({"partition": partition, "offset": offset})[1:], headers_of(page)
