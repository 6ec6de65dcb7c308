from __future__ import annotations

from email.utils import formatdate
from random import Random

import pytest

from syncer.fetch.skew import LOOKED_AT, Skew

NOW = 1_800_000_000.0


def answers(skew: Skew, ahead: float, count: int, rng: Random) -> list[bool]:
    """What comes of answers that took up to 0.4 s each, to a machine whose clock is ahead."""
    came = []
    for second in range(count):
        made = NOW + second * 1.37
        came.append(skew.answered(formatdate(made, usegmt=True), made + ahead + rng.random() * 0.4))
    return came


@pytest.mark.parametrize("ahead", [33.0, -33.0, 3600.0, -86_400.0])
def test_a_clock_that_is_wrong_is_known_from_the_first_answer(ahead: float) -> None:
    skew = Skew()
    came = answers(skew, ahead, 40, Random(1))
    assert came[0]
    assert sum(came) <= 3
    assert skew.ahead == pytest.approx(ahead, abs=1.5)


def test_a_clock_that_is_right_is_left_alone() -> None:
    skew = Skew()
    answers(skew, 0.0, 1000, Random(1))
    assert skew.ahead <= 1.4
    fresh = Skew()
    assert not any(answers(fresh, -0.3, 1, Random(1)))


def test_one_that_was_set_right_is_believed_again() -> None:
    skew = Skew()
    answers(skew, 60.0, 20, Random(1))
    answers(skew, 0.0, LOOKED_AT + 1, Random(2))
    assert abs(skew.ahead) <= 1.4
    answers(skew, 60.0, LOOKED_AT + 1, Random(3))
    assert skew.ahead == pytest.approx(60, abs=1.5)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 99 Foo 2026 99:99:99 GMT"])
def test_an_answer_that_does_not_say_when_it_was_made_changes_nothing(date: str | None) -> None:
    skew = Skew()
    assert not skew.answered(date, NOW)
    assert skew.ahead == 0.0
