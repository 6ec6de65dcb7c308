"""What a section is, and which of them changed."""

from __future__ import annotations

import hashlib
import time
from itertools import islice

import mwparserfromhell
import pytest

from syncer.model import SectionChange
from syncer.sections import changed
from tests.histories import need_histories, pairs


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def titles(text: str) -> list[str]:
    """The paths of a text's sections, each as one word, in order; the lead is ''."""
    removed = [change for change in changed(text.encode(), b"") if change.change == "removed"]
    return ["/".join(change.path) + "+" * change.occurrence for change in removed]


def ranges(text: str) -> list[tuple[int, int]]:
    """Where the sections of a text lie, with the lead if it is not empty."""
    return [change.range for change in changed(text.encode(), b"") if change.change == "removed"]


ARTICLE = """\
A '''lighthouse''' is a tower.

== History ==
Long.

=== Fires ===
Wood, then coal.

=== Lenses ===
Glass.

== Keepers ==
Few are left.
"""


def test_a_changed_section_is_named_with_its_place_and_hashes() -> None:
    result = ARTICLE.replace("Wood, then coal.", "Wood, later coal.")
    start = result.index("=== Fires")
    end = result.index("=== Lenses")
    before = "=== Fires ===\nWood, then coal.\n\n"
    assert changed(ARTICLE.encode(), result.encode()) == (
        SectionChange(("History", "Fires"), 0, "modified", (start, end), sha1(before), sha1(result[start:end])),
    )


def test_nothing_changed() -> None:
    assert changed(ARTICLE.encode(), ARTICLE.encode()) == ()
    assert changed(b"", b"") == ()


def test_the_lead_is_always_there() -> None:
    assert changed(b"", b"Text.") == (SectionChange((), 0, "modified", (0, 5), sha1(""), sha1("Text.")),)
    assert changed(b"Text.\n== A ==\n", b"== A ==\n") == (SectionChange((), 0, "modified", (0, 0), sha1("Text.\n"), sha1("")),)


def test_sections_come_and_go() -> None:
    result = ARTICLE.replace("=== Lenses ===\nGlass.\n\n", "") + "\n== Fog ==\nHorns.\n"
    fog = result.index("== Fog")
    lenses = ARTICLE.index("=== Lenses")
    assert changed(ARTICLE.encode(), result.encode()) == (
        SectionChange(
            ("Keepers",), 0, "modified", (fog - 29, fog), sha1("== Keepers ==\nFew are left.\n"), sha1(result[fog - 29 : fog])
        ),
        SectionChange(("Fog",), 0, "added", (fog, len(result)), None, sha1("== Fog ==\nHorns.\n")),
        SectionChange(("History", "Lenses"), 0, "removed", (lenses, lenses + 23), sha1("=== Lenses ===\nGlass.\n\n"), None),
    )


def test_another_heading_is_another_section_and_takes_those_below_along() -> None:
    result = ARTICLE.replace("== History ==", "== Past ==")
    assert [(change.path, change.change) for change in changed(ARTICLE.encode(), result.encode())] == [
        (("Past",), "added"),
        (("Past", "Fires"), "added"),
        (("Past", "Lenses"), "added"),
        (("History",), "removed"),
        (("History", "Fires"), "removed"),
        (("History", "Lenses"), "removed"),
    ]


def test_what_only_moved_did_not_change() -> None:
    assert changed(b"== A ==\na\n== B ==\nb\n", b"== B ==\nb\n== A ==\na\n") == ()


def test_sections_of_one_name_are_counted() -> None:
    text = "== 1901 ==\n=== May ===\n== 1902 ==\n=== May ===\n=== May ===\n== 1901 ==\n=== May ===\n"
    assert titles(text) == ["1901", "1901/May", "1902", "1902/May", "1902/May+", "1901+", "1901/May+"]


def test_ranges_are_bytes() -> None:
    text = "Čas\n== 灯台 ==\n白い\n== 𐐷 ==\n"
    assert ranges(text) == [(5, 25), (25, 36)]
    assert titles(text) == ["灯台", "𐐷"]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("== A ==", "A"),
        ("==A==", "A"),
        ("= A =", "A"),
        ("====== A ======", "A"),
        ("======= A =======", "= A ="),
        ("=== A ==", "= A"),
        ("== A ===", "A ="),
        ("== A == \t ", "A"),
        ("== A ==\r", "A"),
        ("== A == <!-- note -->", "A"),
        ("== A <!-- note -->== <!-- note --> <!-- note -->", "A"),
        ("== A = B ==", "A = B"),
        ("===", "="),
        ("====", "=="),
        ("=====", "="),
        ("== '''A''' [[B|C]] ==", "'''A''' [[B|C]]"),
        ("==  ==", ""),
        ("=", None),
        ("==", None),
        ("== A", None),
        ("== A == and", None),
        (" == A ==", None),
        ("*== A ==", None),
        ("<!-- note -->== A ==", None),
        ("== A == <!-- note --> and", None),
        ("== A --> ==", "A -->"),
    ],
)
def test_what_is_a_heading(line: str, path: str | None) -> None:
    for text in (f"{line}\ntext", f"lead\n{line}", f"lead\n{line}\ntext\n"):
        assert titles(text)[-1:] == ([] if path is None else [path])


@pytest.mark.parametrize(
    "text",
    [
        "<!--\n== A ==\n-->",
        "<!-- never closed\n== A ==\n",
        "<nowiki>\n== A ==\n</nowiki>",
        "<NoWiki>\n== A ==\n</NOWIKI >",
        "<pre>\n== A ==\n</pre>",
        '<pre class="a"\nid="b">\n== A ==\n</pre>',
        '<syntaxhighlight lang="html">\n== A ==\n<!--\n</syntaxhighlight>',
        '<source lang="c">\n== A ==\n</source>',
        "<math>\n= x =\n</math>",
        "<nowiki><!--</nowiki> <!-- <nowiki> \n== A ==\n --> ",
        "<pre>\n<nowiki>\n== A ==\n</pre>\n",
        "<nowiki/><pre>\n== A ==\n</pre>",
        "<nowiki>a</nowiki>b<nowiki>\n== A ==\n</nowiki>",
    ],
)
def test_no_heading_where_there_is_no_wikitext(text: str) -> None:
    assert titles(f"{text}\n== B ==\n") == ([] if "never" in text else ["B"])


@pytest.mark.parametrize(
    "text",
    [
        "<nowiki>\n== A ==\n",
        "<nowiki />\n== A ==\n</nowiki>",
        "<pre/>\n== A ==\n</pre>",
        "<presentation>\n== A ==\n</presentation>",
        "<ref>\n== A ==\n</ref>",
        "<div>\n== A ==\n</div>",
        "</pre>\n== A ==\n<pre></pre>",
        "<!-- a -->\n== A ==\n<!-- b -->",
        "<nowiki>== A == </nowiki>\n== A ==\n",
        "< nowiki>\n== A ==\n</nowiki>",
        "<pre \n== A ==\n",
        "-->\n== A ==\n<!--",
        "{|\n|\n== A ==\n|}",
    ],
)
def test_a_heading_all_the_same(text: str) -> None:
    assert titles(text) == ["A"]


@pytest.mark.parametrize(
    "text",
    ["<pre " * 400_000, "<!--" * 500_000, "=" * 2_000_000, "= " * 1_000_000, "=\n" * 1_000_000, "\n== a -->" + "<!--" * 500_000,
     "<nowiki>" * 250_000, "= a <!-- -->" * 170_000 + "=", "<pre>" * 200_000 + "</pre" * 200_000, "==a==\n" * 100_000],
    ids=lambda text: text[:8].strip(),
)  # fmt: skip
def test_work_is_bounded(text: str) -> None:
    page = f"{text}\n== A ==\n".encode()
    started = time.process_time()
    changed(page, b"x" + page)
    assert time.process_time() - started < 5  # seconds; a million headings take the longest


@need_histories
def test_sections_are_those_of_another_parser() -> None:
    pages = {name: result.decode() for name, _, result in pairs() if len(result) < 9000}
    texts = [*pages.values(), *islice((result.decode() for _, _, result in pairs()[::7] if 1500 < len(result) < 9000), 120)]
    agreed = 0
    for text in texts:
        theirs = [str(part) for part in mwparserfromhell.parse(text).get_sections(flat=True, include_lead=True)]
        start_to_end = [text.encode()[slice(*span)].decode() for span in ranges(text)]
        ours = start_to_end if text.startswith("=") else [text[: len(text) - len("".join(start_to_end))], *start_to_end]
        agreed += [part for part in ours if part] == [part for part in theirs if part]
    assert len(texts) > 100
    assert agreed >= 0.95 * len(texts)  # it takes headings in a table, a tag or a template for parts of those
