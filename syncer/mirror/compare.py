"""A sample of a mirror's pages against the wiki itself."""

from __future__ import annotations

import random
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.model import Answer, PageState
    from syncer.store import Store

AT_ONCE = 50  # page ids a request


class Asks(Protocol):
    """Who is asked: the API client."""

    async def page_ids(self, wiki_id: str, domain: str, page_ids: Sequence[int]) -> Answer:
        """Pages by id with their current revisions."""


def choose(store: Store, wiki_id: str | None, sample: int) -> list[tuple[str, PageState]]:
    """So many pages by chance, every page as likely as any other, in the order of the wikis."""
    chosen: list[tuple[str, PageState]] = []
    for seen, page in enumerate(store.pages(wiki_id)):
        if len(chosen) < sample:
            chosen.append(page)
        elif (slot := random.randrange(seen + 1)) < sample:  # noqa: S311 - a sample, not a secret
            chosen[slot] = page
    return sorted(chosen, key=lambda page: (page[0], page[1].page_id))


async def compare(store: Store, api: Asks, pages: Sequence[tuple[str, PageState]]) -> dict[str, int]:
    """Count: equal, behind (an older revision), different (the same revision, another text or title), gone."""
    domains, counts = store.wikis(), Counter(equal=0, behind=0, different=0, gone=0)
    for wiki_id, group in groupby(pages, key=lambda page: page[0]):
        states = [state for _, state in group]
        for at in range(0, len(states), AT_ONCE):
            part = states[at : at + AT_ONCE]
            answer = await api.page_ids(wiki_id, domains[wiki_id], [state.page_id for state in part])
            counts.update(_judge(store, wiki_id, state, answer) for state in part)
    return dict(counts)


def _judge(store: Store, wiki_id: str, state: PageState, answer: Answer) -> str:
    page = answer.pages.get(state.page_id)
    if page is None:
        return "gone"
    if state.revision is None or page.last_rev_id != state.revision.rev_id:
        return "behind"
    revision = page.revisions.get(page.last_rev_id)
    same = revision is not None and revision.text == store.text(wiki_id, state.page_id) and page.title == state.title
    return "equal" if same else "different"
