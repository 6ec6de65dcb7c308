"""The client against the farm that the demo runs on: its texts, its parts, everything that can befall a request."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha1
from typing import TYPE_CHECKING, Any, get_args

import aiohttp
import pytest

from syncer.config import Settings
from syncer.demo.farm import Farm
from syncer.demo.faults import Mishap
from syncer.demo.server import serve
from syncer.errors import Forbidden, Refused, SyncerError, Throttled, Unusable, WikiUnavailable
from syncer.fetch import WikiApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from syncer.demo.server import Upstream
    from syncer.demo.wiki import Wiki

FATES: dict[str, type[SyncerError]] = {
    "ratelimited": Throttled,
    "throttled": Throttled,
    "throttled_bare": Throttled,
    "throttled_text": Throttled,
    "oversized": Unusable,
    "unauthorized": Refused,
    "forbidden": Forbidden,
}


@pytest.fixture(scope="module")
def farm() -> Farm:
    return Farm(pages=300, seed=3)


@asynccontextmanager
async def asking(farm: Farm, **api: object) -> AsyncIterator[tuple[Upstream, WikiApi]]:
    turns: list[str] = []

    async def turn(wiki_id: str) -> None:
        turns.append(wiki_id)

    async with serve(farm) as upstream, aiohttp.ClientSession() as session:
        settings = Settings.model_validate({"api": {"url": upstream.api_url, **api}})
        yield upstream, WikiApi(session, settings.api, settings.wiki, "tests@example.org", turn)
    farm.faults = replace(farm.faults, max_result=12 * 1024 * 1024)
    assert turns == [asked.wiki_id for asked in upstream.api.requests]


def some(wiki: Wiki, count: int) -> dict[int, Any]:
    """The latest revisions of so many pages, by id."""
    return {rev.rev_id: rev for rev in map(wiki.latest, list(wiki.pages.values())[:count])}


@pytest.mark.parametrize("max_result", [12 * 1024 * 1024, 20_000])
async def test_fifty_revisions_in_one_part_or_many(farm: Farm, max_result: int) -> None:
    wiki = farm["enwiki"]
    wanted = some(wiki, 50)
    assert len(wanted) == 50
    async with asking(farm) as (upstream, api):
        upstream.faults = replace(upstream.faults, max_result=max_result)
        answer = await api.revisions("enwiki", wiki.site.domain, list(wanted))
        assert (len(upstream.api.requests) > 1) == (max_result < 10**6)
    found = {rev_id: rev for page in answer.pages.values() for rev_id, rev in page.revisions.items()}
    assert set(found) == set(wanted)
    for rev_id, rev in found.items():
        assert rev.text == (wanted[rev_id].text if not wanted[rev_id].hidden else None)
        assert rev.text is None or rev.sha1 == sha1(rev.text, usedforsecurity=False).hexdigest()
    assert all(page.last_rev_id in page.revisions for page in answer.pages.values())


@pytest.mark.parametrize("wiki_id", ["dewiki", "ruwiki", "jawiki", "zhwiki", "hiwiki", "arwiki"])
async def test_titles_and_page_ids_of_every_script(farm: Farm, wiki_id: str) -> None:
    wiki = farm[wiki_id]
    pages = list(wiki.pages.values())[:50]
    async with asking(farm) as (_, api):
        by_title = await api.titles(wiki_id, wiki.site.domain, [page.title.text.replace(" ", "_") for page in pages])
        by_id = await api.page_ids(wiki_id, wiki.site.domain, [page.page_id for page in pages])
        site = await api.site(wiki_id, wiki.site.domain)
    assert {page.page_id: page.title.text for page in pages} == {page_id: page.title for page_id, page in by_id.pages.items()}
    assert by_title.pages == by_id.pages
    assert not by_title.invalid_titles | by_id.missing_page_ids
    assert (site.licence is None) == (wiki.site.licence == ("", ""))


@pytest.mark.parametrize("mishap", get_args(Mishap))
async def test_whatever_befalls_a_request_is_one_attempt(farm: Farm, mishap: Mishap) -> None:
    wiki = farm["enwiki"]
    rev_id = next(iter(some(wiki, 1)))
    async with asking(farm, timeout=0.3, max_body=2**20) as (upstream, api):
        upstream.api.script.extend([None, mishap])
        await api.revisions("enwiki", wiki.site.domain, [rev_id])  # leaves a connection open that the next one will use
        with pytest.raises(SyncerError) as caught:
            await api.revisions("enwiki", wiki.site.domain, [rev_id])
        assert type(caught.value) is FATES.get(mishap, WikiUnavailable)
        assert len(upstream.api.requests) == 2
        assert (await api.revisions("enwiki", wiki.site.domain, [rev_id])).pages


async def test_a_wiki_that_lags_says_so(farm: Farm) -> None:
    wiki = farm["enwiki"]
    async with asking(farm) as (upstream, api):
        upstream.faults = replace(upstream.faults, lag=6.0)
        with pytest.raises(WikiUnavailable, match="maxlag") as caught:
            await api.site("enwiki", wiki.site.domain)
        upstream.faults = replace(upstream.faults, lag=0.0)
    assert caught.value.after == 5
