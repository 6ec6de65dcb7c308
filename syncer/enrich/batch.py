"""One batch of one wiki: ask, settle, and ask again what the answers leave open, until every change has its outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from syncer.enrich.queues import chunks
from syncer.errors import Retry, Unusable
from syncer.outcome import Answers, Ask, Later, Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from syncer.enrich.inwork import InWork
    from syncer.enrich.queues import Item, WikiQueue
    from syncer.enrich.settle import Settler
    from syncer.model import Answer, Site
    from syncer.outcome import Outcome

log = structlog.get_logger()

MOST_ROUNDS = 8  # questions that follow from answers: a move to a title whose page has moved on, and so on
MOST_TRIES = 8  # a change put off this often is set aside: 2 + 3 + 4.5 ... = about 100 s
PUT_OFF = 2.0  # seconds before a change is asked about again, half as much again each time


class Api(Protocol):
    """What is asked of the wikis; see :class:`syncer.fetch.WikiApi`. Every call is one attempt and raises the errors of Retry."""

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's clock is ahead of the wikis'."""

    async def revisions(self, wiki_id: str, domain: str, rev_ids: Sequence[int]) -> Answer:
        """Ask for revisions by id."""

    async def titles(self, wiki_id: str, domain: str, titles: Sequence[str]) -> Answer:
        """Ask for pages by title, with their current revisions."""

    async def page_ids(self, wiki_id: str, domain: str, page_ids: Sequence[int]) -> Answer:
        """Ask for pages by id, with their current revisions."""

    async def site(self, wiki_id: str, domain: str) -> Site:
        """Ask the wiki about itself."""


@dataclass(slots=True)
class Batch:
    """``pending`` are the items that are neither finished nor put off: what is left when an error ends the batch."""

    queue: WikiQueue
    pending: list[Item]
    api: Api
    settler: Settler
    work: Callable[[Callable[[], Any]], Awaitable[Any]]
    in_work: InWork
    answers: Answers = field(default_factory=Answers)

    async def see_through(self, site: Site) -> None:
        """Give every item its outcome, or put it off."""
        wants: dict[Item, Question] = await self.work(partial(self.settler.questions, self.pending))
        self._drop([item for item in self.pending if item not in wants])
        for _ in range(MOST_ROUNDS):
            await self._ask(wants, site)
            if not self.pending:
                return
            wants = await self._settle(site)
            if not any(question - self.answers.asked for question in wants.values()):
                break
        for item in list(self.pending):
            await self._put_off(item, Later("unsettled"))

    async def _settle(self, site: Site) -> dict[Item, Question]:
        """Decide what can be decided. Returns what is to be asked for the items that need more."""
        items, wants = list(self.pending), {}
        with self.in_work.on(items):
            outcomes: list[tuple[Item, Outcome]] = []
            while len(outcomes) < len(items):
                outcomes += await self.work(partial(self.settler.settle, items[len(outcomes) :], self.answers, site))
        for item, outcome in outcomes:
            match outcome:
                case Ask(question):
                    wants[item] = question
                case Later():
                    await self._put_off(item, outcome)
                case _:
                    self._drop([item])
        return wants

    async def _ask(self, wants: Mapping[Item, Question], site: Site) -> None:
        """One request after the other; a value that cannot be answered for is set aside with the changes that need it.

        What was answered before an error is settled before it is raised.
        """
        question = Question()
        for wanted in wants.values():
            question |= wanted
        requests = deque(chunks(question - self.answers.asked))
        while requests and self.pending:
            kind, values = requests.popleft()
            try:
                await self._request(kind, values)
            except Unusable as error:
                if len(values) > 1:
                    middle = len(values) // 2
                    requests.extendleft(((kind, values[middle:]), (kind, values[:middle])))
                elif items := [item for item in self.pending if wants[item].names(kind, values[0])]:
                    await self.aside(items, error)
            except Retry:
                if self.answers.asked:
                    await self._settle(site)
                raise

    async def _request(self, kind: str, values: tuple[Any, ...]) -> None:
        wiki_id, domain = self.queue.wiki_id, self.queue.domain
        match kind:
            case "rev_ids":
                self.answers.add(Question(rev_ids=frozenset(values)), await self.api.revisions(wiki_id, domain, values))
            case "titles":
                self.answers.add(Question(titles=frozenset(values)), await self.api.titles(wiki_id, domain, values))
            case _:
                self.answers.add(Question(page_ids=frozenset(values)), await self.api.page_ids(wiki_id, domain, values))

    async def _put_off(self, item: Item, later: Later) -> None:
        """Ask about it anew in a while; not for ever."""
        item.tries += 1
        if item.tries > MOST_TRIES:
            await self.aside([item], Unusable(later.reason, f"asked {item.tries} times"))
            return
        self.pending.remove(item)
        wait = max(PUT_OFF * 1.5 ** (item.tries - 1), later.until - self.settler.context().now)
        self.queue.put_off(item, asyncio.get_running_loop().time() + wait)

    async def aside(self, items: list[Item], why: Unusable) -> None:
        """Set some of the items aside."""
        log.warning("set aside", reason=why.reason, detail=str(why), wiki=self.queue.wiki_id, changes=len(items))
        await self.work(partial(self.settler.set_aside, items, why.reason, str(why)))
        self._drop(items)

    def _drop(self, items: list[Item]) -> None:
        """These are finished."""
        for item in items:
            self.pending.remove(item)
        self.queue.in_work -= len(items)
