"""How a wiki tells what happened: the shapes of :mod:`syncer.demo.events`, put on the event log with their ``meta``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from syncer.demo import events
from syncer.demo.events import Logged, Subject
from syncer.demo.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.demo.events import Event
    from syncer.demo.log import EventLog
    from syncer.demo.sites import Site, Title
    from syncer.demo.state import By, Page, Rev, User
    from syncer.model import Visibility


class Changed(NamedTuple):
    """A recent change of type edit or new, as the wiki keeps it; those of a page go when it is deleted."""

    number: int
    at: float
    kind: str
    title: Title
    page_id: int
    rev_id: int
    parent_id: int
    by: By


class Entry(NamedTuple):
    """An entry of the wiki's log; ``page_id`` is that of the page it was about then."""

    number: int
    at: float
    kind: str
    title: Title
    page_id: int
    params: Mapping[str, Any] | list[Any] | str


class Telling(State):
    """A wiki that can speak; ``quiet`` while it is filled with what was there before the feed.

    ``changes`` and ``entries`` are what it keeps of what it said, whether or not the feed delivered that.
    """

    def __init__(self, site: Site, log: EventLog) -> None:
        super().__init__(site, log.clock)
        self.quiet = False
        self.changes: list[Changed] = []
        self.entries: list[Entry] = []
        self._log = log
        self._rc_id = self._log_id = 1_000
        self._request = log.new_id()

    def begin(self) -> None:
        """A new web request: the events up to the next one share its id."""
        self._request = self._log.new_id()

    def tell_created(self, page: Page, rev: Rev, parent: Rev | None) -> None:
        """A mediawiki.revision-create."""
        self.publish(events.REVISION_CREATE, page.title, events.revision_create(rev, self._subject(page), parent))

    def tell_page(self, kind: str, page: Page, rev: Rev, performer: User | None, more: Event | None = None) -> None:
        """A mediawiki.page_change.v1; ``more`` adds or replaces parts."""
        subject = Subject(self.site, page) if kind == "visibility_change" else self._subject(page)
        self.publish(events.PAGE_CHANGE, page.title, events.page_change(kind, subject, rev, performer, more or {}))

    def tell_visibility(self, page: Page, rev: Rev, before: Visibility, performer: User | None) -> None:
        """A mediawiki.revision-visibility-change."""
        event = events.visibility_change(rev, self._subject(page), before, performer)
        self.publish(events.VISIBILITY_CHANGE, page.title, event)

    def tell_edit(self, page: Page, rev: Rev, parent: Rev | None) -> None:
        """A recentchange of type edit or new."""
        self._rc_id += 1
        kind, parent_id = ("edit", parent.rev_id) if parent else ("new", 0)
        self.changes.append(Changed(self._rc_id, rev.timestamp, kind, page.title, page.page_id, rev.rev_id, parent_id, rev.by))
        self.publish(events.RECENT_CHANGE, page.title, events.edit_entry(self.site, page, rev, parent, self._rc_id))

    def tell_log(self, logged: Logged, by: By) -> None:
        """A recentchange of type log."""
        self._rc_id += 1
        numbered = None if logged.kind.startswith("patrol/") else self._rc_id
        self.entries.append(Entry(logged.log_id, self.clock(), logged.kind, logged.title, logged.page_id, logged.params))
        self.publish(events.RECENT_CHANGE, logged.title, events.log_entry(self.site, logged, self.clock(), by, numbered))

    def logged(self, kind: str, title: Title, params: Mapping[str, Any] | list[Any] | str, page_id: int | None = None) -> Logged:
        """A log entry under the next id; about the page that is there now, unless another is named."""
        self._log_id += 1
        return Logged(kind, title, params, self._log_id, self.titles.get(title.text) or 0 if page_id is None else page_id)

    def take_out(self, page: Page) -> list[Rev]:
        """Move a page and all its revisions to the archive; its edits are no recent changes any more."""
        self.changes = [row for row in self.changes if row.page_id != page.page_id]
        return super().take_out(page)

    def link(self, target: Title | None) -> Event | None:
        """Where a redirect leads, as page_change describes it; with an id only where the target exists."""
        if target is None:
            return None
        link: Event = {"page_title": target.key, "namespace_id": target.namespace}
        page_id = self.titles.get(target.text)
        if page_id is not None:
            link |= {"page_id": page_id, "is_redirect": self.pages[page_id].redirect is not None}
        return link

    def entity(self, rev: Rev) -> Event:
        """A revision as page_change describes it."""
        return events.revision_entity(rev, self.site)

    def publish(self, stream: str, title: Title, event: Event) -> None:
        """Put an event about a title on a stream; one in twenty without ``request_id`` (PROTOCOL k)."""
        if self.quiet:
            return
        meta = {"uri": f"{self.site.url}/wiki/{quote(title.key)}", "id": self._log.new_id(), "domain": self.site.domain}
        if self._rc_id % 20:
            meta["request_id"] = self._request
        self._log.publish(stream, title.text, {**event, "meta": meta})

    def _subject(self, page: Page) -> Subject:
        return Subject(self.site, page, self.link(page.redirect))
