"""A mirror that begins with dumps: where it follows from, what it takes, and where it goes on after a kill."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from syncer import sqlite
from syncer.config import MirrorSettings
from syncer.errors import JournalUnavailable, Misconfigured, ResumeLost
from syncer.journal import Topic, change_record, partition_of
from syncer.mirror import beginning, bootstrap
from syncer.mirror.bootstrap import Bootstrap, Tally, head
from syncer.mirror.reading import export, verify
from syncer.model import MAX_ID, Cause, Change, Source
from syncer.store import Store
from tests.command import told
from tests.dumped import dump, page
from tests.following import PARTITIONS, follow, opened, publish, record
from tests.mutations import Pages, sha1

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from syncer.journal.sqlite import SqliteJournal
    from syncer.model import Mutation
    from tests.command import Place, Said

    Run = Callable[..., Said]

DAY = 86_400.0
PART = partition_of("testwiki", PARTITIONS)
SOURCE = Source("recentchange", "1", "2026-11-02T09:59:58Z", "2026-11-02T09:59:58Z")
HEARD = Change(wiki_id="testwiki", domain="test.wikipedia.org", cause=Cause.EDIT, source=SOURCE, rev_ids=(1,))


def iso(ago: float = 0.0) -> str:
    return datetime.fromtimestamp(time.time() - ago, UTC).isoformat()


def written(folder: Path, data: bytes, name: str = "dump.xml") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


async def filled(journal: SqliteJournal, store: Store, *paths: Path, date: str | None = None, **settings: Any) -> list[Tally]:
    """Everything that the verb does."""
    work = Bootstrap(store, MirrorSettings(**settings))
    found = [head(path, date or iso()) for path in paths]
    starts = await work.begin(journal, found)
    tallies = [list(work.fill(one))[-1][0] for one in found]
    work.finish(starts)
    return tallies


@pytest.fixture
async def begun(journal: SqliteJournal) -> SqliteJournal:
    """A journal of a hub that has heard something before any dump here was begun."""
    await journal.append(change_record(HEARD, PARTITIONS))
    return journal


# -- what is taken ----------------------------------------------------------------------------------------------------


async def test_the_mirror_has_what_the_dump_has_and_goes_on(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    pages = Pages()
    await publish(begun, pages.snapshot(1, "A", b"one"))
    path = written(
        tmp_path, dump(page(1, "A", "one", 101), page(2, "Talk:Ä b", "é\n", 7, namespace=1, redirect="C"), page(3, "C", None, 9))
    )
    (tally,) = await filled(begun, store, path)
    assert (tally.read, tally.taken, tally.done, tally.diverged, tally.set_aside) == (3, 3, True, 0, {})
    first, second, third = export(store)
    assert (first["text"], first["rev_id"]) == ("one", 101)
    assert second == {
        "wiki_id": "testwiki", "page_id": 2, "title": "Talk:Ä b", "namespace": 1, "rev_id": 7,
        "timestamp": "2026-11-02T09:00:00Z", "sha1": sha1("é\n".encode()),
        "content_model": "wikitext", "is_redirect": True, "text": "é\n",
    }  # fmt: skip
    assert (third["text"], third["sha1"]) == (None, None)
    state = store.page("testwiki", 2)
    assert state
    assert state.attribution
    assert (state.attribution.editor, state.attribution.comment) == ("Ada", "a comment")
    assert state.attribution.url == "https://test.wikipedia.org/wiki/Talk:%C3%84_b?oldid=7"
    assert list(verify(store)) == [None] * 3
    await publish(begun, pages.patch(1, "A", b"two"))
    follower = await follow(begun, store)
    assert follower.tally.applied == {"snapshot": 1, "patch": 1}
    assert (store.text("testwiki", 1), store.text("testwiki", 2), store.diverged()) == (b"two", "é\n".encode(), [])


async def test_several_dumps_packed_in_several_ways(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    other = page(1, "Seite", "drei", 5)
    paths = [
        written(tmp_path, bz2.compress(dump(page(1, "A", "one", 3))) , "a.xml.bz2"),
        written(tmp_path, gzip.compress(dump(page(2, "B", "two", 4), page(1, "A", "one", 3))), "b.xml.gz"),
        written(tmp_path, dump(other, wiki="dewiki", domain="de.wikipedia.org"), "c.xml"),
    ]  # fmt: skip
    tallies = await filled(begun, store, *paths)
    assert [(tally.taken, tally.known) for tally in tallies] == [(1, 0), (1, 1), (1, 0)]
    assert [(line["wiki_id"], line["text"]) for line in export(store)] == [
        ("dewiki", "drei"),
        ("testwiki", "one"),
        ("testwiki", "two"),
    ]
    assert store.wikis() == {"dewiki": "de.wikipedia.org", "testwiki": "test.wikipedia.org"}


async def test_a_text_is_kept_only_where_it_has_the_announced_hash(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    path = written(tmp_path, dump(
        page(1, "A", "one\ntwo\n", 3, stored=b"one\r\ntwo\r\n"), page(2, "B", "one", 4, stored=b"One"),
        page(3, "C", "", 5, stored=b"the text of a stub"),
    ))  # fmt: skip
    (tally,) = await filled(begun, store, path)
    assert (tally.taken, tally.diverged) == (3, 2)
    assert [line["text"] for line in export(store)] == ["one\r\ntwo\r\n", None, None], "the parser takes CR from CRLF"
    assert {reason for *_, reason in store.diverged()} == {"hash of dump"}


async def test_what_cannot_be_a_page_is_set_aside_and_counted(
    tmp_path: Path, begun: SqliteJournal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "MAX_RECORD", 1000)
    bare = page(1, "A", "t", 3)
    bare = bare[: bare.index("    <revision>")] + "  </page>\n"
    untimed = page(9, "T", "t", 3).replace("<timestamp>2026-11-02T09:00:00Z</timestamp>", "")
    path = written(tmp_path, dump(
        bare, page(2, "B", "0" * 1001, 3), page(0, "C", "t", 4), page(MAX_ID + 1, "D", "t", 5), page(5, "E", "t", MAX_ID + 1),
        page(6, "F", "t", 6, sha1=""), page(7, "G", "t", 7), untimed,
    ))  # fmt: skip
    with capture_logs() as logs:
        (tally,) = await filled(begun, store, path)
    assert tally.set_aside == {"no_revision": 1, "too_large": 1, "bad_id": 3, "no_hash": 1, "no_facts": 1}
    assert (tally.read, tally.taken) == (8, 1)
    assert [line["title"] for line in export(store)] == ["G"]
    assert {entry["page"] for entry in logs} == {"A", "B", "C", "D", "E", "F", "T"}


async def test_only_the_mirrors_own_scope_is_taken(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    path = written(tmp_path, dump(page(1, "A", "t", 3), page(2, "Talk:A", "t", 4, namespace=1)))
    (tally,) = await filled(begun, store, path, namespaces=(0,))
    assert (tally.taken, tally.left_alone) == (1, 1)
    other = Store(tmp_path / "other.db")
    with pytest.raises(Misconfigured, match="testwiki, which"):
        await filled(begun, other, path, wikis=("enwiki",))
    other.close()


# -- where it follows from --------------------------------------------------------------------------------------------


async def test_it_follows_from_before_the_dump_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    journal, pages, now = opened(tmp_path), Pages(), time.time()
    clock = now - 30 * DAY
    monkeypatch.setattr("syncer.journal.sqlite.time.time", lambda: clock)
    offsets = []
    for day in range(30):
        clock = now - (30 - day) * DAY
        await journal.commit([record(pages.snapshot(day + 1, f"P {day}", b"%d" % day))])
        offsets.append((await journal.bounds(Topic.MUTATIONS, PART))[1] - 1)
    clock = now
    path = written(tmp_path, dump(page(99, "A", "one", 3)))
    for began in (5.5, 29.0, 12.01, 1.5):
        mirror = Store(tmp_path / f"{began}.db")
        await filled(journal, mirror, path, date=iso(began * DAY))
        first = sum(offset < mirror.offset(PART) for offset in offsets)
        assert now - (30 - first) * DAY >= now - began * DAY - beginning.MARGIN - 1
        assert first == 0 or now - (30 - first + 1) * DAY < now - began * DAY - beginning.MARGIN + 1
        assert all(mirror.offset(part) == 0 for part in range(PARTITIONS) if part != PART)
        await follow(journal, mirror)
        assert len(list(export(mirror))) == 31 - first
        mirror.close()
    for date, name in (("2020-01-01", "a.xml"), (None, "testwiki-20200101-pages-articles.xml")):
        with pytest.raises(Misconfigured, match="the journal goes back to") as caught:
            await filled(journal, store, written(tmp_path, path.read_bytes(), name), date=date or "2020-01-01")
        assert "take a dump that was begun later" in (caught.value.hint or "")
    assert store.meta("journal") is None
    await journal.close()


async def test_what_retention_removed_has_to_be_older_than_the_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    journal, pages, now = opened(tmp_path, mutations_days=10), Pages(), time.time()
    for days in (20, 8, 4):
        monkeypatch.setattr("syncer.journal.sqlite.time.time", lambda days=days: now - days * DAY)
        await journal.append(change_record(HEARD, PARTITIONS))
        await publish(journal, pages.snapshot(days, f"P {days}", b"t"))
    path = written(tmp_path, dump(page(99, "A", "one", 3)))
    monkeypatch.setattr("syncer.journal.sqlite.time.time", lambda: now)
    early = Store(tmp_path / "early.db")
    await filled(journal, early, path, date=iso(15 * DAY))
    early.close()
    assert await journal.retain({})
    with pytest.raises(Misconfigured, match="goes back to"):
        await filled(journal, store, path, date=iso(15 * DAY))
    await filled(journal, store, path, date=iso(7 * DAY + 60))
    await follow(journal, store)
    assert [line["page_id"] for line in export(store)] == [4, 8, 99]
    await journal.close()


async def test_a_journal_that_begins_after_the_dump_is_of_no_use(tmp_path: Path, journal: SqliteJournal, store: Store) -> None:
    path = written(tmp_path, dump(page(1, "A", "one", 3)))
    with pytest.raises(Misconfigured, match="holds nothing yet"):
        await filled(journal, store, path)
    await journal.append(change_record(HEARD, PARTITIONS))
    with pytest.raises(Misconfigured, match="goes back to"):
        await filled(journal, store, path, date=iso(60))
    await filled(journal, store, path)


@pytest.mark.parametrize(("date", "why"), [(None, "does not say when"), ("yesterday", "no date"), ("2999-01-01", "yet to come")])
def test_the_date_has_to_be_known(tmp_path: Path, date: str | None, why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        head(written(tmp_path, dump()), date)


def test_the_name_of_the_dump_says_its_date(tmp_path: Path) -> None:
    found = head(written(tmp_path, dump(), "testwiki-20251101-pages-articles.xml"))
    assert (found.began, found.wiki_id, found.domain) == (1_761_955_200.0, "testwiki", "test.wikipedia.org")
    assert head(found.path, "2025-10-31T12:00:00+02:00").began == found.began - DAY / 2 - 7200


@pytest.mark.parametrize("part", [b"<dbname>testwiki</dbname>", b"<base>https://test.wikipedia.org/wiki/Main_Page</base>"])
def test_a_dump_has_to_say_of_which_wiki_it_is(tmp_path: Path, part: bytes) -> None:
    with pytest.raises(Misconfigured, match="does not say of which wiki"):
        head(written(tmp_path, dump().replace(part, b"")), iso())


async def test_a_mirror_that_follows_already_takes_no_dump(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    pages = Pages()
    path, more = written(tmp_path, dump(page(1, "A", "one", 3))), written(tmp_path, dump(page(2, "B", "two", 4)), "more.xml")
    await filled(begun, store, path)
    await filled(begun, store, more)  # nothing has come since
    await publish(begun, pages.snapshot(3, "C", b"three"))
    await follow(begun, store)
    with pytest.raises(Misconfigured, match="follows already") as caught:
        await filled(begun, store, more)
    assert "move mirror.path away" in (caught.value.hint or "")
    other = Store(tmp_path / "other.db")
    await follow(begun, other)
    with pytest.raises(Misconfigured, match="follows already"):
        await filled(begun, other, path)
    other.close()


async def test_half_a_mirror_does_not_follow(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    work = Bootstrap(store, MirrorSettings())
    found = head(written(tmp_path, dump(page(1, "A", "one", 3))), iso())
    starts = await work.begin(begun, [found])
    with pytest.raises(Misconfigured, match="not all read") as caught:
        await follow(begun, store)
    assert "syncer mirror bootstrap" in (caught.value.hint or "")
    list(work.fill(found))
    work.finish(starts)
    await follow(begun, store)


async def test_another_journal_is_noticed(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    path = written(tmp_path, dump(page(1, "A", "one", 3)))
    await filled(begun, store, path)
    (tmp_path / "other").mkdir()
    other = opened(tmp_path / "other")
    await other.append(change_record(HEARD, PARTITIONS))
    with pytest.raises(ResumeLost):
        await filled(other, store, path)
    await other.close()


# -- going on ---------------------------------------------------------------------------------------------------------


async def test_what_is_in_is_not_done_again(
    tmp_path: Path, begun: SqliteJournal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PAGES_AT_ONCE", 10)
    pages = [page(number, f"P {number}", f"text {number}", number) for number in range(1, 96)]
    path = written(tmp_path, bz2.compress(dump(*pages)), "dump.xml.bz2")
    work, found = Bootstrap(store, MirrorSettings()), head(path, iso())
    await work.begin(begun, [found])
    filling = work.fill(found)
    places = [next(filling)[1] for _ in range(4)]
    assert places == sorted(places)
    del filling
    assert len(list(store.pages())) == 40
    seeded: list[int] = []
    kept = Store.seed

    def seed(self: Store, page: Mutation, flaw: str | None = None) -> bool:
        seeded.append(page.page.page_id or 0)
        return kept(self, page, flaw)

    monkeypatch.setattr(Store, "seed", seed)
    (tally,) = await filled(begun, store, path)
    assert seeded == list(range(41, 96))
    assert (tally.read, tally.taken) == (95, 95)
    (tally,) = await filled(begun, store, path)
    assert (len(seeded), tally.taken) == (55, 95)


async def test_a_dump_that_was_cut_short_is_taken_once_it_is_whole(tmp_path: Path, begun: SqliteJournal, store: Store) -> None:
    pages = [page(number, f"P {number}", "text", number) for number in range(1, 1200)]
    whole = dump(*pages)
    path = written(tmp_path, whole[: len(whole) * 3 // 4])
    with pytest.raises(Misconfigured, match="no MediaWiki dump that can be read, or not to its end"):
        await filled(begun, store, path)
    assert len(list(store.pages())) == 500, "what was read whole"
    (tally,) = await filled(begun, store, written(tmp_path, whole))
    assert (tally.taken, tally.known) == (699, 500)
    assert len(list(store.pages())) == 1199


async def test_a_full_disk_is_not_the_dumps_fault(
    tmp_path: Path, begun: SqliteJournal, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise JournalUnavailable("database or disk is full")

    monkeypatch.setattr(Store, "seed", full)
    with pytest.raises(JournalUnavailable):
        await filled(begun, store, written(tmp_path, dump(page(1, "A", "one", 3))))


@pytest.mark.parametrize("fault", ["bootstrap-folded:1", "bootstrap-folded:2", "bootstrap-committed:1", "bootstrap-committed:3"])
def test_killed_anywhere_it_goes_on(tmp_path: Path, place: Place, run: Run, fault: str) -> None:
    asyncio.run(place.prepare(change_record(HEARD, 12)))
    written(tmp_path, dump(*(page(number, f"P {number}", f"text {number}", number) for number in range(1, 1401))))
    command = ("mirror", "bootstrap", str(tmp_path / "*.xml"), "--date", iso(), "--json")
    assert told(place.start(*command, TEST_FAULT=f"KILL:{fault}")).code == -9
    said = run(*command)
    assert said.code == 0, said.err
    (line,) = said.lines
    assert (line["read"], line["taken"], line["known"]) == (1400, 1400, 0)
    assert run("mirror", "verify").out == b"1400 pages, 0 not as announced\n"


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, place: Place, run: Run) -> None:
    asyncio.run(place.prepare(change_record(HEARD, 12)))
    path = written(
        tmp_path, dump(page(1, "A", "one", 3), page(2, "Template:B", "x", 4, stored=b"y", namespace=10), page(0, "C", "t", 5))
    )
    arguments = ("mirror", "bootstrap", str(path), str(tmp_path / "d*.xml"), "--date", iso())
    said = run(*arguments)
    assert (said.code, said.err) == (0, "")
    assert said.out.decode().splitlines() == [
        "2 pages of 1 dumps are in the mirror, 1 of them without a proven text",
        "  their namespaces: 0 (1), 10 (1); what the hub does not publish of these stays as the dump has it",
        "  1 set aside: bad_id",
        "syncer mirror follow makes it current",
    ]  # fmt: skip
    (line,) = run(*arguments, "--json").lines
    assert (line["dumps"], line["taken"], line["diverged"], line["set_aside"]) == (1, 2, 1, {"bad_id": 1})
    assert line["namespaces"] == {"0": 1, "10": 1}
    assert set(line["follows_from"].values()) == {0}
    assert json.loads(run("mirror", "export").out.splitlines()[0])["text"] == "one"
    assert run("mirror", "follow", "--until-idle", "0.1").code == 0


def test_a_dump_or_a_journal_that_is_not_there_is_said(tmp_path: Path, run: Run) -> None:
    said = run("mirror", "bootstrap", str(tmp_path / "*.bz2"))
    assert (said.code, "there is no file" in said.err) == (78, True)
    said = run("mirror", "bootstrap", str(written(tmp_path, dump())), "--date", iso())
    assert (said.code, "journal" in said.err) == (78, True)


def test_it_does_not_fill_what_somebody_follows_with(tmp_path: Path, run: Run) -> None:
    lock = sqlite.lock(tmp_path / "mirror.db.lock", "")
    said = run("mirror", "bootstrap", str(written(tmp_path, dump())), "--date", iso())
    assert said.code == 4
    assert lock
