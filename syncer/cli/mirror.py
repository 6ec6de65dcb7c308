"""``syncer mirror``: a partner's copy. Works with the base installation alone, unless it is to ask the API."""

from __future__ import annotations

import asyncio
import math
import os
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.markup import escape
from rich.progress import track

from syncer import sqlite
from syncer.cli import app, finite, options, print_json, run_async, stderr, stdout, write
from syncer.errors import Missing
from syncer.extras import missing
from syncer.journal import open_journal
from syncer.mirror import Mirror
from syncer.mirror.reading import export as export_pages
from syncer.mirror.reading import page_line
from syncer.mirror.reading import verify as verify_pages
from syncer.model import MAX_ID
from syncer.store import Store
from syncer.systemd import notify, notifying
from syncer.tasks import stopping, unless, until_stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from syncer.config import Settings
    from syncer.journal import Journal
    from syncer.mirror import Healer
    from syncer.model import PageState

mirror = typer.Typer(no_args_is_help=True, help="A partner's mirror: follow, get, verify, export.", rich_markup_mode=None)
app.add_typer(mirror, name="mirror")
log = structlog.get_logger()

LOOK_EVERY = 0.5  # seconds between looks whether there is a journal

Wiki = Annotated[str | None, typer.Option(help="Only this wiki id.")]


@mirror.command()
def follow(
    until_idle: Annotated[
        float | None, typer.Option(min=0.1, callback=finite, help="End after this many seconds at the journal's end.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Say at the end, as JSON, what was done.")] = False,
) -> None:
    """Subscribe to the mutations and apply them, for ever or until idle."""
    raise typer.Exit(run_async(_follow(options.settings(), until_idle, json=json)))


async def _follow(settings: Settings, until_idle: float | None, *, json: bool) -> None:
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(stopping(stop, lambda: notify("STOPPING=1")))
        stack.enter_context(notifying())
        path = sqlite.expand(settings.mirror.path, "mirror.path")
        stack.callback(os.close, sqlite.lock(path.with_name(f"{path.name}.lock"), f"following with {path}"))
        journal = await _journal(settings, stop, until_idle)
        if journal is None:
            return
        stack.push_async_callback(journal.close)
        store = stack.enter_context(closing(Store(path)))
        heal = await stack.enter_async_context(_healer(settings))
        follower = Mirror(journal, store, settings.mirror, heal)
        await until_stopped(follower.run(stop, until_idle), stop)
        tally = follower.tally
        done = {
            "applied": dict(tally.applied), "left_alone": tally.left_alone, "diverged": dict(tally.diverged),
            "healed": follower.healing.healed, "pages_diverged": len(store.diverged()),
        }  # fmt: skip
        print_json(done) if json else log.info("the mirror stops", **done)


async def _journal(settings: Settings, stop: asyncio.Event, until_idle: float | None) -> Journal | None:
    """The journal, waited for where the hub has not made it yet; at most ``until_idle`` seconds. None when asked to stop."""
    patience = asyncio.get_running_loop().time() + (math.inf if until_idle is None else until_idle)
    waiting = False
    while not stop.is_set():
        try:
            return await open_journal(settings.journal, create=False)
        except Missing as error:
            if asyncio.get_running_loop().time() >= patience:
                raise
            if not waiting:
                log.warning("there is no journal yet: it is waited for", why=str(error), hint=error.hint)
            waiting = True
            await unless(stop, LOOK_EVERY)
    return None


@asynccontextmanager
async def _healer(settings: Settings) -> AsyncIterator[Healer | None]:
    """Whom to ask for texts that diverged, as ``mirror.heal`` says."""
    if settings.mirror.heal != "api":
        if settings.mirror.heal == "hub":
            log.info(
                "divergences are recorded only: healing from the hub is not built yet", hint='mirror.heal = "api" asks the wikis'
            )
        yield None
        return
    async with _api(settings) as api:

        async def heal(wiki_id: str, domain: str, rev_ids: Any) -> dict[int, bytes]:
            answer = await api.revisions(wiki_id, domain, rev_ids)
            found = (revision for page in answer.pages.values() for revision in page.revisions.values())
            return {revision.rev_id: revision.text for revision in found if revision.text is not None}

        yield heal


@asynccontextmanager
async def _api(settings: Settings) -> AsyncIterator[Any]:
    """The API client with a budget of the mirror's own."""
    try:
        from syncer.daemon import api_client  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing("hub", error) from error
    async with api_client(settings) as api:
        yield api


@contextmanager
def _reading(settings: Settings) -> Iterator[Store]:
    """The mirror as it is at one moment, whoever is following with it."""
    path = sqlite.existing(settings.mirror.path, "mirror.path", "syncer mirror follow")
    with closing(Store(path)) as store, store.reading():
        yield store


@mirror.command()
def get(
    wiki: Annotated[str, typer.Argument(help="The wiki id, as enwiki.")],
    page: Annotated[str, typer.Argument(help="A title as the API writes it, or a page id.")],
    json: Annotated[bool, typer.Option("--json", help="The page with its facts and attribution, not only the text.")] = False,
) -> None:
    """Print a page of the mirror."""
    with _reading(options.settings(log_level="warning")) as store:
        is_id = page.isdecimal() and int(page[:20]) <= MAX_ID
        state = store.page_at(wiki, page) or (store.page(wiki, int(page)) if is_id else None)
        if state is None or not state.live:
            stderr.print(f"[red]error:[/] the mirror has no page {escape(page)} of {escape(wiki)}")
            raise typer.Exit(1)
        line, text = page_line(store, wiki, state), store.text(wiki, state.page_id)
    if json:
        print_json({**line, "attribution": state.attribution})
    elif text is not None:
        write(text)
    else:
        stderr.print(f"[red]error:[/] the text of {escape(page)} is hidden or diverged")
        raise typer.Exit(1)


@mirror.command()
def export(
    wiki: Wiki = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines; that is the only form there is.")] = True,  # noqa: ARG001
) -> None:
    """Write a JSON line a page."""
    with _reading(options.settings(log_level="warning")) as store:
        for line in export_pages(store, wiki):
            print_json(line)


@mirror.command()
def verify(
    wiki: Wiki = None,
    against_api: Annotated[int, typer.Option(metavar="N", min=0, help="Compare N random pages with the wiki itself.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Hash every text again; exit 1 if one is not what was announced."""
    settings = options.settings(log_level="warning")
    with _reading(settings) as store:
        total = sum(1 for _ in store.pages(wiki))
        found = verify_pages(store, wiki)
        faults = [fault for fault in track(found, "verifying", total, console=stderr, disable=not stderr.is_terminal) if fault]
        compared = run_compare(settings, store, wiki, against_api) if against_api else {}
    if json:
        print_json({"pages": total, "faults": faults, "against_api": compared or None})
    else:
        for fault in faults:
            stdout.print(f"{fault.wiki_id}:{fault.page_id} {escape(str(fault.title))}: {fault.reason}")
        stdout.print(f"{total} pages, {len(faults)} not as announced")
        if compared:
            stdout.print("against the wiki: " + ", ".join(f"{count} {name}" for name, count in compared.items()))
    different = compared.get("different", 0) + compared.get("gone", 0) + compared.get("behind", 0)
    raise typer.Exit(1 if faults or different else 0)


def run_compare(settings: Settings, store: Store, wiki: str | None, sample: int) -> dict[str, int]:
    """Compare a sample with the wiki: equal, behind (an older revision), different (the same one with another text), gone."""
    from syncer.mirror.compare import choose, compare  # noqa: PLC0415 - an extra

    pages: list[tuple[str, PageState]] = choose(store, wiki, sample)
    result: dict[str, int] = {}

    async def ask() -> None:
        async with _api(settings) as api:
            result.update(await compare(store, api, pages))

    run_async(ask())
    return result
