"""A mirror that begins with the topic of pages: what it takes, what it refuses, and where it goes on after a kill."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from syncer.config import MirrorSettings
from syncer.errors import Misconfigured, ResumeLost
from syncer.journal import TOMBSTONES, Record, Topic, latest
from syncer.mirror import bootstrap, from_pages
from syncer.mirror.from_pages import FromPages
from syncer.mirror.reading import export
from syncer.model import PageFacts, Redacted
from syncer.pages import MARK_KEY, Mark
from tests.command import told
from tests.following import PARTITIONS, follow
from tests.kept import PART, Hub
from tests.mutations import HIDDEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from syncer.mirror.from_pages import Tally
    from syncer.store import Store
    from tests.command import Place, Said
    from tests.mutations import Pages

    Run = Callable[..., Said]


@pytest.fixture
async def hub(tmp_path: Path, pages: Pages) -> AsyncIterator[Hub]:
    """It has published two pages of which the second is hidden, and one that is gone."""
    made = Hub(tmp_path, pages)
    await made.load()
    await made.publish(pages.snapshot(1, "A", b"one"), pages.snapshot(2, "B", None), pages.snapshot(3, "C", b"three"))
    await made.publish(pages.patch(1, "A", b"two"), pages.delete(3, "C"))
    await made.flush()
    yield made
    await made.close()


async def filled(hub: Hub, store: Store, **settings: Any) -> Tally:
    """Everything that the verb does."""
    work = FromPages(hub.journal, store, MirrorSettings(**settings))
    await work.begin()
    async for _ in work.fill():
        pass
    await work.finish()
    return work.tally


def titles(store: Store) -> dict[str, str | None]:
    return {line["title"]: line["text"] for line in export(store)}


async def put(hub: Hub, key: str, **changed: Any) -> None:
    """Write a record of the topic again, with something changed, and the mark."""
    newest = await latest(hub.journal, Topic.PAGES, PART)
    part = orjson.loads(newest[key].value)
    await hub.journal.append(Record(Topic.PAGES, PART, key, orjson.dumps(part | changed), newest[key].headers))
    await hub.journal.append(Record(Topic.PAGES, PART, MARK_KEY, newest[MARK_KEY].value))


# -- what is taken ----------------------------------------------------------------------------------------------------


async def test_it_has_what_is_published_and_goes_on_from_there(hub: Hub, store: Store) -> None:
    tally = await filled(hub, store)
    assert (tally.read, tally.taken, tally.gone, tally.left_alone) == (3, 2, 0, 0)
    assert titles(store) == {"A": "two", "B": None}
    assert not store.diverged()
    await hub.publish(hub.pages.patch(1, "A", b"three"), hub.pages.snapshot(3, "C", b"again"))
    follower = await follow(hub.journal, store)
    assert follower.tally.applied == {"patch": 1, "snapshot": 1}
    assert not follower.tally.diverged
    assert titles(store) == {"A": "three", "B": None, "C": "again"}


async def test_what_is_written_while_it_is_read_is_read_too(hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that was read is replaced behind the reader, one that was not is replaced before him, and one goes."""
    await hub.publish(*(hub.pages.snapshot(number, f"P{number}", b"one") for number in range(4, 10)))
    await hub.flush()
    monkeypatch.setattr(from_pages, "AT_ONCE", 3)
    work = FromPages(hub.journal, store, MirrorSettings())
    await work.begin()
    reading = work.fill()
    while work.tally.taken < 4:
        await anext(reading)
    assert {"P4", "P9"} & set(titles(store)) == {"P4"}
    await hub.publish(hub.pages.delete(4, "P4"), hub.pages.patch(5, "P4", b"moved"), hub.pages.patch(9, "P9", b"two"))
    await hub.publish(hub.pages.patch(1, "P9", b"over it"), hub.pages.patch(1, "P10", b"and on"))
    await hub.flush()
    async for _ in reading:
        pass
    assert await work.finish() == {part: hub.store.offset(part) for part in range(PARTITIONS)}
    assert work.tally.gone == 1
    assert list(store.pages()) == list(hub.store.pages())
    assert titles(store) == titles(hub.store)
    assert store.untitled() == [("testwiki", 9)]
    follower = await follow(hub.journal, store)
    assert not follower.tally.applied


async def test_only_its_own_scope(hub: Hub, store: Store) -> None:
    of_two = PageFacts(4, "User:D", 2)
    await hub.publish(hub.pages.snapshot(4, "User:D", b"four", page=of_two))
    await hub.flush()
    tally = await filled(hub, store, namespaces=(2,))
    assert (tally.taken, tally.left_alone) == (1, 2)
    assert titles(store) == {"User:D": "four"}


async def test_a_page_that_leaves_its_scope_while_it_is_read_is_gone(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_pages, "AT_ONCE", 1)
    work = FromPages(hub.journal, store, MirrorSettings(namespaces=(0,)))
    await work.begin()
    reading = work.fill()
    while work.tally.taken < 1:
        await anext(reading)
    await hub.publish(hub.pages.snapshot(1, "User:A", b"two", page=PageFacts(1, "User:A", 2)))
    await hub.flush()
    async for _ in reading:
        pass
    await work.finish()
    assert titles(store) == {"B": None}


async def test_a_text_that_is_not_the_announced_one_is_not_kept(hub: Hub, store: Store) -> None:
    await put(hub, "testwiki:1", text="somebody else's")
    await filled(hub, store)
    assert store.diverged() == [("testwiki", 1, from_pages.WRONG_HASH)]
    assert titles(store)["A"] is None


async def test_a_text_that_the_hub_had_not_at_hand_is_healed_like_any_other(tmp_path: Path, pages: Pages, store: Store) -> None:
    hub = Hub(tmp_path, pages, store_bytes=1)
    await hub.load()
    await hub.publish(pages.snapshot(1, "A", b"evicted"))
    await hub.flush()
    await filled(hub, store)
    assert store.diverged() == [("testwiki", 1, "erased")]
    await hub.publish(pages.patch(1, "A", b"a patch that builds on it"))
    follower = await follow(hub.journal, store)
    assert not follower.tally.diverged
    assert follower.requests.asked == 1  # as any that stands diverged
    await hub.close()


async def test_a_redaction_after_the_mark_is_honoured(hub: Hub, store: Store) -> None:
    await filled(hub, store)
    facts = hub.pages.revisions[1]
    await hub.publish(hub.pages.redact(1, "A", Redacted(facts.rev_id, HIDDEN)))
    follower = await follow(hub.journal, store)
    assert not follower.tally.diverged
    assert titles(store) == {"A": None, "B": None}


# -- what is refused --------------------------------------------------------------------------------------------------


async def refused(hub: Hub, store: Store, **settings: Any) -> str:
    with pytest.raises(Misconfigured) as caught:
        await filled(hub, store, **settings)
    return f"{caught.value}; {caught.value.hint}"


async def test_a_topic_that_is_not_kept_or_not_whole(tmp_path: Path, pages: Pages, store: Store) -> None:
    hub = Hub(tmp_path, pages)
    await hub.publish(pages.snapshot(1, "A", b"one"))
    assert "keeps no topic of pages; have the hub keep it, publish.pages = true" in await refused(hub, store)
    await hub.kept.load(range(PARTITIONS))
    assert "still filling the topic of pages; try again later" in await refused(hub, store)
    await hub.again()
    await filled(hub, store)
    await hub.close()


async def test_mutations_that_no_longer_reach_back_to_the_mark(hub: Hub, store: Store) -> None:
    await hub.publish(hub.pages.patch(1, "A", b"three"), hub.pages.patch(1, "A", b"four"))
    _, end = await hub.journal.bounds(Topic.MUTATIONS, PART)
    hub.journal._writer.execute("INSERT OR REPLACE INTO floors VALUES ('mutations', ?, ?)", (PART, end - 1))
    assert f"the mutations before {end - 1} are gone; start the hub" in await refused(hub, store)
    await hub.flush()
    await filled(hub, store)


async def test_mutations_that_are_cut_while_it_reads(hub: Hub, store: Store) -> None:
    work = FromPages(hub.journal, store, MirrorSettings())
    await work.begin()
    async for _ in work.fill():
        pass
    hub.journal._writer.execute("INSERT OR REPLACE INTO floors VALUES ('mutations', ?, ?)", (PART, 10**6))
    with pytest.raises(Misconfigured, match="are gone"):
        await work.finish()
    with pytest.raises(Misconfigured, match="not all read"):
        await follow(hub.journal, store)


async def test_a_hub_that_died_in_the_middle_of_writing(hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands behind the last mark is newer than it: so it is waited for the next one."""
    await hub.publish(hub.pages.patch(1, "A", b"three"))
    newest = (await latest(hub.journal, Topic.PAGES, PART))["testwiki:1"]
    await hub.journal.append(Record(Topic.PAGES, PART, "testwiki:1", newest.value, newest.headers))
    monkeypatch.setattr(from_pages, "PATIENCE", 0.1)
    monkeypatch.setattr(from_pages, "LOOK", 0.05)
    assert "in the middle of writing pages" in await refused(hub, store)
    await hub.flush()
    await filled(hub, store)
    assert titles(store)["A"] == "three"


async def test_one_that_follows_already_or_began_otherwise(hub: Hub, store: Store) -> None:
    store.remember(bootstrap.NOTE, orjson.dumps({"starts": {}, "done": False}).decode())
    assert "begins with dumps" in await refused(hub, store)
    store._db.execute("DELETE FROM meta")
    await filled(hub, store)
    assert "has begun already" in await refused(hub, store)
    with pytest.raises(Misconfigured, match="begins with the pages of the hub"):
        await bootstrap.Bootstrap(store, MirrorSettings()).begin(hub.journal, [])
    store._db.execute("DELETE FROM meta WHERE name = ?", (bootstrap.NOTE,))
    assert "follows already" in await refused(hub, store)


async def half(hub: Hub, store: Store) -> None:
    work = FromPages(hub.journal, store, MirrorSettings())
    await work.begin()
    async for _ in work.fill():
        pass


async def test_one_that_was_begun_otherwise_or_too_long_ago(hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await half(hub, store)
    assert "other mirror.wikis or mirror.namespaces" in await refused(hub, store, namespaces=(0,))
    began = time.time()
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: began + (TOMBSTONES + 0.1) * 86_400)
        assert "so long ago" in await refused(hub, store)
    await filled(hub, store)


async def test_what_is_no_page_stops_it(hub: Hub, store: Store) -> None:
    await put(hub, "testwiki:1", revision=7)
    with pytest.raises(ResumeLost, match="is no mutation"):
        await filled(hub, store)


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, pages: Pages) -> int:
    """A journal beside the mirror to be, with so many pages."""

    async def make() -> None:
        hub = Hub(tmp_path, pages)
        await hub.publish(*(pages.snapshot(number, f"P {number}", b"text of %d" % number) for number in range(1, 1201)))
        await hub.load()
        await hub.close()

    asyncio.run(make())
    return 1200


COMMAND = ("mirror", "bootstrap", "--from-pages")
OWN = {"JOURNAL__PARTITIONS": str(PARTITIONS)}


@pytest.mark.parametrize(("fault", "left"), [("folded:1", 1200), ("folded:2", 700), ("committed:2", 200), ("committed:3", 0)])
def test_killed_anywhere_it_goes_on(place: Place, run: Run, kept: int, fault: str, left: int) -> None:
    step, number = fault.split(":")
    fatal = f"KILL:bootstrap-{step}:{int(number) + PART}"  # partitions before it have a mark each, and no page
    assert told(place.start(*COMMAND, TEST_FAULT=fatal, **OWN)).code == -9
    refused = run("mirror", "follow", "--until-idle", "0.1", **OWN)
    assert (refused.code, "--from-pages" in refused.err) == (78, True)
    for verb in (("status",), ("verify", "--against-hub", "all")):  # of what it has not yet, nothing is missing
        refused = run("mirror", *verb, **OWN)
        assert (refused.code, "--from-pages" in refused.err) == (78, True)
    said = run(*COMMAND, "--json", **OWN)
    assert said.code == 0, said.err
    assert said.lines[0]["read"] == left
    assert run("mirror", "verify", **OWN).out == b"%d pages, 0 not as announced\n" % kept
    done = run("mirror", "follow", "--until-idle", "0.1", "--json", **OWN)
    assert (done.code, done.lines[0]["applied"]) == (0, {})


def test_the_command(place: Place, run: Run, kept: int) -> None:
    said = run(*COMMAND, MIRROR__NAMESPACES="0", **OWN)
    assert (said.code, said.err) == (0, "")
    assert said.out.decode().splitlines() == [
        f"{kept} pages were taken from the hub, 0 are without a proven text",
        "syncer mirror follow makes it current",
    ]
    for wrong in ((), ("dump.xml", "--from-pages"), ("--from-pages", "--date", "2026-11-01")):
        assert run("mirror", "bootstrap", *wrong, **OWN).code == 2
    (place.folder / "mirror.db").unlink()
    (line,) = run(*COMMAND, "--json", MIRROR__NAMESPACES="1", **OWN).lines
    assert (line["taken"], line["left_alone"]) == (0, kept)
    assert set(line["follows_from"]) == {str(part) for part in range(PARTITIONS)}


def test_a_mark_is_read_as_it_was_written() -> None:
    for mark in (Mark(7), Mark(0, ("enwiki", 12))):
        assert Mark.decode(mark.encode()) == mark
