"""Which sections of a wikitext changed. Pure; texts are UTF-8 ``bytes``.

A section is known by the path of its headings and its occurrence (0, 1, ...) among sections of the same path. It runs from its
heading up to the next one of any level: subsections are sections of their own. The lead stands before the first heading, has
path ``()``, and is always there, be it empty; so the sections of a text tile it. Headings are those that MediaWiki's
preprocessor finds, but for headings that a template or a comment of many lines makes or breaks.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from syncer.model import SectionChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Key = tuple[tuple[str, ...], int]  # path, occurrence
    Range = tuple[int, int]  # bytes, the second not included

_LINE = re.compile(rb"\n(=[^\n]*)")
_OPENING = re.compile(rb"<(?:!--|(nowiki|pre|syntaxhighlight|source|math)(?:\s[^<>]*?)?(/?)>)", re.IGNORECASE)
_CLOSING = {
    tag: re.compile(rb"</%b\s*>" % tag, re.IGNORECASE) for tag in (b"nowiki", b"pre", b"syntaxhighlight", b"source", b"math")
}
_DEEPEST = 6
_REMEMBERED = 200  # bytes of a line, at most: headings are the same again and again, in a page's next text and in other pages


class _Heading(NamedTuple):
    level: int
    title: str


def changed(base: bytes, result: bytes) -> tuple[SectionChange, ...]:
    """Tell the sections that are not the same bytes in both texts: those of the result, in its order, then the removed ones.

    ``change`` is ``modified``, ``added`` or ``removed``; ``range`` is in bytes of the result, for ``removed`` of the base. What
    only moved did not change; a section whose heading changed was removed and added. ValueError if a heading is not UTF-8.
    """
    old, new = _headings(base), _headings(result)
    keys = [*_keys(new.values())]
    old_keys = keys if [*old.values()] == [*new.values()] else _keys(old.values())
    before = dict(zip(old_keys, _ranges(old, base), strict=True))
    found = []
    for key, here in zip(keys, _ranges(new, result), strict=True):
        there = before.pop(key, None)
        was, text = there and base[slice(*there)], result[slice(*here)]
        if was is None:
            found.append(SectionChange(*key, "added", here, None, _sha1(text)))
        elif was != text:
            found.append(SectionChange(*key, "modified", here, _sha1(was), _sha1(text)))
    found += (SectionChange(*key, "removed", there, _sha1(base[slice(*there)]), None) for key, there in before.items())
    return tuple(found)


def _headings(text: bytes) -> dict[int, _Heading]:
    """Find the headings of a text: where each begins, and what it is."""
    headings: dict[int, _Heading] = {}
    hidden = _hidden(text)
    begin = end = 0
    for match in _LINE.finditer(b"\n" + text):
        line, at = match[1], match.start()
        if heading := _remembered(line) if len(line) <= _REMEMBERED else _heading(line):
            while end <= at:
                begin, end = next(hidden, (len(text), len(text) + 1))
            if at < begin:
                headings[at] = heading
    return headings


def _hidden(text: bytes) -> Iterator[Range]:
    """Find what stands in comments and in tags whose content is not wikitext.

    A comment without an end reaches to the end of the text; a tag without a closing one is no tag.
    """
    unclosed: set[bytes] = set()
    at = 0
    while match := _OPENING.search(text, at):
        at = match.end()
        tag = match[1] and match[1].lower()
        if tag is None:
            end = text.find(b"-->", at)
            at = len(text) if end < 0 else end + 3
            yield match.start(), at
        elif not match[2] and tag not in unclosed:
            if closing := _CLOSING[tag].search(text, at):
                at = closing.end()
                yield match.start(), at
            else:
                unclosed.add(tag)


def _heading(line: bytes) -> _Heading | None:
    """Read a line that begins with ``=``; it is a heading if it ends so too, but for spaces and comments."""
    if b"-->" in line:
        line = _without_comments(line)
    line = line.rstrip(b" \t\r")  # texts of the first years have CRLF
    left, right = len(line) - len(line.lstrip(b"=")), len(line) - len(line.rstrip(b"="))
    if left == len(line):
        left = right = (left - 1) // 2
    level = min(left, right, _DEEPEST)
    return _Heading(level, line[level : len(line) - level].strip().decode()) if level else None


_remembered = lru_cache(maxsize=4096)(_heading)


def _without_comments(line: bytes) -> bytes:
    parts = []
    at = 0
    while (begin := line.find(b"<!--", at)) >= 0 and (end := line.find(b"-->", begin + 4)) >= 0:
        parts.append(line[at:begin])
        at = end + 3
    return b"".join((*parts, line[at:]))


def _keys(headings: Iterable[_Heading]) -> Iterator[Key]:
    """Name the sections of a text, the lead first."""
    yield (), 0
    above: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    seen: dict[tuple[str, ...], int] = {}
    for level, title in headings:
        while above[-1][0] >= level:
            above.pop()
        path = (*above[-1][1], title)
        above.append((level, path))
        seen[path] = occurrence = seen.get(path, -1) + 1
        yield path, occurrence


def _ranges(headings: Iterable[int], text: bytes) -> Iterator[Range]:
    """Tell where the sections of a text lie, the lead first."""
    return pairwise((0, *headings, len(text)))


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
