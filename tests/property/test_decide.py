"""Every kind of action that was recorded from a real wiki, however its events come, ends with what the wiki is then.

The recordings (DATA.md) hold the events of 76 and of 109 actions and the pages before and after. Each is played to the real
decoders and decided with answers made of the pages after; the streams of law 5 one by one, in order and shuffled, each event
twice, known pages and unknown ones, and with replicas that answer as of before for as long as they may.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from syncer.decide.doubt import TOLD_WITHIN
from syncer.feed.decode import decode, identify
from syncer.feed.event import Envelope
from syncer.model import Cause, Change
from tests.desk import Desk, change, facts
from tests.shared import SHARED
from tests.world import NAMESPACES, World

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = SHARED / "lab" / "samples"
RC, PC, VC, RV = (
    f"mediawiki.{name}" for name in ("recentchange", "page_change.v1", "revision-visibility-change", "revision-create")
)
LAW_5 = {"recentchange": {RC}, "default": {RC, PC, VC}, "both": {PC, RV}, "all": {RC, PC, VC, RV}}
LAG = 4.0  # seconds
PREFIXES = {number: name for name, number in NAMESPACES.items() if name != "Project"} | {0: ""}

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"the recordings are not there: {SAMPLES}")


@dataclass(frozen=True)
class Action:
    """An action: the wiki before and after, the events, and the pages that it changed."""

    name: str
    before: World
    after: World
    events: tuple[dict[str, Any], ...]
    touched: frozenset[int]

    @property
    def at(self) -> float:
        return max((_time(event) for event in self.events), default=0.0)

    @property
    def lags(self) -> tuple[float, ...]:
        """How long a replica may lag: not at all where the page had another revision in the second of the event."""
        made = (revision.timestamp for page_id, revision in self.before.revisions.values() if page_id in self.touched)
        latest = max((datetime.fromisoformat(stamp).timestamp() for stamp in made), default=0.0)
        return (0.0,) if latest >= self.at - TOLD_WITHIN else (0.0, LAG)

    def changes(self, streams: set[str]) -> list[Change]:
        """What the decoders make of the events of these streams."""
        found = []
        for event in self.events:
            if event["meta"]["stream"] in streams:
                envelope = identify(orjson.dumps(event))
                assert isinstance(envelope, Envelope), envelope
                outcome = decode(envelope, event["meta"]["dt"])
                if isinstance(outcome, Change):
                    found.append(replace(outcome, wiki_id="enwiki"))
        return found


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["meta"]["dt"]).timestamp()


def _stamped(event: dict[str, Any], stream: str | None, number: int, dt: float) -> dict[str, Any]:
    """What EventGate adds: the time it took the event in; and for recentchange all of ``meta``."""
    meta = {"stream": stream, "id": f"event-{number}", "domain": "127.0.0.1", **event.get("meta", {})}
    stamp = datetime.fromtimestamp(dt, UTC).isoformat(timespec="milliseconds")
    return {**event, "meta": {"dt": stamp.replace("+00:00", "Z"), **meta}}


@lru_cache
def rcfeed() -> list[Action]:
    """The recordings of recentchange alone, with the API's word on every page before and after."""
    found = []
    for file in sorted((SAMPLES / "rcfeed").glob("*.json")):
        taken = json.loads(file.read_text())
        events = tuple(_stamped(event, RC, n, event["timestamp"] + 0.4) for n, event in enumerate(taken["events"]))
        before, after = (_world_of_api(taken[name] or {}) for name in ("pages_before", "pages_after"))
        found.append(Action(file.stem, before, after, events, _changed(before, after)))
    return found


def _world_of_api(pages: dict[str, Any]) -> World:
    world = World()
    for title, page in pages.items():
        if "missing" not in page:
            latest = page["latest"]
            world.page(page["pageid"], title, redirect=page.get("redirect", False))
            world.revision(latest["revid"], page["pageid"], rev_parent_id=latest["parentid"], timestamp=latest["timestamp"])
            world.pages[page["pageid"]] = replace(world.pages[page["pageid"]], last_rev_id=latest["revid"])
    return world


def eventbus(version: str) -> list[Action]:
    """The recordings of every stream, with the changes of the database; each action begins where the one before ended."""
    found, world = [], World()
    files = (SAMPLES / f"eventbus-page-change-{version}").glob("*.json")
    for file in sorted(files, key=lambda file: int(file.stem.partition("-")[0])):
        taken = json.loads(file.read_text())
        before = _with_rows(world.copy(), taken, "before")
        world = _with_rows(before.copy(), taken, "after")
        second = max((event["timestamp"] for event in taken["rcfeed"]), default=None)
        events = [_stamped(event, None, n, second or 0.0) for n, event in enumerate(taken["eventbus"])]
        latest = max((datetime.fromisoformat(event["dt"]).timestamp() for event in events if "dt" in event), default=0.0)
        moment = max(second or 0.0, latest) + 0.4
        events = [_stamped(event, None, n, moment) for n, event in enumerate(taken["eventbus"])]
        events += [_stamped(event, RC, 1000 + n, moment) for n, event in enumerate(taken["rcfeed"])]
        touched = frozenset(map(int, taken["db_page_changes"]))
        found.append(Action(file.stem, before, world, tuple(events), touched))
    return found


def _with_rows(world: World, taken: dict[str, Any], when: str) -> World:
    for key, rows in taken["db_revision_changes"].items():
        row, rev_id = rows[when], int(key)
        world.revisions.pop(rev_id, None)
        if row:
            stamp = datetime.strptime(row["ts"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            when_made = stamp.isoformat().replace("+00:00", "Z")
            world.revision(rev_id, row["page"], bits=row["deleted"], rev_parent_id=row["parent"], timestamp=when_made)
    for key, rows in taken["db_page_changes"].items():
        row, page_id = rows[when], int(key)
        world.pages.pop(page_id, None)
        if row:
            prefix = PREFIXES[row["ns"]]
            title = (f"{prefix}:" if prefix else "") + row["title"].replace("_", " ")
            for holder in [page.page_id for page in world.pages.values() if page.title == title]:
                world.delete(holder)  # between two recordings
            world.page(page_id, title, redirect=bool(row["redirect"]))
            if row["latest"] not in world.revisions:  # of a page that was set up before recording began
                world.revision(row["latest"], page_id)
            world.pages[page_id] = replace(world.pages[page_id], last_rev_id=row["latest"])
    return world


def _changed(before: World, after: World) -> frozenset[int]:
    ids = before.pages.keys() | after.pages.keys()
    return frozenset(page_id for page_id in ids if before.pages.get(page_id) != after.pages.get(page_id))


def everything() -> Iterator[Any]:
    if SAMPLES.is_dir():
        for source, actions in (("rcfeed", rcfeed()), ("1.2.0", eventbus("1.2.0")), ("1.11.0", eventbus("1.11.0"))):
            for action in actions:
                yield pytest.param(action, id=f"{source}/{action.name}")


def silent(action: Action, streams: set[str]) -> bool:
    """Whether the streams say nothing: then only a periodic re-check finds what was done (PROTOCOL c, i)."""
    return not action.changes(streams)


def play(action: Action, changes: list[Change], *, known: bool, lag: float, batches: int) -> Desk:
    """Let a hub that knows all pages, or none, hear of an action a second after it happened."""
    desk = Desk(now=action.at - 1000)
    if known:
        desk.settle(action.before, change(Cause.RECONCILE, page=sorted(action.before.pages), when=-3600))
    desk.now = action.at + 1.0
    world = (lambda now: action.before if now < action.at + lag else action.after) if lag else action.after
    size = -(-len(changes) // batches)
    for start in range(0, len(changes), size or 1):
        desk.settle(world, *changes[start : start + size])
    return desk


def verify(desk: Desk, action: Action, *, known: bool) -> None:
    """What is published is what the wiki has; if nothing was known before, then at least all that was touched."""
    published, true = desk.live(), facts(action.after)
    if not known:
        assert published.keys() >= action.touched & true.keys()
        true = {page_id: page for page_id, page in true.items() if page_id in published}
    assert published == true
    for page_id in published:
        shown = action.after.revisions[action.after.pages[page_id].last_rev_id][1].text
        assert desk.text(page_id) == (None if shown is None else shown.decode())
    ids = [mutation.ce_id for mutation in desk.mutations]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("action", list(everything()))
def test_ends_with_what_the_wiki_is_then(action: Action, request: pytest.FixtureRequest) -> None:
    rng = Random(action.name)
    for (name, streams), order in product(LAW_5.items(), ("as they came", "shuffled", "backwards")):
        if silent(action, streams):
            continue
        changes = action.changes(streams)
        twice = [*changes, *(replace(one, source=replace(one.source, event_id=f"{one.change_id}-2")) for one in changes)]
        if order == "shuffled":
            rng.shuffle(twice)
        elif order == "backwards":
            twice.reverse()
        ways = list(product((True, False), action.lags))
        for known, lag in ways if request.config.getoption("torture") else [rng.choice(ways)]:
            desk = play(action, twice, known=known, lag=lag, batches=rng.choice((1, 2, len(twice))))
            try:
                verify(desk, action, known=known)
            except AssertionError as error:
                raise AssertionError(f"{name}, {order}, known={known}, lag={lag}: {error}") from error
            finally:
                desk.close()
