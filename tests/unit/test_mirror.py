from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from structlog.testing import capture_logs

from syncer import mirror
from syncer.config import MirrorSettings
from syncer.errors import JournalUnavailable, Misconfigured, ResumeLost
from syncer.journal import Topic, partition_of
from syncer.mirror import Mirror
from syncer.mirror.reading import Fault, export, page_line, verify
from syncer.model import PageFacts, Prior, Redacted, Visibility
from syncer.store import Store
from syncer.trouble import MOST
from tests.following import PARTITIONS, diverging, follow, opened, publish, record, virtually
from tests.mutations import AT, Pages, moved, sha1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from syncer.journal.sqlite import SqliteJournal
    from tests.virtual import Clock


def titles(store: Store) -> list[str | None]:
    return [page["title"] for page in export(store)]


# -- applying ---------------------------------------------------------------------------------------------------------


async def test_it_applies_what_there_is_and_goes_on_where_it_stopped(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"), pages.snapshot(2, "B", b"other"), pages.patch(1, "A", b"two"))
    first = await follow(journal, store)
    assert first.tally.applied == {"snapshot": 2, "patch": 1}
    await publish(journal, pages.delete(2, "B"), pages.patch(1, "AA", b"three"))
    second = await follow(journal, store)
    assert second.tally.applied == {"delete": 1, "patch": 1}
    (page,) = export(store)
    assert (page["title"], page["text"], page["sha1"]) == ("AA", "three", sha1(b"three"))
    assert list(verify(store)) == [None]


async def test_many_mutations_take_several_transactions(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    count = mirror.APPLY_AT_ONCE * 2 + 1
    await publish(journal, pages.snapshot(1, "A", b"0"), *(pages.patch(1, "A", b"%d" % n) for n in range(1, count)))
    assert (await follow(journal, store)).tally.applied.total() == count
    assert store.text("testwiki", 1) == b"%d" % (count - 1)


async def test_what_is_hidden_has_no_text(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"))
    await follow(journal, store)
    hidden = Redacted(pages.last_rev_id, Visibility(text=False))
    await publish(journal, pages.snapshot(1, "A", None, gap=False, redacted=(hidden,)))
    await follow(journal, store)
    (page,) = export(store)
    assert (page["text"], page["sha1"]) == (None, None)
    assert list(verify(store)) == [None]
    assert store.hidden("testwiki", [hidden.rev_id]) == {hidden.rev_id: hidden.visibility}


async def test_dying_at_any_point_of_a_transaction_costs_nothing(
    journal: SqliteJournal, store: Store, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages and offset are one transaction: whatever the moment, the next start goes on with what was kept."""
    texts = [b"%d" % n for n in range(30)]
    await publish(journal, pages.snapshot(1, "A", texts[0]), *(pages.patch(1, "A", text) for text in texts[1:]))
    monkeypatch.setattr(mirror, "APPLY_AT_ONCE", 7)
    for method in ("fold", "advance"):
        kept, calls = getattr(Store, method), iter(range(100))

        def dying(self: Store, *args: Any, kept: Any = kept, calls: Iterator[int] = calls) -> None:
            kept(self, *args)
            if next(calls) in {0, 4, 9, 11}:
                raise KeyboardInterrupt

        monkeypatch.setattr(Store, method, dying)
        for _ in range(4):
            with contextlib.suppress(KeyboardInterrupt):
                await _once(journal, store)
        monkeypatch.setattr(Store, method, kept)
    await follow(journal, store)
    assert store.text("testwiki", 1) == texts[-1]
    assert not store.diverged()


async def _once(journal: SqliteJournal, store: Store) -> None:
    """Apply one portion in this thread, so that what is raised does not end the loop."""
    follower = Mirror(journal, store, MirrorSettings())
    offsets = await follower._start()
    partition = partition_of("testwiki", PARTITIONS)
    follower._apply(partition, await journal.read(Topic.MUTATIONS, partition, offsets[partition], limit=mirror.APPLY_AT_ONCE))


# -- the scope of a partner -------------------------------------------------------------------------------------------


async def test_wikis_are_chosen_by_glob(journal: SqliteJournal, store: Store) -> None:
    for wiki in ("enwiki", "dewiki", "dewiktionary"):
        await publish(journal, Pages(wiki).snapshot(1, wiki, b"text"))
    follower = await follow(journal, store, wikis=("en*", "*tionary"))
    assert titles(store) == ["dewiktionary", "enwiki"]
    assert follower.tally.left_alone == 1


async def test_what_is_not_wanted_is_judged_by_its_headers_alone(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    unwanted = record(pages.snapshot(1, "User:A", b"text", page=PageFacts(1, "User:A", 2)))
    await journal.commit([replace(unwanted, value=b"nothing that anybody could read")])
    assert (await follow(journal, store, namespaces=(0,))).tally.left_alone == 1


async def test_a_page_leaves_the_scope_and_comes_back(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"))
    away = pages.snapshot(1, "User:A", b"one", page=PageFacts(1, "User:A", 2))
    await publish(journal, moved(away, Prior("A", 0)))
    follower = await follow(journal, store, namespaces=(0,))
    assert titles(store) == []
    assert store.text("testwiki", 1) is None
    assert follower.tally.applied == {"snapshot": 1, "delete": 1}
    await publish(journal, pages.patch(1, "User:A", b"two", page=PageFacts(1, "User:A", 2)))
    assert (await follow(journal, store, namespaces=(0,))).tally.left_alone == 1
    await publish(journal, moved(pages.snapshot(1, "A", b"two"), Prior("User:A", 2)))
    await follow(journal, store, namespaces=(0,))
    assert [(page["title"], page["text"]) for page in export(store)] == [("A", "two")]
    assert not store.diverged()


async def test_another_scope_is_said_once_with_what_it_means(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "User:A", b"one", page=PageFacts(1, "User:A", 2)))
    with capture_logs() as logs:
        await follow(journal, store, namespaces=(0,))
        await follow(journal, store, namespaces=(0,))
        assert not [entry for entry in logs if "scope" in entry["event"]]
        await publish(journal, pages.patch(1, "User:A", b"two", page=PageFacts(1, "User:A", 2)))
        await follow(journal, store, namespaces=(2, 0))
        await follow(journal, store, namespaces=(0, 2))
    assert store.diverged() == [("testwiki", 1, "unknown page")]
    (said,) = [entry for entry in logs if "scope" in entry["event"]]
    assert (said["before"], said["now"]) == ("wikis *; namespaces 0", "wikis *; namespaces 0, 2")
    assert 'mirror.heal = "hub"' in said["hint"]


# -- divergence -------------------------------------------------------------------------------------------------------


async def test_what_does_not_fit_is_recorded_and_never_guessed(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await diverging(journal, pages, 1)
    follower = await follow(journal, store)
    assert follower.tally.diverged == {"unknown page": 1}
    assert store.diverged() == [("testwiki", 1, "unknown page")]
    (page,) = export(store)
    assert (page["title"], page["text"], page["sha1"]) == ("P1", None, sha1(b"two of 1"))
    assert list(verify(store)) == [Fault("testwiki", 1, "P1", "unknown page")]
    await publish(journal, pages.patch(1, "P1", b"three"))
    assert (await follow(journal, store)).tally.diverged == {"no base text": 1}
    await publish(journal, pages.snapshot(1, "P1", b"whole"))
    await follow(journal, store)
    assert store.diverged() == []
    assert store.text("testwiki", 1) == b"whole"


async def test_pages_older_than_a_journal_that_was_cut_are_told_of_once(
    journal: SqliteJournal, store: Store, pages: Pages
) -> None:
    await publish(journal, *(pages.snapshot(number, f"P{number}", b"one") for number in range(1, 8)))
    await cut(journal)
    await publish(journal, *(pages.patch(number, f"P{number}", b"two") for number in range(1, 8)))
    await publish(journal, pages.patch(7, "P7", b"three"))
    with capture_logs() as logs:
        follower = Mirror(journal, store, MirrorSettings(heal="off"))
        await follower.run(asyncio.Event(), 0.02)
    assert follower.tally.diverged == {"unknown page": 7, "no base text": 1}
    (said,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert said["pages"] == 7
    assert 'mirror.heal = "hub"' in said["hint"]


async def test_a_text_that_went_wrong_in_the_store_is_noticed(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one two three"))
    await follow(journal, store)
    with store.folding():
        row = store._db.execute("SELECT id FROM pages").fetchone()[0]
        store._write_text(row, b"one TWO three")
    assert list(verify(store)) == [Fault("testwiki", 1, "A", "hash")]
    await publish(journal, pages.patch(1, "A", b"one two three four"))
    await follow(journal, store)
    assert store.diverged() == [("testwiki", 1, "hash of result")]
    assert store.text("testwiki", 1) is None


# -- the journal it belongs to ----------------------------------------------------------------------------------------


async def test_another_journal_is_refused(journal: SqliteJournal, store: Store, pages: Pages, tmp_path: Path) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"))
    await follow(journal, store)
    (tmp_path / "other").mkdir()
    other = opened(tmp_path / "other")
    try:
        with pytest.raises(ResumeLost, match="belongs to journal"):
            await follow(other, store)
    finally:
        await other.close()


async def test_a_journal_put_back_to_an_earlier_state_is_refused(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"), pages.patch(1, "A", b"two"))
    await follow(journal, store)
    journal._writer.execute('DELETE FROM "mutations" WHERE "offset" > 1')
    with pytest.raises(ResumeLost, match="goes on at offset 3 of partition"):
        await follow(journal, store)


async def cut(journal: SqliteJournal) -> None:
    kept = journal._retention
    journal._retention = kept.model_copy(update={"mutations_bytes": 1})
    await journal.retain({})
    journal._retention = kept


async def test_a_journal_that_was_cut_too_far_is_refused(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"))
    await follow(journal, store)
    await publish(journal, pages.patch(1, "A", b"two"), pages.patch(1, "A", b"three"))
    await cut(journal)
    with pytest.raises(ResumeLost, match="the journal has"):
        await follow(journal, store)


async def test_so_is_one_of_which_it_had_read_nothing_yet(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    """It was there from the beginning, in a partition that was empty at the time: what was cut since is lost to it."""
    await follow(journal, store)
    await publish(journal, pages.snapshot(1, "A", b"one"), pages.patch(1, "A", b"two"))
    await cut(journal)
    with pytest.raises(ResumeLost, match="goes on at offset 0 of partition"):
        await follow(journal, store)


async def test_a_journal_cut_after_it_was_read_is_none_the_worse(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"))
    await follow(journal, store)
    await cut(journal)
    await publish(journal, pages.patch(1, "A", b"two"))
    await follow(journal, store)
    assert store.text("testwiki", 1) == b"two"


@pytest.mark.parametrize("dies", [False, True])
async def test_a_new_mirror_begins_where_the_journal_does(
    journal: SqliteJournal, store: Store, pages: Pages, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"), pages.patch(1, "A", b"two"))
    await cut(journal)
    await publish(journal, pages.snapshot(2, "B", b"other"))
    if dies:  # at its first start, before it had read anything
        with monkeypatch.context() as patch:
            patch.setattr(Store, "bind", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await follow(journal, store)
        with monkeypatch.context() as patch:
            patch.setattr(Mirror, "_step", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await follow(journal, store)
    await follow(journal, store)
    assert titles(store) == ["B"]


async def test_a_record_that_cannot_be_read_stops_it(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await journal.commit([replace(record(pages.snapshot(1, "A", b"one")), value=b'{"schema": "page-mutation/1.0.0"}')])
    with pytest.raises(ResumeLost, match="offset 1"):
        await follow(journal, store)
    assert store.offset(partition_of("testwiki", PARTITIONS)) == 0


async def test_so_does_a_kind_it_does_not_know(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    good = record(pages.snapshot(1, "A", b"one"))
    value = {**orjson.loads(good.value), "kind": "transclude"}
    await journal.commit([replace(good, value=orjson.dumps(value))])
    with pytest.raises(Misconfigured, match="transclude"):
        await follow(journal, store)


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_it_ends_when_nothing_came_for_so_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pages: Pages) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        began = clock.monotonic()
        following = asyncio.create_task(follow(journal, store, idle=30.0))
        for _ in range(3):
            await asyncio.sleep(20)
            await publish(journal, pages.snapshot(1, "A", b"%d" % pages.last_rev_id))
        assert (await following).tally.applied == {"snapshot": 3}
        assert 90 <= clock.monotonic() - began < 92

    virtually(monkeypatch, tmp_path, work)


def test_it_goes_on_for_ever_and_ends_when_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def work(journal: SqliteJournal, store: Store, _clock: Clock) -> None:
        stop = asyncio.Event()
        follower = Mirror(journal, store, MirrorSettings())
        following = asyncio.create_task(follower.run(stop))
        await asyncio.sleep(120)
        assert not following.done()
        stop.set()
        await asyncio.wait_for(following, 1)

    virtually(monkeypatch, tmp_path, work)


def test_a_journal_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pages: Pages) -> None:
    async def work(journal: SqliteJournal, store: Store, clock: Clock) -> None:
        await publish(journal, pages.snapshot(1, "A", b"one"))
        tries: list[float] = []
        bounds = journal.bounds

        async def away(*args: Any) -> tuple[int, int]:
            tries.append(clock.monotonic())
            if len(tries) < 2_000:  # 16 hours
                raise JournalUnavailable("the disk is on fire")
            return await bounds(*args)

        monkeypatch.setattr(journal, "bounds", away)
        await follow(journal, store)
        assert store.text("testwiki", 1) == b"one"
        assert 2_000 * MOST / 3 < tries[-1] - tries[0] < 2_000 * MOST * 2 / 3  # half of it on the mean

    virtually(monkeypatch, tmp_path, work)


def test_it_is_ready_as_long_as_it_is_at_the_journals_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pages: Pages) -> None:
    async def work(journal: SqliteJournal, store: Store, _clock: Clock) -> None:
        await publish(journal, pages.snapshot(1, "A", b"one"))
        stop = asyncio.Event()
        follower = Mirror(journal, store, MirrorSettings())
        assert follower.unready() == ["the mirror has not reached the journal's end yet"]
        following = asyncio.create_task(follower.run(stop))
        await asyncio.sleep(2)
        assert follower.unready() == []
        told = await follower.status()
        assert (told["applied"], told["pages_diverged"], told["journal"]) == ({"snapshot": 1}, 0, journal.identity)
        assert told["newest_mutation"] == AT

        async def away(*_: Any, **__: Any) -> None:
            raise JournalUnavailable("the disk is on fire")

        monkeypatch.setattr(journal, "read", away)
        await asyncio.sleep(30)
        assert follower.unready() == []
        await asyncio.sleep(60)
        assert "ago" in follower.unready()[0]
        stop.set()
        await following

    virtually(monkeypatch, tmp_path, work)


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_a_page_that_lost_its_title_is_a_fault(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(1, "A", b"one"), pages.snapshot(2, "A", b"other"))
    await follow(journal, store)
    assert list(verify(store)) == [Fault("testwiki", 1, None, "title taken over"), None]


async def test_a_page_as_a_line(journal: SqliteJournal, store: Store, pages: Pages) -> None:
    await publish(journal, pages.snapshot(7, "Ä B", "é\u2028".encode(), page=PageFacts(7, "Ä B", 0, is_redirect=True)))
    await follow(journal, store)
    ((wiki, state),) = store.pages()
    assert page_line(store, wiki, state) == {
        "wiki_id": "testwiki", "page_id": 7, "title": "Ä B", "namespace": 0, "rev_id": 101,
        "timestamp": "2026-11-02T09:59:58Z", "sha1": sha1("é\u2028".encode()), "content_model": "wikitext",
        "is_redirect": True, "text": "é\u2028",
    }  # fmt: skip
    assert list(export(store, "otherwiki")) == []
    assert list(verify(store, "otherwiki")) == []
