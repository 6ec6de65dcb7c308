"""What the bridge does to the events on their way: every fault of the real feed, off unless asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class Options:
    """The bridge's switches. All may be changed while it runs, except ``dcs`` and ``partitions``. Times in seconds."""

    dcs: tuple[str, ...] = ("eqiad", "codfw")
    dc_mode: str = "first"  # or "random", or "switch:N": the other data centre after every N events
    partitions: int = 1  # of each topic, by title; production has one
    ts_mode: Literal["ms", "second"] = "ms"  # "second": Kafka's time is the event's, in whole seconds (upstream before 2024)
    id_mode: Literal["timestamp", "offset"] = "timestamp"
    max_conn_seconds: float = 0.0  # the edge closes a connection after 900 s; 0 is never
    disconnect: Literal["clean", "abrupt", "midevent"] = "abrupt"  # the last chunk sent; a reset; a reset inside an id
    canary_every: float = 0.0
    noise_rate: float = 0.0  # events a second of other wikis
    dup_prob: float = 0.0  # an event is produced twice: the same meta.id at a new offset
    reorder_prob: float = 0.0  # an event is held back behind the next one
    delay_max: float = 0.0  # an event is published after a random delay up to this
    retention: int = 0  # only so many events of a partition are kept; 0 is all
    connect_fail_prob: float = 0.0  # 503 with Retry-After
    max_conns: int = 0  # 429 above so many open streams
    throttle: float = 0.0  # pause between the events of a connection
    seed: int = 1

    def set(self, name: str, value: str) -> None:
        """Set one switch from its text. Raises AttributeError or ValueError."""
        setattr(self, name, type(getattr(self, name))(value))
