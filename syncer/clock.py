"""The time as the project writes it down."""

from __future__ import annotations

from datetime import UTC, datetime


def now_iso() -> str:
    """The time in UTC as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
