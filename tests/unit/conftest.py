"""What unit tests stand at. A module with a fixture of the same name of its own has that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncer.store import Store
from tests.command import Place
from tests.desk import Desk
from tests.following import opened
from tests.mutations import Pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from syncer.journal.sqlite import SqliteJournal
    from tests.command import Said


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Where changes are decided and settled."""
    made = Desk()
    yield made
    made.close()


@pytest.fixture
def pages() -> Pages:
    """What mutations are made of."""
    return Pages()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """An embedded journal, to follow."""
    made = opened(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A mirror's store."""
    made = Store(tmp_path / "mirror.db")
    yield made
    made.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Where the command is run, with settings of its own."""
    place = Place(tmp_path)
    yield place
    place.clean_up()


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, place: Place) -> Callable[..., Said]:
    """Runs a verb in this process, at the test's own place."""
    return place.runner(capfdbinary, monkeypatch)
