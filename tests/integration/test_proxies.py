"""Feed and wikis behind a proxy that does CONNECT, with a certificate of an authority of one's own."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from syncer.clock import now_iso
from syncer.demo.actions import Workload, drive
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from tests.command import Place, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.command import Said

FEED, API = "https://stream.test/v2/stream", "https://api.test/{wiki_id}/w/api.php"  # no such hosts: who asks there asks a proxy


@dataclass
class Behind:
    """A farm behind TLS and a proxy. ``connected``: what the proxy was asked for; ``received``: what came to the farm."""

    folder: Path
    port: int = 0  # of the farm, with TLS
    proxy: int = 0
    connected: list[str] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    environment: dict[str, str] = field(default_factory=dict)

    async def run(self, *arguments: str, **more: str) -> Said:
        """A verb of the hub, whose environment names the proxy and the authority."""
        farm = {"FEED__URL": FEED, "API__URL": API, "API__REQUESTS_PER_MINUTE": "6000", "API__YOUNG": "1"}
        scope = {"WIKI__INCLUDE": "*", "WIKI__EXCLUDE": "wikidatawiki", "WIKI__NAMESPACES": "*"}
        place = Place(self.folder, {**farm, **scope, **more})
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{self.proxy}")
            environment.setenv("SSL_CERT_FILE", str(self.folder / "ca.pem"))
            environment.setenv("NETRC", str(self.folder / "netrc"))
            for name, value in self.environment.items():
                environment.setenv(name, value)
            process = place.start(*arguments)
        try:
            return await asyncio.to_thread(told, process)
        finally:
            place.clean_up()


@asynccontextmanager
async def behind(folder: Path, farm: Farm) -> AsyncIterator[Behind]:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = "subjectAltName=DNS:stream.test,DNS:api.test,DNS:localhost"
    files = ["-out", str(folder / "ca.pem"), "-keyout", str(folder / "ca.key")]
    made = [*command, "-subj", "/CN=test", "-addext", names, *files]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    (folder / "netrc").write_text("default login me password fromnetrc\n")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "ca.pem", folder / "ca.key")
    told = Behind(folder)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(serve(farm))
        plain = int(upstream.feed_url.split(":")[2].split("/")[0])

        async def farm_with_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _join(reader, writer, plain, told.received)

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            method, address, _ = head.decode().split(" ", 2)
            assert method == "CONNECT"
            told.connected.append(address)
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await _join(reader, writer, told.port, bytearray())

        told.port = await _serve(stack, farm_with_tls, context)
        told.proxy = await _serve(stack, proxy)
        yield told


async def _serve(
    stack: AsyncExitStack,
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
) -> int:
    server = await stack.enter_async_context(await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls))
    return int(server.sockets[0].getsockname()[1])


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, seen: bytearray) -> None:
    """Pass on what comes, both ways, until one of them ends."""
    there, back = await asyncio.open_connection("127.0.0.1", port)

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, seen: bytearray) -> None:
        while data := await source.read(1 << 16):
            seen += data
            target.write(data)
            await target.drain()

    ways = [asyncio.ensure_future(pass_on(reader, back, seen)), asyncio.ensure_future(pass_on(there, writer, bytearray()))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)
    for end in (writer, back):
        end.close()


async def test_the_hub_works_through_a_proxy(tmp_path: Path) -> None:
    farm, since = Farm(pages=20), now_iso()
    async with behind(tmp_path, farm) as network:
        await drive(Workload(farm), rate=500, count=60)
        said = await network.run("run", "--until-idle", "1.5", FEED__SINCE=since)
        assert said.code == 0, said.err
        assert {*network.connected} == {"stream.test:443", "api.test:443"}
        assert len((await network.run("journal", "read", "mutations")).lines) > 10
    assert b"/w/api.php" in network.received
    assert b"authorization" not in network.received.lower()  # of ~/.netrc nobody is told


async def test_some_hosts_are_reached_without_it(tmp_path: Path) -> None:
    async with behind(tmp_path, Farm()) as network:
        network.environment["NO_PROXY"] = "localhost"
        said = await network.run("check-config", "--online", FEED__URL=f"https://localhost:{network.port}/v2/stream")
        assert said.code == 0, said.out
        assert network.connected == []


async def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    async with behind(tmp_path, Farm()) as network:
        network.environment["SSL_CERT_FILE"] = "/dev/null"
        said = await network.run("check-config", "--online")
        assert said.code == 78
        assert b"CERTIFICATE_VERIFY_FAILED" in said.out
