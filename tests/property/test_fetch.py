"""A wiki may send what it likes: nothing crashes, good pages count, and nothing hidden gets through."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from syncer.errors import SyncerError, WikiUnavailable
from syncer.fetch.pages import Gathered, site
from syncer.fetch.verdict import read, retry_after
from syncer.model import Answer, Visibility

HIDDEN = "what nobody may see"

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8)
nonsense = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def revision(rev_id: int, **facts: Any) -> dict[str, Any]:
    main = {"contentmodel": "wikitext", "content": f"text {rev_id}", "sha1": "a" * 40}
    return {
        "revid": rev_id, "parentid": 1, "minor": False, "user": "Alice", "timestamp": "2026-11-24T02:41:28Z", "size": 7,
        "sha1": "b" * 40, "slots": {"main": main}, "comment": "why", "tags": ["x"], **facts,
    }  # fmt: skip


def hidden(rev_id: int) -> dict[str, Any]:
    """As a client with rights gets it: everything hidden, and everything sent along (PROTOCOL e)."""
    main = {"contentmodel": "wikitext", "texthidden": True, "content": HIDDEN, "sha1": HIDDEN}
    flags = {"userhidden": True, "commenthidden": True, "sha1hidden": True, "suppressed": True}
    return revision(rev_id, user=HIDDEN, comment=HIDDEN, sha1=HIDDEN, slots={"main": main}, **flags)


def page(page_id: int, *revisions: dict[str, Any]) -> dict[str, Any]:
    return {"pageid": page_id, "ns": 0, "title": f"Page {page_id}", "lastrevid": 10, "revisions": list(revisions)}


QUERY: dict[str, Any] = {
    "normalized": [{"fromencoded": False, "from": "page_1", "to": "Page 1"}],
    "interwiki": [{"title": "de:A", "iw": "de"}],
    "badrevids": {"99": {"revid": 99, "missing": True}},
    "pages": [
        page(1, revision(10), revision(11)),
        page(2, hidden(20), revision(21)),
        {"ns": 0, "title": "Gone", "missing": True},
        {"ns": -1, "title": "Special:X", "special": True},
    ],
}
SITE: dict[str, Any] = {
    "query": {
        "general": {"server": "//en.wikipedia.org", "articlepath": "/wiki/$1"},
        "rightsinfo": {"url": "https://example.org/", "text": "A licence"},
        "namespaces": {"0": {"id": 0, "name": ""}, "1": {"id": 1, "name": "Talk", "canonical": "Talk"}},
        "namespacealiases": [{"id": 1, "alias": "T"}],
    }
}


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, inner in below for path in paths(inner, (*at, key)))]


def put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    tree = copy.copy(tree)
    tree[path[0]] = put(tree[path[0]], path[1:], value)
    return tree


def answer(query: object) -> Answer:
    gathered = Gathered()
    gathered.add(query)
    return gathered.answer(["page_1", "Gone", "de:A"])


WHOLE = answer(QUERY)
places = st.sampled_from([path for path in paths(QUERY) if not path or not str(path[-1]).endswith("hidden")])


@given(places, nonsense)
def test_one_thing_wrong_costs_at_most_the_page_it_belongs_to(path: tuple[Any, ...], value: object) -> None:
    found = answer(put(QUERY, path, value))
    assert HIDDEN not in repr(found)
    everything = path in {(), ("pages",)}
    pretends = path[-1:] == ("pageid",) and value in (1, 2)  # a page that says it is another one
    for index, page_id in enumerate((1, 2)):
        if path[:2] != ("pages", index) and not everything and not pretends:
            assert found.pages[page_id] == WHOLE.pages[page_id]
    for rev in (rev for found_page in found.pages.values() for rev in found_page.revisions.values()):
        assert rev.text is None or rev.visibility.text
        assert rev.fault is None or rev.text is None
        assert isinstance(rev.size, int)
        assert isinstance(rev.timestamp, str)
    for found_page in found.pages.values():
        found_page.title.encode()
    # One wrong revision leaves the others of its page as they were.
    if path[:3] == ("pages", 0, "revisions") and len(path) > 4 and path[3] == 0:
        assert found.pages[1].revisions[11] == WHOLE.pages[1].revisions[11]


@given(st.lists(st.tuples(places, nonsense), max_size=4))
def test_many_things_wrong_never_crash_nor_show_what_is_hidden(changes: list[tuple[tuple[Any, ...], object]]) -> None:
    query: Any = QUERY
    for path, value in changes:
        try:
            query = put(query, path, value)
        except (KeyError, IndexError, TypeError):
            continue  # what was there is gone already
    assert HIDDEN not in repr(answer(query))


@given(nonsense)
def test_nonsense_never_crashes(value: object) -> None:
    answer(value)
    answer({"pages": value})
    answer({"pages": [value]})


@given(st.sampled_from(paths(SITE)), nonsense)
def test_a_wiki_that_says_nonsense_of_itself_is_unavailable_at_worst(path: tuple[Any, ...], value: object) -> None:
    document = put(SITE, path, value)
    try:
        found = site("xxwiki", document if isinstance(document, dict) else {})
    except WikiUnavailable:
        return
    assert "$1" in found.article_url
    assert all(isinstance(number, int) for number in found.namespaces.values())


bodies = st.binary(max_size=200) | nonsense.map(lambda value: orjson.dumps(value) if _dumps(value) else b"{")
headers = st.dictionaries(st.sampled_from(["Retry-After", "Date", "Content-Type"]), st.text(max_size=40))


def _dumps(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


@given(st.integers(100, 599), headers, bodies)
def test_every_http_answer_is_json_or_a_known_error(status: int, headers: dict[str, str], body: bytes) -> None:
    try:
        assert isinstance(read("xxwiki", status, headers, body), dict)
        assert status == 200
    except SyncerError as error:
        after = getattr(error, "after", None)
        assert after is None or 0 <= after <= 3600


@given(st.text(max_size=40), st.text(max_size=40))
def test_retry_after_is_bounded_whatever_it_says(value: str, date: str) -> None:
    seconds = retry_after({"Retry-After": value, "Date": date})
    assert seconds is None or 0 <= seconds <= 3600


def test_the_whole_answer_is_as_expected() -> None:
    """So that the comparisons above compare something."""
    assert set(WHOLE.pages[1].revisions) == {10, 11}
    assert WHOLE.pages[2].revisions[20].visibility == Visibility(text=False, user=False, comment=False)
    assert WHOLE.pages[2].revisions[21].text == b"text 21"
    assert (WHOLE.bad_rev_ids, WHOLE.invalid_titles) == (frozenset({99}), frozenset({"de:A"}))
    assert WHOLE.canonical == {"page_1": "Page 1"}
