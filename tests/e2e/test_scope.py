"""Other filters from start to start, beside a real MediaWiki and on a real Kafka: the mirror is always the wiki within them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import checker
from tests.e2e.lab import DOMAIN, WIKI_ID
from tests.e2e.test_mediawiki import EVERYTHING, Work
from tests.kafka import fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.e2e.lab import Lab
    from tests.e2e.program import Syncer
    from tests.kafka import Kafka

ELSEWHERE = "*.example.org"
STARTS = (((0,), DOMAIN), ((0, 10, 828), DOMAIN), ((1, 10), WIKI_ID))  # what is wanted, and of which wikis
TORTURE_STARTS = (((0, 1, 10), ELSEWHERE), ((0, 10), "*"), ((0, 828), DOMAIN))  # and then
FIRST, LATER = 60, 15  # random actions, and these beside:
CERTAIN = ("lua_page", "talk", "talk", *("move_across_namespaces",) * 3, "merge", "hide", "delete")
IDLE = "2"  # seconds without anything new until everything has arrived
FRESH = {"API__YOUNG": "1.5"}  # one server: no answer is old

pytestmark = pytest.mark.timeout(600)


def beside(program: Syncer, work: Work) -> None:
    """A hub, from its start until nothing is left to do, some of it while people are at work."""
    hub = program.start("run", "--until-idle", IDLE)
    work.join()
    if hub.poll() is not None:  # they paused for so long that it was idle before they were done
        hub = program.start("run", "--until-idle", IDLE)
    program.finished(hub)


def unwanted(records: Iterable[dict[str, Any]], namespaces: frozenset[int]) -> list[dict[str, Any]]:
    """Records that say more of a page of other namespaces than that it is gone."""
    values = (record["value"] for record in records)
    return [value for value in values if value["kind"] != "delete" and value["page"]["namespace"] not in namespaces]


def kept(program: Syncer, namespaces: frozenset[int]) -> list[tuple[str, int]]:
    """The pages that are not wanted, or are gone, and of which a store has a text, facts, or the key to either."""
    query = """SELECT page_id FROM pages JOIN seals USING (id) LEFT JOIN texts USING (id)
        WHERE (packed OR pages.facts OR max(seals.facts, seals.text) > zeroblob(16))
        AND (NOT live OR namespace NOT IN (SELECT value FROM json_each(?)))"""
    found = []
    for name in ("store.db", "mirror.db"):
        with closing(sqlite3.connect(f"file:{program.folder / name}?mode=ro", uri=True)) as db:
            found += [(name, page_id) for (page_id,) in db.execute(query, (json.dumps([*namespaces]),))]
    return found


def test_filters_change_from_start_to_start(
    start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], kafka: Kafka, seed: int, pytestconfig: pytest.Config
) -> None:
    """More is wanted, then less and other things; people are at work before the first start and beside each."""
    journal = {
        "JOURNAL__URL": f"kafka://{kafka.bootstrap}",
        "JOURNAL__PREFIX": fresh("scope"),
        "JOURNAL__PARTITIONS": "3",
        "JOURNAL__KAFKA__REPLICATION": "1",
    }
    lab = start_lab()
    program = set_up(lab, streams=EVERYTHING, journal=journal | FRESH)
    program.ask("topics", "apply")
    lab.edits(FIRST, seed + 800, also=CERTAIN)
    reader, read = checker.Checker(), 0
    for number, (namespaces, include) in enumerate(STARTS + TORTURE_STARTS * pytestconfig.getoption("torture")):
        program.set(WIKI__NAMESPACES=json.dumps(namespaces), WIKI__INCLUDE=json.dumps([include]))
        beside(program, Work(lambda seed=seed + 900 + number: lab.edits(LATER, seed, also=CERTAIN)))  # type: ignore[misc]
        program.finish("mirror", "follow", "--until-idle", "1")

        wanted = frozenset(namespaces if include != ELSEWHERE else ())
        exported = program.export()
        assert {page["namespace"] for page in exported} == wanted
        assert lab.compare(exported, namespaces=wanted) == []
        records = checker.parse(program.ask("journal", "read", "mutations", "--json"))
        assert unwanted(records[read:], wanted) == []
        reader.read(records[read:])
        read = len(records)
        assert reader.finish() == []
        assert lab.compare(reader.exported(), namespaces=wanted) == []
        assert kept(program, wanted) == []
    status = json.loads(program.ask("status", "--json"))
    assert checker.check_counts(status) == []
    assert (status["queued"], status["open_set_asides"], status["reconcile"]["rescoping"]) == (0, {}, 0)
