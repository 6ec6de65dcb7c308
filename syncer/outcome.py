"""What is asked about a change, what was answered, and what can be decided: closed, frozen types. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from syncer.model import Page

if TYPE_CHECKING:
    from syncer.model import Answer, PageFacts, Prior, Redacted, Revision


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask a wiki: revisions, titles and page ids are asked in requests of their own."""

    rev_ids: frozenset[int] = frozenset()
    titles: frozenset[str] = frozenset()
    page_ids: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return bool(self.rev_ids or self.titles or self.page_ids)

    def __or__(self, other: Question) -> Question:
        """Both questions as one."""
        return Question(self.rev_ids | other.rev_ids, self.titles | other.titles, self.page_ids | other.page_ids)

    def __sub__(self, other: Question) -> Question:
        """What of this question the other did not ask."""
        return Question(self.rev_ids - other.rev_ids, self.titles - other.titles, self.page_ids - other.page_ids)


@dataclass(slots=True)
class Answers:
    """Everything one wiki answered in one batch; of a page answered for twice, the later answer counts."""

    asked: Question = field(default_factory=Question)
    pages: dict[int, Page] = field(default_factory=dict)
    bad_rev_ids: set[int] = field(default_factory=set)
    missing_titles: dict[str, int] = field(default_factory=dict)
    missing_page_ids: set[int] = field(default_factory=set)
    canonical: dict[str, str] = field(default_factory=dict)
    _page_of: dict[int, int] = field(default_factory=dict)
    _page_at: dict[str, int] = field(default_factory=dict)

    def add(self, question: Question, answer: Answer) -> None:
        """Take in the answer to a question."""
        self.asked |= question
        self.bad_rev_ids |= answer.bad_rev_ids
        self.missing_titles |= answer.missing_titles
        self.missing_page_ids |= answer.missing_page_ids
        self.canonical |= answer.canonical
        for page_id, page in answer.pages.items():
            before = self.pages.get(page_id)
            revisions = {**before.revisions, **page.revisions} if before else page.revisions
            self.pages[page_id] = Page(
                page_id=page_id, title=page.title, namespace=page.namespace, is_redirect=page.is_redirect,
                last_rev_id=page.last_rev_id, revisions=revisions,
            )  # fmt: skip
            self.missing_page_ids.discard(page_id)
            self._page_of.update((rev_id, page_id) for rev_id in page.revisions)
            self._page_at[page.title] = page_id

    def page_of(self, rev_id: int) -> Page | None:
        """The page a revision was answered with."""
        page_id = self._page_of.get(rev_id)
        return None if page_id is None else self.pages[page_id]

    def page_at(self, title: str) -> Page | None:
        """The page that was answered for a title, if it is still the one there."""
        page_id = self._page_at.get(title)
        return self.pages[page_id] if page_id is not None and self.pages[page_id].title == title else None


class SkipReason(StrEnum):
    """Why a change led to nothing."""

    NAMESPACE = "namespace"  # of a page that is not wanted, and was not known
    UNCHANGED = "unchanged"  # the wiki says what is published already
    PAGE_GONE = "page_gone"  # a page that does not exist and never was known
    INVALID_TITLE = "invalid_title"  # names no page: special, another wiki's, not allowed


@dataclass(frozen=True, slots=True)
class Remove:
    """The page is gone, or has left the scope."""

    page: PageFacts
    prior: Prior | None = None


@dataclass(frozen=True, slots=True)
class Bring:
    """The page is brought to a revision, or to other facts with the same one.

    ``revision`` is None where it is the published one and was not fetched again. ``gap``: whatever a reader has is replaced.
    """

    page: PageFacts
    prior: Prior | None
    revision: Revision | None
    gap: bool
    parent: Revision | None = None
    redacted: tuple[Redacted, ...] = ()


@dataclass(frozen=True, slots=True)
class Redact:
    """Only the visibility of revisions changed; ``revision`` is the current one, where its user or comment is concerned."""

    page: PageFacts
    revision: Revision | None
    redacted: tuple[Redacted, ...]


Step = Remove | Bring | Redact


@dataclass(frozen=True, slots=True)
class Publish:
    """These steps, in this order, each a mutation."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What the change was about is covered by an answer that is published."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing to do."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Aside:
    """The wiki's answer cannot be used."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Ask:
    """More has to be known."""

    question: Question


@dataclass(frozen=True, slots=True)
class Later:
    """Ask anew in a while. ``reason`` is what the change is set aside with if that never helps."""

    reason: str


Outcome = Publish | Merged | Skip | Aside | Ask | Later
