"""A partner with a client of its own checks manifests as docs/wire.md says; and what retention has cut of them."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from confluent_kafka import OFFSET_BEGINNING, Consumer
from confluent_kafka import TopicPartition as Place
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from syncer import signing
from syncer.enrich import manifests as making
from syncer.journal import Topic, open_journal, partition_of
from syncer.journal.kafka.names import topic_name
from syncer.mirror.manifests import Task, check
from syncer.store import Store
from tests.following import follow
from tests.kafka_journal import on_kafka
from tests.manifesting import Hub, three_hours

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from syncer.journal import Journal
    from tests.kafka import Kafka

PARTITIONS, WIKI = 3, "testwiki"
PART = partition_of(WIKI, PARTITIONS)


def read(kafka: Kafka, topic: str, ends: int) -> list[Any]:
    """Committed records, up to an offset."""
    client = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap, "isolation.level": "read_committed", "enable.auto.commit": False,
            "auto.offset.reset": "error", "group.id": "partner.manifests",
        }
    )  # fmt: skip
    client.assign([Place(topic, PART, OFFSET_BEGINNING)])
    found: list[Any] = []
    while not found or found[-1].offset() < ends:
        found += [message for message in client.consume(100, 1.0) if not message.error()]
    client.close()
    return found


async def test_a_partners_own_program_finds_them_right(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "EVERY", 2)
    monkeypatch.setattr(making, "LOOK_EVERY", 0.2)
    settings = on_kafka(PARTITIONS)
    journal = await open_journal(settings)
    hub = Hub(journal, Store(tmp_path / "hub.db", 10**9), time.time, signing.signer(tmp_path / "key", create=True))
    await hub.start()
    await three_hours(hub)
    told = await hub.told()
    manifests = read(kafka, topic_name(settings.prefix, Topic.MANIFESTS), told[-1][0].offset)
    records = read(kafka, topic_name(settings.prefix, Topic.MUTATIONS), told[-1][1]["last"])
    assert len(manifests) == 3
    assert records[-1].offset() >= len(records)  # every transaction takes an offset that is no record
    before = None
    for message in manifests:
        headers, manifest = dict(message.headers()), json.loads(message.value())
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(hub.signer.public)).verify(
            bytes.fromhex(headers["signature"].decode()), message.value()
        )
        whole = hashlib.sha256()
        for record in records:
            if dict(record.headers())["wiki"] == b"testwiki" and manifest["from"] <= record.offset() < manifest["to"]:
                whole.update(f"{record.key().decode()} {hashlib.sha256(record.value()).hexdigest()}\n".encode())
        assert whole.hexdigest() == manifest["sha256"]
        assert (manifest["previous"] or {}).get("sha256") == before
        before = hashlib.sha256(message.value()).hexdigest()
    await cut_in_the_second(kafka, journal, topic_name(settings.prefix, Topic.MUTATIONS), told[1][1]["last"])
    mirrored = Store(tmp_path / "mirror.db")
    await follow(journal, mirrored, idle=0.5)  # type: ignore[arg-type] # any journal
    found = await check(Task(journal, {hub.signer.public}, ["*"]), mirrored)
    assert not found.faults
    assert found.manifests == {"right": 1, "wrong": 0, "cut": 2, "ahead": 0}
    mirrored.close()
    hub.end()
    await journal.close()


async def cut_in_the_second(kafka: Kafka, journal: Journal, topic: str, offset: int) -> None:
    """Retention comes as far as the last record of the second manifest."""
    async with kafka.admin() as admin:
        await admin.delete_records({TopicPartition(topic, PART): RecordsToDelete(offset)})
    assert (await journal.bounds(Topic.MUTATIONS, PART))[0] == offset
