"""What a store says of its pages."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
import zstandard

from syncer import sqlite
from syncer.model import PageState, Visibility
from syncer.seal import NO_KEY, unseal
from syncer.wire import decode_attribution, decode_revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from syncer.sqlite import Connection

_PAGE = "SELECT wiki, page_id, title, namespace, is_redirect, seq, live, p.facts, s.facts FROM pages p JOIN seals s USING (id)"
_TEXT = "FROM pages JOIN texts USING (id) JOIN seals USING (id) WHERE wiki = ? AND page_id = ? AND diverged IS NULL"


class Reads:
    """The half of a store that reads. ``_last`` is the text read or written last, with its key, which no other text ever had."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._unpack = zstandard.ZstdDecompressor()
        self._last = NO_KEY, b""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A snapshot: what is read inside is of one moment, whoever writes meanwhile."""
        try:
            with sqlite.transaction(self._db, "DEFERRED"):
                yield
        finally:
            sqlite.checkpoint(self._db)  # we were in the way of whoever erased something

    def page(self, wiki_id: str, page_id: int) -> PageState | None:
        """The page of that id, deleted ones included."""
        row = self._db.execute(f"{_PAGE} WHERE wiki = ? AND page_id = ?", (wiki_id, page_id)).fetchone()
        return _state(row) if row else None

    def page_at(self, wiki_id: str, title: str) -> PageState | None:
        """The live page that holds a title."""
        row = self._db.execute(f"{_PAGE} WHERE wiki = ? AND title = ?", (wiki_id, title)).fetchone()
        return _state(row) if row else None

    def was_at(self, wiki_id: str, title: str) -> bool:
        """Whether the title is known to have lost its page, deleted or moved away, and none has come there since."""
        return self._db.execute("SELECT 1 FROM gone WHERE wiki = ? AND title = ?", (wiki_id, title)).fetchone() is not None

    def text(self, wiki_id: str, page_id: int) -> bytes | None:
        """The current text of a page; None where there is none: hidden, deleted, diverged, evicted or spoilt."""
        query = f"SELECT text, packed {_TEXT}"
        row = self._db.execute(query, (wiki_id, page_id)).fetchone()
        if row and row[0] != self._last[0]:
            try:
                self._last = row[0], self._unpack.decompress(unseal(*row))
            except zstandard.ZstdError:
                return None  # a disk that went wrong: the announced hash is nothing's that can be had
        return self._last[1] if row else None

    def has_text(self, wiki_id: str, page_id: int) -> bool:
        """Whether :meth:`text` would give one, at less cost."""
        query = f"SELECT 1 {_TEXT}"
        return self._db.execute(query, (wiki_id, page_id)).fetchone() is not None

    def hidden(self, wiki_id: str, rev_ids: Iterable[int]) -> Mapping[int, Visibility]:
        """Those of the revisions of which something is hidden, and what."""
        query = "SELECT text, user, comment FROM hidden WHERE wiki = ? AND rev_id = ?"
        found = ((rev_id, self._db.execute(query, (wiki_id, rev_id)).fetchone()) for rev_id in rev_ids)
        return {rev_id: Visibility(bool(row[0]), bool(row[1]), bool(row[2])) for rev_id, row in found if row}

    def pages(self, wiki_id: str | None = None) -> Iterator[tuple[str, PageState]]:
        """Every live page, by wiki and page id."""
        rows = self._db.execute(
            f"{_PAGE} WHERE live AND (seq OR title IS NOT NULL) AND (? IS NULL OR wiki = ?) ORDER BY wiki, page_id",
            (wiki_id, wiki_id),
        )
        return ((row[0], _state(row)) for row in rows)

    def untitled(self) -> Sequence[tuple[str, int]]:
        """The pages that live and whose titles others have taken over: wiki and page id."""
        return self._db.execute("SELECT wiki, page_id FROM pages WHERE title IS NULL AND live").fetchall()

    def wikis(self) -> dict[str, str]:
        """Every wiki that a mutation was folded of, and its domain."""
        return dict(self._db.execute("SELECT wiki, domain FROM wikis ORDER BY wiki"))

    def diverged(self) -> Sequence[tuple[str, int, str]]:
        """Pages whose text is not the announced one: wiki, page id, reason."""
        return self._db.execute("SELECT wiki, page_id, diverged FROM pages WHERE diverged IS NOT NULL").fetchall()

    def diverging(self) -> int:
        """How many they are."""
        count: int = self._db.execute("SELECT count(*) FROM pages WHERE diverged IS NOT NULL").fetchone()[0]
        return count


def _state(row: Sequence[Any]) -> PageState:
    _, page_id, title, namespace, is_redirect, seq, live, facts, key = row
    part = orjson.loads(unseal(key, facts)) if facts is not None else {"revision": None, "attribution": None}
    return PageState(
        page_id=page_id,
        title=title,
        namespace=namespace,
        is_redirect=bool(is_redirect),
        seq=seq,
        live=bool(live),
        revision=decode_revision(part["revision"]),
        attribution=decode_attribution(part["attribution"]),
    )
