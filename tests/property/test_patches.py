"""Law 1, for every format: applied to the base, what was computed gives the result; and what is no patch is refused."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from unittest import mock

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from syncer import diff, sections
from syncer.diff import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

# What wikitext is made of, and what breaks those who count units other than bytes or lines other than theirs.
PIECES = [
    "\n", "\n\n", "\r", "\r\n", "\u2028", "\u2029", "\x85", "\x0b", "\0", "\x7f", " ", "\t", '"', "\\", "\ufeff", "\ufffd",
    "'''", "|-\n| ", " || ", "{{", "}}", "<ref>{{cite web|url=a}}</ref>", "[[Link|text]], ", "== A ==\n", "\n=== B ===\n",
    "word ", "words", "The quick brown fox. ", "x" * 40, "0123456789" * 8, "é", "e\u0301", "ö", "Ђ", "слово ", "كلمة ", "מילה ",
    "क्षि", "शब्द ", "คำ", "漢字", "漢", "漣", "。", "ᄒ\u1161\u11ab", "가나 ", "\U00010437", "\U00010438", "\U0001f600",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\uffff", "\U0010ffff",
]  # fmt: skip

texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.text(max_size=40),
    st.text(alphabet="ab\n", max_size=80),
    st.text(alphabet="\u0082\u0182\u0402\u0442\u3042", max_size=80),  # their last byte is the same
)
formats = st.sampled_from(sorted(FORMATS))


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and the same after some edits: pieces gone, put in, moved, doubled."""
    base = draw(st.lists(st.sampled_from(PIECES), max_size=80))
    result = list(base)
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(result)))
        end = draw(st.integers(start, min(start + 8, len(result))))
        put = draw(st.one_of(st.lists(st.sampled_from(PIECES), max_size=4), st.just(result[start:end] * 2)))
        to = draw(st.integers(0, len(result)))
        if draw(st.booleans()):
            result[start:end] = put
        else:
            moved = result[start:end]
            del result[start:end]
            result[to:to] = moved
    return "".join(base), "".join(result)


pairs = st.one_of(edited(), st.tuples(texts, texts))
# Every step of the engine on texts as small as these: with bounds far below the real ones, and budgets from none to full.
bounds = st.fixed_dictionaries(
    {
        "_WIDE": st.sampled_from([64 * 1024, 40]),
        "_SHORT": st.sampled_from([1024, 20, 1]),
        "_SAMPLE_BYTES": st.sampled_from([32, 3, 1]),
        "_OP_BYTES": st.sampled_from([16, 1]),
        "_UNEQUAL": st.sampled_from([256, 2]),
        "_BUDGET": st.sampled_from([120_000_000, 60_000, 4_000, 0]),
    }
)


def within(values: dict[str, Any]) -> AbstractContextManager[object]:
    patched: AbstractContextManager[object] = mock.patch.multiple(diff, **values)
    return patched


@given(name=formats, pair=pairs, bounds=bounds)
def test_what_is_computed_gives_the_result(name: str, pair: tuple[str, str], bounds: dict[str, int]) -> None:
    base, result = (text.encode() for text in pair)
    with within(bounds):
        ops = FORMATS[name].compute(base, result)
    assert FORMATS[name].apply(base, ops) == result
    assert FORMATS[name].apply(base, orjson.loads(orjson.dumps(ops))) == result
    assert (base == result) == (not ops)


@given(pair=pairs, bounds=bounds)
def test_splices_never_touch_and_none_does_nothing(pair: tuple[str, str], bounds: dict[str, int]) -> None:
    base, result = (text.encode() for text in pair)
    with within(bounds):
        ops = diff.compute(base, result)
    assert all(base[offset : offset + delete] != insert.encode() for offset, delete, insert in ops)
    assert all(one[0] + one[1] + bounds["_OP_BYTES"] <= other[0] for one, other in pairwise(ops))


@given(pair=pairs, bounds=bounds)
def test_anchors_ascend_and_stand_between_characters(pair: tuple[str, str], bounds: dict[str, int]) -> None:
    base, result = (text.encode() for text in pair)
    assume(base and result)
    with within(bounds):
        found = diff._Pair(base, result)._anchors((0, len(base), 0, len(result)))
    for at, to in found:
        assert result.startswith(base[at : at + bounds["_SAMPLE_BYTES"]], to)
        base[:at].decode(), result[:to].decode()
    assert all(one[0] <= other[0] and one[1] < other[1] for one, other in pairwise(found))


@given(pair=pairs)
def test_a_patch_is_proven_and_smaller_than_the_text(pair: tuple[str, str]) -> None:
    base, result = (text.encode() for text in pair)
    patch = diff.patch(base, result)
    size = len(orjson.dumps(FORMATS["splice/1"].compute(base, result)))
    if patch is None:
        assert base != result
        assert size >= 0.8 * len(orjson.dumps(result.decode()))
    else:
        assert FORMATS[patch.format].apply(base, patch.ops) == result
        assert base == result or size < 0.8 * len(orjson.dumps(result.decode()))


@given(name=formats, base=st.binary(max_size=12), result=st.binary(max_size=12), tail=texts)
def test_bytes_that_are_not_utf8_are_refused(name: str, base: bytes, result: bytes, tail: str) -> None:
    base, result = base + tail.encode(), result + tail.encode()
    try:
        base.decode(), result.decode()
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="utf-8"):
            FORMATS[name].compute(base, result)
    else:
        assert FORMATS[name].apply(base, FORMATS[name].compute(base, result)) == result


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)
nearly_ops = st.lists(st.tuples(st.integers(-2, 40), st.integers(-2, 20), st.text(max_size=3)), max_size=5)


@given(name=formats, base=texts, ops=json_values | nearly_ops)
def test_anything_else_is_refused_or_gives_text(name: str, base: str, ops: Any) -> None:
    try:
        result = FORMATS[name].apply(base.encode(), ops)
    except ValueError:
        return
    result.decode()


@given(name=formats, pair=pairs, data=st.data())
def test_a_patch_of_another_base_gives_its_bytes_or_an_error(name: str, pair: tuple[str, str], data: st.DataObject) -> None:
    base, result = (text.encode() for text in pair)
    other = data.draw(texts).encode()
    assume(other != base)
    try:
        FORMATS[name].apply(other, FORMATS[name].compute(base, result)).decode()
    except ValueError:
        return


def slow_sections(text: str) -> list[tuple[tuple[str, ...], int, str]]:
    """The sections of a text without anything hidden, comment or line of bare ``=``, found the plain way."""
    found: list[tuple[tuple[str, ...], int, str]] = [((), 0, "")]
    above: dict[int, str] = {}
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if match := re.fullmatch(r"(={1,6})([^=\n](?:[^\n]*[^=\n])?)(\1)[ \t\r]*\n?", line):
            level = len(match[1])
            above = {key: title for key, title in above.items() if key < level} | {level: match[2].strip(" \t\r\n\v\f")}
            path = tuple(above[key] for key in sorted(above))
            found.append((path, sum(path == other for other, *_ in found), ""))
        found[-1] = (*found[-1][:2], found[-1][2] + line)
    return found


HEADINGS = [
    "\n== A ==\n",
    "\n=== A ===\n",
    "\n== B ==\n",
    "\n==== é ====\n",
    "\n= 漢 =  \n",
    "\n==B==\r\n",
    "\n",
    "x",
    "text\n",
    "= no\n",
    "a == b ==\n",
]
sectioned = st.lists(st.sampled_from(HEADINGS), max_size=14).map(lambda parts: "".join(parts).lstrip("\n"))


@given(base=sectioned, result=sectioned)
def test_sections_that_changed_are_those_that_differ(base: str, result: str) -> None:
    before = {(path, number): text.encode() for path, number, text in slow_sections(base)}
    after = {(path, number): text.encode() for path, number, text in slow_sections(result)}
    changes = sections.changed(base.encode(), result.encode())
    assert {(change.path, change.occurrence): change.change for change in changes} == {
        key: "added" if key not in before else "removed" if key not in after else "modified"
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }
    for change in changes:
        key = change.path, change.occurrence
        source = (base if change.change == "removed" else result).encode()
        assert source[slice(*change.range)] == (before if change.change == "removed" else after)[key]
        for sha1, texts_of in ((change.before_sha1, before), (change.after_sha1, after)):
            text = texts_of.get(key)
            assert sha1 == (None if text is None else hashlib.sha1(text, usedforsecurity=False).hexdigest())


@given(pair=pairs, wrap=st.sampled_from([str, "<!--{}-->".format, "<nowiki>{}".format, "== {} ==".format]))
def test_sections_of_anything(pair: tuple[str, str], wrap: Callable[[str], str]) -> None:
    base, result = (wrap(text).encode() for text in pair)
    changes = sections.changed(base, result)
    assert base != result or not changes
    assert sections.changed(result, result) == ()
    for change in changes:
        start, end = change.range
        assert 0 <= start <= end <= len(base if change.change == "removed" else result)
