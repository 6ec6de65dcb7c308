"""The journal on Apache Kafka: topics that partners subscribe to with any client.

    names      which topics, and how each has to be set   identity   which topics these are: Kafka's own ids of them
    setup      how they are set                           rights     what users have to be allowed
    link       how brokers are reached, what errors mean   reading    committed records, from anywhere
    producer   what writes, and can be given up            lease      who owns what, and his signs of life
    owner      the only writer: lease, fencing, transactions

Topics are made by ``syncer topics apply``, never here. All writes but single records are transactions, and every read is of
committed records only, so this keeps the same promises as the embedded journal. Clocks decide nothing: an owner is taken for dead
after its sign of life did not come for some time by the watcher's own clock, and is fenced then, dead or not.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import structlog
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownTopicOrPartitionError

from syncer import telemetry
from syncer.errors import JournalUnavailable, Misconfigured, OutcomeUnknown, Refused, ResumeLost
from syncer.journal import Topic, partitions_of
from syncer.journal.kafka.identity import find
from syncer.journal.kafka.lease import Lease, Leases, place_of
from syncer.journal.kafka.link import ASKED_WITHIN, PLAN, connection, reaching
from syncer.journal.kafka.names import plan, topic_name
from syncer.journal.kafka.owner import LAPSED, KafkaOwner, Told, superseded
from syncer.journal.kafka.producer import STOP_WITHIN, WITHIN, fence, send, sending, start
from syncer.journal.kafka.reading import Reader
from syncer.journal.kafka.setup import differing, refuse, told
from syncer.tasks import unless

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

    from syncer.config import JournalSettings
    from syncer.errors import Superseded
    from syncer.journal import Record, Stored
    from syncer.journal.kafka.identity import Found
    from syncer.journal.kafka.producer import Producer

__all__ = ["KafkaJournal"]

log = structlog.get_logger()

POLL = 0.1  # seconds between looks for what was appended: one small request for all topics
LOOK = 0.2  # seconds between looks for an owner's sign of life
PATIENCE = 10.0  # seconds without one until a standby takes over: a broker that elects a new leader needs about as long

NEAR = 0.5  # of what the brokers keep of changes: an operator has as long again
DAY = 86_400.0  # seconds

LOST = (
    "what it held is lost. The hub: delete all topics of this prefix, syncer topics apply, and move its store away;"
    " a mirror: when the topic is there again, move mirror.path away and start it anew"
)


class KafkaJournal:
    """See :class:`syncer.journal.Journal`. ``wait`` serves one waiter at a time."""

    rewrites, clean = False, True

    def __init__(self, settings: JournalSettings, *, pages: bool = False) -> None:
        self._prefix, self.partitions = settings.prefix, settings.partitions
        self._kept = settings.retention.changes_days * DAY
        self._near = False  # it was said that the brokers may remove what is unfinished
        self._link = connection(settings)
        self._client = AIOKafkaClient(**self._link, request_timeout_ms=ASKED_WITHIN)
        self._topics: dict[str, str] = {}  # Kafka's id of each topic as it was first seen here
        self._reader = Reader(self._link)
        self._plan = {topic.name: topic for topic in plan(settings, pages=True)}
        self._needed = frozenset(topic.name for topic in plan(settings, pages=pages))
        self._watched: set[Topic] = set()  # topics that are read, of which ``wait`` tells
        self._lone: Producer | None = None
        self._lone_turn = asyncio.Lock()
        self._owners: dict[str, KafkaOwner] = {}
        self._instance = uuid4().hex
        self._lapsed: dict[str, int] = {}  # the last sign of life of each owner that was waited for in vain
        self._choices = Counter[tuple[str, int]]()  # how often it was chosen who follows an owner, by its last sign of life
        self._leases = Leases(self._reader, settings.prefix)
        self._lost: asyncio.Future[Superseded] = asyncio.get_running_loop().create_future()
        self._appended = asyncio.Event()
        self._ends: dict[TopicPartition, int] = {}
        self.identity = ""

    @classmethod
    async def open(cls, settings: JournalSettings, *, pages: bool = False) -> KafkaJournal:
        """Connect to ``kafka://host:port``. Raises Misconfigured where topics are missing.

        Who only reads needs to be allowed nothing but to read, and to describe ``mutations``: a journal is the one that has this
        topic.
        """
        journal = cls(settings, pages=pages)
        try:
            async with reaching(journal._link, f"connect to {settings.url}"), asyncio.timeout(WITHIN):
                await journal._client.bootstrap()
            (journal.identity,) = (await journal._identify([topic_name(settings.prefix, Topic.MUTATIONS)])).values()
            async with reaching(journal._link, f"connect to {settings.url}"), asyncio.timeout(WITHIN):
                await journal._reader.start()
        except BaseException:
            await journal.close()
            raise
        return journal

    async def _identify(self, topics: Iterable[str]) -> dict[str, str]:
        """Kafka's own ids of the topics. Raises ResumeLost where one is another than before, Misconfigured where one is gone."""
        found = await self._find(topics)
        ids = {name: each.topic_id.hex for name, each in found.items()}
        _the_same(self._topics, ids)
        for name, each in found.items():
            if each.partitions != (wanted := self._plan[name].partitions):
                raise Misconfigured(
                    f"topic {name} has {each.partitions} partitions, not {wanted}",
                    hint="set journal.partitions to what it was made with: it cannot change afterwards",
                )
        self._topics |= ids
        return ids

    async def _find(self, topics: Iterable[str]) -> dict[str, Found]:
        try:
            async with reaching(self._link, "ask which topics there are"), asyncio.timeout(WITHIN):
                return await find(self._client, topics)
        except JournalUnavailable as error:
            if not isinstance(error.__cause__, UnknownTopicOrPartitionError):
                raise
            name = error.__cause__.args[0]
            if name in self._topics:
                raise Misconfigured(f"{name} was deleted: there is no such topic any more", hint=LOST) from error
            hint = f"are journal.url and journal.prefix right? Then {PLAN}; if it was there before, what it held is lost"
            raise Misconfigured(f"{name}: there is no such topic", hint=hint) from error

    @asynccontextmanager
    async def _there(self, topics: Collection[str]) -> AsyncIterator[None]:
        """Find out, where no answer comes, whether it is because a topic was deleted: nobody answers for one."""
        try:
            yield
        except JournalUnavailable:
            with suppress(JournalUnavailable):
                await self._identify(topics)
            raise

    async def doubts(self) -> list[str]:
        """See :meth:`syncer.journal.Journal.doubts`."""
        try:
            copies = await self._find(self._needed)
            async with reaching(self._link, "ask how the topics are set"), asyncio.timeout(WITHIN):
                plans = [self._plan[name].held_by(each.copies) for name, each in copies.items()]
                found = await differing(self._client, plans)
        except Refused:
            return ["this user may not see how the topics are set: an optional right, which syncer topics plan prints"]
        refuse(found)
        return list(told(found))

    def _place(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(topic_name(self._prefix, topic), partition)

    # -- ownership ---------------------------------------------------------------------------------------------------

    async def own(self, name: str, partitions: Collection[int] = ()) -> KafkaOwner:
        """See :meth:`syncer.journal.Journal.own`. An owner that died is followed after ``LAPSED`` seconds."""
        topics = await self._identify(self._needed)
        await self._vacant(name, LAPSED, waiting=False)
        for rival in await self._leases.rivals(name, partitions):
            await self._vacant(rival, LAPSED, waiting=False)
            await fence(self._link, self._prefix, rival)
        if before := await self._leases.read(name):
            _the_same(before[0].topics, topics)
        if name in self._owners:
            await self._owners.pop(name).retire(release=False)
        lease = Lease(name, self._instance, uuid4().hex, topics, tuple(partitions))
        owner = KafkaOwner(lease, self._leases, self._prefix, self._link, Told(self._note, self._lose))
        await owner.claim()
        self._owners[name] = owner
        return owner

    async def stand_by(self, names: Sequence[str]) -> None:
        """See :meth:`syncer.journal.Journal.stand_by`."""
        while self._owners:
            await self._owners.popitem()[1].retire(release=True)
        await self._identify(self._needed)
        while True:
            await asyncio.gather(*(self._vacant(name, PATIENCE, waiting=True) for name in names))
            if await self._chosen(names[0]):
                return
            await asyncio.sleep(LAPSED)  # for the one that is
            self._lapsed.clear()

    async def _chosen(self, name: str) -> bool:
        """Whether this is the standby that follows: of those whose patience ends with the same sign of life, the first to say so.

        If he dies before he shows a sign of his own, those that are left choose again.
        """
        found = await self._leases.read(name)
        beat = found[1] if found else -1
        self._choices[name, beat] += 1
        choice = f"{name} after {beat}, {self._choices[name, beat]}"
        place, lease = place_of(self._prefix, choice), Lease(choice, self._instance, uuid4().hex, {}, released=True)
        message = {"topic": place.topic, "partition": place.partition, "key": choice.encode(), "value": orjson.dumps(lease)}
        self._reader.committed(place, await self._send(message))
        return (await self._leases.first(choice)).instance == self._instance

    async def lost(self) -> None:
        """See :meth:`syncer.journal.Journal.lost`."""
        raise await asyncio.shield(self._lost)

    def _lose(self, error: Superseded) -> None:
        if not self._lost.done():
            self._lost.set_result(error)

    async def _vacant(self, name: str, patience: float, *, waiting: bool) -> None:
        """Return once nobody else has been alive as this owner for so long; unless ``waiting``, a sign of life is Superseded.

        Looks are counted, not seconds: none while the broker is frozen, when nobody can show that he lives, or this process.
        """
        seen, looks = -1, 0
        while found := await self._leases.read(name):
            lease, beat = found
            if lease.instance == self._instance or lease.released or self._lapsed.get(name) == beat:
                return
            if beat != seen:
                if seen >= 0 and not waiting:
                    raise superseded(lease)
                seen, looks = beat, 0
            elif looks * LOOK >= patience:
                self._lapsed[name] = beat
                return
            looks += 1
            await asyncio.sleep(LOOK)

    # -- records -----------------------------------------------------------------------------------------------------

    async def append(self, record: Record) -> int:
        """See :meth:`syncer.journal.Journal.append`: a single record, outside any transaction."""
        offset = await self._send(sending(self._prefix, record))
        self._note([record], [offset])
        return offset

    async def _send(self, message: Mapping[str, Any]) -> int:
        async with self._lone_turn:
            if self._lone is None:
                self._lone = await start(self._link, "append records")
            try:
                async with reaching(self._link, f"append to {message['topic']}"), asyncio.timeout(WITHIN):
                    (offset,) = await send(self._lone, [message])
            except BaseException as error:
                producer, self._lone = self._lone, None
                await producer.stop()
                if isinstance(error, JournalUnavailable):
                    raise OutcomeUnknown(f"{error}; it may have been appended", hint=error.hint) from error
                raise
        return offset

    def _note(self, records: Sequence[Record], offsets: Sequence[int]) -> None:
        """These are committed."""
        for record, offset in zip(records, offsets, strict=True):
            self._reader.committed(self._place(record.topic, record.partition), offset)
        self._appended.set()

    async def read(self, topic: Topic, partition: int, offset: int, *, limit: int = 1000) -> list[Stored]:
        """See :meth:`syncer.journal.Journal.read`."""
        self._watched.add(topic)
        place = self._place(topic, partition)
        async with self._there([place.topic]):
            records = await self._reader.read(place, offset, limit)
        if records:
            await self._identify([place.topic])  # after the reading: so that is what it was read from
        return records

    async def bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        """See :meth:`syncer.journal.Journal.bounds`."""
        place = self._place(topic, partition)
        if place.topic not in self._topics:
            await self._identify([place.topic])  # one that is not there, or may not be read, would only never answer
        async with self._there([place.topic]):
            return await self._reader.bounds(place)

    async def wait(self, timeout: float) -> None:
        """See :meth:`syncer.journal.Journal.wait`."""
        deadline = time.monotonic() + timeout
        watched = self._watched or set(Topic) - {Topic.PAGES}  # nobody waits for those
        places = [self._place(topic, part) for topic in watched for part in range(partitions_of(topic, self.partitions))]
        while True:
            self._appended.clear()
            async with self._there({place.topic for place in places}):
                ends = await self._reader.ends(places)
            left = deadline - time.monotonic()
            if ends != self._ends or left <= 0:
                self._ends = ends
                return
            await unless(self._appended, min(POLL, left))

    async def retain(self, unfinished: Mapping[int, int]) -> int:
        """Nothing: the brokers do that, and ask nobody what is unfinished. So it is said when they come near it."""
        used = max([await self._used(*each) for each in unfinished.items()], default=0.0)
        telemetry.CHANGES_RETENTION.set(used)
        if (used > NEAR) != self._near:
            self._near = not self._near
            if self._near:
                hint = "a token allows more requests; fewer wikis, or a longer journal.retention.changes_days and changes_bytes"
                log.warning(
                    "changes wait for so long that the brokers may remove them first: the hub would end with 3",
                    retention_used=f"{used:.0%}",
                    hint=f"{hint}, and syncer topics apply",
                )
            else:
                log.info("changes do not wait for long any more", retention_used=f"{used:.0%}")
        return 0

    async def _used(self, partition: int, unfinished: int) -> float:
        """How much of what the brokers keep of a partition's changes is unfinished, in time or in records: beyond 1 they are cut.

        Where nothing was cut yet, only the time is known.
        """
        start, end = await self.bounds(Topic.CHANGES, partition)
        waiting = await self.read(Topic.CHANGES, partition, max(start, unfinished), limit=1) if unfinished < end else ()
        if not waiting:
            return 0.0
        age = (time.time() - waiting[0].appended_at) / self._kept
        return max(age, (end - unfinished) / (end - start) if start else 0.0)

    async def close(self) -> None:
        """Give up what is owned, and disconnect."""
        await asyncio.gather(*(owner.retire(release=True) for owner in self._owners.values()))
        if self._lone:
            await self._lone.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await asyncio.gather(self._reader.stop(), self._client.close())


def _the_same(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise ResumeLost where a topic has another id than before."""
    if anew := [topic for topic, topic_id in before.items() if now.get(topic, topic_id) != topic_id]:
        raise ResumeLost(f"{', '.join(anew)} was made anew since it was last read or written here", hint=LOST)
