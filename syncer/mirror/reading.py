"""Reading a mirror: a page, every page, and whether every text is the announced one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncer.model import PageState
    from syncer.store import Store


@dataclass(frozen=True, slots=True)
class Fault:
    """A page whose stored text is not the announced one."""

    wiki_id: str
    page_id: int
    title: str | None
    reason: str


def page_line(store: Store, wiki_id: str, state: PageState) -> dict[str, Any]:
    """A page as ``mirror export`` writes it (DESIGN 7); text is None where it is hidden or diverged."""
    revision, text = state.revision, store.text(wiki_id, state.page_id)
    return {
        "wiki_id": wiki_id,
        "page_id": state.page_id,
        "title": state.title,
        "namespace": state.namespace,
        "rev_id": revision.rev_id if revision else None,
        "timestamp": revision.timestamp if revision else None,
        "sha1": revision.sha1 if revision else None,
        "content_model": revision.content_model if revision else None,
        "is_redirect": state.is_redirect,
        "text": None if text is None else text.decode(),
    }


def export(store: Store, wiki_id: str | None = None) -> Iterator[dict[str, Any]]:
    """Every live page, by wiki and page id."""
    return (page_line(store, wiki, state) for wiki, state in store.pages(wiki_id))


def verify(store: Store, wiki_id: str | None = None) -> Iterator[Fault | None]:
    """Hash every text again: a fault, or None, for every live page."""
    diverged = {(wiki, page_id): reason for wiki, page_id, reason in store.diverged()}
    for wiki, state in store.pages(wiki_id):
        yield fault_of(store, wiki, state, diverged.get((wiki, state.page_id)))


def fault_of(store: Store, wiki_id: str, state: PageState, diverged: str | None = None) -> Fault | None:
    """What is wrong with a live page; ``diverged`` is why it is known to be wrong."""
    text, announced = store.text(wiki_id, state.page_id), state.revision.sha1 if state.revision else None
    digest = None if text is None else hashlib.sha1(text, usedforsecurity=False).hexdigest()
    if diverged or digest != announced:
        return Fault(wiki_id, state.page_id, state.title, diverged or ("no text" if text is None else "hash"))
    return None if state.title is not None else Fault(wiki_id, state.page_id, None, "title taken over")
