"""A real MediaWiki at work, mirrored over a real Kafka, with everything going wrong at once."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from deploy.kafka.layout import make
from tests.e2e.test_mediawiki import EVERYTHING, FAULTS, Work, arrive, verify

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.lab import Lab
    from tests.e2e.program import Syncer

pytestmark = pytest.mark.timeout(1200)


def test_everything_goes_wrong_at_once(
    start_lab: Callable[..., Lab], set_up: Callable[..., Syncer], tmp_path: Path, seed: int, actions: int
) -> None:
    """The feed fails in every way it can; hub, standby, mirror and the broker are killed in turn, and the broker freezes, too."""
    lab, moments = start_lab(**FAULTS, seed=seed), random.Random(seed)
    with make(tmp_path / "broker") as cluster:
        (broker,) = cluster.nodes
        journal = {"JOURNAL__URL": f"kafka://{cluster.bootstrap}", "JOURNAL__PARTITIONS": "3", "JOURNAL__KAFKA__REPLICATION": "1"}
        first, second = (set_up(lab, streams=EVERYTHING, journal=journal) for _ in range(2))
        first.ask("topics", "apply")
        roles = {
            "hub": (first, ("run", "--standby")),
            "standby": (second, ("run", "--standby")),
            "mirror": (first, ("mirror", "follow")),
        }
        running = {name: program.start(*verb) for name, (program, verb) in roles.items()}
        work = Work(lambda: lab.edits(actions, seed + 600))
        for victim in moments.sample([*roles, *roles, "broker", "broker", "frozen"], 9):
            time.sleep(moments.uniform(1.0, 5.0))
            if victim == "frozen":
                broker.freeze()
                time.sleep(moments.uniform(8.0, 16.0))
                broker.thaw()
            elif victim == "broker":
                broker.kill()
                time.sleep(moments.uniform(0.0, 4.0))
                cluster.start()
            else:
                program, verb = roles[victim]
                end(program, running[victim])
                running[victim] = program.start(*verb)
        work.join()
        for victim, (program, _) in roles.items():
            end(program, running[victim])
        arrive(first)
        verify(lab, first, rewritten=False)


def end(program: Syncer, process: subprocess.Popen[bytes]) -> None:
    """Kill it, unless it was the owner, and the other took over while the broker stood still: that is exit 4."""
    if process.poll() != 4:
        program.kill(process)
