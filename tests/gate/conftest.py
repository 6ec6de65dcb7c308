"""Where the tests on the wheel are asked for, they run beside the others, and what runs there need not run here as well.

They begin with the first test of this folder, and are waited for at the very end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gate.test_wheel import ON_THE_WHEEL

if TYPE_CHECKING:
    import pytest

BEGINS, ENDS = "test_the_tests_begin_on_it", "test_the_tests_pass_on_it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name == ENDS)
    if {BEGINS, ENDS} <= {item.name for item in items} and not config.getoption("torture"):
        twice = [item for item in items if item.nodeid.startswith(ON_THE_WHEEL)]
        config.hook.pytest_deselected(items=twice)
        items[:] = [item for item in items if not item.nodeid.startswith(ON_THE_WHEEL)]
