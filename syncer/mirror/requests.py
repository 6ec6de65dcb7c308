"""Asking the hub for what a mirror lacks, beside the mirroring, which never waits for it. No wiki is asked by anybody here.

A page that diverged is asked for in the topic ``requests``, and put right by the mutation that answers. A request may be lost,
or refused by the hub for now: it is repeated, after a minute first, then after twice as long each time. Who may not write there
is told of it once, and mirrors all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from syncer.clock import now_iso
from syncer.errors import Misconfigured, Refused, Retry
from syncer.faultpoints import at
from syncer.journal import partition_of, request_record
from syncer.mirror.receipts import mirror_id
from syncer.requests import Request
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from syncer.config import MirrorSettings
    from syncer.journal import Journal
    from syncer.store import Store

log = structlog.get_logger()

AT_ONCE, EVERY = 25, 10.0  # pages, seconds: 150 a minute, which is what a hub grants a mirror
LOOK_EVERY = 30.0  # seconds: `mirror verify` may have found something meanwhile

Work = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(slots=True)
class Requests:
    """``work`` does things with the store, in its thread. ``over`` says why nothing is asked any more.

    ``asked`` counts the requests, repeated ones too.
    """

    journal: Journal
    store: Store
    settings: MirrorSettings
    work: Work
    asked: int = 0
    over: str | None = None
    _owing: bool = True  # whether a page may have diverged since the last look
    _due: float = 0.0  # when to look again all the same; of this time and the one below: the loop's, in seconds
    _next: float = 0.0  # not before
    _sends: bool = False  # in this round, as far as is known
    _round: asyncio.Task[None] | None = None
    _trouble: Trouble = field(default_factory=lambda: Trouble("requests"))

    def owe(self) -> None:
        """A page diverged."""
        self._owing = True

    def going_on(self) -> bool:
        """Whether requests are being sent; begins with that where it is time. Raises what went wrong with the store."""
        now = asyncio.get_running_loop().time()
        if self._round and self._round.done():
            self._round.result()
            self._round = None
        wanted = self.settings.heal == "hub" and not self.over and (self._owing or now >= self._due)
        if self._round is None and wanted and now >= self._next:
            self._sends = self._owing
            self._round = asyncio.create_task(self._send())
        return self._round is not None and self._sends

    async def end(self) -> None:
        """Ask no more. What was not asked for is, after the next start."""
        if self._round:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    async def _send(self) -> None:
        now, self._owing = asyncio.get_running_loop().time, False
        try:
            requests: list[Request] = await self.work(self._wanted)
            self._sends = bool(requests)
            for request in requests:
                await self.journal.append(request_record(request, self.journal.partitions))
                at("request-appended")
            due = await self.work(lambda: self._noted(requests))
            self.asked += len(requests)
            self._due, self._next = now() + due, now() + (EVERY if requests else 0.0)
            self._trouble.over()
        except Retry as error:
            self._owing, self._next = True, now() + self._trouble.failed(error)
        except (Misconfigured, Refused) as error:
            self.over = str(error)
            log.warning(
                "requests cannot be written: pages that diverged stay so until they are published whole again",
                why=str(error),
                hint="let this user write the topic requests (docs/kafka.md), or the embedded journal; all else goes on",
            )

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
