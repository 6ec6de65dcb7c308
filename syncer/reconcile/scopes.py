"""Which namespaces of a wiki are wanted, which were, and what follows where that is not the same. Pure.

A wiki that is not wanted has no namespaces. What was wanted when is kept in the journal beside enrich's progress, for as long as
wikis tell what happened: of a wiki that nothing was heard of before, nobody else knows whether anything of it was passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson

from syncer.config import WikiSettings
from syncer.feed import Scope
from syncer.reconciled import ALL, REACHES_BACK, SCOPE_JOB, Namespaces, Reconciled

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 100  # of what was wanted when; whoever changes that more often within a month is asked for too much


def both(one: Namespaces, other: Namespaces) -> Namespaces:
    """The namespaces that are in either."""
    if ALL in (one, other):
        return other if one == ALL else one
    return tuple(namespace for namespace in one if namespace in other)


def without(one: Namespaces, other: Namespaces) -> Namespaces:
    """The namespaces of one that are not in the other; all of them where these cannot be told apart from here."""
    if ALL in (one, other):
        return () if other == ALL else ALL
    return tuple(namespace for namespace in one if namespace not in other)


def sorted_out(namespaces: Iterable[int | str]) -> Namespaces:
    """Namespaces as the settings have them, in one form."""
    found = set(namespaces)
    return ALL if "*" in found else tuple(sorted(namespace for namespace in found if isinstance(namespace, int)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say since then (ISO)."""

    since: str
    settings: WikiSettings
    scope: Scope

    @classmethod
    def of(cls, since: str, settings: WikiSettings) -> Wanted:
        """From that moment on, these settings."""
        return cls(since, settings, Scope(settings))

    def namespaces(self, wiki_id: str, domain: str) -> Namespaces:
        """Those of a wiki that are wanted."""
        if not (self.scope.wanted(domain, wiki_id) and self.scope.allowed(domain)):
            return ()
        return sorted_out(self.settings.namespaces)


@dataclass(frozen=True, slots=True)
class Scopes:
    """What was wanted when, the last of it being so now."""

    entries: tuple[Wanted, ...]

    @classmethod
    def after(cls, kept: bytes | None, settings: WikiSettings, now: str) -> Scopes:
        """What was kept, and what the settings say now. A hub that kept nothing never wanted anything else."""
        entries = []
        for part in orjson.loads(kept) if kept else ():
            known = {name: value for name, value in part["wiki"].items() if name in WikiSettings.model_fields}
            entries.append(Wanted.of(part["since"], WikiSettings.model_validate(known)))
        if not entries or entries[-1].settings != settings:
            entries.append(Wanted.of(now, settings))
        ends = [*(seconds(entry.since) for entry in entries[1:]), seconds(now)]
        lasting = [entry for entry, end in zip(entries, ends, strict=True) if end >= seconds(now) - REACHES_BACK]
        return cls(tuple(lasting[-MOST:]))

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps([{"since": entry.since, "wiki": entry.settings.model_dump(mode="json")} for entry in self.entries])

    @property
    def now(self) -> Wanted:
        """What is wanted now."""
        return self.entries[-1]

    def begun(self, each: Reconciled) -> Reconciled:
        """A wiki of which no account was kept: what was not always wanted of it may be missing, or be too much."""
        scope, always = self.now.namespaces(each.wiki_id, each.domain), ALL
        for entry in self.entries:
            always = both(always, entry.namespaces(each.wiki_id, each.domain))
        leaving = 0 if len(self.entries) > 1 else None
        return replace(each, scope=scope, complete=always, leaving=leaving, since=self.now.since)

    def applied(self, each: Reconciled) -> Reconciled:
        """A wiki, with what is wanted of it now."""
        if each.scope is None:
            return self.begun(each)
        scope = self.now.namespaces(each.wiki_id, each.domain)
        if scope == each.scope:
            return each
        job = None if each.job and each.job.by == SCOPE_JOB else each.job
        return replace(each, scope=scope, complete=both(each.complete, scope), leaving=0, since=self.now.since, job=job)


@lru_cache(4096)  # every wiki's, looked at again and again
def seconds(moment: str) -> float:
    """A time in ISO 8601, in seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()
