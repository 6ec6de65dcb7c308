"""A mapping that also tells what it said some seconds ago: how a lagging replica answers (PROTOCOL 22, 25)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")


class Past(dict[K, V]):
    """A dictionary of immutable values, set and deleted one by one. It remembers for ``horizon`` seconds what was before."""

    def __init__(self, clock: Callable[[], float], horizon: float = 60.0) -> None:
        super().__init__()
        self._clock = clock
        self._horizon = horizon
        self._before: dict[K, deque[tuple[float, V | None]]] = {}  # until when it was what
        self._order: deque[tuple[float, K]] = deque()

    def at(self, key: K, as_of: float | None) -> V | None:
        """The value as it was at that time, None where there was none; without a time, the value now."""
        if as_of is not None:
            for until, value in self._before.get(key, ()):
                if until > as_of:
                    return value
        return self.get(key)

    def __setitem__(self, key: K, value: V) -> None:
        """Replace the value, and remember it."""
        self._remember(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        """Take the value away, and remember it."""
        self._remember(key)
        super().__delitem__(key)

    def settle(self) -> None:
        """Forget what was before: everything has been as it is now for as long as anybody remembers."""
        self._before.clear()
        self._order.clear()

    def _remember(self, key: K) -> None:
        now = self._clock()
        self._before.setdefault(key, deque()).append((now, self.get(key)))
        self._order.append((now, key))
        while self._order[0][0] < now - self._horizon:
            self._forget(self._order.popleft()[1])

    def _forget(self, key: K) -> None:
        rest = self._before[key]
        rest.popleft()
        if not rest:
            del self._before[key]
