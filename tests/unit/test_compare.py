from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from syncer.mirror.compare import AT_ONCE, choose, compare
from syncer.model import Visibility
from tests.mutations import Pages
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.model import Answer, Mutation
    from syncer.store import Store


def fold(store: Store, *mutations: Mutation) -> None:
    with store.folding():
        for mutation in mutations:
            store.fold(mutation)


class Wiki:
    """Answers for page ids, and keeps what it was asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[tuple[str, str, list[int]]] = []

    async def page_ids(self, wiki_id: str, domain: str, page_ids: Sequence[int]) -> Answer:
        self.asked.append((wiki_id, domain, list(page_ids)))
        return self.world.of_page_ids(page_ids)


async def judged(store: Store, world: World) -> dict[str, int]:
    return await compare(store, Wiki(world), choose(store, None, 100))


async def test_every_page_is_judged(store: Store) -> None:
    pages = Pages()
    fold(store, *(pages.snapshot(number, f"P{number}", b"text") for number in range(1, 7)))
    fold(store, pages.snapshot(7, "P7", None))
    revs = {number: pages.revisions[number].rev_id for number in range(1, 8)}
    world = World()
    world.page(1, "P1", revs[1], text="text")
    world.page(2, "P2", revs[2], 999, text="text")
    world.page(3, "P3", revs[3], text="another text")
    world.page(4, "Elsewhere", revs[4], text="text")
    world.page(5, "P5", revs[5], text="text").hide(revs[5], 1)
    world.page(7, "P7", revs[7], bits=1)
    assert await judged(store, world) == {"equal": 2, "behind": 1, "different": 3, "gone": 1}


async def test_a_revision_that_was_not_answered_is_no_equal_one(store: Store) -> None:
    pages = Pages()
    fold(store, pages.snapshot(1, "P1", None))
    world = World().page(1, "P1", pages.revisions[1].rev_id)
    world.revisions.clear()
    assert await judged(store, world) == {"equal": 0, "behind": 0, "different": 1, "gone": 0}


async def test_wikis_are_asked_fifty_at_a_time_each_for_its_own(store: Store) -> None:
    here, there = Pages("awiki", "a.example.org"), Pages("bwiki", "b.example.org")
    fold(store, *(here.snapshot(number, f"P{number}", b"text") for number in range(1, 121)))
    fold(store, *(there.snapshot(number, f"P{number}", b"text") for number in range(1, 3)))
    wiki = Wiki(World())
    counts = await compare(store, wiki, choose(store, None, 1000))
    assert counts["gone"] == 122
    assert [(wiki_id, domain, len(ids)) for wiki_id, domain, ids in wiki.asked] == [
        ("awiki", "a.example.org", AT_ONCE), ("awiki", "a.example.org", AT_ONCE), ("awiki", "a.example.org", 20),
        ("bwiki", "b.example.org", 2),
    ]  # fmt: skip


def test_a_sample_is_a_sample(store: Store) -> None:
    pages = Pages()
    fold(store, *(pages.snapshot(number, f"P{number}", b"text") for number in range(1, 21)))
    taken: Counter[int] = Counter()
    for _ in range(400):
        sample = [state.page_id for _, state in choose(store, "testwiki", 5)]
        assert len(set(sample)) == 5
        assert sample == sorted(sample)
        taken.update(sample)
    assert set(taken) == set(range(1, 21))
    assert 50 < min(taken.values()) <= max(taken.values()) < 150  # each one 100 times, give or take 9
    assert choose(store, "otherwiki", 5) == []
    assert len(choose(store, None, 99)) == 20


async def test_what_is_hidden_here_and_shown_there_is_different(store: Store) -> None:
    pages = Pages()
    hidden = pages.snapshot(1, "P1", None)
    fold(store, hidden)
    assert hidden.revision
    assert hidden.revision.visibility == Visibility(text=False)
    shown = World().page(1, "P1", hidden.revision.rev_id)
    assert (await judged(store, shown))["different"] == 1
    fold(store, replace(hidden, seq=2, page=replace(hidden.page, title="Q")))
    assert (await judged(store, shown))["different"] == 1
