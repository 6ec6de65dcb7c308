"""What was set aside because it could not be read, read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncer.config import FeedSettings, Settings, WikiSettings
from syncer.errors import Unusable
from syncer.feed.again import again
from syncer.feed.decode import bare
from syncer.feed.sse import KEPT
from syncer.model import Cause, Change, Source
from syncer.records import SetAside, decode_set_aside, encode_change, encode_set_aside
from tests.unit.test_feed_decode import edit, log, page_change, recent

AT = "2026-11-24T05:00:00.000Z"


def kept(reason: str, event: Any, detail: str = "d") -> SetAside:
    """An entry as it comes back from the journal."""
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    return decode_set_aside(encode_set_aside(SetAside(reason, detail, AT, raw=raw[:KEPT])))


def why(entry: SetAside, settings: Settings | None = None) -> str:
    with pytest.raises(Unusable) as caught:
        again(entry, settings or Settings())
    return str(caught.value)


def test_what_can_be_read_by_now_is_the_change_it_tells() -> None:
    for event in (edit(title="Zoë"), bare(edit()), bare(page_change("edit")), log("move/move", {"target": "B"})):
        change = again(kept("bad_event", event), Settings())
        assert (change.wiki_id, change.change_id) == ("enwiki", "e-1")
    assert change.titles == ("A b", "B")


def test_what_was_a_change_is_that_change() -> None:
    source = Source("mediawiki.recentchange", "e-2", AT, AT)
    change = Change(wiki_id="enwiki", domain="d", cause=Cause.EDIT, source=source, rev_ids=(2,))
    assert again(SetAside("domain_not_allowed", "", AT, change), Settings()) == change
    assert again(kept("bad_record", encode_change(change)), Settings()) == change
    assert "no change: KeyError" in why(kept("bad_record", b"{}"))


def test_what_still_cannot_be_read_says_so_without_a_word_of_it() -> None:
    for event in (b'{"secret', b"[]", recent("edit", revision="secret"), b'"\xff secret"', {"meta": {"secret": 1}}):
        said = why(kept("bad_json", event))
        assert said.startswith("it ")
        assert "secret" not in said


def test_what_means_nothing_or_may_not_be_asked_says_so() -> None:
    assert "categorize" in why(kept("bad_event", recent("categorize")))
    assert "enwiki is not in wiki.include" in why(kept("bad_event", edit()), Settings(wiki=WikiSettings(include=("dewiki",))))
    assert "en.wikipedia.org is not in wiki.domains" in why(
        kept("bad_event", edit()), Settings(wiki=WikiSettings(domains=("example.org",)))
    )


def test_what_was_not_kept_is_not_guessed() -> None:
    assert f"its first {KEPT} bytes" in why(kept("bad_event", edit(title="x" * KEPT)))
    assert "parameters" in why(kept("bad_event", bare(log("move/move", {"target": "B"}))))


def test_a_block_that_was_too_long_is_read_where_all_of_it_was_kept() -> None:
    block = b"event: message\nid: []\ndata: %s" % json.dumps(edit()).encode()
    entry = kept("too_long", block, f"{len(block)} bytes")
    assert again(entry, Settings()).titles == ("A b",)
    assert "feed.max_block" in why(entry, Settings(feed=FeedSettings(max_block=100)))
    assert f"its first {KEPT} of 300000 bytes" in why(kept("too_long", block.ljust(300_000), "300000 bytes"))
    assert "feed.max_block" in why(kept("too_long", b"data: x\n" * 100, "800 bytes"))
