"""The farm: the same every time, consistent whatever is done to it, and true to what it says."""

from __future__ import annotations

import gzip
import itertools
import json
import lzma
import unicodedata
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncer.demo.actions import WEIGHTS, Workload, drive
from syncer.demo.events import base36
from syncer.demo.farm import Farm
from syncer.demo.history import Replay, read
from syncer.demo.past import Past
from syncer.demo.query import answer, json_string
from syncer.demo.selection import View
from syncer.demo.sites import SITES, BadTitle, OtherWiki, Site, Title
from syncer.demo.state import WikiRefuses
from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from syncer.demo.wiki import Wiki

START = 1_800_000_000.0
TEST = Site(wiki_id="testwiki", domain="test.wikipedia.org")


def clock() -> Callable[[], float]:
    """Time that passes a hundredth of a second with every look at it."""
    return itertools.count(START, 0.01).__next__


def busy(steps: int, *, pages: int = 60, seed: int = 1) -> Farm:
    """A farm after so many random actions."""
    farm = Farm(pages=pages, seed=seed, clock=clock())
    workload = Workload(farm, seed=seed)
    for _ in range(steps):
        workload.step()
    return farm


def events_of(farm: Farm) -> Iterator[dict[str, Any]]:
    """Everything on the log."""
    for partition in farm.log.partitions.values():
        for record in partition.read(partition.base, partition.end):
            yield orjson.loads(record.data)


@pytest.fixture
def wiki() -> Wiki:
    """An empty wiki."""
    return Farm([TEST], clock=clock())["testwiki"]


def test_the_same_seed_and_clock_give_the_same_farm_and_the_same_events() -> None:
    one, same, other = busy(150), busy(150), busy(150, seed=2)
    assert list(one.export()) == list(same.export())
    assert list(events_of(one)) == list(events_of(same))
    assert list(one.export()) != list(other.export())


def test_a_farm_begins_old_and_quiet_with_texts_of_real_sizes() -> None:
    farm = Farm(pages=300)
    sizes = [len(page["text"].encode()) for page in farm.export()]
    assert 5_000 < median(sizes) < 13_000
    assert any(size > 100_000 for size in sizes)
    assert list(farm.export(touched=True)) == []
    assert list(events_of(farm)) == []
    assert {page["wiki_id"] for page in farm.export()} == {site.wiki_id for site in SITES}
    letters = set("".join(page["text"] for page in farm.export()))
    scripts = {name.split()[0] for letter in letters if (name := unicodedata.name(letter, ""))}
    assert scripts >= {"LATIN", "CYRILLIC", "CJK", "HIRAGANA", "DEVANAGARI", "ARABIC", "COMBINING"}
    assert letters >= {"\u2028", "\u200d", "\u200e", "\U0001f600"}


def test_a_thousand_actions_leave_every_wiki_consistent() -> None:
    for wiki in busy(1_000).wikis.values():
        assert {page.title.text: page_id for page_id, page in wiki.pages.items()} == dict(wiki.titles)
        assert sorted(rev_id for history in wiki.history.values() for rev_id in history) == sorted(wiki.revs)
        for page_id, page in wiki.pages.items():
            history = [wiki.revs[rev_id] for rev_id in wiki.history[page_id]]
            assert page.latest in wiki.history[page_id]
            assert all(rev.page_id == page_id for rev in history)
            assert [rev.timestamp for rev in history] == sorted(rev.timestamp for rev in history)
            assert page.redirect == wiki.leads_to(wiki.latest(page))
        deleted = {one.rev.rev_id for lying in wiki.archive.values() for one in lying}
        assert not deleted & set(wiki.revs)


def test_every_action_is_seen_within_a_few_thousand() -> None:
    workload = Workload(Farm(pages=60, clock=clock()), seed=4)
    seen = Counter(workload.step().action for _ in range(3_000))
    assert set(seen) == {action.strip("_") for action in WEIGHTS}


def mirrored(farm: Farm, streams: Iterable[str]) -> dict[tuple[str, int], Any]:
    """What a reader has who asks again for everything that events name, and for nothing else."""
    pages: dict[tuple[str, int], Any] = {}
    for event in events_of(farm):
        wiki = farm.wikis.get(str(event.get("wiki") or event.get("wiki_id") or event.get("database")))
        if event["meta"]["stream"].removeprefix("mediawiki.") not in streams or not wiki:
            continue
        params = event.get("log_params")
        named = [event.get("title"), *(params.values() if isinstance(params, dict) else ())]
        entity = event.get("page", event)
        asked = [wiki.titles.get(title) for title in named if isinstance(title, str)] + [entity.get("page_id")]
        rev = wiki.revs.get(event.get("rev_id", 0))
        for page_id in [*asked, rev.page_id if rev else None, event.get("created_redirect_page", {}).get("page_id")]:
            if page := wiki.pages.get(page_id or 0):
                pages[wiki.site.wiki_id, page.page_id] = (page.title.text, page.latest)
    return pages


@pytest.mark.parametrize(
    "streams",
    [
        {"recentchange", "page_change.v1", "revision-visibility-change"},
        {"recentchange"},
        {"page_change.v1", "revision-create"},
    ],
)
def test_reading_again_what_events_name_finds_every_page_that_changed(streams: set[str]) -> None:
    farm = busy(1_500, seed=7)
    truth = {(page["wiki_id"], page["page_id"]): (page["title"], page["rev_id"]) for page in farm.export(touched=True)}
    found = mirrored(farm, streams)
    assert {key: found.get(key) for key in truth} == truth


def test_every_page_that_is_gone_is_named() -> None:
    farm = busy(1_500, seed=7)
    titles, ids = set(), set()
    for event in events_of(farm):
        titles.add((event.get("wiki"), event.get("title")))
        ids.add((event.get("wiki_id"), event.get("page", {}).get("page_id")))
    for wiki_id, wiki in farm.wikis.items():
        gone = {one.page_id: title for title, lying in wiki.archive.items() for one in lying if one.page_id not in wiki.pages}
        secret = {one.page_id for lying in wiki.archive.values() for one in lying if one.rev.hidden == 15}
        assert {(wiki_id, page_id) for page_id in gone} <= ids
        assert {(wiki_id, title) for page_id, title in gone.items() if page_id not in secret} <= titles


def test_page_change_alone_misses_what_it_is_silent_about() -> None:
    farm = busy(600, pages=500, seed=7)
    found = mirrored(farm, {"page_change.v1"})
    assert any((page["wiki_id"], page["page_id"]) not in found for page in farm.export(touched=True))


def test_export_tells_what_everybody_may_see(wiki: Wiki) -> None:
    wiki.edit("User:A b", "one")
    rev = wiki.edit("User:A b", "#REDIRECT [[B]]")
    assert rev
    farm_line = {
        "wiki_id": "testwiki", "page_id": 1, "title": "User:A b", "namespace": 2, "rev_id": 2,
        "timestamp": "2027-01-15T08:00:00Z", "content_model": "wikitext", "is_redirect": True,
    }  # fmt: skip
    farm = Farm([])
    farm.wikis["testwiki"] = wiki
    assert list(farm.export()) == [{**farm_line, "sha1": rev.sha1, "text": "#REDIRECT [[B]]"}]
    wiki.hide([rev.rev_id], 1, current=True)
    assert list(farm.export()) == [{**farm_line, "sha1": None, "text": None}]


def test_a_page_is_touched_when_it_is_something_else_than_before(wiki: Wiki) -> None:
    revs = [rev for n in range(2) if (rev := wiki.edit("A", f"text {n}"))]
    wiki.edit("B", "one")
    wiki.settle()
    wiki.hide([revs[0].rev_id], 7)
    assert wiki.touched == set()
    wiki.hide([revs[1].rev_id], 6)
    wiki.move("B", "C", redirect=False)
    assert wiki.touched == {1, 2}


def test_a_wiki_refuses_what_mediawiki_refuses(wiki: Wiki) -> None:
    wiki.edit("A", "one")
    rev = wiki.edit("A", "two")
    wiki.edit("B", "one")
    assert rev
    refusals: dict[str, Callable[[], object]] = {
        "missingtitle": lambda: wiki.delete("C"),
        "invalidtitle": lambda: wiki.edit("Special:X", "x"),
        "articleexists": lambda: wiki.move("A", "B"),
        "selfmove": lambda: wiki.move("A", "A"),
        "contenttoobig": lambda: wiki.edit("A", "x" * (2**21 + 1)),
        "revdelete-hide-current": lambda: wiki.hide([rev.rev_id], 1),
        "cantundelete": lambda: wiki.undelete("A"),
        "mergehistory-fail-timestamps-overlap": lambda: wiki.merge("A", "A"),
    }
    for code, action in refusals.items():
        with pytest.raises(WikiRefuses) as refused:
            action()
        assert refused.value.code == code
    wiki.delete("A", suppress=True)
    with pytest.raises(WikiRefuses, match="undeleterevdel"):
        wiki.undelete("A")
    wiki.undelete("A", unsuppress=True)
    assert not any(one.hidden for one in wiki.revisions("A"))


def test_a_suppressed_page_leaves_recentchange_silent(wiki: Wiki) -> None:
    wiki.edit("A", "one")
    before = wiki._log.published.copy()
    wiki.delete("A", suppress=True)
    said = {stream: count - before[stream] for stream, count in wiki._log.published.items()}
    assert said["mediawiki.recentchange"] == said["mediawiki.revision-create"] == 0
    assert said["mediawiki.page_change.v1"] == 1


@given(st.text())
def test_a_text_is_escaped_as_json(text: str) -> None:
    assert orjson.loads(json_string(text.encode())) == text


def ask(wiki: Wiki, as_of: float | None = None, **params: str) -> dict[str, Any]:
    """What the API says of one thing."""
    usual = {"prop": "revisions|info", "rvslots": "main", "rvprop": "ids|content|sha1|slotsha1"}
    said: dict[str, Any] = orjson.loads(orjson.dumps(answer(View(wiki, as_of), usual | params, 10**7)))["query"]
    return said


def test_a_lagging_replica_answers_from_before(wiki: Wiki) -> None:
    old, new = wiki.edit("A", "one"), wiki.edit("A", "two")
    assert old
    assert new
    then = wiki.clock()
    late = wiki.edit("A", "three")
    wiki.move("A", "B", redirect=False)
    wiki.hide([old.rev_id], 1)
    assert late
    assert ask(wiki, then, titles="A")["pages"][0]["lastrevid"] == new.rev_id
    assert ask(wiki, then, titles="B")["pages"][0]["missing"]
    assert ask(wiki, then, pageids="1")["pages"][0]["title"] == "A"
    assert ask(wiki, then, revids=str(late.rev_id)).keys() == {"badrevids"}
    assert "content" in ask(wiki, then, revids=str(old.rev_id))["pages"][0]["revisions"][0]["slots"]["main"]
    assert ask(wiki, titles="A")["pages"][0]["missing"]
    assert ask(wiki, revids=str(late.rev_id))["pages"][0]["title"] == "B"
    assert "texthidden" in ask(wiki, revids=str(old.rev_id))["pages"][0]["revisions"][0]["slots"]["main"]


def test_the_past_is_forgotten_beyond_its_horizon() -> None:
    now = [0.0]
    past: Past[str, int] = Past(lambda: now[0], horizon=10)
    for moment in range(5):
        now[0] = moment * 4.0
        past["a"] = moment
    assert [past.at("a", at) for at in (6.0, 9.0, 13.0, 17.0, None)] == [1, 2, 3, 4, 4]
    del past["a"]
    assert (past.at("a", 15.9), past.at("a", None)) == (3, None)
    now[0] = 100.0
    past["b"] = 1
    assert past._before.keys() == {"b"}


def test_flaws_of_the_storage_show_in_the_answer(wiki: Wiki) -> None:
    rev = wiki.edit("A", "one")
    assert rev
    shown = {}
    for flaw in ("textmissing", "slotsmissing", "wronghash", "secondslot", None):
        wiki.spoil(rev.rev_id, flaw)
        shown[flaw] = ask(wiki, revids=str(rev.rev_id))["pages"][0]["revisions"][0]
    whole = {"sha1": rev.sha1, "contentmodel": "wikitext", "contentformat": "text/x-wiki", "content": "one"}
    wrong = rev.sha1[::-1]
    assert shown["textmissing"]["slots"]["main"] == {"sha1": rev.sha1, "contentmodel": "wikitext", "textmissing": True}
    assert shown["slotsmissing"]["slotsmissing"]
    assert "slots" not in shown["slotsmissing"]
    assert (shown["wronghash"]["sha1"], shown["wronghash"]["slots"]["main"]) == (wrong, {**whole, "sha1": wrong})
    assert (shown["secondslot"]["sha1"], shown["secondslot"]["slots"]["main"]) == (wrong, whole)
    assert (shown[None]["sha1"], shown[None]["slots"]["main"]) == (rev.sha1, whole)


def test_hashes_are_written_in_base_36() -> None:
    assert int(base36("0" * 39 + "f"), 36) == 15
    assert len(base36("0" * 40)) == len(base36("f" * 40)) == 31


@pytest.mark.parametrize(
    ("wiki_id", "raw", "read_as"),
    [
        ("enwiki", "_main_page #top", Title(0, "Main page")),
        ("enwiki", "user TALK:x", Title(3, "User talk:X")),
        ("enwiki", "Wikipedia:x", Title(4, "Wikipedia:X")),
        ("enwiki", "project:x", Title(4, "Wikipedia:X")),
        ("enwiki", "Image:a.png", Title(6, "File:A.png")),
        ("enwiki", "mw:x", OtherWiki("mw")),
        ("enwiki", "straße", Title(0, "Straße")),
        ("enwiki", "ßa", Title(0, "ßa")),
        ("dewiki", "Benutzer Diskussion:x", Title(3, "Benutzer Diskussion:X")),
        ("dewiki", "User_talk:x", Title(3, "Benutzer Diskussion:X")),
        ("ruwiki", "шаблон:карта", Title(10, "Шаблон:Карта")),
        ("jawiki", "ノート:本", Title(1, "ノート:本")),
        ("arwiki", "قالب:x", Title(10, "قالب:X")),
        ("enwiki", "e\u0301a", Title(0, "Éa")),
    ],
)
def test_titles_are_read_as_each_wiki_reads_them(wiki_id: str, raw: str, read_as: Title | OtherWiki) -> None:
    assert next(site for site in SITES if site.wiki_id == wiki_id).read(raw) == read_as


@pytest.mark.parametrize("raw", ["", "#x", "Talk:", "a[b", "a%20b", "a\nb", "&amp;", "a/./b", "~~~", "é" * 128, "Talk:User:x"])
def test_some_texts_are_no_title(raw: str) -> None:
    with pytest.raises(BadTitle):
        SITES[0].read(raw)


async def test_a_workload_is_driven_at_a_rate() -> None:
    told: list[Any] = []
    assert await drive(Workload(Farm(pages=20)), rate=2_000, count=20, told=told.append) == len(told) == 20


LINE = {
    "wiki": "chwiki", "page_id": 1, "title": "Muna'sesetbi:X", "ns": 2, "rev_id": 5, "parent_id": 0,
    "timestamp": "2004-08-06T14:55:33Z", "sha1": "x", "model": "wikitext", "minor": True, "comment": None, "text": "one",
}  # fmt: skip


@pytest.mark.parametrize(("ending", "pack"), [("jsonl", bytes), ("jsonl.gz", gzip.compress), ("jsonl.xz", lzma.compress)])
def test_a_history_is_replayed_in_the_order_of_its_time(tmp_path: Path, ending: str, pack: Any) -> None:
    lines = [
        {**LINE, "text": "two", "timestamp": "2005-01-01T00:00:00Z"}, LINE,
        {**LINE, "text": "two", "timestamp": "2005-01-02T00:00:00Z"}, {**LINE, "text": None, "timestamp": "2006-01-01T00:00:00Z"},
        {**LINE, "title": "bad[title", "ns": 0, "timestamp": "2006-01-01T00:00:00Z"},
    ]  # fmt: skip
    path = tmp_path / f"history.{ending}"
    path.write_bytes(pack("\n".join(map(json.dumps, lines)).encode()))
    farm = Farm([], clock=clock())
    replay = Replay(farm, path)
    done = []
    while step := replay.step():
        done.append(step)
    assert [step.title for step in done] == ["Muna'sesetbi:X"] * 3
    assert farm["chwiki"].site.domain == "ch.wikipedia.org"
    assert [rev.text for rev in farm["chwiki"].revisions("User:X")][:2] == [b"one", b"two"]
    (page,) = farm.export()
    assert (page["title"], page["namespace"], page["text"]) == ("Muna'sesetbi:X", 2, None)
    assert SITES[0].namespaces[2] == "User"


XML = b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de"><siteinfo>'


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("nowhere.xml", None, "No such file"), ("words.jsonl", b"words", "line 1"), ("list.jsonl", b"[1]", "no revision"),
        ("pairs.jsonl", b'{"wiki": "enwiki", "old_text": "x"}', "without title"),
        ("types.jsonl", json.dumps({**LINE, "ns": "2"}).encode(), "without ns"), ("latin.jsonl", b'{"wiki": "\xff"}', "line 1"),
        ("half.xml", XML, "no element found"), ("page.xml", b"<html></html>", "page.xml"),
        ("half.xml.gz", gzip.compress(XML)[:50], "ended"), ("plain.xml.xz", XML, "not supported"),
        ("nothing.jsonl", b"", "holds no revision"),
    ],
)  # fmt: skip
def test_what_is_no_history_is_named_with_what_would_be_one(tmp_path: Path, name: str, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Misconfigured, match=why) as caught:
        Replay(Farm([]), tmp_path / name)
    assert name in str(caught.value)
    assert ".jsonl" in (caught.value.hint or "")


def test_a_folder_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="Is a directory"):
        Replay(Farm([]), tmp_path)


def test_an_xml_export_is_replayed(tmp_path: Path) -> None:
    by = "<contributor><username>U</username><id>3</id></contributor><comment>c</comment>"
    form = "<model>wikitext</model><format>text/x-wiki</format>"
    texts = '<text bytes="3" xml:space="preserve">o &amp; \u00e9</text>', '<text bytes="3" deleted="deleted" />'
    times = "2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z"
    revisions = "".join(
        f"<revision><id>1</id><timestamp>{at}</timestamp>{by}{form}{text}<sha1>x</sha1></revision>"
        for at, text in zip(times, texts, strict=True)
    )
    spaces = '<namespace key="0" case="first-letter" /><namespace key="2" case="first-letter">Benutzer</namespace>'
    (tmp_path / "dump.xml").write_text(
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="de">'
        "<siteinfo><sitename>W</sitename><dbname>dewiktionary</dbname><base>https://de.wiktionary.org/</base><generator>x</generator>"
        f"<case>case-sensitive</case><namespaces>{spaces}</namespaces></siteinfo>"
        f"<page><title>Benutzer:X</title><ns>2</ns><id>7</id>{revisions}</page></mediawiki>"
    )
    first, second = read(tmp_path / "dump.xml")
    assert (first.wiki_id, first.title, first.namespace, first.text) == ("dewiktionary", "Benutzer:X", 2, "o & \u00e9")
    assert (first.user, first.comment, first.timestamp, second.text) == ("U", "c", "2001-01-01T00:00:00Z", None)
    farm = Farm([])
    replay = Replay(farm, tmp_path / "dump.xml")
    assert replay.step()
    assert replay.step()
    assert replay.step() is None
    assert farm["dewiktionary"].site.domain == "de.wiktionary.org"
