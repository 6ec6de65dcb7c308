"""The wire contract (DESIGN 6): the schema, its examples, what is written and what is read."""

from __future__ import annotations

import copy
import hashlib
import json
import runpy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from syncer import wire
from syncer.errors import Misconfigured, Unusable
from syncer.model import Cause, Kind, Mutation, PageFacts, Prior
from syncer.store import Divergence, Store
from syncer.wire import decode_mutation, encode_mutation, headers_of, key_of
from tests.mutations import Pages, sha1
from tests.wire_schema import FILE, LENIENT, SCHEMA, STRICT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((FILE.parents[1] / "examples").glob("*.json"))}
LIVE = {name: example for name, example in EXAMPLES.items() if not name.endswith("erased")}

ZERO = "0" * 40

# What a published version is, for ever: to change anything is to write the next version.
PUBLISHED = {"1.0.0": "0c3bfa6bae990e89814e9d508c3b6310b358b1f8b506ee155d5c595e83b66238"}


def value(name: str) -> dict[str, Any]:
    """A copy of an example's value, to be changed."""
    (found,) = [example for stem, example in EXAMPLES.items() if stem.split("-", 1)[1] == name]
    changed: dict[str, Any] = copy.deepcopy(found["value"])
    return changed


# -- the schema ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", sorted(PUBLISHED))
def test_a_published_schema_never_changes(version: str) -> None:
    assert hashlib.sha256((FILE.parent / f"{version}.json").read_bytes()).hexdigest() == PUBLISHED[version]


def test_every_schema_is_published_and_a_schema_itself() -> None:
    assert {path.stem for path in FILE.parent.glob("*.json")} == set(PUBLISHED)
    LENIENT.check_schema(SCHEMA)
    assert f"page-mutation/{FILE.stem}" == wire.SCHEMA
    assert SCHEMA["$id"] == wire.DATA_SCHEMA


def test_the_schema_knows_every_kind_and_cause() -> None:
    assert SCHEMA["properties"]["kind"]["enum"] == [kind.value for kind in Kind]
    assert SCHEMA["properties"]["cause"]["examples"] == [cause.value for cause in Cause]


# One step away from an example, by what is put in a place of it, and not valid any more.
FALSE: dict[str, list[tuple[str, Any]]] = {
    "edit": [
        ("seq", "17"),
        ("seq", 0),
        ("seq", 1.5),
        ("seq", True),
        ("kind", "rename"),
        ("cause", ""),
        ("cause", None),
        ("gap", True),
        ("gap", 0),
        ("schema", "page-mutation/2.0.0"),
        ("schema", "page-mutation/1"),
        ("revision", None),
        ("text", "whole"),
        ("text", None),
        ("page.page_id", None),
        ("page.page_id", "736"),
        ("page.page_id", 0),
        ("page.title", None),
        ("page.title", ""),
        ("page.namespace", "0"),
        ("page.is_redirect", None),
        ("prior", {}),
        ("prior", {"title": None}),
        ("revision.rev_id", "2"),
        ("revision.rev_parent_id", None),
        ("revision.sha1", None),
        ("revision.sha1", ZERO[1:]),
        ("revision.sha1", "F" * 40),
        ("revision.tags", [1]),
        ("revision.tags", None),
        ("revision.minor", 1),
        ("revision.visibility", {"text": True}),
        ("revision.visibility.text", False),
        ("base", None),
        ("base.sha1", None),
        ("patch.ops", [[0, 1]]),
        ("patch.ops", [[0, 1, 2]]),
        ("patch.ops", [[0, 1, "x", "y"]]),
        ("patch.ops", [[-1, 1, "x"]]),
        ("patch.format", "splice"),
        ("sections.0.path", "History"),
        ("sections.0.range", [1]),
        ("sections.0.change", "moved"),
        ("sections.0.before_sha1", None),
        ("sections.0.occurrence", -1),
        ("attribution.editor", 7),
        ("attribution.url", None),
        ("attribution.licence", "CC0"),
        ("source.event_time", "yesterday"),
        ("source.event_time", "2026-11-02T09:00:00"),
        ("source.stream", None),
        ("published_at", 1761984000),
        ("upstream_sha1", None),
        ("erased", False),
        ("redacted", []),
    ],
    "first-sight": [
        ("sections.1.before_sha1", ZERO),
        ("text", 7),
    ],
    "rewritten": [
        ("text", None),
    ],
    "hidden-text": [
        ("text", "shown"),
        ("revision.sha1", ZERO),
        ("attribution.editor", "Ada"),
        ("attribution.comment", "rude"),
    ],
    "redact": [
        ("redacted.0.recall", None),
        ("redacted.0.rev_id", None),
        ("redacted.0.visibility.user", None),
        ("base", {"rev_id": 1, "sha1": ZERO}),
        ("patch", {"format": "splice/1", "ops": []}),
        ("text", None),
    ],
    "delete": [
        ("revision", {"rev_id": 1}),
        ("text", None),
        ("gap", True),
        ("base", {"rev_id": 1, "sha1": ZERO}),
        ("sections", []),
    ],
    "delete-by-title": [
        ("page.page_id", 0),
    ],
}


def wrong() -> Iterator[tuple[str, dict[str, Any]]]:
    """Values that are one step away from an example, and not valid any more."""
    for name in ("schema", "seq", "kind", "cause", "wiki_id", "domain", "page", "revision", "gap", "source", "published_at"):
        part = value("edit")
        del part[name]
        yield f"without {name}", part
    for example, places in FALSE.items():
        for place, false in places:
            part = value(example)
            *way, last = place.split(".")
            node: Any = part
            for step in way:
                node = node[int(step)] if isinstance(node, list) else node[step]
            node[last] = false
            yield f"{example} with {place} {false!r}", part
    for example, names in (
        ("edit", ["patch"]), ("edit", ["base"]), ("edit", ["attribution"]), ("rewritten", ["text"]), ("first-sight", ["base"]),
        ("redact", ["redacted"]), ("erased", ["erased"]),
    ):  # fmt: skip
        part = value(example)
        for name in names:
            del part[name]
        yield f"{example} without {', '.join(names)}", part
    erased = value("erased")
    for name in ("text", "patch", "sections"):
        yield f"erased and with {name}", erased | {name: value("first-sight")[name]}


WRONG = dict(wrong())


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_contract_is_not_valid(name: str) -> None:
    assert not LENIENT.is_valid(WRONG[name])


def test_a_reader_may_meet_fields_and_causes_of_later_minor_versions() -> None:
    later = value("edit") | {"schema": "page-mutation/1.4.0", "cause": "sneeze", "mood": {"good": True}}
    for part in ("page", "revision", "patch", "attribution", "source"):
        later[part] |= {"new": 1}
    later["patch"] |= {"format": "other/2", "ops": {"whatever": "it is"}}
    assert LENIENT.is_valid(later)
    assert not STRICT.is_valid(later)


# -- the examples --------------------------------------------------------------------------------------------------------


def test_there_is_an_example_of_every_kind_and_special_case() -> None:
    values = [example["value"] for example in EXAMPLES.values()]
    assert {part["kind"] for part in values} == {kind.value for kind in Kind}
    for case in (
        {"kind": "snapshot", "gap": False}, {"kind": "snapshot", "gap": True}, {"kind": "snapshot", "text": None},
        {"kind": "delete"}, {"kind": "redact"}, {"cause": "move"}, {"erased": True}, {"cause": "undelete"}, {"cause": "repair"},
    ):  # fmt: skip
        assert any(case.items() <= part.items() for part in values), case
    assert any(part["gap"] and "base" in part and "patch" in part and "sections" in part for part in values)
    assert any(part["page"]["page_id"] is None for part in values)
    assert any("namespace" in part.get("prior", {}) for part in values)
    assert any("title" in part.get("prior", {}) for part in values)
    assert any("upstream_sha1" in part for part in values)
    assert any(part.get("attribution", {}).get("licence", 0) is None for part in values)
    assert any(change["change"] == "removed" for part in values for change in part.get("sections", ()))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid(name: str) -> None:
    STRICT.validate(EXAMPLES[name]["value"])


@pytest.mark.parametrize("name", LIVE)
def test_an_example_is_what_is_written(name: str) -> None:
    example = LIVE[name]
    mutation = decode_mutation(orjson.dumps(example["value"]))
    assert orjson.loads(encode_mutation(mutation)) == example["value"]
    assert [*orjson.loads(encode_mutation(mutation))] == [*example["value"]], "the order of DESIGN 6"
    assert headers_of(mutation) == example["headers"]
    assert key_of(mutation) == example["key"]


def test_the_examples_are_what_their_script_writes() -> None:
    script = runpy.run_path(str(FILE.parents[1] / "examples" / "make.py"))
    made = {name: script["record"](mutation) for name, mutation in script["live"]().told}
    assert made == LIVE


def test_the_examples_lead_a_reader_from_one_to_the_next(tmp_path: Path) -> None:
    store = Store(tmp_path / "mirror.db")
    seen: list[tuple[str | None, bool]] = []
    with store.folding():
        for example in LIVE.values():
            mutation = decode_mutation(orjson.dumps(example["value"]))
            store.fold(mutation)
            state, text = store.page("testwiki", 736), store.text("testwiki", 736)
            assert state
            if mutation.revision and mutation.revision.sha1:
                assert text is not None
                assert sha1(text) == mutation.revision.sha1
            seen.append((state.title, text is not None))
    assert seen[3] == ("Beacon Rock Light", True)
    assert seen[6] == ("Beacon Rock Light", False)
    assert seen[-1] == ("Draft:Beacon Rock Light", True)
    assert not store.hidden("testwiki", (1103, 1106))[1103].text
    store.close()


def test_sections_of_the_examples_are_where_they_say() -> None:
    for example in EXAMPLES.values():
        part = example["value"]
        for section in part.get("sections", ()):
            start, end = section["range"]
            if section["change"] != "removed" and part.get("text"):
                assert sha1(part["text"].encode()[start:end]) == section["after_sha1"]


# -- headers and key -----------------------------------------------------------------------------------------------------


def test_headers_are_those_of_cloudevents_in_binary_mode_and_what_partners_filter_by() -> None:
    mutation = Pages("enwiki", "en.wikipedia.org").snapshot(
        736, "Talk:Albert Einstein", b"x", page=PageFacts(736, "Talk:Albert Einstein", 1)
    )
    assert headers_of(mutation) == {
        # https://github.com/cloudevents/spec, Kafka protocol binding 3.2: `ce_` before every attribute but datacontenttype
        "ce_specversion": "1.0",
        "ce_id": "enwiki:736:1",
        "ce_type": "wiki.page.mutation.v1",
        "ce_source": "https://en.wikipedia.org/",
        "ce_time": mutation.published_at,
        "ce_subject": "enwiki:736",
        "ce_dataschema": "urn:wiki-syncer:page-mutation:1.0.0",
        "content-type": "application/json",
        "wiki": "enwiki",
        "namespace": "1",
        "kind": "snapshot",
    }
    assert key_of(mutation) == "enwiki:736"


def test_a_namespace_that_changed_is_named_before_and_after() -> None:
    pages = Pages()
    prior = Prior(title="One", namespace=0)
    move = pages.snapshot(1, "Talk:One", b"x", page=PageFacts(1, "Talk:One", 1), prior=prior)
    assert (headers_of(move)["namespace"], headers_of(move)["prior_namespace"]) == ("1", "0")
    assert "prior_namespace" not in headers_of(replace(move, prior=Prior(title="One")))


def test_a_page_without_id_has_a_key_of_its_own() -> None:
    delete = Pages().delete(None, "One")
    assert (key_of(delete), delete.ce_id, headers_of(delete)["ce_subject"]) == ("testwiki:0", "testwiki:0:1", "testwiki:0")


# -- writing and reading -------------------------------------------------------------------------------------------------


def mutation_of(**changes: Any) -> Mutation:
    return decode_mutation(orjson.dumps(value("edit") | changes))


def test_fields_that_are_not_known_are_ignored() -> None:
    plain, later = value("first-sight"), value("first-sight")
    later |= {"mood": "good"}
    for part in (later["page"], later["revision"], later["base"], later["patch"], later["attribution"], later["source"]):
        part["new"] = [1]
    later["sections"][0]["new"] = 1
    later["revision"]["visibility"]["new"] = True
    assert decode_mutation(orjson.dumps(later)) == decode_mutation(orjson.dumps(plain))


def test_a_cause_that_is_not_known_is_of_no_consequence() -> None:
    assert mutation_of(cause="sneeze").cause is Cause.LOG


def test_a_patch_format_that_is_not_known_is_the_business_of_who_applies_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "mirror.db")
    patch = mutation_of(patch={"format": "other/2", "ops": {"whatever": "it is"}})
    assert patch.patch
    assert patch.patch.format == "other/2"
    with store.folding():
        store.fold(decode_mutation(orjson.dumps(value("first-sight"))))
        with pytest.raises(Divergence, match="unknown patch"):
            store.fold(patch)
    store.close()


@pytest.mark.parametrize("changes", [{"kind": "rename"}, {"schema": "page-mutation/2.0.0"}, {"schema": "page-mutation/10.0.0"}])
def test_a_reader_stops_at_what_it_is_too_old_for(changes: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match=r"page-mutation/1\.0\.0") as caught:
        mutation_of(**changes)
    assert "install" in (caught.value.hint or "")
    assert caught.value.exit_code == 78


def test_a_later_minor_version_is_read() -> None:
    assert mutation_of(schema="page-mutation/1.99.0").kind is Kind.PATCH


@pytest.mark.parametrize(
    "record",
    [
        b"", b"{", b"null", b"[]", b"7", b'"text"', b"{}", b'{"schema":7}', b"\xff",
        b'{"schema":"page-mutation/1.0.0","kind":["patch"]}', b'{"schema":"page-mutation/1.0.0","kind":"patch"}',
    ],
)  # fmt: skip
def test_what_is_no_mutation_is_unusable(record: bytes) -> None:
    with pytest.raises(Unusable) as caught:
        decode_mutation(record)
    assert caught.value.reason == "bad_record"


@pytest.mark.parametrize("name", sorted(set(value("edit")) - {"schema", "kind", "gap"}))
def test_a_part_of_another_type_is_unusable_or_of_no_consequence(name: str) -> None:
    others: list[Any] = [None, 7, "text", [], {}, [[1]]]
    for other in others:
        try:
            mutation_of(**{name: other})
        except Unusable as error:
            assert error.reason == "bad_record"  # noqa: PT017 - where it is refused, it is for this


def test_a_record_is_16_mib_at_most() -> None:
    pages = Pages()
    small = len(encode_mutation(pages.snapshot(1, "One", b"")))
    largest = pages.snapshot(1, "One", b"x" * (wire.MAX_RECORD - small - 20))
    assert wire.MAX_RECORD - 40 < len(encode_mutation(largest)) <= wire.MAX_RECORD
    with pytest.raises(Unusable, match="testwiki:1") as caught:
        encode_mutation(pages.snapshot(1, "One", b"x" * wire.MAX_RECORD))
    assert caught.value.reason == "record_too_large"
