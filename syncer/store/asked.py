"""What a mirror has asked its hub for and still lacks, and when it asks again: kept with the pages, across restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncer.sqlite import Connection

FIRST, LONGEST = 60.0, 3600.0  # seconds until it asks again: twice as many each time, and no more than these


class Asked:
    """Diverged pages, by when to ask for them. Times in seconds since the epoch."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def due(self, most: int, now: float) -> list[tuple[str, int, str]]:
        """So many diverged pages to ask for now: wiki, page id, reason."""
        query = (
            "SELECT wiki, page_id, diverged FROM pages LEFT JOIN asked USING (id)"
            " WHERE diverged IS NOT NULL AND coalesce(due, 0) NOT BETWEEN ? AND ? LIMIT ?"
        )
        return self._db.execute(query, (now, now + LONGEST, most)).fetchall()  # one due later than that: the clock was wrong

    def next_due(self) -> float | None:
        """When the next one is due; None where no page is diverged. Forgets those that are not any more."""
        with transaction(self._db):
            self._db.execute("DELETE FROM asked WHERE id IN (SELECT id FROM asked JOIN pages USING (id) WHERE diverged IS NULL)")
            query = "SELECT min(coalesce(due, 0)) FROM pages LEFT JOIN asked USING (id) WHERE diverged IS NOT NULL"
            due: float | None = self._db.execute(query).fetchone()[0]
        return due

    def note(self, pages: Iterable[tuple[str, int]], now: float) -> None:
        """They were asked for."""
        query = (
            "INSERT INTO asked SELECT id, 1, ?1 + ?2 FROM pages WHERE wiki = ?4 AND page_id = ?5"
            " ON CONFLICT DO UPDATE SET tries = min(tries + 1, 30), due = ?1 + min(?3, ?2 * (1 << tries))"
        )
        with transaction(self._db):
            self._db.executemany(query, ((now, FIRST, LONGEST, wiki_id, page_id) for wiki_id, page_id in pages))
