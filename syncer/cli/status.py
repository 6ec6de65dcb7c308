"""``syncer status`` and ``syncer health``."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.markup import escape

from syncer.cli import app, options, print_columns, print_json, run_async, stderr, stdout
from syncer.journal import open_journal
from syncer.status import read_status

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        live = orjson.loads(ask_hub(settings, "/status"))
    except (OSError, ValueError):
        return None
    return {name: live[name] for name in ("state", "live", "budget") if name in live} if isinstance(live, dict) else None


def _show(told: dict[str, Any]) -> None:
    rows = (*_done(told), *_known(told["feed"], told["reconcile"]), *_running(told["hub"]))
    print_columns([(name, f"{value:,}" if isinstance(value, int) else value) for name, value in rows])
    if not told["balanced"]:
        stderr.print("[red]error:[/] the counts do not add up: a change was lost or counted twice")


def _done(told: dict[str, Any]) -> Iterator[tuple[str, int | str]]:
    """What became of the changes."""
    yield "changes", told["appended"]
    yield "  queued", told["queued"]
    if told["queued_since"]:
        yield "  the oldest of them since", told["queued_since"]
    for outcome, count in told["outcomes"].items():
        yield from _by_reason(f"  {outcome}", count) if isinstance(count, dict) else [(f"  {outcome}", count)]
    yield "open set-asides", sum(told["open_set_asides"].values())
    yield from _by_reason("mutations", told["mutations"])
    if hour := told["manifests"]["last_hour"]:
        yield "last manifests, of the hour from", hour


def _known(feed: dict[str, Any], reconcile: dict[str, Any]) -> Iterator[tuple[str, int | str]]:
    """What became of the feed's other events, and how far it is."""
    for outcome in ("skipped", "set_aside"):
        yield from _by_reason(f"events {outcome}", feed[outcome])
    for start, end in feed["gaps"]:
        filled = reconcile["filled"].get(f"{start} to {end}")
        known = "" if filled is None or not reconcile["wikis"] else f", filled for {filled} of {reconcile['wikis']} wikis"
        yield "known gap", f"{start or 'everything before'} {'to ' * bool(start)}{end}{known}"
    if reconcile["rescoping"]:
        yield "wikis not as they are wanted", f"{reconcile['rescoping']} of {reconcile['wikis']}"
    yield from _by_reason("found by reconciling", reconcile["found"])
    newest = feed["newest_event"]
    age = newest and (datetime.now(UTC) - datetime.fromisoformat(newest)).total_seconds()
    yield "newest event", f"{newest}, {age:,.1f} s ago" if newest else "none yet"


def _running(hub: dict[str, Any] | None) -> Iterator[tuple[str, int | str]]:
    """What only a hub that runs can tell."""
    state = (hub or {}).get("state", "runs")
    yield "hub", ("running" if state == "runs" else state) if hub else "not running"
    live, budget = (hub or {}).get("live", {}), (hub or {}).get("budget")
    if feed := live.get("feed"):
        yield "  feed", "connected" if feed["connected"] else "not connected"
        if feed["quiet"]:
            yield "  topics gone quiet", ", ".join(feed["quiet"])
    if (delay := live.get("delay")) and delay["changes"]:
        yield "  delay, median and 99 of 100", f"{delay['median_seconds']} s, {delay['p99_seconds']} s"
    if budget:
        yield "  requests in the last minute", f"{budget['requests_last_minute']} of {budget['requests_per_minute']}"
    for wiki_id, where in live.get("enrich", {}).get("filling", {}).items():
        yield f"  filling a gap: {wiki_id}", where
    if out := live.get("enrich", {}).get("wikis_out"):
        yield "  wikis that do not answer", ", ".join(out)


def _by_reason(name: str, counts: dict[str, int]) -> list[tuple[str, int]]:
    return [(f"{name}: {reason}", count) for reason, count in sorted(counts.items())]


@app.command()
def health(json: Annotated[bool, typer.Option("--json", help="The answer as JSON.")] = False) -> None:
    """Ask the running hub whether it does its work; exit 1 if not, or if there is none."""
    settings = options.settings(log_level="warning")
    reasons: list[str] = []
    try:
        ask_hub(settings, "/readyz")
    except urllib.error.HTTPError as error:
        reasons = error.read().decode(errors="replace").splitlines()
    except OSError as error:
        reasons = [f"no hub answers at {settings.ops.url}: {error}"]
    if json:
        print_json({"ready": not reasons, "reasons": reasons})
    elif not reasons:
        stdout.print("ready")
    for reason in () if json else reasons:
        stderr.print(f"[red]not ready:[/] {escape(reason)}")
    raise typer.Exit(1 if reasons else 0)


def ask_hub(settings: Settings, path: str) -> bytes:
    """What the hub says at its own address; nothing of the proxies that the environment may name. Raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(settings.ops.url + path, timeout=PATIENCE) as answer:
            said: bytes = answer.read()
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise ConnectionError(str(error.reason)) from error
    except (HTTPException, ValueError) as error:  # whatever listens there is no hub, or there is no such place
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    return said
