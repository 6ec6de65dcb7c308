"""Pages that a dump gave, until the mutations speak of them.

Such a page has seq 0, and what the dump says of it. The first mutation of it may state a revision that is older than the
dump's, the same, or newer by more than one step. From then on the facts are what the mutations say, in their order, whatever the
dump said. The dump's text stays beside them, unseen, until a mutation states the very revision that it is of: so a chain of
patches that begins before the dump runs into it. One that passes it by leaves the page diverged, to be healed like any other.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from syncer.model import Base
from syncer.store.chain import AS_DUMPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.model import Mutation, PageState
    from syncer.sqlite import Connection

PASSED_BY = "another revision in the dump"  # why the text of a page is unknown meanwhile


class Seeds:
    """A part of a store, used like it from one thread at a time, inside ``folding``."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._any: bool = db.execute("SELECT EXISTS (SELECT 1 FROM seeds)").fetchone()[0]

    def base(self, wiki_id: str, state: PageState | None) -> Base | None:
        """The revision of a page whose text the dump gave, while that is of use."""
        if state is None or not (self._any or state.seq == AS_DUMPED):
            return None
        query = "SELECT rev_id, sha1 FROM pages JOIN texts USING (id) LEFT JOIN seeds USING (id) WHERE wiki = ? AND page_id = ?"
        row = self._db.execute(query, (wiki_id, state.page_id)).fetchone()
        if row and state.seq == AS_DUMPED and state.revision and state.revision.sha1:
            return Base(state.revision.rev_id, state.revision.sha1)
        return Base(*row) if row and row[0] else None

    def keep(self, row: int, seed: Base | None) -> None:
        """The page goes on with another revision; the text that is there is this one's."""
        self._db.execute("UPDATE pages SET diverged = ? WHERE id = ?", (PASSED_BY, row))
        if seed:
            self._any = True
            self._db.execute("INSERT OR REPLACE INTO seeds VALUES (?, ?, ?)", (row, seed.rev_id, seed.sha1))

    def drop(self, row: int) -> None:
        """The dump's text is the page's, or is there no more."""
        if self._any:
            self._db.execute("DELETE FROM seeds WHERE id = ?", (row,))

    def of(self, wiki_id: str, rev_id: int) -> Sequence[int]:
        """The rows of pages beside which the text of a revision is kept."""
        if not self._any:
            return ()
        query = "SELECT id FROM seeds JOIN pages USING (id) WHERE rev_id = ? AND wiki = ?"
        return [row for (row,) in self._db.execute(query, (rev_id, wiki_id)).fetchall()]

    def untitled(self) -> Sequence[int]:
        """The rows of pages that no mutation spoke of, and whose titles others have taken over."""
        return [row for (row,) in self._db.execute("SELECT id FROM pages WHERE title IS NULL AND live AND seq = 0").fetchall()]


def outlives(state: PageState, mutation: Mutation) -> bool:
    """Whether a page of a dump came to its title after the one that a mutation deletes, naming nothing but the title."""
    if state.seq != AS_DUMPED or state.revision is None:
        return False
    return datetime.fromisoformat(state.revision.timestamp) > datetime.fromisoformat(mutation.source.event_time)
