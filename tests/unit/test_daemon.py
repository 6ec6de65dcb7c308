"""The hub put together: how it ends, what it says of itself, what it tells the service manager."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from syncer import daemon, systemd, tasks
from syncer.config import Settings
from syncer.daemon import Hub, Meter, Part, api_client
from syncer.errors import Misconfigured, Superseded
from syncer.outcome import Aside, Merged, Publish, Skip, SkipReason
from syncer.progress import Counts
from syncer.tasks import stopping, together, unless, until_stopped
from syncer.telemetry import REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    from syncer.outcome import Outcome


# -- living and falling together -----------------------------------------------------------------------------------------


async def test_all_run_to_their_ends() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(number / 100)
        done.append(number)

    await together(work(2), work(1), work(0))
    assert done == [0, 1, 2]


async def test_the_first_error_ends_all_and_is_the_error() -> None:
    ended: list[str] = []

    async def last() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append("cleaned up")

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise Superseded("another one")

    with pytest.raises(Superseded, match="another one"):
        await together(last(), fail())
    assert ended == ["cleaned up"]


async def test_to_cancel_is_to_cancel_all() -> None:
    ended: list[int] = []

    async def last(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    task = asyncio.ensure_future(together(last(1), last(2)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [1, 2]


async def test_a_sleep_ends_with_its_event_or_its_time() -> None:
    event = asyncio.Event()
    before = time.monotonic()
    await unless(event, 0.05)
    assert time.monotonic() - before >= 0.05
    event.set()
    await unless(event, 60)
    assert time.monotonic() - before < 5


# -- the end -------------------------------------------------------------------------------------------------------------


async def test_work_that_ends_by_itself_sets_stop() -> None:
    stop = asyncio.Event()
    await until_stopped(asyncio.sleep(0.01), stop)
    assert stop.is_set()


async def test_work_is_given_time_to_drain() -> None:
    stop, drained = asyncio.Event(), []

    async def work() -> None:
        await stop.wait()
        await asyncio.sleep(0.05)
        drained.append(True)

    running = asyncio.ensure_future(until_stopped(work(), stop))
    await asyncio.sleep(0.01)
    stop.set()
    await running
    assert drained


async def test_but_no_more_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "DEADLINE", 0.05)
    stop, cancelled = asyncio.Event(), []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    stop.set()
    async with asyncio.timeout(5):
        await until_stopped(stubborn(), stop)
    assert cancelled


async def test_an_error_is_the_end_even_before_stop_and_after() -> None:
    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise Superseded("another one")

    for stop_first in (False, True):
        stop = asyncio.Event()
        if stop_first:
            stop.set()
        with pytest.raises(Superseded):
            await until_stopped(fail(), stop)


def test_the_deadline_is_shorter_than_that_of_service_managers() -> None:
    assert tasks.DEADLINE == 25


async def test_the_first_signal_asks_for_the_end_even_if_telling_fails() -> None:
    stop = asyncio.Event()
    told: list[bool] = []

    def tell() -> None:
        told.append(stop.is_set())

    with stopping(stop, tell):
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await stop.wait()
    assert told == [True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


# -- what a hub says of itself -------------------------------------------------------------------------------------------


class Stage(SimpleNamespace):
    """Ingest or enrich, as far as a hub asks it."""

    connected: bool = True
    since: float = 0.0
    idle: bool = True
    working: bool = True
    wikis_out: frozenset[str] = frozenset()

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()

    def status(self) -> dict[str, object]:
        return {"connected": self.connected, "idle": self.idle}

    def idle_for(self) -> float:
        return self.since


def hub(**parts: Any) -> Hub:
    return Hub(Settings(), Part(), state="runs", **parts)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "LOOK_EVERY", 0.01)


async def test_a_hub_is_ready_when_its_feed_was_connected_just_now_and_enrich_is_at_work(
    soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "RECONNECTING", 0.3)
    feed, enrich, stop = Stage(connected=False), Stage(working=False), asyncio.Event()
    it = hub(ingest=feed, enrich=enrich)
    assert it.stages == ["ingest", "enrich"]
    running = asyncio.ensure_future(together(*it.work(stop)))
    await asyncio.sleep(0.05)
    assert [reason.split(":")[0] for reason in it.unready()] == ["the feed is not connected", "enrich is not at work"]
    feed.connected = enrich.working = True
    await asyncio.sleep(0.05)
    enrich.wikis_out = frozenset({"brokenwiki"})
    assert it.unready() == []
    feed.connected = False
    await asyncio.sleep(0.05)
    assert it.unready() == []  # it reconnects
    await asyncio.sleep(0.4)
    assert it.unready() == ["the feed is not connected"]
    stop.set()
    await running


def test_a_stage_alone_is_ready_by_itself() -> None:
    assert hub(enrich=Stage()).unready() == []
    assert hub(ingest=Stage()).stages == ["ingest"]


async def ends(it: Hub, seconds: float, *, within: float) -> bool:
    stop = asyncio.Event()
    try:
        async with asyncio.timeout(within):
            await it.stop_when_idle(stop, seconds)
    except TimeoutError:
        return False
    return stop.is_set()


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ({"ingest": Stage(since=1.0), "enrich": Stage()}, True),
        ({"ingest": Stage(since=0.1), "enrich": Stage()}, False),  # something was appended just now, or it is not connected
        ({"ingest": Stage(since=1.0), "enrich": Stage(idle=False)}, False),
        ({"ingest": Stage(since=1.0)}, True),
        ({"enrich": Stage()}, True),
        ({"enrich": Stage(idle=False)}, False),
    ],
)
async def test_a_hub_is_idle_when_all_of_it_is(soon: None, parts: dict[str, Any], end: bool) -> None:  # noqa: FBT001
    assert await ends(hub(**parts), 0.2, within=0.5) is end


async def test_enrich_alone_has_to_be_idle_for_so_long(soon: None) -> None:
    enrich = Stage()
    asyncio.get_running_loop().call_later(0.1, setattr, enrich, "idle", False)
    asyncio.get_running_loop().call_later(0.15, setattr, enrich, "idle", True)
    before = time.monotonic()
    assert await ends(hub(enrich=enrich), 0.2, within=5)
    assert time.monotonic() - before >= 0.35


async def test_status_adds_what_only_the_running_hub_knows() -> None:
    enrich = Stage(watch=SimpleNamespace(delays=[1.0, 3.0, 2.0, 50.0]))
    meter = Meter(180)
    meter.start()
    told = await hub(ingest=Stage(), enrich=enrich, meter=meter).status()
    assert told == {
        "state": "runs",
        "live": {
            "feed": {"connected": True, "idle": True},
            "enrich": {"connected": True, "idle": True},
            "delay": {"changes": 4, "median_seconds": 2.0, "p99_seconds": 3.0},
        },
        "budget": {"requests_last_minute": 1, "requests_per_minute": 180},
    }
    enrich.watch.delays = []
    assert (await hub(enrich=enrich).status())["live"]["delay"] == {"changes": 0, "median_seconds": None, "p99_seconds": None}


# -- the meters ----------------------------------------------------------------------------------------------------------


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("outcome", "labels"),
    [
        (Publish(()), ("published", "")),
        (Merged(), ("merged", "")),
        (Skip(SkipReason.UNCHANGED), ("skipped", "unchanged")),
        (Aside("poison", "why"), ("set_aside", "poison")),
    ],
)
def test_an_outcome_is_counted_by_the_word_that_status_has_for_it(outcome: Outcome, labels: tuple[str, str]) -> None:
    word, reason = labels
    assert word in {field.name for field in fields(Counts)}
    before = sample("syncer_changes_total", outcome=word, reason=reason)
    daemon._measure(cast("Any", None), outcome, 0.1)
    assert sample("syncer_changes_total", outcome=word, reason=reason) == before + 1


def test_starts_are_of_the_last_minute_and_no_more_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    meter = Meter(180)
    for _ in range(300):
        now += 0.5
        meter.start()
    assert len(meter.starts) == 120
    assert meter.budget() == {"requests_last_minute": 120, "requests_per_minute": 180}
    now += 60
    assert meter.budget()["requests_last_minute"] == 0


# -- the service manager -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
async def test_the_service_manager_hears_of_the_start_the_life_and_the_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    abstract: bool,  # noqa: FBT001
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"syncer-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        with systemd.notifying():
            await asyncio.sleep(0.05)
        systemd.notify("STOPPING=1")
        heard = [manager.recv(100) for _ in range(3)]
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        while heard[-1] != b"STOPPING=1":
            heard.append(manager.recv(100))


async def test_without_a_service_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.notify("READY=1")  # one that has gone is no reason to end


# -- a client of one's own -----------------------------------------------------------------------------------------------


async def test_a_mirrors_client_needs_a_contact_for_the_public_wikis() -> None:
    with pytest.raises(Misconfigured, match="contact"):
        async with api_client(Settings()):
            pytest.fail("opened")


@pytest.mark.parametrize(("mirror", "hub"), [(600, 6000), (6000, 600)])
async def test_a_mirrors_client_keeps_the_pace(mirror: int, hub: int) -> None:
    """Its own, beside whatever a hub on the same address asks; nor more than is allowed at all."""
    settings = Settings.model_validate(
        {"api": {"url": "http://127.0.0.1:9/api.php", "requests_per_minute": hub}, "mirror": {"requests_per_minute": mirror}}
    )
    async with api_client(settings) as api:
        turn = api._turn
        before = time.monotonic()
        await asyncio.gather(*(turn("w") for _ in range(4)))
        assert time.monotonic() - before >= 0.3
