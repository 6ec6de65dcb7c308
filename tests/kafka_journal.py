"""A journal on the real Kafka of the tests, under a prefix of its own."""

from __future__ import annotations

import asyncio
import os
import uuid
from concurrent.futures import ThreadPoolExecutor

from syncer.config import JournalSettings, KafkaSettings
from syncer.provision import apply


def on_kafka(partitions: int) -> JournalSettings:
    """The settings of a new journal; its topics are there."""
    url = f"kafka://{os.environ['SYNCER_TEST_KAFKA']}"
    settings = JournalSettings(
        url=url, prefix=f"t{uuid.uuid4().hex[:8]}", partitions=partitions, kafka=KafkaSettings(replication=1)
    )
    with ThreadPoolExecutor(1) as thread:  # a loop may be running here
        thread.submit(lambda: asyncio.run(apply(settings, pages=True))).result()
    return settings
