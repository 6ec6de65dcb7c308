"""Failures in a row: how long to wait, and what to say of them. Said once a kind, and closed by "recovered"."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from syncer.errors import Retry

log = structlog.get_logger()

BASE, MOST = 1.0, 60.0  # seconds: the first wait is 0.5 on average, from the seventh failure in a row on 30
LONGEST_ASKED = 3600.0  # seconds; who asks for more is asked again after an hour
REMEMBERED = 20  # kinds of failure in one row


class Trouble:
    """The failures of one dependency, by the name under which the log knows it."""

    def __init__(self, name: str) -> None:
        self.in_a_row = 0
        self.total = 0
        self._name = name
        self._said: set[str] = set()

    def failed(self, error: Retry) -> float:
        """Note a failure, and return the seconds to wait: full jitter below a doubling bound, at least what was asked for."""
        self.in_a_row += 1
        self.total += 1
        kind = str(error)
        if kind not in self._said and len(self._said) < REMEMBERED:
            self._said.add(kind)
            log.warning("trouble, trying again", what=self._name, problem=kind, hint=error.hint)
        wait = random.uniform(0, min(MOST, BASE * 2 ** min(self.in_a_row - 1, 30)))  # noqa: S311 - spreads load, keeps no secret
        return max(wait, min(error.after or 0.0, LONGEST_ASKED))

    def over(self) -> None:
        """It works again."""
        if self.in_a_row:
            log.info("recovered", what=self._name, failures=self.in_a_row)
        self.in_a_row = 0
        self._said.clear()
