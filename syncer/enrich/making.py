"""What is made of a batch while it is settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from syncer.model import Site
from syncer.outcome import Remove

if TYPE_CHECKING:
    from collections.abc import Collection

    from syncer.compose import Frame
    from syncer.enrich.view import WikiView
    from syncer.journal import Record
    from syncer.model import Mutation
    from syncer.outcome import Publish

NOBODY = Site(None, {}, "")  # where no answer is composed, nothing is told of the wiki


@dataclass(slots=True)
class Making:
    """A batch while it is settled: what was folded, and what is to be appended, mutations first and in their order."""

    partition: int
    view: WikiView
    frame: Frame
    mutations: list[Mutation] = field(default_factory=list)
    published: list[Record] = field(default_factory=list)
    others: list[Record] = field(default_factory=list)
    whole: set[int] = field(default_factory=set)  # pages of which the whole text is among them

    def redacts_its_own(self, publish: Publish, left: Collection[int]) -> bool:
        """Whether the steps recall or erase records of this very batch, whose offsets are not known before it is committed."""
        own = {told.rev_id for mutation in self.mutations for told in (mutation.revision, mutation.base) if told}
        pages = {mutation.page.page_id for mutation in self.mutations}
        if not pages.isdisjoint(left) or any(isinstance(step, Remove) and step.page.page_id in pages for step in publish.steps):
            return True
        redacted = (entry.rev_id for step in publish.steps if not isinstance(step, Remove) for entry in step.redacted)
        return not own.isdisjoint(redacted)
