"""What people do on a wiki, at random: one method an action, on pages picked from those this editor knows of."""

from __future__ import annotations

import random
import time
from typing import Any

from .files import export, png
from .mwapi import Client
from .wiki import PASSWORDS

WORDS = [
    *("alpha", "beta", "gamma", "delta", "река", "дом", "例え", "本", "straße", "naïve", "Ωμέγα", "café", "😀", "☃"),
    *("table|cell", "[[Link]]", "{{tpl}}", "'''b'''", "<ref>r</ref>", "==", "H", "=="),
]
NAMES = ("Page", "Статья", "記事", "Ünïcode", "A/B", "Q&A", "C++", 'say "hi"', "50%", "emoji 😀")
MAX_SIZE = 20_000  # characters of an ordinary page


class Skipped(Exception):
    """There is nothing to do this to."""


class Editor:
    """Acts as several users. What it does is a function of ``seed`` and of the wiki's state at the start."""

    def __init__(self, api_url: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.alice = Client(api_url, "Alice", PASSWORDS["Alice"])
        self.vandal = Client(api_url, "Vandal", PASSWORDS["Vandal"])
        self.bot = Client(api_url, "LabBot@lab", PASSWORDS["LabBot@lab"])
        self.anonymous = Client(api_url)
        self._seed, self._made = seed, 0
        self._files: list[str] = []
        self._live: list[str] = [page["title"] for namespace in (0, 1, 4, 10) for page in self._all_pages(namespace)]
        self._deleted: list[str] = []

    def do(self, action: str) -> None:
        """Do one thing. Raises ApiError where the wiki refuses, Skipped where there is nothing to do it to."""
        getattr(self, action)()

    def edit(self) -> None:
        self._change(self.random.choice((self.alice, self.vandal, self.bot)))

    def minor(self) -> None:
        self._change(self.random.choice((self.alice, self.vandal, self.bot)), minor=1)

    def bot_edit(self) -> None:
        self._change(self.bot, bot=1)

    def anonymous_edit(self) -> None:
        self._change(self.anonymous)

    def create(self) -> None:
        self._create(self._new_title())

    def recreate(self) -> None:
        self._create(self._pick(self._deleted))

    def blank(self) -> None:
        self.vandal.act("edit", title=self._pick(), text="", summary="blank")

    def null_edit(self) -> None:
        title = self._pick()
        self.alice.act("edit", title=title, text=self._wikitext(title))

    def revert(self) -> None:
        title = self._pick()
        slots = [revision["slots"]["main"] for revision in self._history(title, "|content|contentmodel", rvslots="main")]
        texts = [slot["content"] for slot in slots if "content" in slot and slot["contentmodel"] == "wikitext"]
        if not texts:
            raise Skipped
        self.alice.act("edit", title=title, text=self.random.choice(texts), summary="revert")

    def rollback(self) -> None:
        title = self._pick()
        self.vandal.act("edit", title=title, text="VANDAL " + self._words(5))
        as_bot = {"markbot": 1} if self.random.random() < 0.5 else {}
        self.alice.act("rollback", title=title, user="Vandal", **as_bot)

    def talk(self) -> None:
        subject = self._pick()
        title = subject if ":" in subject else f"Talk:{subject}"
        self.alice.act("edit", title=title, text=self._words(20) + str(self.random.random()))
        self._appeared(title)

    def two_in_one_second(self) -> None:
        title = self._pick()
        text = self._wikitext(title)
        for _ in range(2):
            text = self._mutated(text)
            self.alice.act("edit", title=title, text=text, summary="one of two")

    def redirect(self) -> None:
        self._point(self._pick())

    def retarget(self) -> None:
        self._point(self._a_redirect())

    def unredirect(self) -> None:
        self.alice.act("edit", title=self._a_redirect(), text=self._words(20), summary="unredir")

    def move(self) -> None:
        self._move(self._pick())

    def move_without_redirect(self) -> None:
        title = self._pick()
        self._move(title, noredirect=1)
        self._vanished(title)

    def move_over_redirect(self) -> None:
        title, other = self._pick(), self._new_title()
        self.alice.act("move", **{"from": title}, to=other, reason="there")
        self.alice.act("move", **{"from": other}, to=title, reason="and back")

    def move_with_talk_and_subpages(self) -> None:
        name, other = (self._new_title().split(":")[-1] for _ in range(2))
        for title in (f"User:{name}", f"User talk:{name}", f"User:{name}/sub", f"User talk:{name}/sub"):
            self.alice.act("edit", title=title, text=self._words(20), summary="family")
        self.alice.act("move", **{"from": f"User:{name}"}, to=f"User:{other}", reason="all", movetalk=1, movesubpages=1)
        for title in (f"User:{other}", f"User talk:{other}", f"User:{other}/sub", f"User talk:{other}/sub"):
            self._appeared(title)

    def move_across_namespaces(self) -> None:
        title = self._pick()
        here = title.rpartition(":")[0]
        there = self.random.choice([name for name in ("", "Help", "Template", "User") if name != here])
        target = f"{there}:" * bool(there) + self._new_title().split(":")[-1]
        self.alice.act("move", **{"from": title}, to=target, reason="elsewhere")
        self._appeared(target)

    def delete(self) -> None:
        if len(self._live) < 5:
            raise Skipped
        title = self._pick()
        self.alice.act("delete", title=title, reason=self._words(2))
        self._vanished(title)

    def undelete(self) -> None:
        self._undelete(self._gone())

    def undelete_partly(self) -> None:
        title = self._gone()
        self._undelete(title, timestamps=self.random.choice(self._archived(title)))

    def undelete_under_new_id(self) -> None:
        title = self._gone(versions=2)
        other = self._new_title()
        self._undelete(title, timestamps=self._archived(title)[0])
        self.alice.act("move", **{"from": title}, to=other, reason="with its id", noredirect=1)
        self._appeared(other)
        self._undelete(title)

    def undelete_into_page(self) -> None:
        title = self._gone(versions=2)
        self._undelete(title, timestamps=self.random.choice(self._archived(title)))
        self._undelete(title)

    def hide(self) -> None:
        self._set_visibility("hide")

    def show(self) -> None:
        self._set_visibility("show")

    def suppress(self) -> None:
        self._set_visibility("hide", suppress="yes")

    def suppress_current(self) -> None:
        current = next(iter(self._history(self._pick())))
        hidden = self.random.choice(("user", "comment", "user|comment"))
        self.alice.act("revisiondelete", type="revision", ids=current["revid"], hide=hidden, suppress="yes", reason="s")

    def suppress_page(self) -> None:
        """Nobody ever restores it."""
        title = self._pick()
        self.alice.submit("delete", title, wpReason="s", wpSuppress=1)
        self._live = [other for other in self._live if other != title]
        if self._exists(title):
            raise Skipped

    def protect(self) -> None:
        level = self.random.choice(("sysop", "autoconfirmed", "all"))
        self.alice.act("protect", title=self._pick(), protections=f"edit={level}", expiry="infinite", reason="p")

    def merge(self) -> None:
        self._merge(whole=True)

    def merge_partly(self) -> None:
        self._merge(whole=False)

    def import_new(self) -> None:
        self._import(self._new_title())

    def import_under(self) -> None:
        self._import(self._pick())

    def upload(self) -> None:
        self._files.append(f"{self._new_title().split(':')[-1].replace('/', '-')}.png")
        self._upload(self._files[-1])

    def upload_again(self) -> None:
        if not self._files:
            self.upload()
        self._upload(self.random.choice(self._files))

    def file_revert(self) -> None:
        if not self._files:
            self.upload()
        names = self.random.sample(self._files, len(self._files))
        name, old = next(((name, old) for name in names if (old := self._old_version(name))), (names[0], ""))
        if not old:
            time.sleep(1.1)  # a version is known by the second it is of
            self._upload(name)
            time.sleep(1.1)
            old = self._old_version(name)
        self.alice.act("filerevert", filename=name, archivename=old, comment="back")

    def content_model(self) -> None:
        title = self._new_title()
        self.alice.act("edit", title=title, text=f'{{"a": [1, 2, {self.random.randrange(99)}]}}')
        self.alice.act("changecontentmodel", title=title, model="json", summary="json")

    def json_page(self) -> None:
        self._data("Data", '{{"a": [1, 2, {}], "река": null}}', contentmodel="json")

    def css_page(self) -> None:
        self._data("User:Alice/style.css", "a {{ width: {}px; }} /* дом */\n")

    def javascript_page(self) -> None:
        self._data("User:Alice/script.js", "mw.log( {} ); // дом\n")

    def second_slot(self) -> None:
        title = self._pick()
        self._wikitext(title)
        self.alice.act("labslots", title=title, facts=self._facts(), summary="beside")

    def both_slots(self) -> None:
        title = self._pick()
        text = self._mutated(self._wikitext(title))
        self.alice.act("labslots", title=title, text=text, facts=self._facts(), summary="both")

    def lua_page(self) -> None:
        self._data("Module:Code", "local p = {{}}\nfunction p.f() return {} end -- дом\nreturn p\n")

    def big(self) -> None:
        filler = "filler line of text\n" * self.random.randint(20_000, 70_000)
        self.bot.act("edit", title=self._pick(), text=f"{self._words(200)}\n{filler}", summary="big")

    def _change(self, who: Client, **more: Any) -> None:
        title = self._pick()
        text = self._mutated(self._wikitext(title))
        who.act("edit", title=title, text=text, summary=self._words(3), **more)

    def _create(self, title: str) -> None:
        who = self.random.choice((self.alice, self.vandal))
        who.act("edit", title=title, text=self._words(self.random.randint(5, 200)), summary=f"new {self._words(2)}")
        self._appeared(title)

    def _move(self, title: str, **more: Any) -> None:
        namespace = title.split(":", 1)[0] + ":" if ":" in title else ""
        target = namespace + self._new_title().split(":", 1)[-1]
        talk = {"movetalk": 1} if self.random.random() < 0.5 else {}
        self.alice.act("move", **{"from": title}, to=target, reason=self._words(2), **talk, **more)
        self._appeared(target)

    def _merge(self, *, whole: bool) -> None:
        """Give one page those revisions of another that are older than its own: all of them, or some."""
        target = self._pick()
        if self.random.random() < 0.5:
            target = self._new_title()
            self._create(target)
        begins = min(revision["timestamp"] for revision in self._history(target))
        for source in self.random.sample(self._live, min(20, len(self._live))):
            times = sorted({revision["timestamp"] for revision in self._history(source)})
            if times[-1] < begins and len(times) > (not whole):
                until = times[-1] if whole else self.random.choice(times[:-1])
                self.alice.act("mergehistory", **{"from": source}, to=target, timestamp=until, reason="m")
                return
        raise Skipped

    def _import(self, title: str) -> None:
        year = self.random.randint(2003, 2019)
        texts = {f"{year}-01-0{n}T00:00:00Z": self._words(20) for n in range(1, self.random.randint(2, 5))}
        self.alice.act("import", xml=export(title, texts), interwikiprefix="old", summary="imp")
        self._appeared(title)

    def _upload(self, name: str) -> None:
        picture = png(self.random.randrange(256))
        self.alice.act("upload", file=picture, filename=name, ignorewarnings=1, text=self._words(10), comment="up")

    def _old_version(self, name: str) -> str:
        """A version of a file before the current one; "" if there is none."""
        asked = {"prop": "imageinfo", "iiprop": "archivename", "iilimit": 20, "titles": f"File:{name}"}
        (page,) = self.alice.query(**asked)["pages"]
        names: list[str] = [version["archivename"] for version in page.get("imageinfo", ()) if "archivename" in version]
        return names[0] if names else ""

    def _data(self, title: str, text: str, **more: Any) -> None:
        """Two versions of a page that is not prose; at first it is made."""
        for _ in range(2):
            number = self.random.randrange(10**6)
            self.alice.act("edit", title=title, text=text.format(number), summary=f"data {number}", **more)

    def _facts(self) -> str:
        return f'{{"дом": {self.random.randrange(10**6)}}}'

    def _point(self, title: str) -> None:
        self.alice.act("edit", title=title, text=f"#REDIRECT [[{self._pick()}]]", summary="redir")

    def _a_redirect(self) -> str:
        pages = self._all_pages(0, apfilterredir="redirects")
        if pages:
            return str(self.random.choice(pages)["title"])
        title = self._pick()
        self._point(title)
        return title

    def _gone(self, versions: int = 1) -> str:
        """A page that is deleted, with revisions of so many different times; if there is none yet, one is deleted now."""
        for title in self.random.sample(self._deleted, len(self._deleted)):
            if len(self._archived(title)) >= versions and not self._exists(title):
                return title
        for title in self.random.sample(self._live, min(20, len(self._live))):
            if self._exists(title) and len({revision["timestamp"] for revision in self._history(title)}) >= versions:
                self.alice.act("delete", title=title, reason="to come back")
                self._vanished(title)
                return title
        raise Skipped

    def _archived(self, title: str) -> list[str]:
        """When the deleted revisions of a page were made, each time once."""
        (page,) = self.alice.query(prop="deletedrevisions", titles=title, drvlimit=50, drvprop="ids|timestamp")["pages"]
        return sorted({revision["timestamp"] for revision in page.get("deletedrevisions", ())})

    def _exists(self, title: str) -> bool:
        (page,) = self.alice.query(titles=title)["pages"]
        return "missing" not in page

    def _undelete(self, title: str, **more: Any) -> None:
        self.alice.act("undelete", title=title, reason=self._words(2), **more)
        self._appeared(title)

    def _set_visibility(self, verb: str, **more: Any) -> None:
        older = self._history(self._pick())[1:]
        if not older:
            raise Skipped
        ids = self.random.sample([str(revision["revid"]) for revision in older], min(len(older), self.random.randint(1, 3)))
        parts = self.random.sample(["content", "user", "comment"], self.random.randint(1, 3))
        self.alice.act("revisiondelete", type="revision", ids="|".join(ids), reason=verb, **{verb: "|".join(parts)}, **more)

    def _pick(self, titles: list[str] | None = None) -> str:
        titles = self._live if titles is None else titles
        if not titles:
            raise Skipped
        return self.random.choice(titles)

    def _appeared(self, title: str) -> None:
        if title not in self._live:
            self._live.append(title)
        self._deleted = [other for other in self._deleted if other != title]

    def _vanished(self, title: str) -> None:
        self._live = [other for other in self._live if other != title]
        self._deleted.append(title)

    def _new_title(self) -> str:
        self._made += 1
        prefix = self.random.choice(("", "", "", "Template:", "Project:"))
        return f"{prefix}{self.random.choice(NAMES)} {self._seed}-{self._made}-{self.random.randrange(10**6)}"

    def _words(self, count: int) -> str:
        return " ".join(self.random.choice(WORDS) for _ in range(count))

    def _mutated(self, text: str) -> str:
        """The text with a few words put in, taken out or moved."""
        words, rnd = text.split(" "), self.random
        for _ in range(rnd.randint(1, 4)):
            kind, at = rnd.random(), rnd.randrange(len(words) + 1)
            if kind < 0.5:
                words[at:at] = self._words(rnd.randint(1, 12)).split(" ")
            elif kind < 0.75:
                del words[at : at + rnd.randint(1, 6)]
            else:
                end = rnd.randint(at, min(len(words), at + 8))
                segment = words[at:end]
                del words[at:end]
                to = rnd.randrange(len(words) + 1)
                words[to:to] = segment
        return " ".join(words)[:MAX_SIZE].strip() or "x"

    def _wikitext(self, title: str) -> str:
        """The current text; a page that is gone is forgotten."""
        (page,) = self.alice.query(prop="revisions", titles=title, rvprop="content|ids|contentmodel", rvslots="main")["pages"]
        if "revisions" not in page:
            self._live = [other for other in self._live if other != title]
            raise Skipped
        slot = page["revisions"][0]["slots"]["main"]
        if slot["contentmodel"] != "wikitext":
            raise Skipped
        text: str = slot.get("content") or ""
        return text

    def _history(self, title: str, what: str = "", **more: Any) -> list[dict[str, Any]]:
        """Up to 50 revisions, newest first."""
        asked = {"prop": "revisions", "titles": title, "rvlimit": 50, "rvprop": f"ids|timestamp{what}", **more}
        (page,) = self.alice.query(**asked)["pages"]
        if "revisions" not in page:
            raise Skipped
        revisions: list[dict[str, Any]] = page["revisions"]
        return revisions

    def _all_pages(self, namespace: int, **more: Any) -> list[dict[str, Any]]:
        asked = {"list": "allpages", "apnamespace": namespace, "aplimit": "max", **more}
        pages: list[dict[str, Any]] = self.alice.query(**asked)["allpages"]
        return pages
