"""What an upstream keeps of what happened: recent changes and the log, on the fake and on a real MediaWiki alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.contract.upstream import Outside

CHANGES = {"list": "recentchanges", "rcdir": "newer", "rctype": "edit|new", "rcprop": "ids|title|timestamp|flags"}
ENTRIES = {"list": "logevents", "ledir": "newer", "leprop": "ids|title|type|timestamp|details"}
UNSAID = {"create"}  # a log of the lab's alone: other wikis keep none


async def listed(outside: Outside, asked: dict[str, str], **more: str) -> list[dict[str, Any]]:
    """Every row about this test's pages, however many answers that takes."""
    limit = "rclimit" if asked is CHANGES else "lelimit"
    found: list[dict[str, Any]] = []
    following = {limit: "500", **more}
    while following:
        answer = await outside.ask(**{**asked, limit: "500", **more, **following})
        found += answer.body["query"][asked["list"]]
        following = {key: str(value) for key, value in answer.body.get("continue", {}).items()}
    return [row for row in found if row["title"].startswith(outside.prefix) and row.get("type") not in UNSAID]


async def test_edits_are_recent_changes(outside: Outside) -> None:
    first = await outside.wiki.edit(outside.name("A"), "one")
    second = await outside.wiki.edit(outside.name("A"), "two", minor=True)
    page = await outside.page(outside.name("A"))
    new, edit = await listed(outside, CHANGES)
    assert list(new) == [
        "type", "ns", "title", "pageid", "revid", "old_revid", "rcid", "bot", "new", "minor", "timestamp",
    ]  # fmt: skip
    assert (new["type"], new["ns"], new["title"], new["pageid"]) == ("new", 0, outside.name("A"), page["pageid"])
    assert (new["revid"], new["old_revid"], new["bot"], new["new"], new["minor"]) == (first, 0, False, True, False)
    assert (edit["type"], edit["revid"], edit["old_revid"], edit["new"], edit["minor"]) == ("edit", second, first, False, True)
    assert edit["timestamp"] == page["revisions"][0]["timestamp"]
    assert edit["rcid"] > new["rcid"]


async def test_recent_changes_may_be_of_some_namespaces(outside: Outside) -> None:
    for title in (outside.name("A"), f"Talk:{outside.name('A')}", f"User:{outside.name('A')}"):
        await outside.wiki.edit(title, "one")
    for namespaces, spaces in (("0", {0}), ("1|2", {1, 2}), ("2|0", {0, 2})):
        answer = await outside.ask(**CHANGES, rclimit="500", rcnamespace=namespaces)
        rows = [row for row in answer.body["query"]["recentchanges"] if outside.prefix in row["title"]]
        assert {row["ns"] for row in rows} == spaces
        assert len(rows) == len(spaces)


async def test_a_deleted_page_has_no_recent_changes_and_gets_none_back(outside: Outside) -> None:
    await outside.wiki.edit(outside.name("A"), "one")
    await outside.wiki.delete(outside.name("A"))
    assert await listed(outside, CHANGES) == []
    await outside.wiki.undelete(outside.name("A"))
    assert await listed(outside, CHANGES) == []


async def test_a_move_is_in_the_log_alone(outside: Outside) -> None:
    await outside.wiki.edit(outside.name("A"), "one")
    page = await outside.page(outside.name("A"))
    await outside.wiki.move(outside.name("A"), f"Talk:{outside.name('B')}")
    left = await outside.page(outside.name("A"))
    (edit,) = await listed(outside, CHANGES)
    assert (edit["type"], edit["title"], edit["pageid"]) == ("new", outside.name("A"), page["pageid"])
    (entry,) = await listed(outside, ENTRIES)
    assert list(entry) == ["logid", "ns", "title", "pageid", "logpage", "params", "type", "action", "timestamp"]
    assert (entry["type"], entry["action"], entry["title"]) == ("move", "move", outside.name("A"))
    assert (entry["pageid"], entry["logpage"]) == (left["pageid"], page["pageid"])
    assert entry["params"] == {"target_ns": 1, "target_title": f"Talk:{outside.name('B')}", "suppressredirect": False}


async def test_the_log_says_what_was_done(outside: Outside) -> None:
    first = int(await outside.wiki.edit(outside.name("A"), "one") or 0)
    await outside.wiki.edit(outside.name("A"), "two")
    await outside.wiki.hide([first], 1)
    await outside.wiki.edit(outside.name("P"), "one")
    await outside.wiki.protect(outside.name("P"))
    await outside.wiki.move(outside.name("A"), outside.name("B"))
    await outside.wiki.move(outside.name("B"), outside.name("A"))
    await outside.wiki.bring_in(outside.name("I"), {2010: "a", 2011: "b"})
    await outside.wiki.change_model(outside.name("I"), "text")
    await outside.wiki.move(outside.name("I"), outside.name("J"), redirect=False)
    entries = {f"{entry['type']}/{entry['action']}": entry for entry in await listed(outside, ENTRIES)}
    assert sorted(entries) == [
        "contentmodel/change", "delete/delete_redir", "delete/revision", "import/upload", "move/move", "move/move_redir",
        "protect/protect",
    ]  # fmt: skip
    bits = {"bitmask": 0, "content": False, "comment": False, "user": False, "restricted": False}
    hidden = {"type": "revision", "ids": [first], "old": bits, "new": {**bits, "bitmask": 1, "content": True}}
    assert entries["delete/revision"]["params"] == hidden
    assert list(entries["delete/revision"]["params"]["new"]) == list(bits)
    assert entries["protect/protect"]["params"].keys() == {"description", "cascade", "details"}
    assert entries["import/upload"]["params"] == {"count": 2}
    assert entries["contentmodel/change"]["params"] == {"oldmodel": "wikitext", "newmodel": "text"}
    assert entries["move/move"]["params"]["suppressredirect"]
    removed = entries["delete/delete_redir"]
    assert (removed["title"], removed["params"]) == (outside.name("A"), {})
    assert removed["logpage"] != (await outside.page(outside.name("A")))["pageid"]


async def test_deletions_restorations_and_merges_are_in_the_log(outside: Outside) -> None:
    await outside.wiki.edit(outside.name("A"), "one")
    await outside.wiki.delete(outside.name("A"))
    await outside.wiki.undelete(outside.name("A"))
    await outside.wiki.tick()
    await outside.wiki.edit(outside.name("B"), "two")
    page = await outside.page(outside.name("A"))
    await outside.wiki.merge(outside.name("A"), outside.name("B"))
    gone, back, merged = await listed(outside, ENTRIES)
    assert (gone["action"], gone["params"], gone["logpage"]) == ("delete", {}, page["pageid"])
    assert (back["action"], back["params"]) == ("restore", {"count": {"revisions": 1, "files": 0}})
    assert merged["params"].keys() == {"dest_ns", "dest_title", "mergepoint"}
    assert (merged["params"]["dest_title"], merged["params"]["mergepoint"][-1]) == (outside.name("B"), "Z")


async def test_a_suppression_is_in_neither(outside: Outside) -> None:
    rev = int(await outside.wiki.edit(outside.name("A"), "one") or 0)
    await outside.wiki.hide([rev], 14)
    assert await listed(outside, ENTRIES) == []
    assert [row["revid"] for row in await listed(outside, CHANGES)] == [rev]


@pytest.mark.parametrize("asked", [CHANGES, ENTRIES], ids=["recentchanges", "logevents"])
async def test_rows_are_continued_in_their_order_and_both_ends_belong_to_them(outside: Outside, asked: dict[str, str]) -> None:
    prefix = "rc" if asked is CHANGES else "le"
    for number in range(3):
        await outside.wiki.edit(outside.name(f"P{number}"), "one")
        await outside.wiki.protect(outside.name(f"P{number}"))
        await outside.wiki.tick()
    rows = await listed(outside, asked)
    assert [row["title"] for row in rows] == [outside.name(f"P{number}") for number in range(3)]
    between = {f"{prefix}start": rows[1]["timestamp"], f"{prefix}end": rows[2]["timestamp"]}
    assert await listed(outside, asked, **between) == rows[1:]
    answer = await outside.ask(**{**asked, **between, f"{prefix}limit": "1"})
    assert list(answer.body) == ["batchcomplete", "continue", "query"]
    following = answer.body["continue"]
    assert list(following) == [f"{prefix}continue", "continue"]
    place, number = following[f"{prefix}continue"].split("|")
    assert (len(place), number.isdecimal(), following["continue"]) == (14, True, "-||")
    assert await listed(outside, asked, **{**between, f"{prefix}limit": "1"}) == rows[1:]
    backwards = {f"{prefix}start": between[f"{prefix}end"], f"{prefix}end": between[f"{prefix}start"], f"{prefix}dir": "older"}
    assert await listed(outside, asked, **backwards) == rows[:0:-1]


async def test_ten_rows_are_given_unasked_and_500_at_most(outside: Outside) -> None:
    for number in range(11):
        await outside.wiki.edit(outside.name("A"), f"text {number}")
    answer = await outside.ask(**{**CHANGES, "rcdir": "older"})
    assert len(answer.body["query"]["recentchanges"]) == 10
    assert "continue" in answer.body


@pytest.mark.parametrize(
    ("params", "code", "module"),
    [
        ({"rccontinue": "x"}, "badcontinue", "query+recentchanges"),
        ({"rclimit": "x"}, "badinteger", "query+recentchanges"),
        ({"rcstart": "x"}, "badtimestamp", "query+recentchanges"),
        ({"list": "logevents", "lecontinue": "x"}, "badcontinue", "query+logevents"),
    ],
)
async def test_what_cannot_be_listed_is_an_error(outside: Outside, params: dict[str, str], code: str, module: str) -> None:
    answer = await outside.ask(**{**CHANGES, **params})
    (error,) = answer.body["errors"]
    assert (error["code"], error["module"]) == (code, module)
