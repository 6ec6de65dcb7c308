"""What actions on a wiki do to its pages and say on its streams: the same assertions on the fake and on a real MediaWiki."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.contract.upstream import FULL, all_titles, title_of

if TYPE_CHECKING:
    from tests.contract.upstream import Event, Outside


def kinds(events: list[Event]) -> list[str]:
    """What the events are, stream by stream, each in its order."""
    found: dict[str, list[str]] = defaultdict(list)
    for event in events:
        data = event.data
        logged = f"{data.get('log_type')}/{data.get('log_action')}" if data.get("type") == "log" else data.get("type", "")
        found[event.stream].append(data.get("page_change_kind") or logged)
    return [f"{stream[:2]} {kind}".strip() for stream, said in sorted(found.items()) for kind in said]


def one(events: list[Event], stream: str, kind: str | None = None) -> dict[str, Any]:
    """The only event of a stream (of that kind)."""
    (event,) = [e for e in events if e.stream == stream and kind in {None, e.data.get("page_change_kind"), e.data.get("type")}]
    return event.data


async def test_creation_and_edit_are_told_on_three_streams(outside: Outside) -> None:
    first = await outside.wiki.edit(outside.name("A"), "one", "begin <b> & é")
    second = await outside.wiki.edit(outside.name("A"), "two", "go on", minor=True)
    events = await outside.told()
    assert kinds(events) == ["pa create", "pa edit", "re new", "re edit", "re", "re"]
    page, sha1 = await outside.page(outside.name("A")), hashlib.sha1(b"two", usedforsecurity=False).hexdigest()
    new, edit = one(events, "recentchange", "new"), one(events, "recentchange", "edit")
    assert (new["title"], new["namespace"], new["revision"]["new"], new["length"]["new"]) == (outside.name("A"), 0, first, 3)
    assert new["revision"].get("old") is None
    assert (edit["revision"], edit["minor"], edit["bot"]) == ({"old": first, "new": second}, True, False)
    created, changed = one(events, "page_change.v1", "create"), one(events, "page_change.v1", "edit")
    assert created["page"]["page_id"] == page["pageid"]
    assert created["page"]["page_title"] == outside.name("A").replace(" ", "_")
    assert created["revision"].get("rev_parent_id", 0) == 0
    assert changed["revision"]["rev_parent_id"] == first
    assert changed["prior_state"]["revision"]["rev_id"] == first
    announced = changed["revision"]["content_slots"]["main"]["content_sha1"]
    assert (len(announced), f"{int(announced, 36):040x}") == (31, sha1)
    made = [event.data for event in events if event.stream == "revision-create"]
    assert [(event["rev_id"], event["rev_sha1"]) for event in made][1] == (second, announced)
    assert (created["comment"] if "comment" in created else created["revision"]["comment"]) == "begin <b> & é"
    assert len({event.data["meta"]["id"] for event in events}) == 6


async def test_null_edits_say_nothing(outside: Outside) -> None:
    await outside.wiki.edit(outside.name("A"), "one")
    assert await outside.wiki.edit(outside.name("A"), "one") is None
    assert kinds(await outside.told()) == ["pa create", "re new", "re"]


async def test_a_move_leaves_a_dummy_revision_and_a_redirect_without_edit_events(outside: Outside) -> None:
    old, new = outside.name("A"), outside.name("B")
    first = await outside.wiki.edit(old, "one")
    before = await outside.page(old)
    await outside.wiki.move(old, new)
    moved, left = await outside.page(new), await outside.page(old)
    assert (moved["pageid"], moved["revisions"][0]["parentid"], moved["revisions"][0]["minor"]) == (before["pageid"], first, True)
    assert moved["revisions"][0]["sha1"] == before["revisions"][0]["sha1"]
    assert (left["redirect"], left["pageid"] > moved["pageid"], left["revisions"][0]["parentid"]) == (True, True, 0)
    events = await outside.told()
    assert sorted(kinds(events)) == sorted(["pa create", "pa create", "pa move", "re new", "re move/move", "re", "re", "re"])
    log, change = one(events, "recentchange", "log"), one(events, "page_change.v1", "move")
    assert (log["title"], log["log_params"]) == (old, {"target": new, "noredir": "0"})
    assert not log.keys() & {"revision", "length"}
    assert change["page"]["page_title"] == new.replace(" ", "_")
    assert change["prior_state"]["page"]["page_title"] == old.replace(" ", "_")
    assert change["revision"]["rev_id"] == moved["lastrevid"]
    assert change["created_redirect_page"]["page_id"] == left["pageid"]


async def test_a_move_without_redirect_frees_the_title(outside: Outside) -> None:
    await outside.wiki.edit(outside.name("A"), "one")
    await outside.wiki.move(outside.name("A"), outside.name("B"), redirect=False)
    assert (await outside.page(outside.name("A")))["missing"] is True
    events = await outside.told()
    assert one(events, "recentchange", "log")["log_params"] == {"target": outside.name("B"), "noredir": "1"}
    assert "created_redirect_page" not in one(events, "page_change.v1", "move")


async def test_a_move_over_a_redirect_is_told_before_its_deletion(outside: Outside) -> None:
    a, b = outside.name("A"), outside.name("B")
    await outside.wiki.edit(a, "one")
    await outside.wiki.move(a, b)
    overwritten = (await outside.page(a))["pageid"]
    await outside.wiki.move(b, a)
    events = await outside.told()
    said = [event.data for event in events if event.stream == "recentchange"]
    assert [(e["log_action"], e["title"]) for e in said if e["type"] == "log"] == [
        ("move", a),
        ("move_redir", b),
        ("delete_redir", a),
    ]
    gone = one(events, "page_change.v1", "delete")
    assert (gone["page"]["page_id"], gone["page"]["is_redirect"], gone["page"]["revision_count"]) == (overwritten, True, 1)
    changes = [event.data for event in events if event.stream == "page_change.v1"]
    order = [change["page_change_kind"] for change in changes]
    assert order.index("delete") < len(order) - 1 - order[::-1].index("move")


async def test_a_deleted_page_is_missing_in_every_form_and_comes_back_with_its_id(outside: Outside) -> None:
    title = outside.name("A")
    revs = [int(await outside.wiki.edit(title, f"text {n}") or 0) for n in range(2)]
    page = await outside.page(title)
    await outside.wiki.delete(title)
    assert (await outside.page(title))["missing"] is True
    assert (await outside.ask(pageids=str(page["pageid"]), **FULL)).pages == [{"pageid": page["pageid"], "missing": True}]
    assert (await outside.ask(revids=f"{revs[0]}|{revs[1]}", **FULL)).body["query"]["badrevids"].keys() == set(map(str, revs))
    await outside.wiki.undelete(title)
    back = await outside.page(title)
    assert (back["pageid"], back["lastrevid"]) == (page["pageid"], revs[1])
    events = await outside.told()
    gone, restored = one(events, "page_change.v1", "delete"), one(events, "page_change.v1", "undelete")
    assert (gone["page"]["page_id"], gone["revision"]["rev_id"], "performer" in gone) == (page["pageid"], revs[1], True)
    assert (restored["page"]["page_id"], restored["revision"]["rev_id"]) == (page["pageid"], revs[1])
    logs = {e.data["log_action"]: e.data["log_params"] for e in events if e.data.get("type") == "log"}
    assert logs == {"delete": [], "restore": {"count": {"revisions": 2, "files": 0}}}
    assert [e.data["rev_id"] for e in events if e.stream == "revision-create"] == [*revs, *revs]


async def test_what_is_restored_gets_a_new_id_where_its_own_is_taken(outside: Outside) -> None:
    title = outside.name("A")
    first = int(await outside.wiki.edit(title, "one") or 0)
    page = await outside.page(title)
    await outside.wiki.tick()
    second = int(await outside.wiki.edit(title, "two") or 0)
    await outside.wiki.delete(title)
    await outside.wiki.undelete(title, first)
    assert (await outside.page(title))["lastrevid"] == first
    assert str(second) in (await outside.ask(revids=f"{second}", **FULL)).body["query"]["badrevids"]
    await outside.wiki.move(title, outside.name("B"), redirect=False)
    await outside.wiki.undelete(title)
    back = await outside.page(title)
    assert back["lastrevid"] == second
    assert back["pageid"] > page["pageid"]


async def test_restored_into_a_live_page_the_newest_wins_and_page_change_is_silent(outside: Outside) -> None:
    title = outside.name("A")
    first = int(await outside.wiki.edit(title, "one") or 0)
    await outside.wiki.tick()
    second = int(await outside.wiki.edit(title, "two") or 0)
    await outside.wiki.delete(title)
    await outside.wiki.undelete(title, first)
    await outside.wiki.undelete(title)
    assert (await outside.page(title))["lastrevid"] == second
    events = await outside.told()
    assert one(events, "page_change.v1", "undelete")["revision"]["rev_id"] == first
    assert [e.data["rev_id"] for e in events if e.stream == "revision-create"] == [first, second, first, second]


async def test_older_revisions_are_restored_under_a_live_page(outside: Outside) -> None:
    title = outside.name("A")
    old = int(await outside.wiki.edit(title, "one") or 0)
    await outside.wiki.delete(title)
    await outside.wiki.tick()
    new = await outside.wiki.edit(title, "two")
    page = await outside.page(title)
    await outside.wiki.undelete(title)
    after = await outside.page(title)
    assert (after["pageid"], after["lastrevid"]) == (page["pageid"], new)
    (holder,) = (await outside.ask(revids=f"{old}", **FULL)).pages
    assert holder["pageid"] == page["pageid"]
    events = await outside.told()
    assert [e.data["page_change_kind"] for e in events if e.stream == "page_change.v1"] == ["create", "delete", "create"]


async def test_hiding_is_told_revision_by_revision(outside: Outside) -> None:
    revs = [int(await outside.wiki.edit(outside.name("A"), f"text {n}", "sum") or 0) for n in range(3)]
    await outside.wiki.hide(revs[:2], 1)
    await outside.wiki.hide(revs[:2], 1)
    await outside.wiki.hide([revs[2]], 6)
    events = await outside.told()
    seen = {e.data["rev_id"]: e.data for e in events if e.stream == "revision-visibility-change"}
    assert sorted(seen) == revs
    assert seen[revs[0]]["visibility"] == {"text": False, "user": True, "comment": True}
    assert seen[revs[0]]["prior_state"]["visibility"] == {"text": True, "user": True, "comment": True}
    assert seen[revs[2]]["visibility"] == {"text": True, "user": False, "comment": False}
    assert ("comment" in seen[revs[0]], "comment" in seen[revs[2]]) == (True, False)
    change = one(events, "page_change.v1", "visibility_change")
    assert change["revision"]["rev_id"] == revs[2]
    assert not change["revision"].keys() & {"comment", "editor"}
    assert [change["revision"][f"is_{what}_visible"] for what in ("content", "editor", "comment")] == [True, False, False]
    assert change["prior_state"]["revision"] == {"is_editor_visible": True, "is_comment_visible": True}
    logs = [e.data["log_params"] for e in events if e.data.get("type") == "log"]
    assert [(sorted(log["ids"]), log["ofield"], log["nfield"]) for log in logs] == [(revs[:2], 0, 1), ([revs[2]], 0, 6)]


async def test_a_suppression_is_silent_on_recentchange_and_names_nobody(outside: Outside) -> None:
    revs = [int(await outside.wiki.edit(outside.name("A"), f"text {n}", "sum") or 0) for n in range(2)]
    await outside.wiki.hide([revs[0]], 15)
    await outside.wiki.hide([revs[0]], 7)
    await outside.wiki.hide([revs[1]], 14)
    events = await outside.told()
    assert not [e for e in events if e.data.get("type") == "log"]
    seen = [e.data for e in events if e.stream == "revision-visibility-change"]
    assert [e["rev_id"] for e in seen] == [revs[0], revs[0], revs[1]]
    assert not any("performer" in e for e in seen)
    assert seen[1]["visibility"] == seen[1]["prior_state"]["visibility"]
    change = one(events, "page_change.v1", "visibility_change")
    assert (change["revision"]["rev_id"], "performer" in change) == (revs[1], False)


async def test_protection_adds_a_revision_that_only_revision_create_names(outside: Outside) -> None:
    first = await outside.wiki.edit(outside.name("A"), "one")
    await outside.wiki.protect(outside.name("A"))
    page = await outside.page(outside.name("A"))
    assert (page["revisions"][0]["parentid"], page["revisions"][0]["minor"]) == (first, True)
    events = await outside.told()
    assert kinds(events) == ["pa create", "re new", "re protect/protect", "re", "re"]
    assert [e.data["rev_id"] for e in events if e.stream == "revision-create"] == [first, page["lastrevid"]]
    assert one(events, "recentchange", "log")["log_params"]["details"][0]["type"] == "edit"


async def test_of_a_merged_page_a_redirect_remains(outside: Outside) -> None:
    source, target = outside.name("A"), outside.name("B")
    revs = [await outside.wiki.edit(source, f"text {n}") for n in range(2)]
    before = await outside.page(source)
    await outside.wiki.tick()
    await outside.wiki.edit(target, "target")
    latest = (await outside.page(target))["lastrevid"]
    await outside.wiki.merge(source, target)
    left = await outside.page(source)
    assert (left["pageid"], left["redirect"]) == (before["pageid"], True)
    assert left["lastrevid"] > latest
    (page,) = (await outside.ask(revids=f"{revs[0]}|{revs[1]}", **FULL)).pages
    assert (page["title"], page["lastrevid"]) == (target, latest)
    events = await outside.told()
    assert kinds(events) == [
        "pa create",
        "pa edit",
        "pa create",
        "re new",
        "re edit",
        "re new",
        "re merge/merge",
        "re",
        "re",
        "re",
        "re",
    ]
    log = one(events, "recentchange", "log")
    assert (log["title"], log["log_params"]["dest"]) == (source, target)
    assert events[-1].data["rev_id"] == left["lastrevid"] or left["lastrevid"] in [e.data.get("rev_id") for e in events]


async def test_a_partial_merge_leaves_both_current_texts_alone(outside: Outside) -> None:
    source, target = outside.name("A"), outside.name("B")
    first = int(await outside.wiki.edit(source, "one") or 0)
    await outside.wiki.tick()
    second = await outside.wiki.edit(source, "two")
    await outside.wiki.tick()
    third = await outside.wiki.edit(target, "three")
    await outside.wiki.merge(source, target, first)
    assert [(await outside.page(title))["lastrevid"] for title in (source, target)] == [second, third]
    (page,) = (await outside.ask(revids=f"{first}", **FULL)).pages
    assert page["title"] == target
    events = await outside.told()
    assert kinds(events).count("re") == 3
    assert "re merge/merge" in kinds(events)


async def test_an_import_is_one_log_event_and_a_dummy_revision_on_top(outside: Outside) -> None:
    title = outside.name("A")
    await outside.wiki.bring_in(title, {2010: "old one", 2011: "old two"})
    page = await outside.page(title)
    (top,) = page["revisions"]
    assert (top["slots"]["main"]["content"], top["minor"], top["timestamp"] > "2020") == ("old two", True, True)
    under = await outside.revision(top["parentid"])
    assert under["timestamp"] == "2011-01-01T00:00:00Z"
    events = await outside.told()
    assert [e.data["log_params"] for e in events if e.data.get("type")] == [{"count": 2}]
    made = [e.data for e in events if e.stream == "revision-create"]
    assert [e["rev_id"] for e in made][1:] == [under["revid"], top["revid"]]
    assert made[0]["dt"] == made[0]["rev_timestamp"] == "2010-01-01T00:00:00Z"
    changes = [e.data for e in events if e.stream == "page_change.v1"]
    assert top["revid"] not in [change["revision"]["rev_id"] for change in changes]
    assert all(change["dt"] < "2012" for change in changes)


async def test_old_revisions_brought_in_go_under_the_page(outside: Outside) -> None:
    title = outside.name("A")
    first = await outside.wiki.edit(title, "now")
    await outside.wiki.bring_in(title, {2010: "old"})
    page = await outside.page(title)
    assert (page["revisions"][0]["slots"]["main"]["content"], page["revisions"][0]["parentid"]) == ("now", first)
    events = await outside.told()
    made = [e.data for e in events if e.stream == "revision-create"]
    assert [e.get("rev_parent_id", 0) for e in made] == [0, 0, first]
    assert [e.data["page_change_kind"] for e in events if e.stream == "page_change.v1"] == ["create"]


async def test_a_changed_model_is_an_edit_and_a_log_event_but_no_page_change(outside: Outside) -> None:
    title = outside.name("A")
    await outside.wiki.edit(title, '{"a": 1}')
    before = await outside.page(title)
    await outside.wiki.change_model(title, "text")
    page = await outside.page(title)
    assert (page["contentmodel"], page["revisions"][0]["slots"]["main"]["contentmodel"]) == ("text", "text")
    assert page["revisions"][0]["sha1"] == before["revisions"][0]["sha1"]
    events = await outside.told()
    assert sorted(kinds(events)) == sorted(["pa create", "re new", "re edit", "re contentmodel/change", "re", "re"])
    assert one(events, "recentchange", "log")["log_params"] == {"oldmodel": "wikitext", "newmodel": "text"}


async def test_titles_in_events_are_prefixed_with_spaces_or_underscores(outside: Outside) -> None:
    title = f"User:{outside.name('Ä/b “c” 😀')}"
    await outside.wiki.edit(title, "one")
    events = await outside.told()
    assert one(events, "recentchange")["title"] == title
    assert one(events, "recentchange")["namespace"] == 2
    assert one(events, "page_change.v1")["page"]["page_title"] == title.replace(" ", "_")
    assert one(events, "page_change.v1")["page"]["namespace_id"] == 2
    assert {title_of(event) for event in events if event.stream != "recentchange"} == {title}
    assert all(title in all_titles(event) for event in events)
