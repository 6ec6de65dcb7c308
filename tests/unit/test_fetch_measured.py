"""What the metrics say of the API: every HTTP request by itself, by how it ended, without the wait for its turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from syncer.errors import SyncerError
from syncer.telemetry import REGISTRY
from tests.unit.test_fetch import DOMAIN, PAGE, REVISION, WIKI, Said, Upstream, asking, json, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = json({"continue": {"rvcontinue": "1|9"}, "query": {"pages": [PAGE]}})
LAST = whole({**PAGE, "revisions": [REVISION]})


class Measures:
    """How much the metrics grew."""

    def __init__(self) -> None:
        self.before = self.now()

    def now(self) -> dict[str, float]:
        families = [family for family in REGISTRY.collect() if family.name.startswith("syncer_api_")]
        samples = [sample for family in families for sample in family.samples if not sample.name.endswith("_bucket")]
        return {sample.labels.get("result", sample.name): sample.value for sample in samples}

    def grown(self) -> dict[str, float]:
        grown = {name: value - self.before.get(name, 0.0) for name, value in self.now().items()}
        return {name: value for name, value in grown.items() if value}


@pytest.fixture
def measures() -> Iterator[Measures]:
    measures = Measures()
    yield measures
    grown = measures.grown()
    requests = sum(value for name, value in grown.items() if not name.startswith("syncer_"))
    assert requests == grown["syncer_api_request_seconds_count"]


async def test_a_call_of_two_parts_is_two_requests_and_waiting_for_a_turn_is_none(
    measures: Measures, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Upstream(PART, LAST)
    turn = upstream.turn

    async def late(wiki_id: str) -> None:
        await asyncio.sleep(0.5)
        await turn(wiki_id)

    monkeypatch.setattr(upstream, "turn", late)
    async with asking(upstream) as api:
        await api.revisions(WIKI, DOMAIN, [10])
    grown = measures.grown()
    assert grown["answered"] == len(upstream.asked) == 2
    assert grown["syncer_api_request_seconds_sum"] < 0.5


async def test_a_redirect_is_a_request_too(measures: Measures) -> None:
    upstream = Upstream(Said(status=301, headers={"Location": "/elsewhere"}), LAST)
    async with asking(upstream) as api:
        await api.revisions(WIKI, DOMAIN, [10])
    assert measures.grown()["answered"] == 2


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Said(status=429), "throttled"),
        (Said(status=403), "forbidden"),
        (Said(status=401), "refused"),
        (Said(status=500), "wiki_unavailable"),
        (Said(b"<html>"), "wiki_unavailable"),
        (json({"errors": [{"code": "maxlag", "text": "Waiting"}]}), "wiki_unavailable"),
        (Said(b"x" * 5000), "unusable"),
    ],
)
async def test_a_request_is_counted_by_how_it_ended(measures: Measures, answer: Said, result: str) -> None:
    async with asking(Upstream(answer), max_body=4000) as api:
        with pytest.raises(SyncerError):
            await api.revisions(WIKI, DOMAIN, [10])
    assert measures.grown()[result] == 1


async def test_a_request_that_the_hub_gave_up_was_one(measures: Measures) -> None:
    asked = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.sleep(60)
        return web.Response()

    async with asking(Upstream(never)) as api:
        asking_it = asyncio.ensure_future(api.revisions(WIKI, DOMAIN, [10]))
        await asked.wait()
        asking_it.cancel()
        await asyncio.gather(asking_it, return_exceptions=True)
    assert measures.grown()["given_up"] == 1
