"""Patch formats: how to get from the base text to the result text. Pure; texts are UTF-8 ``bytes``.

``splice/1`` is a list of operations ``[offset, delete, insert]``: ``delete`` bytes at ``offset`` of the base become ``insert``.
Operations ascend and do not overlap, and both ends of each lie on character boundaries. This is how they are found:

    whole text ──► wide anchors ──► lines ──► short anchors ──► words ──► operations

Each arrow takes the spans that differ, looks for what their two sides share, and hands on the smaller spans between. What both
sides of a span begin and end with is cut off, and spans closer together than an operation costs are joined, after every step.
Work is counted, never clocked, so that a pair gives the same patch on every machine; what is beyond the budget is replaced whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from syncer.errors import Unusable
from syncer.model import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from syncer.model import Op

    Span = tuple[int, int, int, int]  # i, j, k, m: base[i:j] becomes result[k:m]
    Chain = tuple[tuple[int, int], ...]  # places in base and result that belong together, ascending in both

_OP_BYTES = 16  # JSON of an operation without its text, `[12345,67,""],`: to keep fewer equal bytes than that saves nothing
_UNEQUAL = 256  # times; a side longer than that is not read to save what the other is long (a page blanked)
_WIDE = 64 * 1024  # bytes; a longer span is cut at anchors before its lines are compared
_SHORT = 1024  # bytes; a longer span is compared by lines, and cut at anchors if it is still longer then; then words

_SAMPLES = 15  # places of a span looked up in the result, evenly spaced
_SAMPLE_BYTES = 32
_FAR_SAMPLES = 3  # of these may be looked up in the whole span, and not only where they should be

# What may be spent on one pair, and what things cost: about nanoseconds, measured once. Texts of 2 MB end within 0.15 s.
_BUDGET = 120_000_000
_CELLS = 2  # token x token, for one: 240 M cells at most, which are bits, so 30 MB
_BYTE = 10  # cut into tokens
_TOKEN = 200  # numbered
_SEARCHED = 5  # a byte
_STEP = 2000  # a sample looked up, a span trimmed

_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+[^0-9A-Za-z\x80-\xff]*|[^0-9A-Za-z\x80-\xff]+")  # with what follows it


@dataclass(frozen=True, slots=True)
class Format:
    """A patch format. ``compute(base, result)`` finds the operations; ``apply(base, ops)`` carries them out, given as they were
    found or as they come back from JSON, and raises ValueError for whatever is not a patch of this base.
    """

    compute: Callable[[bytes, bytes], tuple[Op, ...]]
    apply: Callable[[bytes, object], bytes]


def patch(base: bytes, result: bytes) -> Patch | None:
    """Make a patch that is proven to give ``result``, or None where a snapshot is the better mutation.

    That is where the JSON of the operations reaches 80 % of the JSON of the text (DESIGN 6). Equal texts always give a patch, one
    without operations. ValueError if a text is not UTF-8; Unusable, should the patch not give the result after all.
    """
    name = "splice/1"
    ops = FORMATS[name].compute(base, result)
    if ops and _reaches(80, ops, result):
        return None
    if FORMATS[name].apply(base, ops) != result:
        raise Unusable("patch_unproven", f"the {name} patch from {len(base)} to {len(result)} bytes does not give its result")
    return Patch(name, ops)


def compute(base: bytes, result: bytes) -> tuple[Op, ...]:
    """Find the operations of ``splice/1`` that turn ``base`` into ``result``: none if they are equal, never two that touch.

    The same pair gives the same operations everywhere. ValueError if one of the texts is not UTF-8.
    """
    pair = _Pair(base, result)
    return tuple((i, j - i, result[k:m].decode()) for i, j, k, m in pair.spans())


def apply(base: bytes, ops: object) -> bytes:
    """Carry out operations of ``splice/1``, as computed or as read from JSON. Operations may touch.

    ValueError, naming the operation, unless all are well typed, ascending, within the base and on character boundaries.
    """
    if not isinstance(ops, list | tuple):
        raise ValueError(f"operations are a list, not {type(ops).__name__}")  # noqa: TRY004 - one error for every bad patch
    parts: list[bytes] = []
    done = 0
    for number, op in enumerate(ops):
        try:
            offset, end, insert = _checked(base, done, op)
        except ValueError as error:
            raise ValueError(f"operation {number}: {error}") from error
        parts += base[done:offset], insert
        done = end
    return b"".join((*parts, base[done:]))


FORMATS: Mapping[str, Format] = MappingProxyType({"splice/1": Format(compute, apply)})


def _reaches(percent: int, ops: tuple[Op, ...], result: bytes) -> bool:
    """Whether the operations take that share of the text or more, both as JSON; the text is written out only if it may be so."""
    size = 100 * len(orjson.dumps(ops))
    return size >= percent * (len(result) + 2) and size >= percent * len(orjson.dumps(result.decode()))


def _checked(base: bytes, done: int, op: object) -> tuple[int, int, bytes]:
    """Read one operation: where it begins and ends in the base, and the bytes it puts there."""
    match op:
        case [int(offset), int(delete), str(insert)] if type(offset) is type(delete) is int:
            end = offset + delete
        case _:
            raise ValueError(f"not [offset, delete, insert]: {op!r:.80}")
    if not done <= offset <= end <= len(base):
        raise ValueError(f"{delete} bytes at {offset} do not lie between {done} and {len(base)}")
    if _inside(base, offset) or _inside(base, end):
        raise ValueError(f"{delete} bytes at {offset} split a character")
    return offset, end, insert.encode()


class _Pair:
    """Two texts that are being compared, and what may still be spent on it. Spans come trimmed and go trimmed."""

    def __init__(self, base: bytes, result: bytes) -> None:
        self._base, self._result, self._left = base, result, _BUDGET

    def spans(self) -> list[Span]:
        """Find the spans that differ, ascending, at least an operation's cost apart. ValueError if a text is not UTF-8."""
        whole = self._trim((0, len(self._base), 0, len(self._result)))
        for text in (self._result, self._base[whole[0] : whole[1]]):  # the rest of the base is the same as in the result
            text.isascii() or text.decode()
        spans = _joined([whole])
        for cut in (partial(self._anchored, limit=_WIDE), self._lines, partial(self._anchored, limit=_SHORT), self._words):
            spans = _joined(finer for span in spans for finer in (cut(span) if _divisible(span) else [span]))
        return spans

    def _spend(self, cost: int) -> bool:
        """Pay for something, if there is enough left."""
        enough = cost <= self._left
        self._left -= cost if enough else 0
        return enough

    def _lines(self, span: Span) -> list[Span]:
        """Cut a span where whole lines (or what is left of them at its ends) are the same."""
        i, j, k, m = span
        if max(j - i, m - k) <= _SHORT or not self._spend(_BYTE * (j - i + m - k)):
            return [span]
        return self._compared(span, self._base[i:j].splitlines(keepends=True), self._result[k:m].splitlines(keepends=True))

    def _words(self, span: Span) -> list[Span]:
        """Cut a span where words, each with what follows it up to the next, are the same."""
        i, j, k, m = span
        if not self._spend(_BYTE * (j - i + m - k)):
            return [span]
        return self._compared(span, _WORD.findall(self._base, i, j), _WORD.findall(self._result, k, m))

    def _compared(self, span: Span, old: list[bytes], new: list[bytes]) -> list[Span]:
        """Cut a span, given as the tokens of its two sides, at a longest common subsequence of them."""
        if not self._spend(len(old) * len(new) // _CELLS + _TOKEN * (len(old) + len(new))):
            return [span]
        i, k = (list(accumulate(map(len, tokens), initial=start)) for tokens, start in ((old, span[0]), (new, span[2])))
        spans = [self._trim((i[a], i[b], k[c], k[d])) for a, b, c, d in _differing(old, new)]
        self._spend(_STEP * len(spans))
        return spans

    def _anchored(self, span: Span, limit: int) -> list[Span]:
        """Cut a span at anchors, again and again, until its pieces are within ``limit`` or none are found."""
        i, j, k, m = span
        if min(j - i, m - k) <= limit:
            return [span]
        pieces: list[Span] = []
        for at, to in (*self._anchors(span), (j, m)):
            piece = self._trim((i, at, k, to))
            pieces += [piece] if piece == span else self._anchored(piece, limit)
            i, k = at, to
        return pieces

    def _anchors(self, span: Span) -> Chain:
        """Look samples of the base up in the result, and find the longest chain of places that ascend in both.

        A sample should be as far from its place as the last one in the chain so far, or near that. A few are looked up in the
        whole span; there they count only if they are found once.
        """
        i, j, k, m = span
        reach = max(j - i, m - k) // _SAMPLES
        far = _FAR_SAMPLES
        best: Chain = ()
        chains = [best]
        for number in range(1, _SAMPLES + 1):
            if not self._spend(_STEP):
                break
            at = i + (j - i) * number // (_SAMPLES + 1)
            while _inside(self._base, at):
                at -= 1
            sample = self._base[at : at + _SAMPLE_BYTES]
            guess = at + (best[-1][1] - best[-1][0] if best else k - i)
            to = self._nearest(sample, guess, max(k, guess - reach), min(m, guess + reach))
            if to < 0 and far and self._spend(_SEARCHED * (m - k)):
                far -= 1
                to = self._result.find(sample, k, m)
                if self._result.find(sample, to + 1, m) >= 0:
                    continue
            if to >= 0:
                chains.append((*max((chain for chain in chains if not chain or chain[-1][1] < to), key=len), (at, to)))
                best = max(chains[-1], best, key=len)
        return best

    def _nearest(self, sample: bytes, guess: int, low: int, high: int) -> int:
        """Find the occurrence of a sample between ``low`` and ``high`` that is nearest to a place; -1 if there is none."""
        after = self._result.find(sample, max(guess, low), high)
        before = self._result.rfind(sample, low, min(guess + len(sample), high))
        to = after if before < 0 or 0 <= after - guess < guess - before else before
        self._spend(_SEARCHED * (high - low if to < 0 else abs(to - guess)))
        return to

    def _trim(self, span: Span) -> Span:
        """Cut off what both sides of a span begin and end with, in whole characters."""
        base, result = self._base, self._result
        i, j, k, m = span
        size = min(j - i, m - k)
        head = _same_head(base, i, result, k, size)
        while head and _inside(result, k + head):
            head -= 1
        tail = _same_tail(base, j, result, m, size - head)
        while tail and _inside(base, j - tail):
            tail -= 1
        return i + head, j - tail, k + head, m - tail


def _divisible(span: Span) -> bool:
    """Whether the sides of a span may share something that is worth keeping, and worth looking for."""
    short, long = sorted((span[1] - span[0], span[3] - span[2]))
    return short >= _OP_BYTES and long <= short * _UNEQUAL


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Leave out empty spans, and join those that lie closer together than an operation costs."""
    out: list[Span] = []
    for span in spans:
        i, j, k, m = span
        if i == j and k == m:
            continue
        if out and i - out[-1][1] < _OP_BYTES:
            out[-1] = (out[-1][0], j, out[-1][2], m)
        else:
            out.append(span)
    return out


def _differing(old: list[bytes], new: list[bytes]) -> Iterator[Span]:
    """Tell which runs of tokens differ: old[a:b] and new[c:d]."""
    from rapidfuzz.distance import Indel  # noqa: PLC0415 - of the hub's extra: who only mirrors applies patches, and computes none

    numbers: dict[bytes, int] = {}
    first = [*map(numbers.setdefault, old, range(len(old)))]
    second = [*map(numbers.setdefault, new, range(len(old), len(old) + len(new)))]
    a = c = 0
    for b, d, size in Indel.editops(first, second).as_matching_blocks():
        if a < b or c < d:
            yield a, b, c, d
        a, c = b + size, d + size


def _same_head(x: bytes, i: int, y: bytes, k: int, size: int) -> int:
    """Count the bytes, ``size`` at most, that are the same from x[i] and y[k] on: halve by memcmp, the last 32 as numbers."""
    if not size or x[i] != y[k]:
        return 0
    view = memoryview(y)
    low, high = 0, size
    while high - low > 32:  # noqa: PLR2004
        middle = (low + high) >> 1
        if x.startswith(view[k + low : k + middle], i + low):
            low = middle
        else:
            high = middle
    differ = int.from_bytes(x[i + low : i + high], "little") ^ int.from_bytes(y[k + low : k + high], "little")
    return low + (((differ & -differ).bit_length() - 1) >> 3) if differ else high


def _same_tail(x: bytes, j: int, y: bytes, m: int, size: int) -> int:
    """Count the bytes, ``size`` at most, that are the same up to x[j] and y[m]."""
    if not size or x[j - 1] != y[m - 1]:
        return 0
    view = memoryview(y)
    low, high = 0, size
    while high - low > 32:  # noqa: PLR2004
        middle = (low + high) >> 1
        if x.endswith(view[m - middle : m - low], 0, j - low):
            low = middle
        else:
            high = middle
    differ = int.from_bytes(x[j - high : j - low], "big") ^ int.from_bytes(y[m - high : m - low], "big")
    return low + (((differ & -differ).bit_length() - 1) >> 3) if differ else high


def _inside(text: bytes, at: int) -> bool:
    """Whether a place in a text lies inside a character: a UTF-8 continuation byte follows."""
    return at < len(text) and text[at] & 0xC0 == 0x80  # noqa: PLR2004 - 10xxxxxx
