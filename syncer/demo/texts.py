# ruff: noqa: RUF001 -- words of many scripts, on purpose
"""Texts of the farm's own making, in eight scripts, and the shapes that edits of real wikis have.

Every function takes the random source it draws from: the same seed gives the same wiki. Sizes are in bytes of UTF-8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

STUB = 500  # bytes below which a page has no infobox
MEDIAN, SPREAD, LARGEST = 8192, 1.25, 600_000  # lognormal: half are above 8 KB, one in fifty above 100 KB

# What text processing trips over: astral letters, joined and flagged emoji, combining marks, a line separator, zero width.
ODDITIES = ("😀", "👩‍🔬", "🇮🇸", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𠜎𠮷", "𓂀", "e̊", "क़्ष", "ﬁ", "—", "\u2028", "می‌خواهم", "\u200e", "½ × 10⁻³")


@dataclass(frozen=True, slots=True)
class Language:
    """What a language's texts are put together from; ``space`` stands between words, ``stop`` ends a sentence."""

    words: tuple[str, ...]
    headings: tuple[str, ...]
    space: str = " "
    stop: str = "."


def _language(words: str, headings: str, space: str = " ", stop: str = ".") -> Language:
    return Language(tuple(words.split()), tuple(headings.split()), space, stop)


LANGUAGES: Mapping[str, Language] = {
    "en": _language(
        "the river of a town in northern valley was built by monks who traded salt and copper along old road between "
        "two lakes its bridge stands today near station where market opens every autumn local school teaches weaving "
        "naïve façade café population census recorded mayor festival harvest windmill orchard granite chapel",
        "History Geography Economy Climate Culture Education Transport Notable_people References See_also",
    ),
    "de": _language(
        "die Stadt liegt an einem Fluss im Süden des Landes und wurde zuerst in Urkunden erwähnt als kleines Dorf mit "
        "Mühle Straße führt über Brücke zum Schloss dessen Gärten größer sind Bevölkerung wächst Öffnung Grenzübergang "
        "Donaudampfschifffahrt Weißbier Hügel Bäche Kirche Gemäuer jährlich",
        "Geschichte Geografie Wirtschaft Klima Kultur Bildung Verkehr Persönlichkeiten Einzelnachweise",
    ),
    "ru": _language(
        "город стоит на берегу широкой реки которая впадает в северное море первые жители пришли сюда вдоль старого "
        "торгового пути здесь ёлки растут выше домов население занято рыболовством мост построен каменный музей "
        "объединяет коллекции ярмарка проходит каждую осень школа библиотека железная дорога",
        "История География Экономика Климат Культура Образование Транспорт Примечания",
    ),
    "ja": _language(
        "この 町は 北の 谷に ある 川の ほとりで 古くから 塩の 道として 知られて いた 橋は 石で 造られ 市場が 毎年 秋に 開かれる "
        "学校では 織物を 教える 人口は 増えている 駅前の カフェ コンピュータ 博物館 図書館 祭り 収穫 果樹園",
        "歴史 地理 経済 気候 文化 教育 交通 脚注",
        "",
        "。",
    ),
    "zh": _language(
        "這座 城市 位於 河流 兩岸 古代 商人 沿着 鹽路 來往 橋樑 由 石頭 建成 每年 秋天 舉行 集市 當地 學校 教授 編織 人口 "
        "逐漸 增加 车站 附近 图书馆 博物馆 收藏 果园 风车 教堂 节日",
        "歷史 地理 經濟 氣候 文化 教育 交通 參考文獻",
        "",
        "。",
    ),
    "hi": _language(
        "यह नगर उत्तर की घाटी में नदी के किनारे बसा है पुराने समय में व्यापारी नमक और ताँबा लेकर यहाँ आते थे पत्थर का पुल आज भी खड़ा है "
        "हर शरद ऋतु में मेला लगता है विद्यालय में बुनाई सिखाई जाती है जनसंख्या बढ़ रही संग्रहालय पुस्तकालय क्षेत्र श्रृंखला",
        "इतिहास भूगोल अर्थव्यवस्था जलवायु संस्कृति शिक्षा परिवहन सन्दर्भ",
        " ",
        "।",
    ),
    "ar": _language(
        "تقع المدينة على ضفة نهر واسع في شمال البلاد وكان التجار يأتون إليها بالملح والنحاس عبر طريق قديم الجسر مبني من الحجر "
        "ويقام السوق كل خريف المدرسة تعلم النسيج والسكان يزدادون متحف مكتبة محطة بستان طاحونة مهرجان",
        "التاريخ الجغرافيا الاقتصاد المناخ الثقافة التعليم النقل المراجع",
    ),
}


class Writer:
    """Writes articles in one language."""

    def __init__(self, language: str, rng: Random) -> None:
        self._language = LANGUAGES.get(language, LANGUAGES["en"])
        self._rng = rng

    def words(self, count: int) -> str:
        """So many words; one time in thirty an oddity among them."""
        chosen = self._rng.choices(self._language.words, k=count)
        if self._rng.random() < count / 30:
            chosen[self._rng.randrange(count)] = self._rng.choice(ODDITIES)
        return self._language.space.join(chosen)

    def name(self) -> str:
        """A title without prefix, unlike nearly all others."""
        word, other = self._rng.sample(self._language.words, 2)
        return f"{word}{self._language.space}{other} {self._rng.randrange(10_000)}"

    def sentence(self) -> str:
        """One sentence, sometimes with a link, a reference or emphasis."""
        text = self.words(self._rng.randint(4, 18))
        kind = self._rng.choices(("plain", "link", "reference", "bold"), (60, 25, 10, 5))[0]
        if kind == "link":
            text += f"{self._language.space}[[{self.words(2)}]]"
        elif kind == "reference":
            text += f"<ref>{{{{cite web|url=https://example.org/{self._rng.randrange(10**6)}|title={self.words(4)}}}}}</ref>"
        elif kind == "bold":
            text = f"'''{text}'''"
        return text[:1].upper() + text[1:] + self._language.stop

    def paragraph(self) -> str:
        """Three to ten sentences, on one line, as wikitext has it."""
        return " ".join(self.sentence() for _ in range(self._rng.randint(3, 10)))

    def table(self, rows: int = 0) -> str:
        """A wikitable of three columns."""
        lines = ['{| class="wikitable sortable"', f"! {self.words(1)} !! {self.words(1)} !! {self.words(1)}"]
        for _ in range(rows or self._rng.randint(3, 30)):
            lines += ["|-", self.row()]
        return "\n".join([*lines, "|}"])

    def row(self) -> str:
        """One row of such a table."""
        return f"| {self.words(2)} || {self._rng.randrange(10**6):,} || {self.words(3)}"

    def infobox(self) -> str:
        """An infobox; its values can be changed one by one."""
        fields = "".join(f"| field{n} = {self.words(2)} {self._rng.randrange(3000)}\n" for n in range(self._rng.randint(4, 14)))
        return f"{{{{Infobox\n| name = {self.words(2)}\n{fields}}}}}"

    def heading(self) -> str:
        """A heading of the second or third level."""
        marks = self._rng.choice(("==", "==", "==="))
        return f"{marks} {self._rng.choice(self._language.headings).replace('_', ' ')} {marks}"

    def article(self, size: int = 0) -> str:
        """A whole page of about ``size`` bytes; without one, of a size as real pages have."""
        want = size or min(LARGEST, int(MEDIAN * math.exp(self._rng.gauss(0, SPREAD))))
        blocks = [self.infobox(), self.paragraph()] if want > STUB else [self.sentence()]
        left = want - sum(len(block.encode()) for block in blocks)
        while left > 0:
            block = self._rng.choices((self.paragraph, self.heading, self.table), (78, 15, 7))[0]()
            blocks.append(block)
            left -= len(block.encode()) + 2
        return "\n\n".join([*blocks, f"[[Category:{self.words(1)}]]"])


def _splice(text: str, at: int, delete: int, insert: str) -> str:
    return text[:at] + insert + text[at + delete :]


def _line(text: str, rng: Random, mark: str) -> tuple[int, str] | None:
    """Where a random line that starts with ``mark`` starts, and the line."""
    start = text.find("\n" + mark, rng.randrange(len(text) + 1)) + 1 or text.find("\n" + mark) + 1
    return (start, text[start : text.find("\n", start) if "\n" in text[start:] else len(text)]) if start else None


def typo(text: str, writer: Writer, rng: Random) -> str:
    """A word replaced somewhere."""
    at = rng.randrange(len(text) + 1)
    return _splice(text, at, rng.randint(0, 3), writer.words(1))


def paragraph(text: str, writer: Writer, rng: Random) -> str:
    """A paragraph added, rewritten or taken out."""
    blocks = text.split("\n\n")
    at = rng.randrange(len(blocks))
    blocks[at : at + rng.randint(0, 1)] = rng.choices(([writer.paragraph()], []), (6, 1))[0]
    return "\n\n".join(blocks)


def table(text: str, writer: Writer, rng: Random) -> str:
    """A table's row changed and one added; a table where there was none."""
    found = _line(text, rng, "| ")
    if not found:
        return f"{text}\n\n{writer.table()}"
    start, line = found
    return _splice(text, start, len(line), f"{writer.row()}\n|-\n{line}")


def infobox(text: str, writer: Writer, rng: Random) -> str:
    """One value of the infobox; an infobox where there was none."""
    found = _line(text, rng, f"| field{rng.randrange(4)} = ")
    if not found:
        return f"{writer.infobox()}\n\n{text}"
    start, line = found
    return _splice(text, start, len(line), f"{line.partition(' = ')[0]} = {writer.words(3)}")


def reference(text: str, writer: Writer, rng: Random) -> str:
    """A reference put behind a sentence."""
    at = text.find(". ", rng.randrange(len(text) + 1)) + 1 or len(text)
    return _splice(text, at, 0, f"<ref name=r{rng.randrange(10**4)}>{writer.words(6)}</ref>")


def section(text: str, writer: Writer, rng: Random) -> str:
    """A section added."""
    at = text.find("\n\n==", rng.randrange(len(text) + 1))
    return _splice(text, at if at >= 0 else len(text), 0, f"\n\n{writer.heading()}\n{writer.paragraph()}")


def scattered(text: str, writer: Writer, rng: Random) -> str:
    """Many small changes over the whole page, as a bot's clean-up leaves them."""
    for _ in range(rng.randint(5, 25)):
        text = typo(text, writer, rng)
    return text


def blank(text: str, writer: Writer, rng: Random) -> str:  # noqa: ARG001 -- every shape is called alike
    """All of it gone."""
    return ""


def big(text: str, writer: Writer, rng: Random) -> str:
    """A hundred kilobytes and more pasted in."""
    return f"{text}\n\n{writer.article(rng.randint(80_000, 160_000))}"


SHAPES: Mapping[str, Callable[[str, Writer, Random], str]] = {
    shape.__name__: shape for shape in (typo, paragraph, table, infobox, reference, section, scattered, blank, big)
}
