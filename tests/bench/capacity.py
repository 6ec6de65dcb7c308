"""By how many bytes the topics grow in a day: for all wikis, and for Wikipedia articles, from the recorded minutes of DATA.md.

    python -m tests.bench.capacity

Every edit and creation recorded becomes the mutation that the hub would compose: with the event's own wiki, title, user and
comment, and a text as long as the page was, made of real pages around a real edit. All wikis are given wikitext, Wikidata and
Commons too. They are written to a real broker in the transactions that the budget makes of them at 180 requests a minute, and the
changes in those that ingest makes, four a second. Counted are the bytes of the broker's files, one copy; compacted topics do not
grow. Of articles, ingest appends the changes of all namespaces, as it does by default. What a topic may hold is divided among its
partitions, whatever they have: so the fullest decides how far back it reaches, and what has to be set for so many days.

Unknown: the hub sees every page for the first time, and publishes its whole text with the patch from the revision before. Known:
it has published the page before, and sends the patch, but for creations. A log entry counts as a mutation of a known page.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import math
import statistics
from collections import Counter, deque
from datetime import datetime
from itertools import accumulate, cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from syncer.compose import Frame, Published, compose
from syncer.config import Retention, WikiSettings
from syncer.feed import Scope
from syncer.feed.client import Delivered
from syncer.feed.memory import Memory
from syncer.feed.sift import Sift
from syncer.ingest import COMMIT_EVERY
from syncer.journal import Record, Topic, change_record, partition_of
from syncer.journal.kafka import KafkaJournal
from syncer.model import Cause, Change, PageFacts, PageState, Revision, Source
from syncer.outcome import Bring
from syncer.wire import encode_mutation, headers_of, key_of
from tests.bench import hub
from tests.bench.budget import CONTENT, RECORDED, WITH_LOG, Ours, load, simulate
from tests.bench.kafka import PARTITIONS, broker, journal_on, on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from deploy.kafka.nodes import Cluster
    from syncer.budget import Pace

    Event = dict[str, Any]

PER_MINUTE = 180
DAY = 86_400
SCOPES = {"all wikis": ("*",), "articles": ("*.wikipedia.org",)}


# -- what is published -------------------------------------------------------------------------------------------------------


class Texts:
    """Texts of the length asked for: a window of a real page around a real edit; shorter pages get others put before them."""

    def __init__(self) -> None:
        found = list(dict.fromkeys(hub.pairs()))
        self._pairs = cycle(found)
        self._filler = b"\n".join(base for base, _ in found)
        self._at = 0

    def take(self, size: int) -> tuple[bytes, bytes]:
        """Before the edit, and after."""
        base, result = next(self._pairs)
        if size < len(result):
            same = next((at for at, (a, b) in enumerate(zip(base, result, strict=False)) if a != b), min(len(base), len(result)))
            start = max(0, min(same - size // 2, len(result) - size))
            base, result = base[start : start + size + len(base) - len(result)], result[start : start + size]
        else:
            before = b"".join(self._fill(size - len(result)))
            base, result = before + base, before + result
        return base.decode(errors="ignore").encode(), result.decode(errors="ignore").encode()

    def _fill(self, size: int) -> Iterator[bytes]:
        while size > 0:
            part = self._filler[self._at : self._at + size]
            self._at = (self._at + len(part)) % len(self._filler)
            size -= len(part)
            yield part


class Made(NamedTuple):
    """The mutation of an event, if the page was unknown and if it was known, and the length of its text."""

    unknown: Record
    known: Record
    size: int


def made(number: int, event: Event, texts: Texts) -> Made:
    """What the hub would publish."""
    wiki, title, when = event["wiki"], event["title"], event["meta"]["dt"]
    new_id, old_id = event["revision"]["new"], event["revision"].get("old") or 0
    base, result = texts.take(event["length"]["new"] or 0)
    page, frame = PageFacts(number, title, event["namespace"]), Frame(hub.SITE, 0, when)
    source = Source("recentchange", event["meta"]["id"], when, when)
    change = Change(wiki_id=wiki, domain=event["meta"]["domain"], cause=Cause.EDIT, rev_ids=(new_id,), source=source)

    def revision(rev_id: int, parent: int, text: bytes) -> Revision:
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        return Revision(
            rev_id=rev_id, rev_parent_id=parent, timestamp=when, size=len(text), content_model="wikitext", text=text, sha1=digest,
            minor=event["minor"], editor=event["user"], comment=event["comment"], tags=("visualeditor",),
        )  # fmt: skip

    before, after = revision(old_id, 0, base), revision(new_id, old_id, result)
    nothing = Published(None, None, lambda _: ())
    first = compose(Bring(page, None, after, gap=True, parent=before if old_id else None), change, nothing, frame)
    if not old_id:
        return Made(_record(first), _record(first), len(result))
    then = compose(Bring(page, None, before, gap=True), change, nothing, frame)
    state = PageState(
        page_id=number, title=title, namespace=page.namespace, is_redirect=False, seq=then.seq, live=True,
        revision=then.revision, attribution=then.attribution,
    )  # fmt: skip
    second = compose(Bring(page, None, after, gap=False), change, Published(state, base, lambda _: ()), frame)
    return Made(_record(first), _record(second), len(result))


def _record(mutation: Any) -> Record:
    part = partition_of(mutation.wiki_id, PARTITIONS)
    return Record(Topic.MUTATIONS, part, key_of(mutation), encode_mutation(mutation), headers_of(mutation))


# -- in which transactions ---------------------------------------------------------------------------------------------------


class Noted(Ours):
    """The budget, with a note of every request: the wiki, and how many changes it was for."""

    requests: list[tuple[str, int]]

    def __init__(self, pace: Pace) -> None:
        super().__init__(pace)
        self.requests = []
        self._lengths: Counter[str] = Counter()
        self._choose, self.choose = self.choose, self._noted

    def queued(self, wiki: str, queue: deque[float]) -> None:
        """Take note of the queue's length."""
        self._lengths[wiki] = len(queue)
        super().queued(wiki, queue)

    def _noted(self, now: float) -> str | None:
        wiki = self._choose(now)
        if wiki is not None:
            self.requests.append((wiki, min(self.batch, self._lengths[wiki])))
        return wiki


def requests(path: Path, *, articles: bool) -> list[tuple[str, int]]:
    """What the wikis are asked for, one request after the other."""
    noted: list[Noted] = []

    def policy(pace: Pace) -> Noted:
        noted.append(Noted(pace))
        return noted[0]

    simulate(load(path, 1, CONTENT, articles=articles), policy, PER_MINUTE)
    return noted[0].requests


def changes(events: Sequence[Event], scope: str, seconds: float) -> list[list[Record]]:
    """What ingest appends, commit by commit."""
    sift, commits = Sift(Scope(WikiSettings(include=SCOPES[scope])), Memory(30_000)), []
    for at in accumulate([0.0] + [COMMIT_EVERY] * int(seconds / COMMIT_EVERY)):
        window = events[int(len(events) * at / seconds) : int(len(events) * (at + COMMIT_EVERY) / seconds)]
        judged = [sift.judge(Delivered(("eqiad", 0), 0, orjson.dumps(event)), event["meta"]["dt"]) for event in window]
        commits.append([change_record(verdict, PARTITIONS) for verdict in judged if isinstance(verdict, Change)])
    return commits


# -- what it comes to --------------------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """Bytes on the broker's disk, a record, and the share of the fullest partition."""

    each: float
    fullest: float


async def written(cluster: Cluster, name: str, transactions: Sequence[Sequence[Record]], topic: Topic) -> Stored:
    """Write them to a topic of its own."""
    settings = await journal_on(cluster, name)
    journal = await KafkaJournal.open(settings)
    owner = await journal.own("bench", range(PARTITIONS))
    for records in transactions:
        await owner.append(records)
    await journal.close()
    found = on_disk(cluster, name, topic)
    return Stored(sum(found) / sum(map(len, transactions)), max(found) / sum(found))


async def measure(cluster: Cluster, recording: str, scope: str) -> None:
    """A recorded minute in one scope."""
    path, name, articles = RECORDED[recording][0], f"{recording[:2]}-{scope.replace(' ', '-')}", scope == "articles"
    with gzip.open(path) as lines:
        events = [orjson.loads(line) for line in lines]
    times = [datetime.fromisoformat(event["meta"]["dt"]).timestamp() for event in events]
    seconds = math.ceil(max(times) - min(times))
    inside = [e for e in events if not articles or (e["namespace"] == 0 and e["meta"]["domain"].endswith(".wikipedia.org"))]
    content = [event for event in inside if event.get("type") in CONTENT]
    texts, queues = Texts(), dict[str, deque[Made]]()
    for number, event in enumerate(content, 1):
        queues.setdefault(event["wiki"], deque()).append(made(number, event, texts))
    sizes = [each.size for queue in queues.values() for each in queue]
    batches = [[queues[wiki].popleft() for _ in range(count)] for wiki, count in requests(path, articles=articles)]
    unknown = await written(cluster, f"{name}-unknown", [[each.unknown for each in batch] for batch in batches], Topic.MUTATIONS)
    known = await written(cluster, f"{name}-known", [[each.known for each in batch] for batch in batches], Topic.MUTATIONS)
    commits = changes(events, scope, seconds)
    change = await written(cluster, f"{name}-changes", commits, Topic.CHANGES)
    edits, logs = len(content) / seconds, sum(e.get("type") in WITH_LOG - CONTENT for e in inside) / seconds
    day = {what: (edits * each.each + logs * known.each) * DAY for what, each in (("unknown", unknown), ("known", known))}
    day["changes"] = sum(map(len, commits)) / seconds * change.each * DAY
    kept = Retention()
    most = {"unknown": kept.mutations_bytes, "known": kept.mutations_bytes, "changes": kept.changes_bytes}
    shares = {"unknown": unknown.fullest, "known": known.fullest, "changes": change.fullest}
    print(f"  {scope:9} {edits:5.1f} {logs:5.1f} {statistics.mean(sizes) / 1000:5.1f} {len(content) / len(batches):5.1f}", end="")
    print("  ", *(f"{each.each:7,.0f}" for each in (unknown, known, change)), end="")
    print("  ", *(f"{each / 1e9:7.2f}" for each in day.values()), f"{edits * statistics.mean(sizes) * DAY / 1e9:7.1f}", end="")
    print("  ", *(f"{share:7.0%}" for share in shares.values()), end="")
    print("  ", *(f"{most[what] / PARTITIONS / (day[what] * share):7.1f}" for what, share in shares.items()), end="")
    days = {"known": kept.mutations_days, "changes": kept.changes_days}
    print("  ", *(f"{days[what] * day[what] * shares[what] * PARTITIONS / 1e9:7.0f}" for what in days))


def main() -> None:
    """Measure and print."""
    three = f"{'unknown':>7} {'known':>7} {'changes':>7}"
    with broker() as cluster:
        for recording in RECORDED:
            print(f"\n{recording.partition(',')[0]:36}{'bytes a record':26}{'GB a day':34}", end="")
            print(f"{'in the fullest partition':26}{'days until that is cut':26}GB for the days set")
            print(
                f"  {'':9} {'edits':>5} {'log/s':>5} {'KB':>5} {'batch':>5}   {three}   {three} {'texts':>7}   {three}   {three}"
            )
            for scope in SCOPES:
                asyncio.run(measure(cluster, recording, scope))


if __name__ == "__main__":
    main()
