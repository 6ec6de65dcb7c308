"""What an answer other than the stream means (PROTOCOL 8, 10, 11; DESIGN 7). Pure."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from syncer.errors import FeedUnavailable, Misconfigured, Refused

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from syncer.errors import SyncerError

FORBIDDEN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def token_refused(response: ClientResponse) -> bool:
    """Whether it may be the ``Last-Event-ID`` that is not liked: 400 for its form, 404 for a topic that is not there."""
    return response.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}


def refusal(response: ClientResponse, *, worked: bool) -> SyncerError:
    """The error to raise. What looks like a mistake in the settings is one only as long as they never ``worked``."""
    status = response.status
    said = f"{response.url.host} answered {status} {response.reason}"
    if status in FORBIDDEN:
        return Refused(said, hint="the feed refuses this client for good: look at contact, and whether the address is blocked")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        hint = "an address may have two connections: is another reader running on it?"
        return FeedUnavailable(said, after=_retry_after(response), hint=hint)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in PASSING:
        what = "not an event stream" if status == HTTPStatus.OK else said
        look = "look at feed.url, feed.streams and feed.since"
        if not worked:
            return Misconfigured(f"the feed cannot be read: {what}", hint=look)
        return FeedUnavailable(
            what, after=_retry_after(response), hint=f"these streams could be read before; if it lasts, {look}"
        )
    return FeedUnavailable(said, after=_retry_after(response))


def clock_ahead(response: ClientResponse) -> int:
    """How many milliseconds the server's clock is ahead of ours; it tells whole seconds only."""
    date = _date(response.headers.get("Date", ""))
    return 0 if date is None else int((date - time.time()) * 1000)


def _retry_after(response: ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    date = _date(value)
    return None if date is None else max(0.0, date - time.time())


def _date(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
