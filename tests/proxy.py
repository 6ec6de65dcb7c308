"""A network between clients and a server on loopback, which can be cut: then everything is held back, and nobody is told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from deploy.kafka.layout import _free_ports
from deploy.kafka.nodes import HOST
from tests.background import Background

if TYPE_CHECKING:
    from deploy.kafka.nodes import Node


class Proxy(Background):
    """Forwards what comes to ``port``, to the port ``to``."""

    def __init__(self, to: int = 0) -> None:
        super().__init__()
        self.to = to
        self._ways: list[asyncio.Event] = []  # what every connection looks at, those of the last ones last
        self._connections: set[asyncio.Task[None]] = set()

    async def enter(self) -> None:
        """Listen."""
        self._open_way()
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def leave(self) -> None:
        """End every connection."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        """Hold everything back, in both directions."""
        self.call(self._ways[-1].clear)

    def reconnect(self) -> None:
        """Let those through that connect from now on; what was held back of the others stays so."""
        self.call(self._open_way)

    def mend(self) -> None:
        """Let everything through, what was held back first."""
        self.call(self._open_all)

    def put_before(self, node: Node) -> str:
        """Give a node that was never started a second address, which leads to it through here, and return that."""
        ((self.to, *_),) = _free_ports(1)
        path = node.folder / "server.properties"
        told = dict(line.split("=", 1) for line in path.read_text().splitlines())
        listeners = told["listeners"].split(",")
        told["listeners"] = ",".join([*listeners, f"PROXIED://{HOST}:{self.to}"])
        told["listener.security.protocol.map"] += ",PROXIED:PLAINTEXT"
        known = [listener for listener in listeners if not listener.startswith("CONTROLLER")]
        told["advertised.listeners"] = ",".join([*known, f"PROXIED://{HOST}:{self.port}"])
        path.write_text("".join(f"{key}={value}\n" for key, value in told.items()))
        return f"{HOST}:{self.port}"

    def _open_way(self) -> None:
        self._ways.append(asyncio.Event())
        self._ways[-1].set()

    def _open_all(self) -> None:
        for way in self._ways:
            way.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection
        self._connections.add(connection)
        way = self._ways[-1]
        try:
            there = await asyncio.open_connection(HOST, self.to)
            await asyncio.gather(_pump(reader, there[1], way), _pump(there[0], writer, way))
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._connections.discard(connection)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: asyncio.Event) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while data := await reader.read(65_536):
            await way.wait()
            writer.write(data)
            await writer.drain()
        await way.wait()
