"""``syncer mirror follow``: keep the mirror current, for ever or until idle, and let it be watched."""

from __future__ import annotations

import asyncio
import math
import os
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from syncer import sqlite
from syncer.cli import finite, options, print_json, run_async
from syncer.cli.mirror import api, mirror
from syncer.config import OpsSettings
from syncer.errors import Misconfigured, Missing, Retry
from syncer.extras import missing
from syncer.journal import open_journal
from syncer.mirror import Mirror
from syncer.store import Store
from syncer.systemd import notify, notifying
from syncer.tasks import stopping, unless, until_stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from syncer.config import Settings
    from syncer.journal import Journal
    from syncer.mirror import Healer

log = structlog.get_logger()

LOOK_EVERY = 0.5  # seconds between looks whether there is a journal


@mirror.command()
def follow(
    until_idle: Annotated[
        float | None, typer.Option(min=0.1, callback=finite, help="End after this many seconds at the journal's end.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Say at the end, as JSON, what was done.")] = False,
) -> None:
    """Subscribe to the mutations and apply them, for ever or until idle."""
    raise typer.Exit(run_async(_follow(options.settings(), until_idle, json=json)))


@dataclass(slots=True)
class _Watched:
    """What the mirror can say of itself before it follows, and then."""

    follower: Mirror | None = None

    async def status(self) -> dict[str, Any]:
        if self.follower is None:
            return {"state": "waits for the journal"}
        return {"state": "follows"} | await self.follower.status()

    def unready(self) -> list[str]:
        return self.follower.unready() if self.follower else ["the mirror waits for the journal"]


async def _follow(settings: Settings, until_idle: float | None, *, json: bool) -> None:
    stop, watched = asyncio.Event(), _Watched()
    async with AsyncExitStack() as stack:
        stack.enter_context(stopping(stop, lambda: notify("STOPPING=1")))
        stack.enter_context(notifying())
        path = sqlite.expand(settings.mirror.path, "mirror.path")
        stack.callback(os.close, sqlite.lock(path.with_name(f"{path.name}.lock"), f"following with {path}"))
        await stack.enter_async_context(_window(settings, watched))
        journal = await _journal(settings, stop, until_idle)
        if journal is None:
            return
        stack.push_async_callback(journal.close)
        store = stack.enter_context(closing(Store(path)))
        heal = await stack.enter_async_context(_healer(settings))
        watched.follower = follower = Mirror(journal, store, settings.mirror, heal)
        log.info("the mirror follows", journal=settings.journal.url, mirror=str(path), heal=settings.mirror.heal)
        await until_stopped(follower.run(stop, until_idle), stop)
        watched.follower, done = None, await follower.done()
        print_json(done) if json else log.info("the mirror stops", **done)


@asynccontextmanager
async def _window(settings: Settings, watched: _Watched) -> AsyncIterator[None]:
    """Serve health and metrics, if that can be: a mirror is not kept from its work by having no page."""
    async with AsyncExitStack() as stack:
        try:
            from syncer import ops  # noqa: PLC0415 - an extra

            window = OpsSettings(listen=settings.mirror.listen)
            address = await stack.enter_async_context(ops.serving(window, watched.status, watched.unready, "mirror"))
            log.info("the mirror can be watched", ops=address)
        except ImportError as error:
            log.info("nobody can watch the mirror, it serves no page", why=str(error), hint=missing("hub", error).hint)
        except Misconfigured as error:
            hint = "another mirror on this machine may have it: give this one a mirror.listen of its own"
            log.warning("nobody can watch the mirror, it serves no page", why=str(error), hint=hint)
        yield


async def _journal(settings: Settings, stop: asyncio.Event, until_idle: float | None) -> Journal | None:
    """The journal, waited for where there is none yet, or it cannot be reached; at most ``until_idle`` seconds. None when asked
    to stop.
    """
    patience = asyncio.get_running_loop().time() + (math.inf if until_idle is None else until_idle)
    waiting = False
    while not stop.is_set():
        try:
            return await open_journal(settings.journal, create=False)
        except (Missing, Retry) as error:
            if asyncio.get_running_loop().time() >= patience:
                raise
            if not waiting:
                log.warning("there is no journal yet that can be read: it is waited for", why=str(error), hint=error.hint)
            waiting = True
            await unless(stop, LOOK_EVERY)
    return None


@asynccontextmanager
async def _healer(settings: Settings) -> AsyncIterator[Healer | None]:
    """Whom to ask for texts that diverged, as ``mirror.heal`` says."""
    if settings.mirror.heal != "api":
        yield None
        return
    async with api(settings) as wikis:

        async def heal(wiki_id: str, domain: str, rev_ids: Any) -> dict[int, bytes]:
            answer = await wikis.revisions(wiki_id, domain, rev_ids)
            found = (revision for page in answer.pages.values() for revision in page.revisions.values())
            return {revision.rev_id: revision.text for revision in found if revision.text is not None}

        yield heal
