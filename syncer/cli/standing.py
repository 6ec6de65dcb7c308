"""``syncer mirror status``: how far behind the mirror is, and whether anything is missing, for people and for monitoring."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from syncer import sqlite
from syncer.cli import finite, options, print_columns, print_json, run_async, stderr
from syncer.cli.manifests import FOLLOW, check_journal
from syncer.cli.mirror import Wiki, mirror
from syncer.journal import open_journal
from syncer.mirror.standing import read_standing
from syncer.store import Store

if TYPE_CHECKING:
    from syncer.config import Settings
    from syncer.mirror.standing import WikiStanding

BEHIND = 900.0  # seconds: watermarks come every minute, and a wiki may be slow


@mirror.command()
def status(
    wiki: Wiki = None,
    behind: Annotated[
        float, typer.Option(min=1, callback=finite, help="Exit 1 where news may be missing that is older than so many seconds.")
    ] = BEHIND,
    json: Annotated[bool, typer.Option("--json", help="The same as JSON, whole.")] = False,
) -> None:
    """Say per wiki how far behind the mirror is and what is missing; exit 1 if anything is, or it is too far behind."""
    raise typer.Exit(run_async(_status(options.settings(log_level="warning"), wiki, behind, json=json)))


async def _status(settings: Settings, wiki: str | None, behind: float, *, json: bool) -> int:
    journal = await open_journal(settings.journal, create=False)
    try:
        with closing(Store(sqlite.existing(settings.mirror.path, "mirror.path", FOLLOW))) as store:
            check_journal(store, journal.identity)
            found = await read_standing(journal, store, settings.mirror.wikis if wiki is None else (wiki,), time.time())
    finally:
        await journal.close()
    missing = {each.wiki_id: each.missing(behind) for each in found}
    complete = bool(found) and not any(missing.values())
    if json:
        wikis = [asdict(each) | {"missing": missing[each.wiki_id]} for each in found]
        print_json({"journal": journal.identity, "complete": complete, "wikis": wikis})
    else:
        names = ("wiki", "complete to", "behind", "set aside", "gaps", "diverged", "missing")
        print_columns([names, *(_row(each, missing[each.wiki_id]) for each in found)])
        incomplete = sum(map(bool, missing.values()))
        stderr.print(f"wikis: {len(found)}; of which something is missing: {incomplete}" if found else "no wiki is known yet")
    return 0 if complete else 1


def _row(each: WikiStanding, missing: list[str]) -> tuple[str, ...]:
    behind = "unknown" if each.behind is None else f"{each.behind:,.0f} s"
    counts = (each.open_set_asides, len(each.gaps), sum(each.diverged.values()))
    return (each.wiki_id, each.complete_to or "unknown", behind, *map(str, counts), ", ".join(missing) or "nothing")
