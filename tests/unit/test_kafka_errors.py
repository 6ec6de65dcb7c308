"""What every error of the Kafka client means for us."""

from __future__ import annotations

import asyncio
import gc
import inspect
import ssl

import pytest
from aiokafka import TopicPartition, errors

from syncer.errors import JournalUnavailable, Misconfigured, Refused, ResumeLost, Retry, Stop, SyncerError
from syncer.journal.kafka.link import FATES, FENCED, meaning
from syncer.journal.kafka.producer import PRODUCER, Producer

CLASSES = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, Exception)]
CLASSES.remove(errors.BrokerResponseError)  # only ever one of its kinds
FOR_GOOD: dict[type[Stop], set[str]] = {
    Refused: {
        "TopicAuthorizationFailedError", "GroupAuthorizationFailedError", "ClusterAuthorizationFailedError",
        "TransactionalIdAuthorizationFailed", "SaslAuthenticationFailed", "UnsupportedSaslMechanismError",
        "IllegalSaslStateError", "SecurityDisabled", "AuthenticationFailedError", "AuthenticationMethodNotSupported",
    },
    ResumeLost: {"OffsetOutOfRangeError", "NoOffsetForPartitionError"},
    Misconfigured: {"UnsupportedVersionError", "IncompatibleBrokerVersion", "UnrecognizedBrokerVersion"},
}  # fmt: skip


def made(kind: type[Exception]) -> Exception:
    return kind.__new__(kind, "why")


def test_every_exception_of_the_client_library_has_its_fate() -> None:
    fates = {each: meaning(made(each), "append") for each in CLASSES if issubclass(each, errors.KafkaError)}
    assert len(fates) > 100
    # Whoever gets one of these has made a mistake in using the library: a bug, and no trouble with Kafka.
    assert {each.__name__ for each in CLASSES if each not in fates} == {"ConsumerStoppedError", "IllegalOperation"}
    for fate, names in FOR_GOOD.items():
        assert {each.__name__ for each, error in fates.items() if type(error) is fate} == names
    waited_for = [error for error in fates.values() if not isinstance(error, Stop)]
    assert {type(error) for error in waited_for} == {JournalUnavailable}
    assert all(isinstance(error, Retry) and error.hint and "append" in str(error) for error in waited_for)


def test_no_error_has_two_fates() -> None:
    for each in CLASSES:
        assert sum(issubclass(each, kinds) for kinds, *_ in FATES) <= 1
    assert not any(issubclass(each, kinds) for each in FENCED for kinds, *_ in FATES)  # who was fenced asks who is the owner


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (TimeoutError(), JournalUnavailable),
        (ConnectionResetError("reset"), JournalUnavailable),
        (ssl.SSLEOFError("the broker went away"), JournalUnavailable),
        (ssl.SSLCertVerificationError("self-signed"), Refused),
        (AssertionError("Did we not perform bootstrap?"), JournalUnavailable),
    ],
)
def test_other_errors_that_come_from_there(error: Exception, fate: type[SyncerError]) -> None:
    assert type(meaning(error, "read")) is fate
    assert meaning(error, "read").hint


def test_an_error_is_named_once_and_nobody_is_told_that_it_is_tried_again() -> None:
    """Who waits says so himself, and a command that does not wait would lie."""
    told = meaning(errors.KafkaError("Unexpected error during batch delivery"), "append")
    assert str(told) == "append: KafkaError: Unexpected error during batch delivery"
    assert str(meaning(errors.KafkaTimeoutError(), "append")) == "append: KafkaTimeoutError"
    assert str(meaning(ConnectionResetError("reset"), "append")) == "append: ConnectionResetError: reset"
    assert "again" not in (told.hint or "")


class TestProducer:
    def test_a_batch_that_nobody_will_send_is_not_complained_of(self) -> None:
        """Of a producer that failed before it knew where to send, at the moment when the collector comes by."""
        heard: list[str] = []

        async def failing() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, what: heard.append(what["message"]))
            producer = Producer(bootstrap_servers="127.0.0.1:1", **PRODUCER)
            accumulator = producer._message_accumulator
            asked = await accumulator.add_message(TopicPartition("mutations", 0), b"key", b"value", 1.0, None)
            accumulator.fail_all(errors.KafkaError("the broker is away"))
            assert isinstance(asked.exception(), errors.KafkaError)
            del asked
            await producer.stop()
            del producer, accumulator
            gc.collect()

        asyncio.run(failing())
        assert heard == []
