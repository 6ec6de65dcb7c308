"""Can the live feed be read from here? Asked once by `make run`, to answer plainly where `syncer run` would wait and retry."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from http import HTTPStatus

from syncer.config import load
from syncer.errors import Misconfigured

HINT = "Without the live feed there is still a whole wiki farm to watch: make demo"


def main() -> int:
    """Return the exit code: 0 reachable, 69 not, 78 no contact."""
    try:
        settings = load()
    except Misconfigured as error:
        print(error, error.hint or "", sep="\n", file=sys.stderr)
        return error.exit_code
    if settings.contact is None:
        print("Wikimedia asks every client to name a contact. Say: make run CONTACT=you@example.org", file=sys.stderr)
        return Misconfigured.exit_code
    url = f"{settings.feed.url}/{settings.feed.streams[0]}"
    agent = f"syncer-bot ({settings.contact}) python-urllib"
    try:
        # The scheme is the operator's own setting.
        with urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": agent}), timeout=15) as answer:  # noqa: S310
            answer.readline()
    except urllib.error.HTTPError as error:
        print(f"The feed answers {error.code} {HTTPStatus(error.code).phrase}: {url}\n{HINT}", file=sys.stderr)
        return 69
    except (OSError, ValueError) as error:
        print(f"The feed cannot be reached: {url}: {error}\n{HINT}", file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())
