"""How a mirror stands, by the hub's watermarks and by what it has read itself; and what monitoring is told."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from syncer.config import JournalSettings
from syncer.journal import Record, Topic, open_journal, partition_of
from syncer.mirror.standing import read_standing
from syncer.records import encode_watermark
from syncer.store import Store
from syncer.wire import encode_mutation, headers_of, key_of
from tests.following import PARTITIONS, diverging, follow, publish
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.journal.sqlite import SqliteJournal
    from syncer.mirror.standing import WikiStanding
    from tests.command import Place, Said

WIKI = "testwiki"
GAP, BEGUN = ("2026-11-02T03:00:00.000Z", "2026-11-02T04:00:00.000Z"), (None, "2026-11-01T00:00:00.000Z")


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def watermark(complete_to: float, wiki_id: str = WIKI, asides: int = 0, gaps: Any = (), partitions: int = PARTITIONS) -> Record:
    value = encode_watermark(wiki_id, iso(complete_to), asides, gaps)
    return Record(Topic.WATERMARKS, partition_of(wiki_id, partitions), wiki_id, value, {"wiki": wiki_id})


async def standing(journal: SqliteJournal, store: Store, *, wikis: tuple[str, ...] = ("*",), later: float = 0.0) -> WikiStanding:
    (one,) = await read_standing(journal, store, wikis, time.time() + later)
    return one


async def test_a_mirror_that_has_read_all_is_as_complete_as_the_hub(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "One", b"one"))
    await journal.append(watermark(time.time() - 20, gaps=[BEGUN]))
    await follow(journal, store)
    one = await standing(journal, store)
    assert one.behind
    assert 20 <= one.behind < 60
    assert (one.missing(900), one.missing(10)) == ([], ["behind"])
    assert (one.unread_since, one.begins, list(one.gaps)) == (
        None,
        BEGUN[1],
        [],
    )  # before it began there is no gap in what it does


async def test_what_it_has_not_read_counts_from_when_it_was_published(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "One", b"one"))
    await follow(journal, store)
    await publish(journal, pages.snapshot(2, "Two", b"two"))
    published = time.time()
    await journal.append(watermark(published + 900))  # the hub is well
    one = await standing(journal, store, later=1000)
    assert one.unread_since
    assert abs(one.unread_since - published) < 10
    assert one.missing(900) == ["behind"]
    await follow(journal, store)
    assert (await standing(journal, store, later=1000)).missing(900) == []


async def test_everything_that_is_missing_is_named(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "One", b"one"))
    await diverging(journal, pages, 2, 3)
    await journal.append(watermark(time.time() - 5, asides=2, gaps=[BEGUN, GAP]))
    await follow(journal, store, heal=None)
    one = await standing(journal, store)
    assert one.missing(900) == ["gaps", "set aside", "diverged"]
    assert (one.open_set_asides, list(one.gaps), sum(one.diverged.values())) == (2, [GAP], 2)


async def test_where_retention_has_overtaken_it_that_is_said(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "One", b"one"))
    await follow(journal, store)
    await publish(journal, pages.snapshot(2, "Two", b"two"), pages.snapshot(3, "Three", b"three"))
    part = partition_of(WIKI, PARTITIONS)
    journal._writer.execute("DELETE FROM mutations WHERE part = ?", (part,))
    journal._writer.execute("INSERT INTO floors VALUES (?, ?, ?)", (Topic.MUTATIONS.value, part, 99))
    await journal.append(watermark(time.time()))
    assert (await standing(journal, store)).missing(900) == ["cut"]


async def test_a_wiki_that_the_hub_has_not_told_of_is_unknown(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "One", b"one"))
    await follow(journal, store)
    one = await standing(journal, store)
    assert (one.complete_to, one.behind, one.missing(900)) == (None, None, ["behind"])


async def test_wikis_that_the_mirror_does_not_take_are_left_out(journal: SqliteJournal, store: Store) -> None:
    for wiki_id in ("dewiki", "enwiki"):
        await journal.append(watermark(time.time(), wiki_id))
    assert (await standing(journal, store, wikis=("de*",))).wiki_id == "dewiki"
    assert len(await read_standing(journal, store, ("*",), time.time())) == 2


@pytest.fixture
def mirrored(place: Place) -> Place:
    """A mirror of one page, and a hub that was well a moment ago."""

    async def prepare() -> None:
        partitions = JournalSettings().partitions
        mutation = Pages().snapshot(1, "One", b"one")
        where = partition_of(WIKI, partitions)
        await place.prepare(Record(Topic.MUTATIONS, where, key_of(mutation), encode_mutation(mutation), headers_of(mutation)))
        await place.prepare(watermark(time.time(), partitions=partitions))
        journal = await open_journal(JournalSettings(url=f"sqlite:///{place.folder}/journal.db"))
        with closing(Store(place.folder / "mirror.db")) as store:
            await follow(journal, store)  # type: ignore[arg-type]
        await journal.close()

    asyncio.run(prepare())
    return place


def test_monitoring_is_told_by_the_exit_code(mirrored: Place, run: Callable[..., Said]) -> None:
    said = run("mirror", "status")
    assert (said.code, said.err) == (0, "wikis: 1; of which something is missing: 0\n")
    assert b"nothing" in said.out
    (line,) = run("mirror", "status", "--json").lines
    assert (line["complete"], [one["missing"] for one in line["wikis"]]) == (True, [[]])
    asyncio.run(mirrored.prepare(watermark(time.time() - 1000, asides=1, partitions=JournalSettings().partitions)))
    said = run("mirror", "status")
    assert said.code == 1
    assert b"set aside, behind" in said.out
    assert run("mirror", "status", "--behind", "2000", "--json").lines[0]["wikis"][0]["missing"] == ["set aside"]
    assert run("mirror", "status", "--wiki", "nowiki").code == 1  # of which nothing is known


def test_a_mirror_of_another_journal_is_no_answer(mirrored: Place, run: Callable[..., Said]) -> None:
    asyncio.run(_elsewhere(mirrored))
    other = f"sqlite:///{mirrored.folder}/other.db"
    assert run("mirror", "status", JOURNAL__URL=other).code == 3
    assert run("mirror", "status", MIRROR__PATH=str(mirrored.folder / "none.db")).code == 78


async def _elsewhere(place: Place) -> None:
    await (await open_journal(JournalSettings(url=f"sqlite:///{place.folder}/other.db"))).close()
