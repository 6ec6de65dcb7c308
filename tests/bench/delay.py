"""How soon a partner has what was appended to a journal on Kafka, at 30 changes a second.

    python -m tests.bench.delay

From the moment when a transaction was due to the poll that gives a partner its records: each change in a transaction of its own,
and as many together as come in the third of a second between two requests to the wikis. Partners are processes of their own, two
at once; they have the clock of the system, as the hub has. The broker shares this machine's processors.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from statistics import median
from typing import TYPE_CHECKING

import orjson

from syncer.journal import Record, Topic
from syncer.journal.kafka import KafkaJournal
from syncer.mirror import APPLY_AT_ONCE
from tests.bench.kafka import PARTITIONS, broker, journal_on, partner, places, transactions
from tests.bench.mirror import corpus, edited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.queues import Queue

    from deploy.kafka.nodes import Cluster
    from syncer.config import JournalSettings

RATE = 30  # changes a second
FOR, WARM = 20.0, 2.0  # seconds; and those before, in which everybody does everything for the first time


def confluent_partner(settings: JournalSettings, wanted: int, told: Queue[list[float]]) -> None:
    """The delays that a partner with confluent-kafka sees; an empty list first, once it is there."""
    consumer = partner(settings)
    consumer.assign(places(settings))
    consumer.consume(1, 2.0)  # there is nothing yet
    told.put([])
    delays: list[float] = []
    while len(delays) < wanted:
        messages = consumer.consume(1, 1.0) + consumer.consume(APPLY_AT_ONCE, 0)
        delays += [time.monotonic() - orjson.loads(message.value() or b"")["due"] for message in messages]
    told.put(delays)


def journal_partner(settings: JournalSettings, wanted: int, told: Queue[list[float]]) -> None:
    """The same by the mirror's way of reading."""

    async def follow() -> None:
        journal = await KafkaJournal.open(settings)
        offsets = {part: (await journal.bounds(Topic.MUTATIONS, part))[1] for part in range(settings.partitions)}
        told.put([])
        delays: list[float] = []
        while len(delays) < wanted:
            before = len(delays)
            for part, offset in offsets.items():
                records = await journal.read(Topic.MUTATIONS, part, offset, limit=APPLY_AT_ONCE)
                delays += [time.monotonic() - orjson.loads(record.value)["due"] for record in records]
                offsets[part] = records[-1].offset + 1 if records else offset
            if len(delays) == before:
                await journal.wait(0.5)
        told.put(delays)
        await journal.close()

    asyncio.run(follow())


PARTNERS = {"confluent-kafka": confluent_partner, "syncer mirror": journal_partner}


async def delays(cluster: Cluster, records: Sequence[Record], together: int) -> None:
    """Measure and print. The clock is the system's, the same for all processes."""
    settings = await journal_on(cluster, f"delay-{together}")
    count, warm = int(RATE * (WARM + FOR)), int(RATE * WARM)
    spawn = multiprocessing.get_context("spawn")
    told = {name: spawn.Queue() for name in PARTNERS}
    running = [spawn.Process(target=PARTNERS[name], args=(settings, count, told[name])) for name in PARTNERS]
    journal = await KafkaJournal.open(settings)
    owner = await journal.own("bench", range(PARTITIONS))
    for process in running:
        process.start()
    for queue in told.values():
        await asyncio.to_thread(queue.get, timeout=30)
    begun = time.monotonic() + 0.5
    appended: list[float] = []
    for number, batch in enumerate(transactions(records[:count], together)):
        due = begun + number * together / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        stamped = [Record(r.topic, r.partition, r.key, _stamped(r.value, due), r.headers) for r in batch]
        await owner.append(stamped)
        appended.append(time.monotonic() - due)
    await journal.close()
    print(f"\n{RATE} changes a second for {FOR:.0f} s, {together} a transaction: milliseconds, median and 99 of 100")
    rows = {"appended": appended[warm // together :]}
    rows |= {name: (await asyncio.to_thread(told[name].get, timeout=30))[warm:] for name in PARTNERS}
    for name, found in rows.items():
        print(f"  {name:16} {1000 * median(found):6.0f} {1000 * sorted(found)[int(len(found) * 0.99)]:6.0f}")
    for process in running:
        process.join()


def _stamped(value: bytes, due: float) -> bytes:
    return orjson.dumps({"due": due})[:-1] + b"," + value[1:]


async def measure(cluster: Cluster) -> None:
    """Edits of known pages, as nearly all are."""
    records = corpus(edited()).records
    for together in (1, RATE // 3):
        await delays(cluster, records[len(records) // 2 :], together)


def main() -> None:
    """Measure and print."""
    with broker() as cluster:
        asyncio.run(measure(cluster))


if __name__ == "__main__":
    main()
