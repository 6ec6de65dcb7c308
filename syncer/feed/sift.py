"""What becomes of a delivered event. Pure but for its memory.

In this order (DESIGN 2): a canary; seen before; of a wiki that is not included; nothing about content; the same revision that
another stream named first: all these are skipped. Of what is left, what cannot be decoded, or is of a wiki that may not be
asked, is set aside; the rest are changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from syncer.feed.decode import decode, digest, identify, keepable
from syncer.feed.event import NEW_REVISION, Aside, AsideReason, Envelope, Skip, SkipReason
from syncer.feed.memory import Told
from syncer.feed.position import NOWHERE
from syncer.feed.sse import KEPT
from syncer.model import Change
from syncer.records import SetAside

if TYPE_CHECKING:
    from syncer.feed.client import Delivered
    from syncer.feed.memory import Memory
    from syncer.feed.scope import Scope
    from syncer.feed.sse import Rejected


@dataclass(frozen=True, slots=True)
class Unfit:
    """To be set aside. ``key`` is the event's id, or a digest of what has none, so that it is known when it comes again."""

    key: str
    entry: SetAside


class Sift:
    """Judges events one by one, in the order of their delivery."""

    def __init__(self, scope: Scope, memory: Memory) -> None:
        self._scope = scope
        self._memory = memory

    def judge(self, item: Delivered, received_at: str) -> Change | SkipReason | Unfit:
        """What the event is to us. ``received_at`` is ISO 8601."""
        source, at, data = item
        envelope = identify(data)
        if isinstance(envelope, Envelope):
            if self._memory.seen(envelope.event_id, source, at):
                return SkipReason.DUPLICATE
            if not self._scope.wanted(envelope.domain, envelope.wiki_id):
                return SkipReason.NOT_INCLUDED
            return self._of_wanted(envelope, at, received_at, data)
        if isinstance(envelope, Skip):
            return envelope.reason
        key = digest(data)
        return SkipReason.DUPLICATE if self._memory.seen(key, source, at) else _unfit(key, envelope, received_at, data)

    def _of_wanted(self, envelope: Envelope, at: int, received_at: str, data: bytes) -> Change | SkipReason | Unfit:
        outcome = decode(envelope, received_at)
        if not isinstance(outcome, Change):
            if isinstance(outcome, Skip):
                return outcome.reason
            return _unfit(envelope.event_id, outcome, received_at, data)
        if outcome.cause in NEW_REVISION and outcome.rev_ids:
            told = self._memory.told(outcome.wiki_id, outcome.rev_ids[0], outcome.source.stream, at)
            if told is Told.ELSEWHERE:
                return SkipReason.SAME_REVISION
            if told is Told.AGAIN and (outcome.titles or outcome.page_ids):  # the page is to be read, whatever its revision
                outcome = replace(outcome, rev_ids=(), parent_rev_id=None)
        if self._scope.allowed(outcome.domain):
            return outcome
        detail = f"{outcome.domain} is not in wiki.domains"
        return Unfit(envelope.event_id, SetAside(AsideReason.DOMAIN.value, detail, received_at, outcome))

    def rejected(self, block: Rejected, newest: int, received_at: str) -> SkipReason | Unfit:
        """What a block too large to be decoded is to us. Its id line differs when it comes again, its data do not."""
        key = digest(block.raw[max(0, block.raw.find(b"data:")) :])
        if self._memory.seen(key, NOWHERE[0], newest):
            return SkipReason.DUPLICATE
        return _unfit(key, Aside(AsideReason.TOO_LONG, f"{block.size} bytes"), received_at, block.raw)


def _unfit(key: str, aside: Aside, at: str, raw: bytes) -> Unfit:
    return Unfit(key, SetAside(aside.reason.value, aside.detail, at, raw=keepable(raw)[:KEPT]))
