"""Harm done to a mirror's file, by a bad disk or a bad hand: texts altered and spoilt, pages missing, older facts come back."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from syncer.seal import seal
from syncer.store import Store

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random


def damage(path: Path, chance: Random, share: float = 0.5) -> dict[str, int]:
    """Do it to about this share of the pages. Returns to how many of them what was done."""
    done = {"altered": 0, "spoilt": 0, "missing": 0, "stale": 0}
    with closing(Store(path)) as store:
        db = store._db
        rows = db.execute("SELECT id, wiki, page_id FROM pages WHERE live ORDER BY id").fetchall()
        for number, (row, wiki_id, page_id) in enumerate(chance.sample(rows, round(share * len(rows)))):
            text = store.text(wiki_id, page_id)
            harm = "missing" if text is None else sorted(done)[number % len(done)]
            with store.folding():
                if harm == "missing":
                    for table in ("pages", "texts", "seals"):
                        db.execute(f"DELETE FROM {table} WHERE id = ?", (row,))  # noqa: S608
                elif harm == "stale":
                    db.execute("UPDATE pages SET seq = max(1, seq - 1) WHERE id = ?", (row,))
                elif harm == "altered" and text is not None:
                    store._write_text(row, text[: len(text) // 2] + b" somebody else's words")
                else:
                    key, sealed = seal(b"no frame of zstd")
                    db.execute("UPDATE texts SET packed = ? WHERE id = ?", (sealed, row))
                    db.execute("UPDATE seals SET text = ? WHERE id = ?", (key, row))
                done[harm] += 1
    return done


def begin_late(path: Path, identity: str, offsets: dict[int, int]) -> None:
    """A new mirror that has not read what stands before these offsets, by partition, and never will."""
    with closing(Store(path)) as store, store.folding():
        for partition, offset in offsets.items():
            store.begin(partition, offset)
        store.remember("journal", identity)
