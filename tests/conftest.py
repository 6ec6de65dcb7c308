"""What holds for every test: how much is tried."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# A property that holds for a hundred random cases a run, over many runs, or for ten thousand at once. The gate must not fail
# for want of time on a busy machine, so there is no deadline; what is slow shows in the durations.
settings.register_profile("gate", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("torture", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="full counts: hours, where the gate takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    # Tests read only what they set themselves.
    for name in [name for name in os.environ if name.startswith("SYNCER_") and not name.startswith("SYNCER_TEST_")]:
        del os.environ[name]
    settings.load_profile("torture" if config.getoption("torture") else "gate")
