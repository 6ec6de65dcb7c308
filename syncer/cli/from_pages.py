"""``syncer mirror bootstrap --from-pages``: begin a mirror with the pages that the hub keeps."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from syncer.cli import print_json, run_async, stderr, stdout
from syncer.journal import open_journal
from syncer.mirror.from_pages import FromPages
from syncer.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from syncer.config import Settings


def begin_with_pages(settings: Settings, path: Path, *, json: bool) -> None:
    """Fill the mirror at a path, and say what came of it."""
    told: dict[str, Any] = {}
    with closing(Store(path)) as store:
        run_async(_take(settings, store, told))
    if json:
        print_json(told)
        return
    stdout.print(f"{told['taken']} pages were taken from the hub, {told['diverged']} are without a proven text")
    for name, what in (("gone", "of them went while they were read"), ("left_alone", "are of wikis or namespaces not taken")):
        if told[name]:
            stdout.print(f"  {told[name]} {what}")
    stdout.print("syncer mirror follow makes it current")


async def _take(settings: Settings, store: Store, told: dict[str, Any]) -> None:
    """Begin with the pages that the hub keeps; ``told`` gets what came of it."""
    journal = await open_journal(settings.journal, create=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[pages]} pages"))
    try:
        work = FromPages(journal, store, settings.mirror)
        await work.begin()
        with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
            task = progress.add_task("pages of the hub", total=work.tally.size, pages=0)
            async for tally in work.fill():
                progress.update(task, completed=tally.read, pages=tally.taken)
        starts = await work.finish()
    finally:
        await journal.close()
    told |= {name: getattr(work.tally, name) for name in ("read", "taken", "gone", "left_alone")}
    told |= {"diverged": store.diverging(), "follows_from": {str(part): offset for part, offset in starts.items()}}
