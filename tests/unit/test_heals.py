"""What the hub does about requests: one change for all who ask for a page, within limits, and a publication without asking."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from syncer.config import HealSettings
from syncer.enrich import heals
from syncer.enrich.heals import SETTLES_WITHIN, Heals
from syncer.enrich.settle import AT_ONCE
from syncer.journal import Record, Topic, partition_of, request_record
from syncer.model import HEAL, Cause, Redacted
from syncer.outcome import Publish, Skip
from syncer.progress import PROGRESS_KEY
from syncer.records import decode_change
from syncer.requests import Request, encode
from syncer.telemetry import HEAL_REQUESTS
from tests.desk import Desk, change, last, made, seed
from tests.following import PARTITIONS, record, virtually
from tests.mutations import HIDDEN, Pages
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from syncer.journal.sqlite import SqliteJournal
    from syncer.model import Change, Mutation
    from syncer.store import Store
    from tests.virtual import Clock

PART = partition_of("testwiki", PARTITIONS)
FREELY = HealSettings(pages_per_minute=10**6, pages_per_mirror=10**6, asked_per_minute=10**6)


class Hub:
    """A hub's store and what it reads of ``requests``; ``counted`` is what became of them since it was made."""

    def __init__(self, journal: SqliteJournal, store: Store, settings: HealSettings = FREELY) -> None:
        self.journal, self.store, self.settings = journal, store, settings
        self.commits = 0
        self._before = {result: HEAL_REQUESTS.labels(result)._value.get() for result in RESULTS}
        self.start()

    def start(self) -> None:
        """Begin with what is committed, as after a death."""
        self.heals = Heals(self.settings, self.journal, self.store, self.append, self.work)

    def append(self, records: Sequence[Record]) -> object:
        self.commits += 1
        return asyncio.run_coroutine_threadsafe(self.journal.commit(records), self._loop).result()

    async def work(self, do: Callable[[], Any]) -> Any:
        self._loop = asyncio.get_running_loop()
        return await asyncio.to_thread(do)

    async def published(self, *mutations: Mutation) -> None:
        """These are committed, and in the store."""
        for mutation in mutations:
            (offset,) = await self.journal.commit([record(mutation)])
            with self.store.folding():
                self.store.fold(mutation)
                self.store.publish(mutation, PART, offset)

    async def ask(self, page_id: int, *mirrors: str, read_to: int | None = None, wiki_id: str = "testwiki") -> None:
        """Mirrors that have read everything, or up to there, ask for a page."""
        _, end = await self.journal.bounds(Topic.MUTATIONS, PART)
        for mirror in mirrors:
            request = Request(
                mirror=mirror, wiki_id=wiki_id, page_id=page_id, read_to=end if read_to is None else read_to, seq=1, rev_id=None,
                sha1=None, reason="", asked_at="",
            )  # fmt: skip
            await self.journal.append(request_record(request, PARTITIONS))

    async def step(self) -> list[Change]:
        """Look once. Returns the changes that were appended."""
        _, before = await self.journal.bounds(Topic.CHANGES, PART)
        if not self.heals._read_to:
            await self.heals.load(range(PARTITIONS))
        self.heals._next = 0.0
        await self.heals.step()
        return [decode_change(one.value) for one in await self.journal.read(Topic.CHANGES, PART, before)]

    def counted(self) -> dict[str, float]:
        now = {result: HEAL_REQUESTS.labels(result)._value.get() - before for result, before in self._before.items()}
        return {result: count for result, count in now.items() if count}


RESULTS = ("published", "merged", "answered", "unknown", "refused", "unreadable")


@pytest.fixture
async def hub(journal: SqliteJournal, store: Store, pages: Pages) -> Hub:
    """A hub that has published two pages."""
    hub = Hub(journal, store)
    await hub.published(pages.snapshot(1, "One", b"one"), pages.snapshot(2, "Two", b"two"))
    return hub


def asked_for(changes: Sequence[Change]) -> list[tuple[int, ...]]:
    return [one.page_ids for one in changes]


# -- one for all ---------------------------------------------------------------------------------------------------------


async def test_many_who_ask_for_a_page_get_one_change(hub: Hub) -> None:
    await hub.ask(1, *(f"m{number}" for number in range(9)))
    await hub.ask(2, "m1")
    (one, two) = await hub.step()
    assert hub.commits == 1  # with how far it has read, or not at all
    assert (one.wiki_id, one.domain, one.page_ids) == ("testwiki", "test.wikipedia.org", (1,))
    assert (one.cause, one.source.stream, two.page_ids) == (Cause.REPAIR, HEAL, (2,))
    assert one.change_id != two.change_id
    await hub.ask(1, "late")
    assert await hub.step() == []  # the change of the others serves it as well
    assert hub.counted() == {"published": 2, "merged": 9}


async def test_what_is_answered_by_a_later_whole_text_is_not_answered_again(hub: Hub, pages: Pages) -> None:
    await hub.ask(1, "m1", "m2")
    await hub.ask(2, "m1", read_to=0)  # it stands there, and this mirror has yet to read it
    await hub.published(pages.snapshot(1, "One", b"one"))
    assert await hub.step() == []
    assert hub.counted() == {"answered": 3}
    await hub.published(pages.patch(1, "One", b"one more"), pages.redact(1, "One", Redacted(7, HIDDEN)))
    await hub.published(pages.snapshot(1, "One", b"and more", gap=False))
    await hub.ask(1, "m3", read_to=4)  # none of these tells all to one who does not know the page
    assert asked_for(await hub.step()) == [(1,)]
    await hub.ask(2, "m3", read_to=7)
    await hub.published(pages.delete(2, "Two"))
    assert await hub.step() == []
    await hub.ask(2, "m3")
    assert asked_for(await hub.step()) == [(2,)]  # who has read the delete and lacks it gets it again


async def test_what_nobody_published_and_what_is_no_request_moves_nobody(hub: Hub, journal: SqliteJournal) -> None:
    await hub.ask(3, "m1")
    await hub.ask(0, "m1")
    await hub.ask(1, "m1", wiki_id="wiki of another")
    there = Request(
        mirror="m", wiki_id="testwiki", page_id=1, read_to=9, seq=0, rev_id=None, sha1=None, reason="", asked_at=""
    )  # fmt: skip
    for partition, value in (((PART + 1) % PARTITIONS, encode(there)), (PART, b"{}"), (PART, b"\xff")):
        await journal.append(Record(Topic.REQUESTS, partition, "k", value))
    assert await hub.step() == []
    assert hub.counted() == {"unknown": 3, "unreadable": 3}
    await hub.ask(1, "m1")
    assert asked_for(await hub.step()) == [(1,)]


# -- limits --------------------------------------------------------------------------------------------------------------


def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: HealSettings, play: Callable[[Hub], Any]) -> None:
    async def work(journal: SqliteJournal, store: Store, _clock: Clock) -> None:
        hub, pages = Hub(journal, store, settings), Pages()
        await hub.published(*(pages.snapshot(number, f"P{number}", b"text") for number in range(1, 61)))
        await play(hub)

    virtually(monkeypatch, tmp_path, work)


def test_one_who_asks_for_too_much_is_refused_and_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(hub: Hub) -> None:
        for number in range(1, 31):
            await hub.ask(number, "greedy")
        await hub.ask(40, "modest")
        assert asked_for(await hub.step()) == [*((number,) for number in range(1, 11)), (40,)]
        assert hub.counted() == {"published": 11, "refused": 20}
        await asyncio.sleep(30.0)  # it has half of its share again
        for number in range(11, 31):
            await hub.ask(number, "greedy")
        assert asked_for(await hub.step()) == [(number,) for number in range(11, 16)]

    limited(tmp_path, monkeypatch, HealSettings(pages_per_mirror=10), play)


def test_what_all_ask_for_beyond_the_limit_waits_and_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(hub: Hub) -> None:
        for number in range(1, 31):
            await hub.ask(number, f"m{number}")  # or one that calls itself by many names
        assert asked_for(await hub.step()) == [(number,) for number in range(1, 11)]
        assert await hub.step() == []
        hub.start()  # and whoever dies has not used it up twice, nor lost it
        hub.heals._all.left = 0.0
        found = []
        for _ in range(4):
            await asyncio.sleep(30.0)
            found += asked_for(await hub.step())
        assert found == [(number,) for number in range(11, 31)]
        assert hub.counted() == {"published": 30}

    limited(tmp_path, monkeypatch, HealSettings(pages_per_minute=10), play)


def test_what_the_wikis_have_to_be_asked_for_has_a_limit_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(hub: Hub) -> None:
        with hub.store.folding():
            for number in range(1, 21):
                hub.store.mark("testwiki", number, "evicted, say")
        for number in range(1, 41):
            await hub.ask(number, "m")
        assert asked_for(await hub.step()) == [(number,) for number in (1, 2, 3, *range(21, 41))]
        assert hub.counted() == {"published": 23, "refused": 17}

    limited(tmp_path, monkeypatch, HealSettings(asked_per_minute=3), play)


def test_no_limit_is_so_low_that_nothing_ever_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(hub: Hub) -> None:
        await hub.ask(1, "m")
        assert await hub.step() == []
        await asyncio.sleep(121.0)
        assert asked_for(await hub.step()) == [(1,)]

    limited(tmp_path, monkeypatch, HealSettings(pages_per_minute=0.5), play)


async def test_names_are_told_apart_up_to_a_bound(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heals, "MOST_MIRRORS", 3)
    for number in range(20):
        await hub.ask(1 + number % 2, f"m{number}")
    assert asked_for(await hub.step()) == [(1,), (2,)]
    hub.heals._going.clear()
    for number in range(20):
        await hub.ask(1, f"m{number}")
        await hub.step()
        hub.heals._going.clear()
    assert len(hub.heals._mirrors) <= 4  # all others share one


def test_a_page_is_not_published_for_ever_for_one_who_never_has_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(hub: Hub) -> None:
        found = 0
        for _ in range(50):
            await hub.ask(1, "m", read_to=10**9)
            found += len(await hub.step())
            await asyncio.sleep(SETTLES_WITHIN / 4.9)
        assert found == 10

    limited(tmp_path, monkeypatch, FREELY, play)


# -- whoever is killed when ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["heals-judged", "heals-appended"])
async def test_nothing_is_lost_and_nothing_twice_whoever_is_killed(hub: Hub, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    def die(reached: str) -> None:
        if reached == point:
            raise KeyError("killed")

    await hub.ask(1, "m1", "m2")
    await hub.ask(2, "m1")
    _, before = await hub.journal.bounds(Topic.CHANGES, PART)
    with monkeypatch.context() as patch:
        patch.setattr(heals, "at", die)
        with pytest.raises(KeyError, match="killed"):
            await hub.step()
    hub.start()
    await hub.step()
    changes = [decode_change(one.value) for one in await hub.journal.read(Topic.CHANGES, PART, before)]
    assert asked_for(changes) == [(1,), (2,)]


async def test_after_a_death_a_change_still_serves_all_who_ask(hub: Hub, desk: Desk) -> None:
    await hub.ask(1, "m1")
    (one,) = await hub.step()
    hub.start()
    hub.heals.heard(desk.take_in([one]))  # the next process takes it in again
    await hub.ask(1, "m2")
    assert await hub.step() == []
    assert hub.counted() == {"published": 1, "merged": 1}


async def test_requests_that_retention_has_cut_are_passed_over(hub: Hub, journal: SqliteJournal) -> None:
    await hub.ask(1, "m1")
    await hub.step()
    await hub.ask(1, "m1")
    await hub.ask(2, "m1")
    journal._retention = journal._retention.model_copy(update={"set_aside_bytes": 1})
    await journal.retain({})
    await hub.ask(2, "m2")
    assert await hub.step() == []  # learns where they begin
    assert asked_for(await hub.step()) == [(2,)]


# -- what is published ---------------------------------------------------------------------------------------------------


def heal(page_id: int) -> Change:
    return change(Cause.REPAIR, page=page_id, stream=HEAL, when=0.0)


def wiki() -> World:
    return World().page(1, "One", 10).page(2, "Two", 20).page(3, "Three", 30)


def test_a_page_is_published_whole_again_without_asking_anybody(desk: Desk) -> None:
    world = wiki()
    seed(desk, world)
    before = desk.mutations
    (outcome,) = desk.settle(World(), heal(1))  # a wiki that would say that all is gone
    again = last(desk)
    assert isinstance(outcome, Publish)
    assert desk.asked == []
    assert made(desk, len(before)) == ["snapshot+gap 1 10"]
    assert (again.cause, again.source.stream, again.seq) == (Cause.REPAIR, HEAL, before[0].seq + 1)
    assert (again.text, again.revision, again.attribution) == (before[0].text, before[0].revision, before[0].attribution)
    assert again.page == before[0].page
    assert desk.store.whole_at("enwiki", 1) == len(desk.records) - 1 - [one.topic for one in desk.records[::-1]].index(
        Topic.MUTATIONS
    )


def test_many_pages_are_published_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AT_ONCE, HEAL, 2)
    seed(desk, wiki())
    commits = len([one for one in desk.records if one.key == PROGRESS_KEY])
    desk.settle(World(), *(heal(page_id) for page_id in (1, 2, 3)))
    assert made(desk, 3) == ["snapshot+gap 1 10", "snapshot+gap 2 20", "snapshot+gap 3 30"]
    assert len([one for one in desk.records if one.key == PROGRESS_KEY]) == commits + 2


def test_a_deleted_page_gets_its_delete_again(desk: Desk) -> None:
    world = wiki()
    seed(desk, world)
    desk.settle(world.copy().delete(2), change(Cause.DELETE, "Two", namespace=0))
    before, asked = len(desk.mutations), len(desk.asked)
    desk.settle(world, heal(2))
    assert made(desk, before) == ["delete 2 -"]
    assert (last(desk).cause, last(desk).page.title, last(desk).page.page_id) == (Cause.REPAIR, "", 2)
    assert len(desk.asked) == asked


def test_a_hidden_text_stays_hidden(desk: Desk) -> None:
    world = wiki()
    seed(desk, world)
    desk.settle(world.hide(10, 1), change(Cause.VISIBILITY, "One", rev=10))
    before, asked = len(desk.mutations), len(desk.asked)
    desk.settle(World(), heal(1))
    assert made(desk, before) == ["snapshot+gap 1 10"]
    assert last(desk).text is None
    assert last(desk).revision
    assert len(desk.asked) == asked


@pytest.mark.parametrize("loss", ["evicted", "spoilt", "untitled"])
def test_what_the_store_cannot_tell_the_wiki_is_asked(desk: Desk, loss: str) -> None:
    world = wiki()
    seed(desk, world)
    with desk.store.folding():
        db = desk.store._db
        row = db.execute("SELECT id FROM pages WHERE page_id = 1").fetchone()[0]
        if loss == "evicted":
            desk.store._drop_texts([row])
        elif loss == "spoilt":
            desk.store._write_text(row, b"not what was announced")
        else:
            db.execute("UPDATE pages SET title = NULL WHERE id = ?", (row,))
    before = len(desk.mutations)
    desk.settle(world.page(1, "One", 11), heal(1), heal(2))
    assert made(desk, before) == ["snapshot+gap 2 20", "snapshot+gap 1 11"]
    assert [sorted(question.page_ids) for question in desk.asked] == [[1]]


def test_a_page_that_is_gone_by_then_is_deleted(desk: Desk) -> None:
    world = wiki()
    seed(desk, world)
    desk.settle(world, heal(9))
    assert [type(outcome) for _, outcome in desk.outcomes[-1:]] == [Skip]
    with desk.store.folding():
        desk.store._drop_texts([desk.store._db.execute("SELECT id FROM pages WHERE page_id = 1").fetchone()[0]])
    before = len(desk.mutations)
    desk.settle(world.delete(1), heal(1))
    assert made(desk, before) == ["delete 1 -"]


def test_who_asks_for_a_page_again_and_again_does_not_put_off_what_happens_to_it(desk: Desk) -> None:
    """Soon after a publication an answer that takes it back is doubted; but nothing new is published here."""
    world = wiki()
    seed(desk, world)
    desk.settle(World(), heal(1))
    desk.settle(world.copy().delete(1), change(Cause.DELETE, "One", namespace=0, when=-1.0))
    assert last(desk).kind == "delete"
    assert desk.waited == {}
