"""Mutation <-> record, as partners see it: key, headers, JSON (DESIGN 6, docs/wire.md, schema/page-mutation/). Pure.

Headers follow the CloudEvents Kafka binding in binary mode. Minor versions add fields: a reader ignores fields it does not
know and stops at a kind it does not know.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from syncer.errors import Misconfigured, Unusable
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

SCHEMA: Final = "page-mutation/1.0.0"
DATA_SCHEMA: Final = "urn:wiki-syncer:" + SCHEMA.replace("/", ":")
EVENT_TYPE: Final = "wiki.page.mutation.v1"
KINDS: Final = frozenset(kind.value for kind in Kind)
CONTENT: Final = ("text", "patch", "sections", "upstream_sha1")  # where a text, or something of it, stands in a record
NO_HASH: Final = 40 * "0"  # of a text that was erased: nobody knows it, and it fits any
MAX_RECORD: Final = 16 * 1024 * 1024  # bytes: what a broker is told to take (DESIGN 6)


def key_of(mutation: Mutation) -> str:
    """The record key: everything of a page lies in one partition in order."""
    return f"{mutation.wiki_id}:{mutation.page.page_id or 0}"


def headers_of(mutation: Mutation) -> dict[str, str]:
    """The headers by which a partner filters without parsing."""
    page, prior = mutation.page, mutation.prior
    headers = {
        "ce_specversion": "1.0",
        "ce_id": mutation.ce_id,
        "ce_type": EVENT_TYPE,
        "ce_source": f"https://{mutation.domain}/",
        "ce_time": mutation.published_at,
        "ce_subject": key_of(mutation),
        "ce_dataschema": DATA_SCHEMA,
        "content-type": "application/json",
        "wiki": mutation.wiki_id,
        "namespace": str(page.namespace),
        "kind": mutation.kind.value,
    }
    if prior and prior.namespace is not None:
        headers["prior_namespace"] = str(prior.namespace)
    return headers


def encode_mutation(mutation: Mutation) -> bytes:
    """The record's value. Raises Unusable("record_too_large") above MAX_RECORD bytes."""
    revision, source = mutation.revision, mutation.source
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "seq": mutation.seq,
        "kind": mutation.kind,
        "cause": mutation.cause,
        "wiki_id": mutation.wiki_id,
        "domain": mutation.domain,
        "page": mutation.page,
    }
    if prior := mutation.prior:
        value["prior"] = {
            name: part
            for name, part in (("title", prior.title), ("namespace", prior.namespace), ("page_id", prior.page_id))
            if part is not None
        }
    value["revision"] = revision
    if mutation.base:
        value["base"] = mutation.base
    if mutation.patch:
        value["patch"] = mutation.patch
    if mutation.kind is Kind.SNAPSHOT:
        value["text"] = None if mutation.text is None else mutation.text.decode()
    value["gap"] = mutation.gap
    if mutation.sections:
        value["sections"] = mutation.sections
    if mutation.redacted:
        value["redacted"] = [
            {
                "rev_id": entry.rev_id,
                "visibility": entry.visibility,
                "recall": [{"partition": partition, "offset": offset} for partition, offset in entry.recall],
            }
            for entry in mutation.redacted
        ]
    if mutation.attribution:
        value["attribution"] = mutation.attribution
    value["source"] = source
    if mutation.upstream_sha1:
        value["upstream_sha1"] = mutation.upstream_sha1
    value["published_at"] = mutation.published_at
    encoded = orjson.dumps(value)
    if len(encoded) > MAX_RECORD:
        raise Unusable("record_too_large", f"a mutation of {key_of(mutation)} has {len(encoded)} bytes, at most {MAX_RECORD} fit")
    return encoded


def decode_mutation(value: bytes) -> Mutation:
    """Read a record's value. Raises Misconfigured on a kind or schema this reader is too old for, Unusable on anything broken."""
    try:
        part = orjson.loads(value)
        schema, kind = part["schema"], part["kind"]
        if not schema.startswith("page-mutation/1.") or kind not in KINDS:
            raise Misconfigured(
                f"this reader knows {SCHEMA}, the record is {schema} of kind {kind!r}", hint="install the newer wiki-syncer"
            )
        return _mutation(part)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unusable("bad_record", f"a record is no mutation: {error!r}") from error


def _mutation(part: dict[str, Any]) -> Mutation:
    page, prior, source, text = part["page"], part.get("prior"), part["source"], part.get("text")
    try:
        cause = Cause(part["cause"])
    except ValueError:  # a later minor version may add causes; they tell a reader why, never how
        cause = Cause.LOG
    return Mutation(
        seq=part["seq"],
        kind=Kind(part["kind"]),
        cause=cause,
        wiki_id=part["wiki_id"],
        domain=part["domain"],
        page=PageFacts(page["page_id"], page["title"], page["namespace"], page["is_redirect"]),
        prior=Prior(prior.get("title"), prior.get("namespace"), prior.get("page_id")) if prior else None,
        revision=decode_revision(part["revision"]),
        base=Base(part["base"]["rev_id"], part["base"]["sha1"]) if part.get("base") else None,
        patch=_patch(part["patch"]) if part.get("patch") else None,
        text=None if text is None else text.encode(),
        gap=part["gap"],
        sections=tuple(_section(section) for section in part.get("sections", ())),
        redacted=tuple(_redacted(entry) for entry in part.get("redacted", ())),
        attribution=decode_attribution(part.get("attribution")),
        source=Source(source["stream"], source["event_id"], source["event_time"], source["received_at"]),
        upstream_sha1=part.get("upstream_sha1"),
        published_at=part["published_at"],
        erased=part.get("erased", False),
    )


def erase(value: bytes, rev_id: int | None, seen: Visibility) -> bytes:
    """A record's value without what is not ``seen`` any more of a revision, or with None of any; the same where nothing goes.

    With a text goes its hash, which would confirm what somebody guesses. So a record of another revision, which had this one as
    its base, loses that as well, and the headings of the base; its patch stays, which holds nothing of it.
    """
    part = orjson.loads(value)
    revision, base = part["revision"], part.get("base")
    gone = bool(revision) and rev_id in {None, revision["rev_id"]} and _lose(part, seen)
    if base and rev_id in {None, base["rev_id"]} and not seen.text and base["sha1"] != NO_HASH:
        part.pop("sections", None)
        base["sha1"], gone = NO_HASH, True
    return orjson.dumps(part) if gone else value


def _lose(part: dict[str, Any], seen: Visibility) -> bool:
    """Take out of a record what is not seen any more of its own revision; False where there is nothing of it."""
    revision, attribution = part["revision"], part["attribution"]
    gone = not seen.text and revision["sha1"] not in {None, NO_HASH}
    if gone:
        for name in CONTENT:
            part.pop(name, None)
        revision["sha1"], part["erased"] = NO_HASH, True
    for name, shown in (("editor", seen.user), ("comment", seen.comment)):
        if attribution[name] is not None and not shown:
            attribution[name], gone = None, True
    return gone


def decode_revision(part: dict[str, Any] | None) -> RevisionFacts | None:
    """The ``revision`` of a mutation, also as a store keeps it."""
    if part is None:
        return None
    return RevisionFacts(
        rev_id=part["rev_id"],
        rev_parent_id=part["rev_parent_id"],
        timestamp=part["timestamp"],
        size=part["size"],
        sha1=part["sha1"],
        content_model=part["content_model"],
        minor=part["minor"],
        bot=part["bot"],
        tags=tuple(part["tags"]),
        visibility=_visibility(part["visibility"]),
    )


def decode_attribution(part: dict[str, Any] | None) -> Attribution | None:
    """The ``attribution`` of a mutation, also as a store keeps it."""
    if part is None:
        return None
    licence = part["licence"]
    return Attribution(
        Licence(licence["url"], licence["text"]) if licence else None, part["url"], part["editor"], part["comment"]
    )


def _visibility(part: dict[str, bool]) -> Visibility:
    return Visibility(part["text"], part["user"], part["comment"])


def _patch(part: dict[str, Any]) -> Patch:
    """The operations as they are: whether they mean anything is for the format to say, and the format may be a later one."""
    return Patch(part["format"], tuple(tuple(op) for op in part["ops"]))


def _section(part: dict[str, Any]) -> SectionChange:
    start, end = part["range"]
    return SectionChange(
        tuple(part["path"]), part["occurrence"], part["change"], (start, end), part["before_sha1"], part["after_sha1"]
    )


def _redacted(part: dict[str, Any]) -> Redacted:
    recall = tuple((place["partition"], place["offset"]) for place in part["recall"])
    return Redacted(part["rev_id"], _visibility(part["visibility"]), recall)
