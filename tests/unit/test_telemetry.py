"""What is logged, and how metrics are named."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from prometheus_client import Counter, Gauge, Histogram

from syncer import telemetry
from tests.command import ROOT

if TYPE_CHECKING:
    from prometheus_client.metrics import MetricWrapperBase

METRICS: dict[str, MetricWrapperBase] = {
    name: metric for name, metric in vars(telemetry).items() if isinstance(metric, Counter | Gauge | Histogram)
}
# A label may have so many values and no more: never one for each wiki, page or address.
LABELS = {"outcome", "reason", "result", "kind", "by"}

SAYS = """
import structlog
from syncer import telemetry
log = structlog.get_logger()
telemetry.set_up_logging({level!r}, json={json})
log.debug("seen closely", page="Seite [1]\\nzwei", hint=None)
log.info("done", count=3, hint=None, text=b"bytes")
try:
    1 / 0
except ZeroDivisionError:
    log.error("went wrong", exc_info=True)
"""


def said(level: str, *, as_json: bool) -> list[str]:
    code = SAYS.format(level=level, json=as_json)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_is_an_object_a_line_without_what_is_nothing() -> None:
    debug, done, wrong = map(json.loads, said("debug", as_json=True))
    assert (debug["event"], debug["level"], debug["page"]) == ("seen closely", "debug", "Seite [1]\nzwei")
    assert "hint" not in debug
    assert (done["count"], done["level"]) == (3, "info")
    assert done["timestamp"].endswith("Z")
    assert "ZeroDivisionError" in wrong["exception"]


def test_text_is_a_line_for_people() -> None:
    lines = said("info", as_json=False)
    assert "done" in lines[0]
    assert "count=3" in lines[0]
    assert "hint" not in lines[0]
    assert "ZeroDivisionError: division by zero" in lines[-1]


@pytest.mark.parametrize(("level", "events"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 1)])
def test_a_level_leaves_out_what_is_below(level: str, events: int) -> None:
    assert len(said(level, as_json=True)) == events


def test_there_are_metrics_of_every_part() -> None:
    names = {metric._name for metric in METRICS.values()}
    assert len(names) == len(METRICS) > 10
    for part in ("syncer_feed_", "syncer_changes", "syncer_mutations", "syncer_api_", "syncer_mirror_"):
        assert any(name.startswith(part) for name in names)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_named_by_the_rules_and_explained(name: str) -> None:
    metric = METRICS[name]
    exposed = metric._name + ("_total" if isinstance(metric, Counter) else "")
    assert exposed.startswith("syncer_")
    assert metric._documentation.endswith(".")
    assert not exposed.endswith(("_ms", "_millis", "_minutes", "_kb", "_mb"))
    if isinstance(metric, Histogram):
        assert exposed.endswith(("_seconds", "_bytes"))
    assert set(metric._labelnames) <= LABELS
    assert exposed.encode() in telemetry.metrics()


def test_metrics_are_the_projects_own() -> None:
    assert b"python_info" not in telemetry.metrics()
    assert b"_created" not in telemetry.metrics()
