"""``syncer mirror bootstrap``: begin a mirror with dumps, or with the pages that the hub keeps."""

from __future__ import annotations

import glob
import os
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from syncer import sqlite
from syncer.cli import options, print_json, run_async, stderr, stdout
from syncer.cli.from_pages import begin_with_pages
from syncer.cli.mirror import mirror
from syncer.errors import Missing
from syncer.journal import open_journal
from syncer.mirror.bootstrap import Bootstrap, head
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.config import Settings
    from syncer.mirror.bootstrap import Dumped, Tally


@mirror.command()
def bootstrap(
    dump: Annotated[
        list[str] | None, typer.Argument(help="Dumps of current revisions: .xml, or that as .bz2, .gz, .xz, .7z; or globs.")
    ] = None,
    from_pages: Annotated[
        bool, typer.Option("--from-pages", help="Begin with the topic of pages instead, where the hub keeps it.")
    ] = False,
    date: Annotated[str | None, typer.Option(help="When they were begun, or before; else it is the date in their names.")] = None,
    json: Annotated[bool, typer.Option("--json", help="What came of the pages, as JSON.")] = False,
) -> None:
    """Begin a mirror with dumps, or pages; run it again where it was stopped. Then `syncer mirror follow` makes it current."""
    if bool(dump) is from_pages or (from_pages and date):
        raise typer.BadParameter("name dumps, or say --from-pages; --date is of dumps")
    settings = options.settings(log_level="warning")
    path = sqlite.expand(settings.mirror.path, "mirror.path")
    lock = sqlite.lock(path.with_name(f"{path.name}.lock"), f"following with {path}, or filling it")
    try:
        if from_pages:
            begin_with_pages(settings, path, json=json)
            return
        found = [head(each, date) for each in files(dump or ())]
        with closing(Store(path)) as store:
            starts, tallies = _fill(settings, store, found)
    finally:
        os.close(lock)
    told = _told(tallies) | {"follows_from": {str(partition): offset for partition, offset in starts.items()}}
    if json:
        print_json(told)
        return
    stdout.print(
        f"{told['taken']} pages of {len(tallies)} dumps are in the mirror, {told['diverged']} of them without a proven text"
    )
    if taken := ", ".join(f"{number} ({told['namespaces'][number]})" for number in sorted(told["namespaces"], key=int)):
        stdout.print(f"  their namespaces: {taken}; what the hub does not publish of these stays as the dump has it")
    for name in ("known", "left_alone"):
        if told[name]:
            stdout.print(f"  {told[name]} {'were known already' if name == 'known' else 'are in namespaces that are not taken'}")
    for reason, count in told["set_aside"].items():
        stdout.print(f"  {count} set aside: {reason}")
    stdout.print("syncer mirror follow makes it current")


def files(names: Sequence[str]) -> list[Path]:
    """The files that were named, each once, globs in the order of their names. Raises Missing."""
    found: dict[Path, None] = {}
    for name in names:
        matched = [name] if Path(name).exists() else sorted(glob.glob(name))  # noqa: PTH207 - absolute patterns too
        if not matched:
            raise Missing(f"there is no file {name}", Path(name), hint="name the dumps that were downloaded")
        found.update(dict.fromkeys(Path(each).absolute() for each in matched))
    return list(found)


def reading() -> Progress:
    """Shows how far files are read: ``completed`` in bytes, ``pages`` in pages."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[pages]} pages"),
    )  # fmt: skip
    return Progress(*columns, console=stderr, disable=not stderr.is_terminal)


def _fill(settings: Settings, store: Store, found: Sequence[Dumped]) -> tuple[dict[int, int], list[Tally]]:
    work = Bootstrap(store, settings.mirror)
    starts: dict[int, int] = {}

    async def begin() -> None:
        journal = await open_journal(settings.journal, create=False)
        try:
            starts.update(await work.begin(journal, found))
        finally:
            await journal.close()

    run_async(begin())
    tallies = []
    with reading() as progress:
        for one in found:
            task = progress.add_task(escape(one.path.name), total=one.path.stat().st_size, pages=0)
            tally = None
            for tally, place in work.fill(one):
                progress.update(task, completed=place, pages=tally.read)
            if tally is None:
                raise AssertionError("the last one is always told")
            tallies.append(tally)
    work.finish(starts)
    return starts, tallies


def _told(tallies: Sequence[Tally]) -> dict[str, Any]:
    """What came of all of them together."""
    told: dict[str, Any] = {"dumps": len(tallies)}
    for name in ("read", "taken", "diverged", "known", "left_alone"):
        told[name] = sum(getattr(tally, name) for tally in tallies)
    for name in ("set_aside", "namespaces"):
        told[name] = dict(sum((getattr(tally, name) for tally in tallies), Counter[str]()))
    return told
