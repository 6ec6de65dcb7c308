"""How far this machine's clock is from the wikis', by the ``Date`` of their answers. Pure; the clock is passed in.

Whether an answer may be older than an event is a matter of seconds (PROTOCOL 22), and the event's time is the wiki's.
"""

from __future__ import annotations

from collections import deque
from email.utils import parsedate_to_datetime

LOOKED_AT = 8  # answers: ``Date`` is in whole seconds, and says when the answer began, so that the least of some is right
AT_EASE = 1.0  # seconds by which the least may rise, for want of an answer that is as quick


class Skew:
    """``ahead``: seconds by which this clock is ahead of the wikis'; negative where it is behind."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._latest = deque[float](maxlen=LOOKED_AT)

    def answered(self, date: str | None, now: float) -> bool:
        """An answer came now that says when it was made; whether ``ahead`` is quite another one because of it."""
        try:
            made = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return False
        self._latest.append(now - made)
        least, before = min(self._latest), self.ahead
        if not before <= least <= before + AT_EASE:
            self.ahead = least
        return abs(self.ahead - before) > AT_EASE
