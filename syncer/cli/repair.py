"""``syncer repair``: have pages read again and published whole: some, those of a file, or all that are known of a wiki."""

from __future__ import annotations

import shutil
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Annotated, NamedTuple
from uuid import uuid4

import typer
from rich.progress import Progress

from syncer import sqlite
from syncer.cli import app, options, print_json, run_async, stderr, stdout
from syncer.cli.appending import A_REQUEST, Appending
from syncer.clock import now_iso
from syncer.errors import Misconfigured
from syncer.journal import open_journal
from syncer.model import MAX_ID, REPAIR, Cause, Change, Source
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from syncer.config import Settings

READ_AT_ONCE = 1_000  # pages of the store: no long reading is in the way of whoever erases something
IN_MEMORY = 1 << 20  # bytes of standard input
NO_TITLE = frozenset("#<>[]{}|\x7f\ufffd").union(map(chr, range(32)))  # what no page's title has
LONGEST = 512  # bytes of a title, its namespace included; MediaWiki's own bound is 255 without it
FLAWS_SAID = 20


class Wiki(NamedTuple):
    """A wiki that pages are of."""

    wiki_id: str
    domain: str


class Asked(NamedTuple):
    """What was asked for: pages by name, or a file of them (``-`` is standard input); neither: all that are known after one."""

    wiki: str
    domain: str | None
    pages: Sequence[str]
    file: Path | None
    after: int


@dataclass(slots=True)
class Tally:
    """How many there are, how many are appended, and the last of them."""

    pages: int = 0
    appended: int = 0
    last: Change | None = None

    def told(self) -> str:
        """What to say where it was stopped."""
        end = f", the last of them page {self.last.page_ids[0]}" if self.last and self.last.page_ids else ""
        return f"{self.appended} of {self.pages} were appended before that{end}"


@app.command()
def repair(
    pages: Annotated[
        list[str] | None, typer.Argument(metavar="[WIKI] [PAGES]...", help="Titles as the API writes them, or page ids.")
    ] = None,
    *,
    wiki: Annotated[str | None, typer.Option(help="The wiki id, as enwiki, or its domain, if it is not said first.")] = None,
    domain: Annotated[str | None, typer.Option(help="The wiki's domain, where the hub has not met the wiki yet.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with a page a line; - is standard input.", allow_dash=True)] = None,
    all_known: Annotated[bool, typer.Option("--all-known", help="Every page that the hub has of the wiki.")] = False,
    after: Annotated[int, typer.Option(min=0, max=MAX_ID, help="Of all known pages those with a greater page id.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Append a change for each page: the hub asks the wiki again and publishes the page whole, whether it changed or not."""
    settings = options.settings(log_level="warning")
    asked = _asked(wiki, domain, pages or [], file, all_known=all_known, after=after)
    tally = Tally()
    try:
        with _lines(asked.file) as lines:
            run_async(_repair(settings, asked, lines, tally))
    except BaseException:  # Ctrl-C, a journal that is away: what is appended stays so
        if tally.pages:
            stderr.print(tally.told())
        raise
    print_json({"appended": tally.appended}) if json else stdout.print(f"{tally.appended} appended to be read again")


def _asked(wiki: str | None, domain: str | None, pages: list[str], file: Path | None, *, all_known: bool, after: int) -> Asked:
    """Which pages of which wiki are meant."""
    if wiki is None:
        if not pages:
            raise typer.BadParameter("say of which wiki: WIKI PAGES..., or --wiki")
        wiki, pages = pages[0], pages[1:]
    if (bool(pages), file is not None, all_known).count(True) != 1:
        raise typer.BadParameter("say which pages: PAGES..., --file, or --all-known, one of these")
    if after and not all_known:
        raise typer.BadParameter("--after goes with --all-known")
    return Asked(wiki, domain, pages, file, after)


async def _repair(settings: Settings, asked: Asked, lines: IO[bytes] | None, tally: Tally) -> None:
    journal = await open_journal(settings.journal, create=False)
    try:
        path = sqlite.existing(settings.store.path, "store.path", "syncer run")
        with closing(Store(path, settings.store.max_bytes)) as store:
            wiki = _known(store, asked.wiki, asked.domain)
            if asked.pages:
                tally.pages = _checked(store, wiki, ((f"{page[:40]!a}", page) for page in asked.pages))
                changes: Iterator[Change] = map(partial(_change, store, wiki), asked.pages)
            elif lines:
                tally.pages = _checked(store, wiki, ((f"line {number}", page) for number, page in _pages(lines)))
                changes = (_change(store, wiki, page) for _, page in _pages(lines) if isinstance(page, str))
            else:
                tally.pages, changes = store.seen.alive(wiki.wiki_id, asked.after), _all(store, wiki, asked.after)
            if not asked.pages:
                _announce(tally.pages, settings.api.requests_per_minute)
            with Progress(console=stderr, disable=not stderr.is_terminal or bool(asked.pages)) as progress:
                task = progress.add_task("appending", total=tally.pages)
                appending = Appending(journal, settings.enrich.unfinished_limit)
                for change in changes:
                    await appending.append(change)
                    tally.appended, tally.last = tally.appended + 1, change
                    progress.update(task, completed=tally.appended)
    finally:
        await journal.close()


def _announce(pages: int, per_minute: int) -> None:
    """Say what it takes."""
    requests = ceil(pages / A_REQUEST)
    hours, minutes = divmod(ceil(requests / per_minute), 60)
    spell = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    stderr.print(
        f"{pages} pages: at least {requests} requests, {A_REQUEST} pages each; "
        f"{spell} at api.requests_per_minute = {per_minute}, if nothing else is to be asked"
    )


def _known(store: Store, wiki: str, said: str | None) -> Wiki:
    """The wiki's id and domain, from the hub's store; as they are said only of a wiki that it does not know."""
    for wiki_id, domain in store.wikis().items():
        if wiki in {wiki_id, domain} and said in {None, domain}:
            return Wiki(wiki_id, domain)
        if wiki == wiki_id or said == domain:
            raise Misconfigured(f"{wiki_id} is at {domain}", hint=f"syncer repair {wiki_id} PAGE...")
    if said:
        return Wiki(wiki, said)
    raise Misconfigured(f"the hub has published nothing of {wiki} yet", hint=f"syncer repair {wiki} PAGE... --domain DOMAIN")


@contextmanager
def _lines(file: Path | None) -> Iterator[IO[bytes] | None]:
    """A file, so that it can be read twice."""
    if file is None:
        yield None
        return
    with SpooledTemporaryFile(IN_MEMORY) as copy:
        if str(file) == "-":
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            try:
                with file.open("rb") as source:
                    shutil.copyfileobj(source, copy)
            except OSError as error:
                raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
        yield copy


def _pages(lines: IO[bytes]) -> Iterator[tuple[int, str | UnicodeDecodeError]]:
    """The pages of a file, each with the number of its line."""
    lines.seek(0)
    for number, line in enumerate(lines, 1):
        try:
            page = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            yield number, error
        else:
            if page:
                yield number, page


def _checked(store: Store, wiki: Wiki, pages: Iterable[tuple[str, str | UnicodeDecodeError]]) -> int:
    """How many pages these are, of which each is told with where it stands. Raises BadParameter where some are none."""
    count, flaws = 0, list[str]()
    for place, page in pages:
        count += 1
        if len(flaws) <= FLAWS_SAID and (flaw := _flaw(store, wiki, page)):
            flaws.append(f"{place} {flaw}")
    if flaws:
        more = "; and more" if len(flaws) > FLAWS_SAID else ""
        raise typer.BadParameter(f"nothing was appended: {'; '.join(flaws[:FLAWS_SAID])}{more}")
    return count


def _flaw(store: Store, wiki: Wiki, page: str | UnicodeDecodeError) -> str | None:
    """Why a word can name no page, if that is so."""
    if not isinstance(page, str):
        return "is not UTF-8"
    if _is_id(store, wiki, page):
        return None if 0 < int(page[:20]) <= MAX_ID else "is no page id"
    if found := sorted(NO_TITLE.intersection(page)):
        return f"has {found[0]!a}, which no title has"
    if len(page.encode()) > LONGEST:
        return "is longer than any title"
    return None if page.strip(" _") else "is empty"


def _is_id(store: Store, wiki: Wiki, page: str) -> bool:
    """Digits are a page id, unless there is a page of that title."""
    return page.isdecimal() and page.isascii() and store.page_at(wiki.wiki_id, page) is None


def _change(store: Store, wiki: Wiki, page: str) -> Change:
    if _is_id(store, wiki, page):
        return _to_read(wiki, page_ids=(int(page),))
    return _to_read(wiki, titles=(page.replace("_", " "),))


def _all(store: Store, wiki: Wiki, last: int) -> Iterator[Change]:
    """Every page that the store has after that one."""
    while rows := store.seen.after(wiki.wiki_id, last, READ_AT_ONCE):
        yield from (_to_read(wiki, page_ids=(page_id,)) for page_id, _, live in rows if live)
        last = rows[-1][0]


def _to_read(wiki: Wiki, *, titles: tuple[str, ...] = (), page_ids: tuple[int, ...] = ()) -> Change:
    now = now_iso()
    source = Source(REPAIR, str(uuid4()), now, now)
    return Change(wiki_id=wiki.wiki_id, domain=wiki.domain, cause=Cause.REPAIR, source=source, titles=titles, page_ids=page_ids)
