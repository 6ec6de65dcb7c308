"""Mutations to a mirror's pages, against plain SQLite writes of the same texts.

    python -m tests.bench.mirror

The mutations are composed as the hub does it and lie in a SQLite journal; the mirror follows that to its end, which is the whole
way: read, decode, apply, prove by hash, compress, seal, commit. Plain is a table of texts with the same pragmas, written in
transactions of the same sizes by somebody who has the texts already. Each line is the best of five runs.

In the histories pages change many times within a transaction: plain SQLite then writes the last text alone to the disk, where the
mirror compresses and proves every one.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zstandard

from syncer import sqlite
from syncer.compose import Frame, Published, compose
from syncer.config import JournalSettings, MirrorSettings
from syncer.journal import Record, Topic
from syncer.journal.sqlite import SqliteJournal
from syncer.mirror import APPLY_AT_ONCE, Mirror
from syncer.model import PageFacts, Revision
from syncer.outcome import Bring
from syncer.store import LEVEL, Store
from syncer.wire import encode_mutation, headers_of, key_of
from tests.bench import hub
from tests.bench.feed import Stopwatch
from tests.histories import pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.bench.feed import Seconds

    Text = tuple[str, int, bytes]  # as a row: wiki, page id, text

REPEATS = 5
WIKI = "testwiki"
TABLE = "CREATE TABLE texts (wiki TEXT, page_id INTEGER, text BLOB NOT NULL, PRIMARY KEY (wiki, page_id))"
WRITE = "INSERT INTO texts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET text = excluded.text"


class Corpus(NamedTuple):
    """Mutations and the texts they lead to, in order; the first ``known`` are there before anything is measured."""

    records: list[Record]
    texts: list[Text]
    known: int = 0

    def last(self) -> dict[tuple[str, int], bytes]:
        """The text that every page ends with."""
        return {(wiki, page): text for wiki, page, text in self.texts}


def edited() -> Iterator[tuple[int, bytes]]:
    """The pages of the hub's bench, each published and then edited: page ids and texts."""
    texts = hub.pairs()
    return ((page, pair[turn]) for turn in (0, 1) for page, pair in enumerate(texts, 1))


def lived() -> Iterator[tuple[int, bytes]]:
    """Whole histories of real pages, mixed as a wiki mixes them: what is edited next is seldom what was edited last."""
    pages: list[list[bytes]] = []
    before = ""
    for name, base, result in pairs():
        if name == before and pages[-1][-1] == base:
            pages[-1].append(result)
        else:
            pages.append([base, result])
        before = name
    turns = [page for page, texts in enumerate(pages) for _ in texts]
    random.Random(1).shuffle(turns)
    revisions = [iter(texts) for texts in pages]
    return ((page + 1, next(revisions[page])) for page in turns)


def corpus(edits: Iterable[tuple[int, bytes]]) -> Corpus:
    """What the hub publishes of them."""
    made, frame = Corpus([], []), Frame(hub.SITE, 0, hub.NOW)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "hub.db")
        with store.folding():
            for rev_id, (page, text) in enumerate(edits, 1):
                state = store.page(WIKI, page)
                revision = Revision(
                    rev_id=rev_id, rev_parent_id=0, timestamp=hub.NOW, size=len(text), content_model="wikitext", text=text,
                    sha1=hashlib.sha1(text, usedforsecurity=False).hexdigest(), editor="Somebody", comment="an edit",
                )  # fmt: skip
                step = Bring(PageFacts(page, f"Page {page}", 0), None, revision, gap=state is None)
                published = Published(state, store.text(WIKI, page), lambda _: ())
                mutation = compose(step, hub.change(page, 1), published, frame)
                store.fold(mutation)
                value, headers = encode_mutation(mutation), headers_of(mutation)
                made.records.append(Record(Topic.MUTATIONS, 0, key_of(mutation), value, headers))
                made.texts.append((WIKI, page, text))
        store.close()
    return made


async def follow(made: Corpus, folder: Path) -> tuple[Seconds, Seconds, list[int]]:
    """How long a mirror takes, and reading its journal alone; and how many mutations it is given at once."""
    journal = await SqliteJournal.open(JournalSettings(url=f"sqlite:///{folder}/journal.db", partitions=1))
    store = Store(folder / "mirror.db")
    mirror = Mirror(journal, store, MirrorSettings())
    await journal.commit(made.records[: made.known])
    await mirror.run(asyncio.Event(), 0)
    offset = (await journal.bounds(Topic.MUTATIONS, 0))[1]
    await journal.commit(made.records[made.known :])
    watch = Stopwatch()
    await mirror.run(asyncio.Event(), 0)
    mirrored, watch, portions = watch.read(), Stopwatch(), []
    while records := await journal.read(Topic.MUTATIONS, 0, offset, limit=APPLY_AT_ONCE):
        portions.append(len(records))
        offset = records[-1].offset + 1
    read = watch.read()
    if any(store.text(wiki, page) != text for (wiki, page), text in made.last().items()):
        raise AssertionError(mirror.tally)
    await journal.close()
    store.close()
    return mirrored, read, portions


def write(made: Corpus, folder: Path, portions: list[int], pack: Callable[[bytes], bytes]) -> Seconds:
    """How long SQLite takes for the texts alone."""
    db = sqlite.connect(folder / f"{pack.__name__}.db", (TABLE,))
    rows = iter(made.texts)
    with sqlite.transaction(db):
        db.executemany(WRITE, ((*page, pack(text)) for *page, text in islice(rows, made.known)))
    watch = Stopwatch()
    for portion in portions:
        with sqlite.transaction(db):
            db.executemany(WRITE, ((*page, pack(text)) for *page, text in islice(rows, portion)))
    took = watch.read()
    db.close()
    return took


def run(made: Corpus) -> dict[str, Seconds]:
    """Every way once, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        mirrored, read, portions = asyncio.run(follow(made, Path(folder)))
        return {
            "plain SQLite": write(made, Path(folder), portions, bytes),
            "plain SQLite, zstd": write(made, Path(folder), portions, zstandard.ZstdCompressor(level=LEVEL).compress),
            "the journal, only read": read,
            "mirror": mirrored,
        }


def table(title: str, made: Corpus) -> None:
    """Measure and print."""
    texts = [text for *_, text in made.texts[made.known :]]
    count, size = len(texts), sum(map(len, texts)) / 1e6
    patches = sum(record.headers["kind"] == "patch" for record in made.records[made.known :])
    print(f"\n{title}: {count} mutations, {patches} of them patches, text {1000 * size / count:.1f} KB on the mean")
    print(f"  {'':24} {'wall':>8} {'processors':>10}   {'times plain':>11}   {'mutations/s':>11} {'MB/s':>6}")
    runs = [run(made) for _ in range(REPEATS)]
    best = {name: [min(each[name][clock] for each in runs) for clock in (0, 1)] for name in runs[0]}
    plain = best["plain SQLite"]
    for name, (wall, processors) in best.items():
        ratios = f"{wall / plain[0]:5.2f} {processors / plain[1]:5.2f}"
        print(f"  {name:24} {wall:6.3f} s {processors:8.3f} s   {ratios}   {count / wall:11,.0f} {size / wall:6.0f}")


def main() -> None:
    """Print the tables; both ratios are of the wall's clock and of the processors'."""
    pages = corpus(edited())
    half = len(pages.records) // 2
    table("Pages published", Corpus(pages.records[:half], pages.texts[:half], 0))
    table("The same pages edited", pages._replace(known=half))
    table("Whole histories, mixed", corpus(lived()))


if __name__ == "__main__":
    main()
