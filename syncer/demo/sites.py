# ruff: noqa: RUF001 -- namespaces of many scripts, on purpose
"""The wikis of the farm and how each of them reads a title: namespaces, aliases, first letters, what can be no page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from unicodedata import normalize

SPECIAL, MEDIA = -1, -2
MAX_TITLE_BYTES = 255
CANONICAL = {
    -2: "Media", -1: "Special", 0: "", 1: "Talk", 2: "User", 3: "User talk", 4: "Project", 5: "Project talk", 6: "File",
    7: "File talk", 8: "MediaWiki", 9: "MediaWiki talk", 10: "Template", 11: "Template talk", 12: "Help", 13: "Help talk",
    14: "Category", 15: "Category talk",
}  # fmt: skip
ALIASES = {"image": 6, "image talk": 7}
OTHER_WIKIS = ("mw", "m", "d", "wikt", "commons", "wikipedia")
CC_BY_SA = ("https://creativecommons.org/licenses/by-sa/4.0/", "Creative Commons Attribution-Share Alike 4.0")


@dataclass(frozen=True, slots=True)
class Title:
    """A page's name as the Action API writes it: ``text`` has the local prefix and spaces, never underscores."""

    namespace: int
    text: str

    @property
    def key(self) -> str:
        """The prefixed DB key, as page_change and its siblings write it (PROTOCOL k)."""
        return self.text.replace(" ", "_")


class BadTitle(ValueError):
    """A text that names no page of this wiki; ``code`` is the API's."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class OtherWiki:
    """A title with the prefix of another wiki."""

    prefix: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """One wiki: what it calls things, where its ids start, which words its texts are made of.

    ``namespaces`` maps numbers to local names and may grow (:meth:`learn`). Ids start high, as they do on old wikis: a
    reader that keeps 32 bits is found out.
    """

    wiki_id: str
    domain: str
    language: str = "en"
    weight: float = 1.0  # share of the farm's pages and of its edits
    redirect_word: str = "#REDIRECT"
    licence: tuple[str, str] = CC_BY_SA
    first_rev: int = 1
    first_page: int = 1
    namespaces: dict[int, str] = field(default_factory=lambda: dict(CANONICAL) | {4: "Wikipedia", 5: "Wikipedia talk"})
    _numbers: dict[str, int] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Index the names."""
        self._numbers.update({name.lower(): number for number, name in CANONICAL.items() if name} | ALIASES)
        self._numbers.update({name.lower(): number for number, name in self.namespaces.items() if name})

    @property
    def url(self) -> str:
        """The server, without a path."""
        return f"https://{self.domain}"

    @property
    def rtl(self) -> bool:
        """Whether it is written from right to left."""
        return self.language in {"ar", "fa", "he"}

    def learn(self, namespace: int, name: str) -> None:
        """Take a namespace's local name from outside (a replayed history names them)."""
        self.namespaces[namespace] = name
        self._numbers[name.lower()] = namespace

    def title(self, namespace: int, name: str) -> Title:
        """The title of a page from its namespace and its name without prefix."""
        return self.parse(f"{self.namespaces[namespace]}:{name}" if namespace else name)

    def parse(self, raw: str) -> Title:
        """Read what somebody typed. Raises BadTitle where it can be no page here (also on another wiki's prefix)."""
        name = self.read(raw)
        if isinstance(name, OtherWiki):
            raise BadTitle("title-invalid-interwiki", f"{raw!r} is a page of another wiki")
        return name

    def read(self, raw: str) -> Title | OtherWiki:
        """Read what somebody typed, as the API does with ``titles``. Raises BadTitle."""
        text = re.sub(r"[ _\u00a0\u2000-\u200a\u3000]+", " ", normalize("NFC", raw)).strip()
        namespace, rest = self._split(text.removeprefix(":").strip())
        if namespace is None:
            return OtherWiki(rest)
        name = rest.split("#", 1)[0].strip()
        _check(name)
        if namespace == 1 and self._split(name)[0] not in (0, None):
            raise BadTitle("title-invalid-talk-namespace", f"there is no talk page of {name!r}")
        prefix = self.namespaces[namespace]
        return Title(namespace, f"{prefix}:{_capital(name)}" if prefix else _capital(name))

    def _split(self, text: str) -> tuple[int | None, str]:
        """Namespace and rest; None and the prefix where that is another wiki's."""
        prefix, colon, rest = text.partition(":")
        prefix = prefix.strip().lower()
        if not colon or not prefix:
            return 0, text
        if prefix in self._numbers:
            return self._numbers[prefix], rest.strip()
        return (None, prefix) if prefix in OTHER_WIKIS else (0, text)


def _capital(name: str) -> str:
    first = name[0].upper()
    return (first if len(first) == 1 else name[0]) + name[1:]


def _check(name: str) -> None:
    if not name:
        raise BadTitle("title-invalid-empty", "nothing is left of the title")
    if bad := re.search(r"[\[\]{}|<>\x00-\x1f\x7f\ufffd]|%[0-9A-Fa-f]{2}|&#?\w+;", name):
        raise BadTitle("title-invalid-characters", f"no title may hold {bad[0]!r}")
    if re.search(r"(^|/)\.\.?(/|$)", name):
        raise BadTitle("title-invalid-relative", "a title is not a relative path")
    if "~~~" in name:
        raise BadTitle("title-invalid-magic-tilde", "a title holds no signature")
    if len(name.encode()) > MAX_TITLE_BYTES:
        raise BadTitle("title-invalid-too-long", f"a title has at most {MAX_TITLE_BYTES} bytes")


def _local(names: str) -> dict[int, str]:
    """Namespaces from "talk user user-talk project project-talk file template category", talk pages named by pattern."""
    words = [word.replace("~", " ") for word in names.split()]
    talk, user, user_talk, project, file, template, category = words
    return dict(CANONICAL) | {
        1: talk, 2: user, 3: user_talk, 4: project, 5: f"{talk} {project}", 6: file, 7: f"{talk} {file}",
        10: template, 11: f"{talk} {template}", 14: category, 15: f"{talk} {category}",
    }  # fmt: skip


SITES = (
    Site(wiki_id="enwiki", domain="en.wikipedia.org", weight=4.0, first_rev=5_000_000_000, first_page=76_000_000),
    Site(
        wiki_id="dewiki", domain="de.wikipedia.org", language="de", weight=2.0, redirect_word="#WEITERLEITUNG",
        first_rev=240_000_000, first_page=13_000_000,
        namespaces=_local("Diskussion Benutzer Benutzer~Diskussion Wikipedia Datei Vorlage Kategorie"),
    ),
    Site(
        wiki_id="ruwiki", domain="ru.wikipedia.org", language="ru", weight=2.0, redirect_word="#ПЕРЕНАПРАВЛЕНИЕ",
        first_rev=138_000_000, first_page=10_000_000,
        namespaces=_local("Обсуждение Участник Обсуждение~участника Википедия Файл Шаблон Категория"),
    ),
    Site(
        wiki_id="jawiki", domain="ja.wikipedia.org", language="ja", weight=1.5, redirect_word="#転送",
        first_rev=100_000_000, first_page=4_900_000,
        namespaces=_local("ノート 利用者 利用者‐会話 Wikipedia ファイル Template Category"),
    ),
    Site(
        wiki_id="zhwiki", domain="zh.wikipedia.org", language="zh", redirect_word="#重定向",
        first_rev=83_000_000, first_page=8_600_000,
    ),
    Site(
        wiki_id="hiwiki", domain="hi.wikipedia.org", language="hi", weight=0.7, redirect_word="#अनुप्रेषित", licence=("", ""),
        first_rev=6_200_000, first_page=1_500_000,
        namespaces=_local("वार्ता सदस्य सदस्य~वार्ता विकिपीडिया चित्र साँचा श्रेणी"),
    ),
    Site(
        wiki_id="arwiki", domain="ar.wikipedia.org", language="ar", weight=0.8, redirect_word="#تحويل",
        first_rev=67_000_000, first_page=9_300_000,
        namespaces=_local("نقاش مستخدم نقاش~المستخدم ويكيبيديا ملف قالب تصنيف"),
    ),
)  # fmt: skip
