"""How the topics are set, on a real broker: who says so when it is not as it has to be, and in what time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from syncer.config import JournalSettings, KafkaSettings
from syncer.journal.kafka.names import plan
from syncer.provision import apply
from tests.command import Place
from tests.farmland import Farmland, Hub, until
from tests.kafka import Kafka, fresh
from tests.secure import said

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.kafka.nodes import Cluster

pytestmark = pytest.mark.timeout(120)

HOUR = "3600000"  # milliseconds
LOSING = [
    ("mutations", "compact", "all but the newest of each key"),
    ("changes", "compact,delete", "all but the newest of each key"),
    ("positions", "delete", "what is the newest of its key, and old"),
    ("owners", "delete,compact", "what is the newest of its key, and old"),
]


class Topics(NamedTuple):
    """Those of a journal, as they have to be."""

    settings: JournalSettings

    @property
    def variables(self) -> dict[str, str]:
        """How a command finds the journal."""
        told = {"URL": self.settings.url, "PREFIX": self.settings.prefix, "PARTITIONS": str(self.settings.partitions)}
        return {f"JOURNAL__{name}": value for name, value in told.items()} | {"JOURNAL__KAFKA__REPLICATION": "1"}

    def set(self, topic: str, key: str, value: str) -> str:
        """Set something otherwise, and nothing else; the topic's whole name."""
        name = f"{self.settings.prefix}.{topic}.v1"
        (wanted,) = [each for each in plan(self.settings) if each.name == name]
        resource = ConfigResource(ConfigResourceType.TOPIC, name, {**wanted.held_by(1).config, key: value})

        async def alter() -> None:
            async with Kafka(self.settings.url.removeprefix("kafka://")).admin() as admin:
                (answer,) = await admin.alter_configs([resource])
            assert not answer.resources[0][0]

        asyncio.run(alter())
        return name


@pytest.fixture
def topics(cluster: Cluster) -> Topics:
    settings = JournalSettings(
        url=f"kafka://{cluster.bootstrap}", prefix=fresh("set"), partitions=2, kafka=KafkaSettings(replication=1)
    )
    asyncio.run(apply(settings))
    return Topics(settings)


@pytest.fixture
def place(tmp_path: Path, topics: Topics) -> Place:
    return Place(tmp_path, topics.variables)


@pytest.mark.parametrize(("topic", "policy", "vanishes"), LOSING)
def test_what_loses_records_for_certain_is_refused(place: Place, topics: Topics, topic: str, policy: str, vanishes: str) -> None:
    assert said(place, "check-config").code == 0
    name = topics.set(topic, "cleanup.policy", policy)
    came = said(place, "check-config")
    assert came.code == 78
    assert f"FAIL journal: {name} has cleanup.policy = {policy}" in came.out.decode()
    for verb in (["run"], ["run", "--standby"]):
        came = said(place, *verb)
        assert came.code == 78
        assert vanishes in came.err
        assert "syncer topics apply" in came.err
    assert said(place, "topics", "apply").code == 0
    assert said(place, "check-config").code == 0


def test_what_differs_otherwise_is_a_doubt_and_the_hub_says_it_once(place: Place, topics: Topics, tmp_path: Path) -> None:
    name = topics.set("changes", "retention.ms", HOUR)
    doubt = f"{name}: retention.ms is {HOUR}, not 1209600000"
    came = said(place, "check-config")
    assert came.code == 0
    assert "warn journal: kafka://" in came.out.decode()
    assert f"\n     {doubt}\n     hint: syncer topics plan" in came.out.decode()
    (line,) = [line for line in said(place, "check-config", "--json").lines if line["check"] == "journal"]
    assert line["ok"]
    assert doubt in line["told"]
    with Farmland() as land:
        hub = Hub(tmp_path, "hub", land, topics.variables)
        try:
            process = hub.start("run")
            until(lambda: "the hub runs" in hub.log, "it does not go on", process)
            hub.stop(process)
            assert hub.log.count(doubt) == 1
        finally:
            hub.clean_up()


def test_a_journal_whose_topics_are_not_there_asks_first_whether_its_name_is_right(place: Place) -> None:
    for verb in (["status"], ["run"], ["mirror", "follow"]):
        came = said(place, *verb, JOURNAL__PREFIX="misspelt")
        assert came.code == 78
        assert "misspelt.mutations.v1: there is no such topic" in came.err
        assert "are journal.url and journal.prefix right?" in came.err


def test_a_broker_that_does_not_answer_is_away_and_soon(cluster: Cluster, place: Place) -> None:
    cluster.nodes[0].freeze()
    for verb in (["topics", "plan"], ["topics", "apply"], ["check-config"]):
        came = said(place, *verb)  # in 12 s and what it takes to start
        assert came.code == 75, verb
        assert "look at the brokers" in came.err + came.out.decode()
    cluster.nodes[0].thaw()
    assert said(place, "topics", "plan").code == 0
