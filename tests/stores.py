"""What tests of a store need: folding, looking, and being refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from syncer.store import Divergence, Store

if TYPE_CHECKING:
    from syncer.model import Mutation, PageState

WIKI = "testwiki"
LOREM = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit. " * 8


def fold(store: Store, *mutations: Mutation) -> None:
    with store.folding():
        for mutation in mutations:
            store.fold(mutation)


def refused(store: Store, mutation: Mutation) -> str:
    """Why a mutation does not fit; nothing has changed by it."""
    before = dump(store)
    with pytest.raises(Divergence) as caught, store.folding():
        store.fold(mutation)
    assert dump(store) == before
    with store.folding():  # and nothing even where the transaction goes on
        with pytest.raises(Divergence):
            store.fold(mutation)
        assert dump(store) == before
    return caught.value.reason


def dump(store: Store) -> dict[str, list[Any]]:
    tables = [row[0] for row in store._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'seals'")]
    return {table: store._db.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}  # noqa: S608


def page(store: Store, page_id: int) -> PageState:
    state = store.page(WIKI, page_id)
    assert state
    return state
