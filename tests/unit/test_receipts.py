"""What hub and mirrors say of what they have honoured: written once it is, whoever is killed, and added up for the operator."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from structlog.testing import capture_logs

from syncer import receipts
from syncer.cli.redactions import read_standing
from syncer.config import MirrorSettings
from syncer.errors import JournalUnavailable, Misconfigured, OutcomeUnknown, Refused
from syncer.journal import Topic, latest, partition_of, receipt_record
from syncer.mirror import Mirror
from syncer.mirror import receipts as sending
from syncer.model import Cause, Redacted, Visibility
from syncer.receipts import HUB, Presence, Receipt, Standing, decode, encode, owed
from tests.command import Place
from tests.command import told as ended
from tests.desk import Desk, change
from tests.following import PARTITIONS, follow, publish, record
from tests.mutations import AT, HIDDEN, Pages
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.journal import Record
    from syncer.journal.sqlite import SqliteJournal
    from syncer.store import Store
    from tests.command import Said

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "schema" / "receipt" / "1.0.0.json").read_text("utf-8"))
PART = partition_of("testwiki", PARTITIONS)
SEEN = "2026-11-24T04:00:00.000Z"


async def said(journal: SqliteJournal) -> dict[str, Presence | Receipt]:
    """The last record of every key."""
    found = [await latest(journal, Topic.RECEIPTS, part) for part in range(PARTITIONS)]
    return {key: decode(record.value) for records in found for key, record in records.items()}


async def told(journal: SqliteJournal) -> dict[int, Receipt]:
    """Receipts by offset."""
    return {one.offset: one for one in (await said(journal)).values() if isinstance(one, Receipt)}


async def some(journal: SqliteJournal, pages: Pages) -> None:
    """Offsets 1 to 6; of 3, 4 and 6 something is to be honoured."""
    await publish(journal, pages.snapshot(1, "One", b"one"), pages.snapshot(2, "Two", b"two"))
    hidden = Redacted(50, HIDDEN), Redacted(51, Visibility(comment=False)), Redacted(52, Visibility())
    await publish(journal, pages.redact(1, "One", *hidden), pages.snapshot(1, "One", b"1", redacted=(Redacted(101, HIDDEN),)))
    await publish(journal, pages.redact(1, "One", Redacted(50, Visibility())), pages.delete(2, "Two"))


# -- what is owed, and its form ------------------------------------------------------------------------------------------


def test_owed_is_a_receipt_for_what_hides_and_what_deletes(pages: Pages) -> None:
    assert owed(pages.snapshot(1, "One", b"one"), 0, 1) is None
    assert owed(pages.redact(1, "One", Redacted(7, Visibility())), 0, 2) is None  # it is shown again
    hiding = owed(pages.redact(1, "One", Redacted(7, Visibility()), Redacted(8, HIDDEN)), 0, 3)
    assert hiding
    assert (hiding.kind, hiding.revisions, hiding.partition, hiding.offset) == ("redact", (8,), 0, 3)
    gone = owed(pages.delete(None, "One"), 2, 4)
    assert gone
    assert (gone.kind, gone.page_id, gone.revisions) == ("delete", None, ())


def a_receipt(mirror: str = "m1", offset: int = 3, **more: Any) -> Receipt:
    facts: dict[str, Any] = {
        "wiki_id": "enwiki", "page_id": 7, "namespace": 0, "prior_namespace": None, "kind": "redact", "revisions": (8, 9),
        "partition": 1, "honoured_at": AT,
    }  # fmt: skip
    return Receipt(mirror=mirror, offset=offset, **{**facts, **more})


A_PRESENCE = Presence("m1", "Search", ("*wiki",), (0, "*"), SEEN)


@pytest.mark.parametrize("one", [a_receipt(), a_receipt(page_id=None, kind="delete", revisions=()), A_PRESENCE])
def test_what_is_written_is_valid_and_read_again(one: Presence | Receipt) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    part = json.loads(encode(one))
    jsonschema.validate(part, SCHEMA)
    assert part["schema"] == receipts.SCHEMA
    assert set(part) - {"schema", "mirror"} == set(SCHEMA["then" if isinstance(one, Receipt) else "else"]["properties"])
    assert decode(orjson.dumps(part | {"new": [1]})) == one


@pytest.mark.parametrize("without", ["mirror", "wiki_id", "revisions", "honoured_at", "partition"])
def test_a_receipt_that_lacks_something_is_none(without: str) -> None:
    part = json.loads(encode(a_receipt()))
    del part[without]
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(part)
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode(orjson.dumps(part))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mirror": ["m"]}, {"mirror": 7}, {"wiki_id": 5}, {"partition": [1]}, {"offset": "1"}, {"offset": {}}, {"honoured_at": 5},
        {"honoured_at": None}, {"revisions": [{}]}, {"namespace": []},
    ],
)  # fmt: skip
def test_a_receipt_of_other_types_is_none_and_what_the_others_say_is_told(wrong: dict[str, Any]) -> None:
    state = Standing()
    state.take([encode(A_PRESENCE), encode(a_receipt()), orjson.dumps(json.loads(encode(a_receipt())) | wrong)])
    assert (state.unreadable, [one["honoured"] for one in state.summary()["mirrors"]]) == (1, [1])


@pytest.mark.parametrize("wrong", [{"mirror": ["m"]}, {"mirror": 7}, {"wikis": [7]}, {"seen_at": 1}, {"name": 7}])
def test_nor_is_one_that_lives(wrong: dict[str, Any]) -> None:
    state = Standing()
    state.take([encode(A_PRESENCE), encode(a_receipt()), orjson.dumps(json.loads(encode(A_PRESENCE)) | wrong)])
    assert (state.unreadable, [one["honoured"] for one in state.summary()["mirrors"]]) == (1, [1])


# -- a mirror ------------------------------------------------------------------------------------------------------------


async def test_a_mirror_tells_of_everything_that_it_has_honoured(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(journal, store, name="Search", wikis=("testwiki",))
    found = await told(journal)
    assert {offset: (one.kind, one.revisions) for offset, one in found.items()} == {
        3: ("redact", (50, 51)), 4: ("snapshot", (101,)), 6: ("delete", ()),
    }  # fmt: skip
    mirror = store.meta("mirror")
    assert mirror
    assert {one.mirror for one in found.values()} == {mirror}
    presence = (await said(journal))[mirror]
    assert isinstance(presence, Presence)
    assert (presence.name, presence.wikis, presence.namespaces) == ("Search", ("testwiki",), ("*",))
    assert (await latest(journal, Topic.RECEIPTS, PART))[f"{mirror}:{PART}:3"].headers == {"wiki": "testwiki", "mirror": mirror}
    before = await journal.bounds(Topic.RECEIPTS, PART)
    await follow(journal, store)
    assert await journal.bounds(Topic.RECEIPTS, PART) == before  # and once


async def test_what_is_not_in_its_scope_is_not_its_business(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(journal, store, wikis=("dewiki",))
    assert await told(journal) == {}


async def test_one_that_lives_for_long_says_so_again(
    journal: SqliteJournal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PRESENT_EVERY", 0.05)
    follower, stop = Mirror(journal, store, MirrorSettings()), asyncio.Event()
    running = asyncio.create_task(follower.run(stop))
    _, start = await journal.bounds(Topic.RECEIPTS, 0)
    async with asyncio.timeout(10):
        while len(await journal.read(Topic.RECEIPTS, 0, 0)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert start <= 1
    stop.set()
    await running


async def test_nothing_is_told_before_it_is_gone_from_the_file(
    journal: SqliteJournal, store: Store, pages: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LOOK_EVERY", 0.05)
    await publish(journal, pages.snapshot(1, "One", b"one"))
    await follow(journal, store)
    with closing(sqlite3.connect(tmp_path / "mirror.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM texts").fetchone()
        await publish(journal, pages.delete(1, "One"))
        follower, stop = Mirror(journal, store, MirrorSettings()), asyncio.Event()
        running = asyncio.create_task(follower.run(stop))
        async with asyncio.timeout(10):
            while not follower.tally.applied:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert await told(journal) == {}
    async with asyncio.timeout(10):
        while not await told(journal):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    stop.set()
    await running


class Failing:
    """A journal in which receipts cannot be written, for this reason; ``after``: once they are."""

    def __init__(self, journal: SqliteJournal, error: Exception, *, times: int = 10**6, after: bool = False) -> None:
        self.tries = 0
        self._journal, self._error, self._times, self._after = journal, error, times, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def append(self, record: Record) -> int:
        self.tries += 1
        if self.tries > self._times:
            return await self._journal.append(record)
        if self._after:
            await self._journal.append(record)
        raise self._error


@pytest.mark.parametrize("error", [Misconfigured("may not be written"), Refused("TopicAuthorizationFailed")])
async def test_who_may_not_write_is_told_once_and_mirrors_all_the_same(
    journal: SqliteJournal, store: Store, pages: Pages, error: Exception
) -> None:
    failing = Failing(journal, error)
    await some(journal, pages)
    with capture_logs() as logs:
        follower = await follow(failing, store)  # type: ignore[arg-type]
        await publish(journal, pages.snapshot(3, "Three", b"three"), pages.delete(3, "Three"))
        again = await follow(failing, store)  # type: ignore[arg-type]
    assert failing.tries == 2  # once a start
    assert [entry["log_level"] for entry in logs if "receipts cannot be written" in entry["event"]] == ["warning"] * 2
    assert follower.receipts.over == again.receipts.over == str(error)
    assert [state.title for _, state in store.pages()] == ["One"]
    await follow(journal, store)  # one day it may
    assert sorted(await told(journal)) == [3, 4, 6, 8]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [JournalUnavailable("away"), OutcomeUnknown("no answer")])
async def test_passing_trouble_is_waited_out(
    journal: SqliteJournal, store: Store, pages: Pages, monkeypatch: pytest.MonkeyPatch, error: Exception, *, after: bool
) -> None:
    monkeypatch.setattr("syncer.trouble.BASE", 0.01)
    await some(journal, pages)
    follower, stop = Mirror(Failing(journal, error, times=3, after=after), store, MirrorSettings()), asyncio.Event()
    running = asyncio.create_task(follower.run(stop))
    async with asyncio.timeout(10):
        while len(await told(journal)) < 3 or store.debts.first(1):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    stop.set()
    await running
    assert follower.tally.applied.total() == 6


async def test_what_is_owed_for_what_nobody_has_any_more_is_forgotten(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(Failing(journal, Refused("no")), store)  # type: ignore[arg-type]
    assert len(store.debts.first(10)) == 3
    await publish(journal, pages.snapshot(1, "One", b"x"))
    await follow(Failing(journal, Refused("no")), store)  # type: ignore[arg-type]
    journal._retention = journal._retention.model_copy(update={"mutations_bytes": 1})
    await journal.retain({})
    await publish(journal, pages.snapshot(1, "One", b"y"))
    await follow(Failing(journal, Refused("no")), store)  # type: ignore[arg-type]
    assert store.debts.first(10) == []


async def test_receipts_are_kept_as_long_as_what_they_are_about(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(journal, store)
    journal._retention = journal._retention.model_copy(update={"mutations_days": 1e-9})
    await journal.retain({})
    assert await said(journal) == {}


# -- the hub -------------------------------------------------------------------------------------------------------------


def test_the_hub_tells_of_its_own_with_the_next_commit(desk: Desk) -> None:
    world = World().page(1, "A", 10, 11)
    desk.settle(world, change(Cause.EDIT, "A", rev=10), change(Cause.EDIT, "A", rev=11))
    desk.settle(world.hide(10, 7), change(Cause.VISIBILITY, "A", rev=10))
    redaction = len([one for one in desk.records if one.topic is Topic.MUTATIONS])
    places = [offset for offset, one in enumerate(desk.records) if one.topic is Topic.MUTATIONS]
    desk.settler.clean = lambda: False  # somebody reads the journal, and keeps there what was erased
    desk.settler.flush()
    assert not [one for one in desk.records if one.topic is Topic.RECEIPTS]
    desk.settler.clean = lambda: True
    desk.settler.flush()
    (appended,) = [one for one in desk.records if one.topic is Topic.RECEIPTS]
    receipt = decode(appended.value)
    assert isinstance(receipt, Receipt)
    assert (receipt.mirror, receipt.revisions, receipt.offset) == (HUB, (10,), places[redaction - 1])
    assert appended.key == f"hub:0:{receipt.offset}"
    desk.settler.flush()
    assert len([one for one in desk.records if one.topic is Topic.RECEIPTS]) == 1


def test_the_hub_tells_nothing_if_the_journal_refuses(desk: Desk) -> None:
    world = World().page(1, "A", 10)
    desk.settle(world, change(Cause.CREATE, "A", rev=10))
    desk.settle(world.delete(1), change(Cause.DELETE, "A", namespace=0))
    append = desk.settler.append

    def refusing(_records: object) -> list[int]:
        raise JournalUnavailable("no space left")

    desk.settler.append = refusing
    with pytest.raises(JournalUnavailable):
        desk.settler.flush()
    desk.settler.append = append
    desk.settler.flush()
    deleted = max(offset for offset, one in enumerate(desk.records) if one.topic is Topic.MUTATIONS)
    assert [one.key for one in desk.records if one.topic is Topic.RECEIPTS] == [f"hub:0:{deleted}"]


# -- who has, and who has not --------------------------------------------------------------------------------------------


def standing(*told: Presence | Receipt) -> Standing:
    made = Standing()
    made.take(encode(one) for one in told)
    return made


def test_who_has_and_who_has_not() -> None:
    state = standing(
        a_receipt(HUB, 3), a_receipt(HUB, 5, honoured_at="2026-11-24T05:00:00.000Z"), a_receipt("m1", 3), a_receipt("m1", 3),
        a_receipt("m2", 5), A_PRESENCE,
    )  # fmt: skip
    summary = state.summary()
    assert summary["redactions"] == 2
    mirrors = {one["mirror"]: (one["name"], one["honoured"], one["open"], one["oldest_open"]) for one in summary["mirrors"]}
    assert mirrors == {"m1": ("Search", 1, 1, "2026-11-24T05:00:00.000Z"), "m2": (None, 1, 1, AT)}
    assert [(one["offset"], one["not_honoured_by"]) for one in summary["open"]] == [(3, ["m2"]), (5, ["m1"])]
    assert HUB not in mirrors
    again = a_receipt(HUB, 3, honoured_at="2026-11-25T05:00:00.000Z")  # from a hub that has taken over
    state.take([encode(again)])
    assert state.asked[1, 3].honoured_at == AT
    assert standing(a_receipt("m1"), replace(A_PRESENCE, mirror="m2")).missing("m2")  # no hub has told of it yet


def test_a_mirror_is_asked_only_about_what_it_takes() -> None:
    presence = Presence("m1", None, ("de*", "enwiki"), (0, 10), SEEN)
    asked = [
        a_receipt(HUB, 1), a_receipt(HUB, 2, namespace=1), a_receipt(HUB, 3, namespace=1, prior_namespace=10),
        a_receipt(HUB, 4, wiki_id="frwiki"), a_receipt(HUB, 5, wiki_id="dewiki"),
    ]  # fmt: skip
    assert [one.offset for one in standing(presence, *asked).missing("m1")] == [1, 3, 5]
    wider = replace(presence, wikis=("*",), namespaces=("*",))
    assert len(standing(presence, *asked, wider).missing("m1")) == 5  # the last word counts


def test_what_anybody_may_write_there_is_counted_and_breaks_nothing() -> None:
    state = Standing()
    state.take([b"", b"null", b"[]", b"{}", b'{"schema": 7}', b'{"schema": "receipt/2.0.0"}', encode(a_receipt("m1"))])
    assert (state.unreadable, len(state.asked)) == (6, 1)


def test_redactions_status(run: Callable[..., Said], place: Place) -> None:
    asyncio.run(place.prepare(*(receipt_record(a_receipt(HUB, offset)) for offset in (3, 4)), receipt_record(a_receipt("m1", 4))))
    shown = run("redactions", "status")
    assert shown.code == 0
    rows = [line.split() for line in shown.out.decode().splitlines()]
    assert rows[1][:4] == ["m1", "-", "1", "1"]
    assert rows[-1][-2:] == ["1/3", "m1"]
    assert "redactions: 2; not honoured by all mirrors that take them: 1;" in shown.err
    (told,) = run("redactions", "status", "--json").lines
    assert [one["offset"] for one in told["open"]] == [3]


@pytest.mark.parametrize("killed", [1, 2, 3])
def test_a_mirror_that_is_killed_tells_of_everything_after_the_next_start(place: Place, pages: Pages, killed: int) -> None:
    """Maybe twice; of each key the last record counts."""
    partition = partition_of("testwiki", 12)
    deletions = [mutation for n in (1, 2, 3) for mutation in (pages.snapshot(n, f"P{n}", b"x"), pages.delete(n, f"P{n}"))]
    asyncio.run(place.prepare(*(replace(record(one), partition=partition) for one in deletions)))
    dying = place.start("mirror", "follow", "--until-idle", "0.2", TEST_FAULT=f"KILL:receipt-appended:{killed}")
    assert ended(dying).code == -9
    assert ended(place.start("mirror", "follow", "--until-idle", "0.2")).code == 0
    lines = ended(place.start("journal", "read", "receipts")).lines
    assert len([line for line in lines if "offset" in line["value"]]) == 3 + killed
    (said,) = ended(place.start("redactions", "status", "--json")).lines
    assert [(one["honoured"], one["open"]) for one in said["mirrors"]] == [(3, 0)]


async def test_hub_and_mirror_as_one_sees_them(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(journal, store)
    for place in (3, 4, 6):
        await journal.append(receipt_record(a_receipt(HUB, place, partition=PART, wiki_id="testwiki")))
    summary = (await read_standing(journal)).summary()
    assert summary["open"] == []
    assert [(one["honoured"], one["open"]) for one in summary["mirrors"]] == [(3, 0)]
