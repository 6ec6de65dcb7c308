"""Every verb, imported so that it registers with the app."""

from syncer.cli import (
    bootstrap,
    check,
    demo,
    follow,
    journal,
    manifests,
    mirror,
    redactions,
    repair,
    run,
    seed,
    set_aside,
    standing,
    status,
    topics,
    verify,
)

__all__ = [
    "bootstrap",
    "check",
    "demo",
    "follow",
    "journal",
    "manifests",
    "mirror",
    "redactions",
    "repair",
    "run",
    "seed",
    "set_aside",
    "standing",
    "status",
    "topics",
    "verify",
]
