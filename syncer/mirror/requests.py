"""Asking the hub for what a mirror lacks, beside the mirroring, which never waits for it. No wiki is asked by anybody here.

A page that diverged is asked for in the topic ``requests``, and put right by the mutation that answers. A request may be lost,
or refused by the hub for now: it is repeated, after a minute first, then after twice as long each time. Who may not write there
is told of it once, and mirrors all the same.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import ClassVar

from syncer.clock import now_iso
from syncer.faultpoints import at
from syncer.journal import Topic, partition_of, request_record
from syncer.mirror.outbox import Outbox, mirror_id
from syncer.requests import Request

AT_ONCE, EVERY = 25, 10.0  # pages, seconds: 150 a minute, which is what a hub grants a mirror
LOOK_EVERY = 30.0  # seconds: `mirror verify` may have found something meanwhile


@dataclass(slots=True)
class Requests(Outbox):
    """Pages that diverged. ``asked`` counts the requests, repeated ones too."""

    topic: ClassVar = Topic.REQUESTS
    unsaid: ClassVar = "pages that diverged stay so until they are published whole again"

    asked: int = 0
    _due: float = 0.0  # when to look again all the same, of the loop's clock
    _sends: bool = False  # in this round, as far as is known

    def going_on(self) -> bool:
        """Whether requests are being sent; begins with that where it is time. Raises what went wrong with the store."""
        owing = self._owing
        before = self._round
        going = self._begin(wanted=self.settings.heal == "hub" and (owing or asyncio.get_running_loop().time() >= self._due))
        if going and self._round is not before:
            self._sends = owing
        return going and self._sends

    async def _step(self) -> bool:
        now = asyncio.get_running_loop().time
        requests: list[Request] = await self.work(self._wanted)
        self._sends = bool(requests)
        for request in requests:
            await self.journal.append(request_record(request, self.journal.partitions))
            at("request-appended")
        due = await self.work(lambda: self._noted(requests))
        self.asked += len(requests)
        self._due, self._next = now() + due, now() + (EVERY if requests else 0.0)
        return True

    def _wanted(self) -> list[Request]:
        mirror, asked_at, found = mirror_id(self.store), now_iso(), []
        for wiki_id, page_id, reason in self.store.asked.due(AT_ONCE, time.time()):
            state = self.store.page(wiki_id, page_id)
            revision = state.revision if state else None
            found.append(
                Request(
                    mirror=mirror,
                    wiki_id=wiki_id,
                    page_id=page_id,
                    read_to=self.store.offset(partition_of(wiki_id, self.journal.partitions)),
                    seq=state.seq if state else 0,
                    rev_id=revision.rev_id if revision else None,
                    sha1=revision.sha1 if revision else None,
                    reason=reason,
                    asked_at=asked_at,
                )
            )
        return found

    def _noted(self, requests: list[Request]) -> float:
        """Note what was asked for. Returns the seconds until there is something to ask for again."""
        self.store.asked.note([(request.wiki_id, request.page_id) for request in requests], time.time())
        due = self.store.asked.next_due()
        return LOOK_EVERY if due is None else min(LOOK_EVERY, max(0.0, due - time.time()))
