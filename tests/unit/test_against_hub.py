"""A mirror against what the journal states: everything that is wrong with it is found, nothing else, and healed where asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from syncer.config import JournalSettings, MirrorSettings
from syncer.journal import partition_of
from syncer.mirror import Mirror, against_hub
from syncer.mirror.against_hub import Sample, Stated, compare, doubt, suspect
from syncer.mirror.reading import verify
from syncer.model import Prior, Redacted
from syncer.store import Store
from tests.following import follow, publish, record
from tests.mutations import HIDDEN, Pages, moved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from syncer.journal.sqlite import SqliteJournal
    from tests.command import Place, Said

ALL = MirrorSettings()


async def some(journal: SqliteJournal, pages: Pages) -> None:
    """Pages 1 to 6: edited, hidden, deleted, moved, one at the title that the moved one left, and one more."""
    await publish(journal, *(pages.snapshot(number, f"P{number}", b"one of %d" % number) for number in range(1, 5)))
    await publish(journal, pages.patch(1, "P1", b"two of 1"), pages.snapshot(2, "P2", None), pages.delete(3, "P3"))
    await publish(journal, moved(pages.patch(4, "Moved", b"one of 4"), Prior("P4")), pages.snapshot(5, "P4", b"one of 5"))
    await publish(journal, pages.snapshot(6, "P6", b"one of 6"), pages.redact(6, "P6", Redacted(7, HIDDEN)))


async def found(journal: SqliteJournal, store: Store, settings: MirrorSettings = ALL) -> dict[int, str]:
    """What is wrong, by page id."""
    compared = await compare(journal, store, settings, None)
    assert compared.counts.total() - compared.counts["equal"] == len(compared.wrong)
    return {one.page[1]: one.reason for one in compared.wrong}


async def test_a_mirror_that_has_everything_is_equal(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(journal, store)
    compared = await compare(journal, store, ALL, None)
    assert (compared.counts, compared.wrong) == (Counter(equal=6), [])


HARMS: dict[str, tuple[int, str, str]] = {
    "a page is missing": (1, "missing", "DELETE FROM pages WHERE page_id = 1"),
    "an old revision": (1, "other", "UPDATE pages SET seq = 1 WHERE page_id = 1"),
    "another title": (1, "other", "UPDATE pages SET title = 'Else' WHERE page_id = 1"),
    "no title, though nobody has taken it": (1, "other", "UPDATE pages SET title = NULL WHERE page_id = 1"),
    "a text is gone": (6, "text", "DELETE FROM texts WHERE id = (SELECT id FROM pages WHERE page_id = 6)"),
    "a text diverged": (6, "text", "UPDATE pages SET diverged = 'why' WHERE page_id = 6"),
    "what was deleted is back": (3, "there", "UPDATE pages SET live = 1, facts = NULL WHERE page_id = 3"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
async def test_whatever_is_wrong_is_found_marked_and_asked_for(
    journal: SqliteJournal, store: Store, pages: Pages, harm: str
) -> None:
    page_id, reason, sql = HARMS[harm]
    await some(journal, pages)
    await follow(journal, store)
    for statement in sql.split(";"):
        store._db.execute(statement)
    (wrong,) = (await compare(journal, store, ALL, None)).wrong
    assert (wrong.page, wrong.reason) == (("testwiki", page_id), reason)
    assert await doubt(journal, store, ALL, wrong)
    if reason == "there":
        assert await found(journal, store) == {}
        return
    assert [page for _, page, _ in store.diverged()] == [page_id]
    follower = await follow(journal, store)
    assert follower.requests.asked == 1
    await publish(journal, pages.snapshot(page_id, f"P{page_id}", b"healed"))
    await follow(journal, store)
    assert await found(journal, store) == {}
    assert store.text("testwiki", page_id) == b"healed"


async def test_a_page_that_lost_its_title_does_not_take_it_back_when_it_is_doubted(
    journal: SqliteJournal, store: Store, pages: Pages
) -> None:
    await publish(journal, pages.snapshot(1, "T", b"first"), pages.snapshot(2, "T", b"second"))
    await follow(journal, store)
    assert await found(journal, store) == {}
    store._db.execute("UPDATE pages SET seq = 9 WHERE page_id = 1")
    (wrong,) = (await compare(journal, store, ALL, None)).wrong
    assert await doubt(journal, store, ALL, wrong)
    (first, second) = (store.page("testwiki", page_id) for page_id in (1, 2))
    assert first
    assert second
    assert (first.title, second.title) == (None, "T")


async def test_what_it_has_not_read_yet_is_not_held_against_it(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(journal, store)
    await publish(journal, pages.patch(1, "P1", b"three of 1"), pages.delete(6, "P6"), pages.snapshot(7, "P7", b"seven"))
    assert await found(journal, store) == {}


@pytest.mark.parametrize("most", [None, 3])
async def test_one_that_reads_on_meanwhile_is_compared_with_what_it_has_read(
    journal: SqliteJournal, store: Store, pages: Pages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, most: int | None
) -> None:
    monkeypatch.setattr(against_hub, "AT_ONCE", 1)
    await some(journal, pages)
    await follow(journal, store)
    later = [pages.patch(1, "P1", b"three of 1"), pages.patch(1, "P1", b"four of 1")]
    later += [pages.snapshot(number, f"P{number}", b"new") for number in range(7, 31)]  # in no sample any more
    with closing(Store(tmp_path / "mirror.db")) as other:
        reading, store.reading = store.reading, None  # type: ignore[method-assign,assignment]

        def behind() -> Any:
            if later:
                mutation = later.pop(0)
                with other.folding():
                    other.fold(mutation)
                    other.advance(*steps.pop(0))
            return reading()

        steps = []
        for mutation in later:
            (offset,) = await journal.commit([record(mutation)])
            steps.append((record(mutation).partition, offset + 1))
        store.reading = behind  # type: ignore[method-assign]
        compared = await compare(journal, store, ALL, most)
    assert compared.wrong == []
    assert compared.counts == Counter(equal=most or 6)


async def test_what_moved_on_since_it_was_compared_is_left_alone(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await some(journal, pages)
    await follow(journal, store)
    store._db.execute("UPDATE pages SET diverged = 'why' WHERE page_id = 6")
    (wrong,) = (await compare(journal, store, ALL, None)).wrong
    await publish(journal, pages.snapshot(6, "P6", b"healed"))
    await follow(journal, store)
    assert not await doubt(journal, store, ALL, wrong)
    assert store.diverged() == []


@pytest.mark.parametrize(
    ("scope", "equal"),
    [({"wikis": ("dewiki",)}, 0), ({"namespaces": (1,)}, 0), ({"wikis": ("test*",), "namespaces": (0,)}, 6)],
    ids=str,
)
async def test_what_it_does_not_take_it_need_not_have(
    journal: SqliteJournal, store: Store, pages: Pages, scope: dict[str, Any], equal: int
) -> None:
    settings = MirrorSettings(**scope)
    await some(journal, pages)
    await Mirror(journal, store, settings).run(asyncio.Event(), 0.02)
    compared = await compare(journal, store, settings, None)
    assert (compared.counts["equal"], compared.wrong) == (equal, [])


async def test_a_sample_finds_missing_pages_as_well_as_others(journal: SqliteJournal, store: Store) -> None:
    for number in range(6):
        made = Pages(f"wiki{number}")
        await publish(journal, *(made.snapshot(page, f"P{page}", b"x") for page in range(1, 51)))
    await follow(journal, store)
    store._db.execute("DELETE FROM pages WHERE page_id % 2")
    compared = await compare(journal, store, ALL, 60)
    assert compared.counts.total() == 60
    assert 10 < compared.counts["missing"] < 50
    assert (await compare(journal, store, ALL, 1000)).counts == Counter(missing=150, equal=150)


def test_every_page_is_as_likely_to_be_in_a_sample_and_is_there_with_its_last_statement() -> None:
    chance, counts = Random(1), Counter[int]()
    for _ in range(300):
        sample, last = Sample(10, chance.randbytes(16)), {}
        for seq in range(200):
            page_id = chance.randrange(40)
            last[page_id] = seq
            sample.take(("w", page_id), Stated(seq, seq, "T", None))
        assert len(sample.stated) == 10
        assert {page: stated.seq for (_, page), stated in sample.stated.items()}.items() <= last.items()
        counts.update(page for _, page in sample.stated)
    assert len(counts) == 40
    assert all(40 < count < 115 for count in counts.values()), counts  # 75 each


async def test_a_text_that_went_wrong_is_marked_once_and_not_when_it_is_well_again(
    journal: SqliteJournal, store: Store, pages: Pages
) -> None:
    await some(journal, pages)
    await follow(journal, store)
    row = store._db.execute("SELECT id FROM pages WHERE page_id = 6").fetchone()[0]
    store._write_text(row, b"somebody else's")
    (fault,) = [fault for fault in verify(store) if fault]
    assert suspect(store, fault)
    assert store.text("testwiki", 6) is None
    await publish(journal, pages.snapshot(6, "P6", b"well"))
    await follow(journal, store)
    assert not suspect(store, fault)
    assert store.diverged() == []


# -- the command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heal", [False, True])
def test_the_command_tells_what_it_found_and_has_it_healed(place: Place, run: Callable[..., Said], *, heal: bool) -> None:
    pages = Pages()
    made = [record(pages.snapshot(number, f"P{number}", b"one of %d" % number)) for number in range(1, 5)]
    part = partition_of("testwiki", JournalSettings().partitions)
    asyncio.run(place.prepare(*(replace(one, partition=part) for one in made)))
    assert run("mirror", "follow", "--until-idle", "0.1").code == 0
    said = run("mirror", "verify", "--against-hub", "all")
    assert (said.code, said.out) == (0, b"4 pages, 0 not as announced\nagainst the journal: 4 equal\n")
    with closing(Store(place.folder / "mirror.db")) as store:
        store._db.execute("DELETE FROM pages WHERE page_id = 1")
        store._db.execute("DELETE FROM texts WHERE id = 2")
    said = run("mirror", "verify", "--against-hub", "all", *["--heal"] * heal, "--json", MIRROR__HEAL="hub")
    (line,) = said.lines
    assert said.code == 1
    assert line["against_hub"] == {"missing": 1, "text": 1, "equal": 2}
    assert sorted((one["page_id"], one["reason"]) for one in line["wrong"]) == [(1, "missing"), (2, "text")]
    assert line["to_be_healed"] == 2 * heal
    with closing(Store(place.folder / "mirror.db")) as store:
        assert sorted(page for _, page, _ in store.diverged()) == ([1, 2] if heal else [])
    told = run("mirror", "verify", "--against-hub", "2", *["--heal"] * heal, MIRROR__HEAL="hub")
    assert b"against the journal: " in told.out
    assert (b"pages to be healed while the mirror follows" in told.out) == heal


@pytest.mark.parametrize("value", ["0", "-1", "some", ""])
def test_a_number_of_pages_is_one(run: Callable[..., Said], value: str) -> None:
    said = run("mirror", "verify", f"--against-hub={value}")
    assert said.code == 2
    assert "--against-hub" in said.err or "neither a number" in said.err


def test_what_is_not_to_be_healed_is_not_said_to_be(run: Callable[..., Said]) -> None:
    said = run("mirror", "verify", "--heal", MIRROR__HEAL="off")
    assert said.code == 78
    assert "mirror.heal is off" in said.err
