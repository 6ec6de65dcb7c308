"""Changes settled on a real store, with answers that the test gives: what enrich does, without a loop, a journal or a budget."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from syncer.decide import Context
from syncer.enrich.settle import Settler
from syncer.journal import Record, Stored, Topic, change_record
from syncer.model import Cause, Change, Kind, Source
from syncer.outcome import Answers, Ask, Later, Outcome, Question
from syncer.progress import Progress
from syncer.records import BY_HAND
from syncer.store import Store
from syncer.wire import decode_mutation
from tests.e2e.checker import Checker
from tests.world import SITE, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from syncer.enrich.queues import Item
    from syncer.model import Answer, Mutation, PageState, Visibility

WIKI, DOMAIN = "enwiki", "en.wikipedia.org"
START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC).timestamp()


def at(seconds: float) -> str:
    """A time so long after START, in ISO 8601."""
    return datetime.fromtimestamp(START + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def change(cause: Cause, *titles: str, rev: int | Sequence[int] = (), page: int | Sequence[int] = (), **more: Any) -> Change:
    """A change, an hour old unless ``when`` (seconds after START) says otherwise."""
    when = more.pop("when", -3600.0)
    stream = more.pop("stream", "mediawiki.recentchange")
    number = change.made = getattr(change, "made", 0) + 1  # type: ignore[attr-defined]
    source = Source(stream, more.pop("event_id", f"event-{number}"), at(when), at(when))
    return Change(
        wiki_id=WIKI,
        domain=DOMAIN,
        cause=cause,
        source=source,
        rev_ids=(rev,) if isinstance(rev, int) else tuple(rev),
        titles=titles,
        page_ids=(page,) if isinstance(page, int) else tuple(page),
        **more,
    )


class Answering(Protocol):
    """A wiki at one moment."""

    def answers(self, question: Question) -> Iterable[tuple[Question, Answer]]:
        """A question kind by kind, each with its answer."""


@dataclass
class Desk:
    """``now`` is START at first; ``waited`` counts the times that a change was put off. The store lives in memory."""

    namespaces: frozenset[int] | None = None
    parents: bool = True
    young: float = 10.0
    store_bytes: int = 10**9
    now: float = START
    records: list[Record] = field(default_factory=list)
    outcomes: list[tuple[Change, Outcome]] = field(default_factory=list)
    waited: Counter[str] = field(default_factory=Counter)
    asked: list[Question] = field(default_factory=list)
    appended: int = 0
    hand: int = 0

    def __post_init__(self) -> None:
        self.store = Store(Path(":memory:"), self.store_bytes)
        self.progress = Progress(generation=0)
        self.settler = Settler(
            store=self.store,
            append=self.append,
            context=self.context,
            clock=lambda: at(self.now - START),
            told=lambda change, outcome: self.outcomes.append((change, outcome)),
            progress={0: self.progress},
            open={0: {}},
            generation=0,
            partitions=1,
        )
        self.settler.recent.since = self.now - 1000  # the process has been at work for a while

    def context(self) -> Context:
        return Context(self.namespaces, self.parents, self.young, self.now)

    def append(self, records: Sequence[Record]) -> list[int]:
        start = len(self.records)
        self.records += records
        return list(range(start, len(self.records)))

    @property
    def mutations(self) -> list[Mutation]:
        return [decode_mutation(record.value) for record in self.records if record.topic is Topic.MUTATIONS]

    def kinds(self) -> list[str]:
        return [mutation.kind.value + ("+gap" if mutation.gap else "") for mutation in self.mutations]

    def take_in(self, changes: Sequence[Change]) -> list[Item]:
        records = []
        for one in changes:
            record = change_record(one, 1)
            records.append(Stored(self.appended, record.key, record.value, record.headers, self.now))
            self.appended += 1
            self.hand += one.source.stream in BY_HAND
        return self.settler.take_in(0, records, self.now)

    def settle(self, world: Answering | Callable[[float], Answering], *changes: Change, most: int = 60) -> list[Outcome]:
        """See changes through as one batch, putting off and asking again as enrich does; their outcomes as they were found."""
        before = len(self.outcomes)
        waiting = self.take_in(changes)
        for _ in range(most):
            if not waiting:
                break
            until = self._batch(world if callable(world) else lambda _: world, waiting)
            waiting = [item for item in waiting if not self._finished(item)]
            self.now = max(self.now + 2.0, until) if waiting else self.now
        assert not waiting, [item.change for item in waiting]
        self.check()
        return [outcome for _, outcome in self.outcomes[before:]]

    def _batch(self, world: Callable[[float], Answering], items: list[Item]) -> float:
        """One batch as :class:`syncer.enrich.batch.Batch` does it. Returns the earliest time to ask again."""
        answers, until = Answers(), [0.0]
        wants, question = self.settler.questions(items), Question()
        while wants:
            for wanted in wants.values():
                question |= wanted
            question -= answers.asked
            self.asked += [question] if question else []
            for part, answer in world(self.now).answers(question):
                answers.add(part, answer)
            pending = list(wants)
            outcomes: list[tuple[Item, Outcome]] = []
            while len(outcomes) < len(pending):
                outcomes += self.settler.settle(pending[len(outcomes) :], answers, SITE)
            wants = {item: outcome.question for item, outcome in outcomes if isinstance(outcome, Ask)}
            for _, outcome in outcomes:
                if isinstance(outcome, Later):
                    self.waited[outcome.reason] += 1
                    until.append(outcome.until)
            if not any(wanted - answers.asked for wanted in wants.values()):
                break
        return min(until[1:], default=0.0)

    def _finished(self, item: Item) -> bool:
        return self.progress._done.get(item.offset, True)

    def check(self) -> None:
        """Law 3, everything taken in has one outcome and the counts say so; and what the checker says of the mutations."""
        assert self.progress.unfinished == 0
        assert self.progress.lowest_unfinished == self.appended
        assert len(self.outcomes) == self.appended == self.progress.counts.finished
        assert self.progress.counts.by_hand == self.hand
        assert self.progress.counts.mutations.total() == len(self.mutations)
        checker = Checker()
        mutations = [(offset, one) for offset, one in enumerate(self.records) if one.topic is Topic.MUTATIONS]
        checker.read(
            {
                "partition": one.partition, "offset": offset, "key": one.key, "headers": dict(one.headers),
                "value": json.loads(one.value),
            }
            for offset, one in mutations
        )  # fmt: skip
        assert not checker.finish()

    # -- what is published -------------------------------------------------------------------------------------------

    def page(self, page_id: int) -> PageState | None:
        return self.store.page(WIKI, page_id)

    def live(self) -> dict[int, tuple[str | None, int, bool, int, Visibility]]:
        """Every live page: title, namespace, redirect, revision, visibility."""
        return {
            page.page_id: (page.title, page.namespace, page.is_redirect, page.revision.rev_id, page.revision.visibility)
            for _, page in self.store.pages()
            if page.revision
        }

    def text(self, page_id: int) -> str | None:
        text = self.store.text(WIKI, page_id)
        return None if text is None else text.decode()

    def hidden(self, *rev_ids: int) -> dict[int, Visibility]:
        return dict(self.store.hidden(WIKI, rev_ids))

    def close(self) -> None:
        self.store.close()


def facts(world: World) -> dict[int, tuple[str | None, int, bool, int, Visibility]]:
    """What :meth:`Desk.live` should be when everything of a world is published."""
    return {
        page.page_id: (
            page.title, page.namespace, page.is_redirect, page.last_rev_id, world.revisions[page.last_rev_id][1].visibility
        )
        for page in world.pages.values()
    }  # fmt: skip


def last(desk: Desk) -> Mutation:
    """The mutation published last."""
    return desk.mutations[-1]


__all__ = ["DOMAIN", "START", "WIKI", "Cause", "Desk", "Kind", "at", "change", "facts", "last"]


def seed(desk: Desk, world: World, *page_ids: int) -> None:
    """Publish what a world has, long ago."""
    desk.now -= 1000
    desk.settle(world, change(Cause.RECONCILE, page=page_ids or sorted(world.pages)))
    desk.now += 1000
    desk.asked.clear()
    desk.waited.clear()


def made(desk: Desk, before: int) -> list[str]:
    """What was published since there were so many: kind, page, revision, with ``+gap``."""
    return [
        f"{one.kind.value}{'+gap' if one.gap else ''} {one.page.page_id} {one.revision.rev_id if one.revision else '-'}"
        for one in desk.mutations[before:]
    ]


def lagging(before: World, after: World, until: float) -> Callable[[float], World]:
    return lambda now: before if now < START + until else after
