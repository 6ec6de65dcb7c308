"""``syncer manifests key``, and what ``syncer mirror verify --manifest`` does."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress

from syncer import sqlite
from syncer.cli import app, options, print_columns, print_json, run_async, stderr, stdout
from syncer.errors import Misconfigured, ResumeLost
from syncer.journal import open_journal
from syncer.mirror.bootstrap import check_bootstrapped
from syncer.mirror.manifests import Checked, Task, check
from syncer.signing import signer
from syncer.store import Store

if TYPE_CHECKING:
    from syncer.config import Settings

manifests = typer.Typer(no_args_is_help=True, help="What is said, and signed, of every hour.", rich_markup_mode=None)
app.add_typer(manifests, name="manifests")

FOLLOW = "syncer mirror follow"


@manifests.command()
def key(
    json: Annotated[bool, typer.Option("--json", help="The key as hex and as PEM.")] = False,
) -> None:
    """Print the public key of the hub here, for partners to pin; never the other one."""
    settings = options.settings(log_level="warning")
    found = signer(sqlite.existing(settings.manifests.key_file, "manifests.key_file", "syncer run"))
    print_json({"public_key": found.public, "pem": found.public_pem}) if json else stdout.print(found.public)


def check_manifests(settings: Settings, wiki: str | None) -> Checked:
    """Check the manifests of one wiki, or of all that the mirror takes."""
    found: list[Checked] = []

    async def work() -> None:
        found.append(await _check(settings, wiki))

    run_async(work())
    return found[0]


async def _check(settings: Settings, wiki: str | None) -> Checked:
    if not settings.mirror.public_keys:
        raise Misconfigured(
            "mirror.public_keys names no key: whose manifests are to be believed?",
            hint="the hub's operator gives it, as syncer manifests key prints it",
        )
    journal = await open_journal(settings.journal, create=False)
    try:
        path = sqlite.existing(settings.mirror.path, "mirror.path", FOLLOW)
        with closing(Store(path)) as store, Progress(console=stderr, disable=not stderr.is_terminal) as progress:
            check_journal(store, journal.identity)
            bar = progress.add_task("reading the journal", total=None)
            wikis = settings.mirror.wikis if wiki is None else (wiki,)
            task = Task(journal, settings.mirror.public_keys, wikis, lambda read: progress.advance(bar, read))
            return await check(task, store)
    finally:
        await journal.close()


def check_journal(store: Store, identity: str) -> None:
    """Raise ResumeLost where a mirror is not of this journal, Misconfigured where it has not all that it begins with."""
    check_bootstrapped(store)
    if (known := store.meta("journal")) != identity:
        hint = "correct journal.url or mirror.path"
        raise ResumeLost(f"the mirror belongs to journal {known}, this is journal {identity}", hint=hint)


def as_json(found: Checked) -> dict[str, Any]:
    """What was found, whole."""
    faults = [fault._asdict() for fault in found.faults]
    return {"manifests": found.manifests, "records": found.records, "untold": found.untold, "faults": faults}


def show(found: Checked) -> None:
    """What was found, for people."""
    if found.faults:
        print_columns([(fault.wiki_id, fault.hour or "-", fault.fault, fault.detail) for fault in found.faults])
    counts = ", ".join(f"{count} {name}" for name, count in found.manifests.items())
    stdout.print(f"manifests: {escape(counts)}; {found.records} records, {found.untold} of them not told of yet")
