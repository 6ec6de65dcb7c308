"""Wikis that do not answer: left in peace, then taken out of the way, probed, and their changes replayed. Only bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from syncer.errors import Forbidden, Refused

if TYPE_CHECKING:
    from syncer.config import EnrichSettings
    from syncer.errors import WikiUnavailable

UNAVAILABLE = "wiki_unavailable"  # the reason of what is set aside while a wiki is out of the way
FORBIDDEN_BY = 2  # wikis that answer 403 before it is us who are blocked (DESIGN 7)
STAYS = 60.0  # seconds of failing before many changes waiting are a reason: one maxlag in a backlog is none


@dataclass(slots=True)
class Outages:
    """Which wikis are out of the way, and when each is probed next, in seconds of the loop's clock."""

    settings: EnrichSettings
    _forbidden: set[str] = field(default_factory=set)
    _probe_at: dict[str, float] = field(default_factory=dict)

    @property
    def out(self) -> frozenset[str]:
        """The wikis out of the way."""
        return frozenset(self._probe_at)

    def answered(self, wiki_id: str) -> None:
        """The wiki answered after all."""
        self._forbidden.discard(wiki_id)
        self._probe_at.pop(wiki_id, None)

    def failed(self, wiki_id: str, error: WikiUnavailable) -> None:
        """Note a failure. Raises Refused when it is not the wiki but us."""
        if isinstance(error, Forbidden):
            self._forbidden.add(wiki_id)
        if len(self._forbidden) >= FORBIDDEN_BY:
            raise Refused(f"403 from {' and '.join(sorted(self._forbidden))}: {error}", hint=error.hint) from error

    def broken(self, waiting: int, seconds: float) -> bool:
        """Whether a wiki that has failed for so long, with so many changes waiting, is to be taken out of the way."""
        longest = self.settings.unavailable_minutes * 60
        return seconds >= longest or (seconds >= min(STAYS, longest) and waiting > self.settings.unavailable_changes)

    def take_out(self, wiki_id: str, probe_at: float) -> None:
        """Take a wiki out of the way until it answers a probe."""
        self._probe_at[wiki_id] = probe_at

    def put_off(self, wiki_id: str, now: float) -> None:
        """Probe it, or probe it again, later."""
        self.take_out(wiki_id, now + self.settings.probe_minutes * 60)

    def due(self, now: float) -> list[str]:
        """The wikis to probe now."""
        return [wiki_id for wiki_id, at in self._probe_at.items() if at <= now]
