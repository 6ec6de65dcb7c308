"""The Kafka journal beside clients that do nothing else.

    python -m tests.bench.kafka

A broker made for it on this machine, which shares the processors with whoever is measured. Records are the pages of the hub's
bench, each published and then edited, as the hub composes them. All write the same records in the same transactions, which end
with a record of progress; all read what they wrote so, committed records only, the journal partition by partition and the others
as they come. Bytes are those of the broker's files. Each line is the best of three runs.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer
from confluent_kafka import TopicPartition as Place

from deploy.kafka.layout import make
from syncer.config import JournalSettings, KafkaSettings
from syncer.journal import Record, Topic
from syncer.journal.kafka import KafkaJournal
from syncer.journal.kafka.names import MAX_MESSAGE, topic_name
from syncer.journal.kafka.producer import PRODUCER, sending
from syncer.mirror import APPLY_AT_ONCE
from syncer.progress import PROGRESS_KEY, Counts, Progress
from syncer.provision import apply
from tests.bench.feed import Stopwatch
from tests.bench.mirror import corpus, edited

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from deploy.kafka.nodes import Cluster
    from tests.bench.feed import Seconds

    Transactions = list[list[Record]]

REPEATS = 3
SIZES = {"as in catching up": 50, "as on the live feed": 10}  # changes a transaction: a full request; 30/s in 3 requests/s
PARTITIONS = 12


@contextmanager
def broker() -> Iterator[Cluster]:
    """A Kafka that nobody else uses."""
    with tempfile.TemporaryDirectory() as folder, make(Path(folder)) as cluster:
        yield cluster


async def journal_on(cluster: Cluster, prefix: str, partitions: int = PARTITIONS) -> JournalSettings:
    """The settings of a journal whose topics are there."""
    settings = JournalSettings(
        url=f"kafka://{cluster.bootstrap}", prefix=prefix, partitions=partitions, kafka=KafkaSettings(replication=1)
    )
    await apply(settings)
    return settings


def on_disk(cluster: Cluster, prefix: str, topic: Topic) -> list[int]:
    """The bytes of what every partition of a topic holds."""
    folders = (cluster.nodes[0].folder / "data").glob(f"{topic_name(prefix, topic)}-*")
    return [sum(file.stat().st_size for file in folder.glob("*.log")) for folder in folders]


def transactions(records: Sequence[Record], size: int) -> Transactions:
    """So many mutations each and the progress made with them; every partition in its turn."""
    progress = Progress(counts=Counts(published=1_000_000), read_to=1_000_000).encode()
    made = []
    for number, at in enumerate(range(0, len(records), size)):
        part = number % PARTITIONS
        batch = [Record(record.topic, part, record.key, record.value, record.headers) for record in records[at : at + size]]
        made.append([*batch, Record(Topic.PROGRESS, part, PROGRESS_KEY, progress)])
    return made


async def write_journal(settings: JournalSettings, work: Transactions) -> Seconds:
    """As the hub does."""
    journal = await KafkaJournal.open(settings)
    owner = await journal.own("bench", range(PARTITIONS))
    watch = Stopwatch()
    for batch in work:
        await owner.append(batch)
    took = watch.read()
    await journal.close()
    return took


async def write_aiokafka(settings: JournalSettings, work: Transactions) -> Seconds:
    """The same library, the same settings, and nothing beside."""
    sent = [[sending(settings.prefix, record) for record in batch] for batch in work]
    address = settings.url.removeprefix("kafka://")
    async with AIOKafkaProducer(**PRODUCER, bootstrap_servers=address, transactional_id=f"{settings.prefix}-bench") as producer:
        watch = Stopwatch()
        for batch in sent:
            async with producer.transaction():
                await asyncio.gather(*[await producer.send(**record) for record in batch])
        return watch.read()


async def write_confluent(settings: JournalSettings, work: Transactions) -> Seconds:
    """librdkafka, as it is but for the compression and the largest record."""
    sent = [[sending(settings.prefix, record) for record in batch] for batch in work]
    producer = Producer(
        {
            "bootstrap.servers": settings.url.removeprefix("kafka://"), "transactional.id": f"{settings.prefix}-bench",
            "compression.type": "zstd", "message.max.bytes": MAX_MESSAGE,
        }
    )  # fmt: skip
    producer.init_transactions()
    failed: list[object] = []
    watch = Stopwatch()
    for batch in sent:
        producer.begin_transaction()
        for record in batch:
            producer.produce(**record, on_delivery=lambda error, _: failed.append(error) if error else None)
        producer.commit_transaction()
    took = watch.read()
    if failed:
        raise AssertionError(failed)
    return took


async def read_journal(settings: JournalSettings, wanted: int) -> Seconds:
    """As a mirror does."""
    journal = await KafkaJournal.open(settings)
    found, watch = 0, Stopwatch()
    for part in range(PARTITIONS):
        offset = 0
        while records := await journal.read(Topic.MUTATIONS, part, offset, limit=APPLY_AT_ONCE):
            found, offset = found + len(records), records[-1].offset + 1
    took = watch.read()
    await journal.close()
    return _all(took, found, wanted)


async def read_aiokafka(settings: JournalSettings, wanted: int) -> Seconds:
    """The same library, all partitions at once."""
    topic, address = topic_name(settings.prefix, Topic.MUTATIONS), settings.url.removeprefix("kafka://")
    found = 0
    async with AIOKafkaConsumer(
        bootstrap_servers=address, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        watch = Stopwatch()
        places = [TopicPartition(topic, part) for part in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while found < wanted:
            found += sum(map(len, (await consumer.getmany(timeout_ms=1000, max_records=APPLY_AT_ONCE)).values()))
        return _all(watch.read(), found, wanted)


async def read_confluent(settings: JournalSettings, wanted: int) -> Seconds:
    """As docs/kafka.md says, all partitions at once."""
    consumer = partner(settings)
    found, watch = 0, Stopwatch()
    consumer.assign(places(settings))
    while found < wanted:
        found += len(consumer.consume(APPLY_AT_ONCE, 1.0))
    took = watch.read()
    consumer.close()
    return _all(took, found, wanted)


def partner(settings: JournalSettings) -> Consumer:
    """Connected."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.url.removeprefix("kafka://"), "isolation.level": "read_committed",
            "auto.offset.reset": "error", "enable.auto.commit": False, "group.id": "partner.bench",
        }
    )  # fmt: skip
    consumer.list_topics()
    return consumer


def places(settings: JournalSettings) -> list[Place]:
    topic = topic_name(settings.prefix, Topic.MUTATIONS)
    return [Place(topic, part, OFFSET_BEGINNING) for part in range(settings.partitions)]


def _all(took: Seconds, found: int, wanted: int) -> Seconds:
    if found != wanted:
        raise AssertionError(f"{found} records, {wanted} were written")
    return took


class Client(NamedTuple):
    """How somebody writes, and reads."""

    write: Callable[[JournalSettings, Transactions], Coroutine[Any, Any, Seconds]]
    read: Callable[[JournalSettings, int], Coroutine[Any, Any, Seconds]]


CLIENTS = {
    "aiokafka alone": Client(write_aiokafka, read_aiokafka),
    "confluent-kafka": Client(write_confluent, read_confluent),
    "the journal": Client(write_journal, read_journal),
}


async def throughput(cluster: Cluster, records: Sequence[Record], what: str, size: int) -> None:
    """Measure and print."""
    work, written, values = transactions(records, size), len(records), sum(len(record.value) for record in records)
    print(f"\n{what}: {written} records of {values / written / 1000:.1f} KB, {size} and one of progress a transaction")
    print(f"  {'':16} {'written/s':>9} {'x':>5} {'ms a transaction':>16} {'processor':>9}  {'bytes':>6} {'x':>5}", end="")
    print(f"   {'read/s':>8} {'x':>5} {'processor':>9}")
    settings = {name: await journal_on(cluster, f"{name.replace(' ', '-')}-{size}") for name in CLIENTS}
    writing = [{name: await client.write(settings[name], work) for name, client in CLIENTS.items()} for _ in range(REPEATS)]
    everything = REPEATS * written
    reading = [{name: await client.read(settings[name], everything) for name, client in CLIENTS.items()} for _ in range(REPEATS)]
    rows = {name: (_best(writing, name), _best(reading, name), _stored(cluster, settings[name])) for name in CLIENTS}
    (alone, _), (alone_reading, _), alone_stored = rows["aiokafka alone"]
    for name, ((wrote, processor), (read, read_processor), stored) in rows.items():
        print(
            f"  {name:16} {written / wrote:9,.0f} {alone / wrote:5.2f} {1000 * wrote / len(work):16.1f}"
            f" {1e6 * processor / written:6.0f} us  {stored / everything:6,.0f} {stored / alone_stored:5.2f}"
            f"   {everything / read:8,.0f} {alone_reading / read:5.2f} {1e6 * read_processor / everything:6.0f} us"
        )


def _best(runs: Sequence[dict[str, Seconds]], name: str) -> Seconds:
    return min(run[name][0] for run in runs), min(run[name][1] for run in runs)


def _stored(cluster: Cluster, settings: JournalSettings) -> int:
    return sum(on_disk(cluster, settings.prefix, Topic.MUTATIONS))


async def measure(cluster: Cluster) -> None:
    """Everything."""
    records = corpus(edited()).records
    half = len(records) // 2
    mixed = [record for pair in zip(records[:half], records[half:], strict=True) for record in pair]
    for what, size in SIZES.items():
        await throughput(cluster, mixed, what, size)


def main() -> None:
    """Measure and print."""
    with broker() as cluster:
        asyncio.run(measure(cluster))


if __name__ == "__main__":
    main()
