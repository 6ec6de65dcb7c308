r"""What mirrors ask for, on its way to changes: the requests of many for one page are one, and nobody has more than his share.

    requests ──► of a published page, and not answered yet ──► within limits ──► changes   of the stream "heal"   \  one trans-
    (journal)                                                                └─► progress  how far this has read   /  action

What becomes of a request, by ``syncer_heal_requests_total``:

    published    a change was appended: the page is published again
    merged       one was, a moment ago, for somebody else, or the same one who asks again
    answered     what answers it stands in the journal already, where its mirror has yet to read
    unknown      nothing was ever published of such a page: partners do not say what this hub reads
    refused      this mirror has asked for too much, or too much was asked of the wikis for mirrors; it asks again later
    unreadable   no request, or in the partition of another wiki

What is asked beyond ``heal.pages_per_minute`` waits in the journal. So nothing is kept here that a crash could lose: a change and
how far the requests are read are one transaction. Who a mirror is, only it says: the limit for all is what holds in the end.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from syncer.clock import now_iso
from syncer.decide import restated
from syncer.errors import ResumeLost
from syncer.faultpoints import at
from syncer.journal import Record, Topic, change_record, latest, partition_of
from syncer.model import HEAL, Cause, Change, Source
from syncer.requests import decode
from syncer.telemetry import HEAL_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from syncer.config import HealSettings
    from syncer.enrich.queues import Item
    from syncer.journal import Journal, Stored
    from syncer.model import PageState
    from syncer.requests import Request
    from syncer.store import Store

READ_KEY = "requests"  # of the record in progress that says how far a partition's are read
READ_AT_ONCE = 500
LOOK_EVERY = 2.0  # seconds
SETTLES_WITHIN = 30.0  # seconds from a change to what it publishes; mirrors ask again after twice as long, not before
MOST_MIRRORS = 1_000  # that are told apart; all others together are one


@dataclass(slots=True)
class Share:
    """So many a minute, as many of them at once. Times are of the loop's clock."""

    per_minute: float
    at: float
    left: float = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is used yet."""
        self.left = self.per_minute

    def has(self, now: float) -> bool:
        """Whether there is one left."""
        most = max(1.0, self.per_minute)
        self.left, self.at = min(most, self.left + (now - self.at) * self.per_minute / 60), now
        return self.left >= 1


@dataclass(slots=True)
class Heals:
    """``append`` commits records; it and everything else with the store is done by ``work``, in the store's thread."""

    settings: HealSettings
    journal: Journal
    store: Store
    append: Callable[[Sequence[Record]], object]
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    _read_to: dict[int, int] = field(default_factory=dict)
    _going: OrderedDict[tuple[str, int], float] = field(default_factory=OrderedDict)
    _mirrors: OrderedDict[str, Share] = field(default_factory=OrderedDict)
    _all: Share = field(init=False)
    _asked: Share = field(init=False)
    _next: float = 0.0

    def __post_init__(self) -> None:
        """Nothing is used of the limits."""
        now = asyncio.get_running_loop().time()
        self._all, self._asked = Share(self.settings.pages_per_minute, now), Share(self.settings.asked_per_minute, now)

    async def load(self, partitions: Iterable[int]) -> None:
        """Learn how far the requests of these partitions are read."""
        for partition in partitions:
            stored = (await latest(self.journal, Topic.PROGRESS, partition)).get(READ_KEY)
            self._read_to[partition] = orjson.loads(stored.value)["read_to"] if stored else 0

    def heard(self, items: Iterable[Item]) -> None:
        """These changes were taken in and have to be asked about: whoever asks for their pages is answered by them."""
        now = asyncio.get_running_loop().time()
        for item in items:
            if item.change.source.stream == HEAL:
                self._going.update({(item.change.wiki_id, page_id): now for page_id in item.change.page_ids})

    async def step(self) -> None:
        """Turn requests into changes, where it is time to look for some."""
        now = asyncio.get_running_loop().time()
        if now < self._next:
            return
        self._next = now + LOOK_EVERY
        while self._going and next(iter(self._going.values())) < now - SETTLES_WITHIN:
            self._going.popitem(last=False)
        for partition in self._read_to:
            await self._take(partition, now)

    async def _take(self, partition: int, now: float) -> None:
        try:
            records = await self.journal.read(Topic.REQUESTS, partition, self._read_to[partition], limit=READ_AT_ONCE)
        except ResumeLost:  # cut by retention: the mirrors ask again
            self._read_to[partition], _ = await self.journal.bounds(Topic.REQUESTS, partition)
            return
        if records:
            self._read_to[partition] = await self.work(partial(self._turn_into_changes, partition, records, now))

    def _turn_into_changes(self, partition: int, records: Sequence[Stored], now: float) -> int:
        """Commit what becomes of requests. Returns from where on they wait."""
        read_to, wikis = self._read_to[partition], self.store.wikis()
        changes: list[Record] = []
        for record in records:
            result, request = self._judge(partition, record, wikis, now)
            if result == "waits":
                break
            read_to = record.offset + 1
            HEAL_REQUESTS.labels(result).inc()
            if request and result == "published":
                self._going[request.wiki_id, request.page_id] = now
                changes.append(change_record(_change(request, wikis[request.wiki_id]), self.journal.partitions))
        if read_to > self._read_to[partition]:
            at("heals-judged")
            progress = Record(Topic.PROGRESS, partition, READ_KEY, orjson.dumps({"read_to": read_to}))
            self.append([*changes, progress])
            at("heals-appended")
        return read_to

    def _judge(self, partition: int, record: Stored, wikis: Mapping[str, str], now: float) -> tuple[str, Request | None]:
        """What is to become of a request; see the module."""
        try:
            request = decode(record.value)
        except (KeyError, TypeError, ValueError):
            return "unreadable", None
        if partition_of(request.wiki_id, self.journal.partitions) != partition:
            return "unreadable", None
        state = self.store.page(request.wiki_id, request.page_id) if request.page_id and request.wiki_id in wikis else None
        return (self._needed(request, state) or self._share_out(request, state, now) if state else "unknown"), request

    def _needed(self, request: Request, state: PageState) -> str | None:
        """Why nothing is to be done about a request, if that is so."""
        whole_at = self.store.whole_at(request.wiki_id, state.page_id)
        if whole_at is not None and whole_at >= request.read_to:
            return "answered"
        return "merged" if (request.wiki_id, state.page_id) in self._going else None

    def _share_out(self, request: Request, state: PageState, now: float) -> str:
        """Whether it is within the limits."""
        own, shares = self._share(request.mirror, now), [self._all]
        if restated(state, has_text=self.store.has_text(request.wiki_id, state.page_id)) is None:
            shares.append(self._asked)
        if not own.has(now) or not all(share.has(now) for share in shares[1:]):
            return "refused"
        if not self._all.has(now):
            return "waits"
        for share in (own, *shares):
            share.left -= 1
        return "published"

    def _share(self, mirror: str, now: float) -> Share:
        """A mirror's own."""
        if mirror not in self._mirrors and len(self._mirrors) >= MOST_MIRRORS:
            name, share = next(iter(self._mirrors.items()))
            if share.at < now - 60:  # full again
                del self._mirrors[name]
            else:
                mirror = ""
        share = self._mirrors.setdefault(mirror, Share(self.settings.pages_per_mirror, now))
        self._mirrors.move_to_end(mirror)
        return share


def _change(request: Request, domain: str) -> Change:
    now = now_iso()
    source = Source(HEAL, str(uuid4()), now, now)
    return Change(wiki_id=request.wiki_id, domain=domain, cause=Cause.REPAIR, source=source, page_ids=(request.page_id,))
