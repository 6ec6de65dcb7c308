"""Watches the database and hands on the events."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

from . import triggers
from .entities import Site
from .rules import Rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLL = 0.03  # seconds


def start(database: Path, api_url: str, emit: Callable[[dict[str, Any]], None]) -> None:
    """Tell of everything that happens from now on, in a thread that ends with the process."""
    db = sqlite3.connect(database, timeout=30, isolation_level=None, check_same_thread=False)
    triggers.install(db)
    rules = Rules(db, Site.ask(api_url))
    threading.Thread(target=_watch, args=(db, rules, emit), daemon=True).start()


def _watch(db: sqlite3.Connection, rules: Rules, emit: Callable[[dict[str, Any]], None]) -> None:
    seen = 0
    while True:
        db.execute("BEGIN")  # one view of everything
        rows = triggers.read(db, seen)
        events = rules.events(rows)
        db.execute("COMMIT")
        for event in events:
            emit(json.loads(json.dumps(event)))  # on the wire no two events share a part
        if rows:
            seen = rows[-1].seq
        else:
            time.sleep(POLL)
