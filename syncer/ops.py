"""The operator's window: /livez, /readyz, /metrics, /status and a page for people at /. Shows; changes nothing."""

from __future__ import annotations

import asyncio
import html
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import orjson
from aiohttp import web

from syncer import telemetry
from syncer.config import url_of
from syncer.errors import Misconfigured, SyncerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from syncer.config import OpsSettings

    Status = Callable[[], Awaitable[dict[str, Any]]]
    Unready = Callable[[], list[str]]

SHARED = 1.0  # seconds a status is good for

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>syncer</title>
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}
h1{font-size:1.3rem}h2{font-size:1rem;margin:1.5rem 0 .3rem}table{border-collapse:collapse;min-width:24rem}
td{padding:.15rem 1.5rem .15rem 0;border-bottom:1px solid #ddd}td:last-child{font-variant-numeric:tabular-nums}
.bad{color:#a00}.good{color:#070}</style></head><body><h1>syncer: <span class="%s">%s</span></h1>%s</body></html>"""


@asynccontextmanager
async def serving(
    settings: OpsSettings, status: Status, unready: Unready, who: Literal["hub", "mirror"] = "hub"
) -> AsyncIterator[str]:
    """Serve for as long as the block lasts; gives the address. Raises Misconfigured when it cannot be had.

    ``unready`` names what keeps ``who`` it is from its work right now; nothing means ready. However many ask, ``status`` is
    asked once at a time, and not again within ``SHARED``.
    """
    status = _Shared(status).get

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reasons = unready()
        return web.Response(text="".join(f"{reason}\n" for reason in reasons) or "ok\n", status=503 if reasons else 200)

    async def metrics(_: web.Request) -> web.Response:
        registry = telemetry.REGISTRY if who == "hub" else telemetry.MIRROR
        return web.Response(
            body=telemetry.metrics(registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def as_json(_: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(await status(), default=str), content_type="application/json")

    async def page(_: web.Request) -> web.Response:
        reasons = unready()
        body = "".join(_table(name, part) for name, part in _sections(who, await status()))
        head = ("bad", html.escape("; ".join(reasons))) if reasons else ("good", "ready")
        return web.Response(text=_PAGE % (*head, body), content_type="text/html")

    app = web.Application(middlewares=[_unavailable])
    app.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/status", as_json),
            web.get("/", page),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, *settings.address).start()
    except (OSError, ValueError) as error:  # a ValueError: no name of a host at all
        await runner.cleanup()
        raise Misconfigured(
            f"ops.listen = {settings.listen} cannot be served: {error}", hint="choose a free port; 0 takes any"
        ) from error
    try:
        yield url_of(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


class _Shared:
    """What is worked out once for all who want it at the same time."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._told: asyncio.Future[dict[str, Any]] | None = None
        self._good_until = 0.0

    async def get(self) -> dict[str, Any]:
        """The status of this second. Whoever goes away before it is told takes it from nobody."""
        if self._told is None or (self._told.done() and asyncio.get_running_loop().time() >= self._good_until):
            self._told = asyncio.ensure_future(self._status())
            self._told.add_done_callback(self._is_good)
        return await asyncio.shield(self._told)

    def _is_good(self, told: asyncio.Future[dict[str, Any]]) -> None:
        self._good_until = asyncio.get_running_loop().time() + SHARED
        if not told.cancelled():
            told.exception()  # is everybody's who asked; where all have left, nobody's


@web.middleware
async def _unavailable(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Say why, where what is asked for cannot be told."""
    try:
        return await handler(request)
    except SyncerError as error:
        return web.Response(text=f"{error}\n", status=503)


def _sections(who: str, status: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Tables by name: plain values first, then every nested group; a group of nothing but groups is told group by group."""
    sections = [(who, {name: value for name, value in status.items() if not isinstance(value, dict)})]
    for name, group in status.items():
        if isinstance(group, dict):
            nested = all(isinstance(part, dict) for part in group.values())
            sections += [(f"{name}: {part}", group[part]) for part in group] if nested else [(name, group)]
    return sections


def _table(name: str, part: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(_shown(value))}</td></tr>" for key, value in part.items()
    )
    return f"<h2>{html.escape(name)}</h2><table>{rows}</table>" if rows else ""


def _shown(value: object, between: str = ", ") -> str:
    if isinstance(value, dict):
        return between.join(f"{key} {_shown(part)}" for key, part in value.items()) or "none"
    if isinstance(value, list | tuple):  # of pairs: known gaps, from when to when
        return between.join(_shown(part, " to ") for part in value) or "none"
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
