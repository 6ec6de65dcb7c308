"""When each page was last looked at, so that those are looked at first that nobody has for longest. Nothing of it is folded:
lost, it is begun anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer import sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncer.sqlite import Connection

AT_ONCE = 500  # pages looked through for those that live


class Seen:
    """A part of a store, used like it from one thread at a time. Times are seconds since the epoch."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def enroll(self, now: float) -> None:
        """Take in the pages that are new: they were read a moment ago."""
        with sqlite.transaction(self._db):
            self._db.execute(
                "INSERT INTO seen SELECT id, wiki, ? FROM pages WHERE id > (SELECT coalesce(max(id), 0) FROM seen)", (now,)
            )

    def longest_ago(self, wikis: Iterable[str]) -> str | None:
        """Which of these wikis has the page that was not looked at for longest."""
        query = "SELECT at FROM seen WHERE wiki = ? ORDER BY at LIMIT 1"
        found = ((self._db.execute(query, (wiki_id,)).fetchone(), wiki_id) for wiki_id in wikis)
        return min(((row[0], wiki_id) for row, wiki_id in found if row), default=(0.0, None))[1]

    def unseen(self, wiki_id: str, count: int, now: float) -> list[int]:
        """So many pages that live and were not looked at for longest, by id. Of those that do not live, nobody needs to know."""
        query = "SELECT id, page_id, live FROM seen JOIN pages USING (id) WHERE seen.wiki = ? AND at < ? ORDER BY at, id LIMIT ?"
        while rows := self._db.execute(query, (wiki_id, now, AT_ONCE)).fetchall():
            if alive := [page_id for _, page_id, live in rows if live]:
                return alive[:count]
            with sqlite.transaction(self._db):
                self._db.executemany("UPDATE seen SET at = ? WHERE id = ?", [(now, row) for row, *_ in rows])
        return []

    def some(self, wiki_id: str, count: int, share: float) -> list[int]:
        """So many neighbouring pages, by id, from that share (0 to 1) of the wiki's ids on, and after the last the first."""
        low, high = self._db.execute("SELECT min(page_id), max(page_id) FROM pages WHERE wiki = ?", (wiki_id,)).fetchone()
        if low is None:
            return []
        begin = low + int(share * (high - low))
        query = "SELECT page_id FROM pages WHERE wiki = ? AND page_id BETWEEN ? AND ? AND live ORDER BY page_id LIMIT ?"
        found = self._db.execute(query, (wiki_id, begin, high, count)).fetchall()
        found += self._db.execute(query, (wiki_id, low, begin - 1, count - len(found))).fetchall()
        return [page_id for (page_id,) in found]

    def after(self, wiki_id: str, page_id: int, count: int) -> list[tuple[int, int, bool]]:
        """So many pages after that one: id, namespace, and whether it lives."""
        query = "SELECT page_id, namespace, live FROM pages WHERE wiki = ? AND page_id > ? ORDER BY page_id LIMIT ?"
        return [(found, space, bool(live)) for found, space, live in self._db.execute(query, (wiki_id, page_id, count))]

    def alive(self, wiki_id: str, after: int = 0) -> int:
        """How many pages of a wiki live, after that one."""
        query = "SELECT count(*) FROM pages WHERE wiki = ? AND page_id > ? AND live"
        found: int = self._db.execute(query, (wiki_id, after)).fetchone()[0]
        return found

    def gone(self, wiki_id: str, page_id: int, count: int) -> list[int]:
        """So many pages after that one that lived once, by id."""
        query = "SELECT page_id FROM pages WHERE wiki = ? AND page_id > ? AND NOT live ORDER BY page_id LIMIT ?"
        return [found for (found,) in self._db.execute(query, (wiki_id, page_id, count))]

    def saw(self, wiki_id: str, page_ids: Iterable[int], now: float) -> None:
        """These were looked at now."""
        query = "UPDATE seen SET at = ? WHERE id = (SELECT id FROM pages WHERE wiki = ? AND page_id = ?)"
        with sqlite.transaction(self._db):
            self._db.executemany(query, [(now, wiki_id, page_id) for page_id in page_ids])
