"""The hub in one process and without a socket: a demo farm, the real decoders, the real client, the real stages, virtual time.

Rig      farm -> events in any order -> changes -> Enrich -> mutations -> Mirror, with trouble on the way
FarmApi  the API client of the package, its HTTP requests answered by the farm
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from random import Random
from typing import TYPE_CHECKING, Any, cast

import orjson

from syncer import signing
from syncer.config import (
    ApiSettings,
    EnrichSettings,
    JournalSettings,
    MirrorSettings,
    PublishSettings,
    ReconcileSettings,
    Settings,
    StoreSettings,
    WikiSettings,
)
from syncer.demo import mishaps, query
from syncer.demo.events import RECENT_CHANGE, STREAMS
from syncer.demo.selection import ApiError, View
from syncer.enrich import Enrich
from syncer.errors import Unusable, WikiUnavailable
from syncer.feed import Scope
from syncer.feed.client import Delivered
from syncer.feed.memory import Memory
from syncer.feed.sift import Sift, Unfit
from syncer.fetch import WikiApi
from syncer.journal import POSITION_KEY, Journal, Owner, Record, Topic, change_record
from syncer.journal.sqlite import SqliteJournal
from syncer.mirror import Mirror
from syncer.mirror.reading import export
from syncer.model import Change, Position
from syncer.records import MARK_KEY, Resume, encode_mark, encode_resume, encode_set_aside, replayed
from syncer.set_asides import set_asides
from syncer.status import read_status
from syncer.store import Store
from tests.e2e.checker import Checker, check_counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from aiohttp import web
    from yarl import URL

    from syncer.demo.farm import Farm
    from syncer.demo.faults import Mishap
    from tests.virtual import Clock

ANYTHING: Mapping[Mishap, float] = {
    "maxlag": 0.03, "ratelimited": 0.01, "throttled": 0.02, "throttled_text": 0.01, "internal_error": 0.02, "server_error": 0.02,
    "unavailable": 0.01, "hang": 0.01, "truncated": 0.03, "not_json": 0.01,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong.

    ``lag``: every answer is as of up to so many seconds ago, by chance. ``apart``: an event comes up to so many seconds late,
    each by itself, so that the streams and the events of each are out of order. ``twice``: the share of events that come again.
    ``crash``: how often the process dies at a commit. ``max_result``: where an answer is cut.
    """

    lag: float = 0.0
    apart: float = 0.0
    twice: float = 0.0
    crash: float = 0.0
    mishaps: Mapping[Mishap, float] = field(default_factory=dict)
    max_result: int = 12 * 1024 * 1024


class Crash(Exception):
    """The process is gone."""


class FarmApi(WikiApi):
    """Answers from a farm. ``starts`` are the requests by time, wiki, kind of values, and their number."""

    def __init__(self, rig: Rig, turn: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(cast("Any", None), rig.settings.api, rig.settings.wiki, "test@example.org", turn)
        self._rig = rig

    async def _attempt(
        self, wiki_id: str, url: URL, params: Mapping[str, str], room: int
    ) -> tuple[int, Mapping[str, str], bytearray]:
        rig, loop = self._rig, asyncio.get_running_loop()
        source = next((name for name in ("titles", "pageids", "revids") if params.get(name)), params.get("list", "site"))
        rig.starts.append((loop.time(), wiki_id, source, len(params.get(source, "").split("|"))))
        mishap = rig.broken.get(wiki_id) or rig.mishap()
        await asyncio.sleep(60.0 if mishap == "hang" else 0.05 + rig.rng.random() * 0.3)
        if mishap == "hang":
            raise WikiUnavailable(f"{wiki_id}: no answer within 60 s")
        if mishap and (instead := mishaps.refusal(mishap, params)):
            return _plain(instead)
        there = rig.clock.time() - rig.skew
        view = View(rig.farm[wiki_id], there - rig.rng.random() * rig.trouble.lag if rig.trouble.lag else None)
        try:
            body = orjson.dumps(query.answer(view, params, rig.trouble.max_result))
        except ApiError as error:
            return _plain(mishaps.error_answer(error, params))
        if len(body) > room:
            raise Unusable("answer_too_large", f"{wiki_id}: an answer of more bytes than api.max_body allows")
        return 200, {"Date": formatdate(there, usegmt=True)}, bytearray(body[: len(body) // 2] if mishap == "truncated" else body)


def _plain(response: web.Response) -> tuple[int, Mapping[str, str], bytearray]:
    return response.status, response.headers, bytearray(cast("bytes", response.body))


@dataclass
class CrashingJournal:
    """A journal whose owner dies at a commit: before it, or after it and before anybody learned of it."""

    journal: SqliteJournal
    rig: Rig

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def own(self, name: str, partitions: Collection[int] = ()) -> Owner:
        owner, rig = await self.journal.own(name, partitions), self.rig

        class Dying:
            async def append(self, records: Sequence[Record]) -> Sequence[int]:
                if rig.rng.random() < rig.trouble.crash:
                    raise Crash("before the journal committed")
                offsets = await owner.append(records)
                if rig.rng.random() < rig.trouble.crash:
                    raise Crash("between the journal's commit and the store's")
                return offsets

            async def assured(self) -> None:
                await owner.assured()

        return Dying()


@dataclass
class Rig:
    """Everything between a farm and a mirror; of the ``streams`` subscribed to. Its clock is ``skew`` s ahead."""

    farm: Farm
    clock: Clock
    folder: Path
    streams: Sequence[str] = STREAMS[:3]
    trouble: Trouble = field(default_factory=Trouble)
    seed: int = 1
    per_minute: int = 1_200
    settings: Settings = field(init=False)
    wiki: WikiSettings = field(default_factory=lambda: WikiSettings(namespaces=("*",)))
    api: ApiSettings | None = None
    enrich_settings: EnrichSettings = field(default_factory=EnrichSettings)
    reconcile: ReconcileSettings = field(default_factory=ReconcileSettings)
    store_bytes: int = 10**9
    publish: PublishSettings = field(default_factory=PublishSettings)
    skew: float = 0.0
    gaps: list[tuple[str | None, str]] = field(default_factory=list)
    starts: list[tuple[float, str, str, int]] = field(default_factory=list)
    broken: dict[str, Mishap] = field(default_factory=dict)
    crashes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        url = "http://farm/{wiki_id}/w/api.php"
        self.settings = Settings(
            api=self.api or ApiSettings(url=url, requests_per_minute=self.per_minute),
            wiki=self.wiki,
            journal=JournalSettings(url=f"sqlite:///{self.folder}/journal.db", partitions=4),
            store=StoreSettings(path=str(self.folder / "store.db"), max_bytes=self.store_bytes),
            enrich=self.enrich_settings,
            reconcile=self.reconcile,
            publish=self.publish,
            mirror=MirrorSettings(path=str(self.folder / "mirror.db")),
        )
        self.sift = Sift(Scope(self.settings.wiki), Memory(30_000))
        self.offsets = dict.fromkeys(self.farm.log.partitions, 0)
        self.waiting: list[tuple[float, int, Delivered]] = []
        self.delivered = 0
        self.outcomes: Counter[str] = Counter()
        self.appended: Counter[int] = Counter()

    def mishap(self) -> Mishap | None:
        """What befalls the next request."""
        draw = self.rng.random()
        for mishap, probability in self.trouble.mishaps.items():
            draw -= probability
            if draw < 0:
                return mishap
        return None

    # -- the hub -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the journal, and the key."""
        self.journal = SqliteJournal(self.folder / "journal.db", self.settings.journal)
        self.signer = signing.signer(self.folder / "manifests.key", create=True)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The hub, started again as often as it dies; at the end it stops in an orderly way."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        self._stop = asyncio.Event()
        self._hub = asyncio.create_task(self._live(self._stop))
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self._stop.set()
        await self._hub

    async def _live(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            store = Store(self.folder / "store.db", self.store_bytes)
            journal = cast("Journal", CrashingJournal(self.journal, self))
            self.enrich = Enrich(journal, store, self.settings, self.folder / "store.in-work")
            self.enrich.api = FarmApi(self, self.enrich.turn)
            self.enrich.signer = self.signer
            try:
                await self.enrich.run(stop)
            except Crash as crash:
                self.crashes[str(crash)] += 1
            finally:
                self.enrich._thread.shutdown()
                store.close()

    # -- the feed ----------------------------------------------------------------------------------------------------

    async def feed(self) -> None:
        """Append what the farm has said so far and what is due of it, as ingest does, with counts and position."""
        loop = asyncio.get_running_loop()
        self.farm.log.flush()
        for (topic, number), offset in self.offsets.items():
            partition = self.farm.log.partitions[topic, number]
            if topic.split(".", 1)[1] not in self.streams:
                continue
            for record in partition.read(offset, 1 << 30):
                for _ in range(1 + (self.rng.random() < self.trouble.twice)):
                    due = loop.time() + self.rng.random() * self.trouble.apart
                    heapq.heappush(self.waiting, (due, self.delivered, Delivered((topic, number), record.timestamp, record.data)))
                    self.delivered += 1
            self.offsets[topic, number] = partition.end
        records: list[Record] = []
        while self.waiting and self.waiting[0][0] <= loop.time():
            verdict = self.sift.judge(heapq.heappop(self.waiting)[2], self.clock.iso())
            if isinstance(verdict, Change):
                records.append(change_record(verdict, self.journal.partitions))
                self.appended[records[-1].partition] += 1
                self.outcomes["appended"] += 1
            elif isinstance(verdict, Unfit):
                records.append(Record(Topic.SET_ASIDE, self.journal.partitions, verdict.key, encode_set_aside(verdict.entry)))
                self.outcomes[verdict.entry.reason] += 1
            else:
                self.outcomes[verdict] += 1
        if records:
            await self.journal.commit([*records, self.noted()])

    def noted(self) -> Record:
        """What ingest says of what it has appended."""
        position = Position({(f"eqiad.{RECENT_CHANGE}", 0): int((self.clock.time() - self.skew) * 1000)})
        resume = Resume(position, dict(self.appended), {}, {}, tuple(self.gaps))
        return Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume))

    async def miss(self, since: float) -> None:
        """What the farm has said and was not fed is gone; ingest notes the gap, as it does at the next event."""
        self.farm.log.flush()
        self.offsets = {source: partition.end for source, partition in self.farm.log.partitions.items()}
        start, end = (
            datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            for at in (since - self.skew, self.clock.time() - self.skew)
        )
        self.gaps.append((start, end))
        await self.journal.commit([self.noted()])

    async def mark(self) -> None:
        """The mark that ingest puts into every partition each minute."""
        value = encode_mark(self.clock.iso())
        await self.journal.commit([Record(Topic.CHANGES, part, MARK_KEY, value) for part in range(self.journal.partitions)])

    async def drain(self) -> None:
        """Until everything that was said has its outcome."""
        quiet = 0
        while quiet < 3 and not self._hub.done():
            await self.feed()
            await asyncio.sleep(1.0)
            idle = not self.waiting and bool(self.enrich.status()["idle"]) and not self.enrich.wikis_out
            quiet = quiet + 1 if idle else 0

    async def replay(self, reason: str | None = None) -> int:
        """Append what stands set aside anew, as ``set-aside replay`` does; how many there were."""
        entries = [one async for one in set_asides(self.journal)]
        changes = [entry["entry"].change for entry in entries if entry["entry"].change and reason in (None, entry["reason"])]
        for number, change in enumerate(changes):
            again = replayed(change, f"replay-{self.clock.monotonic()}-{number}", self.clock.iso())
            await self.journal.append(change_record(again, self.journal.partitions))
        return len(changes)

    # -- what came of it ---------------------------------------------------------------------------------------------

    async def mirrored(self, settings: MirrorSettings | None = None, name: str | None = None) -> list[dict[str, Any]]:
        """What a mirror exports that reads everything, or goes on where the one of that name stopped."""
        store = Store(self.folder / f"mirror {name or len(list(self.folder.iterdir()))}.db")
        try:
            await Mirror(self.journal, store, settings or self.settings.mirror).run(asyncio.Event(), 0.1)
            assert not store.diverged()
            return list(export(store))
        finally:
            store.close()

    async def records(self, topic: Topic = Topic.MUTATIONS) -> list[dict[str, Any]]:
        """Every record as ``journal read`` prints it."""
        found = []
        for partition in range(self.journal.partitions):
            offset, end = await self.journal.bounds(topic, partition)
            while offset < end:
                for one in await self.journal.read(topic, partition, offset):
                    value = orjson.loads(one.value or b"null")
                    found.append(
                        {
                            "partition": partition, "offset": one.offset, "key": one.key, "headers": dict(one.headers),
                            "value": value,
                        }
                    )  # fmt: skip
                    offset = one.offset + 1
        return found

    async def violations(self) -> list[Any]:
        """Laws 1 to 4, 6 and 8, as the checker that shares no code with the package sees them."""
        checker = Checker()
        checker.read(await self.records())
        found: list[Any] = [*checker.finish(), *checker.not_erased(), *check_counts(await read_status(self.journal))]
        status = await read_status(self.journal)
        if not status["balanced"] or status["queued"]:
            found.append(("3", status))
        found += await self.leaks()
        gap = 60 / self.per_minute
        starts = [at for at, *_ in self.starts]
        found += [("8", early, late) for early, late in itertools.pairwise(starts) if late - early < gap - 1e-6]
        return found

    async def leaks(self) -> list[Any]:
        """Texts, users and comments in records that are not there for them, and are searched by nobody when they are hidden."""
        told = [*await self.records(Topic.CHANGES), *await self.records(Topic.SET_ASIDE)]
        everything = orjson.dumps(told).decode()
        revs = [rev for wiki in self.farm.wikis.values() for rev in wiki.revs.values()]
        users = {json.dumps(rev.by.user.name, ensure_ascii=False) for rev in revs}
        parts = {line for rev in revs for line in (rev.by.comment, *rev.text.decode(errors="replace").splitlines()[:3])}
        words = {
            json.dumps(part, ensure_ascii=False)[1:-1] for part in parts if len(part) > 20 and " " in part
        }  # others may be in a title
        return [("6", part) for part in users | words if part in everything]
