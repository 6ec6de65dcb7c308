"""``syncer redactions status``: which mirrors have honoured what was hidden or deleted, as far as they have said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from syncer.cli import app, options, print_columns, print_json, run_async, stderr
from syncer.journal import Topic, open_journal, partitions_of
from syncer.receipts import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncer.config import Settings
    from syncer.journal import Journal

redactions = typer.Typer(no_args_is_help=True, help="What was hidden or deleted, and who has erased it.", rich_markup_mode=None)
app.add_typer(redactions, name="redactions")

SHOWN = 20  # of what is open: --json tells all of it


@redactions.command()
def status(json: Annotated[bool, typer.Option("--json", help="The same as JSON, whole.")] = False) -> None:
    """Show by mirror what it has honoured and what it has not, and what somebody has not honoured yet."""
    raise typer.Exit(run_async(_status(options.settings(log_level="warning"), json=json)))


async def _status(settings: Settings, *, json: bool) -> None:
    journal = await open_journal(settings.journal, create=False)
    try:
        told = (await read_standing(journal)).summary()
    finally:
        await journal.close()
    if json:
        print_json(told)
        return
    print_columns(_mirrors(told["mirrors"]))
    if told["open"]:
        print_columns(_open(told["open"][-SHOWN:]))
    stderr.print(
        f"redactions: {told['redactions']}; not honoured by all mirrors that take them: {len(told['open'])};"
        f" mirrors that have said that they live: {len(told['mirrors'])}"
    )
    if told["unreadable"]:
        stderr.print(f"[yellow]warning:[/] {told['unreadable']} records are no receipts: see docs/wire.md")


async def read_standing(journal: Journal) -> Standing:
    """All receipts, up to the end as it is at the start."""
    standing = Standing()
    for partition in range(partitions_of(Topic.RECEIPTS, journal.partitions)):
        offset, end = await journal.bounds(Topic.RECEIPTS, partition)
        while offset < end and (records := await journal.read(Topic.RECEIPTS, partition, offset)):
            standing.take(record.value for record in records)
            offset = records[-1].offset + 1
    return standing


def _mirrors(mirrors: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    names = ("mirror", "name", "honoured", "open", "oldest_open", "last_receipt", "seen_at")
    rows = [tuple("-" if mirror[name] is None else str(mirror[name]) for name in names) for mirror in mirrors]
    return [("mirror", "name", "honoured", "open", "oldest open", "last receipt", "seen"), *rows] if rows else []


def _open(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("since", "wiki", "page", "kind", "revisions", "record", "not honoured by")]
    for entry in entries:
        revisions = ", ".join(map(str, entry["revisions"])) or "all"
        place = f"{entry['partition']}/{entry['offset']}"
        mirrors = ", ".join(entry["not_honoured_by"])
        rows.append((entry["since"], entry["wiki_id"], str(entry["page_id"]), entry["kind"], revisions, place, mirrors))
    return rows
