"""A wiki's pages as decisions see them."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncer.model import PageState, Visibility
    from syncer.store import Store


@dataclass(slots=True)
class Recent:
    """When pages, by id, were published of or found missing last, and titles empty; for ``horizon`` seconds. Times of the epoch.

    What was before ``since`` is not known: it may have been just before. It is the first moment that was noted by the wikis'
    clock, of which the first answer tells.
    """

    horizon: float
    since: float = math.inf
    _at: OrderedDict[tuple[str, int | str], float] = field(default_factory=OrderedDict)

    def note(self, wiki_id: str, page: int | str, now: float) -> None:
        """That is now."""
        self._at[wiki_id, page] = now
        self._at.move_to_end((wiki_id, page))
        while next(iter(self._at.values())) < now - self.horizon:
            self._at.popitem(last=False)

    def at(self, wiki_id: str, page: int | str) -> float | None:
        """When that was; None if not lately, and not since ``since``."""
        return self._at.get((wiki_id, page))


@dataclass(frozen=True, slots=True)
class WikiView:
    """One wiki's pages in the store; see :class:`syncer.decide.View`.

    A decision looks at the same pages again and again: what was read is kept until ``changed`` says that it may not be so any
    more.
    """

    store: Store
    recent: Recent
    wiki_id: str
    _pages: dict[int, PageState | None] = field(default_factory=dict)
    _titles: dict[str, PageState | None] = field(default_factory=dict)

    def changed(self) -> None:
        """Something was folded."""
        self._pages.clear()
        self._titles.clear()

    def page(self, page_id: int) -> PageState | None:
        """The page of that id."""
        if page_id not in self._pages:
            self._pages[page_id] = self.store.page(self.wiki_id, page_id)
        return self._pages[page_id]

    def page_at(self, title: str) -> PageState | None:
        """The live page that holds a title."""
        if title not in self._titles:
            state = self._titles[title] = self.store.page_at(self.wiki_id, title)
            if state:
                self._pages[state.page_id] = state
        return self._titles[title]

    def was_at(self, title: str) -> bool:
        """Whether a page last seen there is known to be gone."""
        return self.store.was_at(self.wiki_id, title)

    def has_text(self, page_id: int) -> bool:
        """Whether its text is at hand."""
        return self.store.has_text(self.wiki_id, page_id)

    def hidden(self, rev_ids: Iterable[int]) -> Mapping[int, Visibility]:
        """Those of the revisions of which something is hidden."""
        return self.store.hidden(self.wiki_id, rev_ids)

    def settled_at(self, page_id: int) -> float:
        """When something was last published of the page."""
        return self.recent.at(self.wiki_id, page_id) or self.recent.since

    def missed_at(self, page_id: int, title: str) -> float:
        """When there was found to be no such page, or none at the title."""
        known = (self.recent.at(self.wiki_id, page_id) or 0.0, self.recent.at(self.wiki_id, title) or 0.0)
        return max(known) or (self.recent.since if self.was_at(title) else 0.0)

    def recall(self, rev_id: int) -> tuple[tuple[int, int], ...]:
        """Which published records hold a revision."""
        return self.store.recall(self.wiki_id, rev_id)

    def holders(self, rev_ids: Iterable[int]) -> set[int]:
        """The pages of which published records hold one of the revisions."""
        return self.store.holders(self.wiki_id, rev_ids)
