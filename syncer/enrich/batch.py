"""One batch of one wiki: ask, settle, and ask again what the answers leave open, until every change has its outcome."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from syncer.enrich.queues import chunks
from syncer.errors import Unusable
from syncer.outcome import Answers, Ask, Later, Publish, Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from syncer.enrich.inwork import InWork
    from syncer.enrich.queues import Item, WikiQueue
    from syncer.enrich.settle import Settler
    from syncer.model import Answer, Change, Site
    from syncer.outcome import Outcome

log = structlog.get_logger()

MOST_ROUNDS = 8  # questions that follow from answers: a move to a title whose page has moved on, and so on
MOST_TRIES = 8  # a change put off this often is set aside: 2 + 3 + 4.5 ... = about 100 s
PUT_OFF = 2.0  # seconds before a change is asked about again, half as much again each time
DELAYS_KEPT = 10_000


class Api(Protocol):
    """What is asked of the wikis; see :class:`syncer.fetch.WikiApi`. Every call is one attempt and raises the errors of Retry."""

    async def revisions(self, wiki_id: str, domain: str, rev_ids: Sequence[int]) -> Answer:
        """Ask for revisions by id."""

    async def titles(self, wiki_id: str, domain: str, titles: Sequence[str]) -> Answer:
        """Ask for pages by title, with their current revisions."""

    async def page_ids(self, wiki_id: str, domain: str, page_ids: Sequence[int]) -> Answer:
        """Ask for pages by id, with their current revisions."""

    async def site(self, wiki_id: str, domain: str) -> Site:
        """Ask the wiki about itself."""


@dataclass(slots=True)
class Watch:
    """What others may look at. ``delays``: seconds from event to publication, newest last."""

    delays: deque[float] = field(default_factory=lambda: deque(maxlen=DELAYS_KEPT))
    on_outcome: list[Callable[[Change, Outcome, float], None]] = field(default_factory=list)

    def done(self, change: Change, outcome: Outcome) -> None:
        """A change has its outcome."""
        delay = time.time() - datetime.fromisoformat(change.source.event_time).timestamp()
        if isinstance(outcome, Publish):
            self.delays.append(delay)
        for listener in self.on_outcome:
            listener(change, outcome, delay)


@dataclass(slots=True)
class Batch:
    """``pending`` are the items that are neither finished nor put off: what is left when an error ends the batch."""

    queue: WikiQueue
    pending: list[Item]
    api: Api
    settler: Settler
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    in_work: InWork
    watch: Watch
    answers: Answers = field(default_factory=Answers)

    async def see_through(self, site: Site) -> None:
        """Give every item its outcome, or put it off."""
        question, pending = await self.work(partial(self.settler.question, self.pending))
        for item in [item for item in self.pending if item not in pending]:
            self._drop(item)
        for _ in range(MOST_ROUNDS):
            await self._ask(question - self.answers.asked)
            if not self.pending:
                return
            with self.in_work.on(self.pending):
                outcomes = await self.work(partial(self.settler.settle, list(self.pending), self.answers, site))
            question = Question()
            for item, outcome in outcomes:
                if isinstance(outcome, Ask):
                    question |= outcome.question
                else:
                    await self._done(item, outcome)
            if not question - self.answers.asked:
                break
        for item in list(self.pending):
            await self._put_off(item, "unsettled")

    async def _ask(self, question: Question) -> None:
        """One request after the other; a value that cannot be answered for is set aside with the changes that name it."""
        requests = deque(chunks(question))
        while requests and self.pending:
            kind, values = requests.popleft()
            try:
                await self._request(kind, values)
            except Unusable as error:
                if len(values) > 1:
                    middle = len(values) // 2
                    requests.extendleft(((kind, values[middle:]), (kind, values[:middle])))
                else:
                    await self._aside([item for item in self.pending if _names(item.change, values[0])], error.reason, str(error))

    async def _request(self, kind: str, values: tuple[Any, ...]) -> None:
        wiki_id, domain = self.queue.wiki_id, self.queue.domain
        match kind:
            case "revisions":
                self.answers.add(Question(rev_ids=frozenset(values)), await self.api.revisions(wiki_id, domain, values))
            case "titles":
                self.answers.add(Question(titles=frozenset(values)), await self.api.titles(wiki_id, domain, values))
            case _:
                self.answers.add(Question(page_ids=frozenset(values)), await self.api.page_ids(wiki_id, domain, values))

    async def _done(self, item: Item, outcome: Outcome) -> None:
        if isinstance(outcome, Later):
            await self._put_off(item, outcome.reason)
            return
        self._drop(item)
        self.watch.done(item.change, outcome)

    async def _put_off(self, item: Item, reason: str) -> None:
        """Ask about it anew in a while; not for ever."""
        item.tries += 1
        if item.tries > MOST_TRIES:
            await self._aside([item], reason, f"asked {item.tries} times")
            return
        self.pending.remove(item)
        self.queue.put_off(item, asyncio.get_running_loop().time() + PUT_OFF * 1.5 ** (item.tries - 1))

    async def _aside(self, items: list[Item], reason: str, detail: str) -> None:
        if not items:
            return
        log.warning("set aside", reason=reason, detail=detail, wiki=self.queue.wiki_id, changes=len(items))
        await self.work(partial(self.settler.set_aside, items, reason, detail))
        for item in items:
            self._drop(item)

    def _drop(self, item: Item) -> None:
        self.pending.remove(item)
        self.queue.in_work -= 1


def _names(change: Change, value: int | str) -> bool:
    """Whether a change is about a revision, title or page id."""
    return value in change.rev_ids or value in change.titles or value in change.page_ids or value == change.parent_rev_id
