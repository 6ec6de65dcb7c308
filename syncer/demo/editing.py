"""What adds revisions to pages: edits, imports, uploads, and the actions that leave a dummy revision (PROTOCOL a, g, i)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from syncer.demo.state import SOMEBODY, WikiRefuses
from syncer.demo.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.demo.state import By, Page, Rev

MAX_TEXT = 2048 * 1024  # bytes; $wgMaxArticleSize


class Old(NamedTuple):
    """A revision brought in from elsewhere: when it was made there (seconds), by whom, and its text."""

    timestamp: int
    by: By
    text: bytes


class Editing(Telling):
    """The actions that change what pages say. Each is one request; all raise WikiRefuses where MediaWiki would."""

    def edit(self, title: str, text: str | bytes, by: By = SOMEBODY, *, model: str | None = None) -> Rev | None:
        """Save a text; the page is made where there is none. None, and silence, where nothing changes (PROTOCOL g)."""
        self.begin()
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > MAX_TEXT:
            raise WikiRefuses("contenttoobig", title)
        page = self.find(title)
        if page is None:
            return self._create(title, raw, by, model)
        before = self.latest(page)
        if raw == before.text and model in (None, before.model):
            return None
        rev = self._append(page, raw, by, model=model)
        page = self.pages[page.page_id]
        self._tell_saved(page, rev, before)
        self.tell_edit(page, rev, before)
        if rev.model != before.model:
            changed = {"oldmodel": before.model, "newmodel": rev.model}
            self.tell_log(self.logged("contentmodel/change", page.title, changed), by)
        return rev

    def change_model(self, title: str, model: str, by: By = SOMEBODY) -> Rev | None:
        """Change the content model and leave the text: an edit *and* a log event, but no page_change (PROTOCOL g, i)."""
        return self.edit(title, self.latest(self.page(title)).text, by, model=model)

    def protect(self, title: str, level: str = "sysop", by: By = SOMEBODY) -> Rev | None:
        """Protect or unprotect ("all"): a dummy revision that only revision-create names. Without a page, a log event only."""
        self.begin()
        page = self.find(title)
        kind = "protect/unprotect" if level == "all" else "protect/protect"
        detail = {"type": "edit" if page else "create", "level": level, "expiry": "infinity", "cascade": False}
        described = {"description": f"\u200e[{detail['type']}={level}] (indefinite)", "cascade": False, "details": [detail]}
        rev = None
        if page:
            rev = self._dummy(page, replace(by, comment=f'Protected "[[{page.title.text}]]": {by.comment}', minor=True))
        name = page.title if page else self.name(title)
        self.tell_log(self.logged(kind, name, [] if level == "all" else described), by)
        return rev

    def upload(self, title: str, by: By = SOMEBODY) -> Rev:
        """Upload a file, or a new version of it: the page's revision has no recentchange of its own."""
        self.begin()
        name, params = self.name(title), {"img_sha1": "phoiac9h4m842xq45sp7s6u21eteeq1", "img_timestamp": "20261124033921"}
        if name.namespace != 6:  # noqa: PLR2004 -- File:
            raise WikiRefuses("illegal-filename", title)
        page = self.find(title)
        if page:
            rev = self._dummy(page, by)
        else:
            opened = self.open_page(name)
            rev = self.add(opened, b"== Summary ==\n", by)
            self._tell_saved(self.point(opened, rev), rev, None)
        self.tell_log(self.logged("upload/overwrite" if page else "upload/upload", name, params), by)
        return rev

    def import_revisions(self, title: str, revisions: Sequence[Old], by: By = SOMEBODY) -> Rev:
        """Bring revisions in, and a dummy revision on top; one log event names them all, by their number (PROTOCOL a)."""
        self.begin()
        page = self.find(title) or self.open_page(self.name(title))
        for old in revisions:
            page = self._bring_in(page, old)
        rev = self._dummy(page, replace(by, minor=True))
        self.tell_log(self.logged("import/upload", page.title, {"count": len(revisions)}), by)
        return rev

    def _create(self, title: str, raw: bytes, by: By, model: str | None) -> Rev:
        opened = self.open_page(self.name(title))
        rev = self._as(self.add(opened, raw, by), model)
        page = self.point(opened, rev)
        self._tell_saved(page, rev, None)
        self.tell_edit(page, rev, None)
        return rev

    def _append(self, page: Page, raw: bytes, by: By, *, model: str | None = None) -> Rev:
        rev = self._as(self.add(page, raw, by, parent=self.latest(page)), model)
        self.point(page, rev)
        return rev

    def _as(self, rev: Rev, model: str | None) -> Rev:
        if model not in {None, rev.model}:
            rev = replace(rev, model=str(model), origin=rev.rev_id)
            self.revs[rev.rev_id] = rev
        return rev

    def _dummy(self, page: Page, by: By) -> Rev:
        """Repeat the latest text under a new id; only revision-create says so."""
        before = self.latest(page)
        rev = self._append(page, before.text, by)
        self.tell_created(self.pages[page.page_id], rev, before)
        return rev

    def _tell_saved(self, page: Page, rev: Rev, before: Rev | None) -> None:
        self.tell_created(page, rev, before)
        if before is None:
            self.tell_page("create", page, rev, rev.by.user)
        elif before.sha1 != rev.sha1:
            self.tell_page("edit", page, rev, rev.by.user, {"prior_state": {"revision": self.entity(before)}})

    def _bring_in(self, page: Page, old: Old) -> Page:
        """One imported revision; page_change names it where it becomes the latest, with its own old time (PROTOCOL j)."""
        earlier = [self.revs[rev_id] for rev_id in self.history[page.page_id] if self.revs[rev_id].timestamp <= old.timestamp]
        parent = earlier[-1] if earlier else None
        rev = self.add(page, old.text, old.by, parent=parent, at=old.timestamp)
        before = self.latest(page) if page.latest else None
        if before and before.timestamp >= rev.timestamp:
            self.tell_created(page, rev, parent)
            return page
        page = self.point(page, rev)
        self._tell_saved(page, rev, before)
        return page
