"""Brokers: one to be broken, and one that lets nobody in unasked, with what a hub has published there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from deploy.kafka.layout import make
from syncer.clock import now_iso
from syncer.demo.actions import Workload, drive
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.journal.kafka.rights import Users
from tests.secure import of, said, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.kafka.nodes import Cluster
    from tests.command import Place, Said
    from tests.secure import Secure


@pytest.fixture(scope="module")
def brittle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker of a module's own."""
    with make(tmp_path_factory.mktemp("brittle")) as cluster:
        yield cluster


@pytest.fixture
def cluster(brittle: Cluster) -> Iterator[Cluster]:
    """That broker, to be frozen and killed; it is at work again for the next test."""
    yield brittle
    brittle.nodes[0].thaw()
    brittle.start()


@pytest.fixture(scope="package")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """A broker where operator, hub and partner have their rights, and the hub has published what happened on a farm."""
    with started(tmp_path_factory.mktemp("secure")) as secure:
        secure.grant([acl for user in Users() for acl in of(user, secure.journal)])
        came = asyncio.run(_publish(secure.place(tmp_path_factory.mktemp("hub"), "hub")))
        assert came.code == 0, came.err
        yield secure


async def _publish(place: Place) -> Said:
    farm, since = Farm(pages=20), now_iso()
    scope = {"WIKI__INCLUDE": "*", "WIKI__EXCLUDE": "wikidatawiki", "WIKI__NAMESPACES": "*"}
    async with serve(farm) as upstream:
        await drive(Workload(farm), rate=500, count=60)
        feed = {"FEED__URL": upstream.feed_url, "FEED__SINCE": since}
        api = {"API__URL": upstream.api_url, "API__REQUESTS_PER_MINUTE": "6000", "API__YOUNG": "1"}
        return await asyncio.to_thread(said, place, "run", "--until-idle", "1.5", **scope, **feed, **api)
