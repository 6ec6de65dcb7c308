"""What was set aside because it could not be read -> the change that it tells after all. Pure.

What upstream sends may mean something to a newer version of this package, or with other settings. Of an event that was set
aside only its beginning was kept, and of one that was understood in part nothing personal: what is missing is not guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.errors import Unusable
from syncer.feed.decode import decode, identify
from syncer.feed.event import Aside, AsideReason, Envelope, Skip
from syncer.feed.scope import Scope
from syncer.feed.sse import KEPT, Cutter, Event
from syncer.model import Change
from syncer.records import decode_change

if TYPE_CHECKING:
    from syncer.config import Settings
    from syncer.records import SetAside

LEFT = "not_replayable"


def again(entry: SetAside, settings: Settings) -> Change:
    """The change to be replayed. Raises Unusable, which says why there is none; nothing of the event's own is in it."""
    if entry.change:
        return entry.change
    raw = entry.raw or b""
    if entry.reason == AsideReason.TOO_LONG:
        return _change(_data(raw, entry.detail, settings.feed.max_block), entry.at, Scope(settings.wiki))
    if entry.reason in {AsideReason.BAD_JSON, AsideReason.BAD_EVENT}:
        if len(raw) >= KEPT:
            raise Unusable(LEFT, f"only its first {KEPT} bytes were kept")
        return _change(raw, entry.at, Scope(settings.wiki))
    try:
        return decode_change(raw)  # a record of changes that was none
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(LEFT, f"it still is no change: {type(error).__name__}") from error


def _data(raw: bytes, size: str, max_block: int) -> bytes:
    """The data of a block that was too long; ``size`` is what was said of it when it was set aside."""
    if size != f"{len(raw)} bytes":
        raise Unusable(LEFT, f"only its first {len(raw)} of {size} were kept")
    for item in Cutter(max_block).feed(raw + b"\n\n"):
        if isinstance(item, Event):
            return item.data
    raise Unusable(LEFT, "it still is too long: feed.max_block, or too many lines")


def _change(data: bytes, received_at: str, scope: Scope) -> Change:
    envelope = identify(data)
    found = _decode(envelope, received_at, scope) if isinstance(envelope, Envelope) else envelope
    match found:
        case Change() if not scope.allowed(found.domain):
            raise Unusable(LEFT, f"{found.domain} is not in wiki.domains")
        case Change():
            return found
        case Skip(reason):
            raise Unusable(LEFT, f"it names nothing to be read: {reason}")
        case Aside(reason, detail):
            raise Unusable(LEFT, f"it still cannot be read: {reason}, {detail}")


def _decode(envelope: Envelope, received_at: str, scope: Scope) -> Change | Skip | Aside:
    if not scope.wanted(envelope.domain, envelope.wiki_id):
        raise Unusable(LEFT, f"{envelope.wiki_id} is not in wiki.include")
    if envelope.event.get("type") == "log" and "log_params" not in envelope.event:
        raise Unusable(LEFT, "it was kept without its parameters, which may name more pages: syncer repair reads pages again")
    return decode(envelope, received_at)
