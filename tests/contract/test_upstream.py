"""What an upstream's API answers: the same assertions on the fake and on a real MediaWiki, through the public door only."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.contract.upstream import FULL, NOTHING

if TYPE_CHECKING:
    from tests.contract.upstream import Outside


async def test_a_revision_is_answered_whole(outside: Outside) -> None:
    first = await outside.wiki.edit(outside.name("A"), "one", "begin")
    text = "two é ☃ 😀\n\n== H ==\nx"
    second = await outside.wiki.edit(outside.name("A"), text, "go on", minor=True)
    answer = await outside.ask(revids=f"{second}", **FULL)
    assert answer.status == 200
    assert answer.headers["Content-Type"].lower() == "application/json; charset=utf-8"
    assert list(answer.body) == ["batchcomplete", "query"]
    (page,) = answer.pages
    assert list(page) == [
        "pageid", "ns", "title", "revisions", "contentmodel", "pagelanguage", "pagelanguagehtmlcode", "pagelanguagedir",
        "touched", "lastrevid", "length",
    ]  # fmt: skip
    (revision,) = page["revisions"]
    assert list(revision) == [
        "revid", "parentid", "minor", "user", "userid", "timestamp", "size", "sha1", "slots", "comment", "tags",
    ]  # fmt: skip
    sha1 = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    slot = {"sha1": sha1, "contentmodel": "wikitext", "contentformat": "text/x-wiki", "content": text}
    assert revision["slots"] == {"main": slot}
    assert list(revision["slots"]["main"]) == list(slot)
    assert (revision["revid"], revision["parentid"], revision["sha1"]) == (second, first, sha1)
    assert (revision["size"], revision["minor"], revision["comment"], revision["tags"]) == (len(text.encode()), True, "go on", [])
    assert (page["lastrevid"], page["length"], revision["user"]) == (second, len(text.encode()), "Alice")


async def test_only_what_is_asked_for_is_given(outside: Outside) -> None:
    rev = await outside.wiki.edit(outside.name("A"), "one")
    (page,) = (await outside.ask(revids=f"{rev}", prop="revisions", rvslots="main", rvprop="ids|slotsha1|timestamp")).pages
    (revision,) = page["revisions"]
    assert list(page) == ["pageid", "ns", "title", "revisions"]
    assert list(revision) == ["revid", "parentid", "timestamp", "slots"]
    assert list(revision["slots"]["main"]) == ["sha1"]


async def test_info_says_whether_a_page_is_new_and_a_redirect(outside: Outside) -> None:
    await outside.wiki.edit(outside.name("A"), f"#REDIRECT [[{outside.name('B')}]]")
    page = await outside.page(outside.name("A"))
    assert (page["redirect"], page["new"], page["revisions"][0]["parentid"]) == (True, True, 0)
    await outside.wiki.edit(outside.name("A"), "text again")
    page = await outside.page(outside.name("A"))
    assert not page.keys() & {"redirect", "new"}


async def test_revisions_of_a_page_come_once_and_by_id(outside: Outside) -> None:
    revs = [await outside.wiki.edit(outside.name("A"), f"text {n}") for n in range(3)]
    asked = "|".join(map(str, [*reversed(revs), *revs]))
    (page,) = (await outside.ask(revids=asked, **FULL)).pages
    assert [revision["revid"] for revision in page["revisions"]] == revs


async def test_bad_ids_stand_beside_good_ones(outside: Outside) -> None:
    rev = await outside.wiki.edit(outside.name("A"), "one")
    answer = await outside.ask(revids=f"{NOTHING}|{rev}|0|-5", **FULL)
    assert answer.body["query"]["badrevids"] == {str(n): {"revid": n, "missing": True} for n in (NOTHING, 0, -5)}
    assert [page["title"] for page in answer.pages] == [outside.name("A")]


async def test_with_bad_ids_alone_there_are_no_pages(outside: Outside) -> None:
    answer = await outside.ask(revids=f"{NOTHING}", **FULL)
    assert answer.body == {"batchcomplete": True, "query": {"badrevids": {str(NOTHING): {"revid": NOTHING, "missing": True}}}}


async def test_titles_are_normalized_or_refused_one_by_one(outside: Outside) -> None:
    title = outside.name("Étoile")
    await outside.wiki.edit(title, "one")
    asked = [
        title.replace(" ", "_"),
        title[0].lower() + title[1:],
        f":{title}#part",
        f"talk:{title}",
        "a[b",
        "Talk:",
        "mw:X",
        "special:X",
    ]
    answer = await outside.ask(titles="|".join([*asked, "a%41b", "..", "~~~"]), **FULL)
    query = answer.body["query"]
    talk = f"Talk:{title}"
    assert {(entry["from"], entry["to"]) for entry in query["normalized"]} == {
        (asked[0], title), (asked[1], title), (asked[2], title), (asked[3], talk), ("special:X", "Special:X"),
    }  # fmt: skip
    assert query["interwiki"] == [{"title": "mw:X", "iw": "mw"}]
    pages = {page["title"]: page for page in query["pages"]}
    assert (pages[talk]["missing"], pages[talk]["ns"]) == (True, 1)
    assert "pageid" not in pages[talk]
    assert (pages["Special:X"]["special"], pages["Special:X"]["ns"]) == (True, -1)
    refused = {name: page["invalidreason"]["code"] for name, page in pages.items() if page.get("invalid")}
    bad = "title-invalid-characters"
    assert refused == {
        "a[b": bad, "a%41b": bad, "Talk:": "title-invalid-empty", "..": "title-invalid-relative",
        "~~~": "title-invalid-magic-tilde",
    }  # fmt: skip
    assert pages[title]["revisions"]
    listed = [page["title"] for page in query["pages"]]
    assert listed == [talk, "Special:X", "~~~", "..", "a%41b", "Talk:", "a[b", title]


async def test_an_invalid_title_has_its_reason_as_text_where_errors_have_none_of_their_own_form(outside: Outside) -> None:
    (page,) = (await outside.ask(titles="a[b", **{**FULL, "errorformat": "bc"})).pages
    assert isinstance(page["invalidreason"], str)


async def test_missing_page_ids_are_said_to_be(outside: Outside) -> None:
    answer = await outside.ask(pageids=f"{NOTHING}", **FULL)
    assert answer.pages == [{"pageid": NOTHING, "missing": True}]


@pytest.mark.parametrize(
    ("params", "code", "module"),
    [
        ({"titles": "A", "revids": "1"}, "multisource", "query"),
        ({"titles": "A", "pageids": "1"}, "multisource", "query"),
        ({"revids": "|".join(map(str, range(1, 52)))}, "toomanyvalues", "query"),
        ({"titles": "|".join(f"T{n}" for n in range(51))}, "toomanyvalues", "query"),
        ({"revids": "1|x"}, "badinteger", "query"),
        ({"revids": "1.5"}, "badinteger", "query"),
        ({"action": "nope"}, "badvalue", "main"),
        ({"maxlag": "-2"}, "maxlag", "main"),
    ],
)
async def test_errors_come_with_status_200(outside: Outside, params: dict[str, str], code: str, module: str) -> None:
    answer = await outside.ask(**{**FULL, **params})
    assert (answer.status, answer.headers["MediaWiki-API-Error"]) == (200, code)
    (error,) = answer.body["errors"]
    assert list(answer.body) == ["errors", "docref"]
    assert (error["code"], error["module"]) == (code, module)
    assert isinstance(error["text"], str)
    plain = await outside.ask(**{**FULL, **params, "errorformat": "bc"})
    assert list(plain.body) == ["error"]
    assert plain.body["error"]["code"] == code
    assert isinstance(plain.body["error"]["info"], str)


async def test_maxlag_says_when_to_come_back(outside: Outside) -> None:
    answer = await outside.ask(**{**FULL, "maxlag": "-2", "titles": "A"})
    assert answer.headers["Retry-After"] == "5"
    assert answer.body["errors"][0]["data"].keys() == {"host", "lag", "type"}


async def test_limits_are_told(outside: Outside) -> None:
    answer = await outside.ask(revids="|".join(map(str, range(1, 52))), **FULL)
    assert answer.body["errors"][0]["data"] == {"limit": 50, "lowlimit": 50, "highlimit": 500}


async def test_post_is_get(outside: Outside) -> None:
    rev = await outside.wiki.edit(outside.name("A"), "one")
    assert (await outside.ask(revids=f"{rev}", **FULL)).body == (await outside.ask("POST", revids=f"{rev}", **FULL)).body


async def test_nothing_asked_is_nothing_answered(outside: Outside) -> None:
    assert (await outside.ask(**FULL)).body == {"batchcomplete": True}


async def test_what_is_hidden_is_only_said_to_be(outside: Outside) -> None:
    rev = int(await outside.wiki.edit(outside.name("A"), "secret", "sum") or 0)
    await outside.wiki.edit(outside.name("A"), "open")
    await outside.wiki.hide([rev], 1)
    hidden = await outside.revision(rev)
    assert (hidden["sha1hidden"], hidden["comment"], hidden["user"]) == (True, "sum", "Alice")
    assert hidden["slots"] == {"main": {"sha1hidden": True, "contentmodel": "wikitext", "texthidden": True}}
    assert not hidden.keys() & {"sha1", "userhidden", "commenthidden", "suppressed"}
    await outside.wiki.hide([rev], 6)
    hidden = await outside.revision(rev)
    assert hidden["slots"]["main"]["content"] == "secret"
    assert (hidden["userhidden"], hidden["commenthidden"]) == (True, True)
    assert not hidden.keys() & {"user", "userid", "comment", "suppressed", "sha1hidden"}
    await outside.wiki.hide([rev], 15)
    hidden = await outside.revision(rev)
    assert list(hidden) == [
        "revid", "parentid", "minor", "userhidden", "timestamp", "size", "sha1hidden", "slots", "commenthidden", "tags",
        "suppressed",
    ]  # fmt: skip
    await outside.wiki.hide([rev], 0)
    assert (await outside.revision(rev))["slots"]["main"]["content"] == "secret"


async def test_an_answer_too_large_is_continued(outside: Outside) -> None:
    size = 1_500_000
    revs = [await outside.wiki.edit(outside.name(f"Big {n}"), f"{n} ".ljust(size, "x")) for n in range(7)]
    asked = {"revids": f"{NOTHING}|" + "|".join(map(str, revs)), **FULL}
    first = await outside.ask(**asked)
    assert list(first.body) == ["continue", "warnings", "query"]
    assert first.body["warnings"][0].keys() == {"code", "text", "module"}
    assert (first.body["warnings"][0]["code"], first.body["warnings"][0]["module"]) == ("truncatedresult", "result")
    assert first.body["continue"] == {"rvcontinue": revs[5], "continue": "||info"}
    assert [len(page["revisions"]) if "revisions" in page else None for page in first.pages] == [1, 1, 1, 1, 1, 0, None]
    assert all("lastrevid" in page for page in first.pages)
    rest = await outside.ask(**asked, **{name: str(value) for name, value in first.body["continue"].items()})
    assert list(rest.body) == ["batchcomplete", "query"]
    assert [len(page.get("revisions", ())) for page in rest.pages] == [0, 0, 0, 0, 0, 1, 1]
    assert not any("lastrevid" in page for page in rest.pages)
    assert [sorted(answer.body["query"]) for answer in (first, rest)] == [["badrevids", "pages"]] * 2
    by_title = await outside.ask(titles="|".join(outside.name(f"Big {n}") for n in range(7)), **{**FULL, "errorformat": "bc"})
    sixth = by_title.pages[5]["pageid"]
    assert by_title.body["continue"] == {"rvcontinue": f"{sixth}|{revs[5]}", "continue": "||info"}
    assert isinstance(by_title.body["warnings"]["result"]["warnings"], str)


async def test_a_wiki_says_what_it_calls_things(outside: Outside) -> None:
    answer = await outside.ask(meta="siteinfo", siprop="general|namespaces|namespacealiases|rightsinfo")
    query = answer.body["query"]
    assert {"server", "articlepath", "wikiid", "case", "lang"} <= query["general"].keys()
    assert query["namespaces"]["1"].items() >= {"id": 1, "name": "Talk", "canonical": "Talk", "content": False}.items()
    assert query["namespaces"]["0"].items() >= {"id": 0, "name": "", "content": True}.items()
    assert {"id": 6, "alias": "Image"} in query["namespacealiases"]
    assert query["rightsinfo"].keys() == {"url", "text"}
