"""How the topics are set, beside how they have to be: brokers keep to what is set there, whatever a journal promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.protocol.admin import DescribeConfigsRequest

from syncer.errors import Misconfigured
from syncer.journal.kafka.identity import ask
from syncer.journal.kafka.names import CLEANUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiokafka.client import AIOKafkaClient

    from syncer.journal.kafka.names import TopicPlan

    Differs = Mapping[str, tuple[str | None, str]]  # by setting: as it is, as it should be


async def differing(client: AIOKafkaClient, plans: Sequence[TopicPlan]) -> dict[str, Differs]:
    """What is set otherwise, by topic. Raises aiokafka's error where the broker gives one for a topic."""
    resources = [(int(ConfigResourceType.TOPIC), each.name, None) for each in plans]
    answer = await ask(client, DescribeConfigsRequest(resources))
    is_set: dict[str, dict[str, str | None]] = {}
    for error_code, _, _, name, entries in answer.resources:
        if error_code:
            raise for_code(error_code)(name)
        is_set[name] = {entry[0]: entry[1] for entry in entries}
    return {each.name: _differs(each, is_set[each.name]) for each in plans}


def _differs(wanted: TopicPlan, is_set: Mapping[str, str | None]) -> Differs:
    return {key: (is_set.get(key), value) for key, value in wanted.config.items() if is_set.get(key) != value}


def refuse(found: Mapping[str, Differs]) -> None:
    """Raise Misconfigured where records vanish that are needed: of a stream all but the last of a key, else the last of a key."""
    for name, differs in found.items():
        is_set, wanted = differs.get(CLEANUP, (None, ""))
        if ({"compact", "delete"} - {wanted}) & set((is_set or "").split(",")):
            vanish = "all but the newest of each key" if wanted == "delete" else "what is the newest of its key, and old"
            raise Misconfigured(
                f"{name} has {CLEANUP} = {is_set}, not {wanted}: the brokers remove {vanish}",
                hint="syncer topics plan shows it, syncer topics apply sets it; what was removed already is lost",
            )


def told(found: Mapping[str, Differs]) -> Iterable[str]:
    """A line a topic that is set otherwise."""
    for name, differs in found.items():
        if differs:
            yield f"{name}: {', '.join(f'{key} is {is_set}, not {wanted}' for key, (is_set, wanted) in differs.items())}"
