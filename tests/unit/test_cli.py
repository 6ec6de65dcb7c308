"""The command line by itself: help, misuse, settings, checks, what is read of a journal. No hub, no network."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import threading
from collections import Counter
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest

from syncer.clock import now_iso
from syncer.journal import POSITION_KEY, Record, Topic, change_record
from syncer.model import Cause, Change, Position, Source
from syncer.progress import PROGRESS_KEY, Counts, Progress
from syncer.records import Resume, SetAside, decode_change, encode_resume, encode_set_aside
from syncer.store import Store
from tests.command import PATIENCE, SYNCER, Place, Said
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., Said]

VERBS: list[list[str]] = [
    [], ["run"], ["ingest"], ["enrich"], ["mirror"], ["mirror", "follow"], ["mirror", "get"], ["mirror", "verify"],
    ["mirror", "export"], ["journal"], ["journal", "read"], ["check-config"], ["status"], ["health"], ["demo"], ["repair"],
    ["set-aside"], ["set-aside", "list"], ["set-aside", "replay"], ["version"],
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.clean_up()


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, place: Place) -> Run:
    """Runs a verb in this process, at the test's own place."""
    return place.runner(capfdbinary, monkeypatch)


# -- help, usage, settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself(run: Run, verb: list[str]) -> None:
    said = run(*verb, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: syncer {' '.join(verb)}".rstrip().encode())
    assert said.err == ""


def test_the_verbs_are_those_of_the_design(run: Run) -> None:
    listed = re.findall(r"^  (\S+)  ", run("--help").out.decode().partition("Commands:")[2], re.MULTILINE)
    assert set(listed) == {verb[0] for verb in VERBS if verb}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["frob"], "frob"),
        (["status", "--frob"], "--frob"),
        (["journal", "read"], "TOPIC"),
        (["journal", "read", "mutation"], "mutation"),
        (["repair", "enwiki"], "PAGES"),
        (["--set", "feed.rewind", "status"], "KEY=VALUE"),
        (["--log-level", "loud", "status"], "loud"),
        (["run", "--until-idle", "soon"], "--until-idle"),
        (["run", "--until-idle", "0"], "--until-idle"),
        (["mirror", "follow", "--until-idle", "-1"], "--until-idle"),
        (["mirror", "verify", "--against-api", "some"], "--against-api"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_is_2_and_says_what_and_where_to_look(run: Run, arguments: list[str], names: str) -> None:
    said = run(*arguments)
    assert said.code == 2
    assert names.lower() in said.err.lower()
    assert "--help" in said.err
    assert said.out == b""


@pytest.mark.parametrize("group", [[], ["journal"], ["mirror"], ["set-aside"]], ids=" ".join)
def test_nothing_asked_for_is_misuse_with_the_choice(run: Run, group: list[str]) -> None:
    said = run(*group)
    assert said.code == 2
    assert "Commands:" in said.err
    assert not said.err.startswith("error")


@pytest.mark.parametrize(
    ("arguments", "environment", "names"),
    [
        (["--config", "/nowhere/syncer.toml", "status"], {}, "/nowhere/syncer.toml"),
        (["--set", "feed.ulr=x", "status"], {}, "feed.url"),
        (["status"], {"FEED__ULR": "x"}, "feed.url"),
        (["status"], {"JOURNAL__URL": "postgres://x"}, "journal.url"),
        (["status"], {"JOURNAL__URL": "sqlite:///here.db"}, "absolute"),
        (["run"], {"CONTACT": ""}, "SYNCER_CONTACT="),
        (["--contact", " ", "run"], {}, "SYNCER_CONTACT="),
        (["--set", "contact= ", "ingest"], {}, "SYNCER_CONTACT="),
        (["run"], {"CONTACT": "ops@example.org\nX: y"}, "User-Agent"),
        (["enrich"], {"CONTACT": "\xe9"}, "User-Agent"),
        (["run"], {"FEED__URL": "notaurl"}, "feed.url"),
        (["run"], {"FEED__SINCE": "yesterday"}, "feed.since"),
        (["run"], {"FEED__REWIND": "inf"}, "feed.rewind"),
        (["run"], {"OPS__LISTEN": "a..b:80"}, "ops.listen"),
        (["run"], {"API__REQUESTS_PER_MINUTE": "5000"}, "200"),
        (["run"], {"FEED__STREAMS": "recentchanges"}, "recentchange"),
    ],
)
def test_settings_that_cannot_work_are_78_with_a_hint(
    run: Run, arguments: list[str], environment: dict[str, str], names: str
) -> None:
    said = run(*arguments, **environment)
    assert said.code == 78
    assert said.err.startswith("error: ")
    assert names in said.err
    assert "Traceback" not in said.err
    assert "hint: " in said.err or "the nearest is" in said.err or "No such file" in said.err


def test_flags_beat_the_environment_which_beats_the_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "syncer.toml").write_text(
        '[journal]\nprefix = "file"\n[feed]\nurl = "http://127.0.0.1:1/file"\n', encoding="utf-8"
    )
    arguments = ["--config", str(tmp_path / "syncer.toml"), "check-config", "--json"]
    feed = {line["check"]: line["told"] for line in run(*arguments).lines}["feed"]
    assert "http://127.0.0.1:1/file" in feed
    feed = {line["check"]: line["told"] for line in run(*arguments, FEED__URL="http://127.0.0.1:1/env").lines}["feed"]
    assert "http://127.0.0.1:1/env" in feed
    flags = ["--set", "feed.url=http://127.0.0.1:1/flag"]
    feed = {line["check"]: line["told"] for line in run(*flags, *arguments, FEED__URL="http://127.0.0.1:1/env").lines}["feed"]
    assert "http://127.0.0.1:1/flag" in feed


def test_the_version_is_the_distributions(run: Run) -> None:
    assert re.fullmatch(rb"\d+\.\d+\.\d+\S*\n", run("version").out)


# -- check-config, status and health without a hub -----------------------------------------------------------------------


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
    assert said.code == 78
    assert "make demo" in said.out.decode()


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


def test_check_config_shows_no_secret(run: Run) -> None:
    for arguments in (["check-config"], ["check-config", "--json"], ["--set", "api.token=s3cr3t", "check-config"]):
        said = run(*arguments, API__TOKEN="s3cr3t")  # noqa: S106 - the one that must not show
        assert said.code == 0
        assert b"s3cr3t" not in said.out + said.err.encode()


def test_without_a_hub_health_is_1_and_status_is_told_from_the_journal(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    said = run("health")
    assert said.code == 1
    assert "no hub answers" in said.err
    said = run("status")
    assert said.code == 0
    assert "not running" in said.out.decode()
    (line,) = run("status", "--json").lines
    assert (line["hub"], line["appended"], line["balanced"]) == (None, 0, True)


HUB = {
    "live": {"feed": {"connected": True}, "enrich": {"wikis_out": ["frwiki", "nlwiki"]},
             "delay": {"changes": 3, "median_seconds": 1.2, "p99_seconds": 3.4}},
    "budget": {"requests_last_minute": 42, "requests_per_minute": 180},
}  # fmt: skip


def test_status_tells_what_was_done_what_is_known_and_what_a_hub_says(run: Run, place: Place) -> None:
    gap = ((None, "2026-11-02T09:00:00Z"), ("2026-11-03T09:00:00Z", "2026-11-04T09:00:00Z"))
    resume = Resume(Position({("eqiad.x", 0): 1_762_077_598_000}), {}, {"canary": 4321}, {"bad_json": 2}, gap)
    progress = Progress(counts=Counts(published=1, skipped=Counter(page_gone=2), set_aside=Counter(poison=3)))
    asyncio.run(
        place.prepare(
            Record(Topic.POSITIONS, 0, POSITION_KEY, encode_resume(resume)),
            Record(Topic.PROGRESS, 0, PROGRESS_KEY, progress.encode()),
        )
    )
    with answering(json.dumps(HUB).encode()) as port:
        said = run("status", OPS__LISTEN=f"127.0.0.1:{port}").out.decode()
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in said.splitlines())
    assert rows.items() >= {
        "published": "1", "skipped: page_gone": "2", "set_aside: poison": "3", "events skipped: canary": "4,321",
        "events set_aside: bad_json": "2", "known gap": "2026-11-03T09:00:00Z to 2026-11-04T09:00:00Z", "hub": "running",
        "feed": "connected", "delay, median and 99 of 100": "1.2 s, 3.4 s", "requests in the last minute": "42 of 180",
        "wikis that do not answer": "frwiki, nlwiki",
    }.items()  # fmt: skip
    assert "everything before 2026-11-02T09:00:00Z" in said
    assert re.fullmatch(r"2025-11-02T09:59:58\+00:00, [\d,]+\.\d s ago", rows["newest event"])


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


# -- journal read --------------------------------------------------------------------------------------------------------


def test_journal_read_writes_a_json_line_a_record(run: Run, place: Place) -> None:
    odd = '{"text":"a\\u2028b\\r\\n","n":12345678901234567890}'
    records = [
        Record(Topic.MUTATIONS, 3, "w:1", odd.encode(), {"wiki": "w", "kind": "patch"}),
        Record(Topic.MUTATIONS, 1, "v:2", b'{"b": [1, 2]}', {"wiki": "v"}),
        Record(Topic.MUTATIONS, 3, "w:2", b"null", {"wiki": "w"}),
    ]
    asyncio.run(place.prepare(*records))
    said = run("journal", "read", "mutations")
    assert (said.code, said.err) == (0, "")
    assert [list(line) for line in said.lines] == [["partition", "offset", "key", "headers", "value"]] * 3
    assert [(line["partition"], line["key"], line["headers"], line["value"]) for line in said.lines] == [
        (1, "v:2", {"wiki": "v"}, {"b": [1, 2]}),
        (3, "w:1", {"wiki": "w", "kind": "patch"}, json.loads(odd)),
        (3, "w:2", {"wiki": "w"}, None),
    ]
    assert said.lines[1]["offset"] < said.lines[2]["offset"]
    assert odd.encode() in said.out  # the value itself, as it was written
    assert run("journal", "read", "mutations", "--json").out == said.out
    assert [line["key"] for line in run("journal", "read", "mutations", "--wiki", "w").lines] == ["w:1", "w:2"]
    assert run("journal", "read", "changes").out == b""


@pytest.mark.parametrize("topic", list(Topic))
def test_journal_read_reads_every_topic(run: Run, place: Place, topic: Topic) -> None:
    asyncio.run(place.prepare(Record(topic, 0, "k", b"{}")))
    assert [line["key"] for line in run("journal", "read", topic.value).lines] == ["k"]


def test_a_reader_that_has_seen_enough_is_no_failure(place: Place) -> None:
    asyncio.run(place.prepare(*(Record(Topic.MUTATIONS, 0, str(n), b'"%b"' % (b"x" * 5_000)) for n in range(60))))
    process = place.start("journal", "read", "mutations")
    assert process.stdout
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr
    said = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(PATIENCE), said) == (0, "")


def test_an_output_that_takes_no_more_is_1_without_a_traceback(place: Place) -> None:
    asyncio.run(place.prepare(Record(Topic.MUTATIONS, 0, "k", b"{}")))
    for arguments in (["journal", "read", "mutations"], ["status"]):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*SYNCER, *arguments], env=place.environment(), stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 1
        assert b"No space left" in done.stderr
        assert b"Traceback" not in done.stderr


# -- set-aside -----------------------------------------------------------------------------------------------------------


def aside(number: int, reason: str = "no_answer", wiki: str = "w") -> Record:
    source = Source("mediawiki.recentchange", f"id-{number}", "2026-11-02T09:59:58Z", "2026-11-02T09:59:59Z")
    change = Change(wiki_id=wiki, domain="d", cause=Cause.EDIT, source=source, rev_ids=(number,), titles=(f"Page [{number}]",))
    return Record(
        Topic.SET_ASIDE, 0, f"id-{number}", encode_set_aside(SetAside(reason, "why", now_iso(), change)), {"wiki": wiki}
    )


@pytest.fixture
def with_asides(place: Place) -> None:
    raw = Record(Topic.SET_ASIDE, 12, "raw", encode_set_aside(SetAside("bad_json", "at 7", now_iso(), None, b"{")))
    closed = Record(Topic.SET_ASIDE, 0, "id-4", encode_set_aside(SetAside("closed", "", now_iso(), closed_by="id-9")))
    asyncio.run(place.prepare(aside(1), aside(2, "poison"), aside(3, wiki="v"), aside(4), closed, raw))


def test_set_asides_are_listed_for_people_and_for_programs(run: Run, with_asides: None) -> None:
    said = run("set-aside", "list")
    assert said.code == 0
    assert [word for word in ("Page [1]", "poison", "bad_json", "id-3") if word not in said.out.decode()] == []
    assert "4 set aside" in said.err
    lines = run("set-aside", "list", "--json").lines
    assert {line["key"]: (line["reason"], line["wiki_id"], line["rev_ids"]) for line in lines} == {
        "id-1": ("no_answer", "w", [1]), "id-2": ("poison", "w", [2]), "id-3": ("no_answer", "v", [3]),
        "raw": ("bad_json", None, []),
    }  # fmt: skip
    assert "change" not in lines[0]
    assert {line["key"]: line["closed_by"] for line in run("set-aside", "list", "--closed", "--json").lines}["id-4"] == "id-9"


@pytest.mark.parametrize(
    ("arguments", "replayed", "code"),
    [
        ([], [1, 2, 3], 0),
        (["id-1", "id-3"], [1, 3], 0),
        (["--reason", "poison"], [2], 0),
        (["--wiki", "v"], [3], 0),
        (["--wiki", "w", "--reason", "no_answer"], [1], 0),
        (["id-9"], [], 1),
        (["raw"], [], 0),
        (["--wiki", "nowiki"], [], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and isinstance(value[0], str) else None,
)
def test_a_replay_appends_changes_that_name_what_they_repeat(
    run: Run, with_asides: None, arguments: list[str], replayed: list[int], code: int
) -> None:
    said = run("set-aside", "replay", *arguments)
    assert said.code == code
    assert f"{len(replayed)} appended" in said.out.decode()
    assert ("cannot be replayed" in said.err) == (arguments in ([], ["raw"]))
    changes = [decode_change(json.dumps(line["value"]).encode()) for line in run("journal", "read", "changes").lines]
    assert sorted(change.replay_of or "" for change in changes) == [f"id-{number}" for number in replayed]
    assert len({change.change_id for change in changes}) == len(replayed)
    assert {change.source.stream for change in changes} <= {"replay"}


def test_a_replay_lies_with_its_wiki(run: Run, with_asides: None) -> None:
    run("set-aside", "replay")
    places = {line["headers"]["wiki"]: line["partition"] for line in run("journal", "read", "changes").lines}
    assert set(places) == {"w", "v"}


# -- repair --------------------------------------------------------------------------------------------------------------


def test_digits_are_a_page_id_unless_a_page_is_called_so(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    with closing(Store(place.folder / "store.db", 10**6)) as store, store.folding():
        store.fold(Pages("testwiki", "test.wikipedia.org").snapshot(7, "1984", b"a novel"))
    assert run("repair", "test.wikipedia.org", "1984", "1985", "Nineteen_eighty-six").code == 0
    changes = [decode_change(json.dumps(line["value"]).encode()) for line in run("journal", "read", "changes").lines]
    assert [(change.titles, change.page_ids) for change in changes] == [
        (("1984",), ()),
        ((), (1985,)),
        (("Nineteen eighty-six",), ()),
    ]
    assert {(change.wiki_id, change.domain) for change in changes} == {("testwiki", "test.wikipedia.org")}
