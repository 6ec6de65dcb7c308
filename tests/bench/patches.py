"""The patch engine against others, on real pairs and on large pages made of them: time, bytes, bytes after compression.

    python -m tests.bench.patches

Every engine's patch is applied and compared. Bytes are JSON of splices, or what the engine itself writes; batched are patches of
100 pairs compressed together, as Kafka does with a batch. Times are of one core, the better of two. cydifflib and pygit2 are
tried if they are installed (``pip install cydifflib pygit2``).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import random
import statistics
import time
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import zstandard

from syncer import diff
from tests.histories import FOLDER, pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Pair = tuple[bytes, bytes]
    Ops = tuple[tuple[int, int, str], ...]

BATCH = 100


class Engine(NamedTuple):
    """How a patch is made, and what of it is sent."""

    name: str
    make: Callable[[bytes, bytes], Any]
    write: Callable[[Any], bytes] = orjson.dumps
    check: Callable[[bytes, Any], bytes] | None = diff.apply
    every: int = 1  # pairs, of which one is tried: all of them would take minutes


class _Plain(diff._Pair):
    """The engine that DIFF.md measured: the whole text by lines, each block by words, no anchors and nothing joined between."""

    def _spend(self, cost: int) -> bool:
        return cost < 2**33

    def spans(self) -> list[Any]:
        whole = self._trim((0, len(self._base), 0, len(self._result)))
        lines = self._lines(whole) if whole[0] < whole[1] and whole[2] < whole[3] else [whole]
        return diff._joined(finer for span in lines for finer in self._words(span))


def plain(base: bytes, result: bytes) -> Ops:
    return tuple((i, j - i, result[k:m].decode()) for i, j, k, m in _Plain(base, result).spans())


def ends(base: bytes, result: bytes) -> Ops:
    whole = diff._Pair(base, result)._trim((0, len(base), 0, len(result)))
    return tuple((i, j - i, result[k:m].decode()) for i, j, k, m in diff._joined([whole]))


def by_matcher(matcher: Callable[..., Any]) -> Callable[[bytes, bytes], Ops]:
    def make(base: bytes, result: bytes) -> Ops:
        old, new = base.split(b"\n"), result.split(b"\n")
        old, new = [line + b"\n" for line in old[:-1]] + old[-1:], [line + b"\n" for line in new[:-1]] + new[-1:]
        i, k = (list(accumulate(map(len, lines), initial=0)) for lines in (old, new))
        codes = matcher(None, old, new, autojunk=False).get_opcodes()
        return tuple((i[a], i[b] - i[a], result[k[c] : k[d]].decode()) for tag, a, b, c, d in codes if tag != "equal")

    return make


def unified(create: Callable[..., Any], base: bytes, result: bytes) -> bytes:
    written: bytes = create(base, result, context_lines=0).data
    return written


def delta(base: bytes, result: bytes) -> bytes:
    known = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    size = max(10, (len(base) + len(result)).bit_length())
    settings = zstandard.ZstdCompressionParameters.from_level(3, window_log=size, source_size=len(result), dict_size=len(base))
    return zstandard.ZstdCompressor(dict_data=known, compression_params=settings).compress(result)


def undelta(base: bytes, patch: bytes) -> bytes:
    known = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdDecompressor(dict_data=known, max_window_size=1 << 27).decompress(patch)


def engines() -> Iterator[Engine]:
    """Ours first."""
    yield Engine("splice/1", diff.compute)
    yield Engine("lines, then words (DIFF.md)", plain)
    yield Engine("common ends only", ends)
    yield Engine("difflib, lines", by_matcher(difflib.SequenceMatcher), every=12)
    for name in ("cydifflib", "pygit2"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if name == "cydifflib":
            yield Engine("cydifflib, lines", by_matcher(module.SequenceMatcher))
        else:
            yield Engine("libgit2, no context", partial(unified, module.Patch.create_from), bytes, None)
    yield Engine("zstd, base as prefix", delta, bytes, undelta)
    yield Engine("full text", lambda _base, result: result.decode(), orjson.dumps, lambda _base, text: text.encode())


def transplanted(real: list[Pair], count: int, rng: random.Random) -> Iterator[Pair]:
    """Pages of 0.2 to 2 MB: real pages one behind the other, one to sixteen of them edited as they really were."""
    parts = [pair for pair in real if min(map(len, pair)) > 500]
    for number in range(count):
        chosen: list[Pair] = []
        while sum(len(base) for base, _ in chosen) < 200_000 * 10 ** (number / (count - 1)):
            chosen.append(rng.choice(parts))
        edits = set(rng.sample(range(len(chosen)), min(len(chosen), 2 ** (number % 5))))
        base = b"\n".join(old for old, _ in chosen)
        yield base, b"\n".join(new if at in edits else old for at, (old, new) in enumerate(chosen))


def apart(step: int) -> list[Pair]:
    """Revisions of a page so many edits apart."""
    recorded = [pair for pair in pairs() if not pair[0].startswith("pairs")]
    chained = zip(recorded, recorded[step:], strict=False)
    return [(base, result) for (name, base, _), (other, _, result) in chained if name == other and len(base) < 60_000][::4]


class Figures(NamedTuple):
    """What one engine did with some pairs: milliseconds each, bytes each, all that it wrote."""

    took: list[float]
    written: list[bytes]


def measure(engine: Engine, corpus: list[Pair]) -> Figures:
    took, written = [], []
    for base, result in corpus:
        times = []
        for _ in range(2):
            started = time.process_time_ns()
            patch = engine.make(base, result)
            times.append((time.process_time_ns() - started) / 1e6)
        took.append(min(times))
        written.append(engine.write(patch))
        if engine.check and engine.check(base, patch) != result:
            raise AssertionError(f"{engine.name} is wrong")
    return Figures(took, written)


def row(name: str, figures: Figures, size: int, ours: float) -> None:
    took = sorted(figures.took)
    batches = (b"".join(figures.written[at : at + BATCH]) for at in range(0, len(figures.written), BATCH))
    compressed = sum(len(zstandard.compress(batch)) for batch in batches) / len(figures.written)
    speed = size / 1000 / (sum(took) or 1e-9)
    print(
        f"  {name:28} {statistics.median(took):8.3f} {took[int(len(took) * 0.99)]:8.2f} {took[-1]:8.1f} {speed:8.0f}"
        f" {statistics.mean(map(len, figures.written)):11.0f} {compressed:9.0f} {sum(took) / size / ours:7.2f}"
    )


def table(title: str, corpus: list[Pair]) -> None:
    size = sum(len(result) for _, result in corpus)
    print(f"\n{title}: {len(corpus)} pairs, text {size / len(corpus) / 1000:.1f} KB (mean)")
    print(f"  {'':28} {'median':>8} {'p99':>8} {'worst ms':>8} {'MB/s':>8} {'patch bytes':>11} {'batched':>9} {'time':>7}")
    ours = 0.0
    for engine in engines():
        tried = corpus[:: engine.every]
        figures = measure(engine, tried)
        size = sum(len(result) for _, result in tried)
        ours = ours or sum(figures.took) / size
        row(engine.name if engine.every == 1 else f"{engine.name}, 1 in {engine.every}", figures, size, ours)


def published(make: Callable[[bytes, bytes], Ops], corpus: Iterable[Pair]) -> float:
    """Seconds to make patches, check them, hash the results and write the operations."""
    started = time.process_time()
    for base, result in corpus:
        ops = make(base, result)
        if diff.apply(base, ops) != result:
            raise AssertionError("wrong")
        hashlib.sha1(result, usedforsecurity=False).hexdigest()
        orjson.dumps(ops)
    return time.process_time() - started


def main() -> None:
    if not FOLDER.is_dir():
        print(f"no recordings in {FOLDER}")
        return
    real = [(base, result) for _, base, result in pairs() if base != result]
    large = [pair for pair in real if len(pair[1]) >= 2000]
    recorded = [(base, result) for name, base, result in pairs() if name.startswith("pairs-wikidiff2")]
    rng = random.Random(1)
    table("Consecutive revisions of 2 KB and more", large)
    table("Pairs of wikidiff2's own tests", recorded)
    table("Revisions 15 edits apart", apart(15))
    big = list(transplanted(real, 24, rng))
    table("Pages of 0.2 to 2 MB", big)
    table("The same in one line", [(base.replace(b"\n", b" "), result.replace(b"\n", b" ")) for base, result in big[::2]])
    print("\nMade, checked, hashed and written, pairs a second on one core (consecutive revisions of 2 KB and more)")
    ours = published(diff.compute, large)
    for name, make in (
        ("splice/1", diff.compute),
        ("lines, then words", plain),
        ("difflib", by_matcher(difflib.SequenceMatcher)),
    ):
        part = large if name != "difflib" else large[::10]
        took = published(make, part) * len(large) / len(part)
        print(f"  {name:28} {len(large) / took:8.0f} {took / ours:7.2f}")


if __name__ == "__main__":
    main()
