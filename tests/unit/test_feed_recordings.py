from __future__ import annotations

import json
from typing import Any

import pytest

from syncer.feed.decode import STREAMS, decode, identify
from syncer.feed.event import Aside, AsideReason, Envelope, Skip, SkipReason
from syncer.model import Cause, Change, Visibility
from tests.captures import EVENTS, actions, captures, needs_shared, recorded

RECENT, PAGE_CHANGE = "mediawiki.recentchange", "mediawiki.page_change.v1"
VISIBILITY, CREATE = "mediawiki.revision-visibility-change", "mediawiki.revision-create"
NOW, THEN = "2026-11-24T05:00:00.000Z", "2026-11-24T04:59:58.123Z"


def outcome(event: Any) -> Change | Skip | Aside:
    envelope = identify(event if isinstance(event, bytes) else json.dumps(event).encode())
    return decode(envelope, NOW) if isinstance(envelope, Envelope) else envelope


# -- all recordings --------------------------------------------------------------------------------------------------------


def enveloped(event: dict[str, Any]) -> dict[str, Any]:
    """A packet of MediaWiki's own feed as recentchange has it."""
    return {**event, "meta": {"domain": event["server_name"], "stream": RECENT, "id": "e-1", "dt": THEN}}


def told(action: dict[str, Any], streams: set[str]) -> list[Change]:
    """The changes that an action's events on these streams become. None of them is set aside."""
    events = [enveloped(event) for event in action["rcfeed"]] if RECENT in streams else []
    events += [event for event in action["eventbus"] if event["meta"]["stream"] in streams]
    found = [outcome(event) for event in events]
    assert not [each for each in found if isinstance(each, Aside)]
    return [each for each in found if isinstance(each, Change)]


NAMESPACES = {0: "", 1: "Talk:", 2: "User:", 4: "Lab Wiki:", 6: "File:"}
FOLDERS = ["eventbus-page-change-1.2.0", "eventbus-page-change-1.11.0"]
ENOUGH = [
    {RECENT},
    {RECENT, VISIBILITY},
    {PAGE_CHANGE, CREATE},
    {PAGE_CHANGE, CREATE, VISIBILITY},
    {RECENT, PAGE_CHANGE},
    {*STREAMS},
]


@needs_shared
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("streams", ENOUGH, ids=lambda streams: "+".join(sorted(streams)))
def test_every_page_that_an_action_changed_is_named(folder: str, streams: set[str]) -> None:
    missed = []
    for name, action in actions(folder).items():
        changes = told(action, streams)
        read = {title for each in changes if not each.rev_ids and each.cause is not Cause.DELETE for title in each.titles}
        read |= {title for each in changes if each.cause is Cause.DELETE and not each.page_ids for title in each.titles}
        page_ids = {page_id for each in changes for page_id in each.page_ids}
        rev_ids = {rev_id for each in changes for rev_id in each.rev_ids}
        for page_id, states in action["db_page_changes"].items():
            known = [state for state in states.values() if state]
            titles = {NAMESPACES[state["ns"]] + state["title"].replace("_", " ") for state in known}
            latest = {state["latest"] for state in known}
            if not (int(page_id) in page_ids or titles & read or latest & rev_ids):
                missed.append(name)
    assert len(actions(folder)) == 109
    # A suppression is on no stream but page_change (PROTOCOL c, 16).
    assert missed == ([] if PAGE_CHANGE in streams else ["delete-with-suppress"])


@needs_shared
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_revision_that_was_shown_or_hidden_is_named_with_what_is_visible_now(folder: str) -> None:
    missed, changed = set(), 0
    for name, action in actions(folder).items():
        claims = {rev_id: seen for each in told(action, {VISIBILITY}) for rev_id, seen in each.claims}
        for rev_id, states in action["db_revision_changes"].items():
            before, after = states["before"], states["after"]
            if before and after and before["deleted"] != after["deleted"]:
                changed += 1
                if claims.get(int(rev_id)) != Visibility.from_bits(after["deleted"]):
                    missed.add(name)
    assert changed > 30
    assert missed == {"block-hideuser", "unblock-hideuser"}  # on no stream at all (PROTOCOL c, i)


@needs_shared
def test_every_event_of_76_kinds_of_action() -> None:
    found = {name: [outcome(enveloped(event)) for event in action["events"]] for name, action in actions("rcfeed").items()}
    assert len(found) == 76
    assert not [each for outcomes in found.values() for each in outcomes if isinstance(each, Aside)]
    skipped = {name for name, outcomes in found.items() if outcomes and all(isinstance(each, Skip) for each in outcomes)}
    assert skipped == {
        "block", "unblock", "unblock-hidden", "userrights", "userrights-remove", "new-account", "managetags-create", "tag-change",
        "revdel-logging",
    }  # fmt: skip


@needs_shared
def test_every_title_whose_latest_revision_changed_is_named() -> None:
    silent = []
    for name, action in actions("rcfeed").items():
        changes = [each for each in map(outcome, map(enveloped, action["events"])) if isinstance(each, Change)]
        titles = {title for each in changes for title in each.titles}
        for title, after in (action.get("pages_after") or {}).items():
            before = (action.get("pages_before") or {}).get(title, {})
            if before.get("lastrevid") != after.get("lastrevid") and title not in titles:
                silent.append((name, title))
    assert silent == []


@needs_shared
def test_every_recorded_event() -> None:
    outcomes: dict[str, int] = {}
    for path in sorted(EVENTS.glob("*.jsonl.gz")):
        for raw in recorded(path):
            found = outcome(raw)
            reason = "change" if isinstance(found, Change) else found.reason
            outcomes[reason] = outcomes.get(reason, 0) + 1
    assert outcomes == {
        "change": 1669, SkipReason.CATEGORIZE: 801, SkipReason.LOG: 91, SkipReason.UNKNOWN_TYPE: 2, SkipReason.UNKNOWN_STREAM: 52,
    }  # fmt: skip


@needs_shared
def test_every_event_of_the_captures() -> None:
    events = [event for capture in captures().values() for event in capture.events]
    found = [outcome(event) for event in events]
    assert len(found) > 400
    assert {type(each) for each in found} == {Change, Skip, Aside}
    odd = [outcome(event) for event in captures()["50"].events]
    assert [each.reason for each in odd if isinstance(each, Aside)] == [AsideReason.BAD_EVENT] * 2  # an array; no meta of its own
    assert Skip(SkipReason.CANARY) in odd
