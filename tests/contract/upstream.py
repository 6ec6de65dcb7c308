"""What the contract suite asks of an upstream, be it the fake or the lab, and how it reads one from outside."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    import aiohttp

    from syncer.demo.log import EventLog

AGENT = {"User-Agent": "syncer-tests/1 (loopback; bot)"}
RVPROP = "ids|timestamp|content|contentmodel|sha1|slotsha1|size|flags|comment|user|userid|tags"
COMMON = {"action": "query", "format": "json", "formatversion": "2", "errorformat": "plaintext"}
FULL = {"prop": "revisions|info", "rvslots": "main", "rvprop": RVPROP, "maxlag": "5"}  # PROTOCOL 22
STREAMS = ("recentchange", "mediawiki.page_change.v1", "mediawiki.revision-visibility-change", "mediawiki.revision-create")
NOTHING = 10**15  # an id that nothing has
PATIENCE = 15.0  # seconds that anything expected of a feed may take


class Wiki(Protocol):
    """A wiki that can be acted on: what it does must look the same from outside, whichever it is."""

    api_url: str
    feed_url: str

    async def edit(self, title: str, text: str, comment: str = "", *, minor: bool = False) -> int | None:
        """Save; the new revision's id, None where nothing changed."""

    async def move(self, title: str, to: str, *, redirect: bool = True) -> None:
        """Rename a page."""

    async def delete(self, title: str) -> None:
        """Delete a page."""

    async def undelete(self, title: str, *rev_ids: int) -> None:
        """Restore a page, or these revisions of it."""

    async def hide(self, rev_ids: Sequence[int], bits: int) -> None:
        """Set what is hidden of revisions."""

    async def protect(self, title: str) -> None:
        """Protect a page."""

    async def merge(self, title: str, into: str, up_to: int | None = None) -> None:
        """Merge a history into another."""

    async def bring_in(self, title: str, texts: dict[int, str]) -> None:
        """Import revisions, text by year."""

    async def change_model(self, title: str, model: str) -> None:
        """Change a page's content model."""

    async def tick(self) -> None:
        """Let the wiki's clock, which counts whole seconds, move on."""

    async def cut(self) -> None:
        """Cut every connection to the feed."""


class Answer(NamedTuple):
    """An answer of the API."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def pages(self) -> list[dict[str, Any]]:
        """The pages in it."""
        found: list[dict[str, Any]] = self.body["query"]["pages"]
        return found


class Event(NamedTuple):
    """An event as it came: the parsed ``id`` line and the parsed data."""

    position: list[dict[str, Any]]
    data: dict[str, Any]

    @property
    def stream(self) -> str:
        """Its stream, without ``mediawiki.``."""
        name: str = self.data["meta"]["stream"]
        return name.removeprefix("mediawiki.")


class Outside:
    """An anonymous reader of an upstream, who knows nothing but its two addresses."""

    def __init__(self, wiki: Wiki, session: aiohttp.ClientSession, prefix: str) -> None:
        self.wiki = wiki
        self.prefix = prefix
        self._session = session
        self._since = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")

    def name(self, what: str) -> str:
        """A title that is nobody else's."""
        return f"{self.prefix} {what}"

    async def ask(self, method: str = "GET", **params: str) -> Answer:
        """Ask the API; parameters beside the usual ones."""
        whole = {**COMMON, **params}
        query, form = (None, whole) if method == "POST" else (whole, None)
        async with self._session.request(method, self.wiki.api_url, params=query, data=form) as response:
            return Answer(response.status, dict(response.headers), await response.json())

    async def page(self, title: str) -> dict[str, Any]:
        """A page with its current revision."""
        (page,) = (await self.ask(titles=title, **FULL)).pages
        return page

    async def revision(self, rev_id: int) -> dict[str, Any]:
        """One revision."""
        (page,) = (await self.ask(revids=str(rev_id), **FULL)).pages
        (revision,) = page["revisions"]
        found: dict[str, Any] = revision
        return found

    def connect(self, streams: Sequence[str] = STREAMS, since: str | None = None, last_event_id: str | None = None) -> Any:
        """A request to the feed, to be used as a context."""
        url = f"{self.wiki.feed_url}/{','.join(streams)}"
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        return self._session.get(url, params={} if since is None else {"since": since}, headers=headers)

    async def events(self, enough: Callable[[list[Event]], bool], streams: Sequence[str] = STREAMS) -> list[Event]:
        """The events of this test's pages so far, once there are enough of them. Fails with what there is."""
        mine: list[Event] = []
        try:
            async with asyncio.timeout(PATIENCE), self.connect(streams, self._since) as response:
                async for event in read(response):
                    if self.prefix in (event.data.get("title") or title_of(event)):
                        mine.append(event)
                    if enough(mine):
                        return mine
        except TimeoutError:
            pass
        raise AssertionError(f"not enough: {[(event.stream, event.data) for event in mine]}")

    async def told(self, marker: str = "end") -> list[Event]:
        """All that the actions so far said on every stream: a marker edit is made, and read up to on each of them."""
        title = self.name(marker)
        await self.wiki.edit(title, "marker")
        ends = {"recentchange", "page_change.v1", "revision-create"}
        found = await self.events(lambda seen: {event.stream for event in seen if title in all_titles(event)} >= ends)
        return [event for event in found if title not in all_titles(event)]


def title_of(event: Event) -> str:
    """The title that an event is about, with spaces."""
    title = event.data.get("page_title") or event.data.get("page", {}).get("page_title") or ""
    return str(title).replace("_", " ")


def all_titles(event: Event) -> set[str]:
    """The titles that an event is about and names."""
    return {str(event.data.get("title")), title_of(event)}


async def read(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """The events of a stream, decoded here by hand: this reader shares no code with the project's."""
    buffer = b""
    async for piece in response.content.iter_any():
        buffer += piece
        while b"\n\n" in buffer:
            block, buffer = buffer.split(b"\n\n", 1)
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if line and not line.startswith(b":"))
            if fields.get(b"event") == b"message":
                yield Event(orjson.loads(fields[b"id"]), orjson.loads(fields[b"data"]))


def all_events(log: EventLog) -> list[dict[str, Any]]:
    """Everything that the fake's event log holds, topic by topic."""
    found = []
    for partition in log.partitions.values():
        found += [orjson.loads(record.data) for record in partition.read(partition.base, partition.end - partition.base)]
    return found
