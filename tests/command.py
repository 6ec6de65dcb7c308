"""The command line for tests: a place with settings of its own, and verbs run in this process or in one of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from syncer import cli, telemetry
from syncer.config import JournalSettings
from syncer.journal import open_journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncer.journal import Record

ROOT = Path(__file__).resolve().parents[1]
SYNCER = [sys.executable, "-m", "syncer"]
PATIENCE = 60.0


@dataclass
class Said:
    """What a run of the command line came to."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[Any]:
        """The JSON lines printed."""
        return [json.loads(line) for line in self.out.split(b"\n") if line]


@dataclass
class Place:
    """A folder and the settings of everything that works in it, by the names of their variables without the prefix."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        own = {"CONTACT": "tests@example.org", "OPS__LISTEN": f"127.0.0.1:{free_port()}"}
        own |= {"MIRROR__LISTEN": f"127.0.0.1:{free_port()}", "MIRROR__HEAL": "off"}
        self.settings = own | self.settings

    def environment(self, **more: str) -> dict[str, str]:
        """Of a process at this place."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SYNCER_")}
        own = {f"SYNCER_{name}": value for name, value in {**self.settings, **more}.items()}
        return clean | own | {"STATE_DIRECTORY": str(self.folder), "COLUMNS": "200"}

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """A verb in a process of its own."""
        process = subprocess.Popen(
            [*SYNCER, *arguments], cwd=ROOT, env=self.environment(**more), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    def clean_up(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()

    def runner(self, capture: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
        """Runs verbs in this process: ``run("status", "--json", JOURNAL__PREFIX="x")``."""
        # Logging would be set up for the whole process, and for a stderr that ends with the test.
        monkeypatch.setattr(telemetry, "set_up_logging", lambda level, *, json: None)

        def run(*arguments: str, **more: str) -> Said:
            with monkeypatch.context() as patch:
                for name, value in self.environment(**more).items():
                    patch.setenv(name, value)
                patch.setattr(sys, "argv", ["syncer", *arguments])
                capture.readouterr()
                with capture_logs(), pytest.raises(SystemExit) as caught:
                    cli.main()
            out, err = capture.readouterr()
            assert isinstance(caught.value.code, int)
            return Said(caught.value.code, out, err.decode())

        return run

    async def prepare(self, *records: Record) -> None:
        """Put records into the journal."""
        journal = await open_journal(JournalSettings(url=f"sqlite:///{self.folder}/journal.db"))
        for record in records:
            await journal.append(record)
        await journal.close()


def told(process: subprocess.Popen[bytes]) -> Said:
    """What a process said, at its end."""
    out, err = process.communicate(timeout=PATIENCE)
    return Said(process.returncode, out, err.decode())


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
