"""``syncer mirror``: a partner's copy. Works with the base installation alone, unless it is to ask the API."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from syncer import sqlite
from syncer.cli import app, options, print_json, stderr, write
from syncer.extras import missing
from syncer.mirror.reading import export as export_pages
from syncer.mirror.reading import page_line
from syncer.model import MAX_ID
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from syncer.config import Settings

mirror = typer.Typer(no_args_is_help=True, help="A partner's mirror: follow, get, verify, export.", rich_markup_mode=None)
app.add_typer(mirror, name="mirror")
Wiki = Annotated[str | None, typer.Option(help="Only this wiki id.")]


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[Any]:
    """The API client with a budget of the mirror's own."""
    try:
        from syncer.daemon import api_client  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing("hub", error) from error
    async with api_client(settings) as wikis:
        yield wikis


@contextmanager
def reading(settings: Settings) -> Iterator[Store]:
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
    with reading(options.settings(log_level="warning")) as store:
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
    with reading(options.settings(log_level="warning")) as store:
        for line in export_pages(store, wiki):
            print_json(line)
