"""A small client of the Action API for those who change the lab's wiki. Shares nothing with the package under test."""

from __future__ import annotations

import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

AGENT = "syncer-lab/1 (loopback)"
ATTEMPTS = 8
TOKENS = {"rollback": "rollback"}  # actions that take a token of their own
LOCKED = ("readonly", "internal_api_error_DBQueryError", "internal_api_error_DBUnexpectedError")


class ApiError(Exception):
    """The API refused; ``code`` is its word for why."""

    def __init__(self, code: str, info: str) -> None:
        super().__init__(f"{code}: {info}")
        self.code = code


class Client:
    """One user's session, or nobody's."""

    def __init__(self, api_url: str, user: str | None = None, password: str = "") -> None:
        self._api_url = api_url
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self._tokens: dict[str, str] = {}
        if user:
            self._log_in(user, password)

    def get(self, **parameters: Any) -> dict[str, Any]:
        """The answer to a reading request."""
        return self._send(f"{self._api_url}?{_encode(parameters)}")

    def query(self, **parameters: Any) -> dict[str, Any]:
        """What ``action=query`` found."""
        found: dict[str, Any] = self.get(action="query", **parameters)["query"]
        return found

    def act(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """The answer to a writing request, tried again while SQLite is locked. Raises ApiError.

        Parameters that are bytes are sent as files.
        """
        error = {"code": "untried", "info": ""}
        for attempt in range(ATTEMPTS):
            answer = self._post({"action": action, "token": self._token(TOKENS.get(action, "csrf")), **parameters})
            if "error" not in answer:
                return answer
            error = answer["error"]
            if error["code"] == "badtoken":
                self._tokens.clear()
            elif "locked" in error["info"] or error["code"] in LOCKED:
                time.sleep(0.05 * 2**attempt)
            else:
                break
        raise ApiError(error["code"], error["info"])

    def submit(self, action: str, title: str, **fields: Any) -> None:
        """Fill in and send a form, for what no action of the API does. Whether it was taken, only the wiki's pages tell."""
        query = urllib.parse.urlencode({"title": title, "action": action})
        address = f"{self._api_url.removesuffix('api.php')}index.php?{query}"
        with self._opener.open(urllib.request.Request(address, headers={"User-Agent": AGENT}), timeout=300) as form:
            inputs = re.findall(r"<input[^>]*name=.wpEditToken.[^>]*>", form.read().decode())
        (token,) = re.findall(r"value=.([0-9a-f]+\+\\)", inputs[0])
        body = urllib.parse.urlencode({"wpEditToken": token, **fields}).encode()
        with self._opener.open(urllib.request.Request(address, body, {"User-Agent": AGENT}), timeout=300) as response:
            response.read()

    def _log_in(self, user: str, password: str) -> None:
        token = self.query(meta="tokens", type="login")["tokens"]["logintoken"]
        answer = self._post({"action": "login", "lgname": user, "lgpassword": password, "lgtoken": token})
        if answer["login"]["result"] != "Success":
            raise ApiError("login", json.dumps(answer))

    def _token(self, kind: str) -> str:
        if kind not in self._tokens:
            self._tokens[kind] = self.query(meta="tokens", type=kind)["tokens"][f"{kind}token"]
        return self._tokens[kind]

    def _post(self, fields: dict[str, Any]) -> dict[str, Any]:
        if not any(isinstance(value, bytes) for value in fields.values()):
            return self._send(self._api_url, _encode(fields).encode(), "application/x-www-form-urlencoded")
        boundary = uuid.uuid4().hex
        parts = [_part(boundary, name, value) for name, value in {"format": "json", "formatversion": "2", **fields}.items()]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self._send(self._api_url, body, f"multipart/form-data; boundary={boundary}")

    def _send(self, url: str, body: bytes | None = None, content_type: str = "") -> dict[str, Any]:
        headers = {"User-Agent": AGENT} | ({"Content-Type": content_type} if body is not None else {})
        try:
            with self._opener.open(urllib.request.Request(url, body, headers), timeout=300) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            text = error.read()
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise ApiError("notjson", text[:300].decode("utf-8", "replace")) from error
        return answer


def _encode(parameters: dict[str, Any]) -> str:
    return urllib.parse.urlencode({"format": "json", "formatversion": "2", **parameters}, safe="|")


def _part(boundary: str, name: str, value: Any) -> bytes:
    """One field of a multipart form."""
    is_file = isinstance(value, bytes)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"' + (f'; filename="{name}"' if is_file else "")
    return head.encode() + b"\r\n\r\n" + (value if is_file else str(value).encode()) + b"\r\n"
