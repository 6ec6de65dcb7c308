"""What the journal on Kafka builds on, shown on a real broker: aiokafka's transactions, and where it is not as one expects.

A test that fails here after an upgrade of aiokafka or Kafka says which assumption of `syncer/journal/kafka` to look at again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerIdMapping,
    KafkaError,
    MessageSizeTooLargeError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    RequestTimedOutError,
)
from aiokafka.structs import OffsetAndMetadata

from deploy.kafka.layout import make
from tests.kafka import PATIENCE, Kafka, fresh

if TYPE_CHECKING:
    from pathlib import Path

    from aiokafka import AIOKafkaProducer

    from deploy.kafka.nodes import Cluster

IMPATIENCE = 1.0  # seconds that something is given which nothing will answer


async def put(producer: AIOKafkaProducer, topic: str, value: bytes) -> int:
    """Send to the first partition; the offset once the broker has it."""
    async with asyncio.timeout(PATIENCE):
        stored = await (await producer.send(topic, value, partition=0))
    offset: int = stored.offset
    return offset


class TestTransactions:
    """Kafka still accepts the old versions of the transaction requests, which is what aiokafka speaks."""

    async def test_committed_records_of_several_topics_are_seen_together(self, kafka: Kafka) -> None:
        changes, progress = await kafka.topic(), await kafka.topic()
        async with kafka.producer(fresh("id")) as producer:
            await producer.begin_transaction()
            offsets = [
                await put(producer, changes, b"one"),
                await put(producer, changes, b"two"),
                await put(producer, progress, b"2"),
            ]
            assert offsets == [0, 1, 0]
            assert await kafka.read(changes) == await kafka.read(progress) == []
            assert await kafka.read(changes, isolation_level="read_uncommitted") == [b"one", b"two"]
            await producer.commit_transaction()
            assert await kafka.committed(changes) == [b"one", b"two"]
            assert await kafka.committed(progress) == [b"2"]

            await producer.begin_transaction()
            assert await put(producer, changes, b"three") == 3  # the marker of the commit took an offset too: offsets have holes
            await producer.commit_transaction()

    async def test_aborted_records_are_never_seen(self, kafka: Kafka) -> None:
        topic = await kafka.topic()
        async with kafka.producer(fresh("id")) as producer:
            await producer.begin_transaction()
            await put(producer, topic, b"aborted")
            await producer.abort_transaction()
            async with producer.transaction():
                await put(producer, topic, b"committed")
            with pytest.raises(IllegalOperation):
                await put(producer, topic, b"outside of a transaction")
        assert await kafka.committed(topic) == [b"committed"]
        assert await kafka.read(topic, isolation_level="read_uncommitted") == [b"aborted", b"committed"]

    async def test_the_second_producer_of_an_id_aborts_and_fences_the_first(self, kafka: Kafka) -> None:
        topic, name = await kafka.topic(), fresh("id")
        async with kafka.producer(name) as old:
            await old.begin_transaction()
            await put(old, topic, b"open when the second one started")
            async with kafka.producer(name) as new:
                async with new.transaction():
                    await put(new, topic, b"of the new one")
                with pytest.raises(ProducerFenced):
                    await put(old, topic, b"of the old one")
                with pytest.raises(ProducerFenced):
                    await old.commit_transaction()
                async with new.transaction():
                    await put(new, topic, b"and it goes on")
        assert await kafka.committed(topic) == [b"of the new one", b"and it goes on"]

    async def test_whoever_is_fenced_hears_it_once_and_then_gets_assertion_errors(self, kafka: Kafka) -> None:
        """The first error decides what happened; after it the producer is only good for `stop()`."""
        topic, name = await kafka.topic(), fresh("id")
        async with kafka.producer(name) as old, kafka.producer(name):
            await old.begin_transaction()  # asks nobody
            with pytest.raises(ProducerFenced):
                await put(old, topic, b"the first of its transaction")
            for more in (old.commit_transaction, old.abort_transaction, old.begin_transaction):
                with pytest.raises(AssertionError, match="FATAL_ERROR"):
                    await more()

    @pytest.mark.parametrize("attempt", ["commit", "send"])
    async def test_a_transaction_that_timed_out_looks_like_a_fence(self, kafka: Kafka, attempt: str) -> None:
        """A lone hub that was suspended: nobody took over, the broker itself raised the epoch. Only an owner record tells the two
        apart, and a new producer under the same id goes on.
        """
        topic, name = await kafka.topic(), fresh("id")
        async with kafka.producer(name, transaction_timeout_ms=1000) as producer:
            await producer.begin_transaction()
            await put(producer, topic, b"before it was suspended")
            await _aborted_by_the_broker(kafka, topic)
            with pytest.raises(ProducerFenced):
                await (producer.commit_transaction() if attempt == "commit" else put(producer, topic, b"after"))
        async with kafka.producer(name) as again, again.transaction():
            await put(again, topic, b"goes on")
        assert await kafka.committed(topic) == [b"goes on"]

    async def test_between_transactions_no_time_runs(self, kafka: Kafka) -> None:
        """So a transaction is begun only when every result is in hand."""
        topic = await kafka.topic()
        async with kafka.producer(fresh("id"), transaction_timeout_ms=500) as producer:
            async with producer.transaction():
                await put(producer, topic, b"before")
            await asyncio.sleep(2)  # the broker looks once a second for what has timed out
            async with producer.transaction():
                await put(producer, topic, b"after")
        assert await kafka.committed(topic) == [b"before", b"after"]


async def _aborted_by_the_broker(kafka: Kafka, topic: str) -> None:
    """Until it has ended the open transaction, the first in this topic, which nobody else will."""
    await kafka.settled(topic)
    assert await kafka.read(topic) == []


class TestRefusedRecords:
    async def test_the_commit_succeeds_without_them(self, kafka: Kafka) -> None:
        """Nothing but the record's own future tells. So all of them are awaited before a commit."""
        roomy, narrow = await kafka.topic(), await kafka.topic(max_message_bytes=1000)
        async with kafka.producer(fresh("id")) as producer:
            await producer.begin_transaction()
            sent = [await producer.send(roomy, b"kept", partition=0), await producer.send(narrow, bytes(2000), partition=0)]
            assert (await sent[0]).offset == 0
            with pytest.raises(MessageSizeTooLargeError):
                await sent[1]
            await producer.commit_transaction()
        assert await kafka.committed(roomy) == [b"kept"]
        assert await kafka.committed(narrow) == []

    async def test_they_leave_a_gap_that_the_producer_does_not_survive(self, kafka: Kafka) -> None:
        """Their sequence numbers are used up: all that follows in the partition is refused, and every commit still succeeds."""
        topic, name = await kafka.topic(max_message_bytes=1000), fresh("id")
        async with kafka.producer(name) as producer:
            async with producer.transaction():
                await put(producer, topic, b"first")
            await producer.begin_transaction()
            with pytest.raises(MessageSizeTooLargeError):
                await put(producer, topic, bytes(2000))
            await producer.abort_transaction()
            await producer.begin_transaction()
            with pytest.raises(OutOfOrderSequenceNumber):
                await put(producer, topic, b"small, and refused")
            await producer.commit_transaction()
        async with kafka.producer(name) as another, another.transaction():
            await put(another, topic, b"of a new producer")
        assert await kafka.committed(topic) == [b"first", b"of a new producer"]

    async def test_the_client_counts_bytes_before_compression_and_the_broker_after(self, kafka: Kafka) -> None:
        topic, text = await kafka.topic(max_message_bytes=10_000), bytes(2 << 20)
        async with kafka.producer(fresh("id"), compression_type="zstd") as producer:
            await producer.begin_transaction()
            with pytest.raises(MessageSizeTooLargeError, match="max_request_size"):  # 1 MiB if nothing is said
                await put(producer, topic, text)
            await producer.abort_transaction()
        async with (
            kafka.producer(fresh("id"), compression_type="zstd", max_request_size=3 << 20) as producer,
            producer.transaction(),
        ):
            await put(producer, topic, text)
        assert await kafka.committed(topic) == [text]

    async def test_a_linger_delays_every_record_that_is_awaited(self, kafka: Kafka) -> None:
        topic = await kafka.topic()
        async with kafka.producer(fresh("id"), linger_ms=400) as producer:
            started = time.monotonic()
            async with producer.transaction():
                await put(producer, topic, b"awaited before the commit")
        assert time.monotonic() - started >= 0.4


class TestSilence:
    """A broker that takes what is sent and answers nothing, which is worse than one that is gone."""

    async def test_transactional_records_never_expire_and_stop_hangs(self, cluster: Cluster) -> None:
        """Every send, commit and stop needs a time limit of ours; the library's own ends only plain producers."""
        kafka = Kafka(cluster.bootstrap)
        topic = await kafka.topic()
        async with (
            kafka.producer(request_timeout_ms=500) as plain,
            kafka.producer(fresh("id"), request_timeout_ms=500) as transactional,
        ):
            await put(plain, topic, b"plain")
            await transactional.begin_transaction()
            await put(transactional, topic, b"open")
            cluster.nodes[0].freeze()
            lost, kept = [await producer.send(topic, b"into silence", partition=0) for producer in (plain, transactional)]
            with pytest.raises(RequestTimedOutError):
                await lost
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * IMPATIENCE):
                    await asyncio.shield(kept)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(IMPATIENCE):
                    await transactional.stop()
            cluster.nodes[0].thaw()
            async with asyncio.timeout(PATIENCE):
                await kept  # a producer that could not be stopped lives on, and so does its transaction

    @pytest.mark.parametrize(("then", "outcomes"), [("thaw", [[b"in question"]]), ("restart", [[], [b"in question"]])])
    async def test_a_commit_that_timed_out_may_have_succeeded(
        self, cluster: Cluster, then: str, outcomes: list[list[bytes]]
    ) -> None:
        """A new producer under the same id ends the doubt, whichever way; what is settled after its start is the truth."""
        kafka, name, (node,) = Kafka(cluster.bootstrap), fresh("id"), cluster.nodes
        topic = await kafka.topic()
        async with kafka.producer(name) as doubtful:
            await doubtful.begin_transaction()
            await put(doubtful, topic, b"in question")
            node.freeze()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(IMPATIENCE):
                    await doubtful.commit_transaction()
            with pytest.raises(AssertionError):  # nor can it be aborted now, or tried again
                await doubtful.abort_transaction()
            await doubtful.client.close()  # else it would go on trying to commit
        if then == "thaw":
            node.thaw()
            await kafka.settled(topic)
        else:
            node.kill()
            node.start()
            await asyncio.to_thread(cluster.wait)
        async with kafka.producer(name) as producer:
            truth = await kafka.committed(topic)
            assert truth in outcomes
            async with producer.transaction():
                await put(producer, topic, b"goes on")
        assert await kafka.committed(topic) == [*truth, b"goes on"]


async def test_an_id_that_expired_is_an_error_that_does_not_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a quiet week. Only the library's log knows what it was: an error without a name asks for a new producer."""
    caplog.set_level("ERROR", logger="aiokafka")  # which the journal silences
    soon = {"transactional.id.expiration.ms": "2000", "transaction.remove.expired.transaction.cleanup.interval.ms": "200"}
    with make(tmp_path, settings=soon) as forgetful:
        kafka, name = Kafka(forgetful.bootstrap), fresh("id")
        topic = await kafka.topic()
        async with kafka.producer(name) as producer:
            async with producer.transaction():
                await put(producer, topic, b"before")
            await asyncio.sleep(3.5)
            await producer.begin_transaction()
            with pytest.raises(KafkaError) as raised:
                await put(producer, topic, b"after")
            assert type(raised.value) is KafkaError
            assert raised.value.__cause__ is None
            assert InvalidProducerIdMapping.__name__ in caplog.text
        async with kafka.producer(name) as producer, producer.transaction():
            await put(producer, topic, b"of a new producer")
        assert await kafka.committed(topic) == [b"before", b"of a new producer"]


class TestReading:
    async def test_an_open_transaction_hides_what_others_commit_after_it(self, kafka: Kafka) -> None:
        """`read_committed` ends at the last stable offset, and so does `end_offsets`: one partition, one writer."""
        topic = await kafka.topic()
        async with kafka.producer(fresh("id")) as slow, kafka.producer(fresh("id")) as quick:
            await slow.begin_transaction()
            await put(slow, topic, b"open")
            async with quick.transaction():
                await put(quick, topic, b"committed")
            await asyncio.sleep(0.5)
            assert await kafka.read(topic) == []
            assert await kafka.end(topic) == 0
            assert await kafka.end(topic, isolation_level="read_uncommitted") == 3  # two records and a marker
            await slow.abort_transaction()
        assert await kafka.committed(topic) == [b"committed"]
        assert await kafka.end(topic) == 4

    async def test_a_commit_is_answered_before_it_can_be_read(self, kafka: Kafka) -> None:
        """The coordinator answers when it has decided, and writes the markers into the partitions afterwards, one by one. Who has
        to read what was just committed waits for its offset, or starts a producer under the same id, which waits for the markers.
        """
        topic, commits, late = await kafka.topic(), 0, False
        partition = TopicPartition(topic, 0)
        async with (
            kafka.producer(fresh("id")) as producer,
            kafka.consumer(isolation_level="read_committed") as reader,
            asyncio.timeout(PATIENCE),
        ):
            while not late:  # two of three are
                async with producer.transaction():
                    offset = await put(producer, topic, b"")
                late = (await reader.end_offsets([partition]))[partition] <= offset
                commits += 1
        assert await kafka.committed(topic) == [b""] * commits

    async def test_a_consumer_of_whom_nothing_is_said_reads_what_is_not_there_and_misses_what_is(self, kafka: Kafka) -> None:
        topic, group = await kafka.topic(), fresh("group")
        partition = TopicPartition(topic, 0)
        async with kafka.producer(fresh("id")) as producer:
            await producer.begin_transaction()
            await put(producer, topic, b"aborted")
            await producer.abort_transaction()
        async with kafka.consumer(group_id=group) as consumer:
            consumer.assign([partition])
            assert await consumer.getmany(timeout_ms=500) == {}  # "latest"
            await consumer.seek_to_beginning(partition)
            assert [record.value for record in (await consumer.getmany(timeout_ms=5000))[partition]] == [
                b"aborted"
            ]  # uncommitted
        async with kafka.consumer(group_id=group, enable_auto_commit=False) as consumer:
            assert await consumer.committed(partition) == 2  # behind the marker; when it was closed, and nobody said so

    async def test_a_lost_place_is_an_error_only_for_those_who_ask(self, kafka: Kafka) -> None:
        topic = await kafka.topic()
        partition = TopicPartition(topic, 0)
        async with kafka.producer() as producer, kafka.admin() as admin:
            for value in (b"gone", b"gone", b"there"):
                await put(producer, topic, value)
            await admin.delete_records({partition: RecordsToDelete(before_offset=2)})  # as retention does
        async with kafka.consumer() as consumer:
            consumer.assign([partition])
            consumer.seek(partition, 0)
            assert await consumer.getmany(timeout_ms=500) == {}
            assert await consumer.position(partition) == 3  # at the end: two lost, and one that is still there
        async with kafka.consumer(auto_offset_reset="none") as consumer:
            consumer.assign([partition])
            with pytest.raises(NoOffsetForPartitionError):
                await consumer.getmany(timeout_ms=5000)
            consumer.seek(partition, 0)
            with pytest.raises(OffsetOutOfRangeError):
                await consumer.getmany(timeout_ms=5000)

    async def test_what_is_noted_with_a_groups_offset_cannot_be_read(self, kafka: Kafka) -> None:
        """Offsets in a transaction work, but come back as bare numbers: a position needs a record of its own."""
        topic, group = await kafka.topic(), fresh("group")
        partition = TopicPartition(topic, 0)
        async with kafka.producer(fresh("id")) as producer, producer.transaction():
            await producer.send_offsets_to_transaction({partition: OffsetAndMetadata(7, "who, when, why")}, group)
        async with kafka.consumer(group_id=group, enable_auto_commit=False) as consumer, asyncio.timeout(PATIENCE):
            while (committed := await consumer.committed(partition)) is None:
                pass
        assert committed == 7

    async def test_who_waits_for_records_is_not_the_one_to_ask(self, kafka: Kafka) -> None:
        """A question goes over the connection on which the broker holds a fetch back until something comes."""
        topic, took = await kafka.topic(), []
        partition = TopicPartition(topic, 0)
        async with kafka.consumer(fetch_max_wait_ms=1500) as waiting, kafka.consumer() as other:
            waiting.assign([partition])
            waiting.seek(partition, 0)
            await waiting.getmany(timeout_ms=200)
            for consumer in (waiting, other):
                started = time.monotonic()
                assert await consumer.end_offsets([partition]) == {partition: 0}
                took.append(time.monotonic() - started)
        assert took[0] > 2 * took[1], took
        assert took[0] > 0.5, took
