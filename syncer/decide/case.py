"""What a decision looks at: the pages as published, the settings, and a change while it is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from syncer.model import Cause
from syncer.outcome import Question

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncer.model import Change, Page, PageState, RevisionFacts, Visibility
    from syncer.outcome import Answers

REVISION_CAUSES = frozenset({Cause.EDIT, Cause.CREATE})


class View(Protocol):
    """The pages of one wiki as they are published, and its ledger of hidden revisions."""

    def page(self, page_id: int) -> PageState | None:
        """The page of that id, deleted ones included."""

    def page_at(self, title: str) -> PageState | None:
        """The live page that holds the title."""

    def was_at(self, title: str) -> bool:
        """Whether a page last seen at the title is known to be gone."""

    def has_text(self, page_id: int) -> bool:
        """Whether the page's current text is at hand."""

    def hidden(self, rev_ids: Iterable[int]) -> Mapping[int, Visibility]:
        """Those of the revisions that the ledger holds."""

    def settled_at(self, page_id: int) -> float:
        """When something was last published of the page, in seconds since the epoch; a later time where that is not known."""

    def missed_at(self, page_id: int, title: str) -> float:
        """When there was last found to be no such page, or none at the title, in the same way; 0 if never."""


class Wikis(Protocol):
    """Which wikis are wanted, and which may be asked; see :class:`syncer.feed.Scope`."""

    def wanted(self, domain: str, wiki_id: str, /) -> bool:
        """Whether the settings name the wiki."""

    def allowed(self, domain: str, /) -> bool:
        """Whether it may be asked."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision depends on beside the change. ``namespaces`` and ``wikis`` None are all; ``now`` in seconds since the
    epoch, by the wikis' clock.

    An answer may be from up to ``young`` seconds before it was asked for (PROTOCOL 22).
    """

    namespaces: frozenset[int] | None
    parents: bool
    young: float
    now: float
    wikis: Wikis | None = None

    def included(self, change: Change) -> bool:
        """Whether a change is of a wiki that is wanted."""
        return self.wikis is None or self.wikis.wanted(change.domain, change.wiki_id)

    def keeps(self, change: Change, namespace: int) -> bool:
        """Whether pages of that namespace are kept, of the wiki of a change."""
        allowed = self.wikis is None or self.wikis.allowed(change.domain)
        return allowed and self.included(change) and self.in_scope(namespace)

    def in_scope(self, namespace: int) -> bool:
        """Whether pages of that namespace are wanted."""
        return self.namespaces is None or namespace in self.namespaces


@dataclass(slots=True)
class Case:
    """A change while it is decided: its subjects, by id, found so far, and what has to be asked yet.

    ``lost_titles`` are those at which there is no page, with their namespaces; ``invalid``: one can name none.
    """

    change: Change
    answers: Answers
    view: View
    context: Context
    subjects: dict[int, None] = field(default_factory=dict)
    lost_titles: dict[str, int] = field(default_factory=dict)
    invalid: bool = False
    rev_ids: set[int] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)
    page_ids: set[int] = field(default_factory=set)

    @property
    def open(self) -> Question:
        """What has to be asked."""
        return Question(frozenset(self.rev_ids), frozenset(self.titles), frozenset(self.page_ids))

    @property
    def event_at(self) -> float:
        """When the event was, in seconds since the epoch: as it says, unless that is yet to come; else as it was received."""
        source = self.change.source
        said = datetime.fromisoformat(source.event_time).timestamp()
        if said <= self.context.now + self.context.young:
            return said
        return min(said, datetime.fromisoformat(source.received_at).timestamp())

    @property
    def young(self) -> bool:
        """Whether an answer may be from before the event."""
        return self.context.now < self.event_at + self.context.young

    def live(self) -> list[Page]:
        """The subjects that exist."""
        return [page for page_id in self.subjects if (page := self.answers.pages.get(page_id))]

    def wanted(self) -> list[Page]:
        """Those of them that are in scope."""
        return [page for page in self.live() if self.context.in_scope(page.namespace)]

    def published(self, page_id: int) -> RevisionFacts | None:
        """The published revision of a page; None where none is, or the page is gone."""
        state = self.view.page(page_id)
        return state.revision if state and state.live else None
