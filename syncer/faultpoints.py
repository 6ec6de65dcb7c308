"""Steps at which a process may die, by name, so that tests can have it die there.

``SYNCER_TEST_FAULT=KILL:transaction-sent:3:5`` has this process killed 5 ms after it passed that step for the third time; with
STOP it is suspended. Nothing else sets this, and without it a step is one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

_kind, _step, _times, _delay = [*os.environ.get("SYNCER_TEST_FAULT", "").split(":"), "", "", ""][:4]
_left = int(_times or 1)


def at(step: str) -> None:
    """This is where that step is."""
    if step == _step:
        _passed()


def _passed() -> None:
    global _left  # noqa: PLW0603 - there is one process
    _left -= 1
    if _left == 0:
        fatal = os.getpid(), signal.Signals[f"SIG{_kind}"]
        threading.Timer(int(_delay) / 1000, os.kill, fatal).start() if _delay else os.kill(*fatal)
