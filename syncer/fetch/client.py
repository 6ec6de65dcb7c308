"""The requests. Who may be asked is :mod:`address`'s business, what the answers mean :mod:`verdict`'s and :mod:`pages`'."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import structlog
from yarl import URL

from syncer.errors import Forbidden, Refused, SyncerError, Throttled, Unusable, WikiUnavailable
from syncer.fetch.address import address, user_agent
from syncer.fetch.lists import Listing, Span, listing, params
from syncer.fetch.pages import Gathered, site
from syncer.fetch.skew import Skew
from syncer.fetch.verdict import read
from syncer.proxy import through
from syncer.telemetry import API_REQUESTS, API_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from aiohttp.client_middlewares import ClientHandlerType

    from syncer.config import ApiSettings, WikiSettings
    from syncer.model import Answer, Site

log = structlog.get_logger()

MOST_VALUES = 50  # a request, without special rights (PROTOCOL 21)
MOST_PARTS = 2 * MOST_VALUES  # of an answer; each has at least one revision, or else the rest of what is said of the pages
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 2
LONGEST_GET = 4000  # characters of the query; somewhere between there and 8 KB a server on the way refuses
LARGEST_ID = 2**63 - 1  # with one beyond, the API refuses the whole request

# How a request may end, for the metric; beside these: answered, and given_up at the hub's own end.
RESULTS: dict[type[SyncerError], str] = {
    WikiUnavailable: "wiki_unavailable",
    Forbidden: "forbidden",
    Throttled: "throttled",
    Refused: "refused",
    Unusable: "unusable",
}

COMMON = {"action": "query", "format": "json", "formatversion": "2", "errorformat": "plaintext", "maxlag": "5"}
PAGES = COMMON | {
    "prop": "revisions|info",
    "rvslots": "main",
    "rvprop": "ids|timestamp|content|contentmodel|sha1|slotsha1|size|flags|comment|user|userid|tags",
}
GLANCE = COMMON | {"prop": "revisions|info", "rvprop": "ids|sha1|user|comment"}
SITE = COMMON | {"meta": "siteinfo", "siprop": "general|rightsinfo|namespaces|namespacealiases"}


class WikiApi:
    """Asks wikis for revisions, pages and what they say of themselves; see PROTOCOL 19 to 28.

    ``turn`` is awaited, with the wiki's id, before the start of every single HTTP request: those that continue an answer and
    follow a redirect too. Every call is one attempt. It raises WikiUnavailable, Forbidden or Throttled with the seconds to wait
    where the other side named any, Refused, or Unusable with a reason: ``answer_too_large`` and ``refused_by_wiki`` may be due
    to one of the values, so that the rest can be asked for without it; ``foreign_domain`` means that the wiki must not be asked.

    The session should keep no cookies (``DummyCookieJar``) and is not closed here.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api: ApiSettings,
        wiki: WikiSettings,
        contact: str | None,
        turn: Callable[[str], Awaitable[None]],
    ) -> None:
        self._session = session
        self._api = api
        self._wiki = wiki
        self._turn = turn
        self._skew = Skew()
        self._headers = {"User-Agent": user_agent(contact), "Accept-Encoding": "gzip"}
        if api.token:
            self._headers["Authorization"] = f"Bearer {api.token.get_secret_value()}"

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock is ahead of the wikis'."""
        return self._skew.ahead

    async def revisions(self, wiki_id: str, domain: str, rev_ids: Sequence[int]) -> Answer:
        """Ask for at most 50 revisions by id. Those that are no ids are answered as bad without asking."""
        asked = _ids(rev_ids)
        answer = (await self._gather(wiki_id, domain, "revids", asked)).answer()
        return replace(answer, bad_rev_ids=answer.bad_rev_ids | (set(rev_ids) - set(asked)))

    async def titles(self, wiki_id: str, domain: str, titles: Sequence[str]) -> Answer:
        """Ask for at most 50 pages by title, with their current revisions. Redirects are pages like others."""
        asked = [title for title in dict.fromkeys(titles) if _can_be_asked(title)]
        answer = (await self._gather(wiki_id, domain, "titles", asked)).answer(asked)
        return replace(answer, invalid_titles=answer.invalid_titles | (set(titles) - set(asked)))

    async def page_ids(self, wiki_id: str, domain: str, page_ids: Sequence[int]) -> Answer:
        """Ask for at most 50 pages by id, with their current revisions. Those that are no ids are answered as missing."""
        asked = _ids(page_ids)
        answer = (await self._gather(wiki_id, domain, "pageids", asked)).answer()
        return replace(answer, missing_page_ids=answer.missing_page_ids | (set(page_ids) - set(asked)))

    async def glance(self, wiki_id: str, domain: str, *, titles: Sequence[str] = (), page_ids: Sequence[int] = ()) -> Answer:
        """Ask for at most 50 pages, by title or by id, as they are now, but for their texts.

        Of their current revisions the answer has nothing but the ids and what may be seen of them.
        """
        asked = [title for title in dict.fromkeys(titles) if _can_be_asked(title)]
        key, values = ("titles", asked) if titles else ("pageids", _ids(page_ids))
        return (await self._gather(wiki_id, domain, key, values, texts=False)).answer(asked)

    async def listed(self, wiki_id: str, domain: str, name: str, span: Span, more: str | None) -> Listing:
        """Ask for a page of a list, ``recentchanges`` or ``logevents``; ``more`` is what the page before gave for this one."""
        url = address(self._api, self._wiki, wiki_id, domain)
        document, _ = await self._part(wiki_id, url, COMMON | params(name, span, more), self._api.max_body)
        return listing(wiki_id, name, document, more)

    async def site(self, wiki_id: str, domain: str) -> Site:
        """Ask the wiki about itself."""
        url = address(self._api, self._wiki, wiki_id, domain)
        document, _ = await self._part(wiki_id, url, SITE, self._api.max_body)
        return site(wiki_id, document)

    async def _gather(self, wiki_id: str, domain: str, key: str, values: Sequence[int | str], *, texts: bool = True) -> Gathered:
        """Ask for pages, part by part as long as the wiki says that there are more and ``api.max_body`` has room for them."""
        if len(values) > MOST_VALUES:
            raise ValueError(f"{len(values)} values at once: the API takes {MOST_VALUES}")
        gathered = Gathered(texts=texts)
        if not values:
            return gathered
        url, room = address(self._api, self._wiki, wiki_id, domain), self._api.max_body
        asked = {**(PAGES if texts else GLANCE), key: "|".join(map(str, values))}
        more: Mapping[str, str] = {}
        for _ in range(MOST_PARTS):
            document, size = await self._part(wiki_id, url, {**asked, **more}, room)
            gathered.add(document.get("query"))
            room -= size
            before, more = more, _continue(document)
            if not more:
                return gathered
            if more == before:
                break
        raise WikiUnavailable(f"{wiki_id}: an answer without an end")

    async def _part(self, wiki_id: str, url: str, params: Mapping[str, str], room: int) -> tuple[dict[str, Any], int]:
        """One part of an answer, and of how many bytes it was."""
        there = URL(url)
        for _ in range(1 + MOST_REDIRECTS):
            await self._turn(wiki_id)
            with _measured():
                status, headers, body = await self._attempt(wiki_id, there, params, room)
                if self._skew.answered(headers.get("Date"), time.time()):
                    log.warning("this machine's clock is not the wikis'", seconds_ahead=round(self.ahead, 1), hint="look at NTP")
                if status not in REDIRECTS:
                    return read(wiki_id, status, headers, body), len(body)
            there = _elsewhere(wiki_id, there, headers.get("Location", ""))
        raise WikiUnavailable(f"{wiki_id}: redirected {MOST_REDIRECTS + 1} times")

    async def _attempt(
        self, wiki_id: str, url: URL, params: Mapping[str, str], room: int
    ) -> tuple[int, Mapping[str, str], bytearray]:
        long = len(urlencode(params)) > LONGEST_GET
        try:
            async with self._session.request(
                "POST" if long else "GET",
                url,
                params=None if long else params,
                data=params if long else None,
                headers=self._headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._api.timeout),
                middlewares=(_never_twice,),
                **through(url),
            ) as response:
                return response.status, response.headers, await _body(wiki_id, response, room)
        except TimeoutError as error:
            raise WikiUnavailable(f"{wiki_id}: no answer within {self._api.timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            why = str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
            raise WikiUnavailable(f"{wiki_id}: {why}") from error


@contextmanager
def _measured() -> Iterator[None]:
    """Count one HTTP request by how it ended, and its time from its start to its verdict."""
    began, result = time.monotonic(), "given_up"
    try:
        yield
        result = "answered"
    except SyncerError as error:
        result = RESULTS[type(error)]
        raise
    finally:
        API_REQUESTS.labels(result).inc()
        API_SECONDS.observe(time.monotonic() - began)


async def _never_twice(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Left to itself, aiohttp sends a GET again if its connection breaks: a request that nobody gave a turn (law 8)."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(type(error).__name__) from error


async def _body(wiki_id: str, response: aiohttp.ClientResponse, room: int) -> bytearray:
    """The decoded body, as long as there is room for it."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > room:
            response.close()
            raise Unusable("answer_too_large", f"{wiki_id}: an answer of more bytes than api.max_body allows")
    return body


def _elsewhere(wiki_id: str, url: URL, location: str) -> URL:
    """Where a redirect leads, if that is the same host."""
    try:
        there = url.join(URL(location))
    except ValueError:
        there = URL()
    if there.host != url.host or (url.scheme, there.scheme) not in {("http", "http"), ("http", "https"), ("https", "https")}:
        raise WikiUnavailable(
            f"{wiki_id}: redirected to another host, which is not asked", hint="set api.url to where the wiki is"
        )
    return there.with_query(None)


def _continue(document: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that ask for the next part; none if this was the last (PROTOCOL 23)."""
    more = document.get("continue")
    if not isinstance(more, dict):
        return {}
    return {key: str(value) for key, value in more.items() if isinstance(value, str | int)}


def _ids(values: Sequence[int]) -> list[int]:
    """Those that can be ids, each once."""
    return [value for value in dict.fromkeys(values) if 0 < value <= LARGEST_ID]


def _can_be_asked(title: str) -> bool:
    """Whether a title can stand among others in a request; no page has one that cannot."""
    try:
        title.encode()
    except UnicodeEncodeError:
        return False
    return bool(title.strip()) and "|" not in title and "\x1f" not in title
