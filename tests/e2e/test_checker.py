"""The checker notices every law that is broken once, and nothing in a journal that is right."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.checker import NO_HASH, Checker, Violation, check_counts, parse, splice

if TYPE_CHECKING:
    from collections.abc import Callable

Record = dict[str, Any]
SHOWN = {"text": True, "user": True, "comment": True}
TEXTS = {1: "eins", 2: "eins, zwei", 3: "drei €", 4: "drei €, vier", 9: "other"}

# The second record of the journal below, hidden and recalled.
HIDDEN = {"rev_id": 2, "visibility": SHOWN | {"text": False}, "recall": [{"partition": 3, "offset": 27}]}


def record(seq: int, kind: str, rev_id: int, *, page_id: int = 7, title: str = "T", namespace: int = 0, **more: Any) -> Record:
    """A record as `journal read` prints it; its offset is ten times its seq."""
    key, text = f"w:{page_id}", more.pop("text", TEXTS.get(rev_id))
    revision = {
        "rev_id": rev_id,
        "rev_parent_id": rev_id - 1,
        "timestamp": "2026-01-01T00:00:00Z",
        "size": 1,
        "sha1": sha1(text) if text is not None else None,
        "content_model": "wikitext",
        "visibility": SHOWN if text is not None else SHOWN | {"text": False},
    }
    value = {
        "schema": "page-mutation/1.0.0",
        "seq": seq,
        "kind": kind,
        "cause": "edit",
        "wiki_id": "w",
        "page": {"page_id": page_id, "title": title, "namespace": namespace, "is_redirect": False},
        "revision": None if kind == "delete" else revision,
        "gap": False,
        "attribution": {"editor": "E", "comment": "c"},
        "published_at": "2026-01-01T00:00:01Z",
        **({"text": text} if kind == "snapshot" else {}),
        **more,
    }
    headers = {
        "ce_id": f"{key}:{seq}",
        "ce_subject": key,
        "ce_specversion": "1.0",
        "ce_time": value["published_at"],
        "content-type": "application/json",
        "wiki": "w",
        "namespace": str(namespace),
        "kind": kind,
    }
    if "namespace" in value.get("prior", {}):
        headers["prior_namespace"] = str(value["prior"]["namespace"])
    return {"partition": 3, "offset": seq * 10 + page_id, "key": key, "headers": headers, "value": value}


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def erased(one: Record) -> Record:
    """As a journal that is rewritten in place has it."""
    one["value"] |= {"erased": True}
    one["value"]["revision"]["sha1"] = NO_HASH
    one["value"].pop("text", None)
    return one


def base(rev_id: int) -> Record:
    return {"rev_id": rev_id, "sha1": sha1(TEXTS[rev_id])}


def patch(*ops: list[Any]) -> Record:
    return {"format": "splice/1", "ops": list(ops)}


def journal() -> list[Record]:
    """A page's whole life, and another page that takes its title on the way."""
    lead = {
        "path": [],
        "occurrence": 0,
        "change": "modified",
        "range": [0, 14],
        "before_sha1": sha1(TEXTS[3]),
        "after_sha1": sha1(TEXTS[4]),
    }
    there: Record = {"title": "Talk:T2", "namespace": 1}
    return [
        record(1, "snapshot", 1, gap=True, cause="create"),
        erased(record(2, "patch", 2, base=base(1))),
        record(3, "snapshot", 3, base=base(2) | {"sha1": NO_HASH}),
        record(4, "patch", 4, base=base(3), patch=patch([8, 0, ", vier"]), sections=[lead]),
        record(5, "patch", 4, base=base(4), patch=patch(), title="T2", prior={"title": "T"}, cause="move"),
        record(6, "redact", 4, title="T2", redacted=[HIDDEN], cause="visibility"),
        record(7, "snapshot", 4, **there, prior={"title": "T2", "namespace": 0}, gap=True, cause="move"),
        record(7, "snapshot", 9, **there, page_id=8, gap=True),
        record(8, "patch", 4, base=base(4), patch=patch(), title="Talk:T3", namespace=1, cause="move"),
        record(9, "delete", 0, title="Talk:T3", namespace=1, cause="delete"),
        record(10, "snapshot", 3, title="T", gap=True, cause="undelete"),
    ]


def check(records: list[Record]) -> list[Violation]:
    checker = Checker()
    checker.read(records)
    return checker.finish()


def test_a_journal_that_is_right() -> None:
    checker = Checker()
    checker.read(journal())
    assert checker.finish() == []
    assert [(page["page_id"], page["title"], page["text"]) for page in checker.exported()] == [
        (7, "T", "drei €"),
        (8, "Talk:T2", "other"),
    ]


def put(at: int, path: str, value: Any) -> Callable[[list[Record]], None]:
    """Set one member of record number ``at``, and what headers say of it where they do."""

    def breaking(records: list[Record]) -> None:
        *parents, last = path.split(".")
        target: Any = records[at - 1]
        for name in parents:
            target = target[int(name)] if isinstance(target, list) else target[name]
        target[last] = value

    return breaking


def seq(at: int, value: int) -> Callable[[list[Record]], None]:
    def breaking(records: list[Record]) -> None:
        put(at, "value.seq", value)(records)
        put(at, "headers.ce_id", f"{records[at - 1]['key']}:{value}")(records)

    return breaking


def drop(first: int, last: int | None = None) -> Callable[[list[Record]], None]:
    def breaking(records: list[Record]) -> None:
        del records[first - 1 : last or first]

    return breaking


def again(at: int) -> Callable[[list[Record]], None]:
    """The same record a second time, right behind."""

    def breaking(records: list[Record]) -> None:
        twin = copy.deepcopy(records[at - 1])
        twin["offset"] += 1
        records.insert(at, twin)

    return breaking


def insert(after: int, new: Record) -> Callable[[list[Record]], None]:
    return lambda records: records.insert(after, new)


@pytest.mark.parametrize(
    ("law", "what", "breaking"),
    [
        ("1", "announced hash", put(1, "value.text", "EINS")),
        ("1", "announced hash", put(4, "value.patch.ops", [[8, 0, ", fünf"]])),
        ("1", "does not apply", put(4, "value.patch.ops", [[7, 1, ", vier"]])),  # cuts a character
        ("1", "does not apply", put(4, "value.patch.ops", [[8, 0, ", "], [7, 0, "vier"]])),  # goes back
        ("1", "does not apply", put(4, "value.patch.ops", [[8, 1, ", vier"]])),  # beyond the end
        ("2", "begins with", drop(1)),
        ("2", "seq", drop(3)),
        ("2", "seq", seq(4, 5)),
        ("2", "seq", seq(7, 6)),
        ("2", "builds on", put(4, "value.base.rev_id", 2)),
        ("2", "builds on", put(4, "value.base.sha1", sha1("x"))),
        ("2", "without a base", lambda records: records[3]["value"].pop("base")),
        ("2", "changes its namespace", put(7, "value.gap", False)),
        ("2", "after its deletion", put(11, "value.gap", False)),
        ("2", "prior says None", put(5, "value.prior", {})),
        ("2", "prior says 'T1'", put(5, "value.prior", {"title": "T1"})),
        ("2", "prior says 'T'", put(4, "value.prior", {"title": "T"})),
        ("2", "another revision", put(6, "value.revision.rev_id", 3)),
        ("4", "published before", again(4)),
        ("4", "changes nothing", insert(4, record(5, "patch", 4, base=base(4), patch=patch()))),
        ("4", "changes nothing", insert(6, record(7, "redact", 4, title="T2", redacted=[HIDDEN]))),
        ("5", "from the start", put(11, "value.erased", True)),
        ("6", "does not recall", put(6, "value.redacted.0.recall", [])),
        ("6", "says is hidden", put(4, "value.revision.visibility", SHOWN | {"user": False})),
        ("6", "says is hidden", put(4, "value.revision.visibility", SHOWN | {"comment": False})),
        ("6", "hidden before", insert(6, record(7, "snapshot", 2, title="T2", gap=True))),
        ("titles", "lost its title", drop(9, 11)),
        ("sections", "another hash", put(4, "value.sections.0.range", [0, 13])),
        ("order", "does not rise", put(4, "offset", 1)),
        ("order", "two partitions", put(8, "partition", 4)),
        ("wire", "the key is", put(4, "key", "w:8")),
        ("wire", "header kind", put(4, "headers.kind", "snapshot")),
        ("wire", "header prior_namespace", put(7, "headers.prior_namespace", "1")),
        ("wire", "a prior_namespace", put(4, "headers.prior_namespace", "1")),
        ("wire", "schema", put(4, "value.schema", "page-mutation/2.0.0")),
        ("wire", "kind touch", put(4, "value.kind", "touch")),
    ],
)
def test_each_law_broken_once_is_noticed(law: str, what: str, breaking: Callable[[list[Record]], None]) -> None:
    records = copy.deepcopy(journal())
    breaking(records)
    assert [violation for violation in check(records) if violation.law == law and what in violation.what]


def not_erased(records: list[Record]) -> list[tuple[str, str]]:
    checker = Checker()
    checker.read(records)
    return [(violation.where, violation.what) for violation in checker.not_erased()]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"patch": patch([4, 0, ", zwei"])}, "still holds the text of a hidden revision"),
        ({"attribution": {"editor": "E", "comment": None}}, "still holds the user of a hidden revision"),
        ({"attribution": {"editor": None, "comment": "c"}}, "still holds the comment of a hidden revision"),
    ],
)
def test_what_should_have_been_erased_of_a_hidden_revision(value: Record, what: str) -> None:
    records = journal()[:6]
    records[1]["value"]["attribution"] = {"editor": None, "comment": None}
    records[5]["value"]["redacted"] = [HIDDEN | {"visibility": {"text": False, "user": False, "comment": False}}]
    assert not_erased(records) == []
    records[1]["value"] |= value
    assert not_erased(records) == [("w:7:2", what)]


def test_a_hash_that_should_have_been_erased_with_its_text() -> None:
    """It would confirm whoever guesses the text; a record that builds on it has it, too."""
    records = journal()[:6]
    records[2]["value"]["base"] = base(2)
    assert not_erased(records) == [("w:7:3", "still holds the text of a hidden revision")]


def test_what_should_have_been_erased_of_a_deleted_page() -> None:
    records = [record(1, "snapshot", 1, gap=True, attribution=None), record(2, "delete", 0), record(3, "snapshot", 2, gap=True)]
    assert not_erased(records) == [("w:7:1", "still holds something of a deleted page")]
    erased(records[0])
    assert not_erased(records) == []


def test_a_hidden_revision_that_is_shown_again_may_be_published() -> None:
    records = journal()[:6]
    records.append(record(7, "snapshot", 2, title="T2", redacted=[HIDDEN | {"visibility": SHOWN}], gap=True))
    assert check(records) == []


def nameless(seq: int, title: str) -> Record:
    """A deletion without a page id."""
    deletion = record(seq, "delete", 0, page_id=0, title=title)
    deletion["value"]["page"]["page_id"] = None
    return deletion


def test_a_deletion_by_title_takes_the_page_that_holds_it() -> None:
    records = [record(1, "snapshot", 1, gap=True), nameless(2, "elsewhere"), nameless(3, "T")]
    checker = Checker()
    checker.read(records)
    assert checker.finish() == []
    assert checker.exported() == []
    checker.read([nameless(4, "T")])
    assert [violation.what for violation in checker.finish()] == ["changes nothing"]


def test_counts_that_add_up_and_counts_that_do_not() -> None:
    outcomes = {"published": 5, "merged": 1, "skipped": {"out_of_scope": 2, "unchanged": 1}, "set_aside": {"missing_slot": 1}}
    assert check_counts({"appended": 12, "queued": 2, "outcomes": outcomes}) == []
    assert [violation.law for violation in check_counts({"appended": 12, "queued": 1, "outcomes": outcomes})] == ["3"]


def test_splice_counts_bytes() -> None:
    assert splice("aé€😀".encode(), [[1, 2, "x"], [6, 4, ""]]) == "ax€".encode()


def test_parse_keeps_line_separators_in_texts() -> None:
    assert parse('{"value": "a\u2028b"}\n{"value": 1}\n') == [{"value": "a\u2028b"}, {"value": 1}]
