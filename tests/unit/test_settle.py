from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from syncer import wire
from syncer.errors import JournalUnavailable
from syncer.journal import Record, Stored, Topic
from syncer.model import Cause
from syncer.outcome import Answers, Aside, Ask, Publish, Question
from syncer.progress import PROGRESS_KEY, Progress
from syncer.records import MARK_KEY, MOST_KEPT, decode_set_aside, encode_mark, replayed
from tests.desk import START, Desk, at, change
from tests.world import SITE, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncer.model import Change


def of(desk: Desk, topic: Topic) -> list[Record]:
    return [record for record in desk.records if record.topic is topic]


def progress(desk: Desk) -> Progress:
    """What the journal says of it."""
    return Progress.decode(next(record.value for record in reversed(desk.records) if record.key == PROGRESS_KEY))


def answered(world: World, *questions: Question) -> Answers:
    answers = Answers()
    for question in questions:
        for part, answer in world.answers(question):
            answers.add(part, answer)
    return answers


# -- one transaction --------------------------------------------------------------------------------------------------


def test_what_belongs_together_is_appended_together(desk: Desk) -> None:
    appended: list[list[str]] = []
    append = desk.settler.append

    def noting(records: Sequence[Record]) -> Sequence[int]:
        appended.append([record.topic.value for record in records])
        return append(records)

    desk.settler.append = noting
    desk.settle(World().page(1, "A", 10, 11).page(2, "B", 20), change(Cause.EDIT, "A", rev=11), change(Cause.EDIT, "B", rev=20))
    assert appended == [["mutations", "mutations", "progress", "progress"]]  # of the partition, and of the wiki
    assert desk.store.offset(0) == 2
    assert progress(desk).counts.published == 2
    assert progress(desk).read_to == 2
    assert desk.store.recall("enwiki", 20) == ((0, 1),)


def test_if_the_journal_refuses_the_store_forgets(desk: Desk) -> None:
    def refusing(_records: Sequence[Record]) -> Sequence[int]:
        raise JournalUnavailable("no space left")

    (item,) = desk.take_in([change(Cause.EDIT, "A", rev=11)])
    append, desk.settler.append = desk.settler.append, refusing
    answers = answered(World().page(1, "A", 11), Question(rev_ids=frozenset({11})))
    with pytest.raises(JournalUnavailable):
        desk.settler.settle([item], answers, SITE)
    desk.settler.append = append
    assert desk.page(1) is None
    assert desk.store.offset(0) == 0
    assert not desk.outcomes  # nobody was told


def test_a_change_is_settled_whole_or_not_at_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that moved, and the redirect left: if the one is too large a record, the other is not published either."""
    desk.settle(World().page(1, "A", 10), change(Cause.CREATE, "A", rev=10))
    monkeypatch.setattr(wire, "MAX_RECORD", 2_000)
    world = World().page(1, "B", 11, text="x" * 2_000).page(3, "A", 12)
    other = World().page(7, "C", 70).pages[7], World().page(7, "C", 70).revisions[70]
    world.pages[7], world.revisions[70] = other
    outcomes = desk.settle(world, change(Cause.MOVE, "A", "B"), change(Cause.EDIT, "C", rev=70))
    assert [type(outcome) for outcome in outcomes] == [Aside, Publish]
    assert isinstance(outcomes[0], Aside)
    assert outcomes[0].reason == "record_too_large"
    assert [one.page.title for one in desk.mutations] == ["A", "C"]
    state = desk.page(1)
    assert state
    assert (state.title, state.seq) == ("A", 1)
    assert desk.page(3) is None
    assert desk.progress.open_set_asides == {"enwiki": 1}


def test_a_store_whose_text_went_bad_publishes_a_gap(desk: Desk) -> None:
    desk.settle(World().page(1, "A", 10), change(Cause.CREATE, "A", rev=10))
    with desk.store.folding():
        row = desk.store._db.execute("SELECT id FROM pages").fetchone()[0]
        desk.store._write_text(row, b"rotten")
    desk.settle(World().page(1, "A", 10, 11), change(Cause.EDIT, "A", rev=11))
    assert desk.kinds() == ["snapshot+gap", "snapshot+gap"]


# -- counting ---------------------------------------------------------------------------------------------------------


def test_every_outcome_is_counted_and_told(desk: Desk) -> None:
    world = World().page(1, "A", 10, 11)
    desk.settle(world, change(Cause.EDIT, "A", rev=10), change(Cause.EDIT, "A", rev=11), change(Cause.LOG, "A"))
    desk.settle(world, change(Cause.EDIT, "A", rev=11), change(Cause.LOG, "Nowhere"), change(Cause.LOG, "Special:X"))
    (item,) = desk.take_in([change(Cause.EDIT, "A", rev=12)])
    desk.settler.set_aside([item], "poison", "why")
    counts = desk.progress.counts
    assert (counts.published, counts.merged) == (1, 2)
    assert counts.skipped == {"unchanged": 1, "page_gone": 1, "invalid_title": 1}
    assert counts.set_aside == {"poison": 1}
    assert counts.mutations == {"snapshot": 1}
    desk.check()
    assert progress(desk).counts == counts


def test_what_needs_no_asking_is_committed_with_the_next_flush() -> None:
    desk = Desk(namespaces=frozenset({0}))
    assert desk.take_in([change(Cause.EDIT, "User:A", rev=1, namespace=2)]) == []
    assert not desk.records
    desk.settler.flush()
    assert progress(desk).counts.skipped == {"namespace": 1}
    desk.settler.flush()
    assert len(desk.records) == 2  # of the partition, and of the wiki
    desk.close()


def test_what_ingest_did_not_append_is_counted_apart(desk: Desk) -> None:
    desk.settle(World(), change(Cause.REPAIR, "A", stream="repair"), change(Cause.LOG, "B", stream="mediawiki.recentchange"))
    assert desk.progress.counts.by_hand == 1


def test_a_wrong_hash_is_counted(desk: Desk) -> None:
    world = World().page(1, "A", 10)
    world.revision(10, 1, sha1="0" * 40)
    desk.settle(world, change(Cause.CREATE, "A", rev=10))
    assert progress(desk).counts.upstream_hash == 1


# -- set aside, and closed --------------------------------------------------------------------------------------------


def aside(desk: Desk, one: Change, reason: str = "textmissing") -> None:
    (item,) = desk.take_in([one])
    desk.settler.set_aside([item], reason, "detail")


def test_a_replay_that_ends_well_closes_what_was_set_aside(desk: Desk) -> None:
    first = change(Cause.EDIT, "A", rev=10)
    aside(desk, first)
    assert desk.progress.open_set_asides == {"enwiki": 1}
    again = replayed(first, "second", at(0))
    desk.settle(World().page(1, "A", 10), again)
    assert not +desk.progress.open_set_asides
    opened, closed = of(desk, Topic.SET_ASIDE)
    assert opened.key == closed.key == first.change_id
    assert decode_set_aside(closed.value).closed_by == "second"
    assert opened.headers == {"wiki": "enwiki", "reason": "textmissing"}
    assert desk.progress.counts.by_hand == 1


def test_one_that_fails_leaves_it_open_under_the_same_key(desk: Desk) -> None:
    first = change(Cause.EDIT, "A", rev=10)
    aside(desk, first)
    again = replayed(first, "second", at(0))
    aside(desk, again, "lagging")
    aside(desk, replayed(again, "third", at(0)))
    assert desk.progress.open_set_asides == {"enwiki": 1}
    assert {record.key for record in of(desk, Topic.SET_ASIDE)} == {first.change_id}


def test_a_replay_that_comes_twice_closes_it_once(desk: Desk) -> None:
    """A process that dies while it replays does so again."""
    first, other = change(Cause.EDIT, "A", rev=10), change(Cause.EDIT, "B", rev=20)
    aside(desk, first)
    aside(desk, other)
    world = World().page(1, "A", 10)
    desk.settle(world, replayed(first, "second", at(0)), replayed(first, "third", at(0)))
    assert desk.progress.open_set_asides == {"enwiki": 1}
    entries = [decode_set_aside(record.value) for record in of(desk, Topic.SET_ASIDE) if record.key == first.change_id]
    assert [entry.closed_by for entry in entries] == [None, "second"]


def test_what_is_set_aside_again_under_its_key_is_closed_again(desk: Desk) -> None:
    """What reconciling finds has the same id every time."""
    found = change(Cause.RECONCILE, "A", rev=10)
    world = World().page(1, "A", 10)
    for number in (1, 2):
        aside(desk, found)
        assert desk.progress.open_set_asides == {"enwiki": 1}
        desk.settle(world, replayed(found, f"replay {number}", at(0)))
        assert not +desk.progress.open_set_asides
    entries = [decode_set_aside(record.value).closed_by for record in of(desk, Topic.SET_ASIDE)]
    assert entries == [None, "replay 1", None, "replay 2"]


def test_so_does_one_that_needs_no_asking(desk: Desk) -> None:
    first = change(Cause.EDIT, "A", rev=10)
    aside(desk, first)
    desk.settle(World().page(1, "A", 10), change(Cause.EDIT, "A", rev=10))
    assert desk.take_in([replayed(first, "second", at(0))]) == []  # merged: it is published
    desk.settler.flush()
    assert decode_set_aside(of(desk, Topic.SET_ASIDE)[-1].value).closed_by == "second"
    assert not +desk.progress.open_set_asides


def test_a_replay_of_what_ingest_had_set_aside_opens_nothing(desk: Desk) -> None:
    desk.settle(World().page(1, "A", 10), replayed(change(Cause.EDIT, "A", rev=10), "second", at(0)))
    assert not +desk.progress.open_set_asides
    assert not -desk.progress.open_set_asides
    assert len(of(desk, Topic.SET_ASIDE)) == 1  # the closing


def test_what_is_open_at_the_start_is_what_the_journal_says(desk: Desk) -> None:
    desk.settler.open = {0: {"x": "enwiki", "y": "enwiki", "z": "dewiki"}}
    desk.progress.open_set_asides["enwiki"] = 77
    desk.settler.__post_init__()
    assert desk.progress.open_set_asides == {"enwiki": 2, "dewiki": 1}


def test_replays_are_appended_together(desk: Desk) -> None:
    made = [change(Cause.EDIT, "A", rev=10), change(Cause.EDIT, "B", rev=20)]
    desk.settler.replay(made)
    changes = [orjson.loads(record.value) for record in of(desk, Topic.CHANGES)]
    assert [(one["replay_of"], one["stream"]) for one in changes] == [(one.change_id, "replay") for one in made]
    assert len({one["event_id"] for one in changes}) == 2


def test_what_others_set_aside_and_close_is_counted(desk: Desk) -> None:
    counts = desk.progress.open_set_asides
    desk.settler.note_open(0, {"ingests": "enwiki"}, frozenset())
    aside(desk, change(Cause.EDIT, "A", rev=10))
    assert counts == {"enwiki": 2}
    desk.settler.note_open(0, {}, frozenset({"ingests"}))  # what was opened since it was read stays
    assert counts == {"enwiki": 1}
    desk.settler.note_open(0, {}, frozenset({"ingests"}))
    assert counts == {"enwiki": 1}


# -- records that are no changes --------------------------------------------------------------------------------------


def stored(desk: Desk, key: str, value: bytes) -> Stored:
    desk.appended += 1
    return Stored(desk.appended - 1, key, value, {}, START)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"", None),
        (b"{", None),
        (b'["text"]', None),
        (b'{"wiki_id": "enwiki"}', b'{"wiki_id":"enwiki"}'),
        (b'{"cause": "no", "stream": "mediawiki.recentchange"}', b'{"cause":"no","stream":"mediawiki.recentchange"}'),
        (b'{"wiki_id": "enwiki", "text": "T", "attribution": {"editor": "E", "comment": "C"}}', b'{"wiki_id":"enwiki"}'),
        (b'{"titles": ["%s"]}' % (b"A" * MOST_KEPT), None),
    ],
)
def test_a_record_that_is_no_change_is_set_aside_with_the_progress(desk: Desk, value: bytes, kept: bytes | None) -> None:
    """Of it is kept what can be of a change: anything may stand there."""
    assert desk.settler.take_in(0, [stored(desk, "enwiki:A", value)], 0.0) == []
    (entry,) = of(desk, Topic.SET_ASIDE)
    assert (entry.key, decode_set_aside(entry.value).reason, decode_set_aside(entry.value).raw) == (
        "offset:0",
        "bad_record",
        kept,
    )
    counts = progress(desk).counts
    assert counts.set_aside == {"bad_record": 1}
    assert counts.by_hand == (b'"stream"' not in value)  # the feed's are counted where they were appended
    assert desk.progress.unfinished == 0
    assert not +desk.progress.open_set_asides  # there is nothing to replay


def test_a_mark_becomes_a_watermark_when_all_before_it_is_finished(desk: Desk) -> None:
    desk.settler.learn(((None, at(-99)),), {})
    world = World().page(1, "A", 10)
    aside(desk, change(Cause.EDIT, "Z", rev=99))
    (item,) = desk.take_in([change(Cause.EDIT, "A", rev=10)])
    desk.settler.take_in(0, [stored(desk, MARK_KEY, encode_mark(at(-60)))], 0.0)
    desk.settler.take_in(0, [stored(desk, MARK_KEY, encode_mark(at(-30)))], 0.0)
    desk.settler.flush()
    assert not of(desk, Topic.WATERMARKS)
    desk.settler.settle([item], answered(world, Question(rev_ids=frozenset({10}))), SITE)
    (mark,) = of(desk, Topic.WATERMARKS)
    assert (mark.key, mark.headers) == ("enwiki", {"wiki": "enwiki"})
    assert orjson.loads(mark.value) == {
        "wiki_id": "enwiki", "complete_to": at(-30), "open_set_asides": 1, "gaps": [[None, at(-99)]],
    }  # fmt: skip
    desk.settler.flush()
    assert len(of(desk, Topic.WATERMARKS)) == 1


def test_wikis_that_only_the_store_knows_get_watermarks_too(desk: Desk) -> None:
    desk.settle(World().page(1, "A", 10), change(Cause.CREATE, "A", rev=10))
    again = Desk()
    again.settler.store = desk.store
    again.settler.__post_init__()
    again.settler.take_in(0, [stored(again, MARK_KEY, encode_mark(at(0)))], 0.0)
    again.settler.flush()
    assert [record.key for record in of(again, Topic.WATERMARKS)] == ["enwiki"]
    again.close()


def test_what_was_finished_before_a_restart_is_not_done_again(desk: Desk) -> None:
    changes = [change(Cause.EDIT, "A", rev=rev) for rev in (10, 11)]
    desk.take_in(changes[:1])
    later = desk.take_in(changes[1:])
    desk.settler.set_aside(later, "poison", "why")
    again = Desk()
    again.settler.progress[0] = again.progress = Progress.decode(desk.progress.encode())
    assert [item.offset for item in again.take_in(changes)] == [0]
    again.close()


def test_an_empty_batch_of_outcomes_is_not_committed(desk: Desk) -> None:
    (item,) = desk.take_in([change(Cause.EDIT, "A", rev=10)])
    outcomes = desk.settler.settle([item], answered(World(), Question(rev_ids=frozenset({10}))), SITE)
    assert outcomes == [(item, Ask(Question(titles=frozenset({"A"}))))]
    assert not desk.records
    assert desk.progress.counts.finished == 0
