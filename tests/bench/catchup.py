"""A week's backlog, with wikis that answer at once: on Kafka and on SQLite, and a mirror that follows both.

    python -m tests.bench.catchup

A slice of it, for the rate does not depend on its length: the edits and creations of a recorded minute of all wikis (DATA.md),
four times over, each time with pages of its own. So wikis are as unlike as they are, and hardly a change is merged with a later
one of its page, which in a true week many would be. Texts are those of the hub's bench, 34 KB on the mean, twice what the
recorded pages have. First no page is known, and comes as a snapshot with a patch from its parent; then all are, and come as
patches. All of it is in the journal before the watch is started. The broker shares this machine's processors.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
import structlog

from syncer import config
from syncer.enrich import Enrich
from syncer.journal import INGEST, change_record, open_journal
from syncer.mirror import Mirror
from syncer.model import Answer, Cause, Change, Page, Revision, Source
from syncer.outcome import Publish
from syncer.provision import apply
from syncer.store import Store
from tests.bench import hub
from tests.bench.budget import CONTENT, RECORDED
from tests.bench.feed import Stopwatch
from tests.bench.kafka import broker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncer.journal import Journal
    from syncer.outcome import Outcome
    from tests.bench.feed import Seconds

COPIES = 4
AT_ONCE = 500  # changes a transaction of ingest's
REVISIONS = 1000  # ids a page
WEEK = 7 * 86_400


class Edit(NamedTuple):
    """A page's next revision, ``number`` from 1; 0 is what was there before."""

    wiki_id: str
    page: int
    number: int


def backlog() -> tuple[list[Edit], float]:
    """What happened, in order, and the seconds that it took."""
    path, _ = next(iter(RECORDED.values()))
    with gzip.open(path) as lines:
        events = [event for event in map(orjson.loads, lines) if event.get("type") in CONTENT]
    pages: dict[tuple[int, str, str], int] = {}
    edits: list[Edit] = []
    revisions: Counter[int] = Counter()
    for copy in range(COPIES):
        for event in events:
            page = pages.setdefault((copy, event["wiki"], event["title"]), len(pages) + 1)
            revisions[page] += 1
            edits.append(Edit(event["wiki"], page, revisions[page]))
    times = [event["timestamp"] for event in events]
    return edits, COPIES * float(max(times) - min(times) + 1)


class Wikis(hub.Instant):
    """They answer at once. A page's texts are the old and the new one of a pair, in turn; ``last``: its newest revision."""

    def __init__(self) -> None:
        super().__init__(hub.pairs())
        self.last: dict[int, int] = {}

    async def revisions(self, wiki_id: str, domain: str, rev_ids: Sequence[int]) -> Answer:
        """Answer for revisions."""
        self.requests += 1
        found: dict[int, dict[int, Revision]] = {}
        for rev_id in rev_ids:
            found.setdefault(rev_id // REVISIONS, {})[rev_id] = self._revision(rev_id)
        return Answer(pages={page: self._edited(page, revisions) for page, revisions in found.items()})

    def _edited(self, page: int, revisions: Mapping[int, Revision]) -> Page:
        return Page(
            page_id=page, title=f"Page {page}", namespace=0, is_redirect=False, last_rev_id=page * REVISIONS + self.last[page],
            revisions=revisions,
        )  # fmt: skip

    @cache  # noqa: B019 - as long as the bench
    def _revision(self, rev_id: int) -> Revision:
        page, number = divmod(rev_id, REVISIONS)
        text = self.texts[page % len(self.texts)][number % 2]
        return Revision(
            rev_id=rev_id, rev_parent_id=rev_id - 1 if number else 0, timestamp=hub.NOW, size=len(text), content_model="wikitext",
            text=text, sha1=hashlib.sha1(text, usedforsecurity=False).hexdigest(), editor="Somebody", comment="an edit",
        )  # fmt: skip


def change(edit: Edit) -> Change:
    """As the feed tells it."""
    rev_id = edit.page * REVISIONS + edit.number
    return Change(
        wiki_id=edit.wiki_id, domain=f"{edit.wiki_id}.example.org", cause=Cause.EDIT, rev_ids=(rev_id,),
        titles=(f"Page {edit.page}",), namespace=0, parent_rev_id=rev_id - 1,
        source=Source("recentchange", f"{rev_id}", hub.NOW, hub.NOW),
    )  # fmt: skip


class Caught(NamedTuple):
    """How long it took, how often the wikis were asked, and what came of it."""

    took: Seconds
    requests: int
    outcomes: Counter[str]


async def catch_up(journal: Journal, folder: Path, edits: Sequence[Edit]) -> list[Caught]:
    """Have both halves of the backlog published."""
    flags = {"api.requests_per_minute": 10**6, "contact": "bench@example.org", "wiki.include": ["*"]}
    settings = config.load(flags=flags, environ={})
    store = Store(folder / "store.db")
    wikis, found = Wikis(), []
    made = Counter(edit.page for edit in edits)
    for known in (False, True):
        moved = [edit._replace(number=edit.number + made[edit.page] * known) for edit in edits]
        wikis.last = {edit.page: edit.number for edit in moved}
        ingest = await journal.own(INGEST)
        records = [change_record(change(edit), journal.partitions) for edit in moved]
        for at in range(0, len(records), AT_ONCE):
            await ingest.append(records[at : at + AT_ONCE])
        enrich, outcomes, stop = Enrich(journal, store, settings, folder / "in-work"), Counter[str](), asyncio.Event()
        enrich.api, asked = wikis, wikis.requests

        def told(_: Change, outcome: Outcome, __: float, outcomes: Counter[str] = outcomes) -> None:
            outcomes["published" if isinstance(outcome, Publish) else type(outcome).__name__.lower()] += 1

        enrich.watch.on_outcome.append(told)
        watch = Stopwatch()
        running = asyncio.ensure_future(enrich.run(stop))
        while outcomes.total() < len(moved) and not running.done():  # noqa: ASYNC110 - not to change what is measured
            await asyncio.sleep(0.005)
        found.append(Caught(watch.read(), wikis.requests - asked, outcomes))
        stop.set()
        await running
    store.close()
    return found


async def mirrored(journal: Journal, folder: Path) -> tuple[Seconds, int]:
    """How long a mirror takes from the journal's beginning to its end, and for how many mutations."""
    store = Store(folder / "mirror.db")
    mirror, watch = Mirror(journal, store, config.MirrorSettings()), Stopwatch()
    await mirror.run(asyncio.Event(), 0)
    took = watch.read()
    if store.diverged():
        raise AssertionError(mirror.tally)
    store.close()
    return took, mirror.tally.applied.total()


async def measure(url: str, name: str, edits: Sequence[Edit], week: float) -> None:
    """Everything on one journal."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = config.JournalSettings(url=url.format(folder), kafka=config.KafkaSettings(replication=1))
        if url.startswith("kafka:"):
            await apply(settings)
        journal = await open_journal(settings)
        for caught, what in zip(await catch_up(journal, folder, edits), ("pages unknown", "pages known"), strict=True):
            rate, outcomes = len(edits) / caught.took[0], ", ".join(f"{n:,} {what}" for what, n in caught.outcomes.items())
            print(
                f"{name:7} {what:14} {rate:6,.0f} changes/s {1000 * caught.took[1] / len(edits):6.2f} ms of processor each"
                f" {len(edits) / caught.requests:5.1f} a request {week / rate / 3600:6.1f} h   {outcomes}"
            )
        (wall, processor), count = await mirrored(journal, folder)
        print(f"{name:7} {'a mirror':14} {count / wall:6,.0f} mutations/s {1000 * processor / count:4.2f} ms of processor each")
        await journal.close()


def main() -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    edits, seconds = backlog()
    rate = len(edits) / seconds
    wikis, pages = len({edit.wiki_id for edit in edits}), len({edit.page for edit in edits})
    week = f"a week of {rate:.1f} a second is {rate * WEEK / 1e6:.1f} million"
    print(f"{len(edits):,} changes of {pages:,} pages on {wikis} wikis; {week}")
    with broker() as cluster:
        for name, url in (("SQLite", "sqlite:///{}/journal.db"), ("Kafka", f"kafka://{cluster.bootstrap}")):
            asyncio.run(measure(url, name, edits, rate * WEEK))


if __name__ == "__main__":
    main()
