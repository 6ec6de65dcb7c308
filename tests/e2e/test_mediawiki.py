"""A real MediaWiki at work, mirrored without one wrong page: `syncer run` and `syncer mirror follow` from the outside.

Each test lets people work on a wiki while hub and mirror follow, stops both as an operator would (or kills them), lets them
catch up, and compares: the mirror's export with the wiki's own database, the published records with the laws, and what a
reader of those records has in the end with the database again.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import checker
from tests.e2e.lab import WIKI_ID
from tests.e2e.lab.lifecycle import KINDS
from tests.e2e.lab.wiki import free_port
from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.lab import Lab
    from tests.e2e.program import Syncer

KILLS = 10
IDLE = "3"  # seconds without anything new until everything has arrived

RECENT_CHANGE = "recentchange"
PAGE_CHANGE = "mediawiki.page_change.v1"
VISIBILITY = "mediawiki.revision-visibility-change"
REVISION_CREATE = "mediawiki.revision-create"
EVERYTHING = (RECENT_CHANGE, PAGE_CHANGE, VISIBILITY, REVISION_CREATE)
DEFAULT = (RECENT_CHANGE, PAGE_CHANGE, VISIBILITY)
FAULTS = {
    "max_conn_seconds": 3,
    "canary_every": 1,
    "noise_rate": 50,
    "dup_prob": 0.1,
    "reorder_prob": 0.1,
    "connect_fail_prob": 0.3,
    "delay_max": 1,
    "dc_mode": "switch:50",
    "ts_mode": "second",
}
# Faults that exclude one another, or come in degrees: each seed has one of each.
WAYS = {
    "disconnect": ("midevent", "clean", "abrupt"),
    "partitions": (1, 3),
    "id_mode": ("timestamp", "offset"),
}

HISTORIES = ("chwiki-201805-full-history-01.jsonl.gz", "enwiki-tiny-2014.jsonl.gz", "hiwiki-kahani.jsonl.gz")
ARTICLES = "articles"  # a hub that takes one namespace
STREAMS = {
    "default": DEFAULT,
    "everything": EVERYTHING,
    "recentchange": (RECENT_CHANGE,),
    "page_change": (PAGE_CHANGE, REVISION_CREATE, VISIBILITY),
}

pytestmark = pytest.mark.timeout(1800)  # a thousand actions on a busy machine


def follow(work: Callable[[], Counter[str]], *programs: Syncer) -> Counter[str]:
    """Hubs and mirrors beside people at work; then all are stopped, started again, and left to arrive. What was done."""
    hubs = [(program, program.start("run")) for program in programs]
    workers = Work(work)
    for program, _ in hubs:
        program.wait_for_journal()
    mirrors = [(program, program.start("mirror", "follow")) for program in programs]
    workers.join()
    for program, process in (*hubs, *mirrors):
        program.stop(process)
    with ThreadPoolExecutor(len(programs)) as together:
        list(together.map(arrive, programs))
    return workers.done


def arrive(program: Syncer) -> None:
    """Let the hub, then the mirror, run until there is nothing more to do."""
    program.finish("run", "--until-idle", IDLE)
    program.finish("mirror", "follow", "--until-idle", "1")


class Work(threading.Thread):
    """People at work on the wiki, beside what the test does."""

    def __init__(self, work: Callable[[], Counter[str]]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.done: Counter[str] = Counter()
        self.start()

    def run(self) -> None:
        self.done = self._work()

    def join(self, timeout: float | None = None) -> None:
        """Wait until they are done; an error of theirs is the test's."""
        super().join(timeout)
        assert self.done, "the work on the wiki failed"


def verify(
    lab: Lab,
    program: Syncer,
    *,
    namespaces: frozenset[int] | None = None,
    suppressions_are_told: bool = True,
    rewritten: bool = True,
) -> None:
    """Everything that must be so when all has arrived. ``rewritten``: in a journal from which erased records' contents go.

    Of what was suppressed, recentchange says nothing at all (PROTOCOL c): by that alone, such a page is still there.
    """
    records = checker.parse(program.ask("journal", "read", "mutations", "--json"))
    published = checker.Checker()
    published.read(records)
    assert published.finish() == []
    if rewritten:
        assert published.not_erased() == []
    exported = program.export()
    untold = frozenset[int]() if suppressions_are_told else lab.suppressed_pages()
    assert lab.compare(exported, namespaces=namespaces, untold=untold) == []
    assert lab.compare(published.exported(), namespaces=namespaces, untold=untold) == []
    assert {page["wiki_id"] for page in exported} == {WIKI_ID}

    late = ("--set", f"mirror.path={program.folder}/late.db")
    program.finish(*late, "mirror", "follow", "--until-idle", "1")
    assert program.export(*late) == exported, "a partner who comes late gets something else"

    status = json.loads(program.ask("status", "--json"))
    assert checker.check_counts(status) == []
    assert status["queued"] == 0
    assert status["outcomes"]["set_aside"] == status["feed"]["set_aside"] == {}
    assert status["upstream_hash_wrong"] == 0  # of a page with more than one slot, the revision's hash is not its text's
    program.ask("mirror", "verify")
    honoured = json.loads(program.ask("redactions", "status", "--json"))
    assert honoured["open"] == []
    assert honoured["redactions"] == sum(map(asks_to_erase, records))
    assert [one["honoured"] for one in honoured["mirrors"]] == [honoured["redactions"]] * 2
    if suppressions_are_told:
        published_then_hidden = {(WIKI_ID, rev_id) for rev_id in lab.hidden_revisions()} & published.with_text.keys()
        assert {key for key in published_then_hidden if published.hidden.get(key, checker.SHOWN)["text"]} == set()


def asks_to_erase(record: dict[str, Any]) -> bool:
    """Whether a record hides or deletes something."""
    value = record["value"]
    return value["kind"] == "delete" or not all(all(one["visibility"].values()) for one in value.get("redacted", ()))


def test_random_actions(
    start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], seed: int, actions: int, subtests: pytest.Subtests
) -> None:
    """One wiki, and a hub for each set of streams that law 5 is about, and one that takes articles alone."""
    lab = start_lab(max_conns=2 * len(STREAMS))
    programs = {name: set_up(lab, streams=streams) for name, streams in STREAMS.items() if name != "default"}
    programs[ARTICLES] = set_up(lab, streams=DEFAULT, namespaces=(0,))
    done = follow(lambda: lab.edits(actions, seed), *programs.values())
    assert KINDS.keys() <= done.keys()
    verify_each(lab, programs, subtests)


def test_random_actions_over_a_bad_feed(
    start_lab: Callable[..., Lab],
    set_up: Callable[..., Syncer],
    seed: int,
    actions: int,
    *,
    subtests: pytest.Subtests,
    pytestconfig: pytest.Config,
) -> None:
    streams = STREAMS if pytestconfig.getoption("torture") else {"default": DEFAULT}
    ways = {name: each[(seed - 1) % len(each)] for name, each in WAYS.items()}
    lab = start_lab(**FAULTS, **ways, max_conns=2 * len(streams), seed=seed)
    programs = {name: set_up(lab, streams=some) for name, some in streams.items()}
    done = follow(lambda: lab.edits(actions, seed + 100), *programs.values())
    assert KINDS.keys() <= done.keys()
    verify_each(lab, programs, subtests)


def verify_each(lab: Lab, programs: dict[str, Syncer], subtests: pytest.Subtests) -> None:
    """What every hub has published, and its mirror has, by the name of its streams."""
    for name, program in programs.items():
        with subtests.test(name):
            namespaces = frozenset({0}) if name == ARTICLES else None
            verify(lab, program, namespaces=namespaces, suppressions_are_told=name != "recentchange")


def test_kill_9_at_any_moment(start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], seed: int, actions: int) -> None:
    lab = start_lab()
    program = set_up(lab, streams=DEFAULT)
    moments = random.Random(seed)
    work = Work(lambda: lab.edits(actions, seed + 300))
    for _ in range(KILLS):
        hub = program.start("run")
        program.wait_for_journal()
        mirror = program.start("mirror", "follow")
        first, second = moments.sample((hub, mirror), 2)
        time.sleep(moments.uniform(0.2, 2.5))
        program.kill(first)
        time.sleep(moments.uniform(0.0, 0.5))
        program.kill(second)
    work.join()
    arrive(program)
    verify(lab, program)


def test_real_histories(start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], pytestconfig: pytest.Config) -> None:
    paths = [SHARED / "data" / "histories" / name for name in HISTORIES]
    if not all(path.exists() for path in paths):
        pytest.skip("the recorded histories are not beside this checkout (../shared/data)")
    limit = None if pytestconfig.getoption("torture") else 100
    lab = start_lab()
    program = set_up(lab, streams=DEFAULT)

    def work() -> Counter[str]:
        return sum((lab.replay(path, limit=limit) for path in paths), Counter())

    follow(work, program)
    verify(lab, program)


def test_a_second_hub_is_told_that_there_is_one(start_lab: Callable[..., Lab], set_up: Callable[..., Syncer]) -> None:
    program = set_up(start_lab(), streams=DEFAULT)
    first = program.start("run")
    program.wait_for_journal()
    time.sleep(1)
    second = program.start("--set", f"ops.listen=127.0.0.1:{free_port()}", "run")
    assert second.wait(30) == 4
    program.stop(first)


def test_the_comparison_itself(start_lab: Callable[..., Lab]) -> None:
    """A copy of the wiki equals it; one that lacks, invents or alters something does not."""
    lab = start_lab()
    lab.edits(30, 1)
    truth = lab.truth()
    assert lab.compare(truth) == []

    def altered(**changes: Any) -> list[str]:
        return [difference.what for difference in lab.compare([{**truth[0], **changes}, *truth[1:]])]

    assert [difference.what for difference in lab.compare(truth[1:])] == ["page"]
    assert [difference.what for difference in lab.compare([*truth, {**truth[0], "page_id": 0}])] == ["page"]
    assert [difference.what for difference in lab.compare([*truth, truth[0]])] == ["exported twice"]
    for name in ("title", "namespace", "rev_id", "timestamp", "sha1", "content_model", "is_redirect", "text"):
        assert altered(**{name: "?"}) == [name]
