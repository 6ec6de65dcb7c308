"""Work on the lab's wiki: so many random actions, or real page histories typed in again."""

from __future__ import annotations

import gzip
import itertools
import json
import lzma
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from .actions import Editor, Skipped
from .lifecycle import KINDS
from .mwapi import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


# How often each is done, out of the sum; the names are the methods of Editor.
# Those that are the name of a kind of change, too (lifecycle.py), are drawn once at least.
WEIGHTS: dict[str, float] = {
    "edit": 50, "create": 14, "minor": 5, "bot_edit": 5, "anonymous_edit": 3, "null_edit": 2, "two_in_one_second": 1,
    "blank": 1, "revert": 3, "rollback": 2, "talk": 2, "big": 0.3, "redirect": 1, "retarget": 0.5, "unredirect": 0.5,
    "move": 5, "move_without_redirect": 2, "move_over_redirect": 1,
    "move_with_talk_and_subpages": 0.5, "move_across_namespaces": 1,
    "delete": 4, "recreate": 1, "undelete": 3, "undelete_partly": 1, "undelete_under_new_id": 0.5, "undelete_into_page": 0.5,
    "hide": 4, "show": 1, "suppress": 1, "suppress_current": 1, "suppress_page": 0.5,
    "protect": 1, "merge": 1, "merge_partly": 1, "import_new": 0.5, "import_under": 0.5,
    "upload": 0.5, "upload_again": 0.5, "file_revert": 0.3,
    "content_model": 0.5, "json_page": 0.5, "css_page": 0.5, "javascript_page": 0.5, "lua_page": 0.5,
    "second_slot": 1, "both_slots": 1,
}  # fmt: skip
ATTEMPTS = 4  # at one action, where there is nothing to do it to, or the wiki refuses
MANY = 5  # times as many actions as there are kinds of change


def drawn(count: int, seed: int, also: Sequence[str] = ()) -> list[str]:
    """So many actions, by weight, and ``also`` these; where there are many, each kind of change is among them."""
    chance = random.Random(seed)
    kinds = list(KINDS) if count >= MANY * len(KINDS) else []
    actions = [*also, *kinds, *chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count - len(kinds))]
    chance.shuffle(actions)
    return actions


def at_random(
    api_url: str, count: int, seed: int, *, also: Sequence[str] = (), after_each: Callable[[], None] = lambda: None
) -> Counter[str]:
    """Do ``count`` random things, and ``also`` these; how many of each were done, the wiki's refusals as ``refused:<code>``."""
    editor = Editor(api_url, seed)
    done: Counter[str] = Counter()
    put_off: list[str] = []  # kinds of change for which there was nothing yet
    for action in itertools.chain(drawn(count, seed, also), put_off):
        for _ in range(ATTEMPTS):
            try:
                editor.do(action)
                done[action] += 1
                break
            except Skipped:
                done["skipped"] += 1
            except ApiError as error:
                done[f"refused:{error.code}"] += 1
        if action in KINDS and not done[action] and action not in put_off:
            put_off.append(action)
        after_each()
    return +done


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
