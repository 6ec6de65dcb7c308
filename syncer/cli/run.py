"""``syncer run``, ``ingest`` and ``enrich``: the hub, whole or in parts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from syncer.cli import app, finite, options, run_async
from syncer.extras import missing
from syncer.journal import Shard

MOST_SHARDS = 64

UntilIdle = Annotated[
    float | None,
    typer.Option(
        min=0.1, callback=finite, help="End when the feed is connected and for so many seconds there was nothing to do."
    ),
]


Standby = Annotated[bool, typer.Option("--standby", help="Wait until the one that is at work dies, then take over.")]


def _shard(text: str) -> str:
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= MOST_SHARDS):
        raise typer.BadParameter(f"{text!r} is no shard: the second of four is 2/4, and there are {MOST_SHARDS} at most")
    return text


@app.command()
def run(until_idle: UntilIdle = None, standby: Standby = False) -> None:
    """Run the hub: read the feed, fetch what changed, publish mutations."""
    _run(until_idle, standby=standby)


@app.command()
def ingest(until_idle: UntilIdle = None, standby: Standby = False) -> None:
    """Run the first stage alone: the feed into the journal."""
    _run(until_idle, enrich=False, standby=standby)


@app.command()
def enrich(
    until_idle: UntilIdle = None,
    standby: Standby = False,
    shard: Annotated[
        str,
        typer.Option(
            metavar="K/N", callback=_shard, help="Which of how many processes this is, each with its share of the wikis."
        ),
    ] = "1/1",
) -> None:
    """Run the second stage alone: what is in the journal into mutations."""
    number, _, of = shard.partition("/")
    _run(until_idle, ingest=False, standby=standby, shard=Shard(int(number), int(of)))


def _run(until_idle: float | None, **part: Any) -> None:
    try:
        from syncer import daemon  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing("hub", error) from error
    settings = options.settings()
    raise typer.Exit(run_async(daemon.run(settings, daemon.Part(**part), until_idle=until_idle)))
