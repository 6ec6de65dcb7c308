"""What decoders share: an event's envelope, the ways it can end, and how its fields are read. Pure.

A required field that is missing, or any field of another type than expected, raises Unusable, which names the field and the
type found, never the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from syncer.errors import Unusable
from syncer.model import MAX_ID, Cause, Source, Visibility

Json = dict[str, Any]

NEW_REVISION = frozenset({Cause.EDIT, Cause.CREATE})  # causes of changes that name one revision, the new one
MAX_TITLE = 512  # characters; MediaWiki's own bound is 255 bytes and a namespace prefix
NO_TITLE = re.compile(r"[\x00-\x1f\x7f#<>\[\]{}|]")  # characters that no title of MediaWiki has


class SkipReason(StrEnum):
    """Why nothing is appended for an event."""

    CANARY = "canary"
    DUPLICATE = "duplicate"
    SAME_REVISION = "same_revision"  # another stream named this revision first
    NOT_INCLUDED = "not_included"
    CATEGORIZE = "categorize"
    LOG = "log_without_content"
    NO_PAGE = "no_page"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_STREAM = "unknown_stream"


class AsideReason(StrEnum):
    """Why an event is set aside."""

    BAD_JSON = "bad_json"
    BAD_EVENT = "bad_event"
    TOO_LONG = "too_long"
    DOMAIN = "domain_not_allowed"


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing for us."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Aside:
    """Not to be used; ``detail`` says what is wrong, without a word of the event's own."""

    reason: AsideReason
    detail: str


class Envelope(NamedTuple):
    """What every event says of itself."""

    stream: str
    event_id: str
    domain: str
    wiki_id: str
    event: Json

    def source(self, received_at: str) -> Source:
        """Where a change is learned that this event tells. A time it does not give, or not with its zone, is ``received_at``."""
        event_time = self.event["meta"].get("dt")
        try:
            known = datetime.fromisoformat(event_time).tzinfo is not None
        except (TypeError, ValueError):
            known = False
        return Source(self.stream, self.event_id, event_time if known else received_at, received_at)


def unusable(name: str, value: object) -> Unusable:
    """The error for a field that is not what it has to be."""
    return Unusable(AsideReason.BAD_EVENT, f"{name} is {'missing' if value is None else type(value).__name__}")


def an_object(part: Json, name: str) -> Json:
    """A required object."""
    value = part.get(name)
    if type(value) is dict:
        return value
    raise unusable(name, value)


def optional_object(part: Json, name: str) -> Json:
    """An object that may be absent, null, or an empty array instead (PROTOCOL k)."""
    value = part.get(name)
    if type(value) is dict:
        return value
    if value is None or value == []:
        return {}
    raise unusable(name, value)


def text(part: Json, name: str) -> str:
    """A required string."""
    value = part.get(name)
    if type(value) is str:
        return value
    raise unusable(name, value)


def optional_text(part: Json, name: str) -> str | None:
    """A string that may be absent or null."""
    value = part.get(name)
    if value is None or type(value) is str:
        return value
    raise unusable(name, value)


def an_id(part: Json, name: str) -> int:
    """A required id, from 1."""
    value = part.get(name)
    if type(value) is int and 0 < value <= MAX_ID:
        return value
    raise unusable(name, value)


def optional_id(part: Json, name: str) -> int | None:
    """An id that may be absent, null or 0."""
    value = part.get(name)
    if type(value) is int and 0 <= value <= MAX_ID:
        return value or None
    if value is None:
        return None
    raise unusable(name, value)


def namespace(part: Json, name: str) -> int | None:
    """A namespace number, which may be absent or null."""
    value = part.get(name)
    if value is None or type(value) is int:
        return value
    raise unusable(name, value)


def titles(*values: object) -> tuple[str, ...]:
    """Those of the values that can be titles, each once, as the API writes them: with spaces."""
    found = [
        value.replace("_", " ")
        for value in values
        if type(value) is str and 0 < len(value) <= MAX_TITLE and not NO_TITLE.search(value)
    ]
    return tuple(dict.fromkeys(found)) if len(found) > 1 else tuple(found)


def visibility(flags: Json, names: tuple[str, str, str]) -> Visibility:
    """Three required flags, named for text, user and comment, true where everybody may see."""
    for name in names:
        if type(flags.get(name)) is not bool:
            raise unusable(name, flags.get(name))
    return Visibility(*(flags[name] for name in names))


def is_bot(part: Json, name: str) -> bool:
    """Whether the user of that name is flagged as a bot. A hint only: the user is absent where hidden."""
    user = part.get(name)
    return type(user) is dict and (user.get("is_bot") is True or user.get("user_is_bot") is True)
