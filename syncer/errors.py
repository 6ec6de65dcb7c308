"""What can go wrong, by what is done about it.

    SyncerError
    |- Retry                  wait and try the same again, in place
    |  |- FeedUnavailable     the feed is away or refused for the moment
    |  |- WikiUnavailable     one wiki does not answer as it should
    |  |  `- Forbidden        it answers 403: one wiki alone is closed; from two, it is us who are blocked
    |  |- Throttled           the API as a whole asks us to wait
    |  |- JournalUnavailable  the journal or the store cannot be reached or written
    |  `- OutcomeUnknown      a commit was sent and not answered: read the progress back before going on
    |- Unusable               this one thing cannot be handled: set it aside with a reason and go on
    `- Stop                   go no further; the exit code says why
       |- Misconfigured       78
       |  `- Missing          what was to be read is not there
       |- Refused             69  a dependency refuses for good
       |- Superseded           4  another owner has taken over
       `- ResumeLost           3  the resume point is gone, or the journal is not the one it belongs to

Every one says what failed and on what; ``hint`` says what to do about it, with the command to run where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class SyncerError(Exception):
    """Base of everything this package raises on purpose."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Retry(SyncerError):
    """Passing trouble. ``after`` is the least number of seconds to wait, where the other side named one."""

    def __init__(self, message: str, *, after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after = after


class FeedUnavailable(Retry):
    """The feed cannot be read at the moment."""


class WikiUnavailable(Retry):
    """One wiki does not answer, or answers with an error of its own."""


class Forbidden(WikiUnavailable):
    """One wiki refuses us (403)."""


class Throttled(Retry):
    """The API asks every client of this address to slow down (429, or the text of it)."""


class JournalUnavailable(Retry):
    """The journal or the store cannot be read or written at the moment."""


class OutcomeUnknown(Retry):
    """A commit may or may not have happened; only reading back tells."""


class Unusable(SyncerError):
    """One thing that cannot be handled. ``reason`` is a short fixed word, counted and recorded with it."""

    def __init__(self, reason: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class Stop(SyncerError):
    """Not to be survived; ``exit_code`` is the process's."""

    exit_code = 1


class Misconfigured(Stop):
    """The settings cannot work."""

    exit_code = 78


class Missing(Misconfigured):
    """A file that was to be read is not there; ``path`` is where it would be."""

    def __init__(self, message: str, path: Path, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path


class Refused(Stop):
    """A dependency refuses for good: bad credentials, a blocked agent."""

    exit_code = 69


class Superseded(Stop):
    """Another process owns what this one wanted to write."""

    exit_code = 4


class ResumeLost(Stop):
    """The point to go on from no longer exists."""

    exit_code = 3
