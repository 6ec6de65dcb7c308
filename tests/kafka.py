"""A real Apache Kafka, as the tests see it."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE = 60.0  # seconds for what takes one at most where nothing else runs


def fresh(what: str) -> str:
    """A name that no other test has, and no other run on the same broker."""
    return f"{what}-{uuid.uuid4().hex[:8]}"


class Kafka:
    """Its address, how to be let in, and clients of it. Whatever is opened here belongs to the running loop."""

    def __init__(self, bootstrap: str, **access: Any) -> None:
        self.bootstrap = bootstrap
        self._access = {"bootstrap_servers": bootstrap} | access

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """The admin client."""
        client = AIOKafkaAdminClient(**self._access)
        try:
            async with asyncio.timeout(PATIENCE):
                await client.start()
                # A broker that was silent for long is shut out for a moment when it is back, and then there is none to ask.
                while client._client.cluster.controller is None:
                    await client._client.force_metadata_update()
            yield client
        finally:
            await client.close()

    async def topic(self, *, partitions: int = 1, copies: int = 1, **settings: Any) -> str:
        """A new topic; its settings are written with underscores for dots."""
        name = fresh("topic")
        configs = {key.replace("_", "."): str(value) for key, value in settings.items()}
        async with self.admin() as admin:
            answer = await admin.create_topics([NewTopic(name, partitions, copies, topic_configs=configs)])
        for _, code, message in answer.topic_errors:
            if code:
                raise for_code(code)(message)
        return name

    @asynccontextmanager
    async def producer(self, transactional_id: str | None = None, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        """A producer, transactional if it has an id; ended in a time that has an end, whatever it left undone."""
        if transactional_id is not None:
            options = {"transactional_id": transactional_id, "transaction_timeout_ms": 10_000} | options
        client = AIOKafkaProducer(**self._access, **options)
        try:
            async with asyncio.timeout(PATIENCE):
                await client.start()
            yield client
        finally:
            try:
                async with asyncio.timeout(PATIENCE):
                    await client.stop()
            finally:  # a stop that was cut short leaves its connections open, and a second one does nothing
                await client.client.close()
                _hear_out(client)

    @asynccontextmanager
    async def consumer(self, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer with the library's own defaults, but for these options."""
        async with AIOKafkaConsumer(**self._access, **options) as client:
            yield client

    async def end(self, topic: str, *, isolation_level: str = "read_committed") -> int:
        """Where the first partition ends for this kind of reader."""
        partition = TopicPartition(topic, 0)
        async with self.consumer(isolation_level=isolation_level) as client, asyncio.timeout(PATIENCE):
            end: int = (await client.end_offsets([partition]))[partition]
        return end

    async def settled(self, topic: str) -> None:
        """Until no transaction is open in the first partition. A commit is answered before its records can be read."""
        async with asyncio.timeout(PATIENCE):
            while await self.end(topic) < await self.end(topic, isolation_level="read_uncommitted"):
                pass

    async def read(self, topic: str, *, isolation_level: str = "read_committed") -> list[bytes]:
        """The values of the first partition, from the start to the end as it is now."""
        partition = TopicPartition(topic, 0)
        values: list[bytes] = []
        options = {"auto_offset_reset": "none", "enable_auto_commit": False, "isolation_level": isolation_level}
        async with self.consumer(**options) as client, asyncio.timeout(PATIENCE):
            end = (await client.end_offsets([partition]))[partition]
            client.assign([partition])
            client.seek(partition, 0)
            while await client.position(partition) < end:
                values += [record.value for record in (await client.getmany(timeout_ms=200)).get(partition, [])]
        return values

    async def committed(self, topic: str) -> list[bytes]:
        """What is committed in the first partition once nothing is open there."""
        await self.settled(topic)
        return await self.read(topic)


def _hear_out(producer: AIOKafkaProducer) -> None:
    """Take the errors that the library keeps for waiters who never come; else the loop prints them when all else is done."""
    manager, accumulator = producer._txn_manager, producer._message_accumulator
    kept = [batch._drain_waiter for batches in accumulator._batches.values() for batch in batches]
    if manager is not None:
        kept.append(manager.wait_for_transaction_end())
    for waiter in kept:
        if waiter is not None and waiter.done():
            waiter.exception()
