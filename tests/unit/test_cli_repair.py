"""``syncer repair``: pages by name, of a file, or all that the hub has of a wiki; what it says first, and when it is stopped."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from syncer.cli import repair
from syncer.cli.appending import AHEAD
from syncer.records import decode_change
from syncer.store import Store
from tests.command import Place, Said, told
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Said]

MANY = 120  # pages: three requests


@pytest.fixture
def known(place: Place) -> Place:
    """A hub that has many pages of a wiki, one of which is gone, and one of another."""
    asyncio.run(place.prepare())
    pages, other = Pages("testwiki", "test.wikipedia.org"), Pages("otherwiki", "other.wikipedia.org")
    with closing(Store(place.folder / "store.db", 10**6)) as store, store.folding():
        for page_id in range(1, MANY + 2):
            store.fold(pages.snapshot(page_id, f"Page {page_id}", b"text"))
        store.fold(pages.delete(50, "Page 50"))
        store.fold(other.snapshot(7, "Elsewhere", b"text"))
    return place


def appended(run: Run) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    changes = [decode_change(json.dumps(line["value"]).encode()) for line in run("journal", "read", "changes").lines]
    assert {(change.wiki_id, change.domain, change.cause.value) for change in changes} <= {
        ("testwiki", "test.wikipedia.org", "repair")
    }
    assert len({change.change_id for change in changes}) == len(changes)
    return sorted((change.titles, change.page_ids) for change in changes)


@pytest.mark.parametrize("name", ["pages.txt", "-"])
def test_pages_of_a_file(run: Run, known: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lines = "\ufeffPage 1\r\n\n  \nPage_2\n7\n Ünï code \n".encode()
    (known.folder / "pages.txt").write_bytes(lines)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines)))
    said = run("repair", "testwiki", "--file", name if name == "-" else str(known.folder / name))
    assert (said.code, said.out) == (0, b"4 appended to be read again\n")
    assert "4 pages: at least 1 requests" in said.err
    assert appended(run) == [((), (7,)), (("Page 1",), ()), (("Page 2",), ()), (("Ünï code",), ())]


def test_lines_that_are_no_pages_are_told_before_anything_is_appended(run: Run, known: Place) -> None:
    bad = [b"Page 1", b"a|b", b"", b"0", b"\xff", b"x" * 600, b"9" * 30, b"C#", b"tab\there", b"_"]
    (known.folder / "pages.txt").write_bytes(b"\n".join(bad))
    said = run("repair", "--wiki", "test.wikipedia.org", "--file", str(known.folder / "pages.txt"))
    assert said.code == 2
    for number, flaw in (
        (2, "has '|'"),
        (4, "is no"),
        (5, "is not UTF-8"),
        (6, "is longer"),
        (7, "is no"),
        (8, "has '#'"),
        (9, "has '\\t'"),
    ):
        assert f"line {number} {flaw}" in said.err
    assert "line 1 " not in said.err
    assert "line 3 " not in said.err
    assert "line 10 is empty" in said.err
    assert appended(run) == []


def test_of_many_bad_lines_some_are_told(run: Run, known: Place) -> None:
    (known.folder / "pages.txt").write_bytes(b"a|b\n" * 1000)
    said = run("repair", "testwiki", "--file", str(known.folder / "pages.txt"))
    assert said.code == 2
    assert said.err.count("line ") == 20
    assert "and more" in said.err


def test_all_that_the_hub_has_of_a_wiki(run: Run, known: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "READ_AT_ONCE", 50)
    said = run("repair", "--wiki", "testwiki", "--all-known", "--json", API__REQUESTS_PER_MINUTE="1")
    assert (said.code, said.lines) == (0, [{"appended": MANY}])
    assert f"{MANY} pages: at least 3 requests, 50 pages each; 3 min at api.requests_per_minute = 1" in said.err
    assert appended(run) == [((), (page_id,)) for page_id in range(1, MANY + 2) if page_id != 50]


def test_all_after_a_page(run: Run, known: Place) -> None:
    said = run("repair", "--wiki", "testwiki", "--all-known", "--after", "48")
    assert (said.code, said.out) == (0, b"72 appended to be read again\n")
    assert "72 pages: at least 2 requests" in said.err
    assert appended(run) == [((), (page_id,)) for page_id in (49, *range(51, MANY + 2))]


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--wiki", "testwiki"], ["testwiki"], ["testwiki", "A", "--all-known"], ["testwiki", "--file", "x", "--all-known"],
        ["testwiki", "A", "--file", "x"], ["testwiki", "A|B"], ["testwiki", "--file", "/nowhere/at/all"], ["--all-known"],
        ["testwiki", "A", "--after", "7"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_asked_for_has_to_be_clear(run: Run, known: Place, arguments: list[str]) -> None:
    assert run("repair", *arguments).code == 2
    assert appended(run) == []


def test_all_of_a_wiki_that_is_not_known_is_nothing(run: Run, known: Place) -> None:
    assert run("repair", "--wiki", "nowiki", "--all-known").code == 78


def test_who_interrupts_it_is_told_how_far_it_was(run: Run, known: Place) -> None:
    """Every page that it says stands there, and no more: no hub is at work, so only the first are appended."""
    with closing(Store(known.folder / "store.db", 10**6)) as store, store.folding():
        pages = Pages("testwiki", "test.wikipedia.org")
        for page_id in range(1000, 2_000):
            store.fold(pages.snapshot(page_id, f"Page {page_id}", b"text"))
    process = known.start("repair", "--wiki", "testwiki", "--all-known")
    assert process.stderr
    os.read(process.stderr.fileno(), 100)  # what it says first
    while len(run("journal", "read", "changes").lines) < AHEAD:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = told(process)
    assert said.code == 130
    assert "Traceback" not in said.err
    assert f"{AHEAD} of {MANY + 1000} were appended before that, the last of them page {1000 + AHEAD - MANY - 1}" in said.err
    assert appended(run)[-1] == ((), (1000 + AHEAD - MANY - 1,))
    assert len(appended(run)) == AHEAD
