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

from syncer.errors import OutcomeUnknown, Retry, Superseded
from syncer.faultpoints import at
from syncer.journal.kafka.lease import place_of
from syncer.journal.kafka.link import FAILURES, FENCED, meaning
from syncer.journal.kafka.producer import WITHIN, send, sending, start, transactional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from syncer.journal import Record
    from syncer.journal.kafka.lease import Lease, Leases
    from syncer.journal.kafka.producer import Producer

log = structlog.get_logger()

BEAT = 1.0  # seconds between signs of life
LAPSED = 3.0  # seconds without one after which an owner may be followed by whoever is started in its place
RELEASED_WITHIN = 2.0  # seconds for the word that somebody may follow: the broker may be away


class Told(NamedTuple):
    """Who is told when records were appended, and when another process has followed."""

    appended: Callable[[Sequence[Record], Sequence[int]], None]
    lost: Callable[[Superseded], None]


class KafkaOwner:
    """See :class:`syncer.journal.Owner`."""

    def __init__(self, lease: Lease, leases: Leases, prefix: str, link: Mapping[str, Any], told: Told) -> None:
        self._lease, self._leases, self._prefix, self._told = lease, leases, prefix, told
        self._settings = {**link, **transactional(prefix, lease.name)}
        self._producer: Producer | None = None
        self._turn = asyncio.Lock()
        self._beats: asyncio.Task[None] | None = None
        self._outdated: Superseded | None = None
        self._alive_at = 0.0

    async def claim(self) -> None:
        """Fence whoever was the owner before, and say that it is this one now."""
        async with self._turn:
            self._producer = await self._start()
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
            if release and self._producer and not self._outdated:
                with suppress(Retry, Superseded, TimeoutError):
                    async with asyncio.timeout(RELEASED_WITHIN):
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
            self._producer = await self._renewed()
        producer, sent, begun_at = self._producer, False, time.time()
        try:
            async with asyncio.timeout(WITHIN):
                at("transaction-begins")
                await producer.begin_transaction()
                at("transaction-begun")
                placed = await send(producer, [sending(self._prefix, record) for record in records])
                if lease:
                    place = place_of(self._prefix, lease.name)
                    await producer.send_and_wait(
                        place.topic, orjson.dumps(lease), key=lease.name.encode(), partition=place.partition
                    )
                sent = True
                at("transaction-sent")
                await producer.commit_transaction()
                at("transaction-committed")
        except BaseException as error:
            await self._drop()
            if not isinstance(error, FAILURES):
                raise
            if isinstance(error, FENCED):
                with suppress(Retry):
                    await self._confirm()
            raise _failure(error, self._lease.name, unknown=sent) from error
        self._alive_at = begun_at  # and no later: others may have learned of it long before the answer came here
        return placed

    async def _renewed(self) -> Producer:
        """A new producer. It fences whoever has followed: he is looked for before, and after, for he may have come meanwhile."""
        await self._confirm()
        at("producer-starts")
        producer = await self._start()
        try:
            await self._confirm()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _confirm(self) -> None:
        """Make sure that nobody has followed."""
        lease, _ = await self._leases.read(self._lease.name) or (self._lease, 0)
        if lease.token != self._lease.token:
            self._outdated = superseded(lease)
            raise self._outdated

    async def _start(self) -> Producer:
        return await start(self._settings, f"become the owner '{self._lease.name}'")

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer:
            await producer.stop()


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
