"""Events -> changes. Pure, and the one place where a source stream is added: one decoder, one line in :data:`STREAMS`.

    bytes -- identify --> Envelope -- decode --> Change

Either step may end in Skip (nothing for us, counted) or in Aside (cannot be used, kept with a reason). What a change names is
what is to be read again; nothing in an event is believed about a page's state. Unknown fields are ignored.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from syncer.errors import Unusable
from syncer.feed import pages, recentchange
from syncer.feed.event import Aside, AsideReason, Envelope, Skip, SkipReason
from syncer.feed.position import stream_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.model import Change

MAX_NAME = 255  # characters of a domain, a wiki id, an event id
DEPTH = 4  # of an event's objects within one another, when it is kept
PERSONAL = frozenset({
    "user", "user_text", "performer", "editor", "comment", "parsedcomment", "log_action_comment", "log_params",
    "rev_sha1", "content_sha1", "rev_slots", "content_slots",
})  # fmt: skip


PERSONAL_NAME = re.compile(b'"(?:' + "|".join(sorted(PERSONAL)).encode() + b')"')


class Stream(NamedTuple):
    """A stream that can be read: the field with the wiki's id, and its decoder."""

    wiki_field: str
    decode: Callable[[Envelope, str], Change | Skip]


STREAMS = {
    "mediawiki.recentchange": Stream("wiki", recentchange.decode),
    "mediawiki.page_change.v1": Stream("wiki_id", pages.page_change),
    "mediawiki.revision-visibility-change": Stream("database", pages.visibility_change),
    "mediawiki.revision-create": Stream("database", pages.revision_create),
}


def identify(data: bytes) -> Envelope | Skip | Aside:
    """What the event is and of which wiki. ``data`` is its JSON."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return Aside(AsideReason.BAD_JSON, f"at character {error.pos}")
    meta = event.get("meta") if type(event) is dict else None
    if type(meta) is not dict:
        return Aside(AsideReason.BAD_EVENT, "meta is missing")
    stream, domain = meta.get("stream"), meta.get("domain")
    if domain == "canary":
        return Skip(SkipReason.CANARY)
    if type(stream) is not str:
        stream = stream_of(topic) if type(topic := meta.get("topic")) is str else ""
    known = STREAMS.get(stream)
    if known is None:
        return Skip(SkipReason.UNKNOWN_STREAM) if stream else Aside(AsideReason.BAD_EVENT, "meta.stream is missing")
    domain = _name(domain) or _name(event.get("server_name")) or _name(_host(meta.get("uri")))
    wiki_id = _name(event.get(known.wiki_field))
    if domain and wiki_id:
        return Envelope(stream, _name(meta.get("id")) or digest(data), domain, wiki_id, event)
    return Aside(AsideReason.BAD_EVENT, f"meta.domain or {known.wiki_field} is missing")


def decode(envelope: Envelope, received_at: str) -> Change | Skip | Aside:
    """The change that the event tells. ``received_at`` is ISO 8601, and stands in for a time that the event does not give."""
    try:
        return STREAMS[envelope.stream].decode(envelope, received_at)
    except Unusable as error:
        return Aside(AsideReason(error.reason), str(error))


def digest(raw: bytes) -> str:
    """An id for what has none of its own: the same bytes, the same id."""
    return blake2b(raw, digest_size=16).hexdigest()


def bare(value: Any, depth: int = DEPTH) -> Any:
    """An event without its users, comments and hashes, for keeping: they may be hidden later (PROTOCOL l)."""
    if depth == 0 and isinstance(value, dict | list):
        return None
    if isinstance(value, dict):
        return {name: bare(part, depth - 1) for name, part in value.items() if name not in PERSONAL}
    return [bare(part, depth - 1) for part in value] if isinstance(value, list) else value


def keepable(data: bytes) -> bytes:
    """What may be kept of an event that is not understood: ``bare``, or of what is no JSON all before the first of such parts."""
    try:
        return orjson.dumps(bare(orjson.loads(data)))
    except orjson.JSONDecodeError:
        found = PERSONAL_NAME.search(data)
        return data[: found.start()] if found else data


def _name(value: object) -> str | None:
    return value if type(value) is str and 0 < len(value) <= MAX_NAME else None


def _host(uri: object) -> str | None:
    try:
        return urlsplit(uri).hostname if type(uri) is str else None
    except ValueError:
        return None
