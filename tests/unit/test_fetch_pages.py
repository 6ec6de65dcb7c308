"""What the wikis said -> Answer and Site: recorded answers, parts, hidden things, nonsense."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from syncer.errors import WikiUnavailable
from syncer.fetch.pages import Gathered, site
from syncer.fetch.verdict import decode
from syncer.model import Answer, Licence, Visibility
from tests.shared import SHARED

if TYPE_CHECKING:
    from pathlib import Path

LAB = SHARED / "lab/samples/api"
RECORDED = SHARED / "data/api"
in_lab = pytest.mark.skipif(not LAB.exists(), reason="the recorded answers of ../shared/lab are not here")
with_data = pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers of ../shared/data are not here")


def answer(*queries: object, titles: tuple[str, ...] = ()) -> Answer:
    gathered = Gathered()
    for query in queries:
        gathered.add(query)
    return gathered.answer(titles)


def lab(name: str) -> dict[str, Any]:
    """A recorded query, with what was not asked for in the lab: a current revision for each page, a time for each revision."""
    query: dict[str, Any] = orjson.loads((LAB / f"{name}.json").read_bytes())["query"]
    for entry in query.get("pages", []):
        if isinstance(entry, dict) and entry.get("revisions"):
            entry.setdefault("lastrevid", entry["revisions"][-1]["revid"])
            for rev in entry["revisions"]:
                rev.setdefault("timestamp", "2026-11-24T02:41:28Z")
    return query


def page(page_id: int = 1, *revisions: dict[str, Any], **facts: Any) -> dict[str, Any]:
    made = {"pageid": page_id, "ns": 0, "title": f"Page {page_id}", "lastrevid": 10 * page_id, **facts}
    return {**made, "revisions": list(revisions)} if revisions else made


def revision(rev_id: int = 10, content: Any = "text", **facts: Any) -> dict[str, Any]:
    slot = {"contentmodel": "wikitext", "contentformat": "text/x-wiki", "content": content}
    return {
        "revid": rev_id,
        "parentid": rev_id - 1,
        "minor": False,
        "user": "Alice",
        "userid": 4,
        "timestamp": "2026-11-24T02:41:28Z",
        "size": 4,
        "sha1": "f" * 40,
        "slots": {"main": slot},
        "comment": "why",
        "tags": [],
        **facts,
    }


# -- recorded answers --------------------------------------------------------------------------------------------------


@in_lab
@pytest.mark.parametrize("path", sorted(LAB.glob("*.json")), ids=lambda path: path.stem)
def test_every_answer_of_the_lab_can_be_read(path: Path) -> None:
    document = decode(path.read_bytes()) or {}  # those of large pages were recorded cut off
    found = answer(document.get("query"))
    pages = lab(path.stem).get("pages", []) if "query" in document else []
    if not isinstance(pages, list):  # format version 1
        assert not found.pages
        return
    found = answer({"pages": pages})
    assert set(found.pages) == {entry["pageid"] for entry in pages if entry.get("revisions")}
    for entry in pages:
        for rev in entry.get("revisions", []):
            read = found.pages[entry["pageid"]].revisions[rev["revid"]]
            sent = rev.get("slots", {"main": rev})["main"].get("content")
            assert read.text == (sent.encode() if sent is not None and "sha1hidden" not in rev else None)


@in_lab
def test_fifty_revisions_of_one_page() -> None:
    read = answer(lab("batch-50")).pages[69]
    assert set(read.revisions) == set(range(314, 364))
    for rev in read.revisions.values():
        assert rev.text is not None
        assert sha1(rev.text, usedforsecurity=False).hexdigest() == rev.sha1
        assert rev.size == len(rev.text)
        assert rev.fault is None
    assert read.revisions[315].rev_parent_id == 314
    assert answer(lab("batch-50-duplicates")).pages[69].revisions == {key: read.revisions[key] for key in (314, 315, 316)}


@in_lab
def test_a_text_beyond_ascii_is_utf_8() -> None:
    read = answer(lab("revids-plain")).pages[65].revisions[308]
    assert read.text == "third é ☃ 😀".encode()
    assert read.editor == "Alice"
    assert read.comment == ""
    assert not read.minor
    assert read.visibility.full


@in_lab
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("revdel-content-hidden-anon", Visibility(text=False)),
        ("revdel-content-hidden-as-sysop", Visibility(text=False)),
        ("revdel-comment-hidden-anon", Visibility(comment=False)),
        ("revdel-user-hidden-anon", Visibility(user=False)),
        ("revdel-all-hidden-anon", Visibility(text=False, user=False, comment=False)),
        ("revdel-all-hidden-as-sysop", Visibility(text=False, user=False, comment=False)),
        ("revdel-suppressed-anon", Visibility(text=False, user=False, comment=False)),
        ("revdel-suppressed-as-bot-sysop", Visibility(text=False, user=False, comment=False)),
        ("history-with-hidden", Visibility(text=False, user=False, comment=False)),
    ],
)
def test_what_is_hidden_is_dropped_even_if_it_was_sent(name: str, shown: Visibility) -> None:
    read = answer(lab(name)).pages[65].revisions[307]
    assert read.visibility == shown
    assert (read.text is None, read.sha1 is None) == (not shown.text, not shown.text)
    assert read.editor == ("LabBot" if shown.user else None)
    assert read.comment == ("sec" if shown.comment else None)
    assert read.fault is None
    for hidden, what in ((not shown.text, "second secret"), (not shown.text, "3d594a193963152547ae2b1c0408098a466a2cb6")):
        assert (what in repr(read)) is not hidden


@in_lab
def test_an_author_hidden_by_a_block_leaves_the_text_visible() -> None:
    read = answer(lab("user-hidden-by-block-anon")).pages[117].revisions
    assert read[442].visibility == Visibility(user=False)
    assert read[442].text == b"by newbie"
    assert read[442].editor is None
    assert read[443].editor == "Alice"


@in_lab
def test_bad_revisions() -> None:
    assert answer(lab("badrevid-mixed")).bad_rev_ids == {99999999, 0}
    assert set(answer(lab("badrevid-mixed")).pages[65].revisions) == {306}
    assert answer(lab("deleted-revids-anon")).bad_rev_ids == {309, 310}
    only = answer(lab("badrevid-one"))  # with all of them bad there is no list of pages at all
    assert only.bad_rev_ids == {99999999}
    assert not only.pages


@in_lab
def test_titles() -> None:
    found = answer(lab("title-normalized"), titles=("api_t", "main Page", "talk:main page", "Main Page"))
    assert found.canonical == {"api_t": "Api t", "main Page": "Main Page", "talk:main page": "Talk:Main page"}
    assert found.missing_titles == {"Talk:Main page": 1, "Api t": 0}
    assert found.pages[1].title == "Main Page"
    found = answer(lab("invalid-title"), titles=("Bad[title]", "Talk:", "<x>"))
    assert found.invalid_titles == {"Bad[title]", "Talk:", "<x>"}
    assert not found.canonical
    found = answer(lab("special-title"), titles=("Special:RecentChanges", "Media:Foo.png"))
    assert found.invalid_titles == {"Special:RecentChanges", "Media:Foo.png"}
    assert not found.missing_titles
    assert answer(lab("missing-title")).missing_titles == {"No such page at all": 0}
    assert answer(lab("deleted-title-anon")).missing_titles
    assert answer(lab("missing-pageid")).missing_page_ids == {999999, 0}
    assert answer(lab("deleted-pageid-anon")).missing_page_ids == {66}


@in_lab
def test_facts_of_the_page_as_it_is_now() -> None:
    query = lab("info-moved")
    assert answer(query).pages[68].is_redirect
    assert answer(query).pages[68].last_rev_id == 313
    assert not answer(query).pages[67].is_redirect
    assert answer(query).pages[67].title == "Api MM1795488089"


@in_lab
def test_a_wiki_without_slots_has_the_text_in_the_revision() -> None:
    read = answer(lab("no-rvslots-legacy")).pages[65].revisions[306]
    assert (read.text, read.sha1, read.content_model) == (b"first", sha1(b"first", usedforsecurity=False).hexdigest(), "wikitext")


@with_data
@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_every_recorded_answer_can_be_read(path: Path) -> None:
    recorded = orjson.loads(path.read_bytes())
    found = answer(recorded["body"].get("query"))
    match path.stem:
        case "badrevids-fv1":
            assert found.bad_rev_ids == {123456789012345}
        case "badrevids-fv2-shape":
            assert found.bad_rev_ids == {22}
        case "fv2-earth-okapi":
            assert found.pages[9228].title == "Earth"
            assert found.pages[9228].last_rev_id == 1029525281
            assert all(rev.text for rev in found.pages[9228].revisions.values())
        case "texthidden-fv2-shape":
            assert not found.pages  # without the page's info
            query = recorded["body"]["query"]
            query["pages"][0]["lastrevid"] = 11
            assert answer(query).pages[1].revisions[11].visibility == Visibility(text=False, user=False, comment=False)
        case _:
            assert not found.pages  # format version 1, or an error


# -- parts -------------------------------------------------------------------------------------------------------------


def test_parts_are_put_together_by_page_and_revision() -> None:
    first = {"pages": [page(1, revision(10), revision(11)), page(2), page(3)]}
    second = {"pages": [page(3, revision(30)), page(2, revision(20)), page(1)]}
    found = answer(first, second)
    assert {key: set(read.revisions) for key, read in found.pages.items()} == {1: {10, 11}, 2: {20}, 3: {30}}
    assert found == answer(second, first)


def test_the_info_of_a_page_may_come_in_another_part_than_its_text() -> None:
    bare = {"pageid": 1, "ns": 0, "title": "Page 1", "revisions": [revision(10)]}
    found = answer({"pages": [bare]}, {"pages": [page(1, redirect=True)]}, {"pages": [{**bare, "revisions": []}]})
    assert found.pages[1].is_redirect
    assert found.pages[1].last_rev_id == 10
    assert set(found.pages[1].revisions) == {10}


def test_a_page_still_without_revisions_is_not_missing() -> None:
    found = answer({"pages": [page(1)]})
    assert found.pages[1].revisions == {}
    assert not found.missing_titles
    assert not found.missing_page_ids


def test_a_revision_deleted_between_two_parts_is_bad() -> None:
    found = answer({"pages": [page(1, revision(10), revision(11))]}, {"badrevids": {"11": {"revid": 11, "missing": True}}})
    assert set(found.pages[1].revisions) == {10}
    assert found.bad_rev_ids == {11}


# -- titles ------------------------------------------------------------------------------------------------------------


def test_a_title_is_followed_through_every_form_of_it() -> None:
    query = {
        "normalized": [
            {"fromencoded": True, "from": "e%CC%81x", "to": "éx"},
            {"fromencoded": False, "from": "éx", "to": "Éx"},
            {"fromencoded": False, "from": "a%41", "to": "A%41"},
        ],
        "pages": [{"ns": 0, "title": "Éx", "missing": True}, {"ns": 0, "title": "A%41", "missing": True}],
    }
    found = answer(query, titles=("e\u0301x", "a%41", "Éx"))
    assert found.canonical == {"e\u0301x": "Éx", "a%41": "A%41"}
    assert found.missing_titles == {"Éx": 0, "A%41": 0}


def test_titles_that_lead_in_circles_end() -> None:
    circle = [{"fromencoded": False, "from": "A", "to": "B"}, {"fromencoded": False, "from": "B", "to": "A"}]
    assert set(answer({"normalized": circle}, titles=("A",)).canonical) <= {"A"}


def test_titles_of_other_wikis_are_invalid_whatever_form_they_were_asked_in() -> None:
    query = {
        "normalized": [{"fromencoded": False, "from": "wikt:foo_bar", "to": "wikt:foo bar"}],
        "interwiki": [{"title": "wikt:foo bar", "iw": "wikt"}, {"title": "de:Foo", "iw": "de"}],
    }
    found = answer(query, titles=("wikt:foo_bar", "de:Foo", "Foo"))
    assert found.invalid_titles == {"wikt:foo_bar", "de:Foo"}


def test_a_file_of_another_repository_is_missing_here() -> None:
    entry = {"ns": 6, "title": "File:A.png", "missing": True, "known": True, "imagerepository": "shared"}
    assert answer({"pages": [entry]}).missing_titles == {"File:A.png": 6}


# -- hidden things and faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"texthidden": True}, Visibility(text=False)),
        ({"sha1hidden": True}, Visibility(text=False)),
        ({"slots": {"main": {"texthidden": True, "content": "secret", "sha1": "a" * 40}}}, Visibility(text=False)),
        ({"slots": {"main": {"sha1hidden": True, "content": "secret", "sha1": "a" * 40}}}, Visibility(text=False)),
        ({"texthidden": ""}, Visibility(text=False)),
        ({"userhidden": True, "user": "secret"}, Visibility(user=False)),
        ({"commenthidden": True, "comment": "secret"}, Visibility(comment=False)),
        ({"userhidden": True, "user": ["secret"]}, Visibility(user=False)),
        ({"texthidden": False}, Visibility()),
    ],
)
def test_flags_of_every_form_hide(facts: dict[str, Any], shown: Visibility) -> None:
    read = answer({"pages": [page(1, revision(10, "visible", **facts))]}).pages[1].revisions[10]
    assert read.visibility == shown
    assert (read.text is None) == (not shown.text)
    assert (read.sha1 is None) == (not shown.text)
    assert (read.editor is None) == (not shown.user)
    assert (read.comment is None) == (not shown.comment)
    assert read.fault is None
    assert "secret" not in repr(read)


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"slots": {"main": {"contentmodel": "wikitext", "textmissing": True}}}, "textmissing"),
        ({"textmissing": True, "slots": {}}, "textmissing"),
        ({"slotsmissing": True, "slots": {}}, "slotsmissing"),
        ({"slots": {"main": {"missing": True}}}, "slotsmissing"),
    ],
)
def test_storage_faults(facts: dict[str, Any], fault: str) -> None:
    read = answer({"pages": [page(1, revision(10, **facts))]}).pages[1].revisions[10]
    assert (read.fault, read.text) == (fault, None)


def test_the_hash_is_the_slots_where_the_wiki_gives_one() -> None:
    slot = {"contentmodel": "wikitext", "content": "text", "sha1": "a" * 40}
    assert answer({"pages": [page(1, revision(10, slots={"main": slot}))]}).pages[1].revisions[10].sha1 == "a" * 40
    assert answer({"pages": [page(1, revision(10))]}).pages[1].revisions[10].sha1 == "f" * 40


@pytest.mark.parametrize(
    "facts",
    [
        {"timestamp": "yesterday"},
        {"timestamp": 20261124},
        {"timestamp": None},
        {"size": "4"},
        {"size": -1},
        {"size": True},
        {"parentid": None},
        {"parentid": 1.5},
        {"sha1": "F" * 40},
        {"sha1": 17},
        {"user": 5},
        {"user": None},
        {"comment": ["why"]},
        {"comment": "\ud800"},
        {"tags": "mobile edit"},
        {"tags": [1]},
        {"slots": []},
        {"slots": {"main": []}},
        {"slots": {"main": "text"}},
        {"slots": {"other": {}}},
        {"slots": None},
        {"slots": {"main": {"content": None}}},
        {"slots": {"main": {"content": "\udcff"}}},
        {"slots": {"main": {"content": {"a": 1}}}},
        {"slots": {"main": {"content": "x", "contentmodel": 3}}},
    ],
)
def test_one_bad_revision_among_fifty_good_ones(facts: dict[str, Any]) -> None:
    pages = [page(n, revision(10 * n)) for n in range(1, 51)]
    pages[20]["revisions"] = [revision(209), revision(210, **facts), revision(211)]
    found = answer({"pages": pages})
    assert len(found.pages) == 50
    bad = found.pages[21].revisions.pop(210)  # type: ignore[attr-defined]
    assert (bad.fault, bad.text, bad.editor, bad.comment) == ("malformed", None, None, None)
    assert all(rev.fault is None for read in found.pages.values() for rev in read.revisions.values())
    assert set(found.pages[21].revisions) == {209, 211}


@pytest.mark.parametrize(
    "facts", [{"revid": None}, {"revid": "210"}, {"revid": 0}, {"revid": -1}, {"revid": True}, {"revid": 2.5}]
)
def test_a_revision_that_cannot_be_told_is_left_out(facts: dict[str, Any]) -> None:
    found = answer({"pages": [page(21, revision(209), revision(210, **facts))]})
    assert set(found.pages[21].revisions) == {209}


@pytest.mark.parametrize(
    "facts",
    [
        {"title": 5},
        {"title": ""},
        {"title": "\ud800"},
        {"ns": "0"},
        {"ns": None},
        {"lastrevid": "210"},
        {"lastrevid": -1},
        {"pageid": "21"},
        {"pageid": 0},
        {"pageid": -21},
        {"pageid": True},
        {"pageid": None},
    ],
)
def test_one_bad_page_among_fifty_good_ones(facts: dict[str, Any]) -> None:
    pages = [page(n, revision(10 * n)) for n in range(1, 51)]
    pages[20].update(facts)
    found = answer({"pages": pages})
    assert set(found.pages) == {*range(1, 51)} - {21}
    assert not found.bad_rev_ids
    assert not found.missing_titles


@pytest.mark.parametrize(
    "query",
    [None, [], "x", 5, {"pages": {"1": page(1)}}, {"pages": "x"}, {"pages": [None, 5, []]}, {"pages": [page(1, lastrevid=None)]},
     {"badrevids": []}, {"badrevids": {"x": {}}}, {"badrevids": [5]}, {"normalized": {}},
     {"normalized": [{"from": 5, "to": "a"}]}, {"interwiki": [{"title": 5}]}, {"pages": [{"missing": True}]},
     {"pages": [{"special": True}]}],
)  # fmt: skip
def test_nonsense_answers_for_nothing(query: object) -> None:
    assert answer(query, titles=("A",)) == Answer()


# -- the wiki itself ---------------------------------------------------------------------------------------------------


@in_lab
def test_the_lab_wiki() -> None:
    read = site("labwiki", orjson.loads((LAB / "siteinfo.json").read_bytes()))
    assert read.licence is None
    assert read.article_url == "http://127.0.0.1:18080/index.php/$1"
    assert read.namespaces["lab wiki talk"] == read.namespaces["project talk"] == 5
    assert read.namespaces["image"] == 6
    assert read.namespaces[""] == 0
    assert read.namespaces["special"] == -1


WIKI = {
    "general": {"server": "//de.wikipedia.org", "articlepath": "/wiki/$1"},
    "rightsinfo": {"url": "//creativecommons.org/licenses/by-sa/4.0/", "text": "CC BY-SA 4.0"},
    "namespaces": {
        "0": {"id": 0, "name": ""},
        "1": {"id": 1, "name": "Diskussion", "canonical": "Talk"},
        "4": {"id": 4, "name": "Wikipedia", "canonical": "Project"},
    },
    "namespacealiases": [{"id": 4, "alias": "WP"}, {"id": 4, "alias": "Diskussion"}, {"id": -1, "alias": "Mein_Spezial"}],
}


def test_a_wiki_with_a_licence_and_aliases() -> None:
    read = site("dewiki", {"query": WIKI})
    assert read.licence == Licence("https://creativecommons.org/licenses/by-sa/4.0/", "CC BY-SA 4.0")
    assert read.article_url == "https://de.wikipedia.org/wiki/$1"
    assert read.namespaces == {
        "": 0, "diskussion": 1, "talk": 1, "wikipedia": 4, "project": 4, "wp": 4, "mein spezial": -1,
    }  # fmt: skip


def test_a_licence_may_be_only_a_text() -> None:
    read = site("dewiki", {"query": {**WIKI, "rightsinfo": {"url": "", "text": "Public domain"}}})
    assert read.licence == Licence("", "Public domain")


@pytest.mark.parametrize(
    "document",
    [{}, {"query": None}, {"query": []}, {"query": {}}, {"query": {**WIKI, "general": {}}}, {"query": {**WIKI, "general": None}},
     {"query": {**WIKI, "general": {"server": "//x", "articlepath": "/wiki/"}}}, {"query": {**WIKI, "rightsinfo": {"url": 5}}},
     {"query": {**WIKI, "namespaces": []}}, {"query": {**WIKI, "namespaces": {"0": {"id": "0", "name": ""}}}},
     {"query": {**WIKI, "namespacealiases": [{"alias": "x"}]}}, {"query": {**WIKI, "namespacealiases": 5}}],
)  # fmt: skip
def test_a_wiki_that_does_not_say_what_it_is(document: dict[str, Any]) -> None:
    with pytest.raises(WikiUnavailable, match="dewiki"):
        site("dewiki", document)
