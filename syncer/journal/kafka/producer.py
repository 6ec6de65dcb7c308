"""Producers of aiokafka that can be given up: once stopped, nothing they had in hand is sent any more.

aiokafka's own ``stop`` first sends what it has, for ever if the broker is away; cut short, it leaves a task behind that goes on
trying (PROTOCOL 33). What already is on its way when a producer is stopped may still arrive: that of one with a transactional id
is refused as soon as the next one of that id has started.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation

from syncer.journal.kafka.link import ASKED_WITHIN, reaching
from syncer.journal.kafka.names import MAX_MESSAGE, topic_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncer.journal import Record

WITHIN = 10.0  # seconds for a whole transaction, or to start
GIVEN_UP_AFTER = 15_000  # milliseconds after which the broker ends a transaction by itself: what hides everything behind it
STOP_WITHIN = 2.0  # seconds for connections to close: those to a broker that is away never do

PRODUCER: dict[str, Any] = {
    "enable_idempotence": True,
    "acks": "all",
    "linger_ms": 0,
    "compression_type": "zstd",
    "max_batch_size": 1024 * 1024,  # uncompressed: what a request to a wiki brings; a broker with its own defaults takes it, too
    "max_request_size": MAX_MESSAGE,  # counts uncompressed bytes
    "request_timeout_ms": ASKED_WITHIN,
}


def transactional(prefix: str, name: str) -> dict[str, Any]:
    """What makes a producer the only one of an owner's name: stable, so that the next one fences it (PROTOCOL 35)."""
    return {"transactional_id": f"{prefix}-{name}", "transaction_timeout_ms": GIVEN_UP_AFTER}


class Producer(AIOKafkaProducer):
    """One that ends when it is told to."""

    async def stop(self) -> None:
        """End at once, whatever state this is in."""
        parts = (id(self._sender), id(self._message_accumulator))
        at_work = [task for task in asyncio.all_tasks() if _of(task) in parts]
        for task in at_work:
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)
        self._closed = True
        self.spoilt()  # nobody else hears these out, and they would be complained of
        for batch in chain.from_iterable(self._message_accumulator._batches.values()):  # noqa: SLF001
            _exception(batch._drain_waiter)  # noqa: SLF001
        with suppress(Exception):
            async with asyncio.timeout(STOP_WITHIN):
                await self.client.close()

    def spoilt(self) -> BaseException | None:
        """What has spoilt the transaction: its other records are told only that there is none any more."""
        return _exception(self._txn_manager.wait_for_transaction_end())


def _exception(ended: asyncio.Future[Any] | None) -> BaseException | None:
    return ended.exception() if ended and ended.done() and not ended.cancelled() else None


def _of(task: asyncio.Task[Any]) -> int | None:
    """Whose method a task runs, by its id."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return id(frame.f_locals.get("self")) if frame else None


async def start(settings: Mapping[str, Any], why: str) -> Producer:
    """A producer that is ready. With a transactional id, whoever had that before can write no more."""
    producer = Producer(**PRODUCER, **settings)
    try:
        async with reaching(settings, why), asyncio.timeout(WITHIN):
            await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


async def fence(link: Mapping[str, Any], prefix: str, name: str) -> None:
    """Let the owner of that name write no more, without becoming it."""
    producer = await start({**link, **transactional(prefix, name)}, f"fence the owner '{name}'")
    await producer.stop()


def sending(prefix: str, record: Record) -> dict[str, Any]:
    """A record as the arguments of a producer's ``send``."""
    return {
        "topic": topic_name(prefix, record.topic),
        "value": record.value or None,  # a tombstone, as Kafka has it
        "key": record.key.encode(),
        "partition": record.partition,
        "headers": [(name, value.encode()) for name, value in record.headers.items()],
    }


async def send(producer: Producer, records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Hand all to the broker, and wait for its word on each: a commit succeeds without those that it refused (PROTOCOL 32)."""
    asked: list[asyncio.Future[Any]] = []
    try:
        for record in records:
            asked.append(await producer.send(**record))  # noqa: PERF401 - those before one that fails are given up below
        placed = await asyncio.gather(*asked, return_exceptions=True)
    except IllegalOperation as error:
        raise producer.spoilt() or error from None
    finally:
        for each in asked:
            each.cancel()
    for place in placed:
        if isinstance(place, BaseException):
            raise producer.spoilt() or place
    return [place.offset for place in placed if not isinstance(place, BaseException)]
