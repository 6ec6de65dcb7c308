"""What the users of a journal have to be allowed, and nothing beyond that. Pure.

To read a topic or to write it includes to describe it, and to set it to see how it is set. Nobody needs a right on the cluster.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Literal, NamedTuple

from syncer.journal import INGEST, Topic
from syncer.journal.kafka.names import brokers, plan, topic_name
from syncer.journal.kafka.producer import transactional

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncer.config import JournalSettings

ENRICH = "enrich-"  # how the names of all shards begin


class Right(NamedTuple):
    """What a user may do with resources of these names, or with all whose names begin so."""

    operations: Sequence[str]
    resource: Literal["topic", "transactional-id", "group"]
    names: Sequence[str]
    prefixed: bool = False


class Users(NamedTuple):
    """Kafka's names of them: who sets up the topics, the hub (and its standby, and who asks it for repairs), a partner."""

    operator: str = "operator"
    hub: str = "hub"
    partner: str = "partner"


def rights(settings: JournalSettings, users: Users, *, pages: bool = False) -> dict[str, list[Right]]:
    """What each of the users needs; ``pages``: the topic of pages is kept."""
    every = [topic.name for topic in plan(settings, pages=pages)]
    kinds = (Topic.MUTATIONS, Topic.WATERMARKS, Topic.MANIFESTS, *((Topic.PAGES,) if pages else ()))
    read = [topic_name(settings.prefix, topic) for topic in kinds]
    ingest, enrich = (transactional(settings.prefix, name)["transactional_id"] for name in (INGEST, ENRICH))
    return {
        users.operator: [Right(("Create", "Describe", "AlterConfigs"), "topic", every)],
        users.hub: [
            Right(("Read", "Write"), "topic", every),
            Right(("Write",), "transactional-id", [ingest]),
            Right(("Write",), "transactional-id", [enrich], prefixed=True),
        ],
        users.partner: [
            Right(("Read",), "topic", read),
            Right(("Write",), "topic", [topic_name(settings.prefix, Topic.RECEIPTS)]),  # else its erasing is not told of
            Right(("Write",), "topic", [topic_name(settings.prefix, Topic.REQUESTS)]),  # else it does not heal
            Right(("Read",), "group", [f"{users.partner}."], prefixed=True),  # only for clients that subscribe in groups
        ],
    }


def optional(settings: JournalSettings, users: Users, *, pages: bool = False) -> dict[str, list[Right]]:
    """What the hub goes on without: to see how the topics are set, which it warns of."""
    return {users.hub: [Right(("DescribeConfigs",), "topic", [topic.name for topic in plan(settings, pages=pages)])]}


def commands(settings: JournalSettings, granted: Mapping[str, Sequence[Right]]) -> list[str]:
    """The same as lines for Kafka's own tool, which grant it."""
    address = ",".join(brokers(settings.url))
    return [_command(address, user, right) for user, rights in granted.items() for right in rights]


def _command(address: str, user: str, right: Right) -> str:
    words = ["kafka-acls.sh", "--bootstrap-server", address, "--command-config", "admin.properties", "--add"]
    words += ["--allow-principal", f"User:{user}"]
    for operation in right.operations:
        words += ["--operation", operation]
    for name in right.names:
        words += [f"--{right.resource}", name]
    words += ["--resource-pattern-type", "prefixed"] if right.prefixed else []
    return shlex.join(words)
