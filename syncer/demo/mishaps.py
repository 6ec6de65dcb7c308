"""Answers that are none: what a client of the Action API meets besides pages, by name (PROTOCOL 19, 24)."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from syncer.demo.selection import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.demo.faults import Mishap

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"
AWAY = b"<!DOCTYPE html><html><head><title>Error</title></head><body>Our servers are away.</body></html>"
SLOW_DOWN = b"Too many requests come from this address. Slow down.\n"
DOCREF = "See the documentation of the API."
ERRORS: Mapping[str, ApiError] = {
    "maxlag": ApiError("maxlag", "Waiting for db1234: 7.5 seconds lagged.", "main", host="db1234", lag=7.5, type="db"),
    "ratelimited": ApiError("ratelimited", "Too many actions in too short a time.", "main"),
    "internal_error": ApiError("internal_api_error_DBQueryError", "A database query failed.", "main"),
}
REFUSALS: Mapping[str, tuple[int, Mapping[str, str], str, bytes]] = {
    "throttled": (429, {"Retry-After": "1"}, TEXT, SLOW_DOWN),
    "throttled_bare": (429, {}, TEXT, SLOW_DOWN),
    "throttled_text": (200, {}, TEXT, SLOW_DOWN),
    "server_error": (500, {}, HTML, AWAY),
    "unavailable": (503, {"Retry-After": "1"}, HTML, AWAY),
    "not_json": (200, {}, HTML, AWAY),
    "elsewhere": (302, {"Location": "http://elsewhere.invalid/w/api.php"}, TEXT, b""),
    "unauthorized": (401, {}, JSON, b'{"error":{"code":"mwoauth-invalid-authorization","info":"The token is not valid."}}'),
    "forbidden": (403, {}, TEXT, b"Requests of this agent are refused.\n"),
}


def error_answer(error: ApiError, params: Mapping[str, str]) -> web.Response:
    """An error as the API gives it, with status 200 (PROTOCOL 24); in the form that ``errorformat`` asks for."""
    headers = {"MediaWiki-API-Error": error.code}
    if error.code == "maxlag":
        headers["Retry-After"] = "5"
    body: dict[str, Any]
    if params.get("errorformat", "bc") == "bc":
        body = {"error": {"code": error.code, "info": str(error), **error.data, "docref": DOCREF}}
    else:
        data = {"data": error.data} if error.data else {}
        body = {"errors": [{"code": error.code, "text": str(error), **data, "module": error.module}], "docref": DOCREF}
    return web.Response(body=orjson.dumps(body), content_type=JSON, charset="utf-8", headers=headers)


def refusal(mishap: Mishap, params: Mapping[str, str]) -> web.Response | None:
    """The HTTP answer of that name; None for the mishaps that something else befalls than another answer."""
    if mishap in ERRORS:
        return error_answer(ERRORS[mishap], params)
    if mishap not in REFUSALS:
        return None
    status, headers, kind, body = REFUSALS[mishap]
    return web.Response(status=status, headers=headers, content_type=kind, body=body)


async def befall(mishap: Mishap, request: web.Request, true: web.Response, oversize: int) -> web.StreamResponse:
    """What the client gets instead of the whole ``true`` answer: half of it, a broken connection, far too much, or nothing."""
    if mishap == "oversized":
        return await _flood(request, oversize)
    if mishap == "truncated":
        body = true.body if isinstance(true.body, bytes) else b""
        return web.Response(body=body[: len(body) // 2], headers=_coding(true), content_type=JSON)
    return await _break_off(mishap, request, true)


def _coding(true: web.Response) -> Mapping[str, str]:
    coding = true.headers.get("Content-Encoding")
    return {"Content-Encoding": coding} if coding else {}


async def _break_off(mishap: Mishap, request: web.Request, true: web.Response) -> web.StreamResponse:
    """Nothing until the client gives up; or a reset, at once or half way through."""
    if mishap == "hang":
        await asyncio.Event().wait()  # until the client goes away, which cancels this
    transport = request.transport
    response = web.StreamResponse()
    body = true.body if isinstance(true.body, bytes) else b""
    if transport is None or transport.is_closing():
        return response
    if mishap == "cut":
        response.content_length = len(body)
        response.headers.update(_coding(true))
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        transport.close()
    else:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return response


async def _flood(request: web.Request, size: int) -> web.StreamResponse:
    """JSON without an end, as far as anybody reads."""
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(request)
    piece = b'{"query":{"pages":[' + b" " * 65_536
    for _ in range(0, size, len(piece)):
        await response.write(piece)
    return response
