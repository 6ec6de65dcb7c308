"""Finding the sections that changed, against a whole parser and against hashing both texts.

python -m tests.bench.sections
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import mwparserfromhell

from syncer import diff, sections
from tests.histories import FOLDER, pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    Pair = tuple[bytes, bytes]


def hashes(base: bytes, result: bytes) -> None:
    for text in (base, result):
        hashlib.sha1(text, usedforsecurity=False).hexdigest()


def parsed(base: bytes, result: bytes) -> None:
    for text in (base, result):
        mwparserfromhell.parse(text.decode()).get_sections(flat=True, include_lead=True)


def seconds(work: Callable[[bytes, bytes], object], corpus: list[Pair]) -> float:
    """One core, the best of three."""
    times = []
    for _ in range(3):
        started = time.process_time()
        for base, result in corpus:
            work(base, result)
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    if not FOLDER.is_dir():
        print(f"no recordings in {FOLDER}")
        return
    real = [(base, result) for _, base, result in pairs() if base != result and len(result) >= 2000]
    works: dict[str, tuple[Callable[[bytes, bytes], object], int]] = {
        "sections.changed": (sections.changed, 1),
        "SHA-1 of both texts": (hashes, 1),
        "diff.patch": (diff.patch, 1),
        "mwparserfromhell of both": (parsed, 60),
    }
    mean = sum(len(result) for _, result in real) / len(real)
    found = [sections.changed(base, result) for base, result in real]
    share = sum(end - start for part in found for start, end in (change.range for change in part)) / (mean * len(real))
    changes = sum(map(len, found)) / len(real)
    print(f"{len(real)} pairs, text {mean / 1000:.1f} KB (mean), {changes:.2f} sections changed, {share:.0%} of the text")
    print(f"  {'':26} {'us a pair':>10} {'MB/s':>7} {'time':>8}")
    ours = 0.0
    for name, (work, every) in works.items():
        corpus = real[::every]
        size = sum(len(base) + len(result) for base, result in corpus)
        took = seconds(work, corpus)
        ours = ours or took / size
        label = name if every == 1 else f"{name}, 1 in {every}"
        print(f"  {label:26} {took / len(corpus) * 1e6:10.0f} {size / took / 1e6:7.0f} {took / size / ours:8.2f}")


if __name__ == "__main__":
    main()
