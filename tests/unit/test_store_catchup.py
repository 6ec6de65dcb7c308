"""A hub's store that has missed mutations folds them before anything else, and is then what it would have been."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from syncer.config import JournalSettings
from syncer.enrich.catchup import catch_up
from syncer.errors import ResumeLost
from syncer.journal import WHOLE, Journal, Record, Topic, open_journal
from syncer.model import Prior
from syncer.store import Store
from syncer.wire import encode_mutation, headers_of, key_of
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from syncer.model import Mutation

    Begin = Callable[..., Awaitable[Journal]]

PARTITIONS = 2


async def here(work: Callable[[], Any]) -> Any:
    """The store's thread is this one."""
    return work()


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    opened: list[Journal] = []

    async def one(**retention: float) -> Journal:
        settings = {"url": f"sqlite:///{tmp_path}/journal.db", "partitions": PARTITIONS, "retention": retention}
        opened.append(await open_journal(JournalSettings.model_validate(settings)))
        return opened[-1]

    yield one
    for journal in opened:
        await journal.close()


def life(seed: int) -> list[tuple[int, Mutation]]:
    """Mutations of some pages of two wikis, each in its partition."""
    rng = random.Random(seed)
    wikis = [Pages("onewiki", "one.wikipedia.org"), Pages("twowiki", "two.wikipedia.org")]
    told: list[tuple[int, Mutation]] = []
    for _ in range(300):
        partition, page_id = rng.randrange(2), rng.randrange(1, 15)
        pages, title, text = wikis[partition], f"Page {page_id}", rng.randbytes(rng.randrange(400)).hex().encode()
        if page_id not in pages.texts or rng.random() < 0.2:
            told.append((partition, pages.snapshot(page_id, title, text)))
        elif rng.random() < 0.1:
            told.append((partition, pages.delete(page_id, title)))
        else:
            told.append((partition, pages.patch(page_id, title, text)))
    return told


async def publish(journal: Journal, mutations: list[tuple[int, Mutation]]) -> None:
    owner = await journal.own(WHOLE.owner)
    await owner.append(
        [
            Record(Topic.MUTATIONS, partition, key_of(mutation), encode_mutation(mutation), headers_of(mutation))
            for partition, mutation in mutations
        ]
    )


def content(store: Store) -> list[Any]:
    pages = [(wiki, state, store.text(wiki, state.page_id)) for wiki, state in store.pages()]
    recalls = [store.recall(wiki, rev_id) for wiki in store.wikis() for rev_id in range(100, 300)]
    return [pages, store.diverged(), recalls, [store.offset(partition) for partition in range(PARTITIONS)]]


async def test_it_is_what_it_would_have_been_wherever_it_was_stopped(begin: Begin, tmp_path: Path) -> None:
    journal, mutations = await begin(), life(1)
    whole, parts = Store(tmp_path / "whole.db", 10**9), Store(tmp_path / "parts.db", 10**9)
    for at in range(0, len(mutations), 37):
        await publish(journal, mutations[at : at + 37])
        await catch_up(journal, parts, range(PARTITIONS), here, fresh=at == 0)
    await catch_up(journal, whole, range(PARTITIONS), here, fresh=True)
    assert len(content(whole)[0]) > 10
    assert content(whole) == content(parts)
    before = content(whole)
    await catch_up(journal, whole, range(PARTITIONS), here, fresh=False)
    assert content(whole) == before
    whole.close()
    parts.close()


async def test_a_store_that_was_away_for_too_long_says_so_and_a_new_one_begins_where_the_journal_does(
    begin: Begin, tmp_path: Path
) -> None:
    journal, mutations = await begin(mutations_bytes=10_000), life(2)
    old, new = Store(tmp_path / "old.db", 10**9), Store(tmp_path / "new.db", 10**9)
    await publish(journal, mutations[:50])
    await catch_up(journal, old, range(PARTITIONS), here, fresh=True)
    await publish(journal, mutations[50:])
    assert await journal.retain({}) > 100
    with pytest.raises(ResumeLost) as caught:
        await catch_up(journal, old, range(PARTITIONS), here, fresh=False)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    await catch_up(journal, new, range(PARTITIONS), here, fresh=True)
    ends = [(await journal.bounds(Topic.MUTATIONS, partition))[1] for partition in range(PARTITIONS)]
    assert [new.offset(partition) for partition in range(PARTITIONS)] == ends
    newest = {(mutation.wiki_id, mutation.page.page_id): mutation for _, mutation in mutations}
    for wiki, state in new.pages():  # the facts are those of the end, also of pages whose beginning is gone
        assert state.seq == newest[wiki, state.page_id].seq
    assert any(reason == "unknown page" for _, _, reason in new.diverged())
    old.close()
    new.close()


async def test_a_new_one_does_not_take_a_title_for_free_that_another_may_have(begin: Begin, tmp_path: Path) -> None:
    """The page that holds it was published in what the journal no longer has: its deletion has to be told."""
    journal, pages = await begin(mutations_bytes=1), Pages("onewiki", "one.wikipedia.org")
    await publish(journal, [(0, pages.snapshot(1, "Held", b"text"))])
    assert await journal.retain({}) == 1
    known = [pages.snapshot(3, "Left", b"text"), pages.delete(3, "Left"), pages.snapshot(4, "Moved", b"text")]
    known += [pages.patch(4, "Elsewhere", b"text", prior=Prior("Moved"))]
    await publish(journal, [(0, pages.delete(2, "Held")), *((0, mutation) for mutation in known)])
    store = Store(tmp_path / "store.db", 10**9)
    await catch_up(journal, store, range(PARTITIONS), here, fresh=True)
    assert store.page("onewiki", 2)
    assert [store.was_at("onewiki", title) for title in ("Held", "Left", "Moved")] == [False, True, True]
    with store.folding():
        store.fold(pages.delete(None, "Held"))
    assert not store.was_at("onewiki", "Held")  # and so whatever was there is told of by its id, too
    store.close()


async def test_a_store_that_knows_more_than_the_journal_says_so(begin: Begin, tmp_path: Path) -> None:
    journal, store = await begin(), Store(tmp_path / "store.db", 10**9)
    await publish(journal, life(3)[:10])
    await catch_up(journal, store, range(PARTITIONS), here, fresh=True)
    with store.folding():
        store.advance(0, 9_999)
    with pytest.raises(ResumeLost, match="9999"):
        await catch_up(journal, store, range(PARTITIONS), here, fresh=False)
    store.close()
