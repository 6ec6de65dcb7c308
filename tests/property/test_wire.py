"""Whatever a mutation says comes out of its record again, and the record is what the schema promises."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from syncer.model import (
    Attribution,
    Base,
    Cause,
    Kind,
    Licence,
    Mutation,
    PageFacts,
    Patch,
    Prior,
    Redacted,
    RevisionFacts,
    SectionChange,
    Source,
    Visibility,
)
from syncer.wire import decode_mutation, encode_mutation, headers_of, key_of
from tests.mutations import sha1
from tests.wire_schema import STRICT

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = st.text(max_size=12)
NAMES = st.text(min_size=1, max_size=12)
IDS = st.integers(1, 2**53 - 1)
COUNTS = st.integers(0, 2**31)
HASHES = st.binary(max_size=3).map(sha1)
TIMES = st.datetimes(min_value=datetime(2001, 1, 15), max_value=datetime(2100, 1, 1)).map(lambda at: f"{at.isoformat()}Z")  # noqa: DTZ001
SEEN = st.builds(Visibility, st.booleans(), st.booleans(), st.booleans())
BASES = st.builds(Base, IDS, HASHES)
OPS = st.lists(st.tuples(COUNTS, COUNTS, WORDS), max_size=3).map(tuple)
PATCHES = st.builds(Patch, st.just("splice/1"), OPS)
PRIORS = st.one_of(
    st.none(),
    st.builds(Prior, NAMES, st.none() | st.integers(-2, 3000), st.none() | IDS),
    st.builds(Prior, st.none(), st.integers(-2, 3000), st.none()),
)
REDACTED = st.lists(st.builds(Redacted, IDS, SEEN, st.lists(st.tuples(COUNTS, COUNTS), max_size=2).map(tuple)), max_size=2).map(
    tuple
)


@st.composite
def sections(draw: Callable[[st.SearchStrategy[Any]], Any]) -> SectionChange:
    change = draw(st.sampled_from(["modified", "added", "removed"]))
    return SectionChange(
        tuple(draw(st.lists(WORDS, max_size=3))), draw(COUNTS), change, (draw(COUNTS), draw(COUNTS)),
        None if change == "added" else draw(HASHES), None if change == "removed" else draw(HASHES),
    )  # fmt: skip


@st.composite
def mutations(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Mutation:
    """A mutation that keeps the contract, of any kind."""
    kind = draw(st.sampled_from(Kind))
    text: bytes | None = None
    if kind is Kind.SNAPSHOT:
        text = draw(st.none() | st.text(max_size=60).map(str.encode))
    seen = draw(SEEN)
    if kind is not Kind.REDACT:
        seen = replace(seen, text=kind is not Kind.SNAPSHOT or text is not None)
    page = PageFacts(draw(IDS), draw(NAMES), draw(st.integers(-2, 3000)), draw(st.booleans()))
    mutation = Mutation(
        seq=draw(IDS), kind=kind, cause=draw(st.sampled_from(Cause)), wiki_id=draw(NAMES), domain=draw(NAMES), page=page,
        prior=draw(PRIORS), redacted=draw(REDACTED), source=Source(draw(NAMES), draw(NAMES), draw(TIMES), draw(TIMES)),
        published_at=draw(TIMES),
    )  # fmt: skip
    if kind is Kind.DELETE:
        nameless = replace(page, page_id=None) if draw(st.booleans()) else page
        return replace(mutation, page=replace(nameless, title=draw(WORDS)))
    revision = RevisionFacts(
        rev_id=draw(IDS), rev_parent_id=draw(COUNTS), timestamp=draw(TIMES), size=draw(COUNTS),
        sha1=sha1(text or b"") if seen.text else None, content_model=draw(NAMES), minor=draw(st.booleans()),
        bot=draw(st.booleans()), tags=tuple(draw(st.lists(WORDS, max_size=2))), visibility=seen,
    )  # fmt: skip
    attribution = Attribution(
        draw(st.none() | st.builds(Licence, WORDS, WORDS)), draw(NAMES),
        draw(st.none() | WORDS) if seen.user else None, draw(st.none() | WORDS) if seen.comment else None,
    )  # fmt: skip
    mutation = replace(mutation, revision=revision, attribution=attribution, upstream_sha1=draw(st.none() | HASHES))
    if kind is Kind.REDACT:
        return replace(mutation, redacted=mutation.redacted or (Redacted(1, seen),))
    changed = tuple(draw(st.lists(sections(), max_size=2)))
    if kind is Kind.PATCH:
        return replace(mutation, base=draw(BASES), patch=draw(PATCHES), sections=changed)
    told: dict[str, Any] = {"base": draw(BASES), "patch": draw(st.none() | PATCHES), "sections": changed}
    if draw(st.booleans()):
        told = {}
    return replace(mutation, text=text, gap=draw(st.booleans()), **told)


@given(mutations())
def test_what_is_written_is_read_again(mutation: Mutation) -> None:
    assert decode_mutation(encode_mutation(mutation)) == mutation


@given(mutations())
def test_what_is_written_is_valid(mutation: Mutation) -> None:
    STRICT.validate(orjson.loads(encode_mutation(mutation)))


@given(mutations())
def test_headers_are_strings_that_agree_with_the_value(mutation: Mutation) -> None:
    headers, value = headers_of(mutation), orjson.loads(encode_mutation(mutation))
    assert all(isinstance(part, str) for part in headers.values())
    assert (headers["kind"], headers["wiki"], int(headers["namespace"])) == (
        value["kind"], value["wiki_id"], value["page"]["namespace"]
    )  # fmt: skip
    assert headers["ce_id"] == f"{key_of(mutation)}:{value['seq']}"
    assert ("prior_namespace" in headers) == ("namespace" in value.get("prior", {}))


@given(mutations())
def test_nothing_is_written_of_what_is_not_there(mutation: Mutation) -> None:
    value = orjson.loads(encode_mutation(mutation))
    assert ("text" in value) == (mutation.kind is Kind.SNAPSHOT)
    for name in ("prior", "base", "patch", "attribution", "upstream_sha1"):
        assert (name in value) == (getattr(mutation, name) is not None)
    for name in ("sections", "redacted"):
        assert (name in value) == bool(getattr(mutation, name))
