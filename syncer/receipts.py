"""What a mirror says of itself and of what it has honoured, as records of ``receipts``, and what these say together. Pure.

    presence   a mirror lives, and takes these wikis and namespaces         key <mirror>
    receipt    it has erased what this mutation hides, or the page          key <mirror>:<partition>:<offset>

A mirror appends a receipt once its own file holds nothing more of it, maybe twice after a crash: readers fold by key. The hub is
its own first partner, under the id ``hub``; so there is a receipt of everything that has to be honoured.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from syncer.model import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from syncer.model import Mutation

SCHEMA: Final = "receipt/1.0.0"
HUB: Final = "hub"


@dataclass(frozen=True, slots=True)
class Presence:
    """That a mirror lived at a time (ISO). ``wikis`` are globs, ``namespaces`` numbers or ``*``, both as in its settings."""

    mirror: str
    name: str | None
    wikis: tuple[str, ...]
    namespaces: tuple[int | str, ...]
    seen_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a mutation asks to be erased: all that it hides of these revisions, or with a delete everything of the page.

    ``prior_namespace``: of the one that the page left with this mutation. ``honoured_at``: ISO time.
    """

    wiki_id: str
    page_id: int | None
    namespace: int
    prior_namespace: int | None
    kind: str
    revisions: tuple[int, ...]
    partition: int
    offset: int
    mirror: str = ""
    honoured_at: str = ""

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.mirror}:{self.partition}:{self.offset}"


def owed(mutation: Mutation, partition: int, offset: int) -> Receipt | None:
    """What is to be honoured of the mutation that stands there; ``mirror`` and ``honoured_at`` are to be filled in."""
    hidden = tuple(entry.rev_id for entry in mutation.redacted if not entry.visibility.full)
    if not hidden and mutation.kind is not Kind.DELETE:
        return None
    page = mutation.page
    return Receipt(
        wiki_id=mutation.wiki_id,
        page_id=page.page_id,
        namespace=page.namespace,
        prior_namespace=mutation.prior.namespace if mutation.prior else None,
        kind=mutation.kind.value,
        revisions=hidden,
        partition=partition,
        offset=offset,
    )


def encode(told: Presence | Receipt) -> bytes:
    """As the value of a record."""
    return orjson.dumps({"schema": SCHEMA, **{name: getattr(told, name) for name in told.__dataclass_fields__}})


def decode(value: bytes) -> Presence | Receipt:
    """Read what :func:`encode` wrote, or a partner's own program. Raises KeyError, TypeError or ValueError on anything else."""
    part = orjson.loads(value)
    if not part["schema"].startswith("receipt/1."):
        raise ValueError(f"schema {part['schema']}")
    if "offset" not in part:
        presence = Presence(part["mirror"], part.get("name"), tuple(part["wikis"]), tuple(part["namespaces"]), part["seen_at"])
        _check(texts=(presence.mirror, presence.seen_at, presence.name or "", *presence.wikis))
        return presence
    receipt = Receipt(
        wiki_id=part["wiki_id"],
        page_id=part["page_id"],
        namespace=part["namespace"],
        prior_namespace=part.get("prior_namespace"),
        kind=part["kind"],
        revisions=tuple(part["revisions"]),
        partition=part["partition"],
        offset=part["offset"],
        mirror=part["mirror"],
        honoured_at=part["honoured_at"],
    )
    _check(
        texts=(receipt.mirror, receipt.wiki_id, receipt.kind, receipt.honoured_at),
        numbers=(receipt.partition, receipt.offset, receipt.namespace, *receipt.revisions),
    )
    return receipt


def _check(*, texts: Iterable[object] = (), numbers: Iterable[object] = ()) -> None:
    """Raise ValueError where something is of another type: anybody's program may write here."""
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise ValueError("of another type")


@dataclass(slots=True)
class MirrorState:
    """One mirror: what it said of itself last, if anything, and what it has honoured, by place."""

    presence: Presence | None = None
    honoured: dict[tuple[int, int], Receipt] = field(default_factory=dict)

    def concerned(self, receipt: Receipt) -> bool:
        """Whether the mirror takes what it is about, as far as it has said."""
        if self.presence is None:
            return True
        wikis, namespaces = self.presence.wikis, self.presence.namespaces
        wanted = "*" in namespaces or receipt.namespace in namespaces or receipt.prior_namespace in namespaces
        return wanted and any(fnmatch.fnmatchcase(receipt.wiki_id, pattern) for pattern in wikis)


@dataclass(slots=True)
class Standing:
    """Who has honoured what. ``asked`` is everything that has to be honoured, by place, as whoever was first has told of it."""

    asked: dict[tuple[int, int], Receipt] = field(default_factory=dict)
    mirrors: dict[str, MirrorState] = field(default_factory=dict)
    unreadable: int = 0

    def take(self, values: Iterable[bytes]) -> None:
        """Take in records, in any order of the partitions."""
        for value in values:
            try:
                told = decode(value)
            except (KeyError, TypeError, ValueError, AttributeError):
                self.unreadable += 1  # anybody's program may write here
                continue
            if isinstance(told, Presence):
                self.mirrors.setdefault(told.mirror, MirrorState()).presence = told
                continue
            place = told.partition, told.offset
            known = self.asked.get(place)
            if known is None or (told.mirror == HUB and (known.mirror != HUB or told.honoured_at < known.honoured_at)):
                self.asked[place] = told  # the first word of the hub: whoever took over has said it again
            if told.mirror != HUB:
                self.mirrors.setdefault(told.mirror, MirrorState()).honoured[place] = told

    def missing(self, mirror: str) -> Sequence[Receipt]:
        """What a mirror has not honoured yet, of what concerns it; oldest first by the hub's time."""
        state = self.mirrors[mirror]
        found = (asked for place, asked in self.asked.items() if place not in state.honoured and state.concerned(asked))
        return sorted(found, key=lambda asked: (asked.honoured_at, asked.partition, asked.offset))

    def summary(self) -> Mapping[str, Any]:
        """By mirror, and by what somebody has not honoured: as ``redactions status --json`` tells it."""
        missing = {mirror: self.missing(mirror) for mirror in sorted(self.mirrors)}
        open_: dict[tuple[int, int], list[str]] = {}
        for mirror, receipts in missing.items():
            for receipt in receipts:
                open_.setdefault((receipt.partition, receipt.offset), []).append(mirror)
        return {
            "redactions": len(self.asked),
            "mirrors": [self._mirror(mirror, missing[mirror]) for mirror in missing],
            "open": [_open(self.asked[place], mirrors) for place, mirrors in sorted(open_.items())],
            "unreadable": self.unreadable,
        }

    def _mirror(self, mirror: str, missing: Sequence[Receipt]) -> dict[str, Any]:
        state = self.mirrors[mirror]
        presence = state.presence
        return {
            "mirror": mirror,
            "name": presence.name if presence else None,
            "wikis": presence.wikis if presence else None,
            "namespaces": presence.namespaces if presence else None,
            "honoured": len(state.honoured),
            "open": len(missing),
            "oldest_open": missing[0].honoured_at if missing else None,
            "last_receipt": max((receipt.honoured_at for receipt in state.honoured.values()), default=None),
            "seen_at": presence.seen_at if presence else None,
        }


def _open(asked: Receipt, mirrors: Sequence[str]) -> dict[str, Any]:
    return {
        "wiki_id": asked.wiki_id,
        "page_id": asked.page_id,
        "kind": asked.kind,
        "revisions": asked.revisions,
        "partition": asked.partition,
        "offset": asked.offset,
        "since": asked.honoured_at,
        "not_honoured_by": mirrors,
    }
