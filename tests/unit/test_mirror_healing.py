"""A mirror that heals from the wikis: what it asks for, and how it treats those that do not want to be asked."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from syncer.config import MirrorSettings
from syncer.errors import Forbidden, Refused, Retry, SyncerError, Throttled, Unusable, WikiUnavailable
from syncer.mirror import Mirror, healing
from syncer.mirror.reading import export
from syncer.trouble import MOST
from tests.following import diverging, follow, publish, virtually
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from syncer.journal.sqlite import SqliteJournal
    from syncer.store import Store
    from tests.virtual import Clock

    Work = Callable[[SqliteJournal, Store, Clock], Coroutine[Any, Any, None]]
    Virtually = Callable[[Work], None]

AGAIN = 120.0  # seconds here; an hour in earnest


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Virtually:
    monkeypatch.setattr(healing, "AGAIN", AGAIN)
    return lambda work: virtually(monkeypatch, tmp_path, work)


class Wikis:
    """Wikis that have some texts and some troubles, and remember who was asked when, and for what."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.began = clock.monotonic()
        self.texts: dict[int, bytes] = {}
        self.trouble: dict[str, SyncerError] = {}
        self.asked: list[tuple[float, str, list[int]]] = []

    async def heal(self, wiki_id: str, _domain: str, rev_ids: Sequence[int]) -> dict[int, bytes]:
        self.asked.append((self.clock.monotonic() - self.began, wiki_id, list(rev_ids)))
        await asyncio.sleep(0.1)
        if error := self.trouble.get(wiki_id):
            raise error
        return {rev_id: self.texts[rev_id] for rev_id in rev_ids if rev_id in self.texts}

    async def diverged(self, journal: SqliteJournal, *wiki_ids: str, pages: int = 1) -> None:
        """Let pages of these wikis diverge, whose texts can be had."""
        for number, wiki_id in enumerate(wiki_ids, 1):
            made = Pages(wiki_id, last_rev_id=100 * number)
            await diverging(journal, made, *range(1, pages + 1))
            self.texts |= {facts.rev_id: b"two of %d" % page_id for page_id, facts in made.revisions.items()}

    def times(self, wiki_id: str) -> list[float]:
        return [at for at, asked, _ in self.asked if asked == wiki_id]


async def follow_for(seconds: float, journal: SqliteJournal, store: Store, wikis: Wikis) -> Mirror:
    follower, stop = Mirror(journal, store, MirrorSettings(), wikis.heal), asyncio.Event()
    following = asyncio.create_task(follower.run(stop))
    await asyncio.sleep(seconds)
    assert not following.done()
    stop.set()
    await following
    follower._thread.shutdown()
    return follower


def test_what_is_healed_is_the_announced_text_alone(virtual: Virtually) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki", pages=2)
        (good, bad) = wikis.texts
        wikis.texts[bad] = b"another text"
        follower = await follow(journal, store, wikis.heal)
        assert follower.healing.healed == 1
        assert store.diverged() == [("awiki", 2, "unknown page")]
        assert [(page["title"], page["text"]) for page in export(store)] == [("P1", "two of 1"), ("P2", None)]
        assert [rev_ids for _, _, rev_ids in wikis.asked] == [[good, bad]]

    virtual(work)


def test_what_cannot_be_healed_does_not_stand_in_the_way(virtual: Virtually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healing, "AT_ONCE", 5)

    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki", pages=12)
        wikis.texts = {rev_id: text for rev_id, text in wikis.texts.items() if text in {b"two of 11", b"two of 12"}}
        await follow_for(AGAIN - 20, journal, store, wikis)
        assert len(store.diverged()) == 10
        assert [len(rev_ids) for _, _, rev_ids in wikis.asked] == [5, 5, 2]  # and then not again, for so long

    virtual(work)


def test_everything_that_can_be_healed_is_before_it_ends(virtual: Virtually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healing, "AT_ONCE", 2)

    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki", pages=9)
        assert (await follow(journal, store, wikis.heal)).healing.healed == 9
        assert not store.diverged()

    virtual(work)


def test_what_is_hidden_is_not_asked_for(virtual: Virtually) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis, pages = Wikis(clock), Pages()
        pages.snapshot(1, "A", b"one")
        await publish(journal, pages.snapshot(1, "A", None, gap=False))
        await follow(journal, store, wikis.heal)
        assert store.diverged()
        assert not wikis.asked

    virtual(work)


def test_one_that_asks_for_a_pause_is_obeyed_for_all_wikis(virtual: Virtually) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki", "bwiki", "cwiki")
        wikis.trouble = {name: Throttled(f"{name}: too many requests", after=120.0) for name in ("awiki", "bwiki", "cwiki")}
        with capture_logs() as logs:
            await follow_for(2 * 120 + 60, journal, store, wikis)
        times = [at for at, _, _ in wikis.asked]
        assert len(times) == 3
        assert min(after - before for before, after in pairwise(times)) >= 120
        assert len([entry for entry in logs if "trouble" in entry["event"]]) <= 3  # one a wiki, not one a request

    virtual(work)


@pytest.mark.parametrize("error", [WikiUnavailable("status 503"), Retry("maxlag"), Unusable("foreign_domain", "not ours")])
def test_a_wiki_in_trouble_waits_alone_and_longer_each_time(virtual: Virtually, error: SyncerError) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki", "bwiki")
        wikis.trouble["awiki"] = error
        with capture_logs() as logs:
            follower = await follow_for(600, journal, store, wikis)
        assert follower.healing.healed == 1
        assert [wiki_id for wiki_id, _, _ in store.diverged()] == ["awiki"]
        assert 600 / (MOST + healing.LOOK_EVERY) <= len(wikis.times("awiki")) <= 600 / healing.LOOK_EVERY / 1.5
        assert len([entry for entry in logs if "trouble" in entry["event"]]) == 1
        assert wikis.times("bwiki")[0] < 1

    virtual(work)


def test_it_mirrors_while_a_wiki_keeps_it_waiting(virtual: Virtually) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki")
        asked = asyncio.Event()

        async def hangs(*_: object) -> dict[int, bytes]:
            asked.set()
            await asyncio.sleep(3600)
            raise WikiUnavailable("no answer")

        stop = asyncio.Event()
        follower = Mirror(journal, store, MirrorSettings(), hangs)
        following = asyncio.create_task(follower.run(stop))
        await asked.wait()
        await publish(journal, Pages("bwiki").snapshot(1, "A", b"one"))
        await asyncio.sleep(5)
        assert follower.tally.applied["snapshot"] == 1
        stop.set()
        await asyncio.wait_for(following, 5)
        follower._thread.shutdown()

    virtual(work)


def test_a_wiki_that_refuses_is_left_alone_for_long(virtual: Virtually) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki", "bwiki")
        wikis.trouble["awiki"] = Forbidden("awiki: status 403")
        follower = await follow_for(1.5 * AGAIN, journal, store, wikis)
        assert len(wikis.times("awiki")) == 2
        assert wikis.times("awiki")[1] >= AGAIN
        assert (follower.healing.healed, follower.healing.over) == (1, None)

    virtual(work)


@pytest.mark.parametrize("error", [Forbidden, Refused])
def test_it_goes_on_without_healing_where_it_is_refused_for_good(virtual: Virtually, error: type[SyncerError]) -> None:
    """403 from two wikis, or credentials that are not accepted."""

    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        wikis = Wikis(clock)
        await wikis.diverged(journal, "awiki", "bwiki", "cwiki")
        wikis.trouble = {name: error(f"{name}: no") for name in ("awiki", "bwiki", "cwiki")}
        following = asyncio.create_task(follow_for(3 * AGAIN, journal, store, wikis))
        with capture_logs() as logs:
            await asyncio.sleep(AGAIN)
            await publish(journal, Pages("dwiki").snapshot(1, "A", b"one"))
            follower = await following
        assert len(wikis.asked) == (2 if error is Forbidden else 1)
        assert [entry["log_level"] for entry in logs if "nobody is asked" in entry["event"]] == ["error"]
        assert follower.healing.over
        assert store.text("dwiki", 1) == b"one"

    virtual(work)
