"""Whether a mutation fits a page, and what text comes of it: law 2 as every reader has to check it. Pure."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import TYPE_CHECKING

from syncer import diff
from syncer.errors import SyncerError
from syncer.model import Kind
from syncer.wire import NO_HASH

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.model import Base, Mutation, PageState, RevisionFacts

AS_DUMPED = 0  # the seq of a page that a dump gave; mutations begin with 1


class Divergence(SyncerError):
    """A stored page is not the one a mutation builds on, or the result has not the announced hash. ``reason`` is fixed words."""

    def __init__(self, reason: str, mutation: Mutation) -> None:
        super().__init__(f"{mutation.wiki_id}:{mutation.page.page_id} at seq {mutation.seq}: {reason}")
        self.reason = reason


class Fate(Enum):
    """What becomes of a text that is not given: it stays what it is, even if there is none; or it was erased from the record; or
    the one that a dump gave is that of another revision; or it is that of this one again.
    """

    KEPT = "kept"
    ERASED = "erased"
    PASSED_BY = "passed by"
    MET = "met"


def text_after(
    mutation: Mutation,
    state: PageState | None,
    text: Callable[[], bytes | None],
    may_lack: Callable[[], bool],
    seed: Base | None = None,
) -> bytes | Fate | None:
    """The text of a page after a mutation that is no delete; None where it may not be had any more.

    ``text`` gives the one it has now; ``may_lack`` says whether that may be missing without anything being wrong; ``seed`` is the
    revision of a dump whose text is there, seen or not. Raises Divergence.
    """
    revision = mutation.revision
    if revision is None:
        raise Divergence("no revision", mutation)
    dumped = state is not None and state.live and state.seq == AS_DUMPED  # nothing is known yet of the chain
    if not dumped:
        _check_chain(mutation, state)
    if mutation.erased:
        return Fate.ERASED
    if mutation.kind is not Kind.SNAPSHOT and revision.visibility.text:
        if seed and (revision.rev_id, revision.sha1) == (seed.rev_id, seed.sha1):
            return Fate.MET
        if dumped and (mutation.base is None or mutation.base != seed):
            return Fate.PASSED_BY
    match mutation.kind:
        case Kind.SNAPSHOT:
            if mutation.text is not None and sha1(mutation.text) != revision.sha1:
                raise Divergence("hash of snapshot", mutation)
            return mutation.text
        case Kind.PATCH:
            return _patched(mutation, revision, text(), may_lack)
        case _:
            return Fate.KEPT if revision.visibility.text else None


def _check_chain(mutation: Mutation, state: PageState | None) -> None:
    """The next seq, and the base that the page's mutation before stated; a gap snapshot may jump, but only ahead."""
    if mutation.gap and mutation.kind is Kind.SNAPSHOT:
        if state and mutation.seq <= state.seq:
            raise Divergence("old seq", mutation)
        return
    if state is None or not state.live or state.revision is None:
        raise Divergence("unknown page", mutation)
    if mutation.seq != state.seq + 1:
        raise Divergence("missed seq" if mutation.seq > state.seq else "old seq", mutation)
    base, ours = mutation.base, state.revision
    if base and (base.rev_id != ours.rev_id or (base.sha1 != ours.sha1 and NO_HASH not in {base.sha1, ours.sha1})):
        raise Divergence("other base", mutation)


def _patched(mutation: Mutation, revision: RevisionFacts, base: bytes | None, may_lack: Callable[[], bool]) -> bytes | Fate:
    if mutation.base is None or mutation.patch is None or mutation.patch.format not in diff.FORMATS:
        raise Divergence("unknown patch", mutation)
    if base is None:
        if may_lack():
            return Fate.KEPT  # the facts go on, and the text comes when it is next needed, or in a later record
        raise Divergence("no base text", mutation)
    try:
        text = diff.FORMATS[mutation.patch.format].apply(base, mutation.patch.ops) if mutation.patch.ops else base
    except ValueError as error:
        raise Divergence("patch does not apply", mutation) from error
    if sha1(text) != revision.sha1:
        raise Divergence("hash of result", mutation)
    return text if mutation.patch.ops else Fate.KEPT


def says_all(mutation: Mutation) -> bool:
    """Whether it tells even a reader who knows nothing of the page all that there is to know."""
    return mutation.kind is Kind.DELETE or (mutation.kind is Kind.SNAPSHOT and mutation.gap and not mutation.erased)


def sha1(text: bytes) -> str:
    """The hash that mutations announce: hex SHA-1 of the UTF-8 text."""
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
