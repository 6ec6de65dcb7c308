"""What holds for every test: how much is tried, and a real MediaWiki and a real Kafka for those who ask for one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from deploy.kafka.layout import make
from tests.e2e.lab import Lab
from tests.kafka import Kafka

if TYPE_CHECKING:
    from collections.abc import Iterator

LAB_API, LAB_STREAM = "SYNCER_TEST_LAB_API", "SYNCER_TEST_LAB_STREAM"
KAFKA = "SYNCER_TEST_KAFKA"

PATIENCE = 3600.0  # seconds for a test with the full counts

# A property that holds for a hundred random cases a run, over many runs, or for ten thousand at once. The gate must not fail
# for want of time on a busy machine, so there is no deadline; what is slow shows in the durations.
settings.register_profile("gate", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("torture", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="full counts: hours, where the gate takes minutes")


@pytest.hookimpl(tryfirst=True)  # the plugin that ends what takes too long reads its option when its turn comes
def pytest_configure(config: pytest.Config) -> None:
    # Tests read only what they set themselves.
    for name in [name for name in os.environ if name.startswith("SYNCER_") and not name.startswith("SYNCER_TEST_")]:
        del os.environ[name]
    settings.load_profile("torture" if config.getoption("torture") else "gate")
    if config.getoption("torture"):
        config.option.timeout = PATIENCE


@pytest.fixture(scope="session")
def named_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real MediaWiki and its feed, at the addresses in the environment: one that runs already, or one for this session."""
    if LAB_API in os.environ:
        yield
        return
    with Lab(tmp_path_factory.mktemp("lab")) as lab, pytest.MonkeyPatch.context() as environment:
        environment.setenv(LAB_API, lab.api_url)
        environment.setenv(LAB_STREAM, lab.stream_url)
        yield


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real Kafka that all tests share and none may break, its address in the environment: one that runs already, or one for
    this session.
    """
    if KAFKA in os.environ:
        yield Kafka(os.environ[KAFKA])
        return
    with make(tmp_path_factory.mktemp("kafka")) as cluster, pytest.MonkeyPatch.context() as environment:
        environment.setenv(KAFKA, cluster.bootstrap)
        yield Kafka(cluster.bootstrap)
