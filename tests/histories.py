"""Real texts for tests: consecutive revisions and old/new pairs of ../shared/data/histories (DATA.md)."""

from __future__ import annotations

import gzip
import json
import lzma
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = SHARED / "data" / "histories"

need_histories = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no recordings in {FOLDER} (DATA.md says what lies there)")


@cache
def pairs() -> list[tuple[str, bytes, bytes]]:
    """Every revision of a page with the one before it, and every recorded pair: the file's name, base, result."""
    found = []
    for path in sorted(FOLDER.glob("*.jsonl.*")):
        last: dict[object, bytes] = {}
        for line in _lines(path):
            if "old_text" in line:
                found.append((path.name, line["old_text"].encode(), line["new_text"].encode()))
            elif line["text"] is not None:
                page, text = (line["wiki"], line["page_id"], line["title"]), line["text"].encode()
                if page in last:
                    found.append((path.name, last[page], text))
                last[page] = text
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    opened = lzma.open if path.suffix == ".xz" else gzip.open
    with opened(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            yield json.loads(line)
