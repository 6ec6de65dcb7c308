"""``syncer check-config``: one line a check, with a hint where it fails. Makes nothing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.markup import escape

from syncer import sqlite
from syncer.cli import app, options, print_json, stdout
from syncer.cli.status import ask_hub
from syncer.errors import Misconfigured, Missing, SyncerError
from syncer.extras import missing
from syncer.journal import open_journal
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncer.config import Settings

PATIENCE = 10.0  # seconds


@app.command("check-config")
def check_config(
    online: Annotated[bool, typer.Option("--online", help="Also look whether the feed can be reached.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON line a check.")] = False,
) -> None:
    """Check the settings and what they name, and make nothing; exit 78 if something will not work."""
    settings = options.settings(log_level="warning")
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("contact and API", _api),
        ("feed", partial(_feed, online=online)),
        ("journal", _journal),
        ("store", _store),
        ("ops", _ops),
    ]
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
    with _hub():
        from syncer.fetch import check, user_agent  # noqa: PLC0415 - an extra
    check(settings)
    return f"{settings.api.requests_per_minute} requests a minute as {user_agent(settings.contact)!r}"


def _feed(settings: Settings, *, online: bool) -> str:
    with _hub():
        from syncer.feed import Feed  # noqa: PLC0415 - an extra
        from syncer.fetch import check_feed  # noqa: PLC0415
    check_feed(settings)
    Feed(settings.feed, "check")
    if online:
        _reach(settings)
    return f"{', '.join(settings.feed.streams)} of {settings.feed.url}{', which answers' if online else ''}"


def _reach(settings: Settings) -> None:
    """Ask the feed as the hub would, and go away again as soon as it answers."""
    import aiohttp  # noqa: PLC0415 - an extra

    from syncer.feed.answers import refusal  # noqa: PLC0415
    from syncer.fetch import user_agent  # noqa: PLC0415
    from syncer.proxy import through  # noqa: PLC0415

    url = settings.feed.url.rstrip("/") + "/" + ",".join(settings.feed.streams)
    headers = {"User-Agent": user_agent(settings.contact), "Accept": "text/event-stream"}

    async def ask() -> None:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.get(url, headers=headers, allow_redirects=False, **through(url)) as response,
        ):
            if response.status != HTTPStatus.OK or response.content_type != "text/event-stream":
                raise refusal(response, worked=False)

    try:
        asyncio.run(ask())
    except (aiohttp.ClientError, OSError) as error:
        raise Misconfigured(
            f"{settings.feed.url} cannot be reached: {str(error) or 'no answer'}",
            hint="without a network, see it at work with: make demo",
        ) from error


def _journal(settings: Settings) -> str:
    async def look() -> str:
        try:
            journal = await open_journal(settings.journal, create=False)
        except Missing as missing:
            sqlite.creatable(missing.path)
            return f"{missing.path} will be made, with {settings.journal.partitions} partitions"
        await journal.close()
        where = sqlite.spelled_out(settings.journal.url)
        return f"{where}, {journal.partitions} partitions, identity {journal.identity}"

    return asyncio.run(look())


def _store(settings: Settings) -> str:
    try:
        path = sqlite.existing(settings.store.path, "store.path", "syncer run")
    except Missing as missing:
        sqlite.creatable(missing.path)
        return f"{missing.path} will be made"
    Store(path, settings.store.max_bytes).close()
    return str(path)


def _ops(settings: Settings) -> str:
    host, port = settings.ops.address
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return settings.ops.url
    except (OSError, ValueError) as error:  # a ValueError: no name of a host at all
        if _ours(settings):
            return f"{settings.ops.url}, where the hub of this journal runs"
        raise Misconfigured(
            f"ops.listen = {settings.ops.listen} cannot be served: {error}", hint="choose a free port, or stop what has it"
        ) from error


def _ours(settings: Settings) -> bool:
    """Whether the hub of this journal answers there."""
    try:
        return str(orjson.loads(ask_hub(settings, "/status"))["journal"]) in _journal(settings)
    except (OSError, ValueError, LookupError, TypeError, SyncerError):
        return False


@contextmanager
def _hub() -> Iterator[None]:
    """Say what to install, where a check is of something that the base installation has not."""
    try:
        yield
    except ImportError as error:
        raise missing("hub", error) from error
