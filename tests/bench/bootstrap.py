"""A mirror filled from dumps, beside what it cannot do without: unpacking the same file, and parsing it.

    python -m tests.bench.bootstrap [MB]

The dump is made of the recorded histories (DATA.md): every revision is a page of its own, over and over until there are so many
MB, as MediaWiki writes them. Each way runs alone; the best of three counts, by the wall's clock and by that of the processors (of
this process: another program unpacks .7z). MB are those of the XML.
"""

from __future__ import annotations

import bz2
import gzip
import resource
import subprocess
import sys
import tempfile
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from syncer import dumps
from syncer.config import MirrorSettings
from syncer.mirror.bootstrap import Bootstrap, Dumped
from syncer.store import Store
from tests.bench.feed import timed
from tests.dumped import head_and_tail, page
from tests.histories import FOLDER, _lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.feed import Seconds

MB = 100
REPEATS = 3
CHUNK = 1024 * 1024


def written(path: Path, size: int) -> int:
    """A dump of about so many bytes; how many pages it has."""
    found = [line for file in sorted(FOLDER.glob("*.jsonl.*")) for line in _lines(file) if line.get("text") and line.get("model")]
    count = 0

    def pages() -> Iterator[str]:
        nonlocal count
        left = size
        for line in cycle(found):
            count += 1
            one = page(count, f"{line['title']} {count}", line["text"], count, model=line["model"])
            left -= len(one.encode())
            yield one
            if left <= 0:
                return

    with path.open("wb") as file:
        file.writelines(head_and_tail("benchwiki", "bench.example.org", pages()))
    return count


def unpacked(path: Path) -> None:
    """Only that."""
    with dumps.opened(path) as file:
        while file.read(CHUNK):
            pass


def parsed(path: Path) -> None:
    """By the standard library's parser alone, which knows nothing of pages."""
    with dumps.opened(path) as file:
        for _, element in ET.iterparse(file):  # type: ignore[call-overload]  # noqa: S314 - our own
            element.clear()


def read(path: Path) -> None:
    """As pages, with the reader that the mirror uses."""
    for _ in dumps.current(path):
        pass


def filled(path: Path) -> None:
    """A mirror."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        store = Store(Path(folder) / "mirror.db")
        for tally, _ in Bootstrap(store, MirrorSettings()).fill(Dumped(path, "benchwiki", "bench.example.org", 0.0)):
            if tally.diverged or tally.set_aside:
                raise AssertionError(tally)
        store.close()


def measured(work: Callable[[Path], None], path: Path) -> Seconds:
    """The best of some runs, of either clock."""
    found = [timed(lambda: work(path)) for _ in range(REPEATS)]
    return min(wall for wall, _ in found), min(processors for _, processors in found)


def main() -> None:
    """Print the table."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else MB
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "dump.xml"
        count = written(plain, size * 1_000_000)
        total = plain.stat().st_size / 1e6
        print(f"{count} pages, {total:.0f} MB of XML, {1000 * total / count:.1f} KB on the mean")
        (Path(folder) / "dump.xml.bz2").write_bytes(bz2.compress(plain.read_bytes()))
        (Path(folder) / "dump.xml.gz").write_bytes(gzip.compress(plain.read_bytes(), 6))
        subprocess.run(["bsdtar", "--format", "7zip", "-cf", f"{folder}/dump.xml.7z", "-C", folder, "dump.xml"], check=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"  {'':8} {'unpacked':>19} {'parsed':>19} {'read as pages':>19} {'mirror filled':>19}   times parsed")
        for ending in ("xml", "xml.gz", "xml.bz2", "xml.7z"):
            path = Path(folder) / f"dump.{ending}"
            found = [measured(work, path) for work in (unpacked, parsed, read, filled)]
            for clock, name in enumerate(("wall", "processors")):
                took = [each[clock] for each in found]
                rates = " ".join(f"{seconds:7.2f} s {total / seconds:4.0f} MB/s" for seconds in took)
                print(f"  {ending:8} {rates}   {took[3] / took[1]:.2f} {name}, {count / took[3]:,.0f} pages/s")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"  memory: {before / 1024:.0f} MB before, {after / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
