"""``syncer check-config``: one line a check, with a hint where it fails."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from syncer import sqlite
from syncer.cli import app, needs, options, print_json, stdout
from syncer.errors import Misconfigured, SyncerError
from syncer.journal import open_journal
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.config import Settings

PATIENCE = 10.0  # seconds


@app.command("check-config")
def check_config(
    online: Annotated[bool, typer.Option("--online", help="Also look whether the feed can be reached.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON line a check.")] = False,
) -> None:
    """Check the settings and what they name; exit 78 if something will not work."""
    settings = options.settings(log_level="warning")
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("contact and API", _api),
        ("feed", _feed),
        ("journal", _journal),
        ("store", _store),
        ("ops", _ops),
    ]
    if online:
        checks.append(("feed reachable", _reachable))
    failed = False
    for name, check in checks:
        try:
            told, hint, good = check(settings), None, True
        except SyncerError as error:
            told, hint, good = str(error), error.hint, False
        failed = failed or not good
        if json:
            print_json({"check": name, "ok": good, "told": told, "hint": hint})
            continue
        stdout.print(f"{'[green]ok  [/]' if good else '[red]FAIL[/]'} {name}: {escape(told)}")
        if hint:
            stdout.print(f"     hint: {escape(hint)}")
    raise typer.Exit(Misconfigured.exit_code if failed else 0)


def _api(settings: Settings) -> str:
    try:
        from syncer.fetch import check, user_agent  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise needs("hub", error) from error
    check(settings, feed=True)
    return f"{settings.api.requests_per_minute} requests a minute as {user_agent(settings.contact)!r}"


def _feed(settings: Settings) -> str:
    try:
        from syncer.feed import Feed  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise needs("hub", error) from error
    Feed(settings.feed, "check")
    return f"{', '.join(settings.feed.streams)} of {settings.feed.url}"


def _journal(settings: Settings) -> str:
    async def look() -> str:
        journal = await open_journal(settings.journal)
        await journal.close()
        return f"{settings.journal.url}, {journal.partitions} partitions, identity {journal.identity}"

    return asyncio.run(look())


def _store(settings: Settings) -> str:
    path = sqlite.expand(settings.store.path)
    Store(path, settings.store.max_bytes).close()
    return str(path)


def _ops(settings: Settings) -> str:
    host, port = settings.ops.address
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return settings.ops.url
    except OSError as error:
        raise Misconfigured(
            f"ops.listen = {settings.ops.listen} cannot be served: {error}", hint="a hub that runs already, or a port in use"
        ) from error


def _reachable(settings: Settings) -> str:
    url = urlsplit(settings.feed.url)
    port = url.port or (443 if url.scheme == "https" else 80)

    async def connect() -> None:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(url.hostname, port)
            writer.close()

    try:
        asyncio.run(connect())
    except (OSError, TimeoutError) as error:
        raise Misconfigured(
            f"{url.hostname}:{port} cannot be reached: {error or 'no answer'}",
            hint="without a network, see it at work with: make demo",
        ) from error
    return f"{url.hostname}:{port} answers"
