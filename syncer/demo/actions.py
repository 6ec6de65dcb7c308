"""A seeded random workload: what people and bots do to wikis, one action at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Protocol

from syncer.demo import events
from syncer.demo.editing import Old
from syncer.demo.sites import Site
from syncer.demo.state import COMMENT, RESTRICTED, TEXT, USER, By, WikiRefuses
from syncer.demo.texts import SHAPES, Writer
from syncer.demo.wiki import Wiki

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from syncer.demo.farm import Farm
    from syncer.demo.state import Page, User

# Out of a hundred: edits as the recorded minutes have them, and enough of the rare that a thousand actions see all of it.
WEIGHTS: Mapping[str, float] = {
    "typo": 24, "paragraph": 14, "table": 5, "infobox": 6, "reference": 6, "section": 4, "scattered": 2, "blank": 0.5, "big": 0.3,
    "revert": 6, "null_edit": 1, "create": 8, "talk": 2, "redirect": 1.5, "move": 3, "move_back": 1, "delete": 2, "undelete": 1.5,
    "undelete_some": 0.7, "recreate": 0.7, "hide": 1.5, "unhide": 0.7, "suppress": 0.5, "suppress_page": 0.3, "protect": 1,
    "merge": 0.7, "import_": 0.7, "change_model": 0.3, "upload": 0.5, "noise": 5,
}  # fmt: skip
ODD_NAMES = ("AC/DC {}", "{} 100%", 'Say "{}"', "Q&A {}", "C++ {}", "{} (😀)", "'{}'!")
HOT = 0.4  # share of actions on pages that something happened to just now: without it hardly a page would change twice
ELSEWHERE = Site(wiki_id="wikidatawiki", domain="www.wikidata.org")


class Done(NamedTuple):
    """An action that was done."""

    wiki_id: str
    action: str
    title: str


class Steps(Protocol):
    """Something that keeps the wikis busy."""

    def step(self) -> Done | None:
        """Do one thing. None where there is nothing left to do."""


async def drive(steps: Steps, *, rate: float, count: int, told: Callable[[Done], None] | None = None) -> int:
    """Do up to ``count`` things, ``rate`` a second; what was done is told. Returns how many there were."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        done = steps.step()
        if done is None:
            return number
        if told:
            told(done)
    return count


class Workload:
    """Random actions on a farm; one that the wiki refuses is replaced by another. ``weights`` are relative."""

    def __init__(self, farm: Farm, *, seed: int = 1, weights: Mapping[str, float] = WEIGHTS) -> None:
        self._farm = farm
        self._rng = Random(seed)  # noqa: S311 -- seeded, not secret
        self._weights = dict(weights)
        self._wikis = list(farm.wikis.values())
        self._users: dict[str, list[User]] = {wiki.site.wiki_id: farm.users(wiki) for wiki in self._wikis}
        self._writers = {wiki.site.wiki_id: Writer(wiki.site.language, self._rng) for wiki in self._wikis}
        self._recent: dict[str, deque[int]] = {wiki.site.wiki_id: deque(maxlen=20) for wiki in self._wikis}
        self._elsewhere = Wiki(ELSEWHERE, farm.log)

    def step(self) -> Done:
        """Do one action somewhere."""
        while True:
            wiki = self._rng.choices(self._wikis, [wiki.site.weight for wiki in self._wikis])[0]
            action = self._rng.choices(list(self._weights), list(self._weights.values()))[0]
            try:
                title = self._do(action, wiki)
            except WikiRefuses:
                continue
            if page := wiki.find(title):
                self._recent[wiki.site.wiki_id].append(page.page_id)
            return Done(wiki.site.wiki_id, action.strip("_"), title)

    def _do(self, action: str, wiki: Wiki) -> str:
        if action in SHAPES:
            return self._edit(action, wiki)
        title: str = getattr(self, f"_{action}")(wiki)
        return title

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _page(self, wiki: Wiki) -> Page:
        """A live page: by chance, or one that something happened to lately. Ids are dense, so a guess soon hits."""
        recent = self._recent[wiki.site.wiki_id]
        if recent and self._chance(HOT) and (page := wiki.pages.get(self._rng.choice(recent))):
            return page
        for _ in range(100):
            if page := wiki.pages.get(self._rng.randrange(wiki.site.first_page, wiki.next_page + 1)):
                return page
        raise WikiRefuses("missingtitle", "a page")

    def _by(self, wiki: Wiki, right: str = "") -> By:
        """Somebody who may: anybody, or an account that is in a group."""
        may = [user for user in self._users[wiki.site.wiki_id] if not right or right in user.groups]
        user = self._rng.choice(may)
        comment = self._writers[wiki.site.wiki_id].words(self._rng.randint(1, 6)) if self._chance(0.9) else ""
        return By(user, comment, minor=self._chance(0.2), bot=user.bot)

    def _new_title(self, wiki: Wiki) -> str:
        name = self._writers[wiki.site.wiki_id].name()
        if self._chance(0.1):
            name = self._rng.choice(ODD_NAMES).format(name)
        return wiki.site.title(self._rng.choice((0, 0, 0, 0, 0, 0, 2, 4, 10, 14)), name).text

    def _edit(self, shape: str, wiki: Wiki) -> str:
        page = self._page(wiki)
        text = wiki.latest(page).text.decode()
        changed = SHAPES[shape](text, self._writers[wiki.site.wiki_id], self._rng)
        return self._save(wiki, page.title.text, changed)

    def _save(self, wiki: Wiki, title: str, text: str) -> str:
        if wiki.edit(title, text, self._by(wiki)) is None:
            raise WikiRefuses("nochange", title)
        return title

    def _revert(self, wiki: Wiki) -> str:
        page = self._page(wiki)
        seen = [rev for rev in wiki.revisions(page.title.text)[:-1] if not rev.hidden & TEXT]
        if not seen:
            raise WikiRefuses("nosuchrevid", page.title.text)
        return self._save(wiki, page.title.text, self._rng.choice(seen[-3:]).text.decode())

    def _null_edit(self, wiki: Wiki) -> str:
        page = self._page(wiki)
        wiki.edit(page.title.text, wiki.latest(page).text, self._by(wiki))
        return page.title.text

    def _create(self, wiki: Wiki) -> str:
        return self._save(wiki, self._new_title(wiki), self._writers[wiki.site.wiki_id].article())

    def _talk(self, wiki: Wiki) -> str:
        subject = self._page(wiki).title
        if subject.namespace:
            raise WikiRefuses("invalidtitle", subject.text)
        talk = wiki.site.title(1, subject.text)
        said = wiki.latest(page).text.decode() if (page := wiki.find(talk.text)) else ""
        return self._save(wiki, talk.text, f"{said}\n\n{self._writers[wiki.site.wiki_id].paragraph()} ~~~~".strip())

    def _redirect(self, wiki: Wiki) -> str:
        target = self._page(wiki).title.text
        title = self._new_title(wiki) if self._chance(0.6) else self._page(wiki).title.text
        return self._save(wiki, title, f"{wiki.site.redirect_word} [[{target}]]")

    def _move(self, wiki: Wiki) -> str:
        page, to = self._page(wiki), self._new_title(wiki)
        talk = wiki.find(wiki.site.title(1, page.title.text).text) if page.title.namespace == 0 else None
        wiki.move(page.title.text, to, self._by(wiki, "user"), redirect=self._chance(0.7))
        if talk and wiki.name(to).namespace == 0:
            wiki.move(talk.title.text, wiki.site.title(1, to).text, self._by(wiki, "user"))
        return to

    def _move_back(self, wiki: Wiki) -> str:
        title, away = self._page(wiki).title.text, self._new_title(wiki)
        wiki.move(title, away, self._by(wiki, "user"))
        wiki.move(away, title, self._by(wiki, "user"))
        return title

    def _delete(self, wiki: Wiki, *, suppress: bool = False) -> str:
        if len(wiki.pages) < 5:  # noqa: PLR2004 -- leave something to work on
            raise WikiRefuses("too few pages", wiki.site.wiki_id)
        page = self._page(wiki)
        wiki.delete(page.title.text, self._by(wiki, "sysop"), suppress=suppress)
        return page.title.text

    def _suppress_page(self, wiki: Wiki) -> str:
        return self._delete(wiki, suppress=True)

    def _deleted(self, wiki: Wiki) -> str:
        lying = [title for title, revs in wiki.archive.items() if revs]
        if not lying:
            raise WikiRefuses("cantundelete", wiki.site.wiki_id)
        return self._rng.choice(lying)

    def _undelete(self, wiki: Wiki) -> str:
        title = self._deleted(wiki)
        wiki.undelete(title, self._by(wiki, "sysop"))
        return title

    def _undelete_some(self, wiki: Wiki) -> str:
        title = self._deleted(wiki)
        lying = [deleted.rev.rev_id for deleted in wiki.archive[title]]
        wiki.undelete(title, self._by(wiki, "sysop"), rev_ids=self._rng.sample(lying, self._rng.randint(1, len(lying))))
        return title

    def _recreate(self, wiki: Wiki) -> str:
        return self._save(wiki, self._deleted(wiki), self._writers[wiki.site.wiki_id].article(3000))

    def _hide(self, wiki: Wiki, extra: int = 0) -> str:
        page = self._page(wiki)
        history = wiki.history[page.page_id]
        chosen = self._rng.sample(history, min(len(history), self._rng.randint(1, 3)))
        bits = self._rng.randrange(1, 8)
        if page.latest in chosen:
            bits = bits & ~TEXT or COMMENT | USER
        wiki.hide(chosen, bits | extra, self._by(wiki, "sysop"))
        return page.title.text

    def _suppress(self, wiki: Wiki) -> str:
        return self._hide(wiki, RESTRICTED)

    def _unhide(self, wiki: Wiki) -> str:
        page = self._page(wiki)
        hidden = [rev.rev_id for rev in wiki.revisions(page.title.text) if rev.hidden]
        if not hidden:
            raise WikiRefuses("nothing hidden", page.title.text)
        wiki.hide(hidden, 0, self._by(wiki, "sysop"))
        return page.title.text

    def _protect(self, wiki: Wiki) -> str:
        title = self._page(wiki).title.text if self._chance(0.9) else self._new_title(wiki)
        wiki.protect(title, self._rng.choice(("sysop", "autoconfirmed", "all")), self._by(wiki, "sysop"))
        return title

    def _merge(self, wiki: Wiki) -> str:
        source, target = self._page(wiki), self._page(wiki)
        history = wiki.history[source.page_id]
        up_to = history[0] if len(history) > 1 and self._chance(0.5) else None
        wiki.merge(source.title.text, target.title.text, self._by(wiki, "sysop"), up_to=up_to)
        return source.title.text

    def _import_(self, wiki: Wiki) -> str:
        writer, now = self._writers[wiki.site.wiki_id], int(self._farm.clock())
        title = self._new_title(wiki) if self._chance(0.6) else self._page(wiki).title.text
        at = self._rng.choice((now - 10 * 365 * 86400, now + 1))  # old ones go under the page, newer ones on top
        old = [Old(at + n, self._by(wiki), writer.article(1500).encode()) for n in range(self._rng.randint(1, 3))]
        wiki.import_revisions(title, old, self._by(wiki, "sysop"))
        return title

    def _change_model(self, wiki: Wiki) -> str:
        title = wiki.site.title(2, f"{self._writers[wiki.site.wiki_id].name()}/data").text
        self._save(wiki, title, f'{{"value": {self._rng.randrange(1000)}}}')
        wiki.change_model(title, "json", self._by(wiki, "user"))
        return title

    def _upload(self, wiki: Wiki) -> str:
        title = wiki.site.title(6, f"{self._writers[wiki.site.wiki_id].name()}.png").text
        wiki.upload(title, self._by(wiki, "user"))
        if self._chance(0.5):
            wiki.upload(title, self._by(wiki, "user"))
        return title

    def _noise(self, wiki: Wiki) -> str:
        """What is on the feed and no change of any page here."""
        page, by, at = self._page(wiki), self._by(wiki), self._farm.clock()
        user = wiki.site.title(2, by.user.name)
        match self._rng.randrange(6):
            case 0 | 1:
                event = events.entry(
                    wiki.site, wiki.site.title(14, self._writers[wiki.site.wiki_id].name()), "categorize", at, by
                )
                wiki.publish(events.RECENT_CHANGE, page.title, event)
            case 2:
                wiki.tell_log(wiki.logged("patrol/patrol", page.title, {"curid": page.latest, "previd": 0, "auto": 0}), by)
            case 3:
                wiki.tell_log(wiki.logged("rights/rights", user, ""), by)
            case 4:
                wiki.publish(events.RECENT_CHANGE, page.title, events.entry(wiki.site, page.title, "142", at, by))
            case _:
                self._elsewhere.edit(f"Q{self._rng.randrange(10**6)}", str(at), by)
        return page.title.text
