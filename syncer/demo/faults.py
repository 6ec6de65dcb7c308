"""What goes wrong upstream, as one frozen value that can be replaced while everything runs.

    upstream.faults = replace(upstream.faults, lag=3.0, duplicate=0.05)

Whoever publishes or serves reads it anew for every event, connection and request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

DATACENTRES = ("eqiad", "codfw")

Cut = Literal["clean", "abrupt", "midevent", "error"]
Mishap = Literal[
    "maxlag", "ratelimited", "internal_error", "throttled", "throttled_bare", "throttled_text", "server_error", "unavailable",
    "hang", "reset", "cut", "truncated", "not_json", "oversized", "elsewhere", "unauthorized", "forbidden",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """All quiet by default. Probabilities are from 0 to 1, times in seconds, sizes in bytes.

    Publishing: ``datacentre`` is the one that events go to now; an event is lost, published twice (another offset, the same
    ``meta.id``) or held back behind the next one with the probability given.

    The feed: a connection ends after ``cut_after`` (900 in production) in the manner of ``cut``: with the final chunk, with a
    reset, in the middle of an event, or with an ``event: error``. ``chunk`` is how the stream is cut into HTTP chunks: each SSE
    line its own as upstream does, whole events, or so many bytes. ``refuse`` answers every connection with this status and
    Retry-After; ``mute`` sends no headers at all, as with its broker down; ``stall`` delivers nothing for as long as it is set.
    Canaries come every ``canary_every`` (900 in production, 0 is never).

    The API: every answer takes ``latency``; it is as of ``lag`` ago, and an error where the request's ``maxlag`` is less.
    ``budget`` requests start in any minute, the rest get 429. ``max_result`` ends an answer early (12,582,912 in production).
    ``gzip`` is the level, 0 is off. ``mishaps`` happen with the probability given, ``broken`` are the wikis to which one happens
    always; an oversized answer has ``oversize`` bytes.
    """

    datacentre: str = DATACENTRES[0]
    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0

    cut_after: float | None = None
    cut: Cut = "abrupt"
    chunk: Literal["line", "event"] | int = "line"
    max_connections: int = 2
    refuse: tuple[int, str | None] | None = None
    mute: bool = False
    stall: bool = False
    canary_every: float = 0.0

    latency: float = 0.0
    lag: float = 0.0
    budget: int | None = None
    max_result: int = 12 * 1024 * 1024
    gzip: int = 1
    mishaps: Mapping[Mishap, float] = field(default_factory=dict)
    broken: Mapping[str, Mishap] = field(default_factory=dict)
    oversize: int = 64 * 1024 * 1024
