"""What happens to brokers, and processes that die: after each the laws hold, counted by a checker from outside.

The gate has a slice, in as few runs as show everything once; with --torture everything happens for longer, and by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.kafka.layout import make
from tests.farmland import Farmland, Hub, arrive, until, verify
from tests.kafka import Kafka, fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deploy.kafka.nodes import Cluster

    Broken = Callable[[Cluster, Hub, float], None]

pytestmark = pytest.mark.timeout(1800)

KILLS, TORTURE_KILLS = 5, 100
FROZEN, TORTURE_FROZEN = 22.0, 60.0  # seconds: longer than the 20 that anything is waited for
PATIENCE = 60.0  # seconds for what takes a few
CHAINS = 4  # side by side: whoever follows a hub that was killed waits for most of the time
TMPFS = 96  # MiB

RUN, FOLLOW = ("run",), ("mirror", "follow")
STEPS: dict[tuple[str, ...], list[str]] = {
    RUN: [
        "ingest-appends", "ingest-committed", "transaction-begins", "transaction-begun", "transaction-sent",
        "transaction-sent:2:1", "transaction-sent:2:4", "transaction-committed", "enrich-settled", "enrich-committed",
        "enrich-stored",
    ],
    FOLLOW: ["mirror-folded", "mirror-committed"],
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    torture = metafunc.config.getoption("torture")
    if "broken" in metafunc.fixturenames:
        metafunc.parametrize("broken", [tuple(FAULTS), *((name,) for name in FAULTS if torture)], ids="-".join)
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(1, 4) if torture else [1])


@pytest.fixture
def land() -> Iterator[Farmland]:
    with Farmland() as land:
        land.farm.faults = replace(land.farm.faults, max_connections=2 * CHAINS)
        yield land


@pytest.fixture
def hubs(tmp_path: Path, land: Farmland) -> Iterator[Callable[..., Hub]]:
    """Sets up hubs, by the prefix of their journal and a name; what they started ends with the test."""
    made: list[Hub] = []

    def one(cluster: Cluster, prefix: str, name: str = "hub") -> Hub:
        journal = {"JOURNAL__URL": f"kafka://{cluster.bootstrap}", "JOURNAL__PREFIX": prefix, "JOURNAL__PARTITIONS": "3"}
        made.append(Hub(tmp_path / prefix, name, land, journal))
        made[-1].ask("topics", "apply")
        return made[-1]

    yield one
    for hub in made:
        hub.clean_up()


# -- brokers -----------------------------------------------------------------------------------------------------------------


def killed(cluster: Cluster, hub: Hub, _: float) -> None:
    for _ in range(2):
        cluster.nodes[0].kill()
        time.sleep(1.0)
        cluster.start()
        time.sleep(1.0)


def frozen(cluster: Cluster, hub: Hub, seconds: float) -> None:
    cluster.nodes[0].freeze()
    time.sleep(seconds)
    cluster.nodes[0].thaw()


def refusing(cluster: Cluster, hub: Hub, _: float) -> None:
    """Hardly anything is small enough any more, until the operator does as he is told."""

    async def lower() -> None:
        async with Kafka(cluster.bootstrap).admin() as admin:
            for topic in ("changes", "mutations"):
                name = f"{hub.prefix}.{topic}.v1"
                await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": "200"})])

    asyncio.run(lower())
    until(lambda: "max.message.bytes was lowered" in hub.log, "nobody says what is wrong")
    hub.ask("topics", "apply")


FAULTS: dict[str, Broken] = {"killed": killed, "frozen": frozen, "refusing": refusing}


def test_the_hub_gets_over_a_broker_that(
    broken: tuple[str, ...], cluster: Cluster, land: Farmland, hubs: Callable[..., Hub], pytestconfig: pytest.Config
) -> None:
    seconds = TORTURE_FROZEN if pytestconfig.getoption("torture") else FROZEN
    hub = hubs(cluster, fresh("broken"))
    running = [hub.start("run"), hub.start("mirror", "follow")]
    for name in broken:
        work = land.work(60, 6.0)
        time.sleep(3.0)
        FAULTS[name](cluster, hub, seconds)
        work.result(PATIENCE)
        assert [process.poll() for process in running] == [None, None], hub.log[-3000:]
        recovered(land, hub)
    for process in running:
        hub.stop(process)
    arrive(hub)
    verify(land, hub)


def recovered(land: Farmland, hub: Hub) -> None:
    """Until what happens now arrives."""
    asked = len(land.requests(hub.contact))
    land.work(5, 20.0).result(PATIENCE)
    until(lambda: len(land.requests(hub.contact)) > asked, "the hub does not go on")


def test_a_topic_that_is_deleted_under_hub_and_mirror_is_the_operators(
    cluster: Cluster, land: Farmland, hubs: Callable[..., Hub]
) -> None:
    """What it held is gone: nobody makes it anew without being asked, and nobody goes on as if nothing had been."""
    hub = hubs(cluster, fresh("deleted"))
    process, mirror = hub.start("run"), hub.start("mirror", "follow")
    land.work(20, 10.0).result(PATIENCE)
    until((hub.folder / "mirror.db").exists, "the mirror does not begin", process, mirror)
    until(hub.export, "nothing arrives", process, mirror)

    async def delete() -> None:
        async with Kafka(cluster.bootstrap).admin() as admin:
            await admin.delete_topics([f"{hub.prefix}.mutations.v1"])

    asyncio.run(delete())
    land.work(20, 10.0).result(PATIENCE)
    assert [one.wait(PATIENCE) for one in (process, mirror)] == [78, 78]
    assert hub.log.count(f"{hub.prefix}.mutations.v1 was deleted") == 2
    assert hub.log.count("what it held is lost. The hub: delete all topics of this prefix, syncer topics apply") == 2
    hub.ask("topics", "apply")
    assert [hub.start(*verb).wait(PATIENCE) for verb in (RUN, FOLLOW)] == [3, 3]


def test_a_disk_that_is_full(tmp_path: Path, land: Farmland, hubs: Callable[..., Hub]) -> None:
    """The broker ends; when there is room again it is started, and the hub goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS}m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        with make(tmp_path / "full", settings={"log.dirs": str(disk / "data")}) as cluster:
            hub = hubs(cluster, fresh("full"))
            process = hub.start("run")
            land.work(30, 10.0).result(PATIENCE)
            with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(65_536))
            work = land.work(40, 8.0)
            until(lambda: cluster.nodes[0].pid is None, "the broker does without a disk", process)
            work.result(PATIENCE)
            (disk / "filler").unlink()
            cluster.start()
            recovered(land, hub)
            hub.stop(process)
            arrive(hub)
            verify(land, hub)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_three_nodes_their_leader_killed(
    tmp_path: Path, land: Farmland, hubs: Callable[..., Hub], pytestconfig: pytest.Config
) -> None:
    with make(tmp_path / "three", nodes=3) as cluster:
        hub = hubs(cluster, fresh("three"))
        running = [hub.start("run"), hub.start("mirror", "follow")]
        land.work(20, 10.0).result(PATIENCE)
        for _ in range(6 if pytestconfig.getoption("torture") else 1):
            work = land.work(60, 6.0)
            time.sleep(2.0)
            leader = cluster.nodes[asyncio.run(leader_of(cluster, f"{hub.prefix}.mutations.v1")) - 1]
            leader.kill()
            recovered(land, hub)  # with two
            work.result(PATIENCE)
            cluster.start()
        assert [process.poll() for process in running] == [None, None], hub.log[-3000:]
        for process in running:
            hub.stop(process)
        arrive(hub)
        verify(land, hub)


async def leader_of(cluster: Cluster, topic: str) -> int:
    async with Kafka(cluster.bootstrap).admin() as admin:
        (described,) = await admin.describe_topics([topic])
    leader: int = described["partitions"][0]["leader"]
    return leader


# -- processes ---------------------------------------------------------------------------------------------------------------


def test_hub_standby_and_mirror_killed_at_random_moments(
    cluster: Cluster, land: Farmland, hubs: Callable[..., Hub], seed: int, pytestconfig: pytest.Config
) -> None:
    moments, prefix = random.Random(seed), fresh("random")
    kills = TORTURE_KILLS if pytestconfig.getoption("torture") else KILLS
    first, second = hubs(cluster, prefix, "first"), hubs(cluster, prefix, "second")
    roles = [(first, ("run", "--standby")), (second, ("run", "--standby")), (first, ("mirror", "follow"))]
    running = [hub.start(*verb) for hub, verb in roles]
    for _ in range(kills):
        work = land.work(20, 10.0)
        time.sleep(moments.choice((moments.uniform(0.2, 4.0), moments.uniform(4.0, 16.0))))
        each = moments.randrange(len(roles))
        hub, verb = roles[each]
        hub.kill(running[each])
        said = len(hub.log)
        running[each] = hub.start(*verb)
        work.result(PATIENCE)
    until(lambda: len(hub.log) > said, "nothing is heard of the last one: too young to be asked to stop")
    for (hub, _), process in sorted(zip(roles, running, strict=True), key=lambda one: one[0][0] is first):
        hub.stop(process)
    assert land.requests()
    arrive(first)
    verify(land, first, second)


def test_killed_at_every_named_step(
    cluster: Cluster, land: Farmland, hubs: Callable[..., Hub], pytestconfig: pytest.Config
) -> None:
    times = (1, 2, 3, 7) if pytestconfig.getoption("torture") else (2,)
    deaths = [(verb, at(step, nth)) for nth in times for verb, steps in STEPS.items() for step in steps]
    chains = [hubs(cluster, fresh(f"step{number}"), f"chain{number}") for number in range(CHAINS)]
    work = land.work(10**6, 5.0)

    def die(number: int) -> None:
        hub = chains[number]
        for verb, fault in deaths[number::CHAINS]:
            beside = [hub.start("run")] if verb is FOLLOW else []  # so that there is something to apply
            process = hub.start(*verb, fault=fault)
            assert process.wait(PATIENCE) == -9, f"{fault}: {hub.log[-3000:]}"
            for one in beside:
                hub.kill(one)

    with ThreadPoolExecutor(CHAINS) as pool:
        list(pool.map(die, range(CHAINS)))
    work.cancel()
    with ThreadPoolExecutor(CHAINS) as pool:
        list(pool.map(arrive, chains))
        list(pool.map(lambda hub: verify(land, hub), chains))


def at(step: str, nth: int) -> str:
    """A fault at that step; one that says when by itself is left at that."""
    return f"KILL:{step}" if ":" in step else f"KILL:{step}:{nth}"
