"""A mirror that begins with a dump of a real MediaWiki, made by MediaWiki's own program while people are at work.

One such mirror has all of the journal before it, another only what came after the dump was begun: there the first that is heard
of most pages is a patch. Both end as the wiki, every page of it, those too that nobody touched. And so does a mirror that begins
with nothing, where the hub is seeded with the dump.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import random
import subprocess
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from syncer.config import JournalSettings, MirrorSettings
from syncer.journal import open_journal
from syncer.mirror import beginning
from syncer.mirror.bootstrap import Bootstrap, Tally, head
from syncer.store import Store
from tests.e2e import checker
from tests.e2e.lab import WIKI_ID, truth
from tests.e2e.lab.wiki import MAINTENANCE, MEDIAWIKI
from tests.e2e.test_heal import AT_REST, FRESH, asked
from tests.e2e.test_mediawiki import EVERYTHING, IDLE, Work, arrive

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.lab import Lab
    from tests.e2e.program import Syncer

BEFORE, PUBLISHED, BESIDE, AFTER, SEEDED = 40, 10, 60, 40, 40  # random actions
SKEW = 2.0  # seconds by which a hub on the same machine may be behind

pytestmark = pytest.mark.timeout(600)


def dumped(lab: Lab, path: Path) -> str:
    """Dump the wiki's current revisions; when that was begun, ISO."""
    began = datetime.now(UTC).isoformat()
    folder = lab.database.parents[1]
    own = {"MW_CONFIG_FILE": str(folder / "LocalSettings.php"), "MW_INSTALL_PATH": str(MEDIAWIKI)}
    command = ["php", str(MAINTENANCE / "dumpBackup.php"), "--current", "--quiet", f"--output=gzip:{path}"]
    subprocess.run(command, env=os.environ | own, stdin=subprocess.DEVNULL, check=True, capture_output=True)
    return began


async def filled_late(program: Syncer, path: Path, dump: Path, began: str) -> Tally:
    """Fill a mirror that follows from when the dump was begun, no earlier."""
    journal = await open_journal(JournalSettings(url=f"sqlite:///{program.folder}/journal.db"), create=False)
    with closing(Store(path)) as store:
        work, found = Bootstrap(store, MirrorSettings()), head(dump, began)
        starts = await work.begin(journal, [found])
        tally, _ = list(work.fill(found))[-1]
        work.finish(starts)
    await journal.close()
    assert max(starts.values()) > 0, "all of the journal is read: that is the other mirror"
    return tally


def differences(lab: Lab, program: Syncer, *options: str) -> list[Any]:
    """How a mirror differs from the whole wiki."""
    return truth.differences(lab.truth(), program.export(*options))


def test_a_dump_made_while_people_work(
    start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = start_lab()
    lab.edits(BEFORE, seed + 400)  # before there is a hub
    lab.started = datetime.now(UTC).isoformat()
    program = set_up(lab, streams=EVERYTHING)
    hub = program.start("run")
    program.wait_for_journal()
    begin, half = random.Random(seed).randrange(BESIDE // 3, BESIDE), threading.Event()
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        if done == PUBLISHED:  # long before the dump, so that it need not be read again by who begins with that
            time.sleep(2 * SKEW + 1)
        if done == begin:
            half.set()

    def beside() -> Counter[str]:
        return lab.edits(BESIDE + AFTER, seed + 500, after_each=one_more)

    work = Work(beside)
    assert half.wait(120)
    dump = tmp_path / "dump.xml.gz"
    began = dumped(lab, dump)
    assert work.is_alive(), "the dump was to be made while people are at work"
    line = program.ask("mirror", "bootstrap", str(dump), "--date", began, "--json")
    late = tmp_path / "late.db"
    monkeypatch.setattr(beginning, "MARGIN", SKEW)
    tally = asyncio.run(filled_late(program, late, dump, began))
    with gzip.open(dump) as file:
        assert tally.taken == file.read().count(b"<page>")
    assert f'"taken":{tally.taken},"diverged":0' in line
    mirror = program.start("mirror", "follow")
    work.join()
    program.stop(hub)
    program.stop(mirror)
    program.finish("run", "--until-idle", IDLE)

    for options in ((), ("--set", f"mirror.path={late}", "--set", "mirror.heal=api")):
        came = json.loads(program.ask(*options, "mirror", "follow", "--until-idle", "1", "--json"))
        assert differences(lab, program, *options) == []
        assert {page["wiki_id"] for page in program.export(*options)} == {WIKI_ID}
        program.ask(*options, "mirror", "verify")
    assert came["applied"]["patch"] > 0
    assert came["healed"] + came["pages_diverged"] < BESIDE // 4, "most of what does not fit at first comes right by itself"


def test_a_hub_seeded_while_people_work(
    start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], seed: int, tmp_path: Path
) -> None:
    """A mirror begins with its pages in the middle of that. And what it costs a hub that nobody tells anything: a request for
    fifty pages, and one for the licence.
    """
    lab = start_lab()
    lab.edits(BEFORE, seed + 600)  # before there is a hub
    lab.started = datetime.now(UTC).isoformat()
    program = set_up(lab, streams=EVERYTHING, journal={"PUBLISH__PAGES": "true"})
    hub = program.start("run")
    program.wait_for_journal()
    begun = threading.Event()
    work = Work(lambda: lab.edits(SEEDED, seed + 700, after_each=begun.set))
    assert begun.wait(120)
    dump = tmp_path / "dump.xml.gz"
    dumped(lab, dump)
    told = json.loads(program.ask("seed", str(dump), "--json"))
    late = ("--set", f"mirror.path={tmp_path / 'late.db'}")
    begins = json.loads(program.ask(*late, "mirror", "bootstrap", "--from-pages", "--json"))
    assert work.is_alive(), "the hub was to be seeded, and the mirror begun, while people are at work"
    work.join()
    program.stop(hub)
    arrive(program)
    with gzip.open(dump) as file:
        assert told["read"] == file.read().count(b"<page>") == told["appended"] + told["known"]
    assert told["appended"] > 0
    came = json.loads(program.ask(*late, "mirror", "follow", "--until-idle", "1", "--json"))
    assert begins["taken"] > 0
    assert (begins["diverged"], came["diverged"], came["pages_diverged"]) == (0, {}, 0)
    assert differences(lab, program, *late) == differences(lab, program) == []
    published = checker.Checker()
    published.read(checker.parse(program.ask("journal", "read", "mutations", "--json")))
    assert [*published.finish(), *published.not_erased()] == []

    lab.started = datetime.now(UTC).isoformat()
    other = set_up(lab, streams=EVERYTHING, journal={**AT_REST, **FRESH})
    other.finish("run", "--until-idle", "0.5")
    assert json.loads(other.ask("seed", str(dump), "--json")) == {**told, "appended": told["read"], "known": 0}
    hub = other.start("run")
    while json.loads(other.ask("status", "--json"))["queued"]:
        time.sleep(0.2)
    assert asked(other) == math.ceil(told["read"] / 50) + 1
    program.stop(hub)
