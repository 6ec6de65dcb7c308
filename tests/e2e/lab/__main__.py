"""One lab: a wiki at work and its feed, until standard input ends.

    python -m tests.e2e.lab FOLDER [option=value ...]      options: options.py

Prints one JSON line with the addresses when it is ready. Whoever started it may die in any way: its end of the pipe closes, and
the lab ends with everything it started.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from . import synth
from .bridge import Bridge
from .options import Options
from .wiki import Wiki


def main() -> None:
    folder, *settings = sys.argv[1:]
    options = Options()
    for setting in settings:
        options.set(*setting.split("=", 1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.excepthook = _stop
    bridge = Bridge(options)
    bridge.start()
    wiki = Wiki(Path(folder), udp_port=bridge.udp_port)
    try:
        wiki.start()
        synth.start(wiki.database, wiki.api_url, bridge.post)
        addresses = {"api_url": wiki.api_url, "stream_url": bridge.url, "database": str(wiki.database)}
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        wiki.stop()


def _stop(failure: threading.ExceptHookArgs) -> None:
    """Half a lab would only mislead."""
    sys.excepthook(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    os.kill(os.getpid(), signal.SIGTERM)


main()
