"""One farm, mirrored by the real hub and the real mirror, and what every verb then says of it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from syncer import sqlite
from syncer.clock import now_iso
from syncer.demo.actions import Workload
from syncer.demo.farm import Farm
from syncer.demo.server import serve
from syncer.records import decode_change
from syncer.store.layout import MIGRATIONS
from tests.command import ROOT, SYNCER, Place, Said, told
from tests.mutations import sha1
from tests.wire_schema import STRICT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Said]


@dataclass
class Mirrored:
    """What is left when a hub and a mirror have done their work."""

    place: Place
    expected: list[dict[str, Any]]
    hub: Said
    follower: Said


async def _mirror(place: Place) -> Mirrored:
    began = now_iso()
    farm = Farm(pages=40, seed=5)
    workload = Workload(farm, seed=5)
    for _ in range(120):
        workload.step()
    async with serve(farm) as upstream:
        place.settings |= {
            "FEED__URL": upstream.feed_url, "FEED__SINCE": began, "FEED__REWIND": "1", "API__URL": upstream.api_url,
            "API__REQUESTS_PER_MINUTE": "6000", "API__YOUNG": "0", "WIKI__NAMESPACES": "*",
            "WIKI__DOMAINS": ",".join(wiki.site.domain for wiki in farm.wikis.values()), "WIKI__INCLUDE": "*",
            "WIKI__EXCLUDE": "wikidatawiki",
        }  # fmt: skip
        first = await asyncio.to_thread(told, place.start("run", "--until-idle", "0.5"))
        assert first.code == 0, first.err
        for _ in range(60):
            workload.step()
        hub = await asyncio.to_thread(told, place.start("run", "--until-idle", "1"))
        follower = await asyncio.to_thread(told, place.start("mirror", "follow", "--until-idle", "0.3", "--json"))
    return Mirrored(place, list(farm.export(touched=True)), hub, follower)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    return asyncio.run(_mirror(Place(tmp_path_factory.mktemp("mirrored"))))


@pytest.fixture
def ask(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, mirrored: Mirrored) -> Run:
    """Runs a verb in this process, where a farm was mirrored."""
    return mirrored.place.runner(capfdbinary, monkeypatch)


def test_a_hub_that_is_done_and_a_mirror_at_the_end_are_0(mirrored: Mirrored) -> None:
    assert mirrored.hub.code == 0, mirrored.hub.err
    assert mirrored.hub.out == b""
    assert mirrored.follower.code == 0, mirrored.follower.err
    (done,) = mirrored.follower.lines
    assert set(done) == {"applied", "left_alone", "diverged", "healed", "pages_diverged", "asked_for"}
    assert sum(done["applied"].values()) > 20
    assert (done["diverged"], done["pages_diverged"]) == ({}, 0)


def test_the_log_is_a_json_object_a_line_where_it_is_no_terminal(mirrored: Mirrored) -> None:
    for line in mirrored.hub.err.splitlines():
        entry = json.loads(line)
        assert {"event", "level", "timestamp"} <= set(entry)


def test_the_hub_has_made_a_key_for_itself_alone(ask: Run, mirrored: Mirrored) -> None:
    path = mirrored.place.folder / "manifests.key"
    assert path.stat().st_mode & 0o777 == 0o600
    said = ask("manifests", "key")
    assert re.fullmatch(rb"[0-9a-f]{64}\n", said.out)
    assert path.read_text().splitlines()[1] not in f"{mirrored.hub.err} {said}"


def test_export_is_the_wikis_pages_as_promised(ask: Run, mirrored: Mirrored) -> None:
    said = ask("mirror", "export")
    assert (said.code, said.err) == (0, "")
    assert all(
        list(line)
        == ["wiki_id", "page_id", "title", "namespace", "rev_id", "timestamp", "sha1", "content_model", "is_redirect", "text"]
        for line in said.lines
    )
    exported = {(line["wiki_id"], line["page_id"]): line for line in said.lines}
    expected = {(line["wiki_id"], line["page_id"]): line for line in mirrored.expected}
    assert len(expected) > 20
    assert {key: exported.get(key) for key in expected} == expected
    one = said.lines[0]["wiki_id"]
    assert ask("mirror", "export", "--wiki", one).lines == [line for line in said.lines if line["wiki_id"] == one]
    assert ask("mirror", "export", "--wiki", "nowiki").out == b""


def test_mutations_are_records_as_promised(ask: Run) -> None:
    lines = ask("journal", "read", "mutations").lines
    assert {line["value"]["kind"] for line in lines} >= {"snapshot", "patch"}
    seen = set()
    for line in lines:
        value, headers = line["value"], line["headers"]
        STRICT.validate(value)
        assert line["key"] == headers["ce_subject"] == f"{value['wiki_id']}:{value['page']['page_id'] or 0}"
        assert headers["ce_id"] == f"{line['key']}:{value['seq']}"
        assert (headers["kind"], headers["wiki"]) == (value["kind"], value["wiki_id"])
        seen.add(headers["ce_id"])
    assert len(seen) == len(lines)


def test_status_tells_the_counts_by_reason_and_kind(ask: Run) -> None:
    said = ask("status", "--json")
    assert said.code == 0
    (line,) = said.lines
    outcomes = line["outcomes"]
    finished = (
        outcomes["published"] + outcomes["merged"] + sum(outcomes["skipped"].values()) + sum(outcomes["set_aside"].values())
    )
    assert line["appended"] == finished + line["queued"] > 50
    assert (line["queued"], line["balanced"], line["hub"]) == (0, True, None)
    records = ask("journal", "read", "mutations").lines
    assert line["mutations"] == {
        kind: sum(record["value"]["kind"] == kind for record in records)
        for kind in {record["value"]["kind"] for record in records}
    }
    assert line["feed"]["newest_event"]
    shown = ask("status").out.decode()
    assert re.search(rf"^changes\s+{line['appended']:,}\s*$", shown, re.MULTILINE)


def test_get_gives_a_text_byte_for_byte(ask: Run, mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    monkeypatch.setenv("PYTHONUTF8", "0")
    for page in [page for page in mirrored.expected if page["text"]][:6]:
        said = ask("mirror", "get", page["wiki_id"], page["title"])
        assert (said.code, said.out.decode(), said.err) == (0, page["text"], "")
        assert sha1(said.out) == page["sha1"]
        assert ask("mirror", "get", page["wiki_id"], str(page["page_id"])).out == said.out
        (line,) = ask("mirror", "get", page["wiki_id"], page["title"], "--json").lines
        attribution = line.pop("attribution")
        assert line == page
        assert attribution["url"].endswith(f"oldid={page['rev_id']}")
    environment = mirrored.place.environment() | {"PYTHONIOENCODING": "ascii"}
    shown = subprocess.run(
        [*SYNCER, "mirror", "get", page["wiki_id"], page["title"]], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert shown.stdout == said.out


def test_get_of_what_is_not_there_is_1(ask: Run, mirrored: Mirrored) -> None:
    for arguments in (
        ["nowiki", "Page"],
        [mirrored.expected[0]["wiki_id"], "No such [page]"],
        [mirrored.expected[0]["wiki_id"], "999999"],
    ):
        said = ask("mirror", "get", *arguments)
        assert (said.code, said.out) == (1, b"")
        assert arguments[1] in said.err


def test_verify_finds_nothing_and_then_what_was_spoilt(ask: Run, mirrored: Mirrored, tmp_path: Path) -> None:
    (line,) = ask("mirror", "verify", "--json").lines
    assert (line["faults"], line["against_api"]) == ([], None)
    assert line["pages"] >= len(mirrored.expected)
    assert f"{line['pages']} pages, 0 not as announced" in ask("mirror", "verify").out.decode()
    spoilt = tmp_path / "mirror.db"
    shutil.copy(mirrored.place.folder / "mirror.db", spoilt)
    db = sqlite.connect(spoilt, MIGRATIONS)
    row = db.execute("SELECT id, wiki, page_id FROM pages JOIN texts USING (id) LIMIT 1").fetchone()
    db.execute("DELETE FROM texts WHERE id = ?", row[:1])
    db.close()
    said = ask("mirror", "verify", "--json", MIRROR__PATH=str(spoilt))
    assert said.code == 1
    assert [(fault["wiki_id"], fault["page_id"], fault["reason"]) for fault in said.lines[0]["faults"]] == [(*row[1:], "no text")]
    said = ask("mirror", "verify", MIRROR__PATH=str(spoilt))
    assert said.code == 1
    assert f"{row[1]}:{row[2]}" in said.out.decode()


def test_repair_appends_changes_by_title_or_id(ask: Run, mirrored: Mirrored, tmp_path: Path) -> None:
    page = mirrored.expected[0]
    shutil.copy(mirrored.place.folder / "journal.db", tmp_path / "journal.db")
    elsewhere = {"JOURNAL__URL": f"sqlite:///{tmp_path}/journal.db"}
    before = len(ask("journal", "read", "changes", **elsewhere).lines)
    said = ask("repair", page["wiki_id"], "Some_page", str(page["page_id"]), **elsewhere)
    assert (said.code, said.out) == (0, b"2 appended to be read again\n")
    lines = ask("journal", "read", "changes", "--wiki", page["wiki_id"], **elsewhere).lines
    changes = [decode_change(json.dumps(line["value"]).encode()) for line in lines if line["headers"]["cause"] == "repair"]
    assert [(change.titles, change.page_ids) for change in changes] == [(("Some page",), ()), ((), (page["page_id"],))]
    assert {change.domain for change in changes} != {""}
    assert len(ask("journal", "read", "changes", **elsewhere).lines) == before + 2
    assert ask("status", "--json", **elsewhere).lines[0]["queued"] == 2
    assert ask("repair", "newwiki", "Page", "--domain", "new.wikipedia.org", **elsewhere).code == 0
    # A wiki that is known is where it is: another one's pages would be published as its own.
    assert ask("repair", page["wiki_id"], "Page", "--domain", "new.wikipedia.org", **elsewhere).code == 78


def test_a_mirror_started_again_has_nothing_left_to_do(ask: Run) -> None:
    (done,) = ask("mirror", "follow", "--until-idle", "0.1", "--json").lines
    assert (done["applied"], done["left_alone"]) == ({}, 0)


def test_a_mirror_with_a_scope_of_its_own_leaves_the_rest_alone(ask: Run, mirrored: Mirrored, tmp_path: Path) -> None:
    one = mirrored.expected[0]["wiki_id"]
    scope = {"MIRROR__PATH": str(tmp_path / "own.db"), "MIRROR__WIKIS": one, "MIRROR__NAMESPACES": "0"}
    (done,) = ask("mirror", "follow", "--until-idle", "0.1", "--json", **scope).lines
    assert done["left_alone"] > 0
    exported = {line["page_id"]: line for line in ask("mirror", "export", **scope).lines}
    wanted = {page["page_id"]: page for page in mirrored.expected if page["wiki_id"] == one and page["namespace"] == 0}
    assert {page_id: exported.get(page_id) for page_id in wanted} == wanted
    assert {(line["wiki_id"], line["namespace"]) for line in exported.values()} == {(one, 0)}
