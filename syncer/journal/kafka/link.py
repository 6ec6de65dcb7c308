"""How to reach the brokers, and what their errors mean."""

from __future__ import annotations

import logging
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka import errors as kafka

from syncer.errors import JournalUnavailable, Misconfigured, Refused, ResumeLost, SyncerError
from syncer.journal.kafka.names import brokers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncer.config import JournalSettings, KafkaSettings

REFUSED = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
    kafka.SaslAuthenticationFailed,
    kafka.UnsupportedSaslMechanismError,
    kafka.IllegalSaslStateError,
    kafka.SecurityDisabled,
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
)
TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError, kafka.RecordTooLargeError)
GONE = (kafka.OffsetOutOfRangeError, kafka.NoOffsetForPartitionError)
NO_TOPIC = (kafka.UnknownTopicOrPartitionError, kafka.InvalidTopicError)
OLD_BROKER = (kafka.UnsupportedVersionError, kafka.IncompatibleBrokerVersion, kafka.UnrecognizedBrokerVersion)
FENCED = (kafka.ProducerFenced, kafka.InvalidProducerEpoch)

# It says the same ten times a second while a broker is away; what matters comes as an error, and is said once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

APPLY = "syncer topics plan shows what is missing, syncer topics apply makes it"


def connection(settings: JournalSettings) -> dict[str, Any]:
    """What every client of aiokafka is told about the cluster."""
    how = settings.kafka
    told: dict[str, Any] = {"bootstrap_servers": brokers(settings.url), "security_protocol": how.security_protocol}
    if "SSL" in how.security_protocol:
        told["ssl_context"] = _tls(settings)
    if how.security_protocol.startswith("SASL"):
        told |= {"sasl_mechanism": how.sasl_mechanism, "sasl_plain_username": how.username, "sasl_plain_password": _password(how)}
    return told


def _password(how: KafkaSettings) -> str:
    """The password, from the environment, the settings' file, or a file of its own."""
    if how.username and how.password:
        return how.password.get_secret_value()
    if not how.username or not how.password_file:
        raise Misconfigured(
            f"journal.kafka.security_protocol = {how.security_protocol} wants a username and a password",
            hint="set journal.kafka.username, and SYNCER_JOURNAL__KAFKA__PASSWORD or journal.kafka.password_file",
        )
    try:
        return Path(how.password_file).read_text().rstrip("\n")
    except OSError as error:
        raise Misconfigured(f"journal.kafka.password_file cannot be read: {error}") from error


def _tls(settings: JournalSettings) -> ssl.SSLContext:
    """Certificates are always verified, against the system's authorities or the file's."""
    how = settings.kafka
    try:
        context = ssl.create_default_context(cafile=how.ca_file)
        if how.cert_file:
            context.load_cert_chain(how.cert_file, how.key_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"journal.kafka: certificates cannot be read: {error}", hint="check journal.kafka.ca_file, cert_file and key_file"
        ) from error
    return context


@contextmanager
def speaking(doing: str) -> Iterator[None]:
    """Say what an error of Kafka means for us; ``doing`` is what was tried, on what."""
    try:
        yield
    except (kafka.KafkaError, TimeoutError, OSError) as error:
        raise meaning(error, doing) from error


def meaning(error: Exception, doing: str) -> SyncerError:
    """What an error of Kafka, or a time-out, means for us, where it says nothing about an owner."""
    said = f"{doing}: {type(error).__name__}" + (f": {error}" if str(error) else "")
    match error:
        case kafka.KafkaError() if isinstance(error, REFUSED):
            return Refused(said, hint="check user, password and ACLs: syncer topics plan prints those that are needed")
        case kafka.KafkaError() if isinstance(error, GONE):
            return ResumeLost(said, hint="the journal was cut by retention, or made anew; start the reader anew")
        case kafka.KafkaError() if isinstance(error, OLD_BROKER):
            return Misconfigured(said, hint="the brokers are too old: Apache Kafka 3.1 or later is needed")
        case kafka.KafkaError() if isinstance(error, TOO_LARGE):
            return JournalUnavailable(said, hint="a topic's max.message.bytes was lowered: " + APPLY)
        case kafka.KafkaError() if isinstance(error, NO_TOPIC):
            return JournalUnavailable(said, hint="a topic is not there: " + APPLY)
        case _:
            return JournalUnavailable(said, hint="look at the brokers; they are tried again")
