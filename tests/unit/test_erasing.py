"""Every way in which something published is hidden or deleted, over hub, journal and mirror: at that moment no file has it any
more, and who reads the journal from its start afterwards arrives all the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from syncer.config import JournalSettings, MirrorSettings
from syncer.enrich.pages import Pages
from syncer.journal import Topic
from syncer.journal.sqlite import SqliteJournal
from syncer.mirror.from_pages import FromPages
from syncer.model import Cause
from syncer.seal import unseal
from syncer.store import Store
from tests.desk import WIKI, Desk, change
from tests.e2e.checker import Checker
from tests.following import follow
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from syncer.journal import Record
    from syncer.model import Change

TEXT, COMMENT, USER = 1, 2, 4  # bits that hide it


@dataclass
class Line(Desk):
    """A desk with its store in a file, a journal for its records and pages, and a mirror; in a folder where nothing else is."""

    folder: Path = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store.close()
        self.store = Store(self.folder / "hub.db", self.store_bytes)
        self.settler = replace(self.settler, store=self.store, rewrites=True)
        self.settler.recent.since = self.now - 1000
        self.loop = asyncio.get_running_loop()
        self.journal = SqliteJournal(self.folder / "journal.db", JournalSettings(partitions=1))
        self.mirror = Store(self.folder / "mirror.db")

    def append(self, records: Sequence[Record]) -> list[int]:
        self.records += records
        return asyncio.run_coroutine_threadsafe(self.journal.commit(records), self.loop).result()

    def check(self) -> None:
        """What the checker says is said of the journal as it stands, by ``arrived``."""

    async def work(self, world: World, *changes: Change) -> None:
        """Settle changes, and let the mirror follow."""
        await asyncio.to_thread(self.settle, world, *changes)
        await follow(self.journal, self.mirror)

    async def keep_pages(self) -> None:
        self.settler.pages = Pages(self.journal, self.store, self.append, asyncio.to_thread)
        await self.settler.pages.load([0])
        while self.settler.pages.filling:
            await asyncio.to_thread(self.settler.pages.fill)

    async def read(self) -> list[dict[str, Any]]:
        start, _ = await self.journal.bounds(Topic.MUTATIONS, 0)
        return [
            {"partition": 0, "offset": one.offset, "key": one.key, "headers": dict(one.headers), "value": json.loads(one.value)}
            for one in await self.journal.read(Topic.MUTATIONS, 0, start)
        ]

    async def arrived(self) -> dict[int, str | None]:
        """The texts of all pages: the same in the hub, in the mirror, and for two who read from the start."""
        checker = Checker()
        checker.read(await self.read())
        assert checker.finish() == []
        assert checker.not_erased() == []
        late = Store(self.folder.parent / f"late-{random.random()}.db")
        follower = await follow(self.journal, late)
        assert not follower.tally.diverged
        of = [
            {state.page_id: (state, store.text(WIKI, state.page_id)) for _, state in store.pages()}
            for store in (self.store, self.mirror, late)
        ]
        assert of[0] == of[1] == of[2]
        assert await self.told() == of[0]
        assert late.diverged() == self.mirror.diverged() == []
        late.close()
        texts = {page_id: None if text is None else text.decode() for page_id, (_, text) in of[0].items()}
        assert {page["page_id"]: page["text"] for page in checker.exported()} == texts
        return texts

    async def told(self) -> dict[int, Any]:
        """What the topic of pages says: it is written with what erases, and all of it in the end."""
        assert self.settler.pages
        await asyncio.to_thread(self.settler.pages.flush)
        path = self.folder.parent / f"begun-{random.random()}.db"
        with closing(Store(path)) as begun:
            work = FromPages(self.journal, begun, MirrorSettings())
            await work.begin()
            assert [tally async for tally in work.fill()]
            await work.finish()
            return {state.page_id: (state, begun.text(WIKI, state.page_id)) for _, state in begun.pages()}

    async def shut(self) -> None:
        self.mirror.close()
        await self.journal.close()
        self.close()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    (tmp_path / "all").mkdir()
    made = Line(folder=tmp_path / "all")
    await made.keep_pages()
    yield made
    await made.shut()


def noise(seed: object, size: int) -> str:
    """A text that nothing can shorten, and of which no two parts are alike."""
    return random.Random(str(seed)).randbytes(size // 2).hex()


def content(rev_id: int, size: int) -> str:
    """The text of a revision in ``life``."""
    common = noise("common", size) if rev_id in {11, 12} else ""
    return noise(f"{rev_id} begins", size) + common + noise(f"{rev_id} ends", size)


def slices(blob: bytes) -> list[bytes]:
    """Some of it from the start, from not far behind it, and from the end: its middle may be another revision's, too."""
    return [blob[:24], blob[len(blob) // 5 :][:24], blob[-24:]]


@dataclass
class Watch:
    """What is to be found in no file later: of a revision as it lies there now, plain, packed, sealed, and its keys."""

    line: Line
    needles: list[bytes] = field(default_factory=list)

    def of_store(self, store: Store, page_id: int) -> None:
        query = "SELECT s.facts, s.text, packed FROM pages JOIN seals s USING (id) LEFT JOIN texts USING (id) WHERE page_id = ?"
        facts_key, text_key, packed = store._db.execute(query, (page_id,)).fetchone()
        self.needles.append(facts_key)
        if packed:
            self.needles += [text_key, *slices(unseal(text_key, packed))]
        if store is self.line.store:
            self.of_pages(f"{WIKI}:{page_id}")

    def of_pages(self, key: str) -> None:
        """The record of a page in the topic of pages."""
        (stored,) = self.line.journal._writer.execute('SELECT value FROM "pages" WHERE key = ?', (key,)).fetchone()
        own = self.line.journal._values.own_key(0, key)
        plain = unseal(own, stored)
        self.needles += [own, stored[:24], plain[:24], plain[len(plain) // 5 :][:24]]

    def of_record(self, rev_id: int, names: Sequence[str] = ("text",)) -> None:
        """The records of a revision; ``names``: with their contents, not only their keys."""
        values = self.line.journal._values
        values.begin()
        places = self.line.store.recall(WIKI, rev_id)
        assert places
        for _, offset in places:
            query = 'SELECT value, packed FROM "mutations" WHERE "offset" = ?'
            stored, how = self.line.journal._writer.execute(query, (offset,)).fetchone()
            if json.loads(values.plain((offset, stored, how)))["revision"]["rev_id"] != rev_id:
                continue  # it has that one's headings
            key = values._key(offset)
            self.needles += [key, stored[:24]]  # sealed: what could be opened with a key that somebody kept
            if names:
                plain = unseal(key, stored)
                self.needles += [*slices(plain)[:2], plain[-800:][:24]]  # its end says when it was published: others' do, too

    def found(self) -> list[str]:
        files = {path.name: path.read_bytes() for path in self.line.folder.iterdir() if not path.name.endswith(".lock")}
        assert files.keys() >= {f"{store}.db{side}" for store in ("hub", "mirror", "journal") for side in ("", "-wal", "-shm")}
        return [f"{needle!r} in {name}" for needle in self.needles for name, content in files.items() if needle in content]


@pytest.fixture
def watch(line: Line) -> Watch:
    return Watch(line)


async def life(line: Line, size: int) -> World:
    """Two pages, one of three revisions and one beside it; the topic of pages has them."""
    world = World()
    for page_id, title, rev_id in ((1, "A", 10), (2, "B", 20), (1, "A", 11), (1, "A", 12)):
        world.page(page_id, title, rev_id, text=content(rev_id, size))
        await line.work(world, change(Cause.EDIT, title, rev=rev_id))
        if line.settler.pages:
            await asyncio.to_thread(line.settler.pages.flush)
    return world


def digest(rev_id: int, size: int) -> str:
    """What would confirm to somebody what he guesses."""
    return hashlib.sha1(content(rev_id, size).encode(), usedforsecurity=False).hexdigest()


def names(rev_id: int) -> list[bytes]:
    return [b"editor of %d" % rev_id, b"comment on %d" % rev_id]


def hide(world: World, rev_id: int, bits: int) -> World:
    """Hide parts of a revision that has a text of its own."""
    page_id, was = world.revisions[rev_id]
    assert was.text
    facts = {"rev_parent_id": was.rev_parent_id, "timestamp": was.timestamp}
    return world.revision(rev_id, page_id, text=was.text.decode(), bits=bits, **facts)


# -- texts ---------------------------------------------------------------------------------------------------------------

SIZES = [60, 1_500, 4_100, 300_000]  # in the row, packed, more than a page, and most of it in pages of its own


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [TEXT, TEXT | COMMENT | USER, 15], ids=["text", "all", "suppressed"])
async def test_a_hidden_current_text_is_in_no_file_and_comes_back_when_it_is_shown(
    line: Line, watch: Watch, size: int, bits: int
) -> None:
    world = await life(line, size)
    shown = world.copy()
    watch.of_record(12)
    watch.of_store(line.store, 1)
    watch.of_store(line.mirror, 1)
    watch.needles += slices(content(12, size).encode())
    assert digest(12, size) in json.dumps(await line.read())
    assert watch.found()  # what is live can be found: else a search that finds nothing says nothing
    await line.work(hide(world, 12, bits), change(Cause.VISIBILITY, "A", rev=12))
    assert watch.found() == []
    assert digest(12, size) not in json.dumps(await line.read())
    assert (await line.arrived())[1] is None
    await line.work(shown, change(Cause.VISIBILITY, "A", rev=12, claims=((12, shown.revisions[12][1].visibility),)))
    assert (await line.arrived())[1] == content(12, size)
    assert line.kinds()[-2:] == ["snapshot+gap", "snapshot+gap"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rev_id", [10, 11])
async def test_an_old_text_that_is_hidden_is_in_no_file_and_the_current_one_comes_whole(
    line: Line, watch: Watch, size: int, rev_id: int
) -> None:
    world = await life(line, size)
    watch.of_record(rev_id)
    watch.needles += [*slices(content(rev_id, size).encode()), *names(rev_id)]
    await line.work(hide(world, rev_id, 7), change(Cause.VISIBILITY, "A", rev=rev_id))
    assert watch.found() == []
    assert (await line.arrived())[1] == content(12, size)
    assert line.kinds()[-1] == "snapshot+gap"
    assert digest(rev_id, size) not in json.dumps(await line.read())
    erased = [record["value"]["revision"]["rev_id"] for record in await line.read() if record["value"].get("erased")]
    assert erased == [rev_id]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stream", ["mediawiki.recentchange", "mediawiki.page_change.v1"])
async def test_of_a_deleted_or_suppressed_page_there_is_nothing_in_any_file(
    line: Line, watch: Watch, size: int, stream: str
) -> None:
    world = await life(line, size)
    for rev_id in (10, 11, 12):
        watch.of_record(rev_id)
        watch.needles += [*slices(content(rev_id, size).encode()), *names(rev_id)]
    for store in (line.store, line.mirror):
        watch.of_store(store, 1)
    restored = world.copy()
    page = 1 if "page_change" in stream else ()
    await line.work(world.delete(1), change(Cause.DELETE, "A", page=page, namespace=0, stream=stream))
    assert watch.found() == []
    left = json.dumps(await line.read())
    assert [rev_id for rev_id in (10, 11, 12) if digest(rev_id, size) in left] == []
    assert await line.arrived() == {2: content(20, size)}
    await line.work(restored, change(Cause.UNDELETE, "A"))
    assert (await line.arrived())[1] == content(12, size)


async def test_headings_of_a_hidden_base_go_and_the_patch_stays(line: Line, watch: Watch) -> None:
    world = World().page(1, "A", 10, text="Lead.\n\n== A rude heading ==\nRude words.\n" + noise(1, 400))
    await line.work(world, change(Cause.CREATE, "A", rev=10))
    await line.work(world.page(1, "A", 11, text="Lead.\n" + noise(1, 400)), change(Cause.EDIT, "A", rev=11))
    assert line.mutations[1].sections
    watch.needles += [b"A rude heading", b"Rude words"]
    watch.of_record(10)
    await line.work(hide(world, 10, TEXT), change(Cause.VISIBILITY, "A", rev=10))
    assert watch.found() == []
    first, second, *_ = [record["value"] for record in await line.read()]
    assert first["erased"]
    assert "sections" not in second
    assert "patch" in second
    await line.arrived()


async def test_a_revision_that_was_merged_away_is_erased_where_it_was_published(line: Line, watch: Watch) -> None:
    """And who reads from the start arrives at both pages: the one it is in, and the one it was in."""
    world = await life(line, 2_000)
    watch.of_record(11)
    _, moved = world.revisions.pop(11)
    world.revisions[11] = (2, moved)
    await line.work(hide(world, 11, 7), change(Cause.VISIBILITY, "B", rev=11))
    assert watch.found() == []
    assert (await line.arrived())[1] == content(12, 2_000)
    assert [(one.page.page_id, one.cause) for one in line.mutations[-2:]] == [(2, Cause.VISIBILITY), (1, Cause.REPAIR)]


@pytest.mark.parametrize("whole", [False, True], ids=["partial", "whole"])
async def test_revisions_that_were_merged_away_are_gone_once_the_page_is_deleted_that_they_went_to(
    line: Line, watch: Watch, *, whole: bool
) -> None:
    """Nobody says which they were, and a partial merge changes neither page."""
    world = await life(line, 2_000)
    gone = (10, 11, 12) if whole else (10, 11)
    for rev_id in gone:
        watch.of_record(rev_id)
        watch.needles += slices(content(rev_id, 2_000).encode())
        world.revisions[rev_id] = (2, world.revisions[rev_id][1])
    if whole:
        world.page(1, "A", 13, text="#REDIRECT [[B]]", redirect=True)
    before = len(line.mutations)
    await line.work(world, change(Cause.MERGE, "A", "B"))
    assert line.kinds()[before:] == ["snapshot+gap"]
    assert [one.page.page_id for one in line.mutations[before:]] == [1]
    await line.work(world.delete(2), change(Cause.DELETE, "B", namespace=0))
    assert watch.found() == []
    left = json.dumps(await line.read())
    assert [rev_id for rev_id in (*gone, 20) if digest(rev_id, 2_000) in left] == []
    assert await line.arrived() == {1: "#REDIRECT [[B]]" if whole else content(12, 2_000)}


async def test_a_page_that_was_just_published_loses_its_history_with_a_merge(line: Line, watch: Watch) -> None:
    """In the same batch: what is erased has to stand before what erases it."""
    world = await life(line, 60)
    world.page(1, "A", 13, text=noise(13, 60)).page(1, "A", 14, text=noise(14, 60))
    world.revisions[12] = (2, world.revisions[12][1])
    await line.work(world, change(Cause.EDIT, "A", rev=14), change(Cause.MERGE, "A", "B"))
    watch.needles += slices(content(12, 60).encode())
    assert watch.found() == []
    assert digest(12, 60) not in json.dumps(await line.read())
    assert (await line.arrived())[1] == noise(14, 60)


async def test_a_merge_of_a_page_that_nobody_knows_is_nothing(line: Line) -> None:
    world = await life(line, 60)
    before = len(line.mutations)
    await line.work(world.page(3, "User:C", 30), change(Cause.MERGE, "User:D", "B"))
    assert line.kinds()[before:] == []


async def test_many_revisions_hidden_together_bring_the_text_once(line: Line) -> None:
    world = await life(line, 2_000)
    before = len(line.mutations)
    hide(hide(world, 10, TEXT), 11, TEXT)
    await line.work(world, change(Cause.VISIBILITY, "A", rev=10), change(Cause.VISIBILITY, "A", rev=11))
    assert line.kinds()[before:] == ["snapshot+gap"]
    await line.work(world.hide(10, TEXT | USER), change(Cause.VISIBILITY, "A", rev=10))  # more of it, but no more text
    assert line.kinds()[before:] == ["snapshot+gap", "redact"]
    await line.arrived()


async def test_an_edit_and_its_deletion_in_one_batch(line: Line, watch: Watch) -> None:
    """What is deleted is appended before its deletion, else there is nothing that could be erased by it."""
    world = await life(line, 60)
    gone = world.copy().delete(2)
    world.page(2, "B", 21, text=noise(21, 60))
    await asyncio.to_thread(line.settle, lambda now: world if now == line.now else gone, change(Cause.EDIT, "B", rev=21))
    await line.work(gone, change(Cause.EDIT, "A", rev=12), change(Cause.DELETE, "B", namespace=0))
    watch.needles += slices(noise(21, 60).encode())
    assert watch.found() == []
    await line.arrived()


async def test_an_evicted_text_is_fetched_before_the_old_one_is_erased(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    line = Line(folder=tmp_path / "all", store_bytes=1)
    world = await life(line, 2_000)
    assert not line.store.has_text(WIKI, 1)
    line.asked.clear()
    await line.work(hide(world, 10, TEXT), change(Cause.VISIBILITY, "A", rev=10))
    assert [question.rev_ids for question in line.asked] == [{10}, {12}]
    assert line.kinds()[-1] == "snapshot+gap"
    checker = Checker()
    checker.read(await line.read())
    assert [*checker.finish(), *checker.not_erased()] == []
    await line.shut()


# -- names and comments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "left"), [(USER, 1), (COMMENT, 0), (USER | COMMENT, None), (USER | 8, 1)])
@pytest.mark.parametrize("rev_id", [10, 12])
async def test_a_name_or_comment_hidden_later_goes_from_the_records_and_texts_stay(
    line: Line, watch: Watch, rev_id: int, bits: int, left: int | None
) -> None:
    world = await life(line, 60)  # so small that it is not packed: the names lie there as they are
    watch.of_record(rev_id, names=())
    both = names(rev_id)
    watch.needles += [name for place, name in enumerate(both) if place != left]
    shown = world.copy()
    await line.work(hide(world, rev_id, bits), change(Cause.VISIBILITY, "A", rev=rev_id))
    assert watch.found() == []
    records = [record["value"] for record in await line.read()]
    told = [value["attribution"] for value in records if value["revision"]["rev_id"] == rev_id]
    assert {one["editor"] for one in told} == {None if bits & USER else both[0].decode()}
    assert {one["comment"] for one in told} == {None if bits & COMMENT else both[1].decode()}
    assert not any(value.get("erased") for value in records)
    assert line.kinds()[-1] == "redact"
    assert (await line.arrived())[1] == content(12, 60)
    await line.work(shown, change(Cause.VISIBILITY, "A", rev=rev_id, claims=((rev_id, shown.revisions[rev_id][1].visibility),)))
    state = line.page(1)
    assert state
    assert state.attribution
    assert state.attribution.editor == "editor of 12"
