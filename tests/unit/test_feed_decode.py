from __future__ import annotations

import json
from typing import Any

import pytest

from syncer.feed.decode import STREAMS, bare, decode, digest, identify
from syncer.feed.event import Aside, AsideReason, Envelope, Skip, SkipReason
from syncer.feed.recentchange import NO_CONTENT
from syncer.model import Cause, Change, Visibility

RECENT, PAGE_CHANGE = "mediawiki.recentchange", "mediawiki.page_change.v1"
VISIBILITY, CREATE = "mediawiki.revision-visibility-change", "mediawiki.revision-create"
NOW, THEN = "2026-11-24T05:00:00.000Z", "2026-11-24T04:59:58.123Z"


def outcome(event: Any) -> Change | Skip | Aside:
    envelope = identify(event if isinstance(event, bytes) else json.dumps(event).encode())
    return decode(envelope, NOW) if isinstance(envelope, Envelope) else envelope


def change(event: Any) -> Change:
    found = outcome(event)
    assert isinstance(found, Change), found
    return found


def aside(event: Any) -> Aside:
    found = outcome(event)
    assert isinstance(found, Aside), found
    return found


def meta(stream: str, **more: Any) -> dict[str, Any]:
    return {"id": "e-1", "stream": stream, "domain": "en.wikipedia.org", "dt": THEN, **more}


def recent(kind: str, **more: Any) -> dict[str, Any]:
    return {"meta": meta(RECENT), "wiki": "enwiki", "type": kind, "title": "A b", "namespace": 0, "user": "U", **more}


def edit(**more: Any) -> dict[str, Any]:
    return recent("edit", revision={"old": 1, "new": 2}, **more)


def log(kind: str, params: Any = "", **more: Any) -> dict[str, Any]:
    log_type, _, action = kind.partition("/")
    return recent("log", log_type=log_type, log_action=action, log_params=params, **more)


def page_change(kind: str, **more: Any) -> dict[str, Any]:
    page = {"page_id": 7, "page_title": "Talk:A_b", "namespace_id": 1}
    revision = {"rev_id": 2, "rev_parent_id": 1}
    schema = "/mediawiki/page/change/1.11.0"
    base = {"$schema": schema, "meta": meta(PAGE_CHANGE), "wiki_id": "enwiki", "page": page, "revision": revision}
    return {**base, "page_change_kind": kind, **more}


def revision_event(stream: str, **more: Any) -> dict[str, Any]:
    return {
        "meta": meta(stream), "database": "enwiki", "page_id": 7, "page_title": "Talk:A_b", "page_namespace": 1,
        "rev_id": 2, "rev_parent_id": 1, **more,
    }  # fmt: skip


# -- what every event says of itself -----------------------------------------------------------------------------------


def test_a_canary_is_one_whatever_else_it_says() -> None:
    for stream in (*STREAMS, "mediawiki.page-links-change"):
        assert outcome({"meta": {"domain": "canary", "stream": stream}}) == Skip(SkipReason.CANARY)


def test_who_says_what_about_which_wiki() -> None:
    found = change(edit())
    assert (found.wiki_id, found.domain) == ("enwiki", "en.wikipedia.org")
    assert (found.source.stream, found.change_id) == (RECENT, "e-1")
    assert (found.source.event_time, found.source.received_at) == (THEN, NOW)


@pytest.mark.parametrize("event_time", [None, "", "yesterday", "2026-11-24T04:59:58", 1795487525, []])
def test_a_time_that_is_none_is_that_of_its_arrival(event_time: object) -> None:
    assert change(edit(meta=meta(RECENT, dt=event_time))).source.event_time == NOW


@pytest.mark.parametrize("event_id", [None, "", 17, "x" * 300])
def test_an_event_without_an_id_is_known_by_its_bytes(event_id: object) -> None:
    raw = json.dumps(edit(meta=meta(RECENT, id=event_id))).encode()
    assert change(raw).change_id == digest(raw) != digest(raw + b" ")


def test_a_stream_may_be_known_by_its_topic() -> None:
    assert change(edit(meta={**meta(RECENT), "stream": None, "topic": f"eqiad.{RECENT}"})).source.stream == RECENT


def test_a_domain_may_be_said_elsewhere() -> None:
    assert change(edit(meta=meta(RECENT, domain=None), server_name="de.wikipedia.org")).domain == "de.wikipedia.org"
    assert change(edit(meta=meta(RECENT, domain=None, uri="https://fr.wikipedia.org/wiki/A"))).domain == "fr.wikipedia.org"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", AsideReason.BAD_JSON), (b"{", AsideReason.BAD_JSON), (b'{"a":"\xff"}', AsideReason.BAD_JSON),
        (b'{"a":"\\ud800"}', AsideReason.BAD_JSON), (b"[1]", AsideReason.BAD_EVENT), (b'"a"', AsideReason.BAD_EVENT),
        (b"null", AsideReason.BAD_EVENT), (b"{}", AsideReason.BAD_EVENT), (b'{"meta":[]}', AsideReason.BAD_EVENT),
        (b'{"meta":{"stream":7}}', AsideReason.BAD_EVENT), (b"[" * 100_000, AsideReason.BAD_JSON),
    ],
)  # fmt: skip
def test_what_is_no_event(raw: bytes, reason: AsideReason) -> None:
    assert aside(raw).reason == reason


@pytest.mark.parametrize("name", [None, "", 7, "x" * 300])
def test_an_event_of_no_wiki(name: object) -> None:
    assert aside(edit(wiki=name)) == Aside(AsideReason.BAD_EVENT, "meta.domain or wiki is missing")
    assert aside(edit(meta=meta(RECENT, domain=name, uri="http://["))).reason == AsideReason.BAD_EVENT


def test_a_stream_without_a_decoder_is_skipped() -> None:
    assert outcome({"meta": meta("mediawiki.page-links-change")}) == Skip(SkipReason.UNKNOWN_STREAM)


# -- recentchange ------------------------------------------------------------------------------------------------------


def test_an_edit_names_its_revision_and_its_parent() -> None:
    found = change(edit(bot=True))
    assert (found.cause, found.rev_ids, found.parent_rev_id) == (Cause.EDIT, (2,), 1)
    assert (found.titles, found.page_ids, found.namespace, found.bot) == (("A b",), (), 0, True)


@pytest.mark.parametrize("old", [None, 0, "absent"])
def test_a_new_page_has_no_parent(old: object) -> None:
    revision = {"new": 2} if old == "absent" else {"new": 2, "old": old}
    found = change(recent("new", revision=revision, title="A_b"))
    assert (found.cause, found.rev_ids, found.parent_rev_id, found.titles) == (Cause.CREATE, (2,), None, ("A b",))


@pytest.mark.parametrize("revision", [None, [], {}, {"new": None}, {"new": 0}])
def test_an_edit_without_its_revision_is_a_title_to_read(revision: object) -> None:
    found = change(recent("edit", revision=revision))
    assert (found.rev_ids, found.titles) == ((), ("A b",))
    assert aside(recent("edit", revision=revision, title=None)).detail == "revision.new is missing"


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        (recent("edit", revision={"new": "2"}), "new is str"), (recent("edit", revision={"new": True}), "new is bool"),
        (recent("edit", revision={"new": -2}), "new is int"), (recent("edit", revision={"new": 2**63}), "new is int"),
        (recent("edit", revision={"new": 2, "old": []}), "old is list"), (recent("edit", revision="x"), "revision is str"),
        (edit(title=7), "title is int"), (edit(namespace="0"), "namespace is str"), (recent(None), "type is missing"),  # type: ignore[arg-type]
        (edit(type=7), "type is int"), (recent("log"), "log_type is missing"), (log("move/move", title=[]), "title is list"),
        (log("delete/revision", {"type": "revision", "ids": ["x"], "nfield": 1}), "ids is str"),
        (log("delete/revision", {"type": "revision", "ids": [None], "nfield": 1}), "ids is missing"),
        (page_change("edit", page=None), "page is missing"), (page_change("edit", page={}), "page_id is missing"),
        (page_change("edit", page={"page_id": 0}), "page_id is int"),
        (page_change("edit", revision={}), "rev_id is missing"), (page_change("edit", revision=[]), "revision is list"),
        (page_change("visibility_change"), "is_content_visible is missing"), (page_change(7), "page_change_kind is int"),  # type: ignore[arg-type]
        (page_change("move", prior_state={"page": 7}), "page is int"),
        (page_change("edit", **{"$schema": "/mediawiki/page/change/2.0.0"}), "$schema 1.x is missing"),
        (revision_event(CREATE, rev_id=None), "rev_id is missing"), (revision_event(VISIBILITY), "visibility is missing"),
        (revision_event(VISIBILITY, visibility={"text": 1, "user": True, "comment": True}), "text is int"),
    ],
)  # fmt: skip
def test_what_is_mistyped_or_missing_is_set_aside_and_named(event: dict[str, Any], detail: str) -> None:
    assert aside(event) == Aside(AsideReason.BAD_EVENT, detail)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("categorize", SkipReason.CATEGORIZE), ("external", SkipReason.UNKNOWN_TYPE), ("142", SkipReason.UNKNOWN_TYPE)],
)
def test_types_without_content(kind: str, reason: SkipReason) -> None:
    assert outcome(recent(kind)) == Skip(reason)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("move/move", Cause.MOVE), ("move/move_redir", Cause.MOVE), ("delete/delete", Cause.DELETE),
        ("delete/delete_redir", Cause.DELETE), ("delete/delete_redir2", Cause.DELETE), ("delete/restore", Cause.UNDELETE),
        ("delete/flow-restore-post", Cause.LOG), ("suppress/delete", Cause.DELETE), ("suppress/block", Cause.LOG),
        ("protect/protect", Cause.PROTECT), ("protect/unprotect", Cause.PROTECT), ("import/interwiki", Cause.IMPORT),
        ("merge/merge", Cause.MERGE), ("upload/overwrite", Cause.UPLOAD), ("contentmodel/change", Cause.CONTENT_MODEL),
        ("stable/config", Cause.LOG), ("pagelang/pagelang", Cause.LOG), ("of-tomorrow/thing", Cause.LOG),
    ],
)  # fmt: skip
def test_a_log_entry_is_its_titles_to_read(kind: str, cause: Cause) -> None:
    found = change(log(kind))
    assert (found.cause, found.titles, found.rev_ids) == (cause, ("A b",), ())


@pytest.mark.parametrize("kind", sorted(NO_CONTENT))
def test_log_entries_that_touch_no_page_are_skipped(kind: str) -> None:
    assert outcome(log(kind, {"target": "C"})) == Skip(SkipReason.LOG)


@pytest.mark.parametrize(
    ("params", "titles"),
    [
        ({"target": "C_d", "noredir": "0"}, ("A b", "C d")), ({"dest": "E"}, ("A b", "E")), ({"target": "A_b"}, ("A b",)),
        ({"target": "C", "dest": "E", "description": "F"}, ("A b", "C", "E")), ({"target": 7, "dest": None}, ("A b",)),
        ({"target": ""}, ("A b",)), ({"target": "C|D"}, ("A b",)), ({"target": "x" * 600}, ("A b",)),
        (["C d", "1"], ("A b", "C d")), ([7], ("A b",)), ([], ("A b",)), ("", ("A b",)), (None, ("A b",)),
    ],
)  # fmt: skip
def test_every_title_that_an_entry_names(params: object, titles: tuple[str, ...]) -> None:
    assert change(log("move/move", params)).titles == titles


def test_a_list_of_parameters_is_titles_only_with_a_move() -> None:
    assert change(log("stable/config", ["215096904", "x"])).titles == ("A b",)


def test_an_entry_about_a_special_page_names_no_page() -> None:
    assert outcome(log("of-tomorrow/thing", title="Special:Log/delete", namespace=-1)) == Skip(SkipReason.NO_PAGE)
    assert change(log("merge/merge", {"dest": "C"}, title="Special:MergeHistory", namespace=-1)).titles == ("C",)
    assert outcome(log("protect/protect", title="A[b")) == Skip(SkipReason.NO_PAGE)


def test_a_revision_deletion_names_its_revisions_and_what_is_visible_now() -> None:
    found = change(log("delete/revision", {"type": "revision", "ids": [39, "38"], "ofield": 0, "nfield": 5}))
    seen = Visibility(text=False, user=False, comment=True)
    assert (found.cause, found.rev_ids, found.claims) == (Cause.VISIBILITY, (39, 38), ((39, seen), (38, seen)))
    assert found.titles == ("A b",)


@pytest.mark.parametrize("params", [{"type": "oldimage", "ids": ["20261124"], "nfield": 1}, ["revision", "39"], "", {}])
def test_other_deletions_within_a_page_are_a_title_to_read(params: object) -> None:
    found = change(log("delete/revision", params))
    assert (found.cause, found.rev_ids, found.claims, found.titles) == (Cause.VISIBILITY, (), (), ("A b",))


def test_a_revision_deletion_without_bits_claims_nothing() -> None:
    found = change(log("suppress/revision", {"type": "revision", "ids": [39]}))
    assert (found.rev_ids, found.claims) == ((39,), ())


# -- the streams that know page ids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "cause"), [("edit", Cause.EDIT), ("create", Cause.CREATE)])
def test_page_change_of_a_new_revision(kind: str, cause: Cause) -> None:
    found = change(page_change(kind, performer={"is_bot": True}))
    assert (found.cause, found.rev_ids, found.parent_rev_id) == (cause, (2,), 1)
    assert (found.page_ids, found.titles, found.namespace, found.bot) == ((7,), ("Talk:A b",), 1, True)
    assert change(page_change(kind, revision={"rev_id": 2, "rev_parent_id": 0})).parent_rev_id is None
    assert change(page_change(kind, revision={"rev_id": 2})).parent_rev_id is None


def test_page_change_of_a_move_names_both_titles_and_the_redirect_left_behind() -> None:
    prior = {"page": {"page_title": "Old_title"}, "revision": {"rev_id": 1}}
    found = change(page_change("move", prior_state=prior, created_redirect_page={"page_id": 8, "page_title": "Old_title"}))
    assert (found.cause, found.rev_ids) == (Cause.MOVE, ())
    assert (found.titles, found.page_ids) == (("Talk:A b", "Old title"), (7, 8))


def test_page_change_of_a_delete_is_asked_for_by_page_id() -> None:
    found = change(page_change("delete"))
    assert (found.cause, found.rev_ids, found.page_ids, found.titles) == (Cause.DELETE, (), (7,), ("Talk:A b",))


def test_page_change_of_a_suppression_says_next_to_nothing_and_is_a_delete() -> None:
    found = change(page_change("delete", revision={"rev_id": 2}, prior_state={"revision": {"is_content_visible": True}}))
    assert (found.cause, found.page_ids, found.bot) == (Cause.DELETE, (7,), False)


def test_page_change_of_an_undelete_names_the_page_id_it_had() -> None:
    found = change(page_change("undelete", prior_state={"page": {"page_id": 5}}))
    assert (found.cause, found.rev_ids) == (Cause.UNDELETE, ())
    assert (found.titles, found.page_ids) == (("Talk:A b",), (7, 5))


def test_page_change_of_visibility_claims_what_is_visible_now() -> None:
    flags = {"is_content_visible": True, "is_editor_visible": False, "is_comment_visible": True}
    found = change(page_change("visibility_change", revision={"rev_id": 2, **flags}, prior_state={"revision": []}))
    assert (found.cause, found.rev_ids, found.page_ids) == (Cause.VISIBILITY, (2,), (7,))
    assert found.claims == ((2, Visibility(text=True, user=False, comment=True)),)


def test_page_change_of_a_kind_of_tomorrow_is_a_page_to_read() -> None:
    found = change(page_change("annotate"))
    assert (found.cause, found.rev_ids, found.page_ids, found.titles) == (Cause.LOG, (), (7,), ("Talk:A b",))


@pytest.mark.parametrize("schema", ["/mediawiki/page/change/1.0.0", "/mediawiki/page/change/1.99.7", None])
def test_page_change_of_any_minor_version(schema: str | None) -> None:
    assert change(page_change("edit", **{"$schema": schema})).rev_ids == (2,)


def test_visibility_of_one_revision() -> None:
    found = change(revision_event(VISIBILITY, visibility={"text": False, "user": True, "comment": True}))
    assert (found.cause, found.rev_ids, found.page_ids) == (Cause.VISIBILITY, (2,), (7,))
    assert found.claims == ((2, Visibility(text=False)),)
    assert (found.titles, found.namespace, found.parent_rev_id) == (("Talk:A b",), 1, None)


def test_revision_create_is_an_edit_or_a_creation() -> None:
    found = change(revision_event(CREATE, performer={"user_is_bot": True}))
    assert (found.cause, found.rev_ids, found.parent_rev_id, found.bot) == (Cause.EDIT, (2,), 1, True)
    assert (found.page_ids, found.titles, found.namespace) == ((7,), ("Talk:A b",), 1)
    assert change(revision_event(CREATE, rev_parent_id=0)).cause is Cause.CREATE
    assert change(revision_event(CREATE, rev_parent_id=None)).parent_rev_id is None


# -- keeping ---------------------------------------------------------------------------------------------------------------


def test_what_is_kept_of_an_event_holds_no_person_and_no_comment() -> None:
    event = page_change(
        "edit", performer={"user_text": "U"}, comment="c", revision={"rev_id": "x", "editor": {}, "rev_sha1": "h"}
    )
    kept = bare({**event, "log_params": {"olduser": "U"}, "list": [{"user": "U", "a": 1}], "parsedcomment": "c"})
    assert kept["revision"] == {"rev_id": "x"}
    assert kept["list"] == [{"a": 1}]
    assert not {"performer", "comment", "log_params", "parsedcomment"} & kept.keys()
    assert kept["meta"] == event["meta"]


def test_what_is_kept_is_not_deep() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = {"a": deep}
    assert bare(deep) == {"a": {"a": {"a": {"a": None}}}}
    assert bare([[[[[1]]]]]) == [[[[None]]]]
