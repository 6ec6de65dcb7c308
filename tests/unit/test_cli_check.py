"""What an operator asks: are the settings in order, is the hub at work, what was done; and what is only read is not made."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest

from syncer.journal import POSITION_KEY, Record, Topic, change_record
from syncer.model import Cause, Change, Position, Source
from syncer.progress import PROGRESS_KEY, Counts, Progress
from syncer.reconciled import Reconciled, reconciled_key
from syncer.records import Resume, encode_resume
from syncer.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.command import Place, Said

    Run = Callable[..., Said]


# -- check-config --------------------------------------------------------------------------------------------------------


def test_check_config_says_a_line_a_check(run: Run) -> None:
    said = run("check-config")
    assert (said.code, said.err) == (0, "")
    lines = said.out.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "ok   contact and API",
        "ok   feed",
        "ok   journal",
        "ok   store",
        "ok   ops",
    ]
    assert "tests@example.org" in lines[0]
    assert [(line["check"], line["ok"]) for line in run("check-config", "--json").lines] == [
        ("contact and API", True), ("feed", True), ("journal", True), ("store", True), ("ops", True)
    ]  # fmt: skip


def test_check_config_makes_nothing(run: Run, tmp_path: Path) -> None:
    deep = tmp_path / "deep" / "down"
    places = {"JOURNAL__URL": f"sqlite:///{deep}/journal.db", "STORE__PATH": f"{deep}/store.db", "JOURNAL__PARTITIONS": "7"}
    said = run("check-config", **places)
    assert said.code == 0
    assert f"{deep}/journal.db will be made, with 7 partitions" in said.out.decode()
    assert f"{deep}/store.db will be made" in said.out.decode()
    assert not deep.exists()
    (tmp_path / "deep").touch()
    said = run("check-config", **places)
    assert said.code == 78
    assert said.out.decode().count("is no folder\n     hint: ") == 2


def test_check_config_looks_at_what_is_there(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    Store(place.folder / "store.db").close()
    (journal, store) = (line for line in run("check-config", "--json").lines if line["check"] in {"journal", "store"})
    assert "12 partitions, identity " in journal["told"]
    assert store["told"] == str(place.folder / "store.db")
    said = run("check-config", JOURNAL__PARTITIONS="7")
    assert said.code == 78
    assert "journal.partitions = 12" in said.out.decode()


def test_check_config_names_what_fails_with_a_hint_and_goes_on(run: Run, place: Place) -> None:
    (place.folder / "journal.db").write_bytes(b"no database at all, " * 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = run("check-config", CONTACT="", OPS__LISTEN=f"127.0.0.1:{taken.getsockname()[1]}")
    assert said.code == 78
    lines = said.out.decode().splitlines()
    assert [line[:4] for line in lines if not line.startswith(" ")] == ["FAIL", "FAIL", "FAIL", "ok  ", "FAIL"]
    assert sum(line.startswith("     hint: ") for line in lines) == 4


def test_check_config_knows_the_hub_that_runs_already(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    (status,) = run("status", "--json").lines
    for identity, code in ((status["journal"], 0), ("0" * 32, 78)):
        with answering(json.dumps({"journal": identity}).encode()) as port:
            said = run("check-config", OPS__LISTEN=f"127.0.0.1:{port}")
        assert said.code == code
        assert ("where the hub of this journal runs" in said.out.decode()) is (code == 0)


def test_check_config_can_ask_the_feed_as_the_hub_would(run: Run) -> None:
    agents = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            agents.append(self.headers["User-Agent"])
            self.send_response(200 if self.path == "/v2/stream/recentchange" else 403)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v2/stream"
        said = run("check-config", "--online", FEED__URL=url, FEED__STREAMS="recentchange")
        assert said.code == 0
        assert f"recentchange of {url}, which answers" in said.out.decode()
        assert "tests@example.org" in agents[0]
        said = run("check-config", "--online", FEED__URL=url)
        assert said.code == 78
        assert "answered 403" in said.out.decode()
        server.shutdown()
    said = run("check-config", "--online", FEED__URL=url)
    assert said.code == 75
    assert "make demo" in said.out.decode()
    assert run("check-config", "--online", FEED__URL=url, CONTACT="").code == 78


def test_check_config_shows_no_secret(run: Run) -> None:
    for code, arguments in (
        (0, ["check-config"]),
        (0, ["check-config", "--json"]),
        (78, ["--set", "api.token=s3cr3t", "check-config"]),
    ):
        said = run(*arguments, API__TOKEN="s3cr3t")  # noqa: S106 - the one that must not show
        assert said.code == code
        assert b"s3cr3t" not in said.out + said.err.encode()


# -- status and health ------------------------------------------------------------------------------------------------------


def test_without_a_hub_health_is_1_and_status_is_told_from_the_journal(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    said = run("health")
    assert said.code == 1
    assert "no hub answers" in said.err
    said = run("health", "--json")
    assert (said.code, said.lines[0]["ready"], len(said.lines[0]["reasons"])) == (1, False, 1)
    said = run("status")
    assert said.code == 0
    assert "not running" in said.out.decode()
    (line,) = run("status", "--json").lines
    assert (line["hub"], line["appended"], line["balanced"]) == (None, 0, True)


def test_status_says_since_when_the_oldest_change_waits(run: Run, place: Place) -> None:
    source = Source("repair", "id", "2026-11-02T09:59:58Z", "2026-11-02T09:59:58Z")
    change = Change(wiki_id="enwiki", domain="en.example.org", cause=Cause.REPAIR, source=source, page_ids=(1,))
    asyncio.run(place.prepare(change_record(change, 12)))
    said = run("status").out.decode()
    (told,) = run("status", "--json").lines
    assert re.search(rf"^  queued +1\n  the oldest of them since +{told['queued_since']}$", said, re.MULTILINE)


HUB = {
    "live": {"feed": {"connected": True, "quiet": {"codfw.x": 2101.5}},
             "enrich": {"wikis_out": ["frwiki", "nlwiki"], "filling": {"dewiki": "logevents 2026-11-03T09:00:00Z"}},
             "delay": {"changes": 3, "median_seconds": 1.2, "p99_seconds": 3.4}},
    "budget": {"requests_last_minute": 42, "requests_per_minute": 180},
}  # fmt: skip


@pytest.mark.parametrize(("state", "shown"), [("runs", "running"), ("stands by", "stands by"), ("takes over", "takes over")])
def test_status_says_what_the_hub_is_at(state: str, shown: str, run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    with answering(json.dumps({"state": state, "live": {}}).encode()) as port:
        said = run("status", OPS__LISTEN=f"127.0.0.1:{port}").out.decode()
        (line,) = run("status", "--json", OPS__LISTEN=f"127.0.0.1:{port}").lines
    assert re.search(rf"^hub +{shown}$", said, re.MULTILINE)
    assert line["hub"]["state"] == state


def test_status_tells_what_was_done_what_is_known_and_what_a_hub_says(run: Run, place: Place) -> None:
    gap = ((None, "2026-11-02T09:00:00Z"), ("2026-11-03T09:00:00Z", "2026-11-04T09:00:00Z"))
    resume = Resume(Position({("eqiad.x", 0): 1_762_077_598_000}), {}, {"canary": 4321}, {"bad_json": 2}, gap)
    progress = Progress(counts=Counts(published=1, skipped=Counter(page_gone=2), set_aside=Counter(poison=3)))
    states = [Reconciled(f"wiki{n}", "a.example", "2026-11-04T09:00:00Z", gap[2 - n :], found=Counter(gap=3)) for n in range(2)]
    states[1].scope, states[1].leaving = (0,), 4711
    asyncio.run(
        place.prepare(
            Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume)),
            Record(Topic.PROGRESS, 0, PROGRESS_KEY, progress.encode()),
            *(Record(Topic.PROGRESS, 0, reconciled_key(each.wiki_id), each.encode()) for each in states),
        )
    )
    with answering(json.dumps(HUB).encode()) as port:
        said = run("status", OPS__LISTEN=f"127.0.0.1:{port}").out.decode()
        assert run("health", OPS__LISTEN=f"127.0.0.1:{port}").out == b"ready\n"
        assert run("health", "--json", OPS__LISTEN=f"127.0.0.1:{port}").lines == [{"ready": True, "reasons": []}]
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in said.splitlines())
    assert rows.items() >= {
        "published": "1", "skipped: page_gone": "2", "set_aside: poison": "3", "events skipped: canary": "4,321",
        "events set_aside: bad_json": "2", "hub": "running",
        "known gap": "2026-11-03T09:00:00Z to 2026-11-04T09:00:00Z, filled for 1 of 2 wikis", "found by reconciling: gap": "6",
        "wikis not as they are wanted": "1 of 2",
        "filling a gap: dewiki": "logevents 2026-11-03T09:00:00Z",
        "feed": "connected", "topics gone quiet": "codfw.x", "delay, median and 99 of 100": "1.2 s, 3.4 s",
        "requests in the last minute": "42 of 180",
        "wikis that do not answer": "frwiki, nlwiki",
    }.items()  # fmt: skip
    assert "everything before 2026-11-02T09:00:00Z" in said
    assert re.fullmatch(r"2025-11-02T09:59:58\.000Z, [\d,]+\.\d s ago", rows["newest event"])


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n17"])
def test_what_answers_and_is_no_hub_is_none(run: Run, place: Place, answer: bytes) -> None:
    asyncio.run(place.prepare())
    with answering(answer, raw=True) as port:
        said = run("status", "--json", OPS__LISTEN=f"127.0.0.1:{port}")
        assert (said.code, said.lines[0]["hub"]) == (0, None)
        if not answer.startswith(b"HTTP"):
            said = run("health", OPS__LISTEN=f"127.0.0.1:{port}")
            assert said.code == 1
            assert "no hub answers" in said.err


def test_health_says_what_a_hub_is_not_ready_for(run: Run) -> None:
    reasons = b"the feed is not connected\nenrich is not at work\n"
    with answering(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%b" % (len(reasons), reasons), raw=True
    ) as port:
        said = run("health", OPS__LISTEN=f"127.0.0.1:{port}")
        assert (said.code, said.out) == (1, b"")
        assert said.err == "not ready: the feed is not connected\nnot ready: enrich is not at work\n"
        told = run("health", "--json", OPS__LISTEN=f"127.0.0.1:{port}").lines
        assert told == [{"ready": False, "reasons": ["the feed is not connected", "enrich is not at work"]}]


@contextmanager
def answering(body: bytes, *, raw: bool = False) -> Iterator[int]:
    """A port where every connection gets this answer; ``raw``: without a head."""
    head = b"" if raw else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)

    class Answers(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(head + body)

    with ThreadingTCPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_status_is_1_where_the_counts_do_not_add_up(run: Run, place: Place) -> None:
    source = Source("mediawiki.recentchange", "id-1", "2026-11-02T09:59:58Z", "2026-11-02T09:59:59Z")
    change = Change(wiki_id="w", domain="d", cause=Cause.EDIT, source=source, rev_ids=(1,))
    asyncio.run(place.prepare(change_record(change, 12)))  # and ingest has not counted it
    said = run("status")
    assert said.code == 1
    assert "do not add up" in said.err


def test_a_journal_with_another_number_of_partitions_is_named(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    assert run("status").code == 0
    said = run("status", JOURNAL__PARTITIONS="7")
    assert said.code == 78
    assert "journal.partitions = 12" in said.err


# -- what is only read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["journal", "read", "mutations"], "journal.url"),
        (["status"], "journal.url"),
        (["set-aside", "list"], "journal.url"),
        (["set-aside", "replay"], "journal.url"),
        (["repair", "enwiki", "Page"], "journal.url"),
        (["mirror", "get", "enwiki", "Page"], "mirror.path"),
        (["mirror", "export"], "mirror.path"),
        (["mirror", "verify"], "mirror.path"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_said_and_not_made(run: Run, place: Place, arguments: list[str], key: str) -> None:
    said = run(*arguments)
    assert (said.code, said.out) == (78, b"")
    assert f"error: {key}: there is no file {place.folder}/" in said.err
    assert "hint: " in said.err
    assert [file.name for file in place.folder.iterdir() if file.name != "mirror.db.lock"] == []


def test_a_mirror_waits_no_longer_for_a_journal_than_it_would_at_its_end(run: Run, place: Place) -> None:
    said = run("mirror", "follow", "--until-idle", "0.1")
    assert said.code == 78
    assert "error: journal.url: there is no file" in said.err
    assert not list(place.folder.glob("*.db"))


def test_a_comparison_with_the_wikis_needs_a_contact(run: Run, place: Place) -> None:
    Store(place.folder / "mirror.db").close()
    said = run("mirror", "verify", "--against-api", "1", CONTACT="")
    assert said.code == 78
    assert "SYNCER_CONTACT=" in said.err


def test_a_repair_needs_the_hubs_store_and_a_wiki_it_knows(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    said = run("repair", "nowiki", "Page")
    assert said.code == 78
    assert "store.path: there is no file" in said.err
    Store(place.folder / "store.db").close()
    said = run("repair", "nowiki", "Page")
    assert said.code == 78
    assert "--domain" in said.err
    assert run("journal", "read", "changes").out == b""
