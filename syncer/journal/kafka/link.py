"""How to reach the brokers, and what their errors mean."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka import errors as kafka
from aiokafka.conn import create_conn

from syncer.errors import JournalUnavailable, Misconfigured, Refused, ResumeLost, Retry, Stop, SyncerError
from syncer.journal.kafka.names import brokers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

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
UNTRUSTED = (ssl.SSLCertVerificationError,)
TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError, kafka.RecordTooLargeError)
GONE = (kafka.OffsetOutOfRangeError, kafka.NoOffsetForPartitionError)
NO_TOPIC = (kafka.UnknownTopicOrPartitionError, kafka.InvalidTopicError)
OLD_BROKER = (kafka.UnsupportedVersionError, kafka.IncompatibleBrokerVersion, kafka.UnrecognizedBrokerVersion)
FENCED = (kafka.ProducerFenced, kafka.InvalidProducerEpoch)
AWAY = (kafka.KafkaConnectionError, kafka.NodeNotReadyError, kafka.KafkaTimeoutError, TimeoutError)

# The last two are what aiokafka says to who asks while it is being closed, and of a state that it is not in.
FAILURES = (kafka.KafkaError, TimeoutError, OSError, kafka.ConsumerStoppedError, AssertionError)
ASKED_WITHIN = 8_000  # milliseconds for a small answer
LET_IN_WITHIN = 2.0  # seconds

# It says the same ten times a second while a broker is away; what matters comes as an error, and is said once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

PLAN = "syncer topics plan shows what is missing or set otherwise, syncer topics apply makes it so"

# What cannot be waited out, or wants a hint of its own; whatever else there is, the brokers may get over it.
FATES: tuple[tuple[tuple[type[Exception], ...], type[Retry | Stop], str], ...] = (
    (REFUSED, Refused, "check user, password, certificate and ACLs: syncer topics plan prints those that are needed"),
    (UNTRUSTED, Refused, "check journal.kafka.ca_file, and that the certificates bear the names in journal.url"),
    (GONE, ResumeLost, "the journal was cut by retention, or made anew; start the reader anew"),
    (OLD_BROKER, Misconfigured, "the brokers are too old: Apache Kafka 3.1 or later is needed"),
    (TOO_LARGE, JournalUnavailable, "a topic's max.message.bytes was lowered: " + PLAN),
    (NO_TOPIC, JournalUnavailable, "a topic is not there: " + PLAN + "; if it was there before, what it held is lost"),
)


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
            context.load_cert_chain(how.cert_file, how.key_file, password="")  # else a terminal would be asked for one
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"journal.kafka: certificates cannot be read: {error}", hint="check journal.kafka.ca_file, cert_file and key_file"
        ) from error
    return context


@asynccontextmanager
async def reaching(link: Mapping[str, Any], doing: str) -> AsyncIterator[None]:
    """Say what an error of Kafka means for us; ``doing`` is what was tried, on what."""
    try:
        yield
    except AWAY as error:
        raise meaning(await _refusal(link) or error, doing) from error
    except FAILURES as error:
        raise meaning(error, doing) from error


async def _refusal(link: Mapping[str, Any]) -> Exception | None:
    """Why a broker does not let us in, where it is that: aiokafka says only that it could not connect, whatever the reason."""
    told = {name: value for name, value in link.items() if name.startswith(("sasl_", "ssl_", "security_"))}
    for address in link["bootstrap_servers"]:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(LET_IN_WITHIN):
                (await create_conn(host.strip("[]"), int(port), **told)).close()
        except (*REFUSED, *UNTRUSTED) as error:
            return error
        except FAILURES as error:
            if isinstance(error.__cause__, ssl.SSLError) and "CERTIFICATE" in (error.__cause__.reason or ""):
                refusal: Exception = kafka.AuthenticationFailedError(f"they want one that they trust: {error.__cause__}")
                return refusal
    return None


def meaning(error: Exception, doing: str) -> SyncerError:
    """What an error of Kafka, or a time-out, means for us, where it says nothing about an owner."""
    name, why = type(error).__name__, str(error)
    said = f"{doing}: {why}" if why.startswith(name) else f"{doing}: {name}: {why}" if why else f"{doing}: {name}"
    for kinds, fate, hint in FATES:
        if isinstance(error, kinds):
            return fate(said, hint=hint)
    return JournalUnavailable(said, hint="look at the brokers, and at journal.url and journal.kafka.security_protocol")
