"""``syncer set-aside``: what could not be handled, having it tried again, and having it looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer
from rich.markup import escape

from syncer.cli import app, options, print_columns, print_json, run_async, stderr, stdout
from syncer.clock import now_iso
from syncer.errors import Unusable
from syncer.extras import missing
from syncer.journal import Record, Topic, change_record, open_journal, partition_of
from syncer.records import SetAside, encode_set_aside, replayed
from syncer.set_asides import set_asides

if TYPE_CHECKING:
    from collections.abc import Collection

    from syncer.config import Settings
    from syncer.model import Change

set_aside = typer.Typer(no_args_is_help=True, help="What could not be handled: list, replay, close.", rich_markup_mode=None)
app.add_typer(set_aside, name="set-aside")

Reason = Annotated[str | None, typer.Option(help="Only those set aside for this reason.")]
Wiki = Annotated[str | None, typer.Option(help="Only those of this wiki id.")]

HEADER = ("key", "at", "wiki", "reason", "what", "detail")
ALIGNED = 1000  # rows of a list among each other, so that a long one is not held until its end
HAND = "hand"  # in the place of the change that closes an entry: a person has done it


@set_aside.command("list")
def list_(
    reason: Reason = None,
    wiki: Wiki = None,
    closed: Annotated[bool, typer.Option(help="Also what was handled since.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON line an entry.")] = False,
) -> None:
    """List what stands set aside, oldest first."""
    raise typer.Exit(run_async(_list(options.settings(log_level="warning"), reason, wiki, closed=closed, json=json)))


async def _list(settings: Settings, reason: str | None, wiki: str | None, *, closed: bool, json: bool) -> None:
    journal, count, rows = await open_journal(settings.journal, create=False), 0, [HEADER]
    try:
        async for entry in set_asides(journal, closed=closed):
            if not _is_of(entry, reason, wiki):
                continue
            count += 1
            if json:
                print_json({name: value for name, value in entry.items() if name != "entry"})
                continue
            what = ", ".join([*entry["titles"], *map(str, entry["rev_ids"] + entry["page_ids"])])
            rows.append((entry["key"], entry["at"], entry["wiki_id"] or "", entry["reason"], what, entry["detail"]))
            if len(rows) > ALIGNED:
                print_columns(rows)
                rows = []
    finally:
        await journal.close()
    if json:
        return
    print_columns(rows if count else ())
    stderr.print(f"{count} set aside")


@set_aside.command()
def replay(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys as listed; none: all of them.")] = None,
    reason: Reason = None,
    wiki: Wiki = None,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Have changes that were set aside tried again; what ends well is closed."""
    raise typer.Exit(run_async(_replay(options.settings(log_level="warning"), keys, reason, wiki, json=json)))


async def _replay(settings: Settings, keys: list[str] | None, reason: str | None, wiki: str | None, *, json: bool) -> int:
    journal = await open_journal(settings.journal, create=False)
    appended, left, unknown = 0, dict[str, str](), set(keys or ())
    try:
        async for entry in set_asides(journal):
            unknown.discard(entry["key"])
            if (keys and entry["key"] not in keys) or not _is_of(entry, reason, wiki):
                continue
            try:
                change = replace(replayed(_change(entry["entry"], settings), str(uuid4()), now_iso()), replay_of=entry["key"])
            except Unusable as error:
                left[entry["key"]] = str(error)
            else:
                await journal.append(change_record(change, journal.partitions))
                appended += 1
    finally:
        await journal.close()
    if json:
        print_json({"appended": appended, "not_replayable": left, "unknown": sorted(unknown)})
        return 1 if unknown else 0
    stdout.print(f"{appended} appended to be tried again")
    for key, why in left.items():
        stderr.print(f"[yellow]not replayed:[/] {escape(key)}: {escape(why)}")
    if left:
        stderr.print("[yellow]hint:[/] syncer set-aside close KEY... closes what you have looked at")
    return _complained(unknown)


def _is_of(entry: dict[str, Any], reason: str | None, wiki: str | None) -> bool:
    return reason in {None, entry["reason"]} and wiki in {None, entry["wiki_id"]}


def _complained(unknown: Collection[str]) -> int:
    """Say which keys nothing stands under. Returns the exit code."""
    for key in sorted(unknown):
        stderr.print(f"[red]error:[/] nothing stands set aside as {escape(key)}")
    return 1 if unknown else 0


def _change(entry: SetAside, settings: Settings) -> Change:
    """What is to be tried. Events that could not be read are for the hub's decoders to read again."""
    if entry.change:
        return entry.change
    try:
        from syncer.feed.again import again  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing("hub", error) from error
    return again(entry, settings)


@set_aside.command()
def close(
    keys: Annotated[list[str], typer.Argument(help="Keys as listed.")],
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Close what you have looked at: it is listed no longer, and counts as handled."""
    raise typer.Exit(run_async(_close(options.settings(log_level="warning"), keys, json=json)))


async def _close(settings: Settings, keys: list[str], *, json: bool) -> int:
    journal = await open_journal(settings.journal, create=False)
    closed, unknown = 0, set(keys)
    try:
        async for entry in set_asides(journal):
            if entry["key"] in keys:
                await journal.append(_closing(entry, journal.partitions))
                unknown.discard(entry["key"])
                closed += 1
    finally:
        await journal.close()
    if json:
        print_json({"closed": closed, "unknown": sorted(unknown)})
        return 1 if unknown else 0
    stdout.print(f"{closed} closed")
    return _complained(unknown)


def _closing(entry: dict[str, Any], partitions: int) -> Record:
    """What closes an entry, where it stands; what ingest set aside of a wiki, where the owner of the wiki reads it."""
    wiki_id, place = entry["wiki_id"], entry["partition"]
    if wiki_id is not None and place == partitions:
        place = partition_of(wiki_id, partitions)
    value = encode_set_aside(SetAside("closed", "", now_iso(), closed_by=HAND))
    return Record(Topic.SET_ASIDE, place, entry["key"], value, {"reason": "closed"} | ({"wiki": wiki_id} if wiki_id else {}))
