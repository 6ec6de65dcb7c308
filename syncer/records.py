"""The journal's inner records as JSON: changes, marks, positions, things set aside. Pure.

What partners read (mutations) is in :mod:`syncer.wire`. Nothing here ever holds a text, a user, a comment or a hash.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from syncer.model import HEAL, MAX_ID, REPAIR, SCOPE, SEED, Cause, Change, Position, Source, Visibility


def encode_change(change: Change) -> bytes:
    """A change as JSON; parts that are empty are left out."""
    source = change.source
    value: dict[str, Any] = {
        "wiki_id": change.wiki_id, "domain": change.domain, "cause": change.cause, "bot": change.bot,
        "stream": source.stream, "event_id": source.event_id, "event_time": source.event_time, "received_at": source.received_at,
    }  # fmt: skip
    if change.rev_ids:
        value["rev_ids"] = change.rev_ids
    if change.titles:
        value["titles"] = change.titles
    if change.page_ids:
        value["page_ids"] = change.page_ids
    if change.namespace is not None:
        value["namespace"] = change.namespace
    if change.parent_rev_id is not None:
        value["parent_rev_id"] = change.parent_rev_id
    if change.replay_of is not None:
        value["replay_of"] = change.replay_of
    if change.claims:
        value["claims"] = [[rev_id, seen.text, seen.user, seen.comment] for rev_id, seen in change.claims]
    return orjson.dumps(value)


def decode_change(value: bytes) -> Change:
    """Read what :func:`encode_change` wrote. Raises KeyError, TypeError or ValueError on anything else."""
    part = orjson.loads(value)
    change = Change(
        wiki_id=part["wiki_id"],
        domain=part["domain"],
        cause=Cause(part["cause"]),
        rev_ids=tuple(part.get("rev_ids", ())),
        titles=tuple(part.get("titles", ())),
        page_ids=tuple(part.get("page_ids", ())),
        namespace=part.get("namespace"),
        parent_rev_id=part.get("parent_rev_id"),
        claims=tuple((rev_id, Visibility(text, user, comment)) for rev_id, text, user, comment in part.get("claims", ())),
        bot=part["bot"],
        replay_of=part.get("replay_of"),
        source=Source(part["stream"], part["event_id"], part["event_time"], part["received_at"]),
    )
    if not all(type(number) is int and 0 < number <= MAX_ID for number in (*change.rev_ids, *change.page_ids)):
        raise ValueError("an id that is none")
    if not all(datetime.fromisoformat(when).tzinfo for when in (change.source.event_time, change.source.received_at)):
        raise ValueError("a time without its zone")
    return change


MOST_KEPT = 65_536  # bytes; a change has some hundred
FIELDS = frozenset({
    "wiki_id", "domain", "cause", "bot", "stream", "event_id", "event_time", "received_at", "rev_ids", "titles", "page_ids",
    "namespace", "parent_rev_id", "replay_of", "claims",
})  # fmt: skip


def remains(value: bytes) -> bytes | None:
    """What may be kept of a record that is no change: what stands in a change's fields, which a later version may understand."""
    try:
        part = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(part, dict):
        return None
    kept = orjson.dumps({name: part[name] for name in part if name in FIELDS})
    return kept if len(kept) <= MOST_KEPT else None


# Streams of changes that ingest did not append.
BY_HAND = frozenset({"replay", "reconcile", SCOPE, HEAL, REPAIR, SEED})


def is_from_feed(value: bytes) -> bool:
    """Whether ingest has appended a record, be it a change that can be read or not: it says of which stream it is."""
    try:
        return orjson.loads(value)["stream"] not in BY_HAND
    except (KeyError, TypeError, ValueError):
        return False


def replayed(change: Change, event_id: str, at: str) -> Change:
    """A change to append anew under a new id; its outcome closes what the first one was set aside as. ``at``: ISO time."""
    source = Source("replay", event_id, change.source.event_time, at)
    return replace(change, source=source, replay_of=change.replay_of or change.change_id)


# A mark says: everything of the feed up to this time stands before it. It goes to every partition, so quiet wikis count too.
MARK_KEY = "mark"


def encode_mark(feed_time: str) -> bytes:
    """A mark as JSON; ``feed_time`` is ISO 8601."""
    return orjson.dumps({"feed_time": feed_time})


def decode_mark(value: bytes) -> str:
    """The feed time of a mark."""
    feed_time: str = orjson.loads(value)["feed_time"]
    return feed_time


@dataclass(frozen=True, slots=True)
class Resume:
    """Ingest's own record: where the feed goes on, and what has been appended so far.

    ``appended`` counts changes by partition since the journal began; ``skipped`` and ``set_aside`` count by reason what was
    not appended; ``gaps`` are the spans of feed time (ISO, from, to) known to be missing.
    """

    position: Position
    appended: dict[int, int]
    skipped: dict[str, int]
    set_aside: dict[str, int]
    gaps: tuple[tuple[str | None, str], ...] = ()

    @property
    def total(self) -> int:
        """All changes appended."""
        return sum(self.appended.values())


def encode_resume(resume: Resume) -> bytes:
    """Ingest's record as JSON."""
    return orjson.dumps(
        {
            "position": [[topic, partition, at] for (topic, partition), at in resume.position.timestamps.items()],
            "appended": {str(partition): count for partition, count in resume.appended.items()},
            "skipped": resume.skipped,
            "set_aside": resume.set_aside,
            "gaps": resume.gaps,
        },
        option=orjson.OPT_NON_STR_KEYS,  # reasons are enumerated
    )


def decode_resume(value: bytes) -> Resume:
    """Read what :func:`encode_resume` wrote."""
    part = orjson.loads(value)
    return Resume(
        position=Position({(topic, partition): at for topic, partition, at in part["position"]}),
        appended={int(partition): count for partition, count in part["appended"].items()},
        skipped=part["skipped"],
        set_aside=part["set_aside"],
        gaps=tuple((start, end) for start, end in part["gaps"]),
    )


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that could not be handled. ``change`` is what a replay repeats; ``raw`` is the start of what was no change.

    With ``closed_by``, the id of a change, it says instead that what stands under the same key was handled after all.
    """

    reason: str
    detail: str
    at: str
    change: Change | None = None
    raw: bytes | None = None
    closed_by: str | None = None


def encode_set_aside(entry: SetAside) -> bytes:
    """A set-aside as JSON; raw bytes as text, with those that are no UTF-8 escaped."""
    return orjson.dumps(
        {
            "reason": entry.reason,
            "detail": entry.detail,
            "at": entry.at,
            "change": orjson.Fragment(encode_change(entry.change)) if entry.change else None,
            "raw": entry.raw.decode("utf-8", "backslashreplace") if entry.raw is not None else None,
            "closed_by": entry.closed_by,
        }
    )


def decode_set_aside(value: bytes) -> SetAside:
    """Read what :func:`encode_set_aside` wrote."""
    part = orjson.loads(value)
    change = decode_change(orjson.dumps(part["change"])) if part["change"] else None
    raw = part["raw"].encode() if part["raw"] is not None else None
    return SetAside(part["reason"], part["detail"], part["at"], change, raw, part["closed_by"])


def encode_watermark(wiki_id: str, complete_to: str, open_set_asides: int, gaps: tuple[tuple[str | None, str], ...]) -> bytes:
    """A partner's answer to "am I complete?": everything of the wiki up to that feed time (ISO) is published."""
    return orjson.dumps({"wiki_id": wiki_id, "complete_to": complete_to, "open_set_asides": open_set_asides, "gaps": gaps})
