"""Records of a journal that was rewritten: what they lose, that they are valid, and what a reader makes of them."""

from __future__ import annotations

import copy
import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from syncer.model import NOTHING, VISIBLE, Visibility
from syncer.store import Store
from syncer.wire import CONTENT, NO_HASH, decode_mutation, encode_mutation, erase
from tests.mutations import Pages
from tests.stores import WIKI, fold, page, refused
from tests.unit.test_wire import LIVE
from tests.wire_schema import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from syncer.model import Mutation

SEEN = [Visibility(*flags) for flags in itertools.product((True, False), repeat=3)]


@pytest.mark.parametrize("seen", SEEN, ids=str)
@pytest.mark.parametrize("name", LIVE)
def test_of_a_record_goes_what_is_not_seen_any_more_of_its_revision_and_it_stays_valid(name: str, seen: Visibility) -> None:
    before = LIVE[name]["value"]
    raw, rev_id = orjson.dumps(before), (before["revision"] or {}).get("rev_id", 0)
    after = orjson.loads(erase(raw, rev_id, seen))
    STRICT.validate(after)
    had_text = before["revision"] is not None and before["revision"]["sha1"] is not None
    assert after.get("erased", False) == (had_text and not seen.text)
    expected = copy.deepcopy(before)
    if had_text and not seen.text:
        expected = {key: part for key, part in expected.items() if key not in CONTENT}
        expected["revision"]["sha1"] = NO_HASH
        if expected.get("base", {}).get("rev_id") == rev_id:
            expected["base"]["sha1"] = NO_HASH
    if attribution := before.get("attribution"):
        left = {
            "editor": attribution["editor"] if seen.user else None,
            "comment": attribution["comment"] if seen.comment else None,
        }
        expected["attribution"] = attribution | left
    assert {key: part for key, part in after.items() if key != "erased"} == expected
    assert orjson.loads(erase(orjson.dumps(after), rev_id, seen)) == after
    if after == before:
        assert erase(raw, rev_id, seen) is raw  # nothing has to be written


@pytest.mark.parametrize("name", LIVE)
def test_of_a_deleted_page_go_texts_hashes_names_and_comments(name: str) -> None:
    before = LIVE[name]["value"]
    raw, own = orjson.dumps(before), (before["revision"] or {}).get("rev_id", 0)
    after = erase(raw, None, NOTHING)
    STRICT.validate(orjson.loads(after))
    assert after == erase(erase(raw, own, NOTHING), before.get("base", {}).get("rev_id", 0), NOTHING)
    assert set(re.findall(b"[0-9a-f]{40}", after)) <= {NO_HASH.encode()}


@pytest.mark.parametrize("name", LIVE)
def test_another_revisions_record_loses_hash_and_headings_of_a_hidden_base(name: str) -> None:
    before = LIVE[name]["value"]
    base, own = before.get("base", {}).get("rev_id", 0), (before["revision"] or {}).get("rev_id", 0)
    for rev_id, seen in ((base, Visibility(user=False, comment=False)), (7, NOTHING), (None, VISIBLE)):
        assert orjson.loads(erase(orjson.dumps(before), rev_id, seen)) == before
    if base not in {0, own}:
        after = orjson.loads(erase(orjson.dumps(before), base, NOTHING))
        STRICT.validate(after)
        left = {key: part for key, part in before.items() if key != "sections"}
        assert after == left | {"base": {"rev_id": base, "sha1": NO_HASH}}


# -- reading them --------------------------------------------------------------------------------------------------------


def erased(mutation: Mutation) -> Mutation:
    """As it stands in a journal that was rewritten."""
    assert mutation.revision
    return decode_mutation(erase(encode_mutation(mutation), mutation.revision.rev_id, NOTHING))


@pytest.fixture(params=[None, 10**6], ids=["mirror", "hub"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    made = Store(tmp_path / "store.db", request.param)
    yield made
    made.close()


def test_a_reader_has_the_facts_but_no_text_until_the_next_whole_one(store: Store) -> None:
    pages = Pages()
    fold(store, pages.snapshot(1, "One", b"one, one, one, one, one, one"))
    fold(store, second := erased(pages.patch(1, "One", b"one, one, one, two, one, one")))
    assert second.patch is None
    assert store.text(WIKI, 1) is None
    assert page(store, 1).revision == second.revision
    assert [reason for *_, reason in store.diverged()] == ["erased"]
    fold(store, third := pages.patch(1, "Moved", b"one, one, one, two, six, one"))
    fold(store, pages.redact(1, "Moved"))
    assert store.text(WIKI, 1) is None  # a patch on a text that is not there: no reason to complain, more is to come
    assert (page(store, 1).title, page(store, 1).revision, page(store, 1).seq) == ("Moved", third.revision, 4)
    assert [reason for *_, reason in store.diverged()] == ["erased"]
    fold(store, pages.snapshot(1, "Moved", b"whole", gap=False))
    assert store.text(WIKI, 1) == b"whole"
    assert store.diverged() == []


def test_who_had_the_text_before_it_was_erased_builds_on_it_still(store: Store) -> None:
    """He has read the record as it was, and reads on in a journal that was rewritten meanwhile."""
    pages = Pages()
    fold(store, pages.snapshot(1, "One", b"one, one, one, one, one, one"))
    patch = pages.patch(1, "One", b"one, one, one, two, one, one")
    assert patch.base
    fold(store, rewritten := decode_mutation(erase(encode_mutation(patch), patch.base.rev_id, NOTHING)))
    assert rewritten.base == replace(patch.base, sha1=NO_HASH)
    assert store.text(WIKI, 1) == b"one, one, one, two, one, one"
    other = pages.patch(1, "One", b"one, one, six, two, one, one")
    assert other.base
    elsewhere = replace(other, base=replace(other.base, rev_id=7, sha1=NO_HASH))
    assert refused(store, elsewhere) == "other base"


def test_an_erased_first_record_begins_a_page(store: Store) -> None:
    pages = Pages()
    fold(store, erased(pages.snapshot(1, "One", b"one")), pages.snapshot(1, "One", None, gap=False))
    assert store.text(WIKI, 1) is None
    assert store.diverged() == []  # its text is hidden: there is nothing to wait for


def test_what_does_not_fit_is_refused_erased_or_not(store: Store) -> None:
    pages = Pages()
    fold(store, pages.snapshot(1, "One", b"one, one, one, one"))
    pages.patch(1, "One", b"one, one, one, two")
    assert refused(store, erased(pages.patch(1, "One", b"one, one, two, two"))) == "missed seq"
    assert store.text(WIKI, 1) == b"one, one, one, one"


def test_a_page_whose_text_was_erased_may_be_deleted(store: Store) -> None:
    pages = Pages()
    fold(store, erased(pages.snapshot(1, "One", b"one")), pages.delete(1, "One"))
    assert not page(store, 1).live
    assert store.diverged() == []
