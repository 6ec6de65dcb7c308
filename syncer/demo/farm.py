"""The farm: several wikis, one event log, one clock. Seeded, in memory, the truth that mirrors are compared with.

    sites, texts              what each wiki calls things, and what its pages say
    state, telling, editing, wiki      what a wiki holds, how it speaks, what can be done to it: each stands on the one before
    events, log               the shapes of what it says, and the topics of two data centres where all of them say it
    actions, history          who keeps the wikis busy: a random workload, or the edits of a real history
    subscription, stream      the log as EventStreams serves it
    selection, query, lists, api      the wikis as the Action API answers for them (mishaps: or fails to)
    server, faults            both on one loopback port, and what goes wrong there on demand

None of these uses anything of the project but the plain types of :mod:`syncer.model`: a fake that shared its code with what it
tests would agree with it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from syncer.demo.events import iso
from syncer.demo.log import EventLog
from syncer.demo.sites import SITES
from syncer.demo.state import COMMENT, TEXT, By, User
from syncer.demo.texts import SHAPES, Writer
from syncer.demo.wiki import Wiki

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from syncer.demo.faults import Faults
    from syncer.demo.sites import Site

MONTH = 30 * 86400  # seconds; how far back the first revisions of the farm's pages lie


class Farm:
    """Wikis by id. The same seed and clock give the same wikis, events and ids.

    ``pages`` are spread over the wikis by their weight, each with up to three revisions, all older than the feed: no event
    tells of them, and no replica is too late for them.
    """

    def __init__(
        self, sites: Sequence[Site] = SITES, *, pages: int = 0, seed: int = 1, clock: Callable[[], float] = time.time
    ) -> None:
        self.rng = Random(seed)  # noqa: S311 -- seeded, not secret
        self.clock = clock
        self.log = EventLog(clock, Random(seed))  # noqa: S311 -- the same
        self.wikis: dict[str, Wiki] = {}
        for site in sites:
            self.add(site)
        if pages:
            self._grow(pages)

    def __getitem__(self, wiki_id: str) -> Wiki:
        """The wiki with that id."""
        return self.wikis[wiki_id]

    @property
    def faults(self) -> Faults:
        """What goes wrong now, in publishing and in serving."""
        return self.log.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self.log.faults = faults

    def add(self, site: Site) -> Wiki:
        """One more wiki; what it learns of its namespaces stays in this farm."""
        wiki = self.wikis[site.wiki_id] = Wiki(replace(site, namespaces=dict(site.namespaces)), self.log)
        return wiki

    def serving(self, name: str) -> Wiki | None:
        """The wiki with that id or domain."""
        return self.wikis.get(name) or next((wiki for wiki in self.wikis.values() if wiki.site.domain == name), None)

    def users(self, wiki: Wiki) -> list[User]:
        """Who edits a wiki: accounts, a bot, an administrator, somebody without an account."""
        names = Writer(wiki.site.language, Random(wiki.site.wiki_id))  # noqa: S311 -- seeded, not secret
        accounts = [User(names.words(1).capitalize() + str(n), 1000 + n, ("user", "autoconfirmed")) for n in range(6)]
        admin = User("Custodian", 17, ("sysop", "user", "autoconfirmed"))
        return [*accounts, admin, User("TidyBot", 23, ("bot", "user", "autoconfirmed")), User("192.0.2.44")]

    def export(self, *, touched: bool = False) -> Iterator[dict[str, Any]]:
        """The wikis as they are, in the form of ``mirror export`` (DESIGN 7): a dictionary a page, by wiki and page id.

        ``touched`` leaves out the pages that are what they were when the farm was made: no event need name them.
        """
        for wiki in self.wikis.values():
            for page_id in sorted(wiki.touched & set(wiki.pages) if touched else wiki.pages):
                page = wiki.pages[page_id]
                rev = wiki.latest(page)
                hidden = bool(rev.hidden & TEXT)
                yield {
                    "wiki_id": wiki.site.wiki_id,
                    "page_id": page_id,
                    "title": page.title.text,
                    "namespace": page.title.namespace,
                    "rev_id": rev.rev_id,
                    "timestamp": iso(rev.timestamp),
                    "sha1": None if hidden else rev.sha1,
                    "content_model": rev.model,
                    "is_redirect": page.redirect is not None,
                    "text": None if hidden else rev.text.decode(),
                }

    def _grow(self, pages: int) -> None:
        total = sum(wiki.site.weight for wiki in self.wikis.values())
        for wiki in self.wikis.values():
            wiki.quiet = True
            for _ in range(max(3, round(pages * wiki.site.weight / total))):
                self._grow_page(wiki)
            wiki.settle()
            wiki.quiet = False

    def _grow_page(self, wiki: Wiki) -> None:
        """One old page, one in five of another namespace, one in twelve with a revision hidden."""
        rng, users = self.rng, self.users(wiki)
        writer = Writer(wiki.site.language, rng)
        namespace = rng.choice((0,) * 20 + (1, 2, 4, 10, 14))
        title = wiki.site.title(namespace, writer.name())
        if wiki.find(title.text):
            return
        page, parent, text = wiki.open_page(title), None, writer.article()
        at = int(self.clock()) - rng.randrange(MONTH, 12 * MONTH)
        for _ in range(rng.choice((1, 2, 2, 3))):
            parent = wiki.add(page, text.encode(), By(rng.choice(users), writer.words(4)), parent=parent, at=at)
            page = wiki.point(page, parent)
            text = SHAPES[rng.choice(("typo", "paragraph", "infobox", "section"))](text, writer, rng)
            at += rng.randrange(60, MONTH // 3)
        first = wiki.history[page.page_id][0]
        if first != page.latest and rng.random() < 1 / 12:
            wiki.revs[first] = replace(wiki.revs[first], hidden=TEXT | COMMENT)
