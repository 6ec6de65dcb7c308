from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace

import pytest

from syncer import extras


@pytest.mark.parametrize(
    ("direct_url", "command"),
    [
        (None, "pip install 'wiki-syncer[hub]'"),
        ('{"url": "file:///srv/my%20syncer", "dir_info": {"editable": true}}', "pip install --editable '/srv/my syncer[hub]'"),
        ('{"url": "file:///srv/syncer", "dir_info": {}}', "pip install '/srv/syncer[hub]'"),
        (
            '{"url": "file:///tmp/wiki_syncer-1-py3-none-any.whl", "archive_info": {}}',
            "pip install 'wiki-syncer[hub] @ file:///tmp/wiki_syncer-1-py3-none-any.whl'",
        ),
    ],
)
def test_an_extra_is_installed_from_where_the_package_came(
    monkeypatch: pytest.MonkeyPatch, direct_url: str | None, command: str
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda _: direct_url))
    error = extras.missing("hub", ImportError("no", name="aiohttp"))
    assert (str(error), error.hint) == ("aiohttp is not installed", command)
