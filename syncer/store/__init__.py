"""Pages as folded from committed mutations, and nothing else: the hub's store and a partner's mirror are the same thing.

A fold is one transaction together with the offset it has reached, so a store is always exactly what the mutations up to its
offsets say. Every patch is proven by hash as it is applied. What a mutation says was erased is erased from the file.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson
import zstandard

from syncer import sqlite
from syncer.errors import ResumeLost
from syncer.model import Kind, Mutation
from syncer.seal import NO_KEY, seal
from syncer.store.asked import Asked
from syncer.store.chain import Divergence, Fate, says_all, sha1, text_after
from syncer.store.debts import Debts
from syncer.store.layout import MIGRATIONS
from syncer.store.reads import Reads
from syncer.store.seeds import PASSED_BY, Seeds, outlives
from syncer.store.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Divergence", "Store"]

LEVEL = 1  # zstd: a quarter of the time of the default level for a tenth more space
LATE = "begun late"  # the store's note that it does not have every page that is published
EVICT_AT_ONCE = 256  # texts removed between two looks at the size

_ROW = "(SELECT id FROM pages WHERE wiki = ? AND page_id = ?)"


class Store(Reads):
    """A file of pages, texts and the ledger of what is hidden. Used from one thread at a time.

    ``max_bytes`` bounds the texts (compressed): beyond it those of the least recently changed pages are evicted, their facts
    never. None keeps all; then a text that is not there is a divergence.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        super().__init__(sqlite.connect(path, MIGRATIONS))
        self.debts = Debts(self._db)
        self.asked = Asked(self._db)
        self._pack = zstandard.ZstdCompressor(level=LEVEL)
        with sqlite.speaking(path), sqlite.closing_on_error(self._db):
            self._unclean = not sqlite.checkpoint(self._db)  # whether something erased may still be in the write-ahead log
            self._bytes = int(self.meta("text_bytes") or 0)
            self._touched = self._db.execute("SELECT coalesce(max(touched), 0) FROM pages").fetchone()[0]
        self.seen, self.seeds = Seen(self._db), Seeds(self._db)
        self._watched: set[tuple[str, int]] | None = None

    # -- what it belongs to ------------------------------------------------------------------------------------------

    def bind(self, identity: str) -> bool:
        """Tie the store to a journal, or check that it is this one's. True when it was new. Raises ResumeLost on another's."""
        with sqlite.transaction(self._db):
            fresh = self._db.execute("INSERT OR IGNORE INTO meta VALUES ('journal', ?)", (identity,)).rowcount > 0
            known = self.meta("journal")
        if known != identity:
            raise ResumeLost(
                f"{self._db.path} belongs to journal {known}, this is journal {identity}",
                hint="the journal was made anew: move the store away and start it from the beginning",
            )
        return fresh

    def meta(self, name: str) -> str | None:
        """A remembered fact about the store itself."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def remember(self, name: str, value: str) -> None:
        """Keep a fact about the store itself."""
        with sqlite.speaking(self._db.path):
            self._db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value))

    def offset(self, partition: int) -> int:
        """The first offset of ``mutations`` that is not folded in yet."""
        row = self._db.execute("SELECT next FROM offsets WHERE part = ?", (partition,)).fetchone()
        return row[0] if row else 0

    def watch(self) -> set[tuple[str, int]]:
        """A set that from now on gets every page, by wiki and id, that is changed. Whoever has it empties it."""
        self._watched = set()
        return self._watched

    def _changed(self, wiki_id: str, *page_ids: int) -> None:
        if self._watched is not None:
            self._watched.update((wiki_id, page_id) for page_id in page_ids)

    # -- folding -----------------------------------------------------------------------------------------------------

    @contextmanager
    def folding(self) -> Iterator[None]:
        """One transaction. What is folded inside is seen at once by reads of this store, and undone if an error leaves it."""
        size, touched = self._bytes, self._touched
        try:
            with sqlite.transaction(self._db):
                yield
                self._evict()
                self.remember("text_bytes", str(self._bytes))
        except BaseException:
            self._bytes, self._touched = size, touched
            raise
        self.clean()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part of ``folding`` that is undone alone if an error leaves it."""
        size, touched = self._bytes, self._touched
        self._db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._bytes, self._touched = size, touched
            if self._db.in_transaction:  # a disk that failed has undone everything already
                self._db.execute("ROLLBACK TO attempt")
                self._db.execute("RELEASE attempt")
            raise
        self._db.execute("RELEASE attempt")

    def advance(self, partition: int, following: int) -> None:
        """Say, inside ``folding``, that everything before ``following`` is in."""
        self._db.execute(
            "INSERT INTO offsets VALUES (?, ?) ON CONFLICT DO UPDATE SET next = excluded.next", (partition, following)
        )

    def begin(self, partition: int, start: int) -> None:
        """Begin, inside ``folding``, with what the journal still has of a partition, which is not all.

        From then on a title counts as left only by a page that is known to have had it: others may have one there that the store
        never heard of, whatever was deleted by that title.
        """
        self.remember(LATE, "yes")
        self.advance(partition, start)

    def fold(self, mutation: Mutation) -> None:
        """Apply one mutation, inside ``folding``. Raises Divergence, with nothing changed, where it does not fit."""
        wiki_id, page_id = mutation.wiki_id, mutation.page.page_id or 0
        if mutation.kind is Kind.DELETE:
            self._delete(mutation)
        else:
            state = self.page(wiki_id, page_id)
            seed, lacking = self.seeds.base(wiki_id, state), lambda: self._may_lack_text(wiki_id, page_id)
            text = text_after(mutation, state, lambda: self.text(wiki_id, page_id), lacking, seed)
            row = self._write_page(mutation, state.title if state else None, keep_divergence=text is Fate.KEPT)
            if text is None:
                self._erase(row)
            elif text is Fate.ERASED:
                self._erase(row)
                self._db.execute("UPDATE pages SET diverged = ? WHERE id = ?", (Fate.ERASED.value, row))
            elif text is Fate.KEPT:
                self._touch(row, "touched IS NOT NULL")
            elif text is Fate.PASSED_BY:
                self.seeds.keep(row, seed)
            elif text is Fate.MET:
                self.seeds.drop(row)
            else:
                self._write_text(row, text)
        self._note(mutation)

    def _may_lack_text(self, wiki_id: str, page_id: int) -> bool:
        """Whether a page's text may be missing: evicted, or erased from the journal before it was read, or a dump has another,
        and to come yet.
        """
        query = f"SELECT diverged FROM pages WHERE id = {_ROW}"  # noqa: S608
        found = self._db.execute(query, (wiki_id, page_id)).fetchone()
        return self._max_bytes is not None or found in {(Fate.ERASED.value,), (PASSED_BY,)}

    def seed(self, page: Mutation, flaw: str | None = None) -> bool:
        """Take in, inside ``folding``, a page as a dump has it: a snapshot with the seq AS_DUMPED. ``flaw``: why its text is not
        there, though it may be seen. False where the page is known already, as it is there or later.
        """
        state = self.page(page.wiki_id, page.page.page_id or 0)
        if page.revision is None or (
            state and (state.seq or not state.revision or state.revision.rev_id >= page.revision.rev_id)
        ):
            return False
        self.place(page, flaw)
        return True

    def place(self, page: Mutation, flaw: str | None = None) -> None:
        """Put a page, inside ``folding``, in the place of whatever is known of it. ``flaw`` as with ``seed``.

        One without a title is one whose title another has taken.
        """
        state = self.page(page.wiki_id, page.page.page_id or 0)
        row = self._write_page(page, state.title if state else None)
        if page.text is not None:
            self._write_text(row, page.text)
        elif state:
            self._erase(row)
        if flaw:
            self._db.execute("UPDATE pages SET diverged = ? WHERE id = ?", (flaw, row))
        self._note(page)

    def drop(self, wiki_id: str, page_id: int) -> bool:
        """Bury a page, inside ``folding``, whatever it was. False where none lives."""
        row = self._db.execute(f"{_ROW[1:-1]} AND live", (wiki_id, page_id)).fetchone()
        if row:
            self._bury(row[0])
        return row is not None

    def bury(self) -> None:
        """At the journal's end: dumped pages that have lost their titles to others, and that no mutation spoke of, are gone."""
        if rows := self.seeds.untitled():
            with self.folding():
                for row in rows:
                    self._bury(row)

    def diverge(self, mutation: Mutation, reason: str) -> None:
        """Record, inside ``folding``, that a mutation did not fit: its facts are kept, the text is unknown until it is healed."""
        row = self._write_page(mutation, None)
        self._erase(row)
        self._db.execute("UPDATE pages SET diverged = ? WHERE id = ?", (reason, row))
        self._note(mutation)

    def doubt(self, mutation: Mutation, reason: str) -> None:
        """Record, inside ``folding``, that a page is not as the last mutation of it says. Whoever has its title keeps it."""
        holder = self.page_at(mutation.wiki_id, mutation.page.title)
        self.diverge(mutation, reason)
        if holder and holder.page_id != mutation.page.page_id:
            for title, page_id in ((None, mutation.page.page_id), (mutation.page.title, holder.page_id)):
                self._db.execute(f"UPDATE pages SET title = ? WHERE id = {_ROW}", (title, mutation.wiki_id, page_id))  # noqa: S608

    def mark(self, wiki_id: str, page_id: int, reason: str) -> None:
        """Record, inside ``folding``, that a page's text or title is not the announced one: it is unknown until it is healed."""
        self._db.execute(f"UPDATE pages SET diverged = ? WHERE id = {_ROW}", (reason, wiki_id, page_id))  # noqa: S608

    def heal(self, wiki_id: str, page_id: int, text: bytes) -> bool:
        """Put back a text that is missing, if it is the one the facts announce by hash. Inside ``folding``."""
        state = self.page(wiki_id, page_id)
        if state is None or state.revision is None or state.revision.sha1 != sha1(text):
            return False
        row = self._db.execute(f"UPDATE pages SET diverged = NULL WHERE id = {_ROW} RETURNING id", (wiki_id, page_id)).fetchone()  # noqa: S608
        self._write_text(row[0], text)
        self._changed(wiki_id, page_id)
        return True

    def publish(self, mutation: Mutation, partition: int, offset: int) -> None:
        """Note, inside ``folding``, which record holds something of a revision: text, hash, editor, comment.

        And which one says all of a page, so that who reads it needs nothing from before.
        """
        if says_all(mutation):
            query = f"UPDATE pages SET whole = ? WHERE id = {_ROW}"  # noqa: S608
            self._db.execute(query, (offset, mutation.wiki_id, mutation.page.page_id or 0))
        held = {mutation.revision.rev_id} if mutation.revision else set()
        if mutation.base:
            held.add(mutation.base.rev_id)
        rows = ((mutation.wiki_id, rev_id, partition, offset, mutation.page.page_id) for rev_id in held)
        self._db.executemany("INSERT OR IGNORE INTO published VALUES (?, ?, ?, ?, ?)", rows)

    def recall(self, wiki_id: str, rev_id: int) -> tuple[tuple[int, int], ...]:
        """The (partition, offset) of every record noted to hold a revision, oldest first."""
        query = 'SELECT part, "offset" FROM published WHERE wiki = ? AND rev_id = ? ORDER BY "offset"'
        return tuple(self._db.execute(query, (wiki_id, rev_id)).fetchall())

    def whole_at(self, wiki_id: str, page_id: int) -> int | None:
        """The offset of the last record that was noted to say all of a page."""
        row = self._db.execute(f"SELECT whole FROM pages WHERE id = {_ROW}", (wiki_id, page_id)).fetchone()  # noqa: S608
        return row[0] if row else None

    def holders(self, wiki_id: str, rev_ids: Iterable[int]) -> set[int]:
        """The ids of the pages of which records hold one of the revisions."""
        query = "SELECT page FROM published WHERE wiki = ? AND rev_id = ? AND page IS NOT NULL"
        return {page for rev_id in rev_ids for (page,) in self._db.execute(query, (wiki_id, rev_id))}

    def forget(self, partition: int, before: int) -> None:
        """Drop the notes of records that the journal no longer holds."""
        with sqlite.transaction(self._db):
            self.debts.forget(partition, before)
            self._db.execute('DELETE FROM published WHERE part = ? AND "offset" < ?', (partition, before))

    def _delete(self, mutation: Mutation) -> None:
        wiki_id, page = mutation.wiki_id, mutation.page
        holder = self.page_at(wiki_id, page.title)
        if holder and page.page_id is None and outlives(holder, mutation):
            return
        row = self._db.execute(
            "INSERT INTO pages (wiki, page_id, namespace, is_redirect, seq, live) VALUES (?, ?, ?, 0, ?, 0)"
            " ON CONFLICT (wiki, page_id) DO UPDATE SET seq = excluded.seq RETURNING id",
            (wiki_id, page.page_id or 0, page.namespace, mutation.seq),
        ).fetchone()
        if holder and page.page_id is None:
            row = self._db.execute(_ROW[1:-1], (wiki_id, holder.page_id)).fetchone()
        self._bury(row[0])
        self._changed(wiki_id, holder.page_id if holder and page.page_id is None else page.page_id or 0)
        if page.title and (holder or self.meta(LATE) is None):
            self._leave(wiki_id, page.title)

    def _bury(self, row: int) -> None:
        self._db.execute("UPDATE pages SET live = 0, title = NULL, facts = NULL, diverged = NULL WHERE id = ?", (row,))
        self._db.execute("UPDATE seals SET facts = ? WHERE id = ?", (NO_KEY, row))
        self._erase(row)

    def _leave(self, wiki_id: str, title: str) -> None:
        """Remember that a title has lost its page, unless another has it now."""
        held = "SELECT 1 FROM pages WHERE wiki = ?1 AND title = ?2"
        self._db.execute(f"INSERT OR IGNORE INTO gone SELECT ?1, ?2 WHERE NOT EXISTS ({held})", (wiki_id, title))

    def _write_page(self, mutation: Mutation, title: str | None, *, keep_divergence: bool = False) -> int:
        """Write everything but the text; a title other than the page's is taken from whoever holds it. Returns the row."""
        page, wiki_id = mutation.page, mutation.wiki_id
        if page.title != title:
            query = "UPDATE pages SET title = NULL WHERE wiki = ? AND title = ? RETURNING page_id"
            self._changed(wiki_id, *(holder for (holder,) in self._db.execute(query, (wiki_id, page.title)).fetchall()))
            self._db.execute("DELETE FROM gone WHERE wiki = ? AND title = ?", (wiki_id, page.title))
        key, facts = seal(orjson.dumps({"revision": mutation.revision, "attribution": mutation.attribution}))
        row = self._db.execute(
            "INSERT INTO pages (wiki, page_id, title, namespace, is_redirect, seq, live, facts)"
            " VALUES (?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (wiki, page_id) DO UPDATE SET title = excluded.title,"
            " namespace = excluded.namespace, is_redirect = excluded.is_redirect, seq = excluded.seq, live = 1,"
            " facts = excluded.facts, diverged = iif(?, diverged, NULL) RETURNING id",
            (wiki_id, page.page_id, page.title or None, page.namespace, page.is_redirect, mutation.seq, facts, keep_divergence),
        ).fetchone()
        self._db.execute("UPDATE seals SET facts = ? WHERE id = ?", (key, row[0]))
        self._changed(wiki_id, page.page_id or 0)
        return int(row[0])

    def _note(self, mutation: Mutation) -> None:
        """Keep the ledger of what is hidden, which revisions leave when shown again, titles that were left, and the domain."""
        self._db.execute(
            "INSERT INTO wikis VALUES (?, ?) ON CONFLICT DO UPDATE SET domain = excluded.domain WHERE domain <> excluded.domain",
            (mutation.wiki_id, mutation.domain),
        )
        if mutation.prior and mutation.prior.title:
            self._leave(mutation.wiki_id, mutation.prior.title)
        for entry in mutation.redacted:
            self._unclean = True  # an older text, or names and comments
            seen = entry.visibility
            if seen.full:
                self._db.execute("DELETE FROM hidden WHERE wiki = ? AND rev_id = ?", (mutation.wiki_id, entry.rev_id))
            else:
                row = (mutation.wiki_id, entry.rev_id, seen.text, seen.user, seen.comment)
                self._db.execute("INSERT OR REPLACE INTO hidden VALUES (?, ?, ?, ?, ?)", row)
            for dumped in () if seen.text else self.seeds.of(mutation.wiki_id, entry.rev_id):
                self._erase(dumped)

    # -- texts -------------------------------------------------------------------------------------------------------

    def _write_text(self, row: int, text: bytes) -> None:
        key, packed = seal(self._pack.compress(text))
        self._last = key, text
        old = self._db.execute("SELECT length(packed) FROM texts WHERE id = ?", (row,)).fetchone()
        self._db.execute("INSERT INTO texts VALUES (?, ?) ON CONFLICT DO UPDATE SET packed = excluded.packed", (row, packed))
        self._db.execute("UPDATE seals SET text = ? WHERE id = ?", (key, row))
        self.seeds.drop(row)
        self._bytes += len(packed) - (old[0] if old else 0)
        self._touch(row)

    def _touch(self, row: int, condition: str = "TRUE") -> None:
        """Put a page's text last in the order of eviction."""
        if self._max_bytes is not None:
            self._touched += 1
            self._db.execute(f"UPDATE pages SET touched = ? WHERE id = ? AND {condition}", (self._touched, row))  # noqa: S608

    def _erase(self, row: int) -> None:
        self._drop_texts([row])
        self._unclean = True

    def _evict(self) -> None:
        while self._max_bytes is not None and self._bytes > self._max_bytes:
            query = "SELECT id FROM pages WHERE touched IS NOT NULL ORDER BY touched LIMIT ?"
            self._drop_texts([row for (row,) in self._db.execute(query, (EVICT_AT_ONCE,))])

    def _drop_texts(self, rows: Sequence[int]) -> None:
        for row in rows:
            gone = self._db.execute("DELETE FROM texts WHERE id = ? RETURNING length(packed)", (row,)).fetchone()
            self._bytes -= gone[0] if gone else 0
            self._db.execute("UPDATE pages SET touched = NULL WHERE id = ?", (row,))
            self._db.execute("UPDATE seals SET text = ? WHERE id = ?", (NO_KEY, row))
            self.seeds.drop(row)

    def clean(self) -> bool:
        """Empty the write-ahead log of what was erased; while somebody reads, whoever is last to go does it. Whether it is."""
        self._unclean = self._unclean and not sqlite.checkpoint(self._db)
        return not self._unclean

    def close(self) -> None:
        """Close the file."""
        self._db.close()
