"""Manifests, on every journal there is: made once, by the owner alone, and found right by who reads."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from syncer import signing
from syncer.enrich import manifests as making
from syncer.errors import Superseded
from syncer.journal import Topic, open_journal, partition_of
from syncer.manifest import Mark
from syncer.mirror.manifests import Task, check
from syncer.store import Store
from tests.contract.journals import JOURNALS, PARTITIONS
from tests.following import follow
from tests.manifesting import Hub, three_hours

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from syncer.journal import Journal, Stored
    from syncer.mirror.manifests import Checked
    from tests.kafka import Kafka

HOUR, LOOK_EVERY = 2, 0.2  # seconds
PART = partition_of("testwiki", PARTITIONS)


@pytest.fixture(params=sorted(JOURNALS))
async def journal(request: pytest.FixtureRequest, tmp_path: Path, kafka: Kafka) -> AsyncIterator[Journal]:
    opened = await open_journal(JOURNALS[request.param](tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def hub(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(making, "EVERY", HOUR)
    monkeypatch.setattr(making, "LOOK_EVERY", LOOK_EVERY)
    made = Hub(journal, Store(tmp_path / "hub.db", 10**9), time.time, signing.signer(tmp_path / "key", create=True))
    await made.start()
    yield made
    made.end()


async def checked(hub: Hub, tmp_path: Path) -> Checked:
    """What a mirror finds that has read everything."""
    mirrored = Store(tmp_path / "mirror.db")
    try:
        await follow(hub.journal, mirrored, idle=0.5)  # type: ignore[arg-type] # any journal
        return await check(Task(hub.journal, {hub.signer.public}, ["*"]), mirrored)
    finally:
        mirrored.close()


async def test_what_is_told_is_found_right(hub: Hub, tmp_path: Path) -> None:
    await three_hours(hub)
    found = await checked(hub, tmp_path)
    assert not found.faults
    assert found.manifests == {"right": 3, "wrong": 0, "cut": 0, "ahead": 0}
    assert [value["records"] for _, value in await hub.told()] == [2, 2, 2]


async def test_a_record_does_not_say_itself_what_was_published(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever carries records to a partner alters one, and puts the hash of what it was beside it. Only a journal that is
    rewritten does so itself, and what is in that file is the hub's own word.
    """
    await three_hours(hub)
    read, altered = hub.journal.read, list[int]()

    async def carried(topic: Topic, *where: int, **more: int) -> Sequence[Stored]:
        records = await read(topic, *where, **more)
        if topic is not Topic.MUTATIONS or not records:
            return records
        first = records[0]
        altered.append(first.offset)
        headers = {**first.headers, "published_sha256": first.digest}
        return [replace(first, value=first.value.replace(b"a comment", b"no comment"), headers=headers), *records[1:]]

    monkeypatch.setattr(hub.journal, "read", carried)
    found = await checked(hub, tmp_path)
    assert altered
    assert [fault.fault for fault in found.faults] == ([] if hub.journal.rewrites else ["altered record"])


async def test_who_was_superseded_tells_nothing(hub: Hub, tmp_path: Path) -> None:
    """He had read everything back, and was about to append it when another one became the owner, and told it himself."""
    await hub.publish(hub.pages.snapshot(1, "One", b"one"))
    before, thread, part = hub.manifests, hub.thread, hub.manifests._parts[PART]
    hour, to = making._hour(time.time() + HOUR), await before.work(partial(before._cut, PART))
    assert await before._read(PART, part, to, asyncio.Event())
    await hub.start()
    await hub.hours()
    told = await hub.told()
    assert len(told) == 1
    with pytest.raises(Superseded):
        await before.work(partial(before._tell, PART, part, Mark(hour, to)))
    thread.shutdown()
    assert await hub.told() == told
    assert not (await checked(hub, tmp_path)).faults
