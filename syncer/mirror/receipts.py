"""Saying what was honoured: receipts go out beside the mirroring, which never waits for them.

A receipt is owed from the transaction on that erases, and sent once nothing of it is left in the mirror's file. It is sent until
it is known to be appended. Who may not write there is told of it once, and mirrors all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog

from syncer.clock import now_iso
from syncer.errors import Misconfigured, Refused, Retry
from syncer.faultpoints import at
from syncer.journal import Record, Topic, receipt_record
from syncer.receipts import Presence, encode
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from syncer.config import MirrorSettings
    from syncer.journal import Journal
    from syncer.store import Store

log = structlog.get_logger()

AT_ONCE = 100  # receipts between two looks whether the store is clean
LOOK_EVERY = 1.0  # seconds before the next look, where somebody reads the mirror and keeps it from being clean
PRESENT_EVERY = 86_400.0  # seconds between two records that say that the mirror lives: retention cuts those before

Work = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(slots=True)
class Receipts:
    """``work`` does things with the store, in its thread. ``over`` says why nothing is sent any more."""

    journal: Journal
    store: Store
    settings: MirrorSettings
    work: Work
    over: str | None = None
    _owing: bool = True  # whether there may be something to send
    _next: float = 0.0  # of this time and the one below: the loop's, in seconds
    _present_at: float = 0.0
    _round: asyncio.Task[None] | None = None
    _trouble: Trouble = field(default_factory=lambda: Trouble("receipts"))

    def owe(self) -> None:
        """Something was honoured."""
        self._owing = True

    def going_on(self) -> bool:
        """Whether receipts are being sent; begins with that where it is time. Raises what went wrong with the store."""
        now = asyncio.get_running_loop().time()
        if self._round and self._round.done():
            self._round.result()
            self._round = None
        if self._round is None and not self.over and now >= self._next and (self._owing or now >= self._present_at):
            self._round = asyncio.create_task(self._send())
        return self._round is not None

    async def end(self) -> None:
        """Send no more. What is owed is sent after the next start."""
        if self._round:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    async def _send(self) -> None:
        now, self._owing = asyncio.get_running_loop().time, False
        try:
            mirror: str = await self.work(lambda: mirror_id(self.store))
            if now() >= self._present_at:
                await self.journal.append(self._presence(mirror))
                self._present_at = now() + PRESENT_EVERY
            while receipts := await self.work(lambda: self.store.debts.first(AT_ONCE)):
                if not await self.work(self.store.clean):
                    self._owing, self._next = True, now() + LOOK_EVERY
                    return
                for receipt in receipts:
                    await self.journal.append(receipt_record(replace(receipt, mirror=mirror, honoured_at=now_iso())))
                    at("receipt-appended")
                await self.work(lambda paid=receipts: self.store.debts.paid(paid))  # type: ignore[misc]
            self._trouble.over()
        except Retry as error:
            self._owing, self._next = True, now() + self._trouble.failed(error)
        except (Misconfigured, Refused) as error:
            self.over = str(error)
            log.warning(
                "receipts cannot be written: the hub's operator does not learn what this mirror has erased",
                why=str(error),
                hint="let this user write the topic receipts (docs/kafka.md), or the embedded journal; all else goes on",
            )

    def _presence(self, mirror: str) -> Record:
        settings = self.settings
        told = Presence(mirror, settings.name, settings.wikis, settings.namespaces, now_iso())
        return Record(Topic.RECEIPTS, 0, mirror, encode(told), {"mirror": mirror})


def mirror_id(store: Store) -> str:
    """What a mirror calls itself towards others: made with it, and kept in it."""
    known = store.meta("mirror")
    if known is None:
        known = uuid4().hex[:16]
        store.remember("mirror", known)
    return known
