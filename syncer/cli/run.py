"""``syncer run``, ``ingest`` and ``enrich``: the hub, whole or in parts."""

from __future__ import annotations

from typing import Annotated

import typer

from syncer.cli import app, needs, options, run_async

UntilIdle = Annotated[
    float | None, typer.Option(min=0.1, help="End when the feed is connected and for so many seconds there was nothing to do.")
]


@app.command()
def run(until_idle: UntilIdle = None) -> None:
    """Run the hub: read the feed, fetch what changed, publish mutations."""
    _run(until_idle, ingest=True, enrich=True)


@app.command()
def ingest(until_idle: UntilIdle = None) -> None:
    """Run the first stage alone: the feed into the journal."""
    _run(until_idle, ingest=True, enrich=False)


@app.command()
def enrich(until_idle: UntilIdle = None) -> None:
    """Run the second stage alone: what is in the journal into mutations."""
    _run(until_idle, ingest=False, enrich=True)


def _run(until_idle: float | None, *, ingest: bool, enrich: bool) -> None:
    try:
        from syncer import daemon  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise needs("hub", error) from error
    settings = options.settings()
    raise typer.Exit(run_async(daemon.run(settings, ingest=ingest, enrich=enrich, until_idle=until_idle)))
