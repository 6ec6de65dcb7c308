"""``syncer seed``: have the pages of dumps published that nobody was told of, because they have not changed.

A dump says which pages there are, no more: each is asked for like any other, so what was hidden or deleted since does not come
from a dump's text. What the hub has heard of is left to the feed.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NamedTuple
from uuid import uuid4

import typer
from rich.markup import escape

from syncer import dumps, sqlite
from syncer.cli import app, options, print_json, run_async, stderr, stdout
from syncer.cli.appending import A_REQUEST, Appending
from syncer.cli.bootstrap import files, reading
from syncer.clock import now_iso
from syncer.errors import Misconfigured
from syncer.extras import missing
from syncer.journal import open_journal
from syncer.mirror.bootstrap import origin
from syncer.model import MAX_ID, SEED, Cause, Change, Source
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncer.config import Settings, WikiSettings
    from syncer.dumps import Page

TOLD_EVERY = 100  # pages


class Wiki(NamedTuple):
    """A wiki that dumps are of."""

    wiki_id: str
    domain: str


@dataclass(slots=True)
class Tally:
    """What came of the pages that were ``read``, each of them one of these."""

    read: int = 0
    appended: int = 0
    known: int = 0
    left_alone: int = 0
    bad_id: int = 0


@app.command()
def seed(
    dump: Annotated[
        list[str], typer.Argument(help="Dumps of current revisions: .xml, or that as .bz2, .gz, .xz, .7z; or globs.")
    ],
    json: Annotated[bool, typer.Option("--json", help="What came of the pages, as JSON.")] = False,
) -> None:
    """Have the hub publish every page of dumps that it does not know yet; run it again where it was stopped."""
    settings, tally = options.settings(log_level="warning"), Tally()
    try:
        run_async(_seed(settings, files(dump), tally))
    except BaseException:  # Ctrl-C, a journal that is away: what is appended stays so
        if tally.appended:
            stderr.print(f"{tally.appended} pages were appended before that; run again, it goes on from there")
        raise
    if json:
        print_json(asdict(tally))
        return
    stdout.print(f"{tally.appended} of {tally.read} pages appended to be read, {ceil(tally.appended / A_REQUEST)} requests")
    for name, told in (
        ("known", "were known"),
        ("left_alone", "are in namespaces that are not wanted"),
        ("bad_id", "have no page id that could be one"),
    ):
        if count := getattr(tally, name):
            stdout.print(f"  {count} {told}")


async def _seed(settings: Settings, paths: Sequence[Path], tally: Tally) -> None:
    wikis = {path: Wiki(*origin(path)) for path in paths}
    journal = await open_journal(settings.journal, create=False)
    try:
        path = sqlite.existing(settings.store.path, "store.path", "syncer run")
        with closing(Store(path, settings.store.max_bytes)) as store, reading() as progress:
            _check(settings.wiki, wikis, store.wikis())
            appending = Appending(journal, settings.enrich.unfinished_limit)
            for path, wiki in wikis.items():
                task = progress.add_task(escape(path.name), total=path.stat().st_size, pages=0)
                for current in dumps.current(path):
                    if change := _judge(settings.wiki, store, wiki, current.page, tally):
                        await appending.append(change)
                        tally.appended += 1
                    tally.read += 1
                    if not tally.read % TOLD_EVERY:
                        progress.update(task, completed=current.at, pages=tally.read)
                        await asyncio.sleep(0)  # so that Ctrl-C is heard where nothing is to be appended
    finally:
        await journal.close()


def _check(settings: WikiSettings, wikis: Mapping[Path, Wiki], known: Mapping[str, str]) -> None:
    """Raise Misconfigured where the hub would not read what is asked for."""
    try:
        from syncer.feed.scope import Scope  # noqa: PLC0415 - the package around it is an extra's
    except ImportError as error:
        raise missing("hub", error) from error
    scope = Scope(settings)
    for path, wiki in wikis.items():
        if not scope.wanted(wiki.domain, wiki.wiki_id):
            raise Misconfigured(f"{path} is of {wiki.wiki_id}, which the hub does not read", hint="add it to wiki.include")
        if not scope.allowed(wiki.domain):
            raise Misconfigured(f"{path} is of {wiki.domain}, which may not be asked", hint="add it to wiki.domains")
        if known.get(wiki.wiki_id, wiki.domain) != wiki.domain:
            raise Misconfigured(f"{path} says that {wiki.wiki_id} is at {wiki.domain}: it is at {known[wiki.wiki_id]}")
        if wiki.wiki_id not in known and (other := next((one for one, at in known.items() if at == wiki.domain), None)):
            raise Misconfigured(f"{path} says that {wiki.wiki_id} is at {wiki.domain}: that is {other}")


def _judge(settings: WikiSettings, store: Store, wiki: Wiki, page: Page, tally: Tally) -> Change | None:
    """What to append for a page, if that is to be published; else it is counted why not."""
    if not 0 < page.page_id <= MAX_ID:
        tally.bad_id += 1
    elif "*" not in settings.namespaces and page.namespace not in settings.namespaces:
        tally.left_alone += 1
    elif store.page(wiki.wiki_id, page.page_id):
        tally.known += 1
    else:
        now = now_iso()
        source = Source(SEED, str(uuid4()), now, now)
        return Change(wiki_id=wiki.wiki_id, domain=wiki.domain, cause=Cause.RECONCILE, source=source, page_ids=(page.page_id,))
    return None
