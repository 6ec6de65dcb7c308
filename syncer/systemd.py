"""The sd_notify protocol: telling the service manager how we are. Does nothing where none has started us."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def notifying() -> Iterator[None]:
    """Tell that we are up, and from then on that we are alive, twice within the watchdog's time."""
    notify("READY=1")
    every = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    task = asyncio.ensure_future(_watchdog(every)) if every else None
    try:
        yield
    finally:
        if task:
            task.cancel()


async def _watchdog(every: float) -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(every)


def notify(state: str) -> None:
    """Send a datagram to the socket that the service manager named, if it named one and still listens."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
