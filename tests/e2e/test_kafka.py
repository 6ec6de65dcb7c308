"""A real MediaWiki at work, mirrored over a real Kafka: as on the embedded journal, and with everything going wrong at once."""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_mediawiki import ACTIONS, DEFAULT, EVERYTHING, FAULTS, Work, arrive, follow, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.lab import Lab
    from tests.e2e.program import Syncer
    from tests.kafka import Kafka

pytestmark = pytest.mark.timeout(900)


def on(bootstrap: str) -> dict[str, str]:
    """The settings of a journal of its own."""
    return {
        "JOURNAL__URL": f"kafka://{bootstrap}",
        "JOURNAL__PREFIX": f"e2e-{uuid.uuid4().hex[:8]}",
        "JOURNAL__PARTITIONS": "3",
        "JOURNAL__KAFKA__REPLICATION": "1",
    }


def test_random_actions(start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], kafka: Kafka, seed: int) -> None:
    lab = start_lab(**FAULTS, seed=seed)
    program = set_up(lab, streams=EVERYTHING, journal=on(kafka.bootstrap))
    program.ask("topics", "apply")
    follow(lab, program, lambda: lab.edits(ACTIONS, seed + 400))
    verify(lab, program)


def test_kill_9_at_any_moment(start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], kafka: Kafka, seed: int) -> None:
    lab = start_lab()
    program = set_up(lab, streams=DEFAULT, journal=on(kafka.bootstrap))
    program.ask("topics", "apply")
    moments = random.Random(seed)
    work = Work(lambda: lab.edits(ACTIONS, seed + 500))
    for _ in range(6):
        hub, mirror = program.start("run"), program.start("mirror", "follow")
        first, second = moments.sample((hub, mirror), 2)
        time.sleep(moments.uniform(3.0, 8.0))  # a hub that was killed is followed after three seconds
        program.kill(first)
        time.sleep(moments.uniform(0.0, 0.5))
        program.kill(second)
    work.join()
    arrive(program)
    verify(lab, program)
