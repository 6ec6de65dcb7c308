"""How far each wiki is reconciled, as the journal keeps it beside enrich's progress. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

REACHES_BACK = 30 * 86_400  # seconds; what a wiki's recent changes go back (PROTOCOL 26)

SCOPE_KEY = "scope"  # of the record of what was wanted when
SCOPE_JOB = "scope"  # by what is gone through that was not wanted before

Namespaces = tuple[int | str, ...]  # in their order; none where a wiki is not wanted
ALL: Namespaces = ("*",)

Gap = tuple[str | None, str]  # a span of feed time known to be missing, ISO 8601; without a start, everything before


def reconciled_key(wiki_id: str) -> str:
    """The key of a wiki's record in ``progress``."""
    return f"reconciled:{wiki_id}"


class Job(NamedTuple):
    """A span of time that is gone through: first the ``recentchanges`` of a wiki, then its ``logevents``.

    ``by`` is ``gap``, ``window`` or ``scope``, ``more`` where in the list it goes on; ``gap`` is what is filled by it. By
    ``scope`` it is about ``namespaces``, if not about all, and about ``pages`` last: published once, and not now.
    """

    by: str
    start: str
    end: str
    listed: str = "recentchanges"
    more: str | None = None
    gap: Gap | None = None
    namespaces: tuple[int, ...] = ()


@dataclass(slots=True)
class Reconciled:
    """One wiki's. Up to ``window_to`` (ISO) windows were gone through, ``filled`` are the gaps that are closed.

    ``scope`` is what is wanted of it, ``since`` when (ISO); None if no account was kept. ``complete`` of it are the namespaces of
    which everything is published. ``leaving``: up to which page id it was looked for what is not wanted any more; None: all.

    ``found`` counts the changes appended, ``asked`` the requests, by what they were for: gap, window, sweep, sample.
    """

    wiki_id: str
    domain: str
    window_to: str
    filled: tuple[Gap, ...] = ()
    job: Job | None = None
    found: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    scope: Namespaces | None = None
    complete: Namespaces = ()
    leaving: int | None = None
    since: str = ""

    @property
    def rescoping(self) -> bool:
        """Whether it is not yet as it is wanted."""
        return self.leaving is not None or self.complete != (self.scope or ())

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(
            {
                "wiki_id": self.wiki_id,
                "domain": self.domain,
                "window_to": self.window_to,
                "filled": self.filled,
                "job": self.job and self.job._asdict(),
                "found": self.found,
                "asked": self.asked,
                "scope": self.scope,
                "complete": self.complete,
                "leaving": self.leaving,
                "since": self.since,
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> Reconciled:
        """Read what :meth:`encode` wrote."""
        part = orjson.loads(value)
        job = part["job"]
        if job:
            job = Job(**{**job, "gap": job["gap"] and tuple(job["gap"]), "namespaces": tuple(job.get("namespaces", ()))})
        filled = tuple((start, end) for start, end in part["filled"])
        found, asked = Counter(part["found"]), Counter(part["asked"])
        each = cls(part["wiki_id"], part["domain"], part["window_to"], filled, job, found, asked)
        if part.get("scope") is not None:
            each.scope, each.complete = tuple(part["scope"]), tuple(part["complete"])
            each.leaving, each.since = part["leaving"], part["since"]
        return each
