"""``syncer repair WIKI PAGE...``: have pages read again and published whole."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from syncer import sqlite
from syncer.cli import app, options, print_json, run_async, stdout
from syncer.clock import now_iso
from syncer.errors import Misconfigured
from syncer.journal import change_record, open_journal
from syncer.model import MAX_ID, Cause, Change, Source
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.config import Settings


@app.command()
def repair(
    wiki: Annotated[str, typer.Argument(help="The wiki id, as enwiki, or its domain.")],
    pages: Annotated[list[str], typer.Argument(help="Titles as the API writes them, or page ids.")],
    domain: Annotated[str | None, typer.Option(help="The wiki's domain, where the hub has not met the wiki yet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Append a change for each page: the hub asks the wiki again and publishes the page whole, whether it changed or not."""
    settings = options.settings(log_level="warning")
    changes = run_async(_repair(settings, wiki, domain, pages))
    print_json({"appended": changes}) if json else stdout.print(f"{changes} appended to be read again")


async def _repair(settings: Settings, wiki: str, domain: str | None, pages: Sequence[str]) -> int:
    journal = await open_journal(settings.journal, create=False)
    try:
        path = sqlite.existing(settings.store.path, "store.path", "syncer run")
        with closing(Store(path, settings.store.max_bytes)) as store:
            wiki_id, domain = _known(store, wiki, domain)
            changes = [_change(store, wiki_id, domain, page) for page in pages]
        for change in changes:
            await journal.append(change_record(change, journal.partitions))
    finally:
        await journal.close()
    return len(changes)


def _known(store: Store, wiki: str, said: str | None) -> tuple[str, str]:
    """The wiki's id and domain, from the hub's store; as they are said only of a wiki that it does not know."""
    for wiki_id, domain in store.wikis().items():
        if wiki in {wiki_id, domain} and said in {None, domain}:
            return wiki_id, domain
        if wiki == wiki_id or said == domain:
            raise Misconfigured(f"{wiki_id} is at {domain}", hint=f"syncer repair {wiki_id} PAGE...")
    if said:
        return wiki, said
    raise Misconfigured(f"the hub has published nothing of {wiki} yet", hint=f"syncer repair {wiki} PAGE... --domain DOMAIN")


def _change(store: Store, wiki_id: str, domain: str, page: str) -> Change:
    """Digits are a page id, unless there is a page of that title."""
    now, title = now_iso(), page.replace("_", " ")
    by_id = page.isdecimal() and store.page_at(wiki_id, title) is None
    if by_id and not 0 < int(page[:20]) <= MAX_ID:
        raise typer.BadParameter(f"{page[:40]} is no page id")
    return Change(
        wiki_id=wiki_id,
        domain=domain,
        cause=Cause.REPAIR,
        source=Source("repair", str(uuid4()), now, now),
        titles=() if by_id else (title,),
        page_ids=(int(page),) if by_id else (),
    )
