"""Both upstreams, by turns."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.contract.fake_upstream import fake
from tests.contract.lab_upstream import lab
from tests.contract.upstream import AGENT, Outside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(params=["fake", "lab"])
async def outside(request: pytest.FixtureRequest) -> AsyncIterator[Outside]:
    """A reader of the fake and of the real thing; every test has titles of its own."""
    prefix = f"Contract {uuid.uuid4().hex[:8]}"
    async with aiohttp.ClientSession(headers=AGENT) as session:
        if request.param == "lab":
            request.getfixturevalue("named_lab")
            yield Outside(lab(), session, prefix)
        else:
            async with fake() as wiki:
                yield Outside(wiki, session, prefix)
