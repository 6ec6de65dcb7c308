"""``syncer check-config``: one line a check, with a hint where it fails or leaves a doubt. Makes nothing."""

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
from syncer.cli import UNAVAILABLE, app, options, print_json, stdout
from syncer.cli.status import ask_hub
from syncer.errors import FeedUnavailable, Misconfigured, Missing, Retry, SyncerError
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
    """Check the settings and what they name, and make nothing; exit 78 if something will not work, 75 if it is only away."""
    settings = options.settings(log_level="warning")
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("contact and API", _api),
        ("feed", partial(_feed, online=online)),
        ("journal", _journal),
        ("store", _store),
        ("ops", _ops),
    ]
    codes = []
    for name, check in checks:
        hint, code = None, 0
        try:
            told, shown = check(settings), "[green]ok  [/]"
        except _Doubt as doubt:
            told, hint, shown = str(doubt), doubt.hint, "[yellow]warn[/]"
        except SyncerError as error:
            told, hint, shown = str(error), error.hint, "[red]FAIL[/]"
            code = UNAVAILABLE if isinstance(error, Retry) else Misconfigured.exit_code
        codes.append(code)
        if json:
            print_json({"check": name, "ok": not code, "told": told, "hint": hint})
            continue
        stdout.print(f"{shown} {name}: {escape(told)}".replace("\n", "\n     "))
        if hint:
            stdout.print(f"     hint: {escape(hint)}")
    raise typer.Exit(max(codes))  # what will not work at all says more than what is away


class _Doubt(SyncerError):
    """It works, and not as it should."""


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
    except aiohttp.ClientConnectorCertificateError as error:
        raise Misconfigured(
            f"{settings.feed.url} is not who it should be: {error}", hint="SSL_CERT_FILE names the authorities that are trusted"
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise FeedUnavailable(
            f"{settings.feed.url} cannot be reached: {str(error) or 'no answer'}",
            hint="without a network, see it at work with: make demo",
        ) from error


def _journal(settings: Settings) -> str:
    async def look() -> str:
        try:
            journal = await open_journal(settings.journal, create=False, pages=settings.publish.pages)
        except Missing as missing:
            sqlite.creatable(missing.path)
            return f"{missing.path} will be made, with {settings.journal.partitions} partitions"
        try:
            doubts = await journal.doubts()
        finally:
            await journal.close()
        where = sqlite.spelled_out(settings.journal.url)
        told = f"{where}, {journal.partitions} partitions, identity {journal.identity}"
        if doubts:
            raise _Doubt("\n".join([told, *doubts]), hint="syncer topics plan shows all of it, syncer topics apply sets it")
        return told

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
        identity = str(orjson.loads(ask_hub(settings, "/status"))["journal"])
        return identity in _journal(settings)
    except _Doubt as doubt:
        return identity in str(doubt)
    except (OSError, ValueError, LookupError, TypeError, SyncerError):
        return False


@contextmanager
def _hub() -> Iterator[None]:
    """Say what to install, where a check is of something that the base installation has not."""
    try:
        yield
    except ImportError as error:
        raise missing("hub", error) from error
