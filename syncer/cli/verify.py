"""``syncer mirror verify``: whether the mirror has what was announced, by itself, by the journal, and by the wikis."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress, track

from syncer import sqlite
from syncer.cli import options, print_json, run_async, stderr, stdout
from syncer.cli.manifests import as_json, check_manifests, show
from syncer.cli.mirror import Wiki, api, mirror, reading
from syncer.errors import Misconfigured
from syncer.journal import open_journal
from syncer.mirror import against_hub as hub
from syncer.mirror.bootstrap import check_bootstrapped
from syncer.mirror.reading import verify as verify_pages
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.config import Settings
    from syncer.mirror.reading import Fault
    from syncer.model import PageState


def sample(value: str | None) -> int | None:
    """How many pages of the journal to compare: a number, all (0), or none (None). More than 10^9 no journal has."""
    if value is None or value == "all":
        return None if value is None else 0
    if not value.isdecimal() or not 0 < int(value[:20]) <= 10**9:
        raise typer.BadParameter(f"{value!r} is neither a number of pages nor all")
    return int(value)


@mirror.command()
def verify(
    wiki: Wiki = None,
    *,
    against_hub: Annotated[
        str | None, typer.Option(metavar="N|all", help="Compare N random pages, or all, with what the journal states of them.")
    ] = None,
    against_api: Annotated[int, typer.Option(metavar="N", min=0, help="Compare N random pages with the wiki itself.")] = 0,
    manifest: Annotated[bool, typer.Option("--manifest", help="Compare the journal with what the hub has signed of it.")] = False,
    heal: Annotated[bool, typer.Option("--heal", help="Have what is wrong here healed, as mirror.heal says.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Hash every text again; exit 1 if one is not what was announced."""
    settings, most = options.settings(log_level="warning"), sample(against_hub)
    if heal and settings.mirror.heal == "off":
        raise Misconfigured("mirror.heal is off: nothing would be healed", hint='set it to "hub" or "api"')
    signed = check_manifests(settings, wiki) if manifest else None
    with reading(settings) as store:
        total = sum(1 for _ in store.pages(wiki))
        found = verify_pages(store, wiki)
        faults = [fault for fault in track(found, "verifying", total, console=stderr, disable=not stderr.is_terminal) if fault]
        asked = run_compare(settings, store, wiki, against_api) if against_api else {}
    compared = hub.Compared()
    if most is not None:
        run_async(_compare(settings, wiki, most or None, compared))
    healing = _heal(settings, faults, compared.wrong) if heal else 0
    if json:
        wrong = [
            {"wiki_id": one.page[0], "page_id": one.page[1], "title": one.stated.title, "reason": one.reason}
            for one in compared.wrong
        ]
        told = {"pages": total, "faults": faults, "against_api": asked or None, "against_hub": dict(compared.counts) or None}
        print_json(told | {"wrong": wrong, "to_be_healed": healing, "manifests": as_json(signed) if signed else None})
    else:
        _tell(total, faults, compared, asked)
        if signed:
            show(signed)
        if heal:
            stdout.print(f"{healing} pages to be healed while the mirror follows")
    different = asked.get("different", 0) + asked.get("gone", 0) + asked.get("behind", 0)
    raise typer.Exit(1 if faults or compared.wrong or different or (signed and signed.faults) else 0)


def _tell(total: int, faults: Sequence[Fault], compared: hub.Compared, asked: dict[str, int]) -> None:
    for fault in faults:
        stdout.print(f"{fault.wiki_id}:{fault.page_id} {escape(str(fault.title))}: {fault.reason}")
    for wrong in compared.wrong:
        stdout.print(f"{wrong.page[0]}:{wrong.page[1]} {escape(wrong.stated.title)}: {wrong.reason}, as the journal states it")
    stdout.print(f"{total} pages, {len(faults)} not as announced")
    for what, counts in (("journal", compared.counts), ("wiki", asked)):
        if counts:
            stdout.print(f"against the {what}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


async def _compare(settings: Settings, wiki: str | None, most: int | None, found: hub.Compared) -> None:
    journal = await open_journal(settings.journal, create=False)
    scope = settings.mirror if wiki is None else settings.mirror.model_copy(update={"wikis": (wiki,)})
    path = sqlite.existing(settings.mirror.path, "mirror.path", "syncer mirror follow")
    try:
        with closing(Store(path)) as store, Progress(console=stderr, disable=not stderr.is_terminal) as progress:
            store.bind(journal.identity)
            check_bootstrapped(store)
            bar = progress.add_task("reading the journal", total=None)
            compared = await hub.compare(journal, store, scope, most, lambda read: progress.advance(bar, read))
        found.counts, found.wrong = compared.counts, compared.wrong
    finally:
        await journal.close()


def _heal(settings: Settings, faults: Sequence[Fault], wrong: Sequence[hub.Wrong]) -> int:
    """Note, in the mirror, what is to be healed. Returns how many pages that are."""
    path = sqlite.existing(settings.mirror.path, "mirror.path", "syncer mirror follow")
    doubted = {one.page for one in wrong}
    own = [fault for fault in faults if (fault.wiki_id, fault.page_id) not in doubted]
    noted: set[Any] = set()

    async def note() -> None:
        journal = await open_journal(settings.journal, create=False) if wrong else None
        try:
            with closing(Store(path)) as store:
                for fault in own:
                    if hub.suspect(store, fault):
                        noted.add((fault.wiki_id, fault.page_id))
                for one in wrong:
                    if journal and await hub.doubt(journal, store, settings.mirror, one):
                        noted.add(one.page)
        finally:
            if journal:
                await journal.close()

    run_async(note())
    return len(noted)


def run_compare(settings: Settings, store: Store, wiki: str | None, sample: int) -> dict[str, int]:
    """Compare a sample with the wiki: equal, behind (an older revision), different (the same one with another text), gone."""
    from syncer.mirror.compare import choose, compare  # noqa: PLC0415 - an extra

    pages: list[tuple[str, PageState]] = choose(store, wiki, sample)
    result: dict[str, int] = {}

    async def ask() -> None:
        async with api(settings) as wikis:
            result.update(await compare(store, wikis, pages))

    run_async(ask())
    return result
