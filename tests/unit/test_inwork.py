from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncer.enrich.inwork import POISON_AFTER, InWork
from syncer.enrich.queues import Item
from syncer.errors import JournalUnavailable
from syncer.model import Cause
from tests.desk import change

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Killed(BaseException):
    """Nobody has time for anything."""


def items(*offsets: int) -> list[Item]:
    return [Item(2, offset, change(Cause.EDIT, "A"), 0.0) for offset in offsets]


def dies_with(path: Path, *offsets: int, after: Sequence[int] = ()) -> InWork:
    """A process that finishes some changes one by one and dies with others in work."""
    in_work = InWork(path)
    for offset in after:
        with in_work.on(items(offset)):
            pass
    with pytest.raises(Killed), in_work.on(items(*offsets)):
        raise Killed
    return InWork(path)


def deaths(in_work: InWork, *offsets: int) -> list[int]:
    return [in_work.deaths(2, offset) for offset in offsets]


def test_nobody_is_suspected_at_first(tmp_path: Path) -> None:
    in_work = InWork(tmp_path / "w")
    with in_work.on(items(1, 2)):
        pass
    assert deaths(InWork(tmp_path / "w"), 1, 2) == [0, 0]


def test_a_death_is_blamed_on_what_was_in_work(tmp_path: Path) -> None:
    path = tmp_path / "w"
    assert deaths(dies_with(path, 1, 2), 1, 2, 3) == [1, 1, 0]
    # The next process works at them one by one: 1 was innocent, 2 kills it again.
    assert deaths(dies_with(path, 2, after=[1]), 1, 2) == [0, 2]
    assert deaths(dies_with(path, 2), 2) == [3]
    assert InWork(path).deaths(2, 2) >= POISON_AFTER


def test_an_error_is_no_death(tmp_path: Path) -> None:
    path = tmp_path / "w"
    for _ in range(3):
        with pytest.raises(JournalUnavailable), InWork(path).on(items(1)):
            raise JournalUnavailable("locked")
    assert deaths(InWork(path), 1) == [0]


def test_a_disk_that_is_full_is_told_by_others(tmp_path: Path) -> None:
    with InWork(tmp_path / "no such folder" / "w").on(items(1)):
        pass


def test_a_suspect_that_has_not_had_its_turn_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "w"
    dies_with(path, 1, 2)
    assert deaths(dies_with(path, 7), 1, 2, 7) == [1, 1, 1]
    assert deaths(dies_with(path, 7), 1, 2, 7) == [1, 1, 2]


def test_a_restart_without_a_death_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w"
    dies_with(path, 1, 2)
    in_work = InWork(path)
    with in_work.on(items(9)):
        pass
    assert deaths(InWork(path), 1, 2, 9) == [1, 1, 0]


def test_what_is_finished_is_forgotten_by_its_partition(tmp_path: Path) -> None:
    in_work = dies_with(tmp_path / "w", 1, 2)
    in_work.forget_before(1, 99)
    assert deaths(in_work, 1, 2) == [1, 1]
    in_work.forget_before(2, 2)
    assert deaths(in_work, 1, 2) == [0, 1]


def test_two_batches_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "w"
    in_work = InWork(path)
    with pytest.raises(Killed), in_work.on(items(1)), in_work.on(items(2, 3)):
        raise Killed
    assert deaths(InWork(path), 1, 2, 3) == [1, 1, 1]
    with InWork(path).on(items(1)), InWork(path).on(items(2)):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]", b"[[1,2]]", b"[[1,2,3,4]]", b'[["a","b","c"]]', b"null", b"\xff"])
def test_a_file_that_makes_no_sense_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    assert InWork(path).deaths(1, 2) == 0
