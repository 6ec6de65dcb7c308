"""Which pages are looked at though nothing is known to have happened to them: all in turn, and some at random.

A suppression, a partial merge, a user who is hidden or renamed: no stream and no list names the pages (PROTOCOL c, i). The sweep
finds in the end whatever else was missed, too.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from syncer.config import HOUR
from syncer.fetch import MOST_VALUES

if TYPE_CHECKING:
    from collections.abc import Collection

    from syncer.config import ReconcileSettings
    from syncer.store.seen import Seen

SWEEP, SAMPLE = "sweep", "sample"


@dataclass(slots=True)
class Rounds:
    """``samples`` are the wikis of which some pages are due. ``plan``, ``pages`` and ``done`` in the store's thread.

    Times are seconds since the epoch.
    """

    settings: ReconcileSettings
    seen: Seen
    samples: set[str] = field(default_factory=set)
    _next: str | None = None  # the wiki to sweep
    _sweep_at: float | None = None

    def time_to_plan(self, now: float) -> bool:
        """Whether it is time for the next sweep; not at once, for whoever was away has better to do."""
        if self._sweep_at is None:
            self._sweep_at = self._later(now)
        return now >= self._sweep_at

    def plan(self, wikis: Collection[str], now: float) -> None:
        """Choose the wiki that is swept next. One that was chosen before and did not answer gives way."""
        self.seen.enroll(now)
        self._next = self.seen.longest_ago(wiki_id for wiki_id in wikis if wiki_id != self._next or len(wikis) == 1)

    def due(self, wiki_id: str) -> str | None:
        """What a wiki is to be asked for, if anything."""
        if wiki_id in self.samples and self.settings.sample:
            return SAMPLE
        return SWEEP if wiki_id == self._next else None

    def pages(self, by: str, wiki_id: str, now: float) -> list[int]:
        """The pages to look at."""
        if by == SAMPLE:
            return self.seen.some(wiki_id, self.settings.sample, random.random())  # noqa: S311 - keeps no secret
        return self.seen.unseen(wiki_id, MOST_VALUES, now)

    def done(self, by: str, wiki_id: str, page_ids: Collection[int], now: float) -> None:
        """They were."""
        self.seen.saw(wiki_id, page_ids, now)
        if by == SAMPLE:
            self.samples.discard(wiki_id)
        else:
            self._next, self._sweep_at = None, self._later(now)

    def _later(self, now: float) -> float:
        return now + HOUR / self.settings.sweep_per_hour if self.settings.sweep_per_hour else math.inf
