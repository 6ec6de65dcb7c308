"""The command line by itself: help, misuse, settings, what is read of a journal and appended to it. No hub, no network."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncer import cli
from syncer.clock import now_iso
from syncer.config import JournalSettings
from syncer.enrich.catchup import open_set_asides
from syncer.journal import Record, Topic, open_journal, partition_of
from syncer.model import Cause, Change, Source
from syncer.records import SetAside, decode_change, encode_set_aside
from syncer.store import Store
from tests.command import PATIENCE, SYNCER, Place, Said
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Said]

VERBS: list[list[str]] = [
    [], ["run"], ["ingest"], ["enrich"], ["mirror"], ["mirror", "follow"], ["mirror", "get"], ["mirror", "verify"],
    ["mirror", "export"], ["journal"], ["journal", "read"], ["check-config"], ["status"], ["health"], ["demo"], ["repair"],
    ["seed"], ["set-aside"], ["set-aside", "list"], ["set-aside", "replay"], ["set-aside", "close"], ["version"],
    ["topics"], ["topics", "plan"], ["topics", "apply"], ["redactions"],
    ["redactions", "status"], ["manifests"], ["manifests", "key"], ["mirror", "status"],
]  # fmt: skip


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
        (["repair", "enwiki", "\udcff"], "UTF-8"),
        (["--set", "feed.rewind", "status"], "KEY=VALUE"),
        (["--log-level", "loud", "status"], "loud"),
        (["run", "--until-idle", "soon"], "--until-idle"),
        (["run", "--until-idle", "0"], "--until-idle"),
        (["run", "--until-idle", "nan"], "--until-idle"),
        (["mirror", "follow", "--until-idle", "nan"], "--until-idle"),
        (["demo", "--seconds", "nan"], "--seconds"),
        (["demo", "--rate", "inf"], "--rate"),
        (["demo", "--seconds", "-1"], "--seconds"),
        (["enrich", "--shard", "3/2"], "--shard"),
        (["enrich", "--shard", "half"], "--shard"),
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


@pytest.mark.parametrize("group", [[], ["journal"], ["mirror"], ["set-aside"], ["redactions"]], ids=" ".join)
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
        (["demo", "--history", "/nowhere/history.xml"], {}, "/nowhere/history.xml"),
        (["demo", "--keep", "/etc"], {}, "something in /etc already"),
        (["demo", "--keep", "/dev/null"], {}, "/dev/null cannot be used"),
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
    assert run("version", "--json").lines == [{"version": run("version").out.decode().strip()}]


# -- journal read --------------------------------------------------------------------------------------------------------


def test_journal_read_writes_a_json_line_a_record(run: Run, place: Place) -> None:
    odd = '{"text":"a\\u2028b\\r\\n","n":12345678901234567890}'
    records = [
        Record(Topic.MUTATIONS, 3, "w:1", odd.encode(), {"wiki": "w", "kind": "patch"}),
        Record(Topic.MUTATIONS, 1, "v:2", b'{"b": [1, 2]}', {"wiki": "v"}),
        Record(Topic.MUTATIONS, 3, "w:2", b"null", {"wiki": "w"}),
    ]
    asyncio.run(place.prepare(*records))
    assert all(len(line["headers"]["salt"]) == 32 for line in run("journal", "read", "mutations", "--salt").lines)
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


def test_what_upstream_wrote_does_not_steer_the_terminal(run: Run, place: Place) -> None:
    entry = SetAside("bad_json", "\x1b[2J\nred", now_iso(), None, b"{")
    asyncio.run(place.prepare(Record(Topic.SET_ASIDE, 12, "raw", encode_set_aside(entry))))
    said = run("set-aside", "list")
    assert b"\x1b" not in said.out
    assert len(said.out.splitlines()) == 2


def test_set_asides_are_listed_for_people_and_for_programs(run: Run, with_asides: None, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run("set-aside", "list")
    assert said.code == 0
    assert [word for word in ("Page [1]", "poison", "bad_json", "id-3") if word not in said.out.decode()] == []
    assert "4 set aside" in said.err
    monkeypatch.setattr(cli.stdout, "_width", 40)
    assert run("set-aside", "list").out == said.out
    assert {line.split()[0] for line in said.out.decode().splitlines()} == {"key", "id-1", "id-2", "id-3", "raw"}
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
    assert ("not replayed: raw: it still cannot be read: bad_json" in said.err) == (arguments in ([], ["raw"]))
    changes = [decode_change(json.dumps(line["value"]).encode()) for line in run("journal", "read", "changes").lines]
    assert sorted(change.replay_of or "" for change in changes) == [f"id-{number}" for number in replayed]
    assert len({change.change_id for change in changes}) == len(replayed)
    assert {change.source.stream for change in changes} <= {"replay"}


def test_a_replay_says_how_much_of_it_there_is(run: Run, with_asides: None) -> None:
    (line,) = run("set-aside", "replay", "--json").lines
    assert (line["appended"], list(line["not_replayable"])) == (3, ["raw"])
    said = run("set-aside", "replay", "--json", "id-9")
    assert (said.code, said.lines) == (1, [{"appended": 0, "not_replayable": {}, "unknown": ["id-9"]}])


def test_keys_that_nothing_stands_under_are_told(run: Run, with_asides: None) -> None:
    said = run("set-aside", "replay", "id-1", "id-9", "id-4")
    assert (said.code, said.out) == (1, b"1 appended to be tried again\n")
    assert "nothing stands set aside as id-4" in said.err
    assert "nothing stands set aside as id-9" in said.err
    assert "as id-1" not in said.err


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["--reason", "poison"], {"id-2"}),
        (["--wiki", "w"], {"id-1", "id-2"}),
        (["--wiki", "w", "--reason", "no_answer"], {"id-1"}),
        (["--wiki", "w", "--reason", "no_answer", "--closed"], {"id-1", "id-4"}),
        (["--reason", "nothing"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_list_may_be_of_one_reason_or_wiki(run: Run, with_asides: None, arguments: list[str], keys: set[str]) -> None:
    assert {line["key"] for line in run("set-aside", "list", "--json", *arguments).lines} == keys


def test_a_list_names_pages_that_only_have_an_id(run: Run, place: Place) -> None:
    source = Source("reconcile", "found", "2026-11-02T09:59:58Z", "2026-11-02T09:59:59Z")
    change = Change(wiki_id="w", domain="d", cause=Cause.RECONCILE, source=source, page_ids=(4711,))
    asyncio.run(place.prepare(Record(Topic.SET_ASIDE, 0, "found", encode_set_aside(SetAside("lagging", "", now_iso(), change)))))
    assert run("set-aside", "list", "--json").lines[0]["page_ids"] == [4711]
    assert " 4711" in run("set-aside", "list").out.decode()


def test_an_event_that_can_be_read_by_now_is_replayed_under_its_key(run: Run, place: Place) -> None:
    meta = {"stream": "mediawiki.recentchange", "domain": "en.wikipedia.org", "id": "e-1"}
    event = {"meta": meta, "wiki": "enwiki", "type": "edit", "title": "A", "namespace": 0, "revision": {"old": 1, "new": 2}}
    entry = SetAside("bad_event", "as it was", now_iso(), raw=json.dumps(event).encode())
    asyncio.run(place.prepare(Record(Topic.SET_ASIDE, 12, "kept", encode_set_aside(entry))))
    assert run("set-aside", "replay", "--json").lines == [{"appended": 1, "not_replayable": {}, "unknown": []}]
    (line,) = run("journal", "read", "changes").lines
    assert (line["value"]["replay_of"], line["value"]["rev_ids"], line["headers"]["wiki"]) == ("kept", [2], "enwiki")


def test_what_was_looked_at_is_closed(run: Run, place: Place, with_asides: None) -> None:
    said = run("set-aside", "close", "id-1", "raw", "id-9")
    assert (said.code, said.out) == (1, b"2 closed\n")
    assert "nothing stands set aside as id-9" in said.err
    assert {line["key"] for line in run("set-aside", "list", "--json").lines} == {"id-2", "id-3"}
    closed = {line["key"]: line["closed_by"] for line in run("set-aside", "list", "--closed", "--json").lines}
    assert (closed["id-1"], closed["raw"]) == ("hand", "hand")
    assert run("set-aside", "close", "id-2", "--json").lines == [{"closed": 1, "unknown": []}]


def test_what_is_closed_by_hand_counts_as_closed_for_the_wiki(run: Run, place: Place) -> None:
    """Whether enrich has set it aside, in the partition of the wiki, or ingest in its own."""
    partition = partition_of("w", 12)
    asyncio.run(place.prepare(replace(aside(1), partition=partition), replace(aside(2, "domain_not_allowed"), partition=12)))

    async def still_open() -> set[str]:
        journal = await open_journal(JournalSettings(url=f"sqlite:///{place.folder}/journal.db"))
        try:
            return set(await open_set_asides(journal, partition))
        finally:
            await journal.close()

    assert asyncio.run(still_open()) == {"id-1", "id-2"}
    assert run("set-aside", "close", "id-1", "id-2").code == 0
    assert asyncio.run(still_open()) == set()


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
    assert run("repair", "testwiki", "1984", "--json").lines == [{"appended": 1}]
