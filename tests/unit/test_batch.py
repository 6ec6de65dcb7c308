from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from syncer.enrich import batch
from syncer.enrich.batch import Batch
from syncer.enrich.inwork import InWork
from syncer.enrich.queues import WikiQueue
from syncer.errors import Throttled, Unusable, WikiUnavailable
from syncer.model import Answer, Cause
from syncer.outcome import Aside, Merged, Publish, Skip, SkipReason
from tests.desk import START, Desk, change, facts
from tests.world import SITE, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from syncer.model import Change, Site


@dataclass
class FakeApi:
    """Answers from a world. ``too_much`` are values that no answer has room for; ``failing`` comes after so many requests."""

    world: World
    ahead = 0.0
    too_much: frozenset[int | str] = frozenset()
    failing: dict[int, Exception] = field(default_factory=dict)
    asked: list[tuple[int | str, ...]] = field(default_factory=list)

    async def revisions(self, _wiki_id: str, _domain: str, rev_ids: Sequence[int]) -> Answer:
        self._ask(rev_ids)
        return self.world.of_revisions(rev_ids)

    async def titles(self, _wiki_id: str, _domain: str, titles: Sequence[str]) -> Answer:
        self._ask(titles)
        return self.world.of_titles(titles)

    async def page_ids(self, _wiki_id: str, _domain: str, page_ids: Sequence[int]) -> Answer:
        self._ask(page_ids)
        return self.world.of_page_ids(page_ids)

    async def site(self, _wiki_id: str, _domain: str) -> Site:
        return SITE

    def _ask(self, values: Sequence[int | str]) -> None:
        self.asked.append(tuple(values))
        if error := self.failing.get(len(self.asked)):
            raise error
        if not self.too_much.isdisjoint(values):
            raise Unusable("answer_too_large", "an answer of more bytes than api.max_body allows")


@dataclass
class Bench:
    """A batch on a desk."""

    desk: Desk
    folder: Path
    queue: WikiQueue = field(default_factory=lambda: WikiQueue("enwiki", "en.wikipedia.org"))

    def batch(self, api: FakeApi, *changes: Change) -> Batch:
        for item in self.desk.take_in(changes):
            self.queue.add(item)
        return Batch(self.queue, self.queue.take(), api, self.desk.settler, self.work, InWork(self.folder / "in-work"))

    async def work(self, work: Callable[[], Any]) -> Any:
        return work()

    async def see_through(self, api: FakeApi, *changes: Change) -> Batch:
        made = self.batch(api, *changes)
        await made.see_through(SITE)
        assert self.queue.in_work == len(made.pending) == 0
        return made

    @property
    def outcomes(self) -> list[Any]:
        return [outcome for _, outcome in self.desk.outcomes]

    @property
    def asides(self) -> dict[int, str]:
        """What was set aside: the revision that the change names, and why."""
        return {one.rev_ids[0]: outcome.reason for one, outcome in self.desk.outcomes if isinstance(outcome, Aside)}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(Desk(), tmp_path)
    monkeypatch.setattr(time, "time", lambda: made.desk.now)
    yield made
    made.desk.close()


def edits(*rev_ids: int) -> list[Change]:
    return [change(Cause.EDIT, f"P{rev_id}", rev=rev_id) for rev_id in rev_ids]


def pages(*rev_ids: int) -> World:
    """A page of its own for each revision."""
    world = World()
    for rev_id in rev_ids:
        world.page(1000 + rev_id, f"P{rev_id}", rev_id)
    return world


async def test_one_request_answers_for_fifty(bench: Bench) -> None:
    world = pages(*range(1, 51))
    api = FakeApi(world)
    await bench.see_through(api, *edits(*range(1, 51)))
    assert [len(values) for values in api.asked] == [50]
    assert bench.desk.live() == facts(world)
    bench.desk.check()


async def test_it_asks_as_long_as_answers_leave_something_open(bench: Bench) -> None:
    world = World().page(1, "A", 9, 10)
    api = FakeApi(world)
    await bench.see_through(api, change(Cause.VISIBILITY, "A", rev=9))
    assert api.asked == [(9,), (10,)]
    assert isinstance(bench.outcomes[0], Publish)


async def test_what_needs_no_asking_any_more_is_not_asked(bench: Bench) -> None:
    """It was published while the change waited."""
    api = FakeApi(World())
    made = bench.batch(api, *edits(1))
    other = WikiQueue("enwiki", "en.wikipedia.org")
    await Bench(bench.desk, bench.folder, other).see_through(FakeApi(pages(1)), *edits(1))
    await made.see_through(SITE)
    assert [type(outcome) for outcome in bench.outcomes] == [Publish, Merged]
    assert api.asked == []
    assert bench.queue.in_work == 0


@pytest.mark.parametrize("bad", [{7}, {1, 50}, set(range(1, 51))])
async def test_only_what_cannot_be_answered_for_is_set_aside(bench: Bench, bad: set[int]) -> None:
    world = pages(*range(1, 51))
    api = FakeApi(world, too_much=frozenset(bad))
    await bench.see_through(api, *edits(*range(1, 51)))
    assert bench.asides == dict.fromkeys(bad, "answer_too_large")
    assert bench.desk.live().keys() == {1000 + rev_id for rev_id in range(1, 51) if rev_id not in bad}
    assert len(api.asked) < 2 * 50
    bench.desk.check()


async def test_so_is_what_is_only_asked_for_because_of_an_answer(bench: Bench) -> None:
    """The current revision of a page is too large: the change that is about an older one can do nothing about it."""
    world = pages(2).page(1, "A", 9, 10)
    api = FakeApi(world, too_much=frozenset({10}))
    await bench.see_through(api, change(Cause.EDIT, "A", rev=9), *edits(2))
    assert bench.asides == {9: "answer_too_large"}
    assert bench.desk.live().keys() == {1002}
    assert len(api.asked) == 2


async def test_and_by_title(bench: Bench) -> None:
    world = pages(2)
    api = FakeApi(world, too_much=frozenset({"A"}))
    await bench.see_through(api, change(Cause.LOG, "A"), change(Cause.MOVE, "A", "B"), change(Cause.LOG, "P2"))
    assert [type(outcome) for outcome in bench.outcomes] == [Aside, Aside, Publish]


@pytest.mark.parametrize("error", [WikiUnavailable("enwiki: status 503"), Throttled("enwiki: too many requests")])
async def test_what_was_answered_before_an_error_is_settled(bench: Bench, error: Exception) -> None:
    world = pages(1, 2).page(1, "A", 10)
    api = FakeApi(world, failing={2: error})
    made = bench.batch(api, *edits(1, 2), change(Cause.LOG, "A"))
    with pytest.raises(type(error)):
        await made.see_through(SITE)
    assert [type(outcome) for outcome in bench.outcomes] == [Publish, Publish]
    assert [item.change.titles for item in made.pending] == [("A",)]
    assert bench.queue.in_work == 1
    bench.queue.put_back(made.pending)
    again = FakeApi(world)
    made = Batch(bench.queue, bench.queue.take(), again, bench.desk.settler, bench.work, made.in_work)
    await made.see_through(SITE)
    assert again.asked == [("A",)]
    bench.desk.check()


async def test_an_error_at_first_leaves_everything(bench: Bench) -> None:
    made = bench.batch(FakeApi(World(), failing={1: WikiUnavailable("enwiki: status 503")}), *edits(1, 2))
    with pytest.raises(WikiUnavailable):
        await made.see_through(SITE)
    assert len(made.pending) == 2
    assert not bench.outcomes


async def test_what_is_to_be_asked_again_waits_longer_each_time(bench: Bench) -> None:
    (one,) = edits(1)
    world = pages(1)
    world.revision(1, 1001, fault="textmissing")
    made = bench.batch(FakeApi(world), one)
    (item,) = made.pending
    now, waits = asyncio.get_running_loop().time, []
    while True:
        await made.see_through(SITE)
        assert made.pending == []
        if not bench.queue.delayed:
            break
        waits.append(bench.queue.delayed[0][0] - now())
        bench.queue.due(1e12)
        made = Batch(bench.queue, bench.queue.take(), made.api, bench.desk.settler, bench.work, made.in_work)
    assert waits == pytest.approx([2.0, 3.0, 4.5, 6.75, 10.1, 15.2, 22.8, 34.2], abs=0.1)
    assert bench.asides == {1: "textmissing"}
    assert item.tries == 9
    bench.desk.check()


async def test_what_will_be_told_apart_later_waits_until_then(bench: Bench) -> None:
    world = World().page(1, "A", 10)
    bench.desk.settle(world, change(Cause.CREATE, "A", rev=10))
    bench.desk.now += 100
    api = FakeApi(world)
    made = bench.batch(api, change(Cause.LOG, "A", when=bench.desk.now - START - 1.0))
    await made.see_through(SITE)
    ((due, _, _),) = bench.queue.delayed
    assert due - asyncio.get_running_loop().time() == pytest.approx(9.0, abs=0.2)
    bench.queue.due(1e12)
    bench.desk.now += 9.0
    made = Batch(bench.queue, bench.queue.take(), api, bench.desk.settler, bench.work, made.in_work)
    await made.see_through(SITE)
    assert bench.outcomes[-1] == Skip(SkipReason.UNCHANGED)
    assert len(api.asked) == 2


async def test_a_question_without_an_end_has_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that has another current revision whenever it is asked for."""
    monkeypatch.setattr(batch, "MOST_TRIES", 0)

    class Racing(FakeApi):
        async def revisions(self, wiki_id: str, domain: str, rev_ids: Sequence[int]) -> Answer:
            self.world.page(1, "A", self.world.pages[1].last_rev_id + 1)
            return await super().revisions(wiki_id, domain, rev_ids)

    api = Racing(World().page(1, "A", 9))
    await bench.see_through(api, change(Cause.EDIT, "A", rev=9))
    assert bench.asides == {9: "unsettled"}
    assert len(api.asked) == batch.MOST_ROUNDS


async def test_what_is_never_answered_for_is_asked_once_at_a_time(bench: Bench) -> None:
    class Silent(FakeApi):
        async def page_ids(self, _wiki_id: str, _domain: str, page_ids: Sequence[int]) -> Answer:
            self._ask(page_ids)
            return Answer()

    api = Silent(World().page(1, "A", 9, 10))
    made = bench.batch(api, change(Cause.DELETE, "Z", page=7), change(Cause.EDIT, "A", rev=9))
    await made.see_through(SITE)
    assert api.asked == [(9,), (7,), (10,)]
    assert [item.change.titles for _, _, item in bench.queue.delayed] == [("Z",)]
    assert [type(outcome) for outcome in bench.outcomes] == [Publish]


async def test_what_is_in_work_is_noted_while_it_is_settled(bench: Bench) -> None:
    made = bench.batch(FakeApi(pages(1, 2)), *edits(1, 2))
    seen: list[list[int]] = []

    async def dying(work: Callable[[], Any]) -> Any:
        noted = InWork(bench.folder / "in-work")
        seen.append([noted.deaths(0, 0), noted.deaths(0, 1)])
        return work()

    made.work = dying
    await made.see_through(SITE)
    assert seen == [[0, 0], [1, 1]]  # while it asks what to ask, and while it settles
    assert InWork(bench.folder / "in-work").deaths(0, 0) == 0
