"""What unit tests of deciding and settling stand at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()
