"""The journal on Apache Kafka: topics that partners subscribe to with any client.

    names      which topics, and how each is set up       identity   which topics these are: Kafka's own ids of them
    link       how brokers are reached, what errors mean   reading    committed records, from anywhere
    owner      the only writer: lease, fencing, transactions

Topics are made by ``syncer topics apply``, never here. All writes but single records are transactions, and every read is of
committed records only, so this keeps the same promises as the embedded journal. Clocks decide nothing: an owner is taken for dead
after its sign of life did not come for some time by the watcher's own clock, and is fenced then, dead or not.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownTopicOrPartitionError

from syncer.errors import JournalUnavailable, Misconfigured, OutcomeUnknown, ResumeLost
from syncer.journal import Topic, partitions_of
from syncer.journal.kafka.identity import topic_ids
from syncer.journal.kafka.lease import Lease, Leases
from syncer.journal.kafka.link import APPLY, connection, speaking
from syncer.journal.kafka.names import plan, topic_name
from syncer.journal.kafka.owner import APPEND_WITHIN, LAPSED, KafkaOwner, Told, fence, sending, start, stop, superseded
from syncer.journal.kafka.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from aiokafka import AIOKafkaProducer

    from syncer.config import JournalSettings
    from syncer.errors import Superseded
    from syncer.journal import Record, Stored

__all__ = ["KafkaJournal"]

POLL = 0.1  # seconds between looks for what was appended: one small request for all topics
LOOK = 0.2  # seconds between looks for an owner's sign of life
PATIENCE = 10.0  # seconds without one until a standby takes over: a broker that elects a new leader needs about as long


class KafkaJournal:
    """See :class:`syncer.journal.Journal`. ``wait`` serves one waiter at a time."""

    def __init__(self, settings: JournalSettings) -> None:
        self._prefix, self.partitions = settings.prefix, settings.partitions
        self._link = connection(settings)
        self._reader = Reader(self._link)
        self._plan = plan(settings, 1)
        self._watched: set[Topic] = set()  # topics that are read, of which ``wait`` tells
        self._lone: AIOKafkaProducer | None = None
        self._lone_turn = asyncio.Lock()
        self._owners: dict[str, KafkaOwner] = {}
        self._instance = uuid4().hex
        self._leases = Leases(self._reader, settings.prefix)
        self._lost: asyncio.Future[Superseded] = asyncio.get_running_loop().create_future()
        self._appended = asyncio.Event()
        self._ends: dict[TopicPartition, int] = {}
        self.identity = ""

    @classmethod
    async def open(cls, settings: JournalSettings) -> KafkaJournal:
        """Connect to ``kafka://host:port``. Raises Misconfigured where topics are missing.

        Who only reads needs to be allowed nothing but to read, and to describe ``mutations``: a journal is the one that has this
        topic.
        """
        journal = cls(settings)
        try:
            name = topic_name(settings.prefix, Topic.MUTATIONS)
            journal.identity = (await journal._identify({name: settings.partitions}))[name]
            with speaking(f"connect to {settings.url}"):
                async with asyncio.timeout(APPEND_WITHIN):
                    await journal._reader.start()
        except BaseException:
            await journal.close()
            raise
        return journal

    async def _identify(self, topics: Mapping[str, int]) -> dict[str, str]:
        """Kafka's own ids of the topics, which must have so many partitions."""
        client = AIOKafkaClient(**self._link)
        try:
            with speaking(f"connect to {', '.join(self._link['bootstrap_servers'])}"):
                async with asyncio.timeout(APPEND_WITHIN):
                    await client.bootstrap()
                    found = await topic_ids(client, topics)
        except JournalUnavailable as error:
            if isinstance(error.__cause__, UnknownTopicOrPartitionError):
                raise Misconfigured(f"{error.__cause__.args[0]}: there is no such topic", hint=APPLY) from error
            raise
        finally:
            await client.close()
        for name, (_, partitions) in found.items():
            if partitions != topics[name]:
                raise Misconfigured(
                    f"topic {name} has {partitions} partitions, not {topics[name]}",
                    hint="set journal.partitions to what it was made with: it cannot change afterwards",
                )
        return {name: topic_id.hex for name, (topic_id, _) in found.items()}

    def _place(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(topic_name(self._prefix, topic), partition)

    # -- ownership ---------------------------------------------------------------------------------------------------

    async def own(self, name: str, partitions: Collection[int] = ()) -> KafkaOwner:
        """See :meth:`syncer.journal.Journal.own`. An owner that died is followed after ``LAPSED`` seconds."""
        await self._vacant(name, LAPSED, waiting=False)
        for rival in await self._leases.rivals(name, partitions):
            await self._vacant(rival, LAPSED, waiting=False)
            await fence(self._link, self._prefix, rival)
        topics = await self._identify({each.name: each.partitions for each in self._plan})
        before = await self._leases.read(name)
        known = before[0].topics if before else {}
        if anew := [topic for topic, topic_id in known.items() if topics.get(topic, topic_id) != topic_id]:
            raise ResumeLost(
                f"{', '.join(anew)} was made anew since the journal was last written",
                hint="what it held is lost: delete all topics of this prefix, and make the journal anew with syncer topics apply",
            )
        if name in self._owners:
            await self._owners.pop(name).retire(release=False)
        lease = Lease(name, self._instance, uuid4().hex, topics, tuple(partitions))
        owner = KafkaOwner(lease, self._leases, self._prefix, self._link, Told(self._note, self._lose))
        await owner.claim()
        self._owners[name] = owner
        return owner

    async def stand_by(self, names: Sequence[str]) -> None:
        """See :meth:`syncer.journal.Journal.stand_by`."""
        await asyncio.gather(*(self._vacant(name, PATIENCE, waiting=True) for name in names))

    async def lost(self) -> None:
        """See :meth:`syncer.journal.Journal.lost`."""
        raise await asyncio.shield(self._lost)

    def _lose(self, error: Superseded) -> None:
        if not self._lost.done():
            self._lost.set_result(error)

    async def _vacant(self, name: str, patience: float, *, waiting: bool) -> None:
        """Return once nobody else has been alive as this owner for so long; unless ``waiting``, a sign of life is Superseded."""
        seen, since = -1, time.monotonic()
        while found := await self._leases.read(name):
            lease, beat = found
            if lease.instance == self._instance or lease.released:
                return
            if beat != seen:
                if seen >= 0 and not waiting:
                    raise superseded(lease)
                seen, since = beat, time.monotonic()
            elif time.monotonic() - since >= patience:
                return
            await asyncio.sleep(LOOK)

    # -- records -----------------------------------------------------------------------------------------------------

    async def append(self, record: Record) -> int:
        """See :meth:`syncer.journal.Journal.append`: a single record, outside any transaction."""
        async with self._lone_turn:
            if self._lone is None:
                self._lone = await start(self._link, "append records")
            try:
                with speaking(f"append to {record.topic}"):
                    async with asyncio.timeout(APPEND_WITHIN):
                        place = await self._lone.send_and_wait(**sending(self._prefix, record))
            except BaseException as error:
                producer, self._lone = self._lone, None
                await stop(producer)
                if isinstance(error, JournalUnavailable):
                    raise OutcomeUnknown(f"{error}; it may have been appended", hint=error.hint) from error
                raise
        self._note([record], [place.offset])
        offset: int = place.offset
        return offset

    def _note(self, records: Sequence[Record], offsets: Sequence[int]) -> None:
        """These are committed."""
        for record, offset in zip(records, offsets, strict=True):
            self._reader.committed(self._place(record.topic, record.partition), offset)
        self._appended.set()

    async def read(self, topic: Topic, partition: int, offset: int, *, limit: int = 1000) -> list[Stored]:
        """See :meth:`syncer.journal.Journal.read`."""
        self._watched.add(topic)
        return await self._reader.read(self._place(topic, partition), offset, limit)

    async def bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        """See :meth:`syncer.journal.Journal.bounds`."""
        return await self._reader.bounds(self._place(topic, partition))

    async def wait(self, timeout: float) -> None:
        """See :meth:`syncer.journal.Journal.wait`."""
        deadline = time.monotonic() + timeout
        watched = self._watched or set(Topic)
        places = [self._place(topic, part) for topic in watched for part in range(partitions_of(topic, self.partitions))]
        while True:
            self._appended.clear()
            ends = await self._reader.ends(places)
            left = deadline - time.monotonic()
            if ends != self._ends or left <= 0:
                self._ends = ends
                return
            try:
                await asyncio.wait_for(self._appended.wait(), min(POLL, left))
            except TimeoutError:
                continue

    async def retain(self, unfinished: Mapping[int, int]) -> int:  # noqa: ARG002 - the brokers ask nobody
        """Nothing: the brokers do that."""
        return 0

    async def close(self) -> None:
        """Give up what is owned, and disconnect."""
        for owner in self._owners.values():
            await owner.retire(release=True)
        if self._lone:
            await stop(self._lone)
        await self._reader.stop()
