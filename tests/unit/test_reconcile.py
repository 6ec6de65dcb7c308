"""What differs between the store and what a wiki says, and what is done about it, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from syncer.fetch import Edited, Logged
from syncer.model import VISIBLE, Answer, Cause, Change, Page, Revision, Visibility
from syncer.reconcile.compare import Compare
from syncer.reconciled import Job, Reconciled
from tests.desk import DOMAIN, WIKI, Desk, at, change
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.store import Store

NOW = at(0)


def compare(store: Store, *, everything: bool = True) -> Compare:
    return Compare(store, WIKI, DOMAIN, lambda namespace: everything or namespace == 0, NOW)


def edited(page_id: int, rev_id: int, title: str = "A", namespace: int = 0) -> Edited:
    return Edited(at(-60), page_id, rev_id, title, namespace, bot=False)


def logged(kind: str, *titles: str | tuple[str, int], **more: Any) -> Logged:
    named = tuple((title, 0) if isinstance(title, str) else title for title in titles)
    return Logged(at(-60), 77, kind, named, **more)


def names(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    return [(*one.rev_ids, *one.titles, *one.page_ids) for one in changes]


@pytest.fixture
def store() -> Store:
    """Pages 1 at A, 2 at Talk:B, and 3 at C, which is gone; the second revision of A's is hidden from nobody."""
    desk, world = Desk(), World().page(1, "A", 10, 11).page(2, "Talk:B", 20).page(3, "C", 30)
    desk.settle(world, change(Cause.EDIT, "A", rev=11), change(Cause.EDIT, "Talk:B", rev=20), change(Cause.EDIT, "C", rev=30))
    world.hide(10, 4).delete(3)
    desk.settle(world, change(Cause.VISIBILITY, "A", rev=10), change(Cause.DELETE, "C", page=3))
    return desk.store


def test_what_is_known_is_not_found(store: Store) -> None:
    rows = [edited(1, 10), edited(1, 11), edited(2, 20, "Talk:B", 1)]
    assert compare(store).happened(rows) == ([], [])
    assert compare(store, everything=False).happened([edited(9, 90, "Talk:X", 1)]) == ([], [])


def test_a_newer_revision_is_found_once_a_page(store: Store) -> None:
    rows = [edited(1, 12), edited(1, 14), edited(1, 13), edited(9, 90, "New"), edited(3, 31, "C")]
    found, titles = compare(store).happened(rows)
    assert sorted(names(found)) == [(14, "A"), (31, "C"), (90, "New")]
    assert not titles
    assert {one.cause for one in found} == {Cause.RECONCILE}
    assert {one.source.stream for one in found} == {"reconcile"}
    assert {one.source.event_time for one in found} == {at(-60)}


def test_a_page_that_is_known_is_found_wherever_it_has_gone(store: Store) -> None:
    assert names(compare(store, everything=False).happened([edited(2, 21, "Talk:B", 1)])[0]) == [(21, "Talk:B")]


def test_the_same_finding_has_the_same_id(store: Store) -> None:
    (first,), _ = compare(store).happened([edited(1, 12)])
    (again,), _ = replace(compare(store), now=at(3600)).happened([edited(1, 12)])
    (other,), _ = compare(store).happened([edited(1, 13)])
    assert first.change_id == again.change_id != other.change_id


def test_titles_of_the_log_are_to_be_looked_at(store: Store) -> None:
    rows = [logged("move/move", "A", ("Talk:X", 1)), logged("delete/delete", "A"), logged("block/block", ("User:Y", 2))]
    rows += [logged("create/create", "Z"), logged("delete/event", ("Special:Log", -1)), logged("delete/flow", ("Special:Z", -1))]
    assert compare(store).happened(rows) == ([], ["A", "Talk:X"])
    assert compare(store, everything=False).happened(rows) == ([], ["A"])
    assert compare(store, everything=False).happened([logged("protect/protect", ("Talk:B", 1))]) == ([], ["Talk:B"])


@pytest.mark.parametrize(
    ("old", "new", "found"), [(0, 4, False), (0, 5, True), (4, 0, True), (1, 5, False), (0, 1, True), (0, 0, False)]
)
def test_visibility_is_compared_with_the_ledger(store: Store, old: int, new: int, *, found: bool) -> None:
    """Of revision 10 the user is hidden. Only what an entry changed is known by it."""
    changes, titles = compare(store).happened([logged("delete/revision", "A", rev_ids=(10,), old=old, new=new)])
    assert names(changes) == ([(10, "A")] if found else [])
    assert not titles


def page(page_id: int, title: str, rev_id: int, *, namespace: int = 0, seen: Visibility = VISIBLE, **more: Any) -> Page:
    revision = Revision(
        rev_id=rev_id, rev_parent_id=0, timestamp="", size=0, content_model="unknown", text=None, sha1=None, visibility=seen
    )  # fmt: skip
    return Page(
        page_id=page_id, title=title, namespace=namespace, is_redirect=more.get("redirect", False), last_rev_id=rev_id,
        revisions={rev_id: revision},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (page(1, "A", 11), False),
        (page(1, "A", 12), True),
        (page(1, "A", 10), True),  # a partial restore goes back
        (page(1, "A2", 11), True),
        (page(1, "A", 11, redirect=True), True),
        (page(1, "A", 11, seen=Visibility(user=False)), True),
        (page(1, "Talk:A", 11, namespace=1), True),
        (page(3, "C", 30), True),
        (page(9, "New", 90), True),
        (page(9, "Talk:New", 90, namespace=1), False),
    ],
)
def test_a_page_is_what_the_store_has_or_it_is_found(store: Store, seen: Page, *, found: bool) -> None:
    changes = compare(store, everything=False).pages(Answer(pages={seen.page_id: seen}))
    assert names(changes) == ([(seen.page_id,)] if found else [])


def test_what_is_gone_is_found_where_it_is_known(store: Store) -> None:
    assert names(compare(store).pages(Answer(missing_page_ids=frozenset({1, 3, 9})))) == [(1,)]
    assert names(compare(store).titles(Answer(missing_titles={"A": 0, "C": 0, "Nowhere": 0}))) == [("A",)]


@pytest.mark.parametrize("job", [None, Job("window", NOW, NOW), Job("gap", NOW, NOW, "logevents", "2026|1", ("a", "b"))])
def test_how_far_a_wiki_is_comes_back_from_the_journal(job: Job | None) -> None:
    each = Reconciled(WIKI, DOMAIN, NOW, (("a", "b"), (None, "c")), job)
    each.found["gap"], each.asked["window"] = 3, 4
    assert Reconciled.decode(each.encode()) == each
