"""Saying what was honoured: receipts go out beside the mirroring, which never waits for them.

A receipt is owed from the transaction on that erases, and sent once nothing of it is left in the mirror's file. It is sent until
it is known to be appended. Who may not write there is told of it once, and mirrors all the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import ClassVar

from syncer.clock import now_iso
from syncer.faultpoints import at
from syncer.journal import Record, Topic, receipt_record
from syncer.mirror.outbox import Outbox, mirror_id
from syncer.receipts import Presence, encode

AT_ONCE = 100  # receipts between two looks whether the store is clean
LOOK_EVERY = 1.0  # seconds before the next look, where somebody reads the mirror and keeps it from being clean
PRESENT_EVERY = 86_400.0  # seconds between two records that say that the mirror lives: retention cuts those before


@dataclass(slots=True)
class Receipts(Outbox):
    """What was honoured, and now and then that this mirror lives."""

    topic: ClassVar = Topic.RECEIPTS
    unsaid: ClassVar = "the hub's operator does not learn what this mirror has erased"

    _present_at: float = 0.0  # of the loop's clock

    def going_on(self) -> bool:
        """Whether receipts are being sent; begins with that where it is time. Raises what went wrong with the store."""
        return self._begin(wanted=self._owing or asyncio.get_running_loop().time() >= self._present_at)

    async def _step(self) -> bool:
        now = asyncio.get_running_loop().time
        mirror: str = await self.work(lambda: mirror_id(self.store))
        if now() >= self._present_at:
            await self.journal.append(self._presence(mirror))
            self._present_at = now() + PRESENT_EVERY
        while receipts := await self.work(lambda: self.store.debts.first(AT_ONCE)):
            if not await self.work(self.store.clean):
                self._owing, self._next = True, now() + LOOK_EVERY
                return False
            for receipt in receipts:
                await self.journal.append(receipt_record(replace(receipt, mirror=mirror, honoured_at=now_iso())))
                at("receipt-appended")
            await self.work(lambda paid=receipts: self.store.debts.paid(paid))  # type: ignore[misc]
        return True

    def _presence(self, mirror: str) -> Record:
        settings = self.settings
        told = Presence(mirror, settings.name, settings.wikis, settings.namespaces, now_iso())
        return Record(Topic.RECEIPTS, 0, mirror, encode(told), {"mirror": mirror})
