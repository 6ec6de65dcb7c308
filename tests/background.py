"""A loop in a thread of its own, for what has to go on while a test waits for processes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")
PATIENCE = 20.0  # seconds for what takes none


class Background:
    """As a context manager; ``enter`` and ``leave`` are what a kind of it does in its loop at both ends."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.enter())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def enter(self) -> None:
        """Begin."""

    async def leave(self) -> None:
        """End, with everything that was begun."""

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Let something go on there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done there."""
        return self.begin(work).result(PATIENCE)

    def call(self, work: Callable[[], T]) -> T:
        """The same for what needs no waiting."""

        async def done() -> T:
            return work()

        return self.do(done())
