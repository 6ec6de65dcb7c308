"""A mirror that begins with a dump, at any moment of a wiki's life, whatever the hub knew by then and had still to hear.

The wiki lives on while it is dumped, page by page. The hub hears of everything, late, in portions, and says what it then finds.
The mirror has the dump, and what the hub says from some moment before the dump on. In the end it is the wiki, but for texts that
it has to ask for; and at no time does it show a text that is not the announced one.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from syncer import diff
from syncer.model import Base, Cause, Kind, Mutation, PageFacts, Patch, Prior, Redacted, RevisionFacts, Source, Visibility
from syncer.store import Divergence, Store
from tests.mutations import AT, SOURCE, revision, sha1

if TYPE_CHECKING:
    from collections.abc import Sequence

WIKI = "testwiki"
TITLES = ("A", "B", "C", "D")


@dataclass(frozen=True)
class There:
    """A page of the wiki; a hidden text is None."""

    title: str
    facts: RevisionFacts
    text: bytes | None


@dataclass
class Wiki:
    """Lives. ``told`` are its events: titles, and whether they are of a deletion."""

    random: Random
    now: int = 0
    last_id: int = 0
    pages: dict[int, There] = field(default_factory=dict)
    deleted: dict[int, There] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)
    told: list[tuple[tuple[str, ...], bool, str]] = field(default_factory=list)

    def live(self) -> None:
        """Something happens."""
        self.now += 1
        title = self.random.choice(TITLES)
        page_id = next((each for each, page in self.pages.items() if page.title == title), None)
        if page_id is None:
            restored = [each for each in self.deleted if self.deleted[each].title == title]
            if restored and self.random.random() < 0.5:
                self._put(restored[0], title, self._older(self.deleted.pop(restored[0])))
            else:
                self.last_id += 1
                self._put(self.last_id, title, self._written())
            return self._tell((title,))
        page = self.pages[page_id]
        match self.random.choice(("edit", "edit", "edit", "revert", "move", "delete", "hide")):
            case "edit":
                self._put(page_id, title, self._written(page))
            case "revert":  # as a partial merge does: an older revision is the current one
                self._put(page_id, title, self._older(page))
            case "move":
                to = self.random.choice([each for each in TITLES if each != title])
                over = next((each for each, there in self.pages.items() if there.title == to), None)
                if over is not None:
                    self.deleted[over] = self.pages.pop(over)  # nothing names it
                self._put(page_id, to, self._written(page, page.text))
                return self._tell((title, to))
            case "delete":
                self.deleted[page_id] = self.pages.pop(page_id)
                return self._tell((title,), deletes=True)
            case "hide" if page.text is not None:
                facts = replace(page.facts, visibility=Visibility(text=False), sha1=None)
                self.pages[page_id] = There(title, facts, None)
        return self._tell((title,))

    def _tell(self, titles: tuple[str, ...], *, deletes: bool = False) -> None:
        self.told.append((titles, deletes, self.iso))

    @property
    def iso(self) -> str:
        return f"2026-11-02T{self.now // 3600:02}:{self.now // 60 % 60:02}:{self.now % 60:02}Z"

    def _put(self, page_id: int, title: str, there: There) -> None:
        self.pages[page_id] = replace(there, title=title)

    def _written(self, before: There | None = None, text: bytes | None = None) -> There:
        rev_id = len(self.texts) + 101
        text = text or b"%d " % self.random.randrange(5) + (before.text if before and before.text else b"some words ")[:60]
        self.texts[rev_id] = text
        facts = revision(rev_id, text, before.facts.rev_id if before else 0, timestamp=self.iso)
        return There("", facts, text)

    def _older(self, page: There) -> There:
        parent = page.facts.rev_parent_id
        if parent not in self.texts or page.text is None:
            return page
        return There("", revision(parent, self.texts[parent], timestamp=page.facts.timestamp), self.texts[parent])


@dataclass
class Hub:
    """Hears what is told, some time, and says what it finds: as decide and compose do."""

    wiki: Wiki
    states: dict[int, There] = field(default_factory=dict)
    seqs: dict[int, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    journal: list[Mutation] = field(default_factory=list)
    heard: int = 0

    def hear(self) -> None:
        """The next event."""
        titles, deletes, at = self.wiki.told[self.heard]
        self.heard += 1
        subjects = {each for each, page in self.wiki.pages.items() if page.title in titles}
        while True:
            wanted = {*titles, *(self.wiki.pages[each].title for each in subjects if each in self.wiki.pages)}
            more = {each for each, page in self.states.items() if page.title in wanted}
            if more <= subjects:
                break
            subjects |= more
        for each in sorted(subjects - self.wiki.pages.keys()):
            self._remove(each, self.states[each].title, at)
        if deletes and not subjects and titles[0] not in self.gone:
            self._remove(None, titles[0], at)
        for each in sorted(subjects & self.wiki.pages.keys()):
            self._bring(each, self.wiki.pages[each])

    def _remove(self, page_id: int | None, title: str, at: str) -> None:
        if page_id:
            del self.states[page_id]
        self.gone.add(title)
        self._say(page_id, Kind.DELETE, title, cause=Cause.DELETE, source=replace(SOURCE, event_time=at))

    def _bring(self, page_id: int, there: There) -> None:
        before = self.states.get(page_id)
        if before == there:
            return None
        self.gone.discard(there.title)
        if before and before.title != there.title:
            self.gone.add(before.title)
        self.states[page_id] = there
        prior = Prior(before.title) if before and before.title != there.title else None
        redacted = () if there.text is not None else (Redacted(there.facts.rev_id, there.facts.visibility),)
        parts = {"revision": there.facts, "prior": prior, "redacted": redacted}
        if there.text is None or before is None or before.text is None:
            return self._say(
                page_id, Kind.SNAPSHOT, there.title, text=there.text, gap=before is None or there.text is not None, **parts
            )
        base = Base(before.facts.rev_id, sha1(before.text))
        ops = diff.FORMATS["splice/1"].compute(before.text, there.text)
        return self._say(page_id, Kind.PATCH, there.title, base=base, patch=Patch("splice/1", ops), **parts)

    def _say(self, page_id: int | None, kind: Kind, title: str, **parts: object) -> None:
        self.seqs[page_id or 0] = seq = self.seqs.get(page_id or 0, 0) + 1
        defaults: dict[str, object] = {"cause": Cause.EDIT, "source": SOURCE, "published_at": AT}
        page = PageFacts(page_id, title, 0)
        self.journal.append(Mutation(seq=seq, kind=kind, wiki_id=WIKI, domain="test", page=page, **{**defaults, **parts}))  # type: ignore[arg-type]


def dumped(page_id: int, there: There) -> Mutation:
    return Mutation(
        seq=0, kind=Kind.SNAPSHOT, cause=Cause.IMPORT, wiki_id=WIKI, domain="test", page=PageFacts(page_id, there.title, 0),
        source=Source("dump", "", AT, AT), published_at=AT, revision=there.facts, text=there.text, gap=True,
    )  # fmt: skip


def sound(store: Store) -> None:
    """No text is there that is not the announced one."""
    for wiki, state in store.pages():
        text = store.text(wiki, state.page_id)
        assert state.revision
        assert text is None or sha1(text) == state.revision.sha1


def happened(random: Random) -> tuple[Wiki, list[Mutation], list[Mutation]]:
    """A wiki, a dump of it, and what the hub said from before the dump on."""
    wiki = Wiki(random)
    hub = Hub(wiki)

    def some(count: int) -> None:
        for _ in range(random.randrange(count)):
            wiki.live()
            while hub.heard < len(wiki.told) and random.random() < 0.55:
                hub.hear()

    for _ in range(random.randrange(12)):
        wiki.live()
    hub.heard = len(wiki.told)  # before there was a hub
    some(30)
    start = random.choice((0, len(hub.journal), max(0, len(hub.journal) - random.randrange(6))))
    dump = []
    for page_id in range(1, 30):
        some(4)
        if there := wiki.pages.get(page_id):
            dump.append(dumped(page_id, there))
    some(30)
    while hub.heard < len(wiki.told):
        hub.hear()
    random.shuffle(dump)  # as several files are read, in any order
    return wiki, dump, hub.journal[start:]


def mirrored(store: Store, dump: Sequence[Mutation], journal: Sequence[Mutation]) -> None:
    with store.folding():
        for page in dump:
            assert store.seed(page)
    for mutation in journal:
        with store.folding():
            try:
                store.fold(mutation)
            except Divergence as divergence:
                store.diverge(mutation, divergence.reason)
        for wiki_id, state in store.pages():
            text = store.text(wiki_id, state.page_id)
            assert text is None or (state.revision and sha1(text) == state.revision.sha1)
    store.bury()


def heal(store: Store, wiki: Wiki) -> None:
    with store.folding():
        for _, page_id, _ in store.diverged():
            state = store.page(WIKI, page_id)
            assert state
            assert state.revision
            assert store.heal(WIKI, page_id, wiki.texts[state.revision.rev_id])


@given(st.integers(0, 2**32))
def test_a_mirror_that_begins_with_a_dump_becomes_the_wiki(seed: int) -> None:
    wiki, dump, journal = happened(Random(seed))
    with tempfile.TemporaryDirectory() as folder, closing(Store(Path(folder) / "mirror.db")) as store:
        store._db.execute("PRAGMA synchronous = OFF")
        mirrored(store, dump, journal)
        heal(store, wiki)
        rows = store._db.execute("SELECT page_id FROM pages WHERE live OR id IN (SELECT id FROM texts)")
        assert {page_id for (page_id,) in rows} == wiki.pages.keys(), "something is left of what is gone"
        found = {state.page_id: (state.title, state.revision, store.text(WIKI, state.page_id)) for _, state in store.pages()}
    assert found == {page_id: (page.title, page.facts, page.text) for page_id, page in wiki.pages.items()}
