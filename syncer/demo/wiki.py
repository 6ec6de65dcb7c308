"""One wiki of the farm, with the actions that take pages away, bring them back, rename them, and hide what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from syncer.demo import events
from syncer.demo.editing import Editing
from syncer.demo.state import COMMENT, RESTRICTED, SOMEBODY, TEXT, USER, WIKITEXT, Deleted, WikiRefuses
from syncer.model import Visibility

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from syncer.demo.sites import Title
    from syncer.demo.state import By, Page, Rev

NOTHING_VISIBLE = Visibility(text=False, user=False, comment=False)


class Wiki(Editing):
    """A wiki whose actions leave behind what MediaWiki's leave, and say of it what MediaWiki says (PROTOCOL a to l)."""

    def move(self, title: str, to: str, by: By = SOMEBODY, *, redirect: bool = True) -> Rev:
        """Rename a page. It gets a dummy revision; the old title a new page, a redirect; neither has an edit event.

        A redirect at the new title that has one revision and leads here is deleted on the way; recentchange tells of that
        after it has told of the move (PROTOCOL b).
        """
        self.begin()
        page, target = self.page(title), self.name(to)
        old, before = page.title, self.latest(page)
        overwritten = self._make_way(page, target.text, by)
        said = f"{by.user.name} moved page [[{old.text}]] to [[{target.text}]]"
        why = replace(by, comment=f"{said}: {by.comment}" if by.comment else said)
        rev = self.add(page, before.text, replace(why, minor=True), parent=before)
        page = self.point(page, rev, target)
        self.tell_created(page, rev, before)
        left = self._leave_redirect(old.text, target.text, why) if redirect and rev.model == WIKITEXT else None
        self._tell_moved(page, rev, (old, before), left, by)
        params = {"target": target.text, "noredir": "0" if left else "1"}
        self.tell_log(self.logged("move/move_redir" if overwritten else "move/move", old, params, page.page_id), by)
        if overwritten:
            self.tell_log(
                self.logged("delete/delete_redir", target, [], overwritten.page_id), replace(by, comment="Deleted to make way")
            )
        return rev

    def delete(self, title: str, by: By = SOMEBODY, *, suppress: bool = False) -> None:
        """Delete a page. Suppressed, recentchange says nothing, and page_change nothing but that it is gone (PROTOCOL 16)."""
        self.begin()
        page = self.page(title)
        rev, count = self.latest(page), len(self.history[page.page_id])
        gone = self.take_out(page)
        if suppress:
            everything = TEXT | COMMENT | USER | RESTRICTED
            hidden = [Deleted(page.page_id, replace(one, hidden=everything)) for one in gone]
            self.archive[page.title.text][-len(hidden) :] = hidden
        self._tell_deleted(page, rev, count, by, suppress=suppress)
        if not suppress:
            self.tell_log(self.logged("delete/delete", page.title, [], page.page_id), by)

    def undelete(self, title: str, by: By = SOMEBODY, *, rev_ids: Iterable[int] | None = None, unsuppress: bool = False) -> None:
        """Bring back what was deleted, or only some revisions of it.

        The page gets its old id, or a new one where that is taken; into a live page, the newest revision wins by time. Each
        restored revision has its revision-create again, with its old id (PROTOCOL i, j). A page whose current text would be
        hidden does not come back, unless ``unsuppress`` shows everything.
        """
        self.begin()
        name = self.name(title)
        wanted = None if rev_ids is None else set(rev_ids)
        back = [deleted for deleted in self.archive.get(name.text, ()) if wanted is None or deleted.rev.rev_id in wanted]
        if unsuppress:
            back = [Deleted(deleted.page_id, replace(deleted.rev, hidden=0)) for deleted in back]
        back.sort(key=lambda deleted: (deleted.rev.timestamp, deleted.rev.rev_id))
        page, made = self.find(title), False
        if not back:
            raise WikiRefuses("cantundelete", title)
        wins = page is None or back[-1].rev.timestamp > self.latest(page).timestamp
        if wins and back[-1].rev.hidden & TEXT:
            raise WikiRefuses("undeleterevdel", title)
        if page is None:
            page, made = self.open_page(name, None if back[-1].page_id in self.pages else back[-1].page_id), True
        restored = self.put_back(page, back)
        if wins:
            page = self.point(page, restored[-1])
        self._tell_undeleted(page, restored, by, made=made)

    def hide(self, rev_ids: Sequence[int], bits: int, by: By = SOMEBODY, *, current: bool = False) -> None:
        """Set the visibility of a page's revisions to exactly these bits (PROTOCOL d); 0 shows everything again.

        With the restricted bit before or after it is a suppression, which recentchange is silent about and which no event
        names a performer of (PROTOCOL c, l). The text of a current revision cannot be hidden, unless ``current`` says that it
        was hidden in some other way.
        """
        self.begin()
        page = self.pages[self.revs[rev_ids[0]].page_id]
        if bits & TEXT and page.latest in rev_ids and not current:
            raise WikiRefuses("revdelete-hide-current", page.title.text)
        before = {rev_id: self.revs[rev_id] for rev_id in rev_ids if self.revs[rev_id].hidden != bits}
        if not before:
            return
        for rev_id, rev in before.items():
            self.revs[rev_id] = replace(rev, hidden=bits)
        if page.latest in before:
            self.touched.add(page.page_id)
        self._tell_hidden(page, before, bits, by)

    def merge(self, title: str, into: str, by: By = SOMEBODY, *, up_to: int | None = None) -> None:
        """Move a page's history under another page; all of it, or what is no newer than the revision ``up_to``.

        Of a full merge the source keeps its id and becomes a redirect; page_change is silent, recentchange has a log event and
        no revision. A partial merge leaves both current texts alone, and no stream names its revisions (PROTOCOL i).
        """
        self.begin()
        source, target = self.page(title), self.page(into)
        history = self.history[source.page_id]
        moved = list(history) if up_to is None else history[: history.index(up_to) + 1]
        last, oldest = self.revs[moved[-1]], self.revs[self.history[target.page_id][0]]
        left_behind = source.latest in moved and len(moved) < len(history)  # it is older than what was imported under it
        if source == target or last.timestamp > oldest.timestamp or left_behind:
            raise WikiRefuses("mergehistory-fail-timestamps-overlap", title)
        if len(moved) == len(history) and last.model != WIKITEXT:
            raise WikiRefuses("mergehistory-fail-no-redirect", title)
        self.history[source.page_id] = history[len(moved) :]
        for rev_id in moved:
            rev = replace(self.revs[rev_id], page_id=target.page_id)
            del self.revs[rev_id]
            self.place(rev)
        if not self.history[source.page_id]:
            rev = self.add(source, self._redirect_text(target.title.text), by, parent=last)
            self.tell_created(self.point(source, rev), rev, last)
        mergepoint = f"{events.iso(last.timestamp):.19}".translate({ord(mark): None for mark in "-T:"})
        params = {"dest": target.title.text, "mergepoint": mergepoint, "mergerevid": str(last.rev_id)}
        self.tell_log(self.logged("merge/merge", source.title, params), by)

    def _make_way(self, page: Page, to: str, by: By) -> Page | None:
        """Delete a one-revision redirect that leads to the page which moves there. Raises WikiRefuses for anything else."""
        held = self.find(to)
        if held is None:
            return None
        if held.page_id == page.page_id:
            raise WikiRefuses("selfmove", to)
        if held.redirect != page.title or len(self.history[held.page_id]) > 1:
            raise WikiRefuses("redirectexists" if held.redirect else "articleexists", to)
        rev = self.latest(held)
        self.take_out(held)
        self._tell_deleted(held, rev, 1, replace(by, comment="Deleted to make way"), suppress=False)
        return held

    def _leave_redirect(self, title: str, to: str, by: By) -> tuple[Page, Rev]:
        opened = self.open_page(self.name(title))
        rev = replace(self.add(opened, self._redirect_text(to), by), tags=("mw-new-redirect",))
        self.revs[rev.rev_id] = rev
        page = self.point(opened, rev)
        self.tell_created(page, rev, None)
        return page, rev

    def _redirect_text(self, to: str) -> bytes:
        return f"{self.site.redirect_word} [[{to}]]".encode()

    def _tell_moved(self, page: Page, rev: Rev, was: tuple[Title, Rev], left: tuple[Page, Rev] | None, by: By) -> None:
        (old, before) = was
        named = {"page_title": old.key, "namespace_id": old.namespace}
        is_now = {"page_title": page.title.key, "namespace_id": page.title.namespace}
        prior = {name: value for name, value in named.items() if value != is_now[name]}  # only what differs (PROTOCOL k)
        more: events.Event = {"comment": by.comment, "prior_state": {"page": prior, "revision": self.entity(before)}}
        if left:
            more["created_redirect_page"] = events.page_entity(events.Subject(self.site, left[0]))
        self.tell_page("move", page, rev, by.user, more)
        if left:
            self.tell_page("create", *left, left[1].by.user)

    def _tell_deleted(self, page: Page, rev: Rev, count: int, by: By, *, suppress: bool) -> None:
        link = {name: value for name, value in (self.link(page.redirect) or {}).items() if name in {"page_title", "namespace_id"}}
        gone = {**events.page_entity(events.Subject(self.site, page, link or None)), "revision_count": count}
        more = {"page": gone, "comment": by.comment, "dt": events.iso(self.clock())}
        if suppress:
            kept = ("rev_id", "rev_dt", "is_minor_edit", "rev_parent_id")
            entity = {name: self.entity(rev)[name] for name in kept} | events.visible(NOTHING_VISIBLE)
            more |= {"revision": entity, "prior_state": {"revision": events.visible(rev.visibility)}}
        self.tell_page("delete", page, rev, None if suppress else by.user, more)

    def _tell_undeleted(self, page: Page, restored: Sequence[Rev], by: By, *, made: bool) -> None:
        for rev in restored:
            self.tell_created(page, rev, self.revs.get(rev.parent_id))
        if made:
            self.tell_page("undelete", page, restored[-1], by.user, {"comment": by.comment, "dt": events.iso(self.clock())})
        self.tell_log(self.logged("delete/restore", page.title, {"count": {"revisions": len(restored), "files": 0}}), by)

    def _tell_hidden(self, page: Page, before: dict[int, Rev], bits: int, by: By) -> None:
        old = next(iter(before.values())).hidden
        secret = any((rev.hidden | bits) & RESTRICTED for rev in before.values())
        performer = None if secret else by.user
        for rev_id, rev in before.items():
            self.tell_visibility(page, self.revs[rev_id], rev.visibility, performer)
        if page.latest in before:
            was, now = (events.visible(one.visibility) for one in (before[page.latest], self.revs[page.latest]))
            changed = {name: value for name, value in was.items() if value != now[name]}
            more = {"dt": events.iso(self.clock()), "prior_state": {"revision": changed or []}}
            self.tell_page("visibility_change", replace(page, redirect=None), self.revs[page.latest], performer, more)
        if not secret:
            mask = old ^ bits
            params = {"type": "revision", "ids": list(before), "ofield": old & mask, "nfield": bits & mask}
            self.tell_log(self.logged("delete/revision", page.title, params), by)
