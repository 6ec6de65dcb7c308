"""A mirror whose file was damaged, and one that began in the middle, beside a real MediaWiki: both end as the wiki.

Nobody asks the wiki anything for that: not the mirrors, to which it is not even reachable, and not the hub, whose requests are
counted.
"""

from __future__ import annotations

import random
import re
import sqlite3
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.damage import begin_late, damage
from tests.e2e import checker
from tests.e2e.test_mediawiki import EVERYTHING, IDLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.lab import Lab
    from tests.e2e.program import Syncer

FIRST, SECOND = 25, 20  # random actions
WITHIN = 120.0  # seconds for what takes ten on a machine that has nothing else to do
AT_REST = {"RECONCILE__SAMPLE": "0", "RECONCILE__SWEEP_PER_HOUR": "0"}  # the hub asks nobody of its own accord
FRESH = {"API__YOUNG": "1.5"}  # one server: no answer is old
UNREACHABLE = ("--set", "api.url=http://127.0.0.1:9/w/api.php")

pytestmark = pytest.mark.timeout(600)


def ends(program: Syncer) -> tuple[str, dict[int, int]]:
    """The journal's identity, and by partition the offset after the last mutation."""
    with closing(sqlite3.connect(f"file:{program.folder}/journal.db?mode=ro", uri=True)) as db:
        (identity,) = db.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()
        last = dict(db.execute('SELECT part, max("offset") + 1 FROM mutations GROUP BY part').fetchall())
    return identity, {part: last.get(part, 0) for part in range(12)}


def asked(program: Syncer) -> float:
    """How many requests to the wiki the hub that runs has made."""
    deadline = time.monotonic() + WITHIN
    while True:
        try:
            with urllib.request.urlopen(f"http://{program.ops}/metrics", timeout=30) as answer:
                told = answer.read().decode()
            break
        except OSError:
            assert time.monotonic() < deadline, f"the hub serves no metrics; see {program.folder}"
            time.sleep(0.1)
    return sum(float(count) for count in re.findall(r"^syncer_api_requests_total\{.*\} (\S+)$", told, re.MULTILINE))


def heal(program: Syncer, *options: str) -> None:
    """Compare the mirror with the journal, have healed what is wrong, until nothing is."""
    deadline = time.monotonic() + WITHIN
    while program.start(*options, "mirror", "verify", "--against-hub", "all", "--heal").wait(60):
        assert time.monotonic() < deadline, f"it does not come right; see {program.folder}"
        program.finish(*options, "mirror", "follow", "--until-idle", "4")


def test_what_is_damaged_and_what_began_late_is_healed_by_the_hub(
    start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], seed: int
) -> None:
    lab = start_lab()
    program = set_up(lab, streams=EVERYTHING, journal=AT_REST | FRESH)
    lab.edits(FIRST, seed + 600)
    program.finish("run", "--until-idle", IDLE)
    middle = ends(program)
    lab.edits(SECOND, seed + 700)
    program.finish("run", "--until-idle", IDLE)
    program.finish("mirror", "follow", "--until-idle", "1")
    done = damage(program.folder / "mirror.db", random.Random(seed), 0.6)
    assert all(done.values()), done
    late = program.folder / "late.db"
    begin_late(late, *middle)
    mirrors = (UNREACHABLE, (*UNREACHABLE, "--set", f"mirror.path={late}"))

    hub = program.start("enrich")  # the feed would tell again of what was last, and the wiki be asked again
    before = asked(program)
    for options in mirrors:
        heal(program, *options)
    assert asked(program) == before
    program.stop(hub)

    assert lab.compare(program.export()) == []
    assert program.export(*mirrors[1]) == program.export()
    records = checker.parse(program.ask("journal", "read", "mutations", "--json"))
    published = checker.Checker()
    published.read(records)
    assert published.finish() == []
    healed = [one["key"] for one in records if one["value"]["source"]["stream"] == "heal"]
    assert len(healed) > done["missing"]
    assert len(healed) < 2 * len(program.export()), "one answer was to serve both"
