"""What others may look at of the work that is done."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from syncer.outcome import Publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.model import Change
    from syncer.outcome import Outcome

DELAYS_KEPT = 10_000


@dataclass(slots=True)
class Watch:
    """``delays``: seconds from event to publication, newest last. ``on_outcome`` hears every outcome, in the store's thread."""

    delays: deque[float] = field(default_factory=lambda: deque(maxlen=DELAYS_KEPT))
    on_outcome: list[Callable[[Change, Outcome, float], None]] = field(default_factory=list)

    def done(self, change: Change, outcome: Outcome) -> None:
        """A change has its outcome."""
        delay = time.time() - datetime.fromisoformat(change.source.event_time).timestamp()
        if isinstance(outcome, Publish):
            self.delays.append(delay)
        for listener in self.on_outcome:
            listener(change, outcome, delay)
