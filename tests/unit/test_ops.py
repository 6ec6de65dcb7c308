"""The operator's window, looked at by a client."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from syncer import ops, telemetry
from syncer.config import OpsSettings
from syncer.errors import JournalUnavailable, Misconfigured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATUS: dict[str, Any] = {
    "journal": "0123abc", "appended": 12345, "balanced": True, "outcomes": {"published": 7, "skipped": {"namespace": 1234}},
    "feed": {"gaps": [[None, "2026-11-24T08:00:00Z"]], "skipped": {}}, "empty": {},
    "live": {"feed": {"lag": 1.23456, "quiet": ["<script>alert(1)</script>"]}, "enrich": {"idle": False, "wikis_out": ["a"]}},
}  # fmt: skip


async def nothing() -> dict[str, Any]:
    return {}


class Window:
    """The server, and what the hub tells it."""

    def __init__(self) -> None:
        self.url = ""
        self.reasons: list[str] = []
        self.status = STATUS
        self.error: Exception | None = None
        self.told = 0
        self.session = aiohttp.ClientSession()

    async def tell(self) -> dict[str, Any]:
        self.told += 1
        status = self.status
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return status

    async def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        async with self.session.request(method, self.url + path) as response:
            return response.status, response.headers["Content-Type"], await response.text()


@pytest.fixture
async def window(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Window]:
    window = Window()
    monkeypatch.setattr(ops, "SHARED", 0.0)
    async with window.session, ops.serving(OpsSettings(listen="127.0.0.1:0"), window.tell, lambda: window.reasons) as window.url:
        yield window


async def test_it_lives(window: Window) -> None:
    assert (await window.get("/livez"))[::2] == (200, "ok\n")
    window.reasons = ["the feed is not connected"]
    assert (await window.get("/livez"))[0] == 200


async def test_it_is_ready_or_says_why_not(window: Window) -> None:
    assert (await window.get("/readyz"))[::2] == (200, "ok\n")
    window.reasons = ["the feed is not connected", "wikis that do not answer: enwiki"]
    assert (await window.get("/readyz"))[::2] == (503, "the feed is not connected\nwikis that do not answer: enwiki\n")


async def test_metrics_are_what_prometheus_reads(window: Window) -> None:
    telemetry.CHANGES.labels("published", "").inc()
    status, kind, text = await window.get("/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {"syncer_changes", "syncer_feed_connected", "syncer_publication_delay_seconds"} <= families


async def test_a_mirror_has_metrics_of_its_own_alone() -> None:
    """Or it would be a hub without a feed to whoever raises alerts."""
    telemetry.APPLIED.labels("patch").inc()
    async with (
        ops.serving(OpsSettings(listen="127.0.0.1:0"), nothing, list, "mirror") as url,
        aiohttp.ClientSession() as session,
        session.get(url + "/metrics") as response,
    ):
        families = {family.name for family in text_string_to_metric_families(await response.text())}
    assert families == {"syncer_mirror_applied", "syncer_mirror_diverged_pages", "syncer_mirror_healed"}


async def test_status_is_json(window: Window) -> None:
    async with window.session.get(window.url + "/status") as response:
        assert response.content_type == "application/json"
        assert await response.json() == STATUS


async def test_the_page_is_for_people_and_trusts_nobody(window: Window) -> None:
    status, kind, text = await window.get("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert '<span class="good">ready</span>' in text
    for shown in ("12,345", "namespace 1,234", "0123abc", "1.23", "unknown to 2026-11-24T08:00:00Z", "<h2>live: feed</h2>"):
        assert shown in text
    for name, shown in (("balanced", "yes"), ("idle", "no"), ("wikis_out", "a")):
        assert f"<td>{name}</td><td>{shown}</td>" in text
    assert "<h2>empty</h2>" not in text
    assert "&lt;script&gt;" in text
    window.reasons = ["wikis that do not answer: <b>100%s</b>"]
    window.status = {"<i>": {"<u>": "%d"}}
    text = (await window.get("/"))[2]
    assert '<span class="bad">wikis that do not answer: &lt;b&gt;100%s&lt;/b&gt;</span>' in text
    assert "<h2>&lt;i&gt;</h2>" in text
    assert "<td>&lt;u&gt;</td><td>%d</td>" in text
    for tag in ("<b>", "<i>", "<u>", "<script"):
        assert tag not in text


async def test_however_many_look_the_status_is_worked_out_once(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "SHARED", 0.2)
    texts = await asyncio.gather(*(window.get(path) for path in ("/status", "/", "/status", "/")))
    assert {status for status, _, _ in texts} == {200}
    assert window.told == 1
    window.status = {"appended": 12346}
    assert "12345" in (await window.get("/status"))[2]
    await asyncio.sleep(0.25)
    assert "12346" in (await window.get("/status"))[2]
    assert window.told == 2


@pytest.mark.parametrize("path", ["/status", "/"])
async def test_a_journal_that_cannot_be_read_is_503_with_the_reason(window: Window, path: str) -> None:
    window.error = JournalUnavailable("journal.db: disk I/O error")
    status, _, text = await window.get(path)
    assert (status, text) == (503, "journal.db: disk I/O error\n")
    window.error = None
    assert (await window.get(path))[0] == 200


async def test_there_is_nothing_else_and_nothing_to_change(window: Window) -> None:
    assert (await window.get("/admin"))[0] == 404
    for path in ("/", "/livez", "/readyz", "/metrics", "/status"):
        assert (await window.get(path, "POST"))[0] == 405
        assert (await window.get(path, "HEAD"))[0] == 200


async def test_a_port_in_use_is_said(window: Window) -> None:
    listen = window.url.removeprefix("http://")
    with pytest.raises(Misconfigured, match=f"ops.listen = {listen} cannot be served") as caught:
        async with ops.serving(OpsSettings(listen=listen), window.tell, list):
            pytest.fail("served")
    assert caught.value.hint
    assert (await window.get("/livez"))[0] == 200


async def test_a_host_that_is_not_ours_is_said() -> None:
    with pytest.raises(Misconfigured, match=r"192\.0\.2\.1"):
        async with ops.serving(OpsSettings(listen="192.0.2.1:0"), nothing, list):
            pytest.fail("served")


async def test_the_server_ends_with_the_block() -> None:
    async with ops.serving(OpsSettings(listen="127.0.0.1:0"), nothing, list) as url:
        port = int(url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_an_address_with_colons_is_told_in_brackets() -> None:
    try:
        async with ops.serving(OpsSettings(listen="[::1]:0"), nothing, list) as url:
            assert url.startswith("http://[::1]:")
    except Misconfigured as error:
        pytest.skip(f"this machine has no IPv6: {error}")
