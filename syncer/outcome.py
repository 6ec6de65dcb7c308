"""What is asked about a change, what was answered, and what can be decided: closed, frozen types. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncer.model import Answer, Page, PageFacts, Prior, Redacted, Revision


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask a wiki: revisions, titles and page ids are asked in requests of their own."""

    rev_ids: frozenset[int] = frozenset()
    titles: frozenset[str] = frozenset()
    page_ids: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return bool(self.rev_ids or self.titles or self.page_ids)

    def names(self, kind: str, value: int | str) -> bool:
        """Whether it asks for this value; ``kind`` is the name of a field."""
        return value in getattr(self, kind)

    def __or__(self, other: Question) -> Question:
        """Both questions as one."""
        return Question(self.rev_ids | other.rev_ids, self.titles | other.titles, self.page_ids | other.page_ids)

    def __sub__(self, other: Question) -> Question:
        """What of this question the other did not ask."""
        return Question(self.rev_ids - other.rev_ids, self.titles - other.titles, self.page_ids - other.page_ids)


@dataclass(slots=True)
class Answers:
    """Everything one wiki answered in one batch; of what was answered for twice, the later answer counts.

    ``torn`` are pages of which it may be the older one all the same: replicas lag, and each request may meet another.
    """

    asked: Question = field(default_factory=Question)
    pages: dict[int, Page] = field(default_factory=dict)
    bad_rev_ids: set[int] = field(default_factory=set)
    missing_titles: dict[str, int] = field(default_factory=dict)
    missing_page_ids: set[int] = field(default_factory=set)
    invalid_titles: set[str] = field(default_factory=set)
    canonical: dict[str, str] = field(default_factory=dict)
    torn: set[int] = field(default_factory=set)
    _page_of: dict[int, int] = field(default_factory=dict)
    _page_at: dict[str, int] = field(default_factory=dict)

    def add(self, question: Question, answer: Answer) -> None:
        """Take in the answer to a question."""
        self.asked |= question
        self.bad_rev_ids |= answer.bad_rev_ids
        self.invalid_titles |= answer.invalid_titles
        self.canonical |= answer.canonical
        self.torn |= answer.missing_page_ids & self.pages.keys()
        self.torn |= {page.page_id for title in answer.missing_titles if (page := self.page_at(title))}
        for page_id, page in answer.pages.items():
            before, rival = self.pages.get(page_id), self.page_at(page.title)
            unheard = page_id in self.missing_page_ids or page.title in self.missing_titles
            if unheard or (before and _contradict(before, page)):
                self.torn.add(page_id)
            if rival and rival.page_id != page_id:
                self.torn |= {page_id, rival.page_id}
            self.pages[page_id] = replace(page, revisions={**before.revisions, **page.revisions}) if before else page
            self._page_of.update((rev_id, page_id) for rev_id in page.revisions)
            self._page_at[page.title] = page_id
        self.missing_titles |= answer.missing_titles
        self.missing_page_ids |= answer.missing_page_ids

    def page_of(self, rev_id: int) -> Page | None:
        """The page a revision was answered with."""
        return self.pages.get(self._page_of.get(rev_id, 0))

    def page_at(self, title: str) -> Page | None:
        """The page that was answered for a title, if it is still the one there."""
        page = self.pages.get(self._page_at.get(title, 0))
        return page if page and page.title == title else None


def _contradict(before: Page, after: Page) -> bool:
    """Whether a later answer cannot simply be what became of the page since the one before."""
    seen = before.revisions.keys() & after.revisions.keys()
    return (
        after.last_rev_id < before.last_rev_id
        or (after.last_rev_id == before.last_rev_id and (after.title, after.is_redirect) != (before.title, before.is_redirect))
        or any(before.revisions[rev_id].visibility != after.revisions[rev_id].visibility for rev_id in seen)
    )


class SkipReason(StrEnum):
    """Why a change led to nothing."""

    NAMESPACE = "namespace"  # of a page that is not wanted, and was not known
    UNCHANGED = "unchanged"  # the wiki says what is published already
    PAGE_GONE = "page_gone"  # a page that does not exist and never was known
    NOT_INCLUDED = "not_included"  # of a wiki that is not wanted any more
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
    """Ask anew in a while, not before ``until`` (seconds since the epoch). ``reason``: set aside with that if it never helps."""

    reason: str
    until: float = 0.0


Outcome = Publish | Merged | Skip | Aside | Ask | Later
