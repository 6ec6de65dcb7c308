"""``syncer seed``: which pages of a dump are appended, and when none are."""

from __future__ import annotations

import asyncio
import bz2
import json
import signal
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from syncer.cli.appending import AHEAD
from syncer.model import SEED, Cause
from syncer.records import decode_change
from syncer.store import Store
from tests.command import Place, Said, told
from tests.dumped import dump, page
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from syncer.model import Change

    Run = Callable[..., Said]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A hub that has one page, and one that is gone."""
    made = Place(tmp_path, {"WIKI__DOMAINS": "wikipedia.org", "WIKI__NAMESPACES": "0,10"})
    asyncio.run(made.prepare())
    pages = Pages("testwiki", "test.wikipedia.org")
    with closing(Store(made.folder / "store.db", 10**6)) as store, store.folding():
        store.fold(pages.snapshot(1, "Known", b"text"))
        store.fold(pages.snapshot(2, "Gone", b"text"))
        store.fold(pages.delete(2, "Gone"))
    yield made
    made.clean_up()


def written(place: Place, *pages: str, name: str = "a.xml", **head: str) -> str:
    (place.folder / name).write_bytes(bz2.compress(dump(*pages, **head)) if name.endswith(".bz2") else dump(*pages, **head))
    return str(place.folder / name)


def appended(run: Run) -> list[Change]:
    return [decode_change(json.dumps(line["value"]).encode()) for line in run("journal", "read", "changes").lines]


PAGES = (
    page(1, "Known", "text", 3),
    page(2, "Gone", "text", 4),
    page(3, "New", "a secret text", 5),
    page(4, "Talk:New", "text", 6, namespace=1),
    page(5, "Template:New", None, 7, namespace=10),
    page(0, "No page", "text", 8),
)


def test_a_page_that_was_not_heard_of_is_to_be_read(run: Run, place: Place) -> None:
    """By its id, whatever it is called by now; nothing else of the dump goes anywhere."""
    said = run("seed", written(place, *PAGES), "--json")
    assert (said.code, said.lines) == (0, [{"read": 6, "appended": 2, "known": 2, "left_alone": 1, "bad_id": 1}])
    found = appended(run)
    assert [(change.page_ids, change.titles, change.rev_ids) for change in found] == [((3,), (), ()), ((5,), (), ())]
    assert {(change.wiki_id, change.domain, change.cause, change.source.stream) for change in found} == {
        ("testwiki", "test.wikipedia.org", Cause.RECONCILE, SEED)
    }
    assert len({change.change_id for change in found}) == 2
    assert "secret" not in run("journal", "read", "changes").out.decode()


def test_several_dumps_of_several_wikis(run: Run, place: Place) -> None:
    written(place, page(3, "New", "text", 5), name="a.xml")
    written(place, page(3, "Neu", "text", 5), name="b.xml.bz2", wiki="otherwiki", domain="other.wikipedia.org")
    said = run("seed", str(place.folder / "*.xml*"))
    assert (said.code, said.out) == (0, b"2 of 2 pages appended to be read, 1 requests\n")
    assert sorted(change.wiki_id for change in appended(run)) == ["otherwiki", "testwiki"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"WIKI__INCLUDE": "*.wikisource.org"}, "add it to wiki.include"),
        ({"WIKI__DOMAINS": "wikisource.org"}, "add it to wiki.domains"),
        ({"domain": "other.wikipedia.org"}, "it is at test.wikipedia.org"),
        ({"wiki": "misnamed"}, "that is testwiki"),
        ({"wiki": ""}, "does not say of which wiki"),
    ],
)
def test_what_the_hub_would_not_read_is_not_appended(run: Run, place: Place, settings: dict[str, str], why: str) -> None:
    head = {name: settings[name] for name in ("wiki", "domain") if name in settings}
    good, bad = written(place, page(3, "New", "text", 5)), written(place, page(3, "New", "text", 5), name="b.xml", **head)
    said = run("seed", good, bad, **{name: settings[name] for name in settings if name.isupper()})
    assert said.code == 78
    assert why in said.err
    assert appended(run) == []


@pytest.mark.parametrize(("gone", "told"), [("journal.db", "journal.url"), ("store.db", "store.path")])
def test_where_there_is_no_hub_none_is_made(run: Run, place: Place, gone: str, told: str) -> None:
    for each in place.folder.glob(f"{gone}*"):
        each.unlink()
    said = run("seed", written(place, *PAGES))
    assert said.code == 78
    assert told in said.err
    assert not (place.folder / gone).exists()


def test_a_broken_dump_ends_it_where_it_is_wrong(run: Run, place: Place) -> None:
    path = written(place, page(3, "New", "text", 5), page(4, "Newer", "text", 6))
    (place.folder / "cut.xml").write_bytes((place.folder / "a.xml").read_bytes()[:-60])
    said = run("seed", str(place.folder / "cut.xml"))
    assert said.code == 78
    assert "1 pages were appended before that" in said.err
    assert run("seed", path).code == 0
    assert run("seed", str(place.folder / "nowhere.xml")).code == 78


def test_who_interrupts_it_is_told_how_far_it_was(run: Run, place: Place) -> None:
    """No hub is at work, so only the first are appended."""
    path = written(place, *(page(number, f"Page {number}", "text", number) for number in range(100, 200 + AHEAD)))
    process = place.start("seed", path)
    while len(appended(run)) < AHEAD:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = told(process)
    assert said.code == 130
    assert f"{AHEAD} pages were appended before that" in said.err
    assert "Traceback" not in said.err
    assert len(appended(run)) == AHEAD
