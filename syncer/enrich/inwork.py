"""Which changes were in work when the process died: a change that kills it three times running is poison.

A small file beside the store, written before a batch is settled and emptied afterwards. It outlives the process, not the
machine, so it is never synced: it costs some microseconds a batch.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import orjson

from syncer.errors import SyncerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from syncer.enrich.queues import Item

POISON_AFTER = 3  # deaths


class InWork:
    """How often each change was in work at a death. A suspect is worked at alone, so that the next death names one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._deaths: dict[tuple[int, int], int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._deaths = {(part, offset): deaths + 1 for part, offset, deaths in orjson.loads(path.read_bytes())}
        self._now: dict[tuple[int, int], int] = {}

    def deaths(self, partition: int, offset: int) -> int:
        """How many processes died with this change in work, running."""
        return self._deaths.get((partition, offset), 0)

    def forget_before(self, partition: int, offset: int) -> None:
        """Whatever is finished is no suspect any more."""
        self._deaths = {key: deaths for key, deaths in self._deaths.items() if key[0] != partition or key[1] >= offset}

    @contextlib.contextmanager
    def on(self, items: Iterable[Item]) -> Iterator[None]:
        """Whatever kills the process inside is blamed on these."""
        keys = [(item.partition, item.offset) for item in items]
        self._now.update((key, self._deaths.get(key, 0)) for key in keys)
        self._write()
        try:
            yield
        except (SyncerError, asyncio.CancelledError):  # no death: the process lives on, or ends as it was asked to
            self._settled(keys)
            raise
        for key in keys:
            self._deaths.pop(key, None)
        self._settled(keys)

    def _settled(self, keys: Iterable[tuple[int, int]]) -> None:
        for key in keys:
            self._now.pop(key, None)
        self._write()

    def _write(self) -> None:
        """State what is in work, and the suspects that have not had their turn yet, one death less than at the next start."""
        waiting = [(*key, deaths - 1) for key, deaths in self._deaths.items() if key not in self._now]
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a disk that is full is the journal's to tell
            new.write_bytes(orjson.dumps([*((*key, deaths) for key, deaths in self._now.items()), *waiting]))
            new.replace(self._path)
