"""What is asked of the wikis, and what an answer has led to so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.fetch import Listing, Span
    from syncer.model import Answer, Change, Site
    from syncer.reconciled import Job


class Api(Protocol):
    """What is asked of the wikis; see :class:`syncer.fetch.WikiApi`."""

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock is ahead of the wikis'."""

    async def glance(self, wiki_id: str, domain: str, *, titles: Sequence[str] = (), page_ids: Sequence[int] = ()) -> Answer:
        """Ask for pages as they are now, but for their texts."""

    async def listed(self, wiki_id: str, domain: str, name: str, span: Span, more: str | None) -> Listing:
        """Ask for a page of a list."""

    async def site(self, wiki_id: str, domain: str) -> Site:
        """Ask the wiki about itself."""


@dataclass(slots=True)
class Found:
    """A page of a list on its way: what was found on it, what has to be looked at yet, and the job that follows."""

    job: Job
    following: Job | None
    changes: list[Change]
    titles: list[str]
    asked: int = 1
