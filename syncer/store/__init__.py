"""Pages as folded from committed mutations, and nothing else: the hub's store and a partner's mirror are the same thing.

A fold is one transaction together with the offset it has reached, so a store is always exactly what the mutations up to its
offsets say. Every patch is proven by hash as it is applied. What a mutation says was erased is erased from the file.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson
import zstandard

from syncer import diff, sqlite
from syncer.errors import ResumeLost, SyncerError
from syncer.model import Kind, Mutation, PageState, RevisionFacts, Visibility
from syncer.store.layout import MIGRATIONS
from syncer.wire import decode_attribution, decode_revision

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

LEVEL = 1  # zstd: a quarter of the time of the default level for a tenth more space
EVICT_AT_ONCE = 256  # texts removed between two looks at the size

_PAGE = "SELECT page_id, title, namespace, is_redirect, seq, live, facts FROM pages"


class Divergence(SyncerError):
    """A stored page is not the one a mutation builds on, or the result has not the announced hash. ``reason`` is fixed words."""

    def __init__(self, reason: str, mutation: Mutation) -> None:
        super().__init__(f"{mutation.wiki_id}:{mutation.page.page_id} at seq {mutation.seq}: {reason}")
        self.reason = reason


class Store:
    """A file of pages, texts and the ledger of what is hidden. Used from one thread at a time.

    ``max_bytes`` bounds the texts (compressed): beyond it those of the least recently changed pages are evicted, their facts
    never. None keeps all; then a text that is not there is a divergence.
    """

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._db: sqlite3.Connection = sqlite.connect(path, MIGRATIONS)
        self._pack = zstandard.ZstdCompressor(level=LEVEL)
        self._unpack = zstandard.ZstdDecompressor()
        self._erased = False
        meta = dict(self._db.execute("SELECT name, value FROM meta"))
        self._bytes = int(meta.get("text_bytes", 0))
        self._touched = self._db.execute("SELECT coalesce(max(touched), 0) FROM pages").fetchone()[0]

    # -- what it belongs to ------------------------------------------------------------------------------------------

    def bind(self, identity: str) -> bool:
        """Tie the store to a journal, or check that it is this one's. True when it was new. Raises ResumeLost on another's."""
        with sqlite.transaction(self._db):
            fresh = self._db.execute("INSERT OR IGNORE INTO meta VALUES ('journal', ?)", (identity,)).rowcount > 0
            known = self.meta("journal")
        if known != identity:
            raise ResumeLost(
                f"the store belongs to journal {known}, this is journal {identity}",
                hint="the journal was made anew: move the store away and start it from the beginning",
            )
        return fresh

    def meta(self, name: str) -> str | None:
        """A remembered fact about the store itself."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def remember(self, name: str, value: str) -> None:
        """Keep a fact about the store itself."""
        self._db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value))

    def offset(self, partition: int) -> int:
        """The first offset of ``mutations`` that is not folded in yet."""
        row = self._db.execute("SELECT next FROM offsets WHERE part = ?", (partition,)).fetchone()
        return row[0] if row else 0

    # -- folding -----------------------------------------------------------------------------------------------------

    @contextmanager
    def folding(self) -> Iterator[None]:
        """One transaction. What is folded inside is seen at once by reads of this store, and undone if an error leaves it."""
        size, touched, self._erased = self._bytes, self._touched, False
        try:
            with sqlite.transaction(self._db):
                yield
                self._evict()
                self.remember("text_bytes", str(self._bytes))
        except BaseException:
            self._bytes, self._touched = size, touched
            raise
        if self._erased:  # the erased text still stands in the write-ahead log until that is emptied
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part of ``folding`` that is undone alone if an error leaves it."""
        size, touched = self._bytes, self._touched
        self._db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._bytes, self._touched = size, touched
            self._db.execute("ROLLBACK TO attempt")
            raise
        finally:
            self._db.execute("RELEASE attempt")

    def advance(self, partition: int, following: int) -> None:
        """Say, inside ``folding``, that everything before ``following`` is in."""
        self._db.execute(
            "INSERT INTO offsets VALUES (?, ?) ON CONFLICT DO UPDATE SET next = excluded.next", (partition, following)
        )

    def fold(self, mutation: Mutation) -> None:
        """Apply one mutation, inside ``folding``. Raises Divergence, with nothing changed, where it does not fit."""
        wiki_id, page_id = mutation.wiki_id, mutation.page.page_id
        state = self.page(wiki_id, page_id or 0)
        if mutation.kind is Kind.DELETE:
            self._delete(mutation, state)
        else:
            text = self._result(mutation, state)
            row = self._write_page(mutation)
            if text is not None:
                self._write_text(row, text)
        for entry in mutation.redacted:
            self._note(wiki_id, entry.rev_id, entry.visibility)
        self._db.execute("INSERT OR REPLACE INTO wikis VALUES (?, ?)", (wiki_id, mutation.domain))

    def _result(self, mutation: Mutation, state: PageState | None) -> bytes | None:
        """The text to store; None where the stored one stays as it is or there is none any more."""
        revision = mutation.revision
        if revision is None:
            raise Divergence("no revision", mutation)
        if mutation.kind is Kind.SNAPSHOT:
            if not mutation.gap:
                self._check_chain(mutation, state)
            if mutation.text is None:
                self._erase(mutation.wiki_id, mutation.page.page_id or 0)
            elif hashlib.sha1(mutation.text, usedforsecurity=False).hexdigest() != revision.sha1:
                raise Divergence("hash of snapshot", mutation)
            return mutation.text
        self._check_chain(mutation, state)
        if mutation.kind is Kind.REDACT:
            if not revision.visibility.text:
                self._erase(mutation.wiki_id, mutation.page.page_id or 0)
            return None
        return self._patched(mutation, revision)

    def _check_chain(self, mutation: Mutation, state: PageState | None) -> None:
        """Law 2: the next seq, and a base that is what the page's previous mutation stated."""
        if state is None or not state.live or state.revision is None:
            raise Divergence("unknown page", mutation)
        if mutation.seq != state.seq + 1:
            raise Divergence("missed seq", mutation)
        if mutation.base and (mutation.base.rev_id, mutation.base.sha1) != (state.revision.rev_id, state.revision.sha1):
            raise Divergence("other base", mutation)

    def _patched(self, mutation: Mutation, revision: RevisionFacts) -> bytes | None:
        if mutation.base is None or mutation.patch is None or mutation.patch.format not in diff.FORMATS:
            raise Divergence("unknown patch", mutation)
        base = self.text(mutation.wiki_id, mutation.page.page_id or 0)
        if base is None:
            if self._max_bytes is not None:
                return None  # evicted: the facts go on, and the text is fetched when it is next needed
            raise Divergence("no base text", mutation)
        if not mutation.patch.ops:
            text = base
        else:
            try:
                text = diff.FORMATS[mutation.patch.format].apply(base, mutation.patch.ops)
            except ValueError as error:
                raise Divergence("patch does not apply", mutation) from error
        if hashlib.sha1(text, usedforsecurity=False).hexdigest() != revision.sha1:
            raise Divergence("hash of result", mutation)
        return text if mutation.patch.ops else None

    def _delete(self, mutation: Mutation, state: PageState | None) -> None:
        wiki_id, page = mutation.wiki_id, mutation.page
        holder = self.page_at(wiki_id, page.title) if page.page_id is None else state
        if holder:
            self._erase(wiki_id, holder.page_id)
            self._db.execute(
                "UPDATE pages SET live = 0, title = NULL, facts = NULL, diverged = NULL WHERE wiki = ? AND page_id = ?",
                (wiki_id, holder.page_id),
            )
        self._db.execute(
            "INSERT INTO pages (wiki, page_id, namespace, is_redirect, seq, live, last_title) VALUES (?, ?, ?, 0, ?, 0, ?)"
            " ON CONFLICT (wiki, page_id) DO UPDATE SET seq = excluded.seq, last_title = excluded.last_title",
            (wiki_id, page.page_id or 0, page.namespace, mutation.seq, page.title),
        )
        self._erased = True  # names and comments of the facts too

    def _write_page(self, mutation: Mutation) -> int:
        """Write everything but the text; the title is taken from whoever holds it. Returns the row."""
        page, wiki_id = mutation.page, mutation.wiki_id
        self._touched += 1
        self._db.execute(
            "UPDATE pages SET title = NULL WHERE wiki = ? AND title = ? AND page_id <> ?", (wiki_id, page.title, page.page_id)
        )
        facts = orjson.dumps({"revision": mutation.revision, "attribution": mutation.attribution})
        row = self._db.execute(
            "INSERT INTO pages (wiki, page_id, title, namespace, is_redirect, seq, live, facts, touched)"
            " VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (wiki, page_id) DO UPDATE SET title = excluded.title,"
            " namespace = excluded.namespace, is_redirect = excluded.is_redirect, seq = excluded.seq, live = 1,"
            " facts = excluded.facts, touched = excluded.touched, diverged = NULL, last_title = NULL RETURNING id",
            (wiki_id, page.page_id, page.title, page.namespace, page.is_redirect, mutation.seq, facts, self._touched),
        ).fetchone()
        self._erased = self._erased or bool(mutation.redacted)
        return int(row[0])

    def _note(self, wiki_id: str, rev_id: int, visibility: Visibility) -> None:
        """Keep the ledger of what is hidden; a revision that is shown again leaves it."""
        if visibility.full:
            self._db.execute("DELETE FROM hidden WHERE wiki = ? AND rev_id = ?", (wiki_id, rev_id))
            return
        row = (wiki_id, rev_id, visibility.text, visibility.user, visibility.comment)
        self._db.execute("INSERT OR REPLACE INTO hidden VALUES (?, ?, ?, ?, ?)", row)

    def diverge(self, mutation: Mutation, reason: str) -> None:
        """Record, inside ``folding``, that a mutation did not fit: its facts are kept, the text is unknown until it is healed."""
        self._erase(mutation.wiki_id, mutation.page.page_id or 0)
        row = self._write_page(mutation)
        self._db.execute("UPDATE pages SET diverged = ? WHERE id = ?", (reason, row))
        for entry in mutation.redacted:
            self._note(mutation.wiki_id, entry.rev_id, entry.visibility)

    def heal(self, wiki_id: str, page_id: int, text: bytes) -> bool:
        """Put back a text that is missing, if it is the one the facts announce by hash. Inside ``folding``."""
        state = self.page(wiki_id, page_id)
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        if state is None or state.revision is None or state.revision.sha1 != digest:
            return False
        row = self._db.execute("SELECT id FROM pages WHERE wiki = ? AND page_id = ?", (wiki_id, page_id)).fetchone()[0]
        self._write_text(row, text)
        self._db.execute("UPDATE pages SET diverged = NULL WHERE id = ?", (row,))
        return True

    def publish(self, mutation: Mutation, partition: int, offset: int) -> None:
        """Note, inside ``folding``, which record holds a revision's text, editor or comment."""
        if mutation.revision:
            row = (mutation.wiki_id, mutation.revision.rev_id, partition, offset)
            self._db.execute("INSERT OR IGNORE INTO published VALUES (?, ?, ?, ?)", row)

    def recall(self, wiki_id: str, rev_id: int) -> tuple[tuple[int, int], ...]:
        """The (partition, offset) of every record noted to hold a revision, oldest first."""
        query = 'SELECT part, "offset" FROM published WHERE wiki = ? AND rev_id = ? ORDER BY "offset"'
        return tuple(self._db.execute(query, (wiki_id, rev_id)).fetchall())

    def forget(self, partition: int, before: int) -> None:
        """Drop the notes of records that the journal no longer holds."""
        with sqlite.transaction(self._db):
            self._db.execute('DELETE FROM published WHERE part = ? AND "offset" < ?', (partition, before))

    def _write_text(self, row: int, text: bytes) -> None:
        packed = self._pack.compress(text)
        old = self._db.execute("SELECT length(packed) FROM texts WHERE id = ?", (row,)).fetchone()
        self._db.execute("INSERT INTO texts VALUES (?, ?) ON CONFLICT DO UPDATE SET packed = excluded.packed", (row, packed))
        self._bytes += len(packed) - (old[0] if old else 0)

    def _erase(self, wiki_id: str, page_id: int) -> None:
        gone = self._db.execute(
            "DELETE FROM texts WHERE id = (SELECT id FROM pages WHERE wiki = ? AND page_id = ?) RETURNING length(packed)",
            (wiki_id, page_id),
        ).fetchall()
        self._bytes -= sum(size for (size,) in gone)
        self._erased = self._erased or bool(gone)

    def _evict(self) -> None:
        while self._max_bytes is not None and self._bytes > self._max_bytes:
            gone = self._db.execute(
                "DELETE FROM texts WHERE id IN (SELECT t.id FROM texts t JOIN pages p ON p.id = t.id ORDER BY p.touched LIMIT ?)"
                " RETURNING length(packed)",
                (EVICT_AT_ONCE,),
            ).fetchall()
            self._bytes -= sum(size for (size,) in gone)
            if not gone:
                break

    # -- reading -----------------------------------------------------------------------------------------------------

    def page(self, wiki_id: str, page_id: int) -> PageState | None:
        """The page of that id, deleted ones included."""
        row = self._db.execute(f"{_PAGE} WHERE wiki = ? AND page_id = ?", (wiki_id, page_id)).fetchone()
        return _state(row) if row else None

    def page_at(self, wiki_id: str, title: str) -> PageState | None:
        """The live page that holds a title."""
        row = self._db.execute(f"{_PAGE} WHERE wiki = ? AND title = ?", (wiki_id, title)).fetchone()
        return _state(row) if row else None

    def was_at(self, wiki_id: str, title: str) -> bool:
        """Whether a page that was last seen at this title is known to be gone."""
        query = "SELECT 1 FROM pages WHERE wiki = ? AND last_title = ?"
        return self._db.execute(query, (wiki_id, title)).fetchone() is not None

    def text(self, wiki_id: str, page_id: int) -> bytes | None:
        """The current text of a page; None where there is none: hidden, deleted, diverged or evicted."""
        query = "SELECT packed FROM texts WHERE id = (SELECT id FROM pages WHERE wiki = ? AND page_id = ?)"
        row = self._db.execute(query, (wiki_id, page_id)).fetchone()
        return self._unpack.decompress(row[0]) if row else None

    def has_text(self, wiki_id: str, page_id: int) -> bool:
        """Whether :meth:`text` would give one, at less cost."""
        query = "SELECT 1 FROM texts WHERE id = (SELECT id FROM pages WHERE wiki = ? AND page_id = ?)"
        return self._db.execute(query, (wiki_id, page_id)).fetchone() is not None

    def hidden(self, wiki_id: str, rev_ids: Iterable[int]) -> Mapping[int, Visibility]:
        """Those of the revisions of which something is hidden, and what."""
        query = "SELECT text, user, comment FROM hidden WHERE wiki = ? AND rev_id = ?"
        found = ((rev_id, self._db.execute(query, (wiki_id, rev_id)).fetchone()) for rev_id in rev_ids)
        return {rev_id: Visibility(bool(row[0]), bool(row[1]), bool(row[2])) for rev_id, row in found if row}

    def pages(self, wiki_id: str | None = None) -> Iterator[tuple[str, PageState]]:
        """Every live page, by wiki and page id."""
        query = "SELECT wiki, page_id, title, namespace, is_redirect, seq, live, facts FROM pages WHERE live"
        rows = self._db.execute(f"{query} AND (? IS NULL OR wiki = ?) ORDER BY wiki, page_id", (wiki_id, wiki_id))
        return ((row[0], _state(row[1:])) for row in rows)

    def wikis(self) -> dict[str, str]:
        """Every wiki that a mutation was folded of, and its domain."""
        return dict(self._db.execute("SELECT wiki, domain FROM wikis ORDER BY wiki"))

    def diverged(self) -> Sequence[tuple[str, int, str]]:
        """Pages whose text is not the announced one: wiki, page id, reason."""
        return self._db.execute("SELECT wiki, page_id, diverged FROM pages WHERE diverged IS NOT NULL").fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _state(row: Sequence[object]) -> PageState:
    page_id, title, namespace, is_redirect, seq, live, facts = row
    part = orjson.loads(facts) if isinstance(facts, bytes) else {"revision": None, "attribution": None}
    return PageState(
        page_id=page_id,  # type: ignore[arg-type]  # the columns' types are those of the layout
        title=title,  # type: ignore[arg-type]
        namespace=namespace,  # type: ignore[arg-type]
        is_redirect=bool(is_redirect),
        seq=seq,  # type: ignore[arg-type]
        live=bool(live),
        revision=decode_revision(part["revision"]),
        attribution=decode_attribution(part["attribution"]),
    )
