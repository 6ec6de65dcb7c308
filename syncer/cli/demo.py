"""``syncer demo``: a generated wiki farm, mirrored before your eyes. No network, no server, no root.

The farm is served on loopback as an EventStreams endpoint and an Action API. The hub and the mirror are the ordinary ones,
started as processes of their own, as an operator and a partner would; at the end the mirror is compared with the farm.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from syncer.cli import app, finite, options, print_json, run_async, stderr, stdout
from syncer.clock import now_iso
from syncer.errors import Misconfigured
from syncer.extras import missing
from syncer.journal import open_journal
from syncer.mirror.reading import export
from syncer.status import read_status
from syncer.store import Store

if TYPE_CHECKING:
    from syncer.config import Settings
    from syncer.demo.actions import Steps
    from syncer.demo.farm import Farm
    from syncer.demo.report import Comparison, Published
    from syncer.demo.server import Upstream

PER_MINUTE = 180  # the budget of a real hub without an account
LATENCY = 0.15  # seconds an answer takes
CUT_AFTER = 6.0  # seconds; 900 in production, scaled to the length of the demo
IDLE = 3.0  # seconds without anything to do before the hub of the demo ends
PATIENCE = 120.0  # seconds for the hub to finish what is left


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how fast, and of what."""

    seconds: float
    rate: float
    seed: int
    history: Path | None


@app.command()
def demo(
    *,
    seconds: Annotated[float, typer.Option(min=1, max=86400, callback=finite, help="How long the wikis are busy.")] = 20.0,
    rate: Annotated[
        float, typer.Option(min=0.1, max=1000, callback=finite, help="Actions a second; all of Wikimedia sees about 25.")
    ] = 15.0,
    seed: Annotated[int, typer.Option(help="Another seed, another farm.")] = 1,
    history: Annotated[
        Path | None, typer.Option(help="Replay these page histories instead: .jsonl or a MediaWiki .xml export.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep journal, store and mirror in this folder, a new one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Mirror a generated wiki farm and compare; exit 1 if a page differs."""
    options.settings(log_level="warning")
    plan = Plan(seconds, rate, seed, history)
    with tempfile.TemporaryDirectory(prefix="syncer-demo-") as folder:
        raise typer.Exit(run_async(_demo(plan, _new(keep.absolute()) if keep else Path(folder), json=json)))


def _new(folder: Path) -> Path:
    """Make the folder. What another demo has left in it would be taken for this one's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise Misconfigured(f"--keep: {folder} cannot be used: {error.strerror}", hint="choose another folder") from error
    if used:
        raise Misconfigured(f"--keep: there is something in {folder} already", hint="choose another folder, or empty this one")
    return folder


async def _demo(plan: Plan, folder: Path, *, json: bool) -> int:
    try:
        from syncer.demo import report  # noqa: PLC0415 - an extra
        from syncer.demo.farm import Farm  # noqa: PLC0415
        from syncer.demo.faults import Faults  # noqa: PLC0415
        from syncer.demo.server import serve  # noqa: PLC0415
    except ImportError as error:
        raise missing("hub", error) from error
    farm = Farm(pages=0 if plan.history else 400, seed=plan.seed)
    farm.faults = Faults(
        latency=LATENCY, cut_after=CUT_AFTER, cut="midevent", canary_every=1.0, duplicate=0.02, reorder=0.02,
        mishaps={"maxlag": 0.01, "server_error": 0.01, "throttled": 0.003},
    )  # fmt: skip
    began = time.monotonic()
    async with serve(farm) as upstream:
        settings = _settings(folder, upstream)
        await _perform(plan, farm, upstream, settings)
        elapsed = time.monotonic() - began
        requests = upstream.api.requests
    journal = await open_journal(settings.journal)
    try:
        status, published = await read_status(journal), await report.read_published(journal)
    finally:
        await journal.close()
    store = Store(folder / "mirror.db")
    try:
        compared = report.compare(farm, export(store))
    finally:
        store.close()
    count, size = report.asked(requests)
    result = {
        "changes": status["appended"], "outcomes": status["outcomes"], "queued": status["queued"], "seconds": round(elapsed, 1),
        "requests": {"made": count, "bytes": size, "one_a_change": status["appended"],
                     "crawler": report.crawl(farm, elapsed)},
        "mutations": dict(published.counts), "mutation_bytes": dict(published.bytes),
        "delay": {"median": round(published.delay(0.5), 2), "p99": round(published.delay(0.99), 2)},
        "pages": compared.pages, "different": len(compared.differences), "differences": compared.differences[:20],
    }  # fmt: skip
    if json:
        print_json(result)
    else:
        _show(result, published, compared)
    return 1 if compared.differences or not compared.pages or not status["balanced"] else 0


def _settings(folder: Path, upstream: Upstream) -> Settings:
    """An operator's settings, but for the addresses."""
    from syncer import config  # noqa: PLC0415 - beside its use

    domains = sorted(
        {wiki.site.domain for wiki in upstream.farm.wikis.values()} | {"wikipedia.org", "wiktionary.org", "wikimedia.org"}
    )
    return config.load(
        flags={
            "contact": "demo@example.org",
            "feed.url": upstream.feed_url,
            "feed.since": now_iso(),
            "feed.rewind": 2.0,
            "api.url": upstream.api_url,
            "api.requests_per_minute": PER_MINUTE,
            "wiki.domains": domains,
            "wiki.include": ["*"],
            "wiki.exclude": ["wikidatawiki"],
            "wiki.namespaces": ["*"],
            "journal.url": f"sqlite:///{folder / 'journal.db'}",
            "store.path": str(folder / "store.db"),
            "mirror.path": str(folder / "mirror.db"),
            "mirror.heal": "off",
            "ops.listen": "127.0.0.1:0",
        },
        environ={},
    )


async def _perform(plan: Plan, farm: Farm, upstream: Upstream, settings: Settings) -> None:
    """Keep the wikis busy while the hub and the mirror follow; end when both have nothing more to do."""
    from syncer.demo.actions import Workload, drive  # noqa: PLC0415
    from syncer.demo.history import Replay  # noqa: PLC0415

    steps: Steps = Replay(farm, plan.history) if plan.history else Workload(farm, seed=plan.seed, weights=_weights())
    done = 0

    def told(_: object) -> None:
        nonlocal done
        done += 1

    async with AsyncExitStack() as stack:
        hub = await _start(stack, settings, "run", "--until-idle", str(IDLE))
        mirror = await _start(stack, settings, "mirror", "follow")
        live = stack.enter_context(Live(console=stderr, transient=True, refresh_per_second=4)) if stderr.is_terminal else None
        busy = asyncio.ensure_future(drive(steps, rate=plan.rate, count=round(plan.seconds * plan.rate), told=told))
        deadline = time.monotonic() + plan.seconds + PATIENCE
        while hub.returncode is None and time.monotonic() < deadline:
            await asyncio.sleep(0.25)
            if live:
                live.update(_progress(done, busy.done(), upstream))
            if busy.done():
                busy.result()
        if hub.returncode is None:
            hub.terminate()
        code = await hub.wait()
        await _caught_up(settings, mirror)
        if code:
            stderr.print(f"[red]error:[/] the hub ended with exit code {code}:")
            stderr.print(escape(await asyncio.to_thread((Path(settings.mirror.path).with_name("run.log")).read_text)))


def _weights() -> dict[str, float]:
    """The farm's mix of actions with three times the edits, nearer to what real wikis see, and texts hidden for sure."""
    from syncer.demo.actions import WEIGHTS  # noqa: PLC0415
    from syncer.demo.texts import SHAPES  # noqa: PLC0415

    return {action: weight * (3 if action in SHAPES or action == "hide" else 1) for action, weight in WEIGHTS.items()}


async def _start(stack: AsyncExitStack, settings: Settings, *verb: str) -> asyncio.subprocess.Process:
    """Start an ordinary ``syncer`` with these settings in its environment, and end it with the demo. Its log goes to a file."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCER_")}
    for section, values in settings.model_dump(mode="json", exclude={"api": {"token"}}, exclude_defaults=True).items():
        for name, value in values.items() if isinstance(values, dict) else ((None, values),):
            key = f"SYNCER_{section}__{name}".upper() if name else f"SYNCER_{section}".upper()
            environment[key] = orjson.dumps(value).decode() if isinstance(value, list) else str(value)
    log = stack.enter_context(Path(settings.mirror.path).with_name(f"{verb[0]}.log").open("a"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "syncer",
        "--log-json",
        *verb,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=log,
    )

    async def end() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    return process


async def _caught_up(settings: Settings, mirror: asyncio.subprocess.Process) -> None:
    """Let the mirror reach the journal's end: it is ended, and one more follow applies what is left."""
    mirror.terminate()
    await mirror.wait()
    async with AsyncExitStack() as stack:
        last = await _start(stack, settings, "mirror", "follow", "--until-idle", "0.5")
        await last.wait()


def _progress(done: int, over: bool, upstream: Upstream) -> Table:  # noqa: FBT001
    table = Table(box=None, show_header=False)
    table.add_row("the wikis", f"{done:,} actions" + (", quiet now" if over else ""))
    table.add_row("the hub", f"{len(upstream.api.requests):,} requests to the API")
    return table


def _show(result: dict[str, Any], published: Published, compared: Comparison) -> None:
    if published.example:
        stdout.print("One mutation, as a partner receives it:", style="bold")
        stdout.print_json(orjson.dumps(published.example).decode(), indent=2)
    table = Table(box=None, show_header=False, pad_edge=False)
    outcomes, requests = result["outcomes"], result["requests"]
    rows = [("changes", f"{result['changes']:,} in {result['seconds']} s")]
    rows += [(f"  {name}", f"{count:,}") for name, count in outcomes.items() if isinstance(count, int)]
    rows += [
        (f"  {name}: {why}", f"{n:,}") for name, group in outcomes.items() if isinstance(group, dict) for why, n in group.items()
    ]
    rows += [("requests to the wikis", f"{requests['made']:,}, {requests['bytes']:,} bytes of answers")]
    rows += [("  one a change would be", f"{requests['one_a_change']:,}")]
    rows += [("  a crawler, every page once a minute", f"{requests['crawler']:,}")]
    for kind, count in result["mutations"].items():
        rows.append((f"{kind} mutations", f"{count:,}, {result['mutation_bytes'][kind] // count:,} bytes each"))
    if result["mutations"].get("patch"):
        rows.append(("  whole texts instead of patches", f"{published.texts // result['mutations']['patch']:,} bytes each"))
    rows += [("delay, median and 99 of 100", f"{result['delay']['median']} s, {result['delay']['p99']} s")]
    rows += [("pages compared", f"{compared.pages:,}"), ("pages different", f"{len(compared.differences):,}")]
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    stdout.print(table)
    for difference in compared.differences[:20]:
        stdout.print(f"[red]different:[/] {escape(difference)}")
