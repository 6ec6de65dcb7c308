"""Passwords, tokens and whatever else nobody may see, on a real broker that wants them."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from base64 import b64encode
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncer.clock import now_iso
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from tests.command import free_port, told
from tests.kafka import fresh
from tests.secure import SOON, said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.command import Place
    from tests.secure import Secure


class TestSecrets:
    """They are in no log, status, metric, error or argument, whatever is made to speak, and however it is used."""

    async def test_they_are_nowhere(self, secure: Secure, tmp_path: Path) -> None:
        token, word = fresh("token"), fresh("word")
        place = secure.place(
            tmp_path, "hub", API__TOKEN=token, WIKI__INCLUDE="*", WIKI__EXCLUDE="wikidatawiki", FEED__SINCE=now_iso()
        )
        secrets = [secure.passwords["hub"], token, word, b64encode(f"me:{word}".encode()).decode()]
        heard: list[bytes] = []
        with pytest.MonkeyPatch.context() as environment:
            async with serve(Farm(pages=20)) as upstream, refusing() as port:
                environment.setenv("HTTPS_PROXY", f"http://me:{word}@127.0.0.1:{port}")
                place.settings |= {"FEED__URL": upstream.feed_url, "API__URL": upstream.api_url}
                try:
                    await asyncio.to_thread(self._watch, place, upstream.farm, heard)
                finally:
                    place.clean_up()
        errors = {
            "invalid credentials": {"JOURNAL__KAFKA__PASSWORD": f"not {secure.passwords['hub']}"},
            "CERTIFICATE_VERIFY_FAILED": {"JOURNAL__KAFKA__CA_FILE": ""},
            "Unable to bootstrap": {"JOURNAL__URL": "kafka://127.0.0.1:9"},
            "no list of brokers": {"JOURNAL__URL": f"kafka://hub:{secure.passwords['hub']}@127.0.0.1:9092"},
        }
        for expected, more in errors.items():
            came = await asyncio.to_thread(said, place, "--log-level", "debug", "status", **more)
            assert expected in came.err
            heard += [came.out, came.err.encode()]
        for secret in secrets:
            assert not [text for text in heard if secret.encode() in text]

    def _watch(self, place: Place, farm: Farm, heard: list[bytes]) -> None:
        """A hub and a mirror at work, and everything that tells of them."""
        hub = place.start("--log-level", "debug", "run", FEED__STREAMS="recentchange")
        mirror = place.start("--log-level", "debug", "mirror", "follow", MIRROR__LISTEN=f"127.0.0.1:{(port := free_port())}")
        addresses = [place.settings["OPS__LISTEN"], f"127.0.0.1:{port}"]
        steps, deadline = Workload(farm), time.monotonic() + SOON
        for address in addresses:
            while not ready(address):
                assert time.monotonic() < deadline
                steps.step()
        for _ in range(10):
            steps.step()
        pages = [
            asked(f"http://{address}{path}")
            for address in addresses
            for path in ("/", "/status", "/metrics", "/readyz", "/livez")
        ]
        arguments = [Path(f"/proc/{process.pid}/cmdline").read_bytes() for process in (hub, mirror)]
        assert all(b"syncer" in text for text in [*pages[:1], *arguments])
        for verb in (["status"], ["status", "--json"], ["topics", "plan"], ["check-config"], ["set-aside", "list"], ["health"]):
            came = told(place.start("--log-level", "debug", *verb))
            heard += [came.out, came.err.encode()]
        refused = told(place.start("check-config", "--online", FEED__URL="https://stream.test/v2/stream"))  # by the proxy
        assert b"407" in refused.out, refused
        for process in (hub, mirror):
            process.terminate()
            came = told(process)
            assert came.code == 0, came.err
            heard += [came.out, came.err.encode()]
        heard += [*pages, *arguments, refused.out, refused.err.encode()]

    @pytest.mark.parametrize("key", ["journal.kafka.password", "api.token"])
    def test_they_are_no_flags(self, secure: Secure, tmp_path: Path, key: str) -> None:
        came = said(secure.place(tmp_path, "hub"), "--set", f"{key}=s3cr3t", "status")
        assert came.code == 78
        assert f"SYNCER_{key.upper().replace('.', '__')}" in came.err
        assert "s3cr3t" not in came.err

    def test_a_password_may_be_in_a_file_of_its_own(self, secure: Secure, tmp_path: Path) -> None:
        (tmp_path / "password").write_text(secure.passwords["hub"] + "\n")
        place = secure.place(
            tmp_path, "hub", JOURNAL__KAFKA__PASSWORD="", JOURNAL__KAFKA__PASSWORD_FILE=str(tmp_path / "password")
        )
        assert said(place, "status").code == 0


@asynccontextmanager
async def refusing() -> AsyncIterator[int]:
    """A proxy that wants to know better who is there; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"proxy-authorization" in (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def asked(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def ready(address: str) -> bool:
    with suppress(OSError):
        return asked(f"http://{address}/readyz") == b"ok\n"
    return False
