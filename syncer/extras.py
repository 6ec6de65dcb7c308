"""What to say when a part is used whose extra is not installed."""

from __future__ import annotations

from importlib import metadata
from urllib.parse import urlsplit
from urllib.request import url2pathname

import orjson

from syncer.errors import Misconfigured

NAME = "wiki-syncer"


def missing(extra: str, error: ImportError) -> Misconfigured:
    """The error to raise, with the command that installs the extra."""
    return Misconfigured(f"{error.name} is not installed", hint=f"pip install {_source(extra)}")


def _source(extra: str) -> str:
    """What pip is to be given: where it had this package from, be it a checkout or a file (PEP 610), else its name."""
    told = orjson.loads(metadata.distribution(NAME).read_text("direct_url.json") or "{}")
    url = told.get("url", "")
    if "dir_info" in told:
        editable = "--editable " if told["dir_info"].get("editable") else ""
        return f"{editable}'{url2pathname(urlsplit(url).path)}[{extra}]'"
    return f"'{NAME}[{extra}] @ {url}'" if "archive_info" in told else f"'{NAME}[{extra}]'"
