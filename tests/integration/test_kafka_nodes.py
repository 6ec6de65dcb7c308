"""The nodes that development and tests run on: three of them, one lost; who is let in; and that none of them stays behind."""

from __future__ import annotations

import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from deploy.kafka.layout import make
from deploy.kafka.nodes import Cluster
from tests.kafka import Kafka, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, and names to be let in by."""
    with make(tmp_path_factory.mktemp("three"), nodes=3, security=True) as cluster:
        yield cluster


def by_name(cluster: Cluster, user: str, **changed: Any) -> Kafka:
    """What this user sees of it."""
    access = {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=cluster.ca),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": user,
        "sasl_plain_password": cluster.users[user],
    }
    return Kafka(cluster.secure_bootstrap, **access | changed)


async def append(kafka: Kafka, topic: str, value: bytes) -> None:
    async with kafka.producer(fresh("id")) as producer, producer.transaction():
        await producer.send_and_wait(topic, value, partition=0)


async def test_three_nodes_do_without_one(cluster: Cluster) -> None:
    kafka = Kafka(cluster.bootstrap)
    topic = await kafka.topic(copies=3)
    await append(kafka, topic, b"with three")
    async with kafka.admin() as admin:
        (described,) = await admin.describe_topics([topic])
    leader = cluster.nodes[described["partitions"][0]["leader"] - 1]
    leader.kill()
    assert leader.pid is None
    await append(kafka, topic, b"with two")
    leader.start()
    cluster.wait()
    await append(kafka, topic, b"with three again")
    assert await kafka.committed(topic) == [b"with three", b"with two", b"with three again"]


async def test_a_name_lets_in_and_nothing_more(cluster: Cluster) -> None:
    admin, hub = by_name(cluster, "admin"), by_name(cluster, "hub")
    topic = await admin.topic(copies=3)
    await append(admin, topic, b"of who may do everything")
    async with hub.producer() as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send(topic, b"of who may do nothing")
    with pytest.raises(TransactionalIdAuthorizationFailed):
        await append(hub, topic, b"of who may do nothing")
    assert await admin.committed(topic) == [b"of who may do everything"]


@pytest.mark.parametrize(
    "wrong", [{"sasl_plain_password": "guessed"}, {"ssl_context": ssl.create_default_context()}], ids=["password", "authority"]
)
async def test_without_the_password_or_the_authority_nobody_comes_in(cluster: Cluster, wrong: dict[str, Any]) -> None:
    with pytest.raises(KafkaConnectionError):
        async with by_name(cluster, "hub", **wrong).producer():
            pass


def test_nodes_end_with_whoever_made_them_however_that_ends(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from deploy.kafka.layout import make\n"
        f"with make(Path({str(tmp_path)!r})) as cluster: print(cluster.nodes[0].pid, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        (node,) = Cluster(tmp_path).nodes
        assert node.pid == pid
        owner.kill()
    deadline = time.monotonic() + 10
    while node.pid is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_from_the_command_line_it_stays_until_it_is_stopped(tmp_path: Path) -> None:
    def kafka(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.kafka", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)

    folder = str(tmp_path / "run")
    assert "no cluster" in kafka("stop", folder).stderr
    address = kafka("start", folder).stdout
    (node,) = Cluster(tmp_path / "run").nodes
    try:
        assert node.address == address.strip()
        first = node.pid
        assert kafka("start", folder).stdout == address
        assert node.pid == first is not None
        refused = kafka("start", folder, "--nodes", "3")
        assert refused.returncode == 1
        assert "another kind" in refused.stderr
        assert kafka("stop", folder).returncode == 0
        assert node.pid is None
    finally:
        node.kill()
