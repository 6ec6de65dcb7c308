"""Work on the lab's wiki: so many random actions, or real page histories typed in again."""

from __future__ import annotations

import gzip
import itertools
import json
import lzma
from collections import Counter
from typing import TYPE_CHECKING, Any

from .actions import WEIGHTS, Editor, Skipped
from .mwapi import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def at_random(api_url: str, count: int, seed: int, *, after_each: Callable[[], None] = lambda: None) -> Counter[str]:
    """Do ``count`` random things; how many of each were done, the wiki's refusals as ``refused:<code>``."""
    editor = Editor(api_url, seed)
    done: Counter[str] = Counter()
    for _ in range(count):
        (action,) = editor.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        try:
            editor.do(action)
            done[action] += 1
        except Skipped:
            done["skipped"] += 1
        except ApiError as error:
            done[f"refused:{error.code}"] += 1
        after_each()
    return done


def replay(api_url: str, histories: Path, *, limit: int | None = None) -> Counter[str]:
    """Type in the revisions of a file of histories (DATA.md), oldest first, at most ``limit``; counted like random actions."""
    editor = Editor(api_url, 0)
    done: Counter[str] = Counter()
    for revision in itertools.islice(read_histories(histories), limit):
        author = revision.get("user") or revision.get("title") or ""
        who = (editor.alice, editor.vandal, editor.bot)[sum(map(ord, author)) % 3]
        minor = {"minor": 1} if revision.get("minor") else {}
        summary = (revision.get("comment") or "")[:500]
        try:
            who.act("edit", title=revision["title"], text=revision["text"] or "", summary=summary, **minor)
            done["replayed"] += 1
        except ApiError as error:
            done[f"refused:{error.code}"] += 1
    return done


def read_histories(path: Path) -> Iterator[dict[str, Any]]:
    """The revisions of a file of histories, one JSON line each, compressed or not."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
    with openers.get(path.suffix, open)(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
