"""Every verb, imported so that it registers with the app."""

from syncer.cli import bootstrap, check, demo, follow, journal, mirror, redactions, repair, run, set_aside, status, topics

__all__ = [
    "bootstrap",
    "check",
    "demo",
    "follow",
    "journal",
    "mirror",
    "redactions",
    "repair",
    "run",
    "set_aside",
    "status",
    "topics",
]
