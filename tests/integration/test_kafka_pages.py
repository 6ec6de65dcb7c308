"""The topic of pages on a real Kafka, of a hub that was killed: a mirror that begins with it ends as one that followed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from syncer.journal import Topic
from syncer.journal.kafka.names import topic_name
from syncer.provision import look
from tests.farmland import Farmland, Hub, arrive, until
from tests.kafka_journal import on_kafka

if TYPE_CHECKING:
    from pathlib import Path

    from syncer.config import JournalSettings
    from tests.kafka import Kafka

pytestmark = pytest.mark.timeout(240)

WHOLE = "the topic of pages is whole"


def variables(settings: JournalSettings) -> dict[str, str]:
    told = {"URL": settings.url, "PREFIX": settings.prefix, "PARTITIONS": str(settings.partitions), "KAFKA__REPLICATION": "1"}
    return {f"JOURNAL__{name}": value for name, value in told.items()} | {"PUBLISH__PAGES": "true", "WIKI__NAMESPACES": '["*"]'}


def test_a_mirror_that_begins_with_it_ends_as_one_that_followed(kafka: Kafka, tmp_path: Path) -> None:
    settings = on_kafka(1)
    late = ("--set", f"mirror.path={tmp_path / 'late.db'}")

    def kept() -> list[bytes]:
        return asyncio.run(kafka.committed(topic_name(settings.prefix, Topic.PAGES)))

    with Farmland() as land:
        hub = Hub(tmp_path, "hub", land, variables(settings))
        try:
            process = hub.start("run")
            until(lambda: WHOLE in hub.log, "it is not filled", process)
            work = land.work(80, rate=20)
            until(lambda: land.requests(hub.contact), "nothing is asked", process)
            hub.kill(process)
            process = hub.start("run")
            until(lambda: hub.log.count("the hub runs") == 2, "it does not go on", process)
            work.result()
            until(lambda: any(b'"revision"' in value for value in kept() if value), "no page is written", process)
            beside = land.work(80, rate=20)
            begun = json.loads(hub.ask(*late, "mirror", "bootstrap", "--from-pages", "--json"))
            beside.result()
            hub.stop(process)
            arrive(hub)
            followed = json.loads(hub.ask(*late, "mirror", "follow", "--until-idle", "1", "--json"))
            assert begun["taken"] > 0
            assert begun["diverged"] == followed["pages_diverged"] == 0
            assert followed["diverged"] == {}
            assert sum(followed["applied"].values()) > 0
            pages = hub.export()
            assert hub.export(*late) == pages
            assert pages
        finally:
            hub.clean_up()
    assert None in kept(), "what was deleted is a tombstone, as Kafka has it"
    assert all(state.sound for state in asyncio.run(look(settings, pages=True)))
