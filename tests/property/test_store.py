"""Law 5 in small: whatever mutations come, in whatever state, a store holds what a plain dictionary would."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from syncer.model import VISIBLE, Base, PageFacts, Redacted, Visibility
from syncer.store import Divergence, Store
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.model import Attribution, Mutation, RevisionFacts

WIKI = "testwiki"
PAGE_IDS = st.integers(1, 4)
TITLES = st.sampled_from(["One", "Two", "Three", "Vier & Fünf", "नमस्ते"])
TEXTS = st.text(st.sampled_from("aé😀 =\n\r\0{[|"), max_size=60).map(str.encode)
REVISIONS = st.integers(101, 130)
VISIBILITIES = st.builds(Visibility, st.booleans(), st.booleans(), st.booleans())


@dataclass
class Known:
    """What the store has to say of a page."""

    seq: int
    title: str | None
    live: bool = False
    revision: RevisionFacts | None = None
    attribution: Attribution | None = None
    text: bytes | None = None
    diverged: str | None = None


class UndoneError(Exception):
    """What leaves a fold before its end."""


class MirrorMachine(RuleBasedStateMachine):
    """A partner's store: it keeps every text, and a text that is missing is a divergence."""

    max_bytes: int | None = None

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "store.db", self.max_bytes)
        self.pages = Pages()
        self.known: dict[int, Known] = {}
        self.gone: set[str] = set()
        self.hidden: dict[int, Visibility] = {}
        self.next = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # -- what the model does ---------------------------------------------------------------------------------------------

    def expect(self, mutation: Mutation, text: bytes | None, diverged: str | None = None) -> None:
        page = mutation.page
        for known in self.known.values():
            if known.title == page.title:
                known.title = None
        self.gone.discard(page.title)
        self.known[page.page_id or 0] = Known(
            mutation.seq, page.title, True, mutation.revision, mutation.attribution, text, diverged
        )  # fmt: skip
        self.note(mutation.redacted)

    def note(self, redacted: Sequence[Redacted]) -> None:
        for entry in redacted:
            self.hidden.pop(entry.rev_id, None)
            if entry.visibility != VISIBLE:
                self.hidden[entry.rev_id] = entry.visibility

    def fold(self, mutation: Mutation) -> None:
        self.next += 1
        with self.store.folding():
            self.store.fold(mutation)
            self.store.advance(0, self.next)

    def live(self, page_id: int) -> Known | None:
        known = self.known.get(page_id)
        return known if known and known.live else None

    def patchable(self, page_id: int) -> bool:
        known = self.live(page_id)
        return bool(known and known.text is not None and not known.diverged)

    # -- mutations that fit ----------------------------------------------------------------------------------------------

    @rule(page_id=PAGE_IDS, title=TITLES, text=TEXTS)
    def snapshot(self, page_id: int, title: str, text: bytes) -> None:
        mutation = self.pages.snapshot(page_id, title, text)
        self.fold(mutation)
        self.expect(mutation, text)

    @rule(page_id=PAGE_IDS, title=TITLES)
    def hide_the_current_text(self, page_id: int, title: str) -> None:
        rev_id = self.pages.last_rev_id + 1
        mutation = self.pages.snapshot(page_id, title, None, redacted=(Redacted(rev_id, Visibility(text=False)),))
        self.fold(mutation)
        self.expect(mutation, None)

    @rule(page_id=PAGE_IDS, title=TITLES, text=TEXTS, new_title=st.booleans())
    def patch(self, page_id: int, title: str, text: bytes, new_title: bool) -> None:  # noqa: FBT001
        known = self.live(page_id)
        if not known or not self.patchable(page_id):
            return
        mutation = self.pages.patch(page_id, title if new_title else known.title or title, text)
        self.fold(mutation)
        self.expect(mutation, text)

    @rule(page_id=PAGE_IDS, title=TITLES)
    def move(self, page_id: int, title: str) -> None:
        if not (known := self.live(page_id)) or not self.patchable(page_id) or known.text is None:
            return
        mutation = self.pages.patch(page_id, title, known.text)
        self.fold(mutation)
        self.expect(mutation, known.text)

    @rule(page_id=PAGE_IDS, rev_id=REVISIONS, visibility=VISIBILITIES)
    def redact(self, page_id: int, rev_id: int, visibility: Visibility) -> None:
        known = self.live(page_id)
        if not known or known.title is None or not known.revision or rev_id == known.revision.rev_id:
            return
        mutation = self.pages.redact(page_id, known.title, Redacted(rev_id, visibility))
        self.fold(mutation)
        self.expect(mutation, known.text, known.diverged)

    @rule(page_id=PAGE_IDS)
    def hide_who_and_why(self, page_id: int) -> None:
        known = self.live(page_id)
        if not known or known.title is None or not known.revision or known.text is None:
            return
        seen = Visibility(text=True, user=False, comment=False)
        mutation = self.pages.redact(page_id, known.title, Redacted(known.revision.rev_id, seen), attribution=None)
        self.fold(mutation)
        self.expect(mutation, known.text, known.diverged)

    @rule(page_id=PAGE_IDS, title=TITLES)
    def delete(self, page_id: int, title: str) -> None:
        known = self.known.get(page_id)
        mutation = self.pages.delete(page_id, known.title if known and known.title else title)
        self.fold(mutation)
        self.known[page_id] = Known(mutation.seq, None)
        if mutation.page.title not in {other.title for other in self.known.values()}:
            self.gone.add(mutation.page.title)

    @rule(title=TITLES)
    def delete_by_title(self, title: str) -> None:
        mutation = self.pages.delete(None, title)
        self.fold(mutation)
        for page_id, known in self.known.items():
            if known.title == title:
                self.known[page_id] = Known(known.seq, None)
                self.pages.texts.pop(page_id, None)
        self.known[0] = Known(mutation.seq, None)
        self.gone.add(title)

    # -- mutations that do not, and what becomes of them -----------------------------------------------------------------

    @rule(page_id=PAGE_IDS, title=TITLES, text=TEXTS, how=st.sampled_from(["seq", "base", "hash", "unknown"]))
    def diverge(self, page_id: int, title: str, text: bytes, how: str) -> None:
        known = self.live(page_id)
        if not self.patchable(page_id) or not known or not known.revision:
            if how != "unknown" or known:
                return
            mutation = self.pages.snapshot(page_id, title, text, gap=False)
        else:
            mutation = self.pages.patch(page_id, title, text + b" and more")
            if how == "seq":
                self.pages.seqs[page_id] += 1
                mutation = replace(mutation, seq=mutation.seq + 1)
            elif how == "base":
                mutation = replace(mutation, base=Base(known.revision.rev_id, "1" * 40))
            elif mutation.revision:
                mutation = replace(mutation, revision=replace(mutation.revision, sha1="2" * 40))
                self.pages.revisions[page_id] = mutation.revision or self.pages.revisions[page_id]
        self.next += 1
        with self.store.folding():
            try:
                self.store.fold(mutation)
            except Divergence as divergence:
                self.store.diverge(mutation, divergence.reason)
                self.expect(mutation, None, divergence.reason)
            else:
                raise AssertionError(f"{mutation} was taken")
            self.store.advance(0, self.next)

    @rule(page_id=PAGE_IDS)
    def heal(self, page_id: int) -> None:
        known, text = self.live(page_id), self.pages.texts.get(page_id)
        if not known or not known.diverged or text is None or not known.revision:
            return
        fits = known.revision.sha1 != "2" * 40
        with self.store.folding():
            assert self.store.heal(WIKI, page_id, text + b".") is False
            assert self.store.heal(WIKI, page_id, text) is fits
        if fits:
            known.text, known.diverged = text, None

    # -- what must not change anything -----------------------------------------------------------------------------------

    @rule(page_id=PAGE_IDS, title=TITLES, text=TEXTS, whole=st.booleans())
    def undo(self, page_id: int, title: str, text: bytes, whole: bool) -> None:  # noqa: FBT001
        seq = max((known.seq for known in self.known.values()), default=0) + 10
        mutation = replace(Pages(last_rev_id=900).snapshot(page_id, title, text, page=PageFacts(page_id, title, 0)), seq=seq)

        def fail() -> None:
            self.store.fold(mutation)
            assert self.store.text(WIKI, page_id) == text
            raise UndoneError

        if whole:
            with contextlib.suppress(UndoneError), self.store.folding():
                fail()
        else:
            with self.store.folding(), contextlib.suppress(UndoneError), self.store.attempt():
                fail()

    @precondition(lambda self: self.next)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(Path(self.folder.name) / "store.db", self.max_bytes)

    # -- and the comparison ----------------------------------------------------------------------------------------------

    def check_text(self, page_id: int, known: Known) -> None:
        assert self.store.text(WIKI, page_id) == known.text

    @invariant()
    def the_store_is_the_model(self) -> None:
        for page_id, known in self.known.items():
            state = self.store.page(WIKI, page_id)
            assert state
            assert (state.seq, state.title, state.live) == (known.seq, known.title, known.live)
            assert (state.revision, state.attribution) == (known.revision, known.attribution)
            self.check_text(page_id, known)
            assert self.store.has_text(WIKI, page_id) == (self.store.text(WIKI, page_id) is not None)
            assert known.title is None or self.store.page_at(WIKI, known.title) == state
        held = {known.title: page_id for page_id, known in self.known.items() if known.title}
        for title in ("One", "Two", "Three", "Vier & Fünf", "नमस्ते"):
            holder = self.store.page_at(WIKI, title)
            assert (holder.page_id if holder else None) == held.get(title)
            assert self.store.was_at(WIKI, title) == (title in self.gone)
        assert self.store.hidden(WIKI, range(100, 140)) == {rev: seen for rev, seen in self.hidden.items() if rev < 140}
        assert [state.page_id for _, state in self.store.pages()] == sorted(p for p, known in self.known.items() if known.live)
        diverged = {(WIKI, page_id, known.diverged) for page_id, known in self.known.items() if known.diverged}
        assert set(self.store.diverged()) == diverged
        assert self.store.offset(0) == self.next
        packed = self.store._db.execute("SELECT coalesce(sum(length(packed)), 0) FROM texts").fetchone()[0]
        assert self.store._bytes == packed


class HubMachine(MirrorMachine):
    """The hub's store: texts go where there is no room, and the facts go on without them."""

    max_bytes = 40

    def check_text(self, page_id: int, known: Known) -> None:
        assert self.store.text(WIKI, page_id) in (None, known.text)
        assert self.store._bytes <= self.max_bytes

    @rule()
    def diverge(self) -> None:
        """The hub proves what it publishes before it does."""


LESS = settings(max_examples=max(10, settings.default.max_examples // 4) if settings.default else 25, stateful_step_count=20)
TestMirror = MirrorMachine.TestCase
TestMirror.settings = LESS
TestHub = HubMachine.TestCase
TestHub.settings = LESS
