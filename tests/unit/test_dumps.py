"""Dumps of every packing, whole, cut short and broken."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from syncer import dumps, extras
from syncer.errors import Misconfigured
from syncer.model import Visibility
from tests.dumped import dump, head_and_tail, page
from tests.mutations import sha1

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGES = [page(number, f"P {number}", f"text {number}\n" * 50, 100 + number) for number in range(1, 40)]


def many_streams(data: bytes) -> bytes:
    """As pages-articles-multistream: the head, portions of pages and the tail, each a stream of its own."""
    return b"".join(bz2.compress(data[at : at + 1000]) for at in range(0, len(data), 1000))


def seven(folder: Path, data: bytes) -> bytes:
    (folder / "inner.xml").write_bytes(data)
    subprocess.run(["bsdtar", "--format", "7zip", "-cf", folder / "made.7z", "-C", folder, "inner.xml"], check=True)
    return (folder / "made.7z").read_bytes()


PACKED: dict[str, Callable[[Path, bytes], bytes]] = {
    ".xml": lambda _, data: data,
    ".xml.gz": lambda _, data: gzip.compress(data),
    ".xml.bz2": lambda _, data: bz2.compress(data),
    "-multistream.xml.bz2": lambda _, data: many_streams(data),
    ".xml.xz": lambda _, data: lzma.compress(data),
    ".xml.7z": seven,
}


def written(folder: Path, ending: str, data: bytes) -> Path:
    path = folder / f"testwiki-20261102-pages-articles{ending}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("ending", PACKED)
def test_every_packing_is_read(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, ending, PACKED[ending](tmp_path, dump(*PAGES)))
    found = list(dumps.current(path))
    assert [one.page.title for one in found] == [f"P {number}" for number in range(1, 40)]
    assert [one.revision and one.revision.rev_id for one in found] == list(range(101, 140))
    assert [one.page.page_id for one in dumps.current(path, skip=37)] == [38, 39]
    assert dumps.site(path) == dumps.Site("testwiki", "https://test.wikipedia.org/wiki/Main_Page")
    assert found[-1].at <= path.stat().st_size


@pytest.mark.parametrize("ending", PACKED)
def test_what_was_cut_short_is_read_up_to_there_and_named(tmp_path: Path, ending: str) -> None:
    whole = dump(*(page(number, f"P {number}", os.urandom(3_000).hex(), 100 + number) for number in range(1, 40)))
    packed = PACKED[ending](tmp_path, whole)
    path = written(tmp_path, ending, packed[: len(packed) * 2 // 3])
    with pytest.raises(Misconfigured, match="pages-articles") as caught:
        list(dumps.current(path))
    assert "download it again" in (caught.value.hint or "")


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_streams_that_are_missing_are_missed(tmp_path: Path, cut: int) -> None:
    """Cut between two streams, a file unpacks without an error; that it is no whole XML is noticed."""
    data = dump(*PAGES)
    path = written(tmp_path, ".xml.bz2", many_streams(data[: len(data) // 1000 * 1000 - 1000 * cut]))
    with pytest.raises(Misconfigured, match="no element found"):
        list(dumps.current(path))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no element found"), (b"<html></html>", "<html>, not <mediawiki>"), (b"\x00\x01", "not well-formed"),
        (b"<mediawiki></mediawiki>", "siteinfo"), (b"<mediawiki><page/></mediawiki>", "siteinfo"),
        (dump(*PAGES).replace(b"<title>P 3<", b"<title>P 3<b>"), "pages-articles"),
        (dump(*PAGES).replace(b"text 7", b"\xff", 1), "not well-formed"),
        (dump(*PAGES).replace(b"<id>3</id>", b"<id>three</id>"), "three"),
        (dump(*PAGES).replace(b"<title>P 9<", b"<heading>P 9<").replace(b"P 9</title>", b"P 9</heading>"), "heading"),
        (dump(*PAGES).replace(b"2026-11-02T09", b"yesterday T09"), "pages-articles"),
    ],
)  # fmt: skip
def test_what_is_no_dump_is_named_with_what_is_wrong(tmp_path: Path, data: bytes, why: str) -> None:
    path = written(tmp_path, ".xml", data)
    with pytest.raises(Misconfigured, match=why) as caught:
        list(dumps.current(path))
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="No such file"):
        dumps.site(tmp_path / "nowhere.xml.bz2")


def test_packed_otherwise_than_its_name_says(tmp_path: Path) -> None:
    for ending in PACKED:
        if ending != ".xml":
            with pytest.raises(Misconfigured, match="testwiki"):
                dumps.site(written(tmp_path, ending, dump(*PAGES)))


def test_without_a_program_for_7z_it_is_said_which_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, ".xml.7z", seven(tmp_path, dump(*PAGES)))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="7zz, 7z, 7za, bsdtar") as caught:
        dumps.site(path)
    assert "apt-get install" in (caught.value.hint or "")


@pytest.mark.parametrize("ending", PACKED)
def test_who_has_seen_enough_leaves_nothing_behind(tmp_path: Path, ending: str) -> None:
    """A head is read of a file whose rest has been unpacked ahead, as far as that goes; then nobody unpacks any more."""
    pages = [page(number, f"P {number}", "some words " * 20_000, number) for number in range(1, 20)]
    path = written(tmp_path, ending, PACKED[ending](tmp_path, dump(*pages)))
    assert dumps.site(path).wiki_id == "testwiki"
    assert [thread.name for thread in threading.enumerate() if thread.name == "unpacking"] == []


def test_without_its_library_it_is_said_which_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mwxml", None)
    with pytest.raises(Misconfigured, match="mwxml is not installed") as caught:
        dumps.site(written(tmp_path, ".xml", dump()))
    assert "dumps" in (caught.value.hint or "")
    assert extras.NAME


def revision(folder: Path, *pages: str) -> Any:
    (found,) = dumps.current(written(folder, ".xml", dump(*pages)))
    assert found.revision
    return found.revision


def test_a_revision(tmp_path: Path) -> None:
    found = revision(tmp_path, page(7, "A", "é & <b>\n", 12))
    assert found._replace(sha1=None) == dumps.Revision(
        12, 11, "2026-11-02T09:00:00Z", "Ada", "a comment", False, "wikitext", "é & <b>\n", None, 9, Visibility()
    )
    assert found.sha1 == sha1("é & <b>\n".encode())
    anonymous = "<contributor><ip>192.0.2.1</ip></contributor><minor />"
    found = revision(tmp_path, page(7, "A", "", 12, parts=anonymous, model="json"))
    assert (found.user, found.comment, found.minor, found.model) == ("192.0.2.1", None, True, "json")
    assert (found.text, found.sha1) == ("", sha1(b""))


def test_what_is_hidden_is_not_there(tmp_path: Path) -> None:
    hidden = '<contributor deleted="deleted" /><comment deleted="deleted" />'
    found = revision(tmp_path, page(7, "A", None, 12, parts=hidden))
    assert (found.text, found.sha1, found.user, found.comment) == (None, None, None, None)
    assert found.visibility == Visibility(text=False, user=False, comment=False)
    found = revision(tmp_path, page(7, "A", "seen", 12, parts=hidden))
    assert (found.text, found.visibility) == ("seen", Visibility(user=False, comment=False))


def test_titles_have_their_prefix_and_spaces(tmp_path: Path) -> None:
    old = page(3, "User talk:X", "t", 5).replace("<ns>0</ns>", "")
    pages = page(1, "Talk:A b", "t", 3, namespace=1), page(2, "User:X", "t", 4, namespace=2, redirect="Y"), old
    found = [one.page for one in dumps.current(written(tmp_path, ".xml", dump(*pages)))]
    assert [(one.title, one.namespace, one.is_redirect) for one in found] == [
        ("Talk:A b", 1, False), ("User:X", 2, True), ("User talk:X", 0, False),
    ]  # fmt: skip
    old = page(3, "User:X_y", "t", 5).replace("<ns>0</ns>", "")
    (one,) = dumps.current(written(tmp_path, ".xml", dump(old)))
    assert (one.page.title, one.page.namespace) == ("User:X y", 2)


def test_of_several_slots_the_main_one_counts(tmp_path: Path) -> None:
    slot = '<content><role>mediainfo</role><origin>1</origin><model>x</model><text bytes="2">{}</text></content>'
    found = revision(tmp_path, page(1, "File:A", "main", 3, namespace=6).replace("<sha1>", f"{slot}<sha1>z"))
    assert (found.text, found.sha1) == ("main", sha1(b"main"))


def test_a_hash_that_is_none_is_not_there(tmp_path: Path) -> None:
    assert revision(tmp_path, page(1, "A", "t", 3, sha1="!")).sha1 is None
    assert revision(tmp_path, page(1, "A", "t", 3, sha1="")).sha1 is None


def test_of_histories_nothing_says_which_revision_is_current(tmp_path: Path) -> None:
    one = page(1, "A", "t", 3)
    begin, end = one.index("<revision>"), one.index("</revision>") + len("</revision>")
    with pytest.raises(Misconfigured, match="A has more than one revision") as caught:
        list(dumps.current(written(tmp_path, ".xml", dump(one[:end] + one[begin:]))))
    assert "pages-meta-current" in (caught.value.hint or "")


def test_a_page_without_a_revision(tmp_path: Path) -> None:
    bare = page(1, "A", "t", 3)
    bare = bare[: bare.index("    <revision>")] + "  </page>\n"
    first, second = dumps.current(written(tmp_path, ".xml", dump(bare, PAGES[0])))
    assert (first.page.title, first.revision) == ("A", None)
    assert second.revision


@pytest.mark.parametrize(
    ("main_page", "link"),
    [
        ("https://en.wikipedia.org/wiki/Main_Page", "https://en.wikipedia.org/wiki/Talk:%C3%84_b/c?oldid=5"),
        ("http://127.0.0.1/index.php/Main_Page", "http://127.0.0.1/index.php/Talk:%C3%84_b/c?oldid=5"),
        ("http://w.org/index.php?title=Main_Page", "http://w.org/index.php?title=Talk:%C3%84_b/c&oldid=5"),
    ],
)
def test_a_permalink_is_formed_as_the_main_page_is(main_page: str, link: str) -> None:
    assert dumps.Site("w", main_page).permalink("Talk:Ä b/c", 5) == link


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("enwiki-20261101-pages-articles1.xml-p1p41242.bz2", "2026-11-01"),
        ("enwiki-2026-11-01-p1p41242.xml.bz2", "2026-11-01"),
        ("enwiki-latest-pages-articles.xml.bz2", None), ("dump.xml", None), ("w-20269901123.xml", None),
    ],
)  # fmt: skip
def test_the_name_of_a_dump_says_when_it_was_begun(tmp_path: Path, name: str, day: str | None) -> None:
    assert dumps.dumped(tmp_path / name) == day


def test_a_long_dump_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / "long.xml"
        with path.open("wb") as file:
            file.writelines(head_and_tail("testwiki", "test.wikipedia.org", (PAGES[number % 30] for number in range(count))))
        tracemalloc.start()
        assert sum(1 for _ in dumps.current(path)) == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(2000) < peak(200) + 50_000


def test_what_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "MOST", 1_000_000)
    path = written(tmp_path, ".xml.bz2", bz2.compress(dump(PAGES[0], page(2, "B", "0" * 3_000_000, 5))))
    read = dumps.current(path)
    assert next(read).page.page_id == 1
    with pytest.raises(Misconfigured, match="without an end"):
        list(read)
    assert len(list(dumps.current(written(tmp_path, ".xml", dump(*PAGES * 40))))) == 40 * len(PAGES)
