"""Which topics there are on Kafka, and how each has to be set up. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from syncer.errors import Misconfigured
from syncer.journal import COMPACTED, TOMBSTONES, Topic, partitions_of
from syncer.wire import MAX_RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.config import JournalSettings

OWNERS = "owners"  # who owns what, and that he lives: of the Kafka journal alone
OWNER_PARTITIONS = 16  # a transaction that hangs hides what stands behind it: owners should not hide one another
MAX_MESSAGE = MAX_RECORD + 64 * 1024  # bytes: a record's value, and room for its key, its headers and the batch around it
HOUR, DAY = 3_600_000, 86_400_000  # milliseconds
CLEANUP, IN_SYNC = "cleanup.policy", "min.insync.replicas"


class TopicPlan(NamedTuple):
    """A topic as it has to be; ``config`` holds every setting that must not be left to the cluster's defaults."""

    name: str
    partitions: int
    config: Mapping[str, str]

    def held_by(self, copies: int) -> TopicPlan:
        """The same with so many copies of every record: all but one of them, which may be away, have to hold what is written."""
        return self._replace(config={**self.config, IN_SYNC: str(max(1, copies - 1))})


def topic_name(prefix: str, topic: str) -> str:
    """What a topic is called on Kafka."""
    return f"{prefix}.{topic}.v1"


def plan(settings: JournalSettings, *, pages: bool = False) -> list[TopicPlan]:
    """Every topic of a journal, that of ``pages`` where it is kept; but for how many copies there are of its records."""
    retention = settings.retention
    kept = {
        Topic.CHANGES: (retention.changes_days, retention.changes_bytes),
        Topic.MUTATIONS: (retention.mutations_days, retention.mutations_bytes),
        Topic.SET_ASIDE: (retention.set_aside_days, retention.set_aside_bytes),
        Topic.RECEIPTS: (retention.mutations_days, retention.mutations_bytes),  # as long as what they are about
        Topic.REQUESTS: (retention.changes_days, retention.set_aside_bytes),  # each becomes a change, or is asked again
        Topic.MANIFESTS: (retention.mutations_days, retention.mutations_bytes),  # the same
    }
    common = {
        "message.timestamp.type": "LogAppendTime",  # a producer's clock may be wrong, and brokers refuse what is an hour ahead
        "max.message.bytes": str(MAX_MESSAGE),
        "compression.type": "producer",
        "unclean.leader.election.enable": "false",
    }
    # An active segment is never compacted, and is read whole at every start (PROTOCOL 37).
    compacted = {CLEANUP: "compact", "segment.ms": str(HOUR // 6), "segment.bytes": str(16 * 1024 * 1024)}
    # What was erased is gone in a day or two: so soon a segment is closed, and then compacted, however little there is to it.
    whole = {
        CLEANUP: "compact",
        "segment.ms": str(DAY),
        "segment.bytes": str(256 * 1024 * 1024),
        "max.compaction.lag.ms": str(DAY),
        "delete.retention.ms": str(int(TOMBSTONES * DAY)),
    }
    plans = []
    for topic in Topic:
        partitions = partitions_of(topic, settings.partitions)
        if topic is Topic.PAGES:
            if not pages:
                continue
            config = common | whole
        elif topic in COMPACTED:
            config = common | compacted
        else:
            days, most = kept[topic]
            config = common | {
                CLEANUP: "delete",
                "retention.ms": str(int(days * DAY)),
                "retention.bytes": str(max(1, most // partitions)),
                "segment.ms": str(DAY),  # only whole segments are removed
            }
        plans.append(TopicPlan(topic_name(settings.prefix, topic), partitions, config))
    return [*plans, TopicPlan(topic_name(settings.prefix, OWNERS), OWNER_PARTITIONS, common | compacted)]


def brokers(url: str) -> list[str]:
    """The addresses of a ``kafka://host:port[,host:port]``."""
    found = url.removeprefix("kafka://").rstrip("/").split(",")
    for address in found:
        host, colon, port = address.rpartition(":")
        if not host or not colon or not port.isdigit() or "/" in address or "@" in address:
            shown = "it has an @, and a password has no place in it" if "@" in url else url
            raise Misconfigured(f"journal.url is no list of brokers: {shown}", hint="kafka://host:port[,host:port]")
    return found
