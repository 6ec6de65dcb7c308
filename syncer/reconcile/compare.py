"""What a wiki says happened, or is, against what the store has: what of it is to be read again, as changes.

Nothing is decided here. What differs is named, and waits its turn like everything else (law 10); what looks different only
because a replica lags is read once more, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from syncer.feed.recentchange import NO_CONTENT
from syncer.fetch import Edited, Logged
from syncer.model import SCOPE, VISIBLE, Cause, Change, Source, Visibility

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from syncer.model import Answer, Page
    from syncer.store import Store

STREAM = "reconcile"  # of what is appended here
WITHOUT_CONTENT = NO_CONTENT | {"create"}  # what is made anew has a recent change too


def about(rows: Sequence[Edited | Logged], namespaces: Collection[int]) -> list[Edited | Logged]:
    """The rows of a list that name something in these namespaces; all, where there are none."""

    def named(row: Edited | Logged) -> set[int]:
        return {row.namespace} if isinstance(row, Edited) else {namespace for _, namespace in row.titles}

    return [row for row in rows if not namespaces or not named(row).isdisjoint(namespaces)]


@dataclass(frozen=True, slots=True)
class Compare:
    """One wiki in the store; ``in_scope`` says which namespaces are wanted, ``now`` (ISO) when this is looked at.

    Used in the store's thread. What is not known and not wanted differs from nothing.
    """

    store: Store
    wiki_id: str
    domain: str
    in_scope: Callable[[int], bool]
    now: str

    def happened(self, rows: Sequence[Edited | Logged]) -> tuple[list[Change], list[str]]:
        """What of the rows of a list is to be read again, and the titles that are to be looked at before that is known."""
        changes, titles = self._entries(row for row in rows if isinstance(row, Logged))
        return [*self._edits(row for row in rows if isinstance(row, Edited)), *changes], titles

    def _edits(self, rows: Iterable[Edited]) -> list[Change]:
        """Pages of which a newer revision was made than the store has; each once, with the newest."""
        newest = {row.page_id: row for row in sorted(rows, key=lambda row: row.rev_id)}
        return [
            replace(self._change(f"{row.rev_id}", row.at), rev_ids=(row.rev_id,), titles=(row.title,), bot=row.bot)
            for row in newest.values()
            if self._missed(row)
        ]

    def _missed(self, row: Edited) -> bool:
        state = self.store.page(self.wiki_id, row.page_id)
        if state is None or not state.live or state.revision is None:
            return self.in_scope(row.namespace)
        return state.revision.rev_id < row.rev_id

    def _entries(self, rows: Iterable[Logged]) -> tuple[list[Change], list[str]]:
        """Revisions hidden or shown otherwise than the ledger has it, and the titles to look at."""
        changes, titles = [], dict[str, None]()
        for row in rows:
            if row.kind in WITHOUT_CONTENT or row.kind.split("/")[0] in WITHOUT_CONTENT:
                continue
            wanted = [title for title, namespace in row.titles if namespace >= 0 and self._concerns(title, namespace)]
            if not row.rev_ids:
                titles.update(dict.fromkeys(wanted))
            elif wanted and (rev_ids := self._shown_otherwise(row)):
                changes.append(replace(self.entry(row), rev_ids=rev_ids, titles=tuple(wanted)))
        return changes, list(titles)

    def _concerns(self, title: str, namespace: int) -> bool:
        return self.in_scope(namespace) or self.store.page_at(self.wiki_id, title) is not None

    def _shown_otherwise(self, row: Logged) -> tuple[int, ...]:
        """Those of the entry's revisions of which the ledger does not have what the entry changed."""
        was, now = Visibility.from_bits(row.old), Visibility.from_bits(row.new)
        ledger = self.store.hidden(self.wiki_id, row.rev_ids)

        def as_said(held: Visibility) -> bool:
            parts = ((was.text, now.text, held.text), (was.user, now.user, held.user), (was.comment, now.comment, held.comment))
            return all(after in {before, ours} for before, after, ours in parts)

        return tuple(rev_id for rev_id in row.rev_ids if not as_said(ledger.get(rev_id, VISIBLE)))

    def titles(self, answer: Answer) -> list[Change]:
        """Pages that are not what the store has, and titles that have one in the store alone."""
        found = self.pages(answer)
        lost = [title for title in answer.missing_titles if self.store.page_at(self.wiki_id, title)]
        return [*found, *(replace(self._change(f"title:{title}", self.now), titles=(title,)) for title in lost)]

    def pages(self, answer: Answer) -> list[Change]:
        """Pages that are not what the store has, or are gone."""
        differing = {page.page_id: page.last_rev_id for page in answer.pages.values() if self._differs(page)}
        for page_id in answer.missing_page_ids:
            state = self.store.page(self.wiki_id, page_id)
            if state and state.live:
                differing[page_id] = 0
        return [
            replace(self._change(f"page:{page_id}:{rev_id}", self.now), page_ids=(page_id,))
            for page_id, rev_id in differing.items()
        ]

    def _differs(self, page: Page) -> bool:
        state = self.store.page(self.wiki_id, page.page_id)
        if state is None or not state.live or state.revision is None:
            return self.in_scope(page.namespace)
        if not self.in_scope(page.namespace):
            return True
        ours, current = state.revision, page.revisions.get(page.last_rev_id)
        if (page.last_rev_id, page.title, page.is_redirect) != (ours.rev_id, state.title, state.is_redirect):
            return True
        return current is not None and current.visibility != ours.visibility

    def left(self, page_id: int) -> Change:
        """A page that is not wanted any more, which is no matter of what the wiki says."""
        source = Source(SCOPE, str(uuid4()), self.now, self.now)
        return Change(wiki_id=self.wiki_id, domain=self.domain, cause=Cause.RECONCILE, source=source, page_ids=(page_id,))

    def entry(self, row: Logged) -> Change:
        """An entry of the log that is to be acted on; what it is about is not said yet."""
        return self._change(f"log:{row.log_id}", row.at)

    def _change(self, named: str, at: str) -> Change:
        """The same finding has the same id: what cannot be handled is set aside once, not every hour."""
        source = Source(STREAM, f"{STREAM}:{self.wiki_id}:{named}", at, self.now)
        return Change(wiki_id=self.wiki_id, domain=self.domain, cause=Cause.RECONCILE, source=source)
