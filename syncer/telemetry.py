"""Logging, and every metric there is, in one block. Nothing here knows what is measured."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

REGISTRY = CollectorRegistry(auto_describe=True)
disable_created_metrics()  # type: ignore[no-untyped-call] # a second series beside every counter, which nobody reads

# Ingest: the feed and what is made of it.
FEED_EVENTS = Counter(
    "syncer_feed_events_total", "Events delivered by the feed, by outcome and reason.", ["outcome", "reason"], registry=REGISTRY
)
FEED_CONNECTED = Gauge("syncer_feed_connected", "1 while the feed is connected.", registry=REGISTRY)
FEED_CONNECTIONS = Counter("syncer_feed_connections_total", "Connections made to the feed.", registry=REGISTRY)
FEED_LAG = Gauge("syncer_feed_lag_seconds", "Age of the newest event when it was delivered.", registry=REGISTRY)
FEED_QUIET = Gauge("syncer_feed_quiet_streams", "Streams of which not even a canary came for too long.", registry=REGISTRY)

# Enrich: changes on their way to mutations.
CHANGES = Counter("syncer_changes_total", "Changes finished, by outcome and reason.", ["outcome", "reason"], registry=REGISTRY)
CHANGES_QUEUED = Gauge("syncer_changes_queued", "Changes taken in and not finished.", registry=REGISTRY)
CHANGES_RETENTION = Gauge(
    "syncer_changes_retention_used_ratio", "How much of what Kafka keeps of changes is unfinished: beyond 1 it is lost.",
    registry=REGISTRY,
)  # fmt: skip
MUTATIONS = Counter("syncer_mutations_total", "Mutations published, by kind.", ["kind"], registry=REGISTRY)
DELAY = Histogram(
    "syncer_publication_delay_seconds", "From the event to its mutations.",
    buckets=(0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 300, 3600), registry=REGISTRY,
)  # fmt: skip
API_REQUESTS = Counter(
    "syncer_api_requests_total", "HTTP requests to the Action API, by how they ended.", ["result"], registry=REGISTRY
)
API_SECONDS = Histogram(
    "syncer_api_request_seconds", "Time of an HTTP request to the Action API, without the wait for its turn.",
    buckets=(0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60), registry=REGISTRY,
)  # fmt: skip
WIKIS_OUT = Gauge("syncer_wikis_unavailable", "Wikis that were taken out of the way.", registry=REGISTRY)

# Reconcile: what upstream never said.
RECONCILE_FOUND = Counter(
    "syncer_reconcile_found_total", "Changes appended that the feed had not told of, by how they were found.", ["by"],
    registry=REGISTRY,
)  # fmt: skip
RECONCILE_REQUESTS = Counter(
    "syncer_reconcile_requests_total", "Requests that looking for them has cost.", ["by"], registry=REGISTRY
)
RECONCILE_OVERDUE = Gauge(
    "syncer_reconcile_overdue_seconds", "How long a wiki has waited to be compared since that was due.", registry=REGISTRY
)

# Heal: what mirrors ask for.
HEAL_REQUESTS = Counter(
    "syncer_heal_requests_total", "Requests of mirrors for a page, by what became of them.", ["result"], registry=REGISTRY
)

MANIFESTS_OVERDUE = Gauge(
    "syncer_manifests_overdue_seconds", "How long an hour has been over, and its manifests are not made.", registry=REGISTRY
)

# Mirror: a partner's side.
APPLIED = Counter("syncer_mirror_applied_total", "Mutations applied, by kind.", ["kind"], registry=REGISTRY)
DIVERGED = Gauge("syncer_mirror_diverged_pages", "Pages whose text is not the announced one.", registry=REGISTRY)
HEALED = Counter("syncer_mirror_healed_total", "Pages whose text was put right.", registry=REGISTRY)


# What a mirror serves: of a feed it has nothing to tell, not even that it is not connected.
MIRROR = CollectorRegistry(auto_describe=True)
MIRROR.register(APPLIED)
MIRROR.register(DIVERGED)
MIRROR.register(HEALED)


def metrics(registry: CollectorRegistry = REGISTRY) -> bytes:
    """The metrics in the text format of Prometheus."""
    return generate_latest(registry)


def set_up_logging(level: str, *, json: bool) -> None:
    """Log to stderr: for people on a terminal, a JSON object a line otherwise."""
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_nothing,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _without_nothing(_logger: object, _name: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what has no value: a hint that there is not."""
    return {name: value for name, value in event.items() if value is not None}
