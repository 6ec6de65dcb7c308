"""Whatever somebody sets, the answer is a working hub or a sentence about the setting with a way out: never a traceback."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from syncer import daemon
from syncer.config import known_keys, load
from syncer.errors import SyncerError
from tests.command import Place

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = ["", "-1", "0", "1e308", "inf", "nan", "9" * 400, "many"]
TEXTS = [
    "", " ", "0", "9" * 400, "null", "~", "~nobody/x", "..", "/", "/proc/x/y", "/dev/null", "a b", "\xe9", "\U0001f600", "a\nb",
    "\0", "[", "{}", "{domain", "{domain:>99999999999}", '[[["a"]]]', '["", ""]', "[!", "%s", "http://", "http://[",
    "http://a b/", "sqlite:///", "sqlite:////", "sqlite:////dev/null", "sqlite:///~nobody/x", "sqlite:////tmp/\0", "kafka://",
    "0001-01-01", "9999-12-31T23:59:59.999999-23:59", "a..b:80", "\0:80", "[::1:80", "x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("key", known_keys())
def test_a_silly_value_is_understood_or_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], key: str
) -> None:
    place = Place(tmp_path / "state", {"OPS__LISTEN": "127.0.0.1:0"})
    run = place.runner(capfdbinary, monkeypatch)
    for value in NUMBERS if isinstance(known_keys()[key], int | float) else TEXTS:
        said = run("--set", f"{key}={value}", "check-config")
        assert said.code in {0, 78}, (value, said)
        assert said.out.decode().count("FAIL") == said.out.decode().count("hint: ") or "error: " in said.err, (value, said)
        if said.code and not said.out:
            assert f"error: {key}" in said.err, (value, said)
    assert not place.folder.exists()


@pytest.mark.parametrize("key", ["journal.url", "store.path"])
def test_a_place_that_check_config_knows_nothing_against_is_one_or_is_refused_in_words(tmp_path: Path, key: str) -> None:
    async def hub() -> None:
        settings = load(flags={"contact": "tests@example.org", key: value}, environ={})
        async with AsyncExitStack() as stack:
            with suppress(TimeoutError):  # a disk that fails is waited for
                await asyncio.wait_for(daemon.Hub(settings, daemon.Part()).open(stack, asyncio.Event()), 0.5)

    for value in TEXTS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STATE_DIRECTORY", str(tmp_path))
            error: SyncerError | None = None
            try:
                asyncio.run(hub())
            except SyncerError as caught:
                error = caught
            assert error is None or error.hint, (value, str(error))
