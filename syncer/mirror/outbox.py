"""What a mirror has to say to its hub goes out beside the mirroring, which never waits for it.

It is said until it is known to be appended. Who may not write there is told of it once, and mirrors all the same.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import structlog

from syncer.errors import Misconfigured, Refused, Retry
from syncer.trouble import Trouble

if TYPE_CHECKING:
    from syncer.config import MirrorSettings
    from syncer.journal import Journal, Topic
    from syncer.store import Store

log = structlog.get_logger()

Work = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(slots=True)
class Outbox(ABC):
    """Records of one topic, sent in rounds. ``work`` does things with the store, in its thread. Times are the loop's, in seconds.

    ``over`` says why nothing is sent any more.
    """

    topic: ClassVar[Topic]
    unsaid: ClassVar[str]  # what it means where they cannot be written

    journal: Journal
    store: Store
    settings: MirrorSettings
    work: Work
    over: str | None = None
    _owing: bool = True  # whether there may be something to send
    _next: float = 0.0  # not before
    _round: asyncio.Task[None] | None = None
    _trouble: Trouble = field(init=False)

    def __post_init__(self) -> None:
        """Nothing has failed yet."""
        self._trouble = Trouble(self.topic.value)

    def owe(self) -> None:
        """There is something to send."""
        self._owing = True

    async def end(self) -> None:
        """Send no more. What is owed is sent after the next start."""
        if self._round:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    def _begin(self, *, wanted: bool) -> bool:
        """Begin a round where it is time for a ``wanted`` one; whether one is going on. Raises what went wrong with the store."""
        if self._round and self._round.done():
            self._round.result()
            self._round = None
        if self._round is None and wanted and not self.over and asyncio.get_running_loop().time() >= self._next:
            self._round = asyncio.create_task(self._send())
        return self._round is not None

    @abstractmethod
    async def _step(self) -> bool:
        """Send what is owed; whether all of it was."""

    async def _send(self) -> None:
        self._owing = False
        try:
            if await self._step():
                self._trouble.over()
        except Retry as error:
            self._owing, self._next = True, asyncio.get_running_loop().time() + self._trouble.failed(error)
        except (Misconfigured, Refused) as error:
            self.over = str(error)
            event = f"{self.topic} cannot be written: {self.unsaid}"
            log.warning(
                event,
                why=str(error),
                hint=f"let this user write the topic {self.topic} (docs/kafka.md), or the embedded journal; all else goes on",
            )


def mirror_id(store: Store) -> str:
    """What a mirror calls itself towards others: made with it, and kept in it."""
    known = store.meta("mirror")
    if known is None:
        known = uuid4().hex[:16]
        store.remember("mirror", known)
    return known
