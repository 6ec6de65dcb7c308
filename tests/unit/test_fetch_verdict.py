"""Every answer that is none, by name."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from syncer.errors import Forbidden, Refused, SyncerError, Throttled, Unusable, WikiUnavailable
from syncer.fetch.verdict import LONGEST_PAUSE, PAUSE, decode, read, retry_after
from tests.shared import SHARED

RECORDED = SHARED / "data/api"
LAB = SHARED / "lab/samples/api"
WRITTEN = "Somebody wrote this"
SLOW_DOWN = b"You are making too many requests to the API from this address."


def errors(code: object) -> bytes:
    return orjson.dumps({"errors": [{"code": code, "text": WRITTEN, "module": "main"}], "docref": WRITTEN})


def error(code: object) -> bytes:
    return orjson.dumps({"error": {"code": code, "info": WRITTEN}})


CASES: list[tuple[int, dict[str, str], bytes, type[SyncerError], float | None]] = [
    (200, {"Retry-After": "7"}, errors("maxlag"), WikiUnavailable, 7.0),
    (200, {}, errors("maxlag"), WikiUnavailable, PAUSE),
    (200, {"Retry-After": "0"}, error("maxlag"), WikiUnavailable, 0.0),
    (429, {"Retry-After": "30"}, b"", Throttled, 30.0),
    (429, {}, SLOW_DOWN, Throttled, PAUSE),
    (429, {}, errors("ratelimited"), Throttled, PAUSE),
    (200, {}, SLOW_DOWN, Throttled, PAUSE),
    (400, {"Retry-After": "2"}, b"<p>Too many requests</p>", Throttled, 2.0),
    (200, {}, errors("ratelimited"), Throttled, PAUSE),
    (200, {"Retry-After": "9"}, error("ratelimited"), Throttled, 9.0),
    (500, {}, b"<html>", WikiUnavailable, None),
    (502, {}, errors("internal_api_error_DBQueryError"), WikiUnavailable, None),
    (503, {"Retry-After": "60"}, SLOW_DOWN, WikiUnavailable, 60.0),
    (200, {}, errors("internal_api_error_DBQueryError"), WikiUnavailable, None),
    (200, {}, errors("readonly"), WikiUnavailable, None),
    (200, {"Retry-After": "3"}, errors("something-new"), WikiUnavailable, 3.0),
    (200, {}, errors("readapidenied"), WikiUnavailable, None),
    (200, {}, errors(WRITTEN), WikiUnavailable, None),
    (200, {}, errors(None), WikiUnavailable, None),
    (200, {}, b'{"errors": "' + WRITTEN.encode() + b'"}', WikiUnavailable, None),
    (200, {}, b'{"errors": []}', WikiUnavailable, None),
    (200, {}, b'{"error": null}', WikiUnavailable, None),
    (200, {}, errors("toomanyvalues"), Unusable, None),
    (200, {}, errors("badinteger"), Unusable, None),
    (401, {}, b"", Refused, None),
    (401, {}, errors("maxlag"), Refused, None),
    (200, {}, errors("mwoauth-invalid-authorization"), Refused, None),
    (403, {}, error("mwoauth-invalid-authorization-invalid-user"), Refused, None),
    (403, {}, WRITTEN.encode(), Forbidden, None),
    (403, {}, orjson.dumps({"httpCode": 403}), Forbidden, None),
    (403, {}, errors("permissiondenied"), Forbidden, None),
    (404, {}, b"<html>", WikiUnavailable, None),
    (404, {}, b"{}", WikiUnavailable, None),
    (204, {}, b"", WikiUnavailable, None),
    (200, {}, b"", WikiUnavailable, None),
    (200, {}, WRITTEN.encode(), WikiUnavailable, None),
    (200, {}, b"[1]", WikiUnavailable, None),
    (200, {}, b'{"query": {"pages": [{"pageid": 1, "title": "' + WRITTEN.encode(), WikiUnavailable, None),
    (200, {}, b"[" * 100_000, WikiUnavailable, None),
]


@pytest.mark.parametrize(("status", "headers", "body", "fate", "after"), CASES)
def test_fates(status: int, headers: dict[str, str], body: bytes, fate: type[SyncerError], after: float | None) -> None:
    with pytest.raises(SyncerError) as caught:
        read("xxwiki", status, headers, body)
    assert type(caught.value) is fate
    assert getattr(caught.value, "after", None) == after
    assert str(caught.value).startswith("xxwiki: ")
    assert WRITTEN not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("body", [errors("mwoauth-invalid-authorization"), SLOW_DOWN])
def test_what_the_operator_can_help_has_a_hint(body: bytes) -> None:
    with pytest.raises(SyncerError) as caught:
        read("xxwiki", 200, {}, body)
    assert caught.value.hint


def test_an_answer_is_returned_with_its_warnings() -> None:
    body = orjson.dumps({"batchcomplete": True, "warnings": [{"code": "x"}], "query": {"pages": []}})
    assert read("xxwiki", 200, {}, body) == orjson.loads(body)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "86400"}, LONGEST_PAUSE),
        ({"Retry-After": "Tue, 24 Nov 2026 04:00:30 GMT", "Date": "Tue, 24 Nov 2026 04:00:00 GMT"}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 03:59:00 GMT", "Date": "Tue, 24 Nov 2026 04:00:00 GMT"}, 0.0),
        ({"Retry-After": "Tue, 24 Nov 2027 04:00:00 GMT", "Date": "Tue, 24 Nov 2026 04:00:00 GMT"}, LONGEST_PAUSE),
        ({"Retry-After": "Tue, 24 Nov 2026 04:00:30 GMT", "Date": "Tue, 24 Nov 2026 04:00:00 -0000"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 04:00:30 GMT"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 04:00:30 GMT", "Date": "now"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize("broken", [b"\xff", b"\xed\xa0\x80", rb"\ud800", rb"\udc00\ud800"])
def test_a_text_that_is_no_text_does_not_cost_the_rest(broken: bytes) -> None:
    document = decode(b'{"a": "' + broken + b'", "b": "\xc3\xa9"}')
    assert document
    assert document["b"] == "é"
    with pytest.raises(UnicodeEncodeError):
        document["a"].encode()


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers of ../shared/data are not here")
@pytest.mark.parametrize(
    ("name", "fate"),
    [
        ("error-maxlag-http200", WikiUnavailable),
        ("error-ratelimited-partial", Throttled),
        ("eventstreams-stream-not-found", WikiUnavailable),
    ],
)
def test_recorded_errors(name: str, fate: type[SyncerError]) -> None:
    recorded: dict[str, Any] = orjson.loads((RECORDED / f"{name}.json").read_bytes())
    with pytest.raises(fate) as caught:
        read("xxwiki", recorded["http_status"], recorded.get("http_headers", {}), orjson.dumps(recorded["body"]))
    assert type(caught.value) is fate


LAB_FATES: dict[str, type[SyncerError] | None] = {
    r"large-.*": WikiUnavailable,  # recorded cut off: what a truncated body looks like
    r"maxlag-minus2.*": WikiUnavailable,
    r"ratelimit-edit-4": Throttled,
    r"badrevid-(float|notint)": Unusable,
    r"batch-51-anon": Unusable,
    r"error-unknown-param-warning": None,
    r"error-unknown-format|error-.*": WikiUnavailable,
    r"sha1-hex-vs-base36": WikiUnavailable,  # a list: not the API's
}


@pytest.mark.skipif(not LAB.exists(), reason="the recorded answers of ../shared/lab are not here")
@pytest.mark.parametrize("name", sorted(path.stem for path in LAB.glob("*.json")))
def test_answers_recorded_in_the_lab(name: str) -> None:
    fate = next((fate for pattern, fate in LAB_FATES.items() if re.fullmatch(pattern, name)), None)
    body = (LAB / f"{name}.json").read_bytes()
    if fate is None:
        assert read("labwiki", 200, {}, body) == orjson.loads(body)
    else:
        with pytest.raises(fate):
            read("labwiki", 200, {}, body)
