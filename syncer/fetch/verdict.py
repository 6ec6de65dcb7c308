"""An HTTP answer of the Action API -> its JSON object, or the error that it amounts to (PROTOCOL 19, 24). Pure.

    429, ``ratelimited``, a text that says so              Throttled
    401, ``mwoauth-*``                                     Refused
    403                                                    Forbidden
    ``toomanyvalues``, ``badinteger``                      Unusable, all or some of the values
    maxlag, any other error, status, or text               WikiUnavailable

No message quotes what a wiki sent, but for the code of an error: whatever it wrote may be hidden by now.
"""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from syncer.errors import Forbidden, Refused, Throttled, Unusable, WikiUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

PAUSE = 5.0  # seconds, where the API says to wait but not how long (PROTOCOL 19)
LONGEST_PAUSE = 3600.0  # seconds; whatever a wiki says, it is asked again within the hour
CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
THROTTLING = b"too many requests"  # the plain text of it, which was seen with status 429 and with 200
HEAD = 2048  # bytes of a text in which they are looked for

ABOUT_VALUES = frozenset({"badinteger", "toomanyvalues"})
BAD_TOKEN = "mwoauth-"  # noqa: S105 - how the codes begin that are about the token
ASK_WIKIMEDIA = "see the robot policy of Wikimedia, and whether `contact` says who you are"
ONLY_MEMBERS = "only its members may read this wiki: name it in wiki.exclude"
NEW_TOKEN = "api.token is not valid: make a new OAuth 2 owner-only token, or unset it"  # noqa: S105 - a sentence


def read(wiki_id: str, status: int, headers: Mapping[str, str], body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object of an answer that is one; every other answer raises."""
    after = retry_after(headers)
    throttled = Throttled(f"{wiki_id}: too many requests", after=PAUSE if after is None else after, hint=ASK_WIKIMEDIA)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise throttled
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise WikiUnavailable(f"{wiki_id}: status {status}", after=after)
    document = decode(body)
    code = _error_code(document or {})
    if status == HTTPStatus.UNAUTHORIZED or code.startswith(BAD_TOKEN):
        raise Refused(f"{wiki_id}: status {status} {code}, the API does not accept our credentials", hint=NEW_TOKEN)
    if status == HTTPStatus.FORBIDDEN:
        raise Forbidden(f"{wiki_id}: status 403 {code}, the API refuses us", after=after, hint=ASK_WIKIMEDIA)
    if code == "ratelimited" or (document is None and THROTTLING in body[:HEAD].lower()):
        raise throttled
    if code in ABOUT_VALUES:
        raise Unusable("refused_by_wiki", f"{wiki_id}: error {code}")
    if code:
        maxlag = code == "maxlag" and after is None
        hint = ONLY_MEMBERS if code == "readapidenied" else None
        raise WikiUnavailable(f"{wiki_id}: error {code}", after=PAUSE if maxlag else after, hint=hint)
    if status != HTTPStatus.OK:
        raise WikiUnavailable(f"{wiki_id}: status {status}", after=after, hint="is api.url the address of the wiki's api.php?")
    if document is None:
        raise WikiUnavailable(f"{wiki_id}: {len(body)} bytes that are not a JSON object", after=after)
    return document


def decode(body: bytes | bytearray) -> dict[str, Any] | None:
    """A JSON object; None if it is none.

    Where it is one but for broken UTF-8 or half a surrogate pair inside a string, that string holds lone surrogates: what it
    belongs to can be told from the rest, which is sound.
    """
    try:
        document = orjson.loads(body)
    except ValueError:
        try:
            document = json.loads(body.decode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            return None
    return document if isinstance(document, dict) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as ``Retry-After`` says: a number, or a time, which is compared with the server's own ``Date``."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        return min(float(value), LONGEST_PAUSE)
    try:
        seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])).total_seconds()
    except (ValueError, KeyError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def _error_code(document: dict[str, Any]) -> str:
    """The code of the first error, in the form of ``errorformat=plaintext`` or in the old one; "" if there is none."""
    if "errors" not in document and "error" not in document:
        return ""
    errors = document.get("errors")
    error = errors[0] if isinstance(errors, list) and errors else document.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) and CODE.fullmatch(code) else "of an unknown kind"
