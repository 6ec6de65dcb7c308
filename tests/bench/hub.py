"""Changes to committed mutations, with an API that answers at once; and the memory of a hub under load.

    python -m tests.bench.hub

Real pairs of revisions, 34 KB on the mean. Every page is published first, untimed; then each gets its new revision: read from
the journal, asked for, decided, diffed, proved, folded, committed to journal and store, both synced. The same once more with
difflib in the place of the engine, and with the memory that the process took.
"""

from __future__ import annotations

import asyncio
import difflib
import gzip
import hashlib
import resource
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch as replaced

import orjson

from syncer import config, diff
from syncer.enrich import Enrich
from syncer.journal import change_record
from syncer.journal.sqlite import SqliteJournal
from syncer.model import Answer, Cause, Change, Licence, Page, Patch, Revision, Site, Source
from syncer.store import Store
from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.fetch import Listing, Span

GOAL = 1000  # changes a second
COPIES = {"enwiki": 15, "zhwiki": 5}  # of 50 pairs each: 1,000 pages, 34 KB on the mean
SITE = Site(Licence("https://example.org/licence", "a licence"), {}, "https://example.org/wiki/$1")
NOW = "2026-11-24T00:00:00Z"


def pairs() -> list[tuple[bytes, bytes]]:
    """Old and new text of real edits."""
    found: list[tuple[bytes, bytes]] = []
    for wiki, copies in COPIES.items():
        lines = gzip.decompress((SHARED / f"data/histories/pairs-wikidiff2-{wiki}.jsonl.gz").read_bytes()).splitlines()
        read = [(part["old_text"].encode(), part["new_text"].encode()) for part in map(orjson.loads, lines)]
        found += read * copies
    return found


class Instant:
    """An API that answers at once. The revisions of page n are 2n (old) and 2n + 1 (new); ``current`` is the latest."""

    ahead = 0.0

    def __init__(self, texts: Sequence[tuple[bytes, bytes]]) -> None:
        self.texts, self.current = texts, 0
        self.requests = 0

    async def revisions(self, wiki_id: str, domain: str, rev_ids: Sequence[int]) -> Answer:
        """Answer for revisions."""
        self.requests += 1
        return Answer(pages={rev_id // 2: self._page(rev_id // 2, rev_id % 2) for rev_id in rev_ids})

    async def titles(self, wiki_id: str, domain: str, titles: Sequence[str]) -> Answer:
        """Never asked."""
        raise AssertionError(wiki_id, domain, titles)

    async def glance(self, wiki_id: str, domain: str, *, titles: Sequence[str] = (), page_ids: Sequence[int] = ()) -> Answer:
        """Never asked."""
        raise AssertionError(wiki_id, domain, titles, page_ids)

    async def listed(self, wiki_id: str, domain: str, name: str, span: Span, more: str | None) -> Listing:
        """Never asked."""
        raise AssertionError(wiki_id, domain, name, span, more)

    async def page_ids(self, wiki_id: str, domain: str, page_ids: Sequence[int]) -> Answer:
        """Never asked."""
        raise AssertionError(wiki_id, domain, page_ids)

    async def site(self, wiki_id: str, domain: str) -> Site:
        """What the wiki says of itself."""
        return SITE

    def _page(self, number: int, which: int) -> Page:
        text = self.texts[number - 1][which]
        revision = Revision(
            rev_id=2 * number + which, rev_parent_id=2 * number if which else 0, timestamp=NOW, size=len(text),
            content_model="wikitext", text=text, sha1=hashlib.sha1(text, usedforsecurity=False).hexdigest(), editor="Somebody",
            comment="an edit",
        )  # fmt: skip
        return Page(
            page_id=number, title=f"Page {number}", namespace=0, is_redirect=False, last_rev_id=2 * number + self.current,
            revisions={revision.rev_id: revision},
        )  # fmt: skip


def change(number: int, which: int) -> Change:
    """The edit of page ``number`` to its old (0) or new (1) text."""
    return Change(
        wiki_id="testwiki", domain="test.example.org", cause=Cause.EDIT, rev_ids=(2 * number + which,),
        titles=(f"Page {number}",), namespace=0, source=Source("recentchange", f"{number}-{which}", NOW, NOW),
    )  # fmt: skip


async def publish(texts: Sequence[tuple[bytes, bytes]]) -> tuple[float, float, dict[str, int]]:
    """Publish every page, then its edit; seconds and processor seconds of the latter, and mutations by kind."""
    with tempfile.TemporaryDirectory() as folder:
        settings = config.load(
            flags={
                "journal.url": f"sqlite:///{folder}/journal.db",
                "api.requests_per_minute": 10**6,
                "contact": "bench@example.org",
                "wiki.include": ["*"],
            },
            environ={},
        )
        journal = await SqliteJournal.open(settings.journal)
        store = Store(Path(folder) / "store.db")
        api = Instant(texts)
        took = cpu = 0.0
        for which in (0, 1):
            api.current = which
            hub = Enrich(journal, store, settings, Path(folder) / "in-work")
            hub.api = api
            for number in range(1, len(texts) + 1):
                await journal.append(change_record(change(number, which), journal.partitions))
            stop = asyncio.Event()
            began, began_cpu = time.perf_counter(), time.process_time()
            running = asyncio.ensure_future(hub.run(stop))
            while len(hub.watch.delays) < len(texts) and not running.done():  # noqa: ASYNC110 - not to change it
                await asyncio.sleep(0.005)
            took, cpu = time.perf_counter() - began, time.process_time() - began_cpu
            stop.set()
            await running
        kinds = await _kinds(journal)
        await journal.close()
        store.close()
        return took, cpu, kinds


async def _kinds(journal: SqliteJournal) -> dict[str, int]:
    from syncer.status import read_status  # noqa: PLC0415 - beside its use

    kinds: dict[str, int] = (await read_status(journal))["mutations"]
    return kinds


def by_difflib(base: bytes, result: bytes) -> Patch | None:
    """The same patch format with difflib on lines in the place of the engine, proved in the same way."""
    old, new = base.splitlines(keepends=True), result.splitlines(keepends=True)
    ops, at = [], 0
    starts = [0]
    for line in old:
        at += len(line)
        starts.append(at)
    for tag, first, last, start, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            ops.append((starts[first], starts[last] - starts[first], b"".join(new[start:end]).decode()))
    if diff.apply(base, ops) != result:
        raise AssertionError
    return Patch("splice/1", tuple(ops))


def main() -> None:
    """Measure and print."""
    texts = pairs()
    mean = sum(len(new) for _, new in texts) / len(texts)
    print(f"{len(texts)} pages, new text {mean / 1000:.1f} KB on the mean; goal {GOAL} changes/s on one core")
    rates: dict[str, float] = {}
    for name in ("engine", "difflib"):
        with ExitStack() as stack:
            if name == "difflib":
                stack.enter_context(replaced("syncer.diff.patch", by_difflib))
            took, cpu, kinds = asyncio.run(publish(texts))
        rates[name] = len(texts) / took
        print(f"{name:8} {len(texts) / took:7.0f} changes/s   {1000 * cpu / len(texts):5.2f} ms of processor each   {kinds}")
    print(f"the engine is {rates['engine'] / rates['difflib']:.1f} times as fast as difflib in its place")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB resident at most")


if __name__ == "__main__":
    main()
