"""What people do on a wiki, at random: one method an action, on pages picked from those this editor knows of."""

from __future__ import annotations

import html
import random
import struct
import zlib
from typing import Any

from .mwapi import Client
from .wiki import PASSWORDS

# How often each is done, out of the sum; the names are the methods of Editor.
WEIGHTS: dict[str, float] = {
    "edit": 50,
    "create": 14,
    "minor": 5,
    "bot_edit": 5,
    "anonymous_edit": 3,
    "blank": 1,
    "revert": 3,
    "rollback": 2,
    "null_edit": 2,
    "move": 5,
    "move_without_redirect": 2,
    "move_and_back": 1,
    "delete": 4,
    "recreate": 1,
    "undelete": 3,
    "undelete_partly": 1,
    "hide": 4,
    "show": 1,
    "suppress": 1,
    "protect": 1,
    "merge": 2,
    "import_": 1,
    "redirect": 1,
    "talk": 2,
    "upload": 1,
    "content_model": 0.5,
    "big": 0.3,
}
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
        self._live = [page["title"] for namespace in (0, 1, 4, 10) for page in self._all_pages(namespace)]
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
        slots = [revision["slots"]["main"] for revision in self._history(title)]
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

    def move(self) -> None:
        self._move(self._pick())

    def move_without_redirect(self) -> None:
        title = self._pick()
        self._move(title, noredirect=1)
        self._vanished(title)

    def move_and_back(self) -> None:
        title, other = self._pick(), self._new_title()
        self.alice.act("move", **{"from": title}, to=other, reason="there")
        self.alice.act("move", **{"from": other}, to=title, reason="and back")

    def delete(self) -> None:
        if len(self._live) < 5:
            raise Skipped
        title = self._pick()
        self.alice.act("delete", title=title, reason=self._words(2))
        self._vanished(title)

    def undelete(self) -> None:
        self._undelete(self._pick(self._deleted))

    def undelete_partly(self) -> None:
        title = self._pick(self._deleted)
        (page,) = self.alice.query(prop="deletedrevisions", titles=title, drvlimit=50, drvprop="ids|timestamp")["pages"]
        if "deletedrevisions" not in page:
            raise Skipped
        self._undelete(title, timestamps=self.random.choice(page["deletedrevisions"])["timestamp"])

    def hide(self) -> None:
        self._set_visibility("hide")

    def show(self) -> None:
        self._set_visibility("show")

    def suppress(self) -> None:
        self._set_visibility("hide", suppress="yes")

    def protect(self) -> None:
        level = self.random.choice(("sysop", "autoconfirmed", "all"))
        self.alice.act("protect", title=self._pick(), protections=f"edit={level}", expiry="infinite", reason="p")

    def merge(self) -> None:
        """Give one page those revisions of another that are older than its own: all of them, or some."""
        target, source = self._pick(), self._pick()
        begins = min(revision["timestamp"] for revision in self._history(target))
        older = [revision["timestamp"] for revision in self._history(source) if revision["timestamp"] < begins]
        if source == target or not older:
            raise Skipped
        self.alice.act("mergehistory", **{"from": source}, to=target, timestamp=max(older), reason="m")

    def import_(self) -> None:
        title = self.random.choice((self._new_title(), self._pick()))
        year = self.random.randint(2003, 2019)
        revisions = "".join(
            f"<revision><id>{n}</id><timestamp>{year}-01-0{n}T00:00:00Z</timestamp>"
            f"<contributor><username>Old{n}</username><id>{n}</id></contributor><comment>c{n}</comment>"
            f'<model>wikitext</model><format>text/x-wiki</format><text xml:space="preserve">{html.escape(self._words(20))}</text>'
            "</revision>"
            for n in range(1, self.random.randint(2, 5))
        )
        page = f"<page><title>{html.escape(title)}</title><ns>0</ns><id>1</id>{revisions}</page>"
        dump = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">{page}</mediawiki>'
        self.alice.act("import", xml=dump.encode(), interwikiprefix="old", summary="imp")
        self._appeared(title)

    def redirect(self) -> None:
        self.alice.act("edit", title=self._pick(), text=f"#REDIRECT [[{self._pick()}]]", summary="redir")

    def upload(self) -> None:
        """A picture of one grey pixel: sometimes under a new name, sometimes as the new version of an old one."""
        name = f"Picture {self.random.randrange(4)}.png"
        picture = _png(self.random.randrange(256))
        self.alice.act("upload", file=picture, filename=name, ignorewarnings=1, text=self._words(10), comment="up")

    def content_model(self) -> None:
        title = self._new_title()
        self.alice.act("edit", title=title, text=f'{{"a": [1, 2, {self.random.randrange(99)}]}}')
        self.alice.act("changecontentmodel", title=title, model="json", summary="json")

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

    def _history(self, title: str) -> list[dict[str, Any]]:
        """Up to 50 revisions, newest first."""
        wanted = "ids|timestamp|content|contentmodel"
        (page,) = self.alice.query(prop="revisions", titles=title, rvlimit=50, rvprop=wanted, rvslots="main")["pages"]
        if "revisions" not in page:
            raise Skipped
        revisions: list[dict[str, Any]] = page["revisions"]
        return revisions

    def _all_pages(self, namespace: int) -> list[dict[str, Any]]:
        pages: list[dict[str, Any]] = self.alice.query(list="allpages", apnamespace=namespace, aplimit="max")["allpages"]
        return pages


def _png(grey: int) -> bytes:
    """The smallest picture there is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes([0, grey]))) + chunk(b"IEND", b"")
