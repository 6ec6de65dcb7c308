"""A wiki as two dictionaries, which answers as the API client does. For tests that say exactly what there is."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from syncer.model import Answer, Page, Revision, Site, Visibility

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncer.outcome import Question

TIME = "2026-11-24T02:43:53Z"
SITE = Site(None, {"": 0, "talk": 1, "user": 2}, "https://en.wikipedia.org/wiki/$1")
NAMESPACES = {"Talk": 1, "User": 2, "Lab Wiki": 4, "Project": 4, "File": 6, "MediaWiki": 8}


def text_of(rev_id: int) -> str:
    """The text of a revision: much of it is that of every other one."""
    return "== Heading ==\n" + "A line like all the others.\n" * 12 + f"This is revision {rev_id}.\n"


@dataclass
class World:
    """Pages by id, and revisions with the page they are of."""

    pages: dict[int, Page] = field(default_factory=dict)
    revisions: dict[int, tuple[int, Revision]] = field(default_factory=dict)

    def copy(self) -> World:
        return deepcopy(self)

    def page(self, page_id: int, title: str, *rev_ids: int, redirect: bool = False, **facts: Any) -> World:
        """A page, with new revisions of these ids, each the next one's parent; the last is the current one."""
        before = self.pages.get(page_id)
        parent = before.last_rev_id if before else 0
        for rev_id in rev_ids:
            self.revision(rev_id, page_id, rev_parent_id=parent, **facts)
            parent = rev_id
        namespace = NAMESPACES.get(title.partition(":")[0], 0)
        self.pages[page_id] = Page(
            page_id=page_id, title=title, namespace=namespace, is_redirect=redirect, last_rev_id=parent
        )  # fmt: skip
        return self

    def revision(self, rev_id: int, page_id: int, *, text: str | None = None, bits: int = 0, **facts: Any) -> World:
        """A revision. ``bits`` hide parts of it; its text tells which it is, unless one is given."""
        shown = Visibility.from_bits(bits)
        raw = (text_of(rev_id) if text is None else text).encode()
        revision = Revision(
            rev_id=rev_id,
            rev_parent_id=0,
            timestamp=TIME,
            size=len(raw),
            content_model="wikitext",
            text=raw if shown.text else None,
            sha1=hashlib.sha1(raw, usedforsecurity=False).hexdigest() if shown.text else None,
            editor=f"editor of {rev_id}" if shown.user else None,
            comment=f"comment on {rev_id}" if shown.comment else None,
            visibility=shown,
        )
        self.revisions[rev_id] = (page_id, replace(revision, **facts))
        return self

    def hide(self, rev_id: int, bits: int) -> World:
        """Give a revision these bits."""
        page_id, before = self.revisions[rev_id]
        return self.revision(rev_id, page_id, bits=bits, rev_parent_id=before.rev_parent_id, timestamp=before.timestamp)

    def move(self, page_id: int, title: str, rev_id: int, redirect_id: int | None = None) -> World:
        """Move a page, leaving a redirect (of the revision after) under that id."""
        old = self.pages[page_id].title
        self.page(page_id, title, rev_id)
        return self.page(redirect_id, old, rev_id + 1, redirect=True) if redirect_id else self

    def delete(self, page_id: int) -> World:
        """A page and all its revisions are gone."""
        del self.pages[page_id]
        self.revisions = {rev_id: one for rev_id, one in self.revisions.items() if one[0] != page_id}
        return self

    # -- answers -----------------------------------------------------------------------------------------------------

    def of_revisions(self, rev_ids: Iterable[int]) -> Answer:
        found: dict[int, dict[int, Revision]] = {}
        bad = set()
        for rev_id in rev_ids:
            page_id, revision = self.revisions.get(rev_id, (0, None))
            if revision is None or page_id not in self.pages:
                bad.add(rev_id)
            else:
                found.setdefault(page_id, {})[rev_id] = revision
        pages = {page_id: replace(self.pages[page_id], revisions=revisions) for page_id, revisions in found.items()}
        return Answer(pages=pages, bad_rev_ids=frozenset(bad))

    def of_page_ids(self, page_ids: Iterable[int]) -> Answer:
        asked = set(page_ids)
        pages = {page_id: self._current(self.pages[page_id]) for page_id in asked & self.pages.keys()}
        return Answer(pages=pages, missing_page_ids=frozenset(asked - self.pages.keys()))

    def of_titles(self, titles: Iterable[str]) -> Answer:
        at = {page.title: page for page in self.pages.values()}
        pages, missing, canonical, invalid = {}, {}, {}, set()
        for title in titles:
            name = title.replace("_", " ")
            name = name[:1].upper() + name[1:]
            if name.startswith("Special:"):
                invalid.add(title)
                continue
            if name != title:
                canonical[title] = name
            if page := at.get(name):
                pages[page.page_id] = self._current(page)
            else:
                missing[name] = NAMESPACES.get(name.partition(":")[0], 0)
        return Answer(pages=pages, missing_titles=missing, canonical=canonical, invalid_titles=frozenset(invalid))

    def answers(self, question: Question) -> list[tuple[Question, Answer]]:
        """A question kind by kind, each with its answer."""
        kinds = (
            (replace(question, titles=frozenset(), page_ids=frozenset()), self.of_revisions(question.rev_ids)),
            (replace(question, rev_ids=frozenset(), page_ids=frozenset()), self.of_titles(question.titles)),
            (replace(question, rev_ids=frozenset(), titles=frozenset()), self.of_page_ids(question.page_ids)),
        )
        return [(part, answer) for part, answer in kinds if part]

    def _current(self, page: Page) -> Page:
        _, revision = self.revisions.get(page.last_rev_id, (0, None))
        return replace(page, revisions={page.last_rev_id: revision} if revision else {})
