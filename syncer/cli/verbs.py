"""Every verb, imported so that it registers with the app."""

from syncer.cli import check, journal, mirror, repair, run, set_aside, status

__all__ = ["check", "journal", "mirror", "repair", "run", "set_aside", "status"]
