"""What the settings want of a wiki, wanted before, and what follows where that differs: step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from syncer.config import WikiSettings
from syncer.decide import Context
from syncer.feed import Scope
from syncer.fetch import Edited, Logged
from syncer.journal import Topic
from syncer.model import SCOPE, Cause, Change, Kind
from syncer.outcome import Publish, Skip, SkipReason
from syncer.reconcile import leaving
from syncer.reconcile.compare import Compare, about
from syncer.reconcile.leaving import Leaving, not_wanted
from syncer.reconcile.scopes import Scopes, Wanted, both, without
from syncer.reconciled import ALL, Job, Reconciled
from tests.desk import DOMAIN, WIKI, Desk, at, change, seed
from tests.world import World

if TYPE_CHECKING:
    from syncer.reconciled import Namespaces

ARTICLES, TALK, EVERYTHING = WikiSettings(), WikiSettings(namespaces=(1, 0)), WikiSettings(namespaces=("*", 0))
NONE = WikiSettings(include=("de.*",))
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


def history(*settings: tuple[float, WikiSettings]) -> Scopes:
    """What was wanted since so many days ago, as it comes from one start to the next."""
    kept: bytes | None = None
    for days, one in settings:
        scopes = Scopes.after(kept, one, ago(days))
        kept = scopes.encode()
    return scopes


def wiki(**more: Any) -> Reconciled:
    return Reconciled(WIKI, DOMAIN, ago(0), **more)


# -- namespaces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "common", "rest"),
    [
        (ALL, ALL, ALL, ()),
        (ALL, (0, 1), (0, 1), ALL),
        ((0, 1), ALL, (0, 1), ()),
        ((0, 1), (1, 2), (1,), (0,)),
        ((), ALL, (), ()),
        (ALL, (), (), ALL),
        ((0,), (), (), (0,)),
    ],
)
def test_what_two_scopes_have_in_common_and_what_is_new(
    one: Namespaces, other: Namespaces, common: Namespaces, rest: Namespaces
) -> None:
    assert (both(one, other), without(one, other)) == (common, rest)


@pytest.mark.parametrize(
    ("settings", "namespaces"),
    [
        (ARTICLES, (0,)), (TALK, (0, 1)), (EVERYTHING, ALL), (NONE, ()), (WikiSettings(exclude=("enwiki",)), ()),
        (WikiSettings(domains=("wikidata.org",)), ()), (WikiSettings(namespaces=(0, 0)), (0,)),
    ],
)  # fmt: skip
def test_a_wiki_that_is_not_wanted_has_no_namespaces(settings: WikiSettings, namespaces: Namespaces) -> None:
    assert Wanted.of(ago(0), settings).namespaces(WIKI, DOMAIN) == namespaces


# -- what was wanted when --------------------------------------------------------------------------------------------------


def test_a_first_start_wants_what_it_wants() -> None:
    scopes = history((0, TALK))
    assert [entry.settings for entry in scopes.entries] == [TALK]
    assert scopes.applied(wiki()) == wiki(scope=(0, 1), complete=(0, 1), since=ago(0))
    assert not scopes.applied(wiki()).rescoping


def test_nothing_follows_from_a_start_with_the_same_settings() -> None:
    scopes = history((9, ARTICLES), (0, ARTICLES))
    each = history((9, ARTICLES)).applied(wiki())
    assert [entry.since for entry in scopes.entries] == [ago(9)]
    assert scopes.applied(each) is each


@pytest.mark.parametrize(
    ("before", "after", "complete"),
    [
        (ARTICLES, TALK, (0,)),
        (TALK, ARTICLES, (0,)),
        (ARTICLES, EVERYTHING, (0,)),
        (EVERYTHING, TALK, (0, 1)),
        (TALK, NONE, ()),
        (NONE, TALK, ()),
    ],
)
def test_what_follows_from_others(before: WikiSettings, after: WikiSettings, complete: Namespaces) -> None:
    job = Job("window", ago(1), ago(0))
    each = replace(history((9, before)).applied(wiki()), job=job)
    scopes = history((9, before), (0, after))
    there = scopes.applied(each)
    assert there == replace(each, scope=scopes.now.namespaces(WIKI, DOMAIN), complete=complete, leaving=0, since=ago(0), job=job)
    assert there.rescoping
    assert scopes.applied(replace(each, job=Job("scope", ago(1), ago(0)))).job is None


def test_changed_back_before_it_was_done() -> None:
    """What was complete no more is not taken to be; and what came in meanwhile is looked for."""
    each = history((9, TALK)).applied(wiki())
    narrowed = history((9, TALK), (5, ARTICLES)).applied(each)
    back = history((9, TALK), (5, ARTICLES), (4, TALK)).applied(narrowed)
    assert (back.scope, back.complete, back.leaving) == ((0, 1), (0,), 0)
    each = history((9, ARTICLES)).applied(wiki())
    widened = history((9, ARTICLES), (5, TALK)).applied(each)
    back = history((9, ARTICLES), (5, TALK), (4, ARTICLES)).applied(widened)
    assert (back.scope, back.complete, back.leaving) == ((0,), (0,), 0)


def test_of_a_wiki_that_is_new_what_was_not_always_wanted_may_be_missing() -> None:
    assert history((9, NONE), (5, TALK)).begun(wiki()).complete == ()
    assert history((9, ARTICLES), (5, TALK)).begun(wiki()).complete == (0,)
    assert history((9, TALK), (5, TALK)).begun(wiki()).complete == (0, 1)


def test_what_was_wanted_is_forgotten_after_as_long_as_wikis_tell_of() -> None:
    long_ago = history((70, NONE), (40, ARTICLES), (0, TALK))
    assert [entry.settings for entry in long_ago.entries] == [ARTICLES, TALK]
    assert history((70, NONE), (40, ARTICLES), (0, ARTICLES)).begun(wiki()).complete == (0,)
    many = history(*((1, (ARTICLES, TALK)[number % 2]) for number in range(300)))
    assert len(many.entries) == 100


def test_settings_of_a_newer_version_are_read() -> None:
    kept = orjson.dumps([{"since": ago(9), "wiki": {**ARTICLES.model_dump(mode="json"), "language": "x"}}])
    assert [entry.settings for entry in Scopes.after(kept, ARTICLES, ago(0)).entries] == [ARTICLES]


@pytest.mark.parametrize(
    "each",
    [
        wiki(), wiki(scope=(), since=ago(3)), wiki(scope=ALL, complete=(0, 1), leaving=17, since=ago(3)),
        wiki(scope=(0, 1), complete=(0,), since=ago(3), job=Job("scope", ago(9), ago(3), "pages", "17", namespaces=(1,))),
    ],
)  # fmt: skip
def test_how_far_it_is_comes_back_from_the_journal(each: Reconciled) -> None:
    assert Reconciled.decode(each.encode()) == each


def test_a_record_of_an_older_version_has_no_scope() -> None:
    part = orjson.loads(wiki(job=Job("gap", "a", "b")).encode())
    for name in ("scope", "complete", "leaving", "since"):
        del part[name]
    del part["job"]["namespaces"]
    each = Reconciled.decode(orjson.dumps(part))
    assert (each.scope, each.rescoping, each.job) == (None, False, Job("gap", "a", "b"))


# -- less ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pages(desk: Desk) -> Desk:
    """Pages 1 to 6 at A, Talk:B, User:C, D, Talk:E (gone) and Talk:F."""
    world = World().page(1, "A", 10).page(2, "Talk:B", 20).page(3, "User:C", 30)
    world.page(4, "D", 40).page(5, "Talk:E", 50).page(6, "Talk:F", 60)
    seed(desk, world)
    desk.settle(world.delete(5), change(Cause.DELETE, "Talk:E", page=5))
    return desk


@pytest.mark.parametrize(
    ("scope", "found"), [(ALL, []), ((), [1, 2, 3, 4, 6]), ((0,), [2, 3, 6]), ((0, 1, 2), []), ((1,), [1, 3, 4])]
)
def test_pages_that_are_not_wanted_are_found_in_the_store(pages: Desk, scope: Namespaces, found: list[int]) -> None:
    assert not_wanted(pages.store.seen, wiki(scope=scope, leaving=0)) == Leaving(found, None)


def test_some_at_a_time(pages: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LOOKED_AT", 4)
    each = wiki(scope=(0,), leaving=0)
    first = not_wanted(pages.store.seen, each)
    assert first == Leaving([2, 3], 4)
    assert not_wanted(pages.store.seen, replace(each, leaving=first.following)) == Leaving([6], None)
    monkeypatch.setattr(leaving, "MOST", 1)
    assert not_wanted(pages.store.seen, each) == Leaving([2], 2)


def left(*page_ids: int) -> list[Change]:
    return [replace(change(Cause.RECONCILE, page=page_id, stream=SCOPE), bot=False) for page_id in page_ids]


def test_what_is_not_wanted_is_deleted_once_without_a_question(pages: Desk) -> None:
    pages.asked.clear()
    pages.namespaces = frozenset({0})
    before = len(pages.mutations)
    outcomes = pages.settle(World(), *left(2, 6, 2, 1, 5, 99))
    assert [type(outcome) for outcome in outcomes] == [Publish, Publish, Skip, Skip, Skip, Skip]
    assert set(outcomes[2:]) == {Skip(SkipReason.UNCHANGED)}
    assert [(one.kind, one.page.title, one.cause) for one in pages.mutations[before:]] == [
        (Kind.DELETE, "Talk:B", Cause.RECONCILE), (Kind.DELETE, "Talk:F", Cause.RECONCILE),
    ]  # fmt: skip
    assert not pages.asked
    assert set(pages.live()) == {1, 3, 4}
    assert pages.settle(World(), *left(2, 6)) == [Skip(SkipReason.UNCHANGED)] * 2


def test_one_that_has_moved_back_meanwhile_stays(pages: Desk) -> None:
    """As far as that was heard; and what was deleted comes as a whole text once it is wanted again."""
    pages.namespaces = frozenset({0})
    told = left(2, 6)
    world = World().page(1, "A", 10).page(2, "B", 20).page(6, "Talk:F", 60)
    pages.settle(world, change(Cause.MOVE, "Talk:B", "B"))
    assert pages.settle(World(), *told)[0] == Skip(SkipReason.UNCHANGED)
    assert set(pages.live()) == {1, 2, 3, 4}
    pages.now += 100
    pages.namespaces = frozenset({0, 1})
    pages.settle(world, change(Cause.RECONCILE, page=6))
    assert pages.mutations[-1].kind is Kind.SNAPSHOT
    assert pages.mutations[-1].gap
    assert pages.text(6) is not None


@pytest.mark.parametrize("settings", [NONE, WikiSettings(domains=("wikidata.org",), namespaces=("*",))])
def test_all_pages_of_a_wiki_that_is_not_wanted_go(pages: Desk, settings: WikiSettings) -> None:
    pages.asked.clear()
    pages.settler.context = lambda: Context(None, parents=True, young=10.0, now=pages.now, wikis=Scope(settings))
    pages.settle(World(), *left(1, 2, 3, 4, 5, 6))
    assert not pages.live()
    assert not pages.asked


def test_changes_of_a_wiki_that_is_not_included_are_skipped(pages: Desk) -> None:
    pages.asked.clear()
    pages.settler.context = lambda: Context(None, parents=True, young=10.0, now=pages.now, wikis=Scope(NONE))
    told = [change(Cause.EDIT, "A", rev=11), change(Cause.DELETE, "A", page=1), change(Cause.VISIBILITY, rev=10)]
    assert pages.settle(World(), *told) == [Skip(SkipReason.NOT_INCLUDED)] * 3
    assert not pages.asked
    assert pages.live()
    assert not [one for one in pages.records if one.topic is Topic.WATERMARKS]


def test_each_is_a_change_of_its_own(pages: Desk) -> None:
    compare = Compare(pages.store, WIKI, DOMAIN, lambda _: True, at(0))
    one, other = compare.left(2), compare.left(2)
    assert one.change_id != other.change_id
    assert (one.source.stream, one.page_ids, one.cause) == (SCOPE, (2,), Cause.RECONCILE)


# -- more ------------------------------------------------------------------------------------------------------------------


def test_rows_of_namespaces_that_were_there_before_are_left_out() -> None:
    edits = [Edited(at(0), 1, 10, "A", 0, bot=False), Edited(at(0), 2, 20, "Talk:B", 1, bot=False)]
    moved = Logged(at(0), 7, "move/move", (("A", 0), ("Talk:C", 1)))
    rows: list[Edited | Logged] = [*edits, moved, Logged(at(0), 8, "protect/protect", (("A", 0),))]
    assert about(rows, ()) == rows
    assert about(rows, (1,)) == [edits[1], moved]


def test_pages_that_are_published_no_more_are_looked_for(pages: Desk) -> None:
    assert pages.store.seen.gone(WIKI, 0, 50) == [5]
    assert pages.store.seen.gone(WIKI, 5, 50) == []
    assert pages.store.seen.alive(WIKI) == 5
