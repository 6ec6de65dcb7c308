"""What of a wiki was published in an hour, as a record of ``manifests``: by it a partner knows that nothing is missing. Pure.

A manifest covers the records of its wiki from one offset to another; the next one goes on there, and names the one before. Its
hash is over a line a record, in the order of offsets: the key, a space, the hex SHA-256 of the value, a line feed. In a journal
that is rewritten, the value is hashed behind its salt, and a record that was erased has the hash of what was published in a
header: without the salt, nothing can be guessed from that.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from syncer.progress import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.reconciled import Gap

SCHEMA: Final = "manifest/1.0.0"
DIGEST: Final = "published_sha256"  # header of a record that was erased in place
SIGNATURE: Final = "signature"  # header: hex, Ed25519, over the value as it stands there
PUBLIC_KEY: Final = "public_key"  # header: hex, which key to check that with
HOUR: Final = 3600  # seconds

MARK_KEY: Final = "manifests"  # of a partition's record in ``progress``: up to where manifests are made


def tally_key(wiki_id: str) -> str:
    """The key of a wiki's record in ``progress``."""
    return f"tally:{wiki_id}"


def digest(value: bytes, headers: Mapping[str, str], salt: str) -> str:
    """The hex SHA-256 of a record's value as it was published."""
    return headers.get(DIGEST) or hashlib.sha256(salt.encode() + value).hexdigest()


class Named(NamedTuple):
    """Which manifest: that of this hour (ISO 8601, its start), whose value has this hex SHA-256."""

    hour: str
    sha256: str


@dataclass(slots=True)
class Span:
    """Records of one wiki, taken in the order of their offsets; the mutations among them by kind."""

    records: int = 0
    first: int | None = None
    last: int | None = None
    mutations: Counter[str] = field(default_factory=Counter)
    _hash: Any = field(default_factory=hashlib.sha256)

    def take(self, offset: int, key: str, kind: str, digested: str) -> None:
        """The next one."""
        self._hash.update(f"{key} {digested}\n".encode())
        self.first, self.last = (offset if self.first is None else self.first), offset
        self.mutations[kind] += 1
        self.records += 1

    @property
    def sha256(self) -> str:
        """The hash over all of them."""
        found: str = self._hash.hexdigest()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The records of a wiki with ``start`` <= offset < ``to``, and what became of its changes meanwhile.

    ``hour`` is the one that had ended when it was made, and no two of a wiki have the same. ``previous`` is the one before,
    None with the first. ``gaps`` are the spans of feed time known to be missing.
    """

    journal: str
    wiki_id: str
    hour: str
    made_at: str
    partition: int
    start: int
    to: int
    records: int
    first: int | None
    last: int | None
    sha256: str
    mutations: Mapping[str, int]
    outcomes: Mapping[str, Any]
    gaps: tuple[Gap, ...]
    previous: Named | None

    @property
    def key(self) -> str:
        """The key of its record."""
        return f"{self.wiki_id}:{self.hour}"


def encode(manifest: Manifest) -> bytes:
    """As the value of a record: what is signed."""
    value = {name: getattr(manifest, name) for name in manifest.__dataclass_fields__ if name not in {"start", "previous"}}
    previous = manifest.previous and manifest.previous._asdict()
    return orjson.dumps({"schema": SCHEMA, **value, "from": manifest.start, "previous": previous})


def decode(value: bytes) -> Manifest:
    """Read what :func:`encode` wrote. Raises KeyError, TypeError or ValueError on anything else."""
    part = orjson.loads(value)
    if not part["schema"].startswith("manifest/1."):
        raise ValueError(f"schema {part['schema']}")
    return Manifest(
        journal=part["journal"],
        wiki_id=part["wiki_id"],
        hour=part["hour"],
        made_at=part["made_at"],
        partition=part["partition"],
        start=part["from"],
        to=part["to"],
        records=part["records"],
        first=part["first"],
        last=part["last"],
        sha256=part["sha256"],
        mutations=part["mutations"],
        outcomes=part["outcomes"],
        gaps=tuple((start, end) for start, end in part["gaps"]),
        previous=_named(part["previous"]),
    )


def named(manifest: Manifest, value: bytes) -> Named:
    """What the next manifest calls the one with this value."""
    return Named(manifest.hour, hashlib.sha256(value).hexdigest())


def _named(part: Mapping[str, str] | None) -> Named | None:
    return Named(part["hour"], part["sha256"]) if part else None


@dataclass(slots=True)
class Tally:
    """What became of a wiki's changes since its last manifest, which covers the records before ``to``.

    ``cut`` is the part of it that a manifest is being made of; who dies over that has ``counts`` again.
    """

    counts: Counts = field(default_factory=Counts)
    cut: Counts = field(default_factory=Counts)
    to: int | None = None
    previous: Named | None = None

    def told(self, manifest: Manifest, value: bytes) -> None:
        """The manifest is made."""
        self.cut, self.to, self.previous = Counts(), manifest.to, named(manifest, value)

    def encode(self) -> bytes:
        """As JSON, for the journal."""
        previous = self.previous and self.previous._asdict()
        return orjson.dumps({"counts": (self.counts + self.cut).told(), "to": self.to, "previous": previous})

    @classmethod
    def decode(cls, value: bytes) -> Tally:
        """Read what :meth:`encode` wrote."""
        part = orjson.loads(value)
        return cls(Counts.read(part["counts"]), to=part["to"], previous=_named(part["previous"]))


class Mark(NamedTuple):
    """Up to where the manifests of a partition are made: for this hour, and the records before ``to``; with which public key."""

    hour: str
    to: int
    signed_with: str = ""

    def encode(self) -> bytes:
        """As JSON, for the journal."""
        return orjson.dumps(self._asdict())

    @classmethod
    def decode(cls, value: bytes) -> Mark:
        """Read what :meth:`encode` wrote."""
        part = orjson.loads(value)
        return cls(part["hour"], part["to"], part["signed_with"])
