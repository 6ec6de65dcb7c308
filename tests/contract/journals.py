"""The journals that the contract suite runs over. One line for each; the suite itself never changes for one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncer.config import JournalSettings
from tests.kafka_journal import on_kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PARTITIONS = 3

# By name: the settings of a new journal, given a folder that nothing else uses.
JOURNALS: Mapping[str, Callable[[Path], JournalSettings]] = {
    "sqlite": lambda folder: JournalSettings(url=f"sqlite:///{folder}/journal.db", partitions=PARTITIONS),
    "kafka": lambda _: on_kafka(PARTITIONS),
}
