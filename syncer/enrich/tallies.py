"""What became of each wiki's changes since its last manifest: committed with the progress that it is about."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from syncer.journal import Record, Topic, partition_of
from syncer.manifest import Tally, tally_key
from syncer.progress import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Tallies:
    """``of`` each wiki, by its id. Everything in the store's thread."""

    of: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    _changed: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    def changing(self, partition: int, wiki_id: str) -> Tally:
        """A wiki's, about to change: it is among the next records."""
        self._changed[partition].add(wiki_id)
        return self.of[wiki_id]

    def cut(self, partition: int, partitions: int) -> None:
        """From here on everything counts for the manifests after the next ones."""
        for wiki_id, tally in self.of.items():
            if partition_of(wiki_id, partitions) == partition:
                tally.cut, tally.counts = tally.cut + tally.counts, Counts()

    def counted(self, partition: int, partitions: int) -> Iterable[str]:
        """The wikis with something in the part that was cut."""
        return [
            wiki_id for wiki_id, tally in self.of.items()
            if tally.cut.finished and partition_of(wiki_id, partitions) == partition
        ]  # fmt: skip

    def records(self, partition: int) -> list[Record]:
        """Those that have changed since they were asked for last."""
        changed = [(wiki_id, self.of[wiki_id].encode()) for wiki_id in sorted(self._changed.pop(partition, ()))]
        return [Record(Topic.PROGRESS, partition, tally_key(wiki_id), value, {"wiki": wiki_id}) for wiki_id, value in changed]
