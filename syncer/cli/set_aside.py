"""``syncer set-aside``: what could not be handled, and having it tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from syncer.cli import app, options, print_columns, print_json, run_async, stderr, stdout
from syncer.clock import now_iso
from syncer.journal import change_record, open_journal
from syncer.records import replayed
from syncer.status import set_asides

if TYPE_CHECKING:
    from syncer.config import Settings

set_aside = typer.Typer(no_args_is_help=True, help="What could not be handled: list, replay.", rich_markup_mode=None)
app.add_typer(set_aside, name="set-aside")


@set_aside.command("list")
def list_(
    closed: Annotated[bool, typer.Option(help="Also what was handled since.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON line an entry.")] = False,
) -> None:
    """List what stands set aside, oldest first."""
    raise typer.Exit(run_async(_list(options.settings(log_level="warning"), closed=closed, json=json)))


async def _list(settings: Settings, *, closed: bool, json: bool) -> None:
    journal = await open_journal(settings.journal, create=False)
    try:
        entries = await set_asides(journal, closed=closed)
    finally:
        await journal.close()
    if json:
        for entry in entries:
            print_json({name: value for name, value in entry.items() if name != "change"})
        return
    rows = [("key", "at", "wiki", "reason", "what", "detail")]
    for entry in entries:
        what = ", ".join([*entry["titles"], *map(str, entry["rev_ids"])])
        rows.append((entry["key"], entry["at"], entry["wiki_id"] or "", entry["reason"], what, entry["detail"]))
    print_columns(rows if entries else ())
    stderr.print(f"{len(entries)} set aside")


@set_aside.command()
def replay(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys as listed; none: all of them.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only those set aside for this reason.")] = None,
    wiki: Annotated[str | None, typer.Option(help="Only those of this wiki id.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Have changes that were set aside tried again; what ends well is closed."""
    raise typer.Exit(run_async(_replay(options.settings(log_level="warning"), keys, reason, wiki, json=json)))


async def _replay(settings: Settings, keys: list[str] | None, reason: str | None, wiki: str | None, *, json: bool) -> int:
    journal = await open_journal(settings.journal, create=False)
    try:
        chosen = [
            entry
            for entry in await set_asides(journal)
            if (not keys or entry["key"] in keys) and reason in {None, entry["reason"]} and wiki in {None, entry["wiki_id"]}
        ]
        changes: list[Any] = [entry["change"] for entry in chosen if entry["change"]]
        for change in changes:
            await journal.append(change_record(replayed(change, str(uuid4()), now_iso()), journal.partitions))
    finally:
        await journal.close()
    if json:
        print_json({"appended": len(changes), "not_replayable": len(chosen) - len(changes)})
        return 0 if chosen or not keys else 1
    stdout.print(f"{len(changes)} appended to be tried again")
    if len(changes) < len(chosen):
        stderr.print(f"{len(chosen) - len(changes)} were no changes (events that could not be read) and cannot be replayed")
    return 0 if chosen or not keys else 1
