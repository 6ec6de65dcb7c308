"""What is signed of every hour, as a partner checks it: what is right, and everything that can be wrong with it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from structlog.testing import capture_logs

from syncer import signing
from syncer.errors import Misconfigured
from syncer.journal import Erasure, Record, Topic, partition_of
from syncer.journal.sqlite import SqliteJournal
from syncer.manifest import HOUR, Manifest, Named, Tally, decode, encode
from syncer.mirror.manifests import LATE, Checked, Task, check
from syncer.model import NOTHING
from syncer.progress import Counts
from syncer.store import Store
from tests.following import PARTITIONS, follow, virtually
from tests.manifesting import Hub, three_hours
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.command import Said
    from tests.virtual import Clock

    Tamper = Callable[[Hub], Awaitable[None]]

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "schema" / "manifest" / "1.0.0.json").read_text("utf-8"))
WIKI = "testwiki"
PART = partition_of(WIKI, PARTITIONS)
GAP = ("2026-11-24T03:00:00Z", "2026-11-24T04:00:00Z")


def checking(
    monkeypatch: pytest.MonkeyPatch, folder: Path, act: Callable[[Hub], Awaitable[None]], *, keys: tuple[str, ...] | None = None,
    read: bool = True,
) -> Checked:  # fmt: skip
    """What a partner finds after a hub's work and what else was done."""
    signer, found = signing.signer(folder / "key", create=True), list[Checked]()

    async def work(journal: SqliteJournal, mirrored: Store, clock: Clock) -> None:
        hub = Hub(journal, Store(folder / "hub.db", 10**9), clock.time, signer)
        await hub.start()
        await act(hub)
        if read:
            await follow(journal, mirrored)
        found.append(await check(Task(journal, keys if keys is not None else (signer.public,), ("*",)), mirrored))
        hub.end()

    virtually(monkeypatch, folder, work)
    return found[0]


def faults(found: Checked) -> list[str]:
    return [fault.fault for fault in found.faults]


# -- what is right ---------------------------------------------------------------------------------------------------


def test_what_is_right_is_found_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(hub: Hub) -> None:
        await three_hours(hub)
        await hub.hours(2)  # nothing happens in them, and nothing is said of them
        other = Pages("otherwiki")
        await hub.publish(other.snapshot(1, "One", b"one"), hub.pages.snapshot(9, "Nine", b"nine"))
        told = await hub.told()
        assert len(told) == 3
        for record_, value in told:
            jsonschema.validate(value, SCHEMA)
            assert set(value) == set(SCHEMA["required"])
            assert record_.key == f"{WIKI}:{value['hour']}"
            assert record_.headers["wiki"] == WIKI
            assert (value["records"], value["mutations"]) == (2, {"snapshot": 1, "patch": 1})

    found = checking(monkeypatch, tmp_path, act)
    assert not found.faults
    assert found.manifests == {"right": 3, "wrong": 0, "cut": 0, "ahead": 0}
    assert (found.records, found.untold) == (8, 2)


def test_what_was_erased_since_is_right_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(hub: Hub) -> None:
        await three_hours(hub)
        await hub.publish(hub.pages.delete(2, "Page 2"), erases=(Erasure(None, NOTHING, None),))
        erased = [one for one in await hub.journal.read(Topic.MUTATIONS, PART, 0) if "published_sha256" in one.headers]
        assert len(erased) == 2
        assert all(orjson.loads(one.value)["erased"] for one in erased)

    found = checking(monkeypatch, tmp_path, act)
    assert not found.faults
    assert found.manifests["right"] == 3


def test_a_hub_that_ended_begins_where_the_one_before_has_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(hub: Hub) -> None:
        await three_hours(hub)
        await hub.publish(hub.pages.snapshot(7, "Seven", b"seven"))
        hub.thread.shutdown()
        await asyncio.sleep(5 * HOUR)
        await hub.start()  # as after a crash: what it knew of is gone
        await hub.publish(hub.pages.snapshot(8, "Eight", b"eight"))
        await hub.hours()
        before, last = (value for _, value in (await hub.told())[-2:])
        assert (last["records"], last["from"], last["previous"]["hour"]) == (2, before["to"], before["hour"])

    found = checking(monkeypatch, tmp_path, act)
    assert not found.faults
    assert found.manifests["right"] == 4


def test_a_hub_with_another_key_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby that has a key of its own, and takes over."""
    warned: list[list[str]] = []

    async def act(hub: Hub) -> None:
        await three_hours(hub)
        other = signing.signer(tmp_path / "other", create=True)
        for signer in (hub.signer, other):
            hub.signer = signer
            hub.thread.shutdown()
            with capture_logs() as logs:
                await hub.start()
            warned.append([line["public_key"] for line in logs if "another key" in line["event"]])
        await hub.publish(hub.pages.snapshot(7, "Seven", b"seven"))
        await hub.hours()
        warned[1].remove(other.public)

    found = checking(monkeypatch, tmp_path, act)
    assert warned == [[], []]
    assert faults(found) == ["signature"]


def test_what_the_mirror_has_not_read_is_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checking(monkeypatch, tmp_path, three_hours, read=False)
    assert found.manifests == {"right": 0, "wrong": 0, "cut": 0, "ahead": 3}
    assert not found.faults


def test_where_retention_has_cut_nothing_is_said_but_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(hub: Hub) -> None:
        await three_hours(hub)
        journal = hub.journal
        start, end = await journal.bounds(Topic.MUTATIONS, PART)
        execute(
            hub, 'DELETE FROM mutations WHERE part = ? AND "offset" < ?', PART, end - 3
        )  # two of the first hour, one of the next
        execute(hub, "INSERT INTO floors VALUES (?, ?, ?)", Topic.MUTATIONS.value, PART, end - 3)
        assert (await journal.bounds(Topic.MUTATIONS, PART))[0] > start

    found = checking(monkeypatch, tmp_path, act)
    assert not found.faults
    assert found.manifests == {"right": 1, "wrong": 0, "cut": 2, "ahead": 0}


def execute(hub: Hub, statement: str, *values: Any) -> None:
    """What somebody does to the file behind everybody's back."""
    embedded(hub)._writer.execute(statement, values)


def embedded(hub: Hub) -> SqliteJournal:
    assert isinstance(hub.journal, SqliteJournal)
    return hub.journal


# -- what is wrong ---------------------------------------------------------------------------------------------------


async def a_record_is_gone(hub: Hub) -> None:
    execute(hub, 'DELETE FROM mutations WHERE "offset" = 4')


async def a_record_is_another(hub: Hub) -> None:
    (one,) = await hub.journal.read(Topic.MUTATIONS, PART, 4, limit=1)
    embedded(hub)._values._rewrite(4, one.value.replace(b"a comment", b"no comment"), orjson.dumps(dict(one.headers)))


async def a_record_is_anothers(hub: Hub) -> None:
    execute(hub, "UPDATE mutations SET key = 'testwiki:77' WHERE \"offset\" = 4")


async def a_record_too_many(hub: Hub) -> None:
    (one,) = await hub.journal.read(Topic.MUTATIONS, PART, 1, limit=1)
    copied = 'INSERT INTO mutations SELECT 0, part, key, headers, ?, 0, appended_at FROM mutations WHERE "offset" = 1'
    execute(hub, copied, one.value)


async def a_manifest_is_gone(hub: Hub) -> None:
    execute(hub, 'DELETE FROM manifests WHERE "offset" = 2')


async def the_first_is_gone(hub: Hub) -> None:
    execute(hub, 'DELETE FROM manifests WHERE "offset" = 1')


async def the_last_is_gone(hub: Hub) -> None:
    execute(hub, 'DELETE FROM manifests WHERE "offset" = 3')
    await asyncio.sleep(LATE)


async def a_manifest_is_there_twice(hub: Hub) -> None:
    execute(
        hub, 'INSERT INTO manifests SELECT 9, part, key, headers, value, packed, appended_at FROM manifests WHERE "offset" = 2'
    )


async def a_manifest_was_altered(hub: Hub) -> None:
    ((_, value),) = [each for each in await hub.told() if each[0].offset == 3]
    value["outcomes"]["published"] += 1
    execute(hub, 'UPDATE manifests SET value = ?, packed = 0 WHERE "offset" = 3', orjson.dumps(value))


async def somebody_else_has_signed(hub: Hub) -> None:
    other = signing.signer(hub.store._db.path.with_name("other"), create=True)
    ((one, _),) = [each for each in await hub.told() if each[0].offset == 3]
    headers = dict(one.headers) | {"signature": other.sign(one.value), "public_key": other.public}
    execute(hub, 'UPDATE manifests SET headers = ? WHERE "offset" = 3', orjson.dumps(headers))


async def a_key_is_pretended(hub: Hub) -> None:
    other = signing.signer(hub.store._db.path.with_name("other"), create=True)
    ((one, _),) = [each for each in await hub.told() if each[0].offset == 3]
    headers = dict(one.headers) | {"signature": other.sign(one.value)}
    execute(hub, 'UPDATE manifests SET headers = ? WHERE "offset" = 3', orjson.dumps(headers))


async def nobody_has_signed(hub: Hub) -> None:
    execute(hub, """UPDATE manifests SET headers = '{"wiki": "testwiki"}' WHERE "offset" = 3""")


async def it_is_of_another_wiki(hub: Hub) -> None:
    ((one, _),) = [each for each in await hub.told() if each[0].offset == 3]
    headers = dict(one.headers) | {"wiki": "otherwiki"}
    execute(hub, 'UPDATE manifests SET headers = ? WHERE "offset" = 3', orjson.dumps(headers))


async def it_is_no_manifest(hub: Hub) -> None:
    value = b'{"schema": "manifest/2.0.0"}'
    ((one, _),) = [each for each in await hub.told() if each[0].offset == 3]
    headers = orjson.dumps(dict(one.headers) | {"signature": hub.signer.sign(value)})
    execute(hub, 'UPDATE manifests SET value = ?, packed = 0, headers = ? WHERE "offset" = 3', value, headers)


async def a_manifest_is_of_no_wiki(hub: Hub) -> None:
    execute(hub, "UPDATE manifests SET headers = '{}' WHERE \"offset\" = 3")


async def a_gap_is_known(hub: Hub) -> None:
    hub.settler.learn(((None, GAP[0]), GAP), {"otherwiki": frozenset({GAP})})
    other = Pages("otherwiki")
    await hub.publish(other.snapshot(1, "One", b"one"), hub.pages.snapshot(9, "Nine", b"nine"))
    await hub.hours()


WRONG: dict[str, tuple[Tamper, list[str]]] = {
    "a record is gone": (a_record_is_gone, ["missing record"]),
    "a record is another": (a_record_is_another, ["altered record"]),
    "a record is another's": (a_record_is_anothers, ["altered record"]),
    "a record too many": (a_record_too_many, ["record too many"]),
    "a manifest is gone": (a_manifest_is_gone, ["missing manifest"]),
    "the first is gone": (the_first_is_gone, ["missing manifest"]),
    "the last is gone": (the_last_is_gone, ["missing manifest"]),
    "a manifest is there twice": (a_manifest_is_there_twice, ["twice"]),
    "a manifest was altered": (a_manifest_was_altered, ["signature"]),
    "somebody else has signed": (somebody_else_has_signed, ["signature"]),
    "a key is pretended": (a_key_is_pretended, ["signature"]),
    "nobody has signed": (nobody_has_signed, ["signature"]),
    "it is of another wiki": (it_is_of_another_wiki, ["place"]),
    "it is no manifest": (it_is_no_manifest, ["unreadable"]),
    "a manifest is of no wiki": (a_manifest_is_of_no_wiki, ["signature"]),
    "a gap is known": (a_gap_is_known, ["gap"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tamper, expected = WRONG[name]

    async def act(hub: Hub) -> None:
        await three_hours(hub)
        await tamper(hub)

    found = checking(monkeypatch, tmp_path, act)
    assert faults(found) == expected
    assert all(fault.wiki_id in {WIKI, "otherwiki", ""} and fault.detail for fault in found.faults)


def test_whose_key_is_not_pinned_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checking(monkeypatch, tmp_path, three_hours, keys=("0" * 64,))
    assert faults(found) == ["signature", "signature", "signature", "missing manifest"]


# -- forms -----------------------------------------------------------------------------------------------------------


A_MANIFEST = Manifest(
    journal="j", wiki_id=WIKI, hour="2026-11-24T10:00:00Z", made_at="2026-11-24T11:00:12.000Z", partition=1, start=3, to=9,
    records=2, first=4, last=8, sha256="0" * 64, mutations={"patch": 2},
    outcomes=Counts(published=2).outcomes, gaps=((None, GAP[0]), GAP),
    previous=Named("2026-11-24T09:00:00Z", "f" * 64),
)  # fmt: skip


@pytest.mark.parametrize("one", [A_MANIFEST, replace(A_MANIFEST, previous=None, records=0, first=None, last=None, mutations={})])
def test_what_is_written_is_valid_and_read_again(one: Manifest) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(encode(one)), SCHEMA)
    assert decode(encode(one)) == one


def test_a_tally_is_read_again_with_what_was_cut() -> None:
    tally = Tally(Counts(published=2), Counts(merged=1), 7, Named("h", "s"))
    assert Tally.decode(tally.encode()) == Tally(Counts(published=2, merged=1), to=7, previous=Named("h", "s"))


# -- the key ---------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = signing.signer(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert signing.signer(path, create=True).public == signing.signer(path).public == made.public
    assert signing.is_signed(made.public, b"what", made.sign(b"what"))
    assert not signing.is_signed(made.public, b"that", made.sign(b"what"))
    assert not signing.is_signed("no key", b"what", "no signature")
    assert made.public not in repr(made)


def test_a_key_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(Misconfigured, match="cannot be had"):
        signing.signer(path)
    path.write_bytes(b"nothing of the kind")
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="no private key"):
        signing.signer(path)
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="everybody"):
        signing.signer(path)


def test_the_public_key_is_printed_and_the_other_never(tmp_path: Path, run: Callable[..., Said]) -> None:
    assert run("manifests", "key").code == 78  # there is none, and none is made
    assert not (tmp_path / "manifests.key").exists()
    made = signing.signer(tmp_path / "manifests.key", create=True)
    said = run("manifests", "key")
    assert (said.code, said.out.decode().strip()) == (0, made.public)
    (line,) = run("manifests", "key", "--json").lines
    assert line == {"public_key": made.public, "pem": made.public_pem}
    secret = (tmp_path / "manifests.key").read_text().splitlines()[1]
    assert secret not in f"{said.out!r} {line}"


def test_nobody_is_believed_who_is_not_named(run: Callable[..., Said]) -> None:
    said = run("mirror", "verify", "--manifest")
    assert said.code == 78
    assert "mirror.public_keys" in said.err
    said = run("mirror", "verify", "--manifest", MIRROR__PUBLIC_KEYS="not-a-key")
    assert said.code == 78


def test_verify_says_what_is_right_and_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Said]
) -> None:
    assert not checking(monkeypatch, tmp_path, three_hours).faults
    at = {"MIRROR__PATH": str(tmp_path / "virtual.db"), "JOURNAL__PARTITIONS": str(PARTITIONS)}
    pinned = at | {"MIRROR__PUBLIC_KEYS": signing.signer(tmp_path / "key").public}
    said = run("mirror", "verify", "--manifest", **pinned)
    assert said.code == 0, said.err
    assert b"manifests: 3 right, 0 wrong, 0 cut, 0 ahead; 6 records, 0 of them not told of yet" in said.out
    (line,) = run("mirror", "verify", "--manifest", "--json", **pinned).lines
    assert (line["manifests"]["manifests"]["right"], line["manifests"]["faults"]) == (3, [])
    said = run("mirror", "verify", "--manifest", **at, MIRROR__PUBLIC_KEYS="0" * 64)
    assert said.code == 1
    assert said.out.count(b"signature") == 3
    (line,) = run("mirror", "verify", "--manifest", "--json", **at, MIRROR__PUBLIC_KEYS="0" * 64).lines
    assert {fault["fault"] for fault in line["manifests"]["faults"]} == {"signature"}


def test_records_of_manifests_are_read_by_everybody(run: Callable[..., Said], place: Any) -> None:
    asyncio.run(place.prepare(Record(Topic.MANIFESTS, 0, "k", b"{}", {"wiki": WIKI})))
    (line,) = run("journal", "read", "manifests").lines
    assert (line["key"], line["headers"]) == ("k", {"wiki": WIKI})
