"""``syncer journal read TOPIC``: committed records as JSON lines, up to the end as it was at the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from syncer.cli import app, options, print_json, run_async
from syncer.journal import Topic, open_journal, partitions_of

if TYPE_CHECKING:
    from syncer.config import Settings

journal = typer.Typer(no_args_is_help=True, help="Look into the journal.", rich_markup_mode=None)
app.add_typer(journal, name="journal")


@journal.command()
def read(
    topic: Annotated[Topic, typer.Argument(help="Which records.")],
    wiki: Annotated[str | None, typer.Option(help="Only those whose header names this wiki id.")] = None,
    salt: Annotated[
        bool, typer.Option("--salt", help="Also what goes into a mutation's hash, as a header of that name.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines; that is the only form there is.")] = True,  # noqa: ARG001
) -> None:
    """Write a JSON line a record: partition, offset, key, headers, value."""
    raise typer.Exit(run_async(_read(options.settings(log_level="warning"), topic, wiki, salt=salt)))


async def _read(settings: Settings, topic: Topic, wiki: str | None, *, salt: bool) -> None:
    source = await open_journal(settings.journal, create=False)
    try:
        bounds = [await source.bounds(topic, partition) for partition in range(partitions_of(topic, source.partitions))]
        for partition, (start, end) in enumerate(bounds):
            offset = start
            while offset < end:
                records = await source.read(topic, partition, offset)
                for record in records:
                    if record.offset >= end or (wiki is not None and record.headers.get("wiki") != wiki):
                        continue
                    print_json(
                        {
                            "partition": partition,
                            "offset": record.offset,
                            "key": record.key,
                            "headers": dict(record.headers) | ({"salt": record.salt} if salt and record.salt else {}),
                            "value": orjson.Fragment(record.value or b"null"),
                        }
                    )
                offset = records[-1].offset + 1 if records else end
    finally:
        await source.close()
