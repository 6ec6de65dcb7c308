"""A loop whose clock runs ahead of nobody: when every coroutine sleeps, time jumps to where the first of them wakes.

Threads take no time on it: as long as one is at work, it stands still. So an hour of back-offs passes in milliseconds, and a run
is the same every time, but for what threads do side by side.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

    import pytest

T = TypeVar("T")

EPOCH = 1_800_000_000.0  # what the wall clock says when the loop's says 0
CLOCKED = (
    "syncer.enrich",
    "syncer.enrich.manifests",
    "syncer.enrich.session",
    "syncer.enrich.sites",
    "syncer.enrich.watch",
    "syncer.fetch.client",
    "syncer.journal.sqlite",
    "syncer.mirror.from_pages",
    "syncer.mirror.manifests",
    "syncer.mirror.requests",
    "syncer.reconcile",
)  # modules that look at the wall clock, or a steady one


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time is virtual, work in executors is real."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.at_work = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        self.now += 1e-7  # a clock that stands still would have who waits for a rest of nanoseconds wait for ever
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self.at_work += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, _future: asyncio.Future[Any]) -> None:
        self.at_work -= 1


class _Selector(selectors.DefaultSelector):
    """Waits for threads, never for the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return super().select(0)
        if self._loop.at_work or timeout is None:
            ready = super().select(60.0)
            if not ready:
                raise RuntimeError("everything waits for something that nobody does")
            return ready
        self._loop.now += timeout
        return super().select(0)


class Clock:
    """Wall clock and steady clock of a loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        return EPOCH + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    def iso(self) -> str:
        return datetime.fromtimestamp(self.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run(monkeypatch: pytest.MonkeyPatch, main: Callable[[Clock], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine with virtual time; what of the package looks at a clock looks at this one."""
    loop = VirtualLoop()
    clock = Clock(loop)
    with monkeypatch.context() as patch:
        for module in CLOCKED:
            patch.setattr(f"{module}.time", SimpleNamespace(time=clock.time, monotonic=clock.monotonic))
        patch.setattr("syncer.enrich.now_iso", clock.iso)
        patch.setattr("syncer.enrich.heals.now_iso", clock.iso)
        patch.setattr("syncer.enrich.manifests.now_iso", clock.iso)
        patch.setattr("syncer.enrich.pages.now_iso", clock.iso)
        patch.setattr("syncer.reconcile.now_iso", clock.iso)
        patch.setattr("syncer.journal.sqlite.POLL", 60.0)  # no other process appends, so nobody has to look out for it
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main(clock))
