"""What a wiki keeps of what happened, as rows; the requests for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from syncer.errors import WikiUnavailable
from syncer.fetch import Edited, Listing, Logged, Span
from syncer.fetch.lists import listing, params
from tests.unit.test_fetch_demo import asking, farm

if TYPE_CHECKING:
    from syncer.demo.farm import Farm

__all__ = ["farm"]

SPAN = Span("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z")
AT = "2026-11-23T12:00:00Z"
EDIT = {"type": "edit", "ns": 0, "title": "A", "pageid": 3, "revid": 9, "old_revid": 8, "rcid": 2, "bot": True, "timestamp": AT}
MOVE = {
    "logid": 5, "ns": 0, "title": "A", "params": {"target_ns": 1, "target_title": "Talk:B", "suppressredirect": False},
    "type": "move", "action": "move", "timestamp": AT,
}  # fmt: skip
HIDE: dict[str, Any] = {
    "logid": 6, "ns": 0, "title": "A", "type": "delete", "action": "revision", "timestamp": AT,
    "params": {"type": "revision", "ids": [7, "8"], "old": {"bitmask": 1, "content": True}, "new": {"bitmask": 6}},
}  # fmt: skip


def read(name: str, *rows: Any) -> Listing:
    return listing("enwiki", name, {"query": {name: list(rows)}}, None)


def test_an_edit_names_its_page_and_revision() -> None:
    assert read("recentchanges", EDIT).rows == (Edited(AT, 3, 9, "A", 0, bot=True),)


def test_an_entry_names_every_title_with_its_namespace() -> None:
    assert read("logevents", MOVE).rows == (Logged(AT, 5, "move/move", (("A", 0), ("Talk:B", 1))),)


def test_an_entry_about_visibility_names_its_revisions() -> None:
    assert read("logevents", HIDE).rows == (Logged(AT, 6, "delete/revision", (("A", 0),), (7, 8), 1, 6),)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        *(("recentchanges", {**EDIT, key: value}) for key, value in (("pageid", 0), ("revid", "9"), ("title", ""), ("ns", None))),
        ("recentchanges", {**EDIT, "revid": 2**63}),  # which no store has room for
        ("logevents", {**HIDE, "params": {**HIDE["params"], "ids": ["9" * 20]}}),
        ("recentchanges", {**EDIT, "timestamp": "yesterday"}),
        ("recentchanges", {name: value for name, value in EDIT.items() if name != "title"}),  # its action is hidden
        ("recentchanges", "a row"),
        ("logevents", {"logid": 5, "actionhidden": True, "timestamp": AT}),
        ("logevents", {**MOVE, "params": {"target_title": "B"}}),
        ("logevents", {**MOVE, "title": "\ud800"}),
        ("logevents", {**HIDE, "params": {"type": "revision"}}),
        ("logevents", {**HIDE, "params": ["old"]}),
    ],
)
def test_a_row_that_cannot_be_read_is_left_out_alone(name: str, row: Any) -> None:
    good = EDIT if name == "recentchanges" else MOVE
    assert len(read(name, good, row, good).rows) == 2


def test_more_is_where_the_next_rows_begin() -> None:
    assert read("recentchanges").more is None
    document = {"query": {"recentchanges": []}, "continue": {"rccontinue": "2026|1", "continue": "-||"}}
    assert listing("enwiki", "recentchanges", document, None).more == "2026|1"


@pytest.mark.parametrize("document", [{}, {"query": []}, {"query": {"logevents": {}}}, {"query": {"recentchanges": []}}])
def test_an_answer_without_the_list_is_none(document: dict[str, Any]) -> None:
    with pytest.raises(WikiUnavailable):
        listing("enwiki", "logevents", document, None)


def test_a_list_without_an_end_is_given_up() -> None:
    with pytest.raises(WikiUnavailable):
        listing("enwiki", "logevents", {"query": {"logevents": []}, "continue": {"lecontinue": "2026|1"}}, "2026|1")


def test_the_parameters_are_those_of_the_list() -> None:
    assert params("recentchanges", SPAN, None) == {
        "list": "recentchanges", "rcdir": "newer", "rcstart": SPAN.start, "rcend": SPAN.end, "rclimit": "max",
        "rctype": "edit|new", "rcprop": "ids|title|timestamp|flags",
    }  # fmt: skip
    assert params("logevents", SPAN, "2026|1")["lecontinue"] == "2026|1"
    some = SPAN._replace(namespaces=(1, 14))
    assert params("recentchanges", some, None) == {**params("recentchanges", SPAN, None), "rcnamespace": "1|14"}
    assert params("logevents", some, None) == params("logevents", SPAN, None)  # a move may lead from another one


async def test_the_farm_is_listed_to_the_end(farm: Farm) -> None:
    wiki = farm["enwiki"]
    for number in range(700):
        wiki.edit("Listed", f"text {number}")
    wiki.protect("Listed")
    since = Span("2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z")
    async with asking(farm) as (_, api):
        first = await api.listed("enwiki", "en.wikipedia.org", "recentchanges", since, None)
        rest = await api.listed("enwiki", "en.wikipedia.org", "recentchanges", since, first.more)
        log = await api.listed("enwiki", "en.wikipedia.org", "logevents", since, None)
    assert (len(first.rows), len(rest.rows), rest.more) == (500, 200, None)
    assert [row.rev_id for row in (*first.rows, *rest.rows) if isinstance(row, Edited)] == wiki.history[
        wiki.page("Listed").page_id
    ][:-1]
    assert [row.kind for row in log.rows if isinstance(row, Logged)] == ["protect/protect"]


async def test_a_glance_gives_everything_but_the_texts(farm: Farm) -> None:
    wiki = farm["enwiki"]
    page = next(page for page in wiki.pages.values() if len(wiki.history[page.page_id]) == 1)
    wiki.hide([page.latest], 6)
    async with asking(farm) as (_, api):
        by_title = await api.glance("enwiki", "en.wikipedia.org", titles=[page.title.text, "Nowhere at all"])
        by_id = await api.glance("enwiki", "en.wikipedia.org", page_ids=[page.page_id, 10**12])
        whole = await api.page_ids("enwiki", "en.wikipedia.org", [page.page_id])
    assert set(by_title.missing_titles) == {"Nowhere at all"}
    assert by_id.missing_page_ids == {10**12}
    assert by_title.pages == by_id.pages
    (seen,), (full,) = by_id.pages.values(), whole.pages.values()
    assert (seen.title, seen.last_rev_id, seen.is_redirect) == (full.title, full.last_rev_id, full.is_redirect)
    assert seen.revisions[page.latest].visibility == full.revisions[page.latest].visibility
    assert not seen.revisions[page.latest].visibility.user
    assert seen.revisions[page.latest].text is None
    assert full.revisions[page.latest].text
