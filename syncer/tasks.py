"""Coroutines that live and fall together, and how a process is asked to end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

log = structlog.get_logger()

DEADLINE = 25.0  # seconds for the end: systemd and orchestrators kill after 30 or 90


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Run all to their ends. The first error cancels the others, waits for them, and is raised by itself."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def unless(event: asyncio.Event, seconds: float) -> None:
    """Sleep for so long, but no longer than until the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run until it has ended; from ``stop`` on, no longer than the deadline."""
    running = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        done, _ = await asyncio.wait({running}, timeout=DEADLINE)
        if done:
            running.result()
        else:
            log.warning("not everything could be finished in time; the next start goes on from what is committed")
    finally:
        stopped.cancel()
        running.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)


@contextmanager
def stopping(stop: asyncio.Event, told: Callable[[], None] | None = None) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks for the end, and ``told`` says so; the second is the end."""
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        log.info("asked to stop", signal=signal.Signals(number).name)
        if told:
            told()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, asked, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
