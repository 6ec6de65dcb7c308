"""What a mirror asks its hub for: what it lacks at the journal's end, not all at once, and again until it has it."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from structlog.testing import capture_logs

from syncer import requests
from syncer.config import MirrorSettings
from syncer.errors import JournalUnavailable, Misconfigured, OutcomeUnknown, Refused
from syncer.journal import Topic, partition_of
from syncer.mirror import Mirror
from syncer.mirror import requests as asking
from syncer.requests import Request, decode, encode
from syncer.store import Store
from tests.following import PARTITIONS, diverging, follow, publish, virtually
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from syncer.journal import Record
    from syncer.journal.sqlite import SqliteJournal
    from tests.virtual import Clock

    Work = Callable[[SqliteJournal, Store, Clock], Coroutine[Any, Any, None]]

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "schema" / "request" / "1.0.0.json").read_text("utf-8"))
PART = partition_of("testwiki", PARTITIONS)
ONE = Request(
    mirror="m1", wiki_id="enwiki", page_id=7, read_to=12, seq=3, rev_id=101, sha1="a" * 40, reason="no base text",
    asked_at="2026-11-24T04:00:00.000Z",
)  # fmt: skip


async def asked(journal: SqliteJournal) -> list[Request]:
    """Every request, in the order of its partition."""
    found = []
    for part in range(PARTITIONS):
        start, _ = await journal.bounds(Topic.REQUESTS, part)
        found += [decode(record.value) for record in await journal.read(Topic.REQUESTS, part, start)]
    return found


# -- the record ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_valid_and_read_again() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    part = json.loads(encode(ONE))
    jsonschema.validate(part, SCHEMA)
    assert part["schema"] == requests.SCHEMA
    assert set(part) == set(SCHEMA["properties"])
    assert decode(orjson.dumps(part | {"new": [1]})) == ONE
    least = {name: part[name] for name in SCHEMA["required"]}
    jsonschema.validate(least, SCHEMA)
    assert decode(orjson.dumps(least)).key == "enwiki:7"


@pytest.mark.parametrize(
    "harm",
    [
        {"schema": "request/2.0.0"}, {"schema": 1}, {"mirror": ""}, {"mirror": "m" * 256}, {"mirror": 7}, {"wiki_id": None},
        {"page_id": "7"}, {"page_id": -1}, {"page_id": 2**63}, {"page_id": True}, {"read_to": None}, {"read_to": 1.5},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_request_is_told_from_one(harm: dict[str, Any]) -> None:
    part = json.loads(encode(ONE)) | harm
    if harm != {"page_id": 2**63}:
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(part)
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode(orjson.dumps(part))


@pytest.mark.parametrize("value", [b"", b"[]", b"7", b'"request/1.0.0"', b"{}", b"\xff"])
def test_anything_else_is_none_either(value: bytes) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode(value)


# -- when, and for what --------------------------------------------------------------------------------------------------


async def test_what_it_lacks_at_the_end_is_asked_for_once(
    journal: SqliteJournal, store: Store, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncer.mirror.APPLY_AT_ONCE", 1)  # and not on the way there
    await diverging(journal, pages, 1, 2)
    await publish(journal, pages.snapshot(2, "P2", b"whole again"))
    follower = await follow(journal, store)
    (one,) = await asked(journal)
    facts, mirror = pages.revisions[1], store.meta("mirror")
    assert (one.mirror, one.key, one.read_to) == (mirror, "testwiki:1", store.offset(PART))
    assert (one.seq, one.rev_id, one.sha1, one.reason) == (2, facts.rev_id, facts.sha1, "unknown page")
    assert follower.requests.asked == 1
    (record,) = await journal.read(Topic.REQUESTS, PART, 0)
    assert (record.key, record.headers) == ("testwiki:1", {"wiki": "testwiki", "mirror": mirror})
    await follow(journal, store)
    assert len(await asked(journal)) == 1  # a start is no reason to ask again


@pytest.mark.parametrize("heal", ["off", "api"])
async def test_who_heals_otherwise_asks_no_hub(journal: SqliteJournal, store: Store, pages: Pages, heal: str) -> None:
    await diverging(journal, pages, 1)
    settings = MirrorSettings.model_validate({"heal": heal})
    await Mirror(journal, store, settings).run(asyncio.Event(), 0.02)
    assert store.diverging() == 1
    assert await asked(journal) == []


async def run_for(seconds: float, journal: SqliteJournal, store: Store) -> Mirror:
    follower, stop = Mirror(journal, store, MirrorSettings()), asyncio.Event()
    following = asyncio.create_task(follower.run(stop))
    await asyncio.sleep(seconds)
    stop.set()
    await following
    follower._thread.shutdown()
    return follower


def test_many_are_asked_for_at_the_pace_that_a_hub_grants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(journal: SqliteJournal, store: Store, _clock: Clock) -> None:
        await diverging(journal, Pages(), *range(1, 101))
        await run_for(25.0, journal, store)
        assert len(await asked(journal)) == 3 * asking.AT_ONCE
        await run_for(20.0, journal, store)
        assert sorted(one.page_id for one in await asked(journal)) == list(range(1, 101))

    virtually(monkeypatch, tmp_path, work)


def test_one_that_is_not_answered_is_asked_again_later_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncer.store.asked.FIRST", 10.0)  # a minute and an hour in earnest
    monkeypatch.setattr("syncer.store.asked.LONGEST", 60.0)

    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        pages, times, began = Pages(), list[float](), clock.time()
        await diverging(journal, pages, 1)
        monkeypatch.setattr(asking, "at", lambda _: times.append(round(clock.time() - began, -1)))
        await run_for(100.0, journal, store)
        assert times == [0, 10, 30, 70]
        await run_for(165.0, journal, store)  # the same, by one that was started anew
        assert times[4:] == [130, 190, 250]
        assert {one.read_to for one in await asked(journal)} == {store.offset(PART)}
        await publish(journal, pages.snapshot(1, "P1", b"whole"))
        before = len(times)
        await run_for(100.0, journal, store)
        assert (len(times), store.diverging()) == (before, 0)
        assert store._db.execute("SELECT count(*) FROM asked").fetchone()[0] == 0
        pages.snapshot(1, "P1", b"lost")
        await publish(journal, pages.patch(1, "P1", b"and lost"))
        await run_for(15.0, journal, store)
        assert [later - times[before] for later in times[before:]] == [0, 10]  # from the beginning

    virtually(monkeypatch, tmp_path, work)


def test_what_another_process_has_marked_is_noticed_and_idleness_is_not_put_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        pages = Pages()
        await publish(journal, pages.snapshot(1, "P1", b"one"))
        running = asyncio.create_task(run_for(100.0, journal, store))
        await asyncio.sleep(20.0)
        with closing(Store(tmp_path / "virtual.db")) as other, other.folding():
            other.mark("testwiki", 1, "hash")
        await asyncio.sleep(asking.LOOK_EVERY + 1)
        assert [one.reason for one in await asked(journal)] == ["hash"]
        await running
        await publish(journal, pages.snapshot(1, "P1", b"one"))
        began = clock.time()
        await follow(journal, store, idle=3 * asking.LOOK_EVERY)  # longer than between two looks
        assert clock.time() - began < 4 * asking.LOOK_EVERY

    virtually(monkeypatch, tmp_path, work)


# -- trouble -------------------------------------------------------------------------------------------------------------


class Failing:
    """A journal in which requests cannot be written, for this reason; ``after``: once they are."""

    def __init__(self, journal: SqliteJournal, error: Exception, *, times: int = 10**6, after: bool = False) -> None:
        self.tries = 0
        self._journal, self._error, self._times, self._after = journal, error, times, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def append(self, record: Record) -> int:
        self.tries += record.topic is Topic.REQUESTS
        if record.topic is not Topic.REQUESTS or self.tries > self._times:
            return await self._journal.append(record)
        if self._after:
            await self._journal.append(record)
        raise self._error


@pytest.mark.parametrize("error", [Misconfigured("may not be written"), Refused("TopicAuthorizationFailed")])
async def test_who_may_not_write_is_told_once_and_mirrors_all_the_same(
    journal: SqliteJournal, store: Store, pages: Pages, error: Exception
) -> None:
    failing = Failing(journal, error)
    await diverging(journal, pages, 1)
    with capture_logs() as logs:
        follower = await follow(failing, store)  # type: ignore[arg-type]
        await publish(journal, pages.snapshot(3, "Three", b"three"))
        await diverging(journal, pages, 2)
        await follow(failing, store)  # type: ignore[arg-type]
    assert failing.tries == 2  # once a start
    assert [entry["log_level"] for entry in logs if "requests cannot be written" in entry["event"]] == ["warning"] * 2
    assert follower.requests.over == str(error)
    assert store.text("testwiki", 3) == b"three"
    await follow(journal, store)  # one day it may
    assert sorted(one.page_id for one in await asked(journal)) == [1, 2]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [JournalUnavailable("away"), OutcomeUnknown("no answer")])
async def test_passing_trouble_is_waited_out(
    journal: SqliteJournal, store: Store, pages: Pages, monkeypatch: pytest.MonkeyPatch, error: Exception, *, after: bool
) -> None:
    monkeypatch.setattr("syncer.trouble.BASE", 0.01)
    await diverging(journal, pages, 1, 2)
    await follow(Failing(journal, error, times=3, after=after), store, idle=0.3)  # type: ignore[arg-type]
    found = await asked(journal)
    assert {one.page_id for one in found} == {1, 2}
    assert len(found) == 2 + 3 * after


@pytest.mark.parametrize("step", [1, 2, 3])
async def test_one_that_is_killed_between_asks_again(
    journal: SqliteJournal, store: Store, pages: Pages, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed once one, two or all three are appended and nothing of that is noted: after the next start all are asked for."""
    steps = iter(range(1, 100))

    def die(_point: str) -> None:
        if next(steps) == step:
            raise KeyError("killed")

    await diverging(journal, pages, 1, 2, 3)
    with monkeypatch.context() as patch:
        patch.setattr(asking, "at", die)
        with pytest.raises(KeyError, match="killed"):
            await follow(journal, store)
    assert len(await asked(journal)) == step
    await follow(journal, store)
    assert [one.page_id for one in await asked(journal)][step:] == [1, 2, 3]
