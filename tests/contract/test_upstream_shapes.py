"""The fake's events and answers beside the recorded ones: same fields, same types, for everything a workload brings forth."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from syncer.demo.actions import WEIGHTS, Workload
from syncer.demo.farm import Farm
from tests.contract.upstream import all_events
from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator

Paths = dict[str, str]  # path of a field -> its type
Kind = tuple[str, str]

SAMPLES = SHARED / "lab" / "samples"
EVENTBUS, RCFEED = SAMPLES / "eventbus-page-change-1.11.0", SAMPLES / "rcfeed"
ADDED = {"$schema", "meta", "parsedcomment"}  # by the way to the stream, for recentchange
# Absent on a part of the real feed's events (DATA), though never in the recordings of one wiki.
OPTIONAL = ("patrolled", "length.old", "revision.old", "prior_state.revision.comment", "prior_state.revision.editor")
ACCOUNT = {"user_id", "user_central_id", "edit_count", "registration_dt", "first_edit_dt"}  # of a user who has one
UNRECORDED = {"categorize", "142", "log rights/rights", "log patrol/patrol"}  # noise: of another shape on purpose


def paths(value: Any, at: str = "") -> Paths:
    """Every field of an event. Lists are not looked into."""
    if not isinstance(value, dict):
        return {at: type(value).__name__}
    found: Paths = {}
    for name, part in value.items():
        found |= paths(part, f"{at}.{name}" if at else name)
    return found or {at: "dict"}


def kind_of(event: dict[str, Any], stream: str) -> Kind:
    """What an event is of: its stream, and its kind there."""
    kind = event.get("page_change_kind") or event.get("type") or ""
    return stream, f"log {event['log_type']}/{event['log_action']}" if kind == "log" else kind


def recorded() -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Every event of the recordings."""
    for file in sorted([*EVENTBUS.glob("*.json"), *RCFEED.glob("*.json")]):
        sample = json.loads(file.read_text())
        for event in sample.get("eventbus", ()):
            yield kind_of(event, event["meta"]["stream"]), event
        for event in sample.get("rcfeed", sample.get("events", ())):
            yield kind_of(event, "mediawiki.recentchange"), event


@cache
def known() -> dict[Kind, list[Paths]]:
    """The fields of each kind of event, as recorded."""
    found = defaultdict(list)
    for kind, event in recorded():
        found[kind].append({path: name for path, name in paths(event).items() if path.split(".")[0] not in ADDED})
    return found


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    """What a workload says."""
    if not EVENTBUS.is_dir():
        pytest.skip(f"no recordings at {SAMPLES}")
    farm = Farm(pages=40, seed=2, clock=itertools.count(1_800_000_000.0, 0.01).__next__)
    workload = Workload(farm, seed=2, weights={action: max(weight, 2) for action, weight in WEIGHTS.items()})
    for _ in range(1_500):
        workload.step()
    return all_events(farm.log)


def test_every_kind_recorded_for_wanted_streams_is_brought_forth(events: list[dict[str, Any]]) -> None:
    mine = {kind_of(event, event["meta"]["stream"]) for event in events}
    assert {kind for kind in mine if kind[0] == "mediawiki.page_change.v1"} == {
        kind for kind in known() if kind[0] == "mediawiki.page_change.v1"
    }
    assert mine - set(known()) <= {("mediawiki.recentchange", kind) for kind in UNRECORDED}


def test_no_field_is_invented_left_out_or_of_another_type(events: list[dict[str, Any]]) -> None:
    wrong: defaultdict[Kind, set[str]] = defaultdict(set)
    for event in events:
        kind = kind_of(event, event["meta"]["stream"])
        if kind[1] in UNRECORDED or kind not in known():
            continue
        seen = known()[kind]
        types = {(path, name) for one in seen for path, name in one.items()}
        always = {path for path in set.intersection(*(set(one) for one in seen)) if not path.startswith(OPTIONAL)}
        fields = {path: name for path, name in paths(event).items() if path.split(".")[0] not in ADDED}
        wrong[kind] |= {f"left out {path}" for path in always - set(fields) if path.split(".")[-1] not in ACCOUNT}
        wrong[kind] |= {f"invented {path} {name}" for path, name in fields.items() if (path, name) not in types}
    assert {kind: sorted(said) for kind, said in wrong.items() if said} == {}


def test_hidden_and_suppressed_parts_are_absent(events: list[dict[str, Any]]) -> None:
    deletions = [event for event in events if event.get("page_change_kind") == "delete"]
    suppressed = [event for event in deletions if "performer" not in event]
    assert suppressed
    assert deletions != suppressed
    for event in suppressed:
        assert event["revision"].keys() == {
            "rev_id", "rev_dt", "is_minor_edit", "rev_parent_id", "is_content_visible", "is_editor_visible", "is_comment_visible",
        }  # fmt: skip
    for event in events:
        if revision := event.get("revision") if "page_change_kind" in event else None:
            assert ("comment" in revision) == revision["is_comment_visible"]
            assert ("editor" in revision) == revision["is_editor_visible"]
