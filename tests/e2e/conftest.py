"""Labs and programs for the end-to-end tests, and how many seeds and actions they get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.lab import Lab
from tests.e2e.program import Syncer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEEDS, TORTURE_SEEDS = 1, 10
ACTIONS, TORTURE_ACTIONS = 300, 1000
LONG = 5  # seeds that get TORTURE_ACTIONS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        count = TORTURE_SEEDS if metafunc.config.getoption("torture") else SEEDS
        metafunc.parametrize("seed", range(1, count + 1))


@pytest.fixture
def actions(pytestconfig: pytest.Config, seed: int) -> int:
    """How many random things people do on a wiki."""
    return TORTURE_ACTIONS if pytestconfig.getoption("torture") and seed <= LONG else ACTIONS


@pytest.fixture
def start_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Starts labs, by the options of the bridge; they end with the test."""
    labs: list[Lab] = []

    def start(**options: Any) -> Lab:
        folder = tmp_path / f"lab{len(labs)}"
        folder.mkdir()
        labs.append(Lab(folder, **options))
        return labs[-1]

    yield start
    for lab in labs:
        lab.stop()


@pytest.fixture
def set_up(tmp_path: Path) -> Iterator[Callable[..., Syncer]]:
    """Sets up a hub and its mirror for a lab; what they started ends with the test."""
    programs: list[Syncer] = []

    def make(lab: Lab, **options: Any) -> Syncer:
        programs.append(Syncer(tmp_path / f"syncer{len(programs)}", lab, **options))
        return programs[-1]

    yield make
    for program in programs:
        program.clean_up()
