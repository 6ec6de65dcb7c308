"""``syncer status`` and ``syncer health``."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from syncer.cli import app, options, print_json, run_async, stderr, stdout
from syncer.journal import open_journal
from syncer.status import read_status

if TYPE_CHECKING:
    from syncer.config import Settings

PATIENCE = 5.0  # seconds a hub on the same machine is waited for


@app.command()
def status(json: Annotated[bool, typer.Option("--json", help="The whole of it as JSON.")] = False) -> None:
    """Say what was done with every change, what is queued, and how far behind; from the journal, and the hub if it runs."""
    settings = options.settings(log_level="warning")
    raise typer.Exit(run_async(_status(settings, json=json)))


async def _status(settings: Settings, *, json: bool) -> int:
    journal = await open_journal(settings.journal, create=False)
    try:
        told = await read_status(journal)
    finally:
        await journal.close()
    told["hub"] = _asked(settings)
    if json:
        print_json(told)
    else:
        _show(told)
    return 0 if told["balanced"] else 1


def _asked(settings: Settings) -> dict[str, Any] | None:
    """What the running hub adds: connection, delays, budget. None where none answers."""
    try:
        live: dict[str, Any] = orjson.loads(_get(settings, "/status"))
    except (OSError, ValueError):
        return None
    return {name: live[name] for name in ("live", "budget") if name in live}


def _show(told: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    rows: list[tuple[str, Any]] = [("changes", told["appended"]), ("  queued", told["queued"])]
    for outcome, count in told["outcomes"].items():
        parts = count if isinstance(count, dict) else {"": count}
        rows += [(f"  {outcome} {reason}".rstrip(), number) for reason, number in parts.items()]
    rows += [(f"mutations {kind}", number) for kind, number in told["mutations"].items()]
    rows += [("open set-asides", sum(told["open_set_asides"].values())), ("newest event", told["feed"]["newest_event"])]
    rows += [("hub", "running" if told["hub"] else "not running")]
    for name, value in rows:
        table.add_row(escape(name), escape(f"{value:,}" if isinstance(value, int) else str(value)))
    stdout.print(table)
    if not told["balanced"]:
        stderr.print("[red]error:[/] the counts do not add up: a change was lost or counted twice")


@app.command()
def health() -> None:
    """Ask the running hub whether it does its work; exit 1 if not, or if there is none."""
    settings = options.settings(log_level="warning")
    try:
        _get(settings, "/readyz")
    except urllib.error.HTTPError as error:
        stderr.print(f"[red]not ready:[/] {escape(error.read().decode(errors='replace').strip())}")
        raise typer.Exit(1) from None
    except OSError as error:
        stderr.print(f"[red]no hub answers at {escape(settings.ops.url)}:[/] {escape(str(error))}")
        raise typer.Exit(1) from None
    stdout.print("ready")


def _get(settings: Settings, path: str) -> bytes:
    """What the hub says at its own address; nothing of the proxies that the environment may name."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(settings.ops.url + path, timeout=PATIENCE) as answer:
        said: bytes = answer.read()
    return said
