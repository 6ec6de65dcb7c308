"""What a wiki holds: pages, revisions, the archive of what was deleted. No events here, and nothing of HTTP."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from syncer.demo.past import Past
from syncer.demo.sites import BadTitle, Title
from syncer.model import Visibility

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncer.demo.sites import Site

WIKITEXT = "wikitext"
SHORT_OF = re.compile(r"\s*:?\s*\[\[\s*:?([^\[\]|#]+)")
TEXT, COMMENT, USER, RESTRICTED = 1, 2, 4, 8  # rev_deleted (PROTOCOL d)

# What can be wrong with a stored revision: a fault of the storage, an announced hash that is not its text's, or a second slot,
# so that the revision's hash is not its main slot's (PROTOCOL 25 and what DATA learned from real histories).
Flaw = Literal["textmissing", "slotsmissing", "wronghash", "secondslot"]


class WikiRefuses(Exception):
    """The wiki does not do that; ``code`` is what MediaWiki's API would say."""

    def __init__(self, code: str, title: str) -> None:
        super().__init__(f"{code}: {title}")
        self.code = code


@dataclass(frozen=True, slots=True)
class User:
    """Who edits. Id 0 is somebody without an account, named by address."""

    name: str
    user_id: int = 0
    groups: tuple[str, ...] = ()

    @property
    def bot(self) -> bool:
        """Whether the account is a bot's."""
        return "bot" in self.groups


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, and what they say about it. ``bot`` and ``minor`` mark the edit, not the account."""

    user: User
    comment: str = ""
    minor: bool = False
    bot: bool = False


SOMEBODY = By(User("Example", 7, ("user", "autoconfirmed")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rev:
    """A revision. ``sha1`` is hex and that of ``text``; ``hidden`` are rev_deleted bits; ``timestamp`` in whole seconds."""

    rev_id: int
    parent_id: int
    page_id: int
    timestamp: int
    by: By
    text: bytes
    sha1: str
    model: str = WIKITEXT
    tags: tuple[str, ...] = ()
    hidden: int = 0
    origin: int = 0  # the revision whose text this is (dummy revisions repeat one)
    flaw: Flaw | None = None

    @property
    def visibility(self) -> Visibility:
        """What everybody may see of it."""
        return Visibility.from_bits(self.hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as it is now; ``redirect`` is where it leads to, ``latest`` 0 only while it is being made."""

    page_id: int
    title: Title
    latest: int = 0
    redirect: Title | None = None


class Deleted(NamedTuple):
    """A revision in the archive, and the page it was of."""

    page_id: int
    rev: Rev


class State:
    """The tables of one wiki and the steps that keep them consistent.

    ``touched`` are the pages that are now, or ceased to be, something else than they were at :meth:`settle`.
    """

    def __init__(self, site: Site, clock: Callable[[], float]) -> None:
        self.site = site
        self.clock = clock
        self.titles: Past[str, int] = Past(clock)
        self.pages: Past[int, Page] = Past(clock)
        self.revs: Past[int, Rev] = Past(clock)
        self.history: dict[int, list[int]] = {}  # page -> its revisions, oldest first by time
        self.archive: dict[str, list[Deleted]] = {}
        self.touched: set[int] = set()
        self.next_page = site.first_page
        self.next_rev = site.first_rev

    def settle(self) -> None:
        """Take everything so far for older than the feed: untouched, and the same on every replica."""
        for table in (self.titles, self.pages, self.revs):
            table.settle()
        self.touched.clear()

    def find(self, title: str) -> Page | None:
        """The live page at a title (any way of writing it)."""
        page_id = self.titles.get(self.name(title).text)
        return None if page_id is None else self.pages[page_id]

    def page(self, title: str) -> Page:
        """The live page at a title. Raises WikiRefuses where there is none."""
        found = self.find(title)
        if found is None:
            raise WikiRefuses("missingtitle", title)
        return found

    def name(self, title: str) -> Title:
        """A title in its canonical form. Raises WikiRefuses where it names no page that can be made."""
        try:
            name = self.site.parse(title)
        except BadTitle as error:
            raise WikiRefuses("invalidtitle", title) from error
        if name.namespace < 0:
            raise WikiRefuses("invalidtitle", title)
        return name

    def latest(self, page: Page) -> Rev:
        """The page's current revision."""
        return self.revs[page.latest]

    def revisions(self, title: str) -> list[Rev]:
        """All live revisions of a page, oldest first."""
        return [self.revs[rev_id] for rev_id in self.history[self.page(title).page_id]]

    def open_page(self, title: Title, page_id: int | None = None) -> Page:
        """A page row without revisions, under a given id or the next."""
        if page_id is None:
            page_id = self.next_page
            self.next_page += 1
        page = Page(page_id=page_id, title=title)
        self.pages[page_id] = page
        self.titles[title.text] = page_id
        self.history[page_id] = []
        self.touched.add(page_id)
        return page

    def add(self, page: Page, text: bytes, by: By, *, parent: Rev | None = None, at: int | None = None) -> Rev:
        """A new revision in a page's history, not yet its latest. It is a dummy where its text is its parent's."""
        origin = parent.origin if parent and parent.text == text else self.next_rev
        rev = Rev(
            rev_id=self.next_rev,
            parent_id=parent.rev_id if parent else 0,
            page_id=page.page_id,
            timestamp=int(self.clock()) if at is None else at,
            by=by,
            text=text,
            sha1=hashlib.sha1(text, usedforsecurity=False).hexdigest(),
            model=parent.model if parent else _model_of(page.title),
            origin=origin,
        )
        self.next_rev += 1
        self.place(rev)
        return rev

    def place(self, rev: Rev) -> None:
        """Put a revision into the history of its page, by time."""
        self.revs[rev.rev_id] = rev
        history = self.history[rev.page_id]
        at = len(history)
        while at and self.revs[history[at - 1]].timestamp > rev.timestamp:
            at -= 1
        history.insert(at, rev.rev_id)

    def point(self, page: Page, rev: Rev, title: Title | None = None) -> Page:
        """Make a revision the page's latest (and move the page to a title)."""
        changed = replace(page, latest=rev.rev_id, redirect=self.leads_to(rev), title=title or page.title)
        if changed.title != page.title:
            del self.titles[page.title.text]
            self.titles[changed.title.text] = page.page_id
        self.pages[page.page_id] = changed
        self.touched.add(page.page_id)
        return changed

    def take_out(self, page: Page) -> list[Rev]:
        """Move a page and all its revisions to the archive."""
        gone = [self.revs[rev_id] for rev_id in self.history.pop(page.page_id)]
        for rev in gone:
            del self.revs[rev.rev_id]
        self.archive.setdefault(page.title.text, []).extend(Deleted(page.page_id, rev) for rev in gone)
        del self.pages[page.page_id]
        del self.titles[page.title.text]
        self.touched.add(page.page_id)
        return gone

    def put_back(self, page: Page, deleted: Sequence[Deleted]) -> list[Rev]:
        """Move revisions from the archive of the page's title into its history."""
        restored = [replace(one.rev, page_id=page.page_id) for one in deleted]
        for rev in restored:
            self.place(rev)
        back = {rev.rev_id for rev in restored}
        lying = self.archive.pop(page.title.text)
        if left := [one for one in lying if one.rev.rev_id not in back]:
            self.archive[page.title.text] = left
        return restored

    def spoil(self, rev_id: int, flaw: Flaw | None) -> None:
        """Give a stored revision a flaw, or mend it."""
        self.revs[rev_id] = replace(self.revs[rev_id], flaw=flaw)

    def leads_to(self, rev: Rev) -> Title | None:
        """Where a revision's text redirects to; None where it is an ordinary text."""
        if rev.model != WIKITEXT or rev.text.lstrip()[:1] != b"#":
            return None
        text = rev.text[:1000].decode("utf-8", "ignore").lstrip()
        for word in (self.site.redirect_word, "#REDIRECT"):
            if text.upper().startswith(word.upper()) and (found := SHORT_OF.match(text, len(word))):
                try:
                    return self.site.parse(found[1])
                except BadTitle:
                    return None
        return None


def _model_of(title: Title) -> str:
    """The content model that a new page gets by its name."""
    name = title.text.lower()
    if title.namespace in {2, 8}:
        for ending, model in ((".js", "javascript"), (".css", "css"), (".json", "json")):
            if name.endswith(ending):
                return model
    return WIKITEXT
