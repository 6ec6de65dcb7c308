"""The Action API over HTTP: one handler for ``/<wiki id or domain>/w/api.php``, and the log of what it was asked."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from syncer.demo.mishaps import JSON, befall, error_answer, refusal
from syncer.demo.query import answer
from syncer.demo.selection import SOURCES, ApiError, View, values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.demo.farm import Farm
    from syncer.demo.faults import Mishap
    from syncer.demo.wiki import Wiki

MINUTE = 60.0
LOG_SIZE = 100_000  # requests remembered


@dataclass(slots=True)
class Asked:
    """One request: when it started (monotonic seconds), of which wiki, what for, and what came of it.

    ``in_flight`` is the number of requests being answered at its start, this one included; ``source`` is titles, pageids,
    revids, siteinfo or the name of a list and ``count`` the number of values; ``size`` is the body's, in bytes as sent;
    ``status`` is 0 without an answer.
    """

    at: float
    wiki_id: str
    in_flight: int
    user_agent: str | None
    source: str = ""
    count: int = 0
    status: int = 0
    size: int = 0
    mishap: Mishap | None = None


class Api:
    """Answers for a farm's wikis. ``script`` are mishaps for the next requests, in order, before any that chance brings."""

    def __init__(self, farm: Farm) -> None:
        self.script: deque[Mishap | None] = deque()
        self._farm = farm
        self._asked: deque[Asked] = deque(maxlen=LOG_SIZE)
        self._in_flight = 0
        self._starts: deque[float] = deque()

    @property
    def requests(self) -> list[Asked]:
        """Every request so far, by the time it started."""
        return sorted(self._asked, key=lambda asked: asked.at)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        wiki = self._farm.serving(request.match_info["wiki"])
        if wiki is None:
            return web.Response(status=404, text="no such wiki")
        self._in_flight += 1
        asked = Asked(time.monotonic(), wiki.site.wiki_id, self._in_flight, request.headers.get("User-Agent"))
        self._asked.append(asked)
        try:
            params = {name: str(value) for name, value in [*request.query.items(), *(await request.post()).items()]}
            asked.source = next((name for name in SOURCES if params.get(name)), params.get("meta") or params.get("list", ""))
            asked.count = len(values(params, asked.source))
            asked.mishap = self._mishap(wiki, asked.at)
            await asyncio.sleep(self._farm.faults.latency)
            response = await self._respond(wiki, request, params, asked.mishap)
            asked.status = response.status
            asked.size = len(response.body) if isinstance(response, web.Response) and isinstance(response.body, bytes) else 0
            return response
        finally:
            self._in_flight -= 1

    async def _respond(
        self, wiki: Wiki, request: web.Request, params: Mapping[str, str], mishap: Mishap | None
    ) -> web.StreamResponse:
        if not request.headers.get("User-Agent"):
            return web.Response(status=403, text="a User-Agent is compulsory")
        instead = refusal(mishap, params) if mishap else None
        if instead is not None:
            return instead
        true = self._answer(wiki, request, params)
        return await befall(mishap, request, true, self._farm.faults.oversize) if mishap else true

    def _answer(self, wiki: Wiki, request: web.Request, params: Mapping[str, str]) -> web.Response:
        faults = self._farm.faults
        try:
            body = orjson.dumps(self._query(wiki, params))
        except ApiError as error:
            return error_answer(error, params)
        response = web.Response(content_type=JSON, charset="utf-8")
        if faults.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
            packer = zlib.compressobj(faults.gzip, wbits=31)
            body = packer.compress(body) + packer.flush()
            response.headers["Content-Encoding"] = "gzip"
        response.body = body
        return response

    def _query(self, wiki: Wiki, params: Mapping[str, str]) -> dict[str, Any]:
        faults = self._farm.faults
        if params.get("action") != "query":
            raise ApiError("badvalue", f"no such action: {params.get('action')}", "main")
        if faults.lag > float(params.get("maxlag", "inf")):
            text = f"Waiting for db1: {faults.lag} seconds lagged."
            raise ApiError("maxlag", text, "main", host="db1", lag=faults.lag, type="db")
        view = View(wiki, self._farm.clock() - faults.lag if faults.lag else None)
        return answer(view, params, faults.max_result)

    def _mishap(self, wiki: Wiki, started: float) -> Mishap | None:
        faults = self._farm.faults
        while self._starts and self._starts[0] <= started - MINUTE:
            self._starts.popleft()
        self._starts.append(started)
        if faults.budget is not None and len(self._starts) > faults.budget:
            return "throttled"
        if self.script:
            return self.script.popleft()
        if wiki.site.wiki_id in faults.broken:
            return faults.broken[wiki.site.wiki_id]
        draw = self._farm.rng.random() if faults.mishaps else 1.0
        for mishap, probability in faults.mishaps.items():
            draw -= probability
            if draw < 0:
                return mishap
        return None
