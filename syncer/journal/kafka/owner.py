"""The only writer of some partitions, on Kafka: its lease, its transactions, and what to make of those that failed.

A transactional producer is fenced by the next one of the same name: that is what makes an owner the only one. Who it is stands in
a record of its own, written again and again as a sign of life; so others can tell an owner that died from one that lives, and one
that was fenced can tell a successor from a broker that had no patience (PROTOCOL 34).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from syncer.errors import OutcomeUnknown, Retry, Superseded
from syncer.journal.kafka.lease import place_of
from syncer.journal.kafka.link import FENCED, meaning, speaking
from syncer.journal.kafka.names import MAX_MESSAGE, topic_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from syncer.journal import Record
    from syncer.journal.kafka.lease import Lease, Leases

log = structlog.get_logger()

BEAT = 1.0  # seconds between signs of life
LAPSED = 3.0  # seconds without one after which an owner may be followed by whoever is started in its place
APPEND_WITHIN = 10.0  # seconds for a whole transaction
GIVEN_UP_AFTER = 15_000  # milliseconds after which the broker ends one by itself: what hides everything behind it
STOP_WITHIN = 2.0  # seconds for a producer to stop: one whose broker is away never does (PROTOCOL 33)


PRODUCER: dict[str, Any] = {
    "enable_idempotence": True,
    "acks": "all",
    "linger_ms": 0,
    "compression_type": "zstd",
    "max_batch_size": 256 * 1024,
    "max_request_size": MAX_MESSAGE,  # counts uncompressed bytes
    "request_timeout_ms": 8_000,
}

FAILURES = (KafkaError, TimeoutError, OSError, AssertionError)  # the last: aiokafka asserts what state it is in


class Told(NamedTuple):
    """Who is told when records were appended, and when another process has followed."""

    appended: Callable[[Sequence[Record], Sequence[int]], None]
    lost: Callable[[Superseded], None]


class KafkaOwner:
    """See :class:`syncer.journal.Owner`."""

    def __init__(self, lease: Lease, leases: Leases, prefix: str, link: Mapping[str, Any], told: Told) -> None:
        self._lease, self._leases, self._prefix, self._told = lease, leases, prefix, told
        self._settings = {**link, **transactional(prefix, lease.name)}
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()
        self._beats: asyncio.Task[None] | None = None
        self._outdated: Superseded | None = None
        self._alive_at = 0.0

    async def claim(self) -> None:
        """Fence whoever was the owner before, and say that it is this one now."""
        async with self._turn:
            self._producer = await start(self._settings, f"become the owner '{self._lease.name}'")
            await self._transact([], self._lease)
        self._beats = asyncio.create_task(self._beat())

    async def append(self, records: Sequence[Record]) -> list[int]:
        """See :meth:`syncer.journal.Owner.append`."""
        if not records:
            return []
        async with self._turn:
            offsets = await self._transact(records)
        self._told.appended(records, offsets)
        return offsets

    async def assured(self) -> None:
        """See :meth:`syncer.journal.Owner.assured`."""
        if self._outdated:
            raise self._outdated
        if not 0 <= time.time() - self._alive_at <= LAPSED:  # the wall's clock: the other stands still while a machine sleeps
            async with self._turn:
                await self._transact([], self._lease)

    async def retire(self, *, release: bool) -> None:
        """Write no more; ``release``: say that whoever wants to may follow at once."""
        if self._beats:
            self._beats.cancel()
        async with self._turn:
            if release and not self._outdated:
                with suppress(Retry, Superseded):
                    await self._transact([], replace(self._lease, released=True))
            self._outdated = self._outdated or Superseded(f"this process is the owner '{self._lease.name}' anew, or no more")
            await self._drop()

    async def _beat(self) -> None:
        """Say again and again that this owner lives."""
        while True:
            await asyncio.sleep(BEAT)
            try:
                async with self._turn:
                    await self._transact([], self._lease)
            except Superseded as error:
                self._told.lost(error)
                return
            except Retry as error:
                log.debug("no sign of life could be written", owner=self._lease.name, why=str(error))

    # -- transactions ------------------------------------------------------------------------------------------------

    async def _transact(self, records: Sequence[Record], lease: Lease | None = None) -> list[int]:
        """Write all or nothing. The caller has the turn. Afterwards the producer is either sound or gone."""
        if self._outdated:
            raise self._outdated
        if self._producer is None:
            await self._confirm()
            self._producer = await start(self._settings, f"become the owner '{self._lease.name}'")
        producer, sent = self._producer, False
        try:
            async with asyncio.timeout(APPEND_WITHIN):
                await producer.begin_transaction()
                placed = await _send(producer, [sending(self._prefix, record) for record in records])
                if lease:
                    place = place_of(self._prefix, lease.name)
                    await producer.send_and_wait(
                        place.topic, orjson.dumps(lease), key=lease.name.encode(), partition=place.partition
                    )
                sent = True
                await producer.commit_transaction()
        except BaseException as error:
            await self._drop()
            if not isinstance(error, FAILURES):
                raise
            if isinstance(error, FENCED):
                await self._confirm()
            raise _failure(error, self._lease.name, unknown=sent) from error
        self._alive_at = time.time()
        return placed

    async def _confirm(self) -> None:
        """Make sure that nobody has followed: a new producer would fence him."""
        lease, _ = await self._leases.read(self._lease.name) or (self._lease, 0)
        if lease.token != self._lease.token:
            self._outdated = superseded(lease)
            raise self._outdated

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer:
            await stop(producer)


def sending(prefix: str, record: Record) -> dict[str, Any]:
    """A record as the arguments of a producer's ``send``."""
    return {
        "topic": topic_name(prefix, record.topic),
        "value": record.value,
        "key": record.key.encode(),
        "partition": record.partition,
        "headers": [(name, value.encode()) for name, value in record.headers.items()],
    }


async def _send(producer: AIOKafkaProducer, records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Hand all to the broker, and wait for its word on each: a commit succeeds without those that it refused (PROTOCOL 32)."""
    placed = await asyncio.gather(*[await producer.send(**record) for record in records], return_exceptions=True)
    for place in placed:
        if isinstance(place, BaseException):
            raise place
    return [place.offset for place in placed if not isinstance(place, BaseException)]


def superseded(lease: Lease) -> Superseded:
    """Somebody else is the owner."""
    return Superseded(
        f"process {lease.pid} on {lease.host} is the owner '{lease.name}'",
        hint="there can be one only: stop it first, or wait for it with --standby",
    )


def _failure(error: Exception, name: str, *, unknown: bool) -> Exception:
    """What a transaction that failed means; ``unknown``: its commit had been asked for."""
    told = meaning(error, f"append as the owner '{name}'")
    if unknown and isinstance(told, Retry):
        return OutcomeUnknown(f"{told}; whether it was committed has to be read back", hint=told.hint)
    return told


def transactional(prefix: str, name: str) -> dict[str, Any]:
    """What makes a producer the only one of an owner's name: stable, so that the next one fences it (PROTOCOL 35)."""
    return {"transactional_id": f"{prefix}-{name}", "transaction_timeout_ms": GIVEN_UP_AFTER}


async def fence(link: Mapping[str, Any], prefix: str, name: str) -> None:
    """Let the owner of that name write no more, without becoming it."""
    await stop(await start({**link, **transactional(prefix, name)}, f"fence the owner '{name}'"))


async def start(settings: Mapping[str, Any], why: str) -> AIOKafkaProducer:
    """A producer that is ready. With a transactional id, whoever had that before can write no more."""
    producer = AIOKafkaProducer(**PRODUCER, **settings)
    try:
        with speaking(why):
            async with asyncio.timeout(APPEND_WITHIN):
                await producer.start()
    except BaseException:
        await stop(producer)
        raise
    return producer


async def stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer, whatever state it is in."""
    with suppress(Exception):
        async with asyncio.timeout(STOP_WITHIN):
            await producer.stop()
