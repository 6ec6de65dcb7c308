"""Both halves of the upstream on one loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

from aiohttp import web

from syncer.demo.api import Api
from syncer.demo.stream import Feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from syncer.demo.farm import Farm
    from syncer.demo.faults import Faults

HEARTBEAT = 0.05  # seconds between looks at what is held back and which canaries are due


class Upstream:
    """A farm being served. ``feed_url`` and ``api_url`` fit the settings ``feed.url`` and ``api.url``."""

    def __init__(self, farm: Farm, port: int) -> None:
        self.farm = farm
        self.feed = Feed(farm)
        self.api = Api(farm)
        self.feed_url = f"http://127.0.0.1:{port}/v2/stream"
        self.api_url = f"http://127.0.0.1:{port}/{{wiki_id}}/w/api.php"

    @property
    def faults(self) -> Faults:
        """What goes wrong now; replace it at any time."""
        return self.farm.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.farm.faults = faults


@contextlib.asynccontextmanager
async def serve(farm: Farm) -> AsyncIterator[Upstream]:
    """Serve a farm on a free port of 127.0.0.1 until the block ends; clients still connected are cut off."""
    bound = socket.create_server(("127.0.0.1", 0))
    upstream = Upstream(farm, bound.getsockname()[1])
    app = web.Application(client_max_size=1 << 24)
    app.router.add_get("/v2/stream/{streams}", upstream.feed.handle)
    app.router.add_route("*", "/{wiki}/w/api.php", upstream.api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
    await runner.setup()
    await web.SockSite(runner, bound, backlog=128).start()
    heart = asyncio.create_task(_beat(farm))
    try:
        yield upstream
    finally:
        heart.cancel()
        upstream.feed.close()
        await runner.cleanup()


async def _beat(farm: Farm) -> None:
    """Let go of events held back, and send canaries when they are due."""
    last = time.monotonic()
    while True:
        await asyncio.sleep(HEARTBEAT)
        farm.log.flush()
        if farm.faults.canary_every and time.monotonic() - last >= farm.faults.canary_every:
            last = time.monotonic()
            farm.log.canary()
