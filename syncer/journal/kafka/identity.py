"""Which topics these are: Kafka gives each an id when it is made (KIP-516), so one that was made anew is told from the old.

aiokafka speaks metadata requests up to version 5; the ids are in version 10 and later. Fields are those of Kafka's own
``MetadataRequest.json`` and ``MetadataResponse.json``, version 12.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from uuid import UUID

from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import AbstractType, Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BytesIO

    from aiokafka.client import AIOKafkaClient

NO_ID = UUID(int=0)


class _Uuid(AbstractType[UUID]):
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


_NAME, _TAGS = CompactString("utf-8"), ("tags", TaggedFields)
_IDS = CompactArray(Int32)


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME), _TAGS)),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _NAME),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32),
                        ("replicas", _IDS), ("isr", _IDS), ("offline", _IDS), _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )  # fmt: skip


class _MetadataRequest12(RequestStruct):
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _NAME), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        _TAGS,
    )


class _Topics(Request[_MetadataRequest12]):
    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def build(self, request_struct_class: type[_MetadataRequest12]) -> _MetadataRequest12:
        return request_struct_class([(NO_ID, name, {}) for name in self._names], False, False, {})  # noqa: FBT003 - the fields


class Found(NamedTuple):
    """A topic that is there: Kafka's id of it, its partitions, and how many copies there are of its records."""

    topic_id: UUID
    partitions: int
    copies: int


async def find(client: AIOKafkaClient, names: Iterable[str]) -> dict[str, Found]:
    """The topics of these names. Raises aiokafka's error where the broker gives one for a topic."""
    found = {}
    for error_code, name, topic_id, _, partitions, *_ in (await ask(client, _Topics(names))).topics:
        if error_code:
            raise for_code(error_code)(name)
        found[name] = Found(topic_id, len(partitions), len(partitions[0][4]))
    return found


async def ask(client: AIOKafkaClient, request: Request[Any]) -> Any:
    """What some broker answers."""
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    random.shuffle(nodes)
    while True:
        try:
            return await client.send(nodes.pop() if nodes else None, request)
        except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError):
            if not nodes:
                raise
