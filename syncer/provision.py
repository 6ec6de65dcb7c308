"""Making the topics of a Kafka journal, and keeping their settings what they have to be.

A number of partitions is never changed: it says where each wiki's records stand, and they would be out of order ever after.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from syncer.errors import Misconfigured
from syncer.journal.kafka.link import connection, reaching
from syncer.journal.kafka.names import TopicPlan, plan
from syncer.journal.kafka.producer import STOP_WITHIN, WITHIN
from syncer.journal.kafka.setup import differing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from syncer.config import JournalSettings
    from syncer.journal.kafka.setup import Differs

LOOK = 0.1  # seconds
HEARD_OF_WITHIN = 30.0  # seconds
REPLICATION = 3  # copies of every record, where there are as many brokers


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it has to be, and as it is: ``missing``, or ``differs`` by setting (is, should be)."""

    plan: TopicPlan
    missing: bool = False
    differs: Mapping[str, tuple[str | None, str]] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is to be done."""
        return not self.missing and not self.differs


async def look(settings: JournalSettings, *, pages: bool = False) -> list[TopicState]:
    """Compare every topic with what it has to be. Raises Misconfigured where one has another number of partitions.

    ``pages``: that of pages is one of them.
    """
    async with _admin(settings) as admin:
        async with asyncio.timeout(WITHIN):
            return await _look(admin, plan(settings, pages=pages), await _replication(admin, settings))


async def apply(settings: JournalSettings, *, pages: bool = False) -> list[TopicState]:
    """Make the topics that are missing, set what is set otherwise. Returns what was found before."""
    async with _admin(settings) as admin:
        replication = await _replication(admin, settings)
        states = await _look(admin, plan(settings, pages=pages), replication)
        missing = [state.plan for state in states if state.missing]
        if missing:
            answer = await admin.create_topics(
                [NewTopic(each.name, each.partitions, replication, topic_configs=dict(each.config)) for each in missing]
            )
            _check((code, f"{name}: {said or ''}") for name, code, said in answer.topic_errors)
            await _until(partial(_there, admin, missing))
        altered = [state.plan for state in states if state.differs]
        for each in altered:  # the request sets everything: what is not in it goes back to the cluster's default
            await _alter(admin, each)
        with suppress(TimeoutError):  # of brokers that do not take a setting the next plan tells
            await _until(partial(_set, admin, altered))
        return states


@asynccontextmanager
async def _admin(settings: JournalSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    if not settings.url.startswith("kafka://"):
        raise Misconfigured(f"journal.url is {settings.url}: only Kafka has topics to plan", hint="set it to kafka://host:port")
    link = connection(settings)
    admin = AIOKafkaAdminClient(**link)
    try:
        async with reaching(link, f"set up the topics of {settings.url}"):
            async with asyncio.timeout(WITHIN):
                await admin.start()
            yield admin
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await admin.close()


async def _replication(admin: AIOKafkaAdminClient, settings: JournalSettings) -> int:
    brokers = len((await admin.describe_cluster())["brokers"])
    if settings.kafka.replication and settings.kafka.replication > brokers:
        raise Misconfigured(
            f"journal.kafka.replication is {settings.kafka.replication}, and there are {brokers} brokers", hint="lower it"
        )
    return settings.kafka.replication or min(REPLICATION, brokers)


async def _until(so: Callable[[], Awaitable[bool]]) -> None:
    """Brokers hear of what was made or set a moment later."""
    async with asyncio.timeout(HEARD_OF_WITHIN):
        while not await so():  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(LOOK)


async def _there(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan]) -> bool:
    topics = await admin.describe_topics([each.name for each in plans])
    return not any(topic["error_code"] or any(part["leader"] < 0 for part in topic["partitions"]) for topic in topics)


async def _set(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan]) -> bool:
    return not any((await _differing(admin, plans)).values())


async def _differing(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan]) -> dict[str, Differs]:
    return await differing(admin._client, plans) if plans else {}  # noqa: SLF001 - it has no other


async def _look(admin: AIOKafkaAdminClient, plans: Sequence[TopicPlan], replication: int) -> list[TopicState]:
    there = {topic["topic"]: topic for topic in await admin.describe_topics([each.name for each in plans])}
    wanted = [each.held_by(_copies(each, there[each.name]) or replication) for each in plans]
    found = await _differing(admin, [each for each in wanted if _copies(each, there[each.name])])
    return [TopicState(each, each.name not in found, found.get(each.name, {})) for each in wanted]


def _copies(wanted: TopicPlan, topic: Mapping[str, Any]) -> int:
    """How many copies there are of a topic's records; 0 where it is missing."""
    if topic["error_code"] == UnknownTopicOrPartitionError.errno:
        return 0
    _check([(topic["error_code"], wanted.name)])
    partitions = topic["partitions"]
    if len(partitions) != wanted.partitions:
        raise Misconfigured(
            f"topic {wanted.name} has {len(partitions)} partitions, not {wanted.partitions}",
            hint="set journal.partitions to what it was made with, or use another journal.prefix: the number cannot change",
        )
    return len(partitions[0]["replicas"])


async def _alter(admin: AIOKafkaAdminClient, wanted: TopicPlan) -> None:
    (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, wanted.name, dict(wanted.config))])
    _check([(answer.resources[0][0], f"{wanted.name}: {answer.resources[0][1]}")])


def _check(answers: Any) -> None:
    """Raise Kafka's own error for the first topic that could not be dealt with. One that somebody else just made is well."""
    for code, what in answers:
        if code and code != TopicAlreadyExistsError.errno:
            raise for_code(code)(what)
