"""A real MediaWiki and its feed as the contract suite's upstream."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.e2e.lab.files import export
from tests.e2e.lab.mwapi import Client

if TYPE_CHECKING:
    from collections.abc import Sequence

API, STREAM = "SYNCER_TEST_LAB_API", "SYNCER_TEST_LAB_STREAM"
HIDES = {1: "content", 2: "comment", 4: "user"}
RESTRICTED = 8


class LabWiki:
    """The lab at the addresses that the environment names; its feed without faults, or the suite sees those."""

    def __init__(self) -> None:
        self.api_url = os.environ[API]
        self.feed_url = os.environ[STREAM].removesuffix("/").removesuffix("/recentchange")
        self._client = Client(self.api_url, "Alice", "AlicePass-2026-x")

    async def _act(self, action: str, **parameters: Any) -> dict[str, Any]:
        answer = await asyncio.to_thread(self._client.act, action, **parameters)
        found: dict[str, Any] = answer[action]
        return found

    async def edit(self, title: str, text: str, comment: str = "", *, minor: bool = False) -> int | None:
        flags = {"minor": "1"} if minor else {}
        done = await self._act("edit", title=title, text=text, summary=comment, **flags)
        return int(done["newrevid"]) if "newrevid" in done else None

    async def move(self, title: str, to: str, *, redirect: bool = True) -> None:
        flags = {} if redirect else {"noredirect": "1"}
        await self._act("move", **{"from": title}, to=to, reason="why", **flags)

    async def delete(self, title: str) -> None:
        await self._act("delete", title=title, reason="why")

    async def undelete(self, title: str, *rev_ids: int) -> None:
        some = {}
        if rev_ids:
            asked = {"prop": "deletedrevisions", "titles": title, "drvlimit": "50", "drvprop": "ids|timestamp"}
            (page,) = (await asyncio.to_thread(self._client.query, **asked))["pages"]
            some = {"timestamps": "|".join(rev["timestamp"] for rev in page["deletedrevisions"] if rev["revid"] in rev_ids)}
        await self._act("undelete", title=title, reason="why", **some)

    async def hide(self, rev_ids: Sequence[int], bits: int) -> None:
        hide = "|".join(word for bit, word in HIDES.items() if bits & bit)
        show = "|".join(word for bit, word in HIDES.items() if not bits & bit)
        named = {"type": "revision", "ids": "|".join(map(str, rev_ids)), "reason": "why", "hide": hide, "show": show}
        suppress = "yes" if bits & RESTRICTED else "no"
        done = await self._act("revisiondelete", **{name: value for name, value in named.items() if value}, suppress=suppress)
        assert done["status"] == "Success", done

    async def protect(self, title: str) -> None:
        await self._act("protect", title=title, protections="edit=sysop", expiry="infinite", reason="why")

    async def merge(self, title: str, into: str, up_to: int | None = None) -> None:
        some = {}
        if up_to is not None:
            asked = {"prop": "revisions", "revids": str(up_to), "rvprop": "timestamp"}
            (page,) = (await asyncio.to_thread(self._client.query, **asked))["pages"]
            some = {"timestamp": page["revisions"][0]["timestamp"]}
        await self._act("mergehistory", **{"from": title}, to=into, reason="why", **some)

    async def bring_in(self, title: str, texts: dict[int, str]) -> None:
        dump = export(title, {f"{year}-01-01T00:00:00Z": text for year, text in texts.items()})
        await self._act("import", xml=dump, interwikiprefix="old", summary="why")

    async def change_model(self, title: str, model: str) -> None:
        await self._act("changecontentmodel", title=title, model=model, summary="why")

    async def tick(self) -> None:
        await asyncio.sleep(1.1)

    async def cut(self) -> None:
        await asyncio.sleep(0.3)
        host = urlsplit(self.feed_url)
        await asyncio.to_thread(lambda: urlopen(f"{host.scheme}://{host.netloc}/_lab/disconnect").read())


def lab() -> LabWiki:
    """The lab. Skips where none is named."""
    if API not in os.environ or STREAM not in os.environ:
        pytest.skip(f"no real MediaWiki named: set {API} and {STREAM} (tests/e2e/lab starts one)")
    return LabWiki()
