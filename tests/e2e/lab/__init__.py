"""A real MediaWiki at work, and its changes as an EventStreams endpoint: what the end-to-end tests run against."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from . import edits, truth

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence

    from .truth import Difference

ROOT = Path(__file__).parents[3]
STOP_TIMEOUT = 15.0  # seconds

WIKI_ID = "labwiki"
DOMAIN = "127.0.0.1"


class Lab:
    """A lab in a folder of its own, on ports of its own. Options are those of :mod:`tests.e2e.lab.options`, by name."""

    def __init__(self, folder: Path, **options: Any) -> None:
        settings = [f"{name}={value}" for name, value in options.items()]
        with (folder / "lab.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.lab", str(folder / "wiki"), *settings],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the lab did not start: " + (folder / "lab.log").read_text())
        addresses = json.loads(line)
        self.api_url: str = addresses["api_url"]
        self.stream_url: str = addresses["stream_url"]
        self.database = Path(addresses["database"])
        self.started = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        self._untouched = {page["page_id"]: page for page in self.truth()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the wiki and the feed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()

    def edits(
        self, count: int, seed: int, *, also: Sequence[str] = (), after_each: Callable[[], None] = lambda: None
    ) -> Counter[str]:
        """Do ``count`` random things on the wiki, and ``also`` these; how many of each were done."""
        return edits.at_random(self.api_url, count, seed, also=also, after_each=after_each)

    def replay(self, histories: Path, *, limit: int | None = None) -> Counter[str]:
        """Type real page histories in again."""
        return edits.replay(self.api_url, histories, limit=limit)

    def truth(self) -> list[dict[str, Any]]:
        """What `mirror export` should say, read from the wiki's database: one object a page."""
        return truth.pages(self.database)

    def hidden_revisions(self) -> set[int]:
        """The revisions whose text nobody may see; those of a deleted page go with it, and the API does not tell of them."""
        return truth.hidden_revisions(self.database)

    def suppressed_pages(self) -> frozenset[int]:
        """The pages that were deleted so that the log says nothing of it."""
        return truth.suppressed_pages(self.database)

    def compare(
        self,
        exported: Iterable[dict[str, Any]],
        *,
        namespaces: frozenset[int] | None = None,
        untold: frozenset[int] = frozenset(),
    ) -> list[Difference]:
        """How an export differs from the wiki, in these namespaces (None: all), but for pages whose end nobody was told of.

        A page that nobody has touched since the start may be missing: no event ever named it (law 5).
        """
        there = [page for page in exported if page["page_id"] not in untold]
        ids = {page["page_id"] for page in there}
        expected = [
            page
            for page in self.truth()
            if (namespaces is None or page["namespace"] in namespaces)
            and (page["page_id"] in ids or page != self._untouched.get(page["page_id"]))
        ]
        return truth.differences(expected, there)

    def set_fault(self, name: str, value: Any) -> None:
        """Change one of the bridge's options while it runs."""
        self._control("set", **{name: value})

    def disconnect(self) -> None:
        """End every open stream."""
        self._control("disconnect")

    def state(self) -> dict[str, Any]:
        """What went over the bridge."""
        state: dict[str, Any] = json.loads(self._control("state"))
        return state

    def events(self) -> list[dict[str, Any]]:
        """Every event so far, with its place."""
        return [json.loads(line) for line in self._control("events").splitlines()]

    def _control(self, what: str, **query: Any) -> bytes:
        address = f"{self.stream_url.removesuffix('/v2/stream')}/_lab/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            body: bytes = answer.read()
        return body
