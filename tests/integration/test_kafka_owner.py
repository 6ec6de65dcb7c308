"""Owner, standby and shards, as processes on a real broker, with a farm at work upstream."""

from __future__ import annotations

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from deploy.kafka.layout import make
from syncer.journal import Shard, partition_of
from syncer.journal.kafka import PATIENCE as STANDBY_AFTER
from syncer.journal.kafka.producer import GIVEN_UP_AFTER
from tests.farmland import IDLE, Farmland, Hub, arrive, until, verify
from tests.kafka import Kafka, fresh
from tests.proxy import Proxy

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    Running = subprocess.Popen[bytes]

pytestmark = pytest.mark.timeout(300)

TAKEN_OVER_WITHIN = 30.0  # seconds
PATIENCE = 60.0  # seconds for what takes a few
SHARDS = 3


class Net(NamedTuple):
    """A broker, and a second way to it that can be cut."""

    kafka: Kafka
    proxied: str
    proxy: Proxy


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    cluster = make(tmp_path_factory.mktemp("behind"))
    with Proxy() as proxy:
        proxied = proxy.put_before(cluster.nodes[0])
        with cluster:
            yield Net(Kafka(cluster.bootstrap), proxied, proxy)


@pytest.fixture
def land() -> Iterator[Farmland]:
    with Farmland() as land:
        yield land


@contextmanager
def journal(folder: Path, land: Farmland, net: Net) -> Iterator[Callable[..., Hub]]:
    """Sets up hubs on one journal, which is there; what they started ends with it."""
    settings = {"JOURNAL__PREFIX": fresh("owner"), "JOURNAL__PARTITIONS": "6", "JOURNAL__KAFKA__REPLICATION": "1"}
    hubs: list[Hub] = []

    def one(name: str, *, at: str = net.kafka.bootstrap, **more: str) -> Hub:
        hubs.append(Hub(folder, name, land, settings | {"JOURNAL__URL": f"kafka://{at}"}, **more))
        return hubs[-1]

    one("first").ask("topics", "apply")
    try:
        yield one
    finally:
        for each in hubs:
            each.clean_up()


@pytest.fixture
def hub(tmp_path: Path, land: Farmland, net: Net) -> Iterator[Callable[..., Hub]]:
    with journal(tmp_path, land, net) as one:
        yield one


def side_by_side(*work: Callable[[], None]) -> None:
    """Each of these waits for most of its time."""
    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(each) for each in work]:
            done.result()


def runs(hub: Hub, *verb: str, says: str = "the hub runs") -> Running:
    process = hub.start(*verb)
    until(lambda: says in hub.log, f"{hub.contact} never said: {says}", process)
    return process


def ends(kafka: Kafka, hub: Hub) -> dict[TopicPartition, int]:
    """Where every partition of the hub's topics ends, committed or not."""

    async def ask() -> dict[TopicPartition, int]:
        async with kafka.admin() as admin, kafka.consumer(isolation_level="read_uncommitted") as consumer:
            names = [name for name in await admin.list_topics() if name.startswith(f"{hub.prefix}.")]
            topics = await admin.describe_topics(names)
            places = [TopicPartition(topic["topic"], part["partition"]) for topic in topics for part in topic["partitions"]]
            found: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return found

    return asyncio.run(ask())


def stopped(process: Running) -> bool:
    return "State:\tT" in Path(f"/proc/{process.pid}/status").read_text()


# -- standby -----------------------------------------------------------------------------------------------------------------


def test_a_standby_takes_over_and_who_wakes_up_late_does_nothing(tmp_path: Path, net: Net) -> None:
    """Of two standbys one wins, and the other waits on."""

    def play(how: str) -> None:
        with Farmland() as land, journal(tmp_path / how, land, net) as hub:
            try:
                takes_over(how, hub, land, net)
            finally:
                if how == "cut off":
                    net.proxy.mend()

    side_by_side(*(partial(play, how) for how in ("killed", "frozen", "cut off")))


def takes_over(how: str, hub: Callable[..., Hub], land: Farmland, net: Net) -> None:
    old = hub("old", at=net.proxied if how == "cut off" else net.kafka.bootstrap)
    owner = runs(old, "run")
    standbys = {one: runs(one, "run", "--standby", says="standing by") for one in (hub("one"), hub("two"))}
    work = land.work(120, 8.0)
    until(lambda: len(land.requests(old.contact)) > 5, "the owner does not work", owner)

    began = time.monotonic()
    match how:
        case "killed":
            owner.kill()
        case "frozen":
            owner.send_signal(signal.SIGSTOP)
        case _:
            net.proxy.cut()
    until(lambda: any(land.requests(one.contact) for one in standbys), "nobody takes over", *standbys.values())
    took = min(land.requests(one.contact)[0].at for one in standbys if land.requests(one.contact)) - began
    print(f"\ntaken over from who was {how}: {took:.1f} s")
    assert STANDBY_AFTER - 1 < took < TAKEN_OVER_WITHIN
    work.result(PATIENCE)

    winner, other = sorted(standbys, key=lambda one: not land.requests(one.contact))
    asked = land.requests(old.contact)
    assert asked[-1].at < land.requests(winner.contact)[0].at
    assert not land.requests(other.contact)
    other.stop(standbys[other])
    winner.stop(standbys[winner])

    before = ends(net.kafka, old)
    match how:
        case "frozen":
            owner.send_signal(signal.SIGCONT)
        case "cut off":
            net.proxy.mend()
    if how != "killed":
        assert owner.wait(PATIENCE) == 4
        assert "is the owner" in old.log
    assert ends(net.kafka, old) == before
    assert land.requests(old.contact) == asked

    arrive(winner)
    verify(land, winner, old)


def test_a_lone_hub_that_was_suspended_goes_on_by_itself(tmp_path: Path, net: Net, pytestconfig: pytest.Config) -> None:
    """With its transaction open, so that the broker aborts that, or before it."""
    seconds = 60 if pytestconfig.getoption("torture") else GIVEN_UP_AFTER / 1000 + 2

    def play(step: str) -> None:
        with Farmland() as land, journal(tmp_path / step, land, net) as hub:
            goes_on(step, seconds, hub("lone"), land)

    side_by_side(*(partial(play, step) for step in ("transaction-sent", "transaction-begins")))


def goes_on(step: str, seconds: float, lone: Hub, land: Farmland) -> None:
    process = lone.start("run", fault=f"STOP:{step}:12")
    work = land.work(60, 10.0)
    until(lambda: stopped(process), "the step is never reached", process)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
    asked = len(land.requests())
    work.result(PATIENCE)
    land.work(20, 20.0).result(PATIENCE)
    until(lambda: len(land.requests()) > asked, "it does not go on", process)
    lone.stop(process)
    arrive(lone)
    verify(land, lone)


# -- parts -------------------------------------------------------------------------------------------------------------------


def test_shards_one_of_them_killed(hub: Callable[..., Hub], land: Farmland) -> None:
    """Beside `ingest` alone. The budget is that of all shards; each wiki has one that asks about it, and writes."""
    ingest = hub("ingest")
    shards = [hub(f"shard{k}") for k in range(1, SHARDS + 1)]
    verbs = [("enrich", "--shard", f"{k}/{SHARDS}") for k in range(1, SHARDS + 1)]
    feeding = runs(ingest, "ingest")
    running = [runs(shard, *verb) for shard, verb in zip(shards, verbs, strict=True)]
    work = land.work(200, 15.0)

    overlapping = hub("overlapping").start("enrich", "--shard", "1/2")
    until(lambda: len(land.requests(shards[2].contact)) > 3, "a shard does not work", *running)
    shards[2].kill(running[2])
    running[2] = shards[2].start(*verbs[2])
    assert overlapping.wait(PATIENCE) == 4

    work.result(PATIENCE)
    ingest.stop(feeding)
    ingest.finish("ingest", "--until-idle", IDLE)
    for shard, process in zip(shards, running, strict=True):
        shard.stop(process)
    running = [shard.start(*verb, "--until-idle", IDLE) for shard, verb in zip(shards, verbs, strict=True)]
    assert [process.wait(PATIENCE) for process in running] == [0] * SHARDS
    ingest.finish("mirror", "follow", "--until-idle", "1")
    verify(land, ingest, *shards)

    for k, shard in enumerate(shards, 1):
        wikis = {each.wiki_id for each in land.requests(shard.contact)}
        own = Shard(k, SHARDS).partitions(6)
        assert wikis == {wiki for wiki in land.farm.wikis if partition_of(wiki, 6) in own}


def test_ingest_alone_and_enrich_alone_do_what_run_does(hub: Callable[..., Hub], land: Farmland) -> None:
    ingest, enrich = hub("ingest"), hub("enrich")
    processes = runs(ingest, "ingest"), runs(enrich, "enrich")
    land.work(60, 10.0).result(PATIENCE)
    ingest.stop(processes[0])
    enrich.stop(processes[1])
    assert not land.requests(ingest.contact)
    ingest.finish("ingest", "--until-idle", IDLE)
    enrich.finish("enrich", "--until-idle", IDLE)
    enrich.finish("mirror", "follow", "--until-idle", "1")
    verify(land, enrich)


def test_more_shards_than_partitions_are_78(hub: Callable[..., Hub]) -> None:
    one = hub("one")
    assert one.start("enrich", "--shard", "7/7").wait(PATIENCE) == 78
    assert "7 shards of 6 partitions" in one.log


def test_shards_of_an_embedded_journal_are_78(tmp_path: Path, land: Farmland) -> None:
    embedded = Hub(tmp_path, "embedded", land, {})
    assert embedded.start("enrich", "--shard", "1/2").wait(PATIENCE) == 78
    assert "kafka://" in embedded.log


# -- a journal that is not what it was ---------------------------------------------------------------------------------------


@pytest.fixture
def stood(hub: Callable[..., Hub], land: Farmland) -> Hub:
    """A hub and a mirror that have worked, and stand."""
    one = hub("first")
    land.work(10, 50.0).result(PATIENCE)
    arrive(one)
    return one


def ended(hub: Hub, *verb: str) -> int:
    return hub.start(*verb).wait(PATIENCE)


@pytest.mark.parametrize("topic", ["mutations", "changes"])
def test_a_topic_made_anew_is_3(topic: str, stood: Hub, net: Net) -> None:
    async def delete() -> None:
        async with net.kafka.admin() as admin:
            await admin.delete_topics([f"{stood.prefix}.{topic}.v1"])

    asyncio.run(delete())
    assert ended(stood, "run") == 78
    assert "syncer topics apply" in stood.log
    stood.ask("topics", "apply")
    assert ended(stood, "run") == 3
    assert "made anew" in stood.log
    if topic == "mutations":
        assert ended(stood, "mirror", "follow") == 3
        assert "move" in stood.log.split("error")[-1]
    else:
        stood.finish("mirror", "follow", "--until-idle", "0.5")


def test_a_mirror_that_was_away_for_longer_than_retention_is_3(stood: Hub, land: Farmland, net: Net) -> None:
    land.work(10, 50.0).result(PATIENCE)
    stood.finish("run", "--until-idle", IDLE)

    async def cut() -> None:
        async with net.kafka.admin() as admin:
            places = {place: RecordsToDelete(-1) for place in ends_of if place.topic == f"{stood.prefix}.mutations.v1"}
            await admin.delete_records(places)

    ends_of = ends(net.kafka, stood)
    asyncio.run(cut())
    assert ended(stood, "mirror", "follow") == 3
    assert "move mirror.path away" in stood.log
    late = ("--set", f"mirror.path={stood.folder}/late.db")
    stood.finish(*late, "mirror", "follow", "--until-idle", "0.5")
