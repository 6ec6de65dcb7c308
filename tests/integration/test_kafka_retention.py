"""What brokers remove whether it is finished or not: a hub says in time that they come near it, on a real broker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from structlog.testing import capture_logs

from syncer import telemetry
from syncer.config import Retention
from syncer.journal import Record, Topic
from syncer.journal.kafka import KafkaJournal
from syncer.journal.kafka.names import topic_name
from tests.kafka_journal import on_kafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kafka import Kafka

SECONDS = 1 / 86_400  # in days


@asynccontextmanager
async def changes(count: int, days: float) -> AsyncIterator[KafkaJournal]:
    """A journal with so many changes, which are kept for so many days."""
    settings = on_kafka(1).model_copy(update={"retention": Retention(changes_days=days)})
    journal = await KafkaJournal.open(settings)
    try:
        for number in range(count):
            await journal.append(Record(Topic.CHANGES, 0, str(number), b"{}"))
        yield journal
    finally:
        await journal.close()


def used() -> float:
    """The metric."""
    value = telemetry.REGISTRY.get_sample_value("syncer_changes_retention_used_ratio")
    assert value is not None
    return value


async def test_a_change_that_waits_for_half_of_the_time_is_told_of_once(kafka: Kafka) -> None:
    with capture_logs() as logs:
        async with changes(2, 20 * SECONDS) as journal:
            await journal.retain({0: 0})
            assert not logs
            assert used() < 0.5
            await asyncio.sleep(10.5)
            for _ in range(2):
                await journal.retain({0: 0})
            assert used() > 0.5
            (said,) = logs
            assert said["log_level"] == "warning"
            assert "journal.retention.changes_days" in said["hint"]
            await journal.retain({0: 2})
            assert used() == 0.0
            assert len(logs) == 2


@pytest.mark.parametrize(("unfinished", "told"), [(2, True), (4, True), (8, False), (10, False)])
async def test_so_is_a_queue_that_is_more_than_half_of_what_was_not_cut_yet(kafka: Kafka, unfinished: int, *, told: bool) -> None:
    async with changes(10, 14.0) as journal:
        await journal.retain({0: unfinished})
        assert used() < 0.5  # nothing was cut: there is room, as far as anybody knows
        async with kafka.admin() as admin:
            place = TopicPartition(topic_name(journal._prefix, Topic.CHANGES), 0)
            await admin.delete_records({place: RecordsToDelete(3)})
        with capture_logs() as logs:
            await journal.retain({0: unfinished})
        assert (used() > 0.5, bool(logs)) == (told, told)
