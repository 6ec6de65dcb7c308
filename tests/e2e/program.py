"""The `syncer` command as an operator and a partner run it: a process of its own, settings by environment, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tests.e2e.lab import DOMAIN
from tests.e2e.lab.wiki import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SYNCER = Path(sys.executable).with_name("syncer")
DRAIN = 30.0  # seconds: DESIGN 7 gives a stop one deadline of 25
PATIENCE = 240.0  # seconds for a job that ends by itself


class Upstream(Protocol):
    """Where feed and API are, and since when there is something on the feed."""

    stream_url: str
    api_url: str
    started: str


class Syncer:
    """A hub and a mirror in one folder, set up for a lab."""

    def __init__(
        self,
        folder: Path,
        lab: Upstream,
        *,
        streams: Sequence[str],
        namespaces: Sequence[int | str] = ("*",),
        journal: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        settings = {
            "CONTACT": "e2e@example.org",
            "FEED__URL": lab.stream_url,
            "FEED__STREAMS": json.dumps(list(streams)),
            "FEED__SINCE": lab.started,
            "API__URL": lab.api_url,
            "API__REQUESTS_PER_MINUTE": "6000",
            "WIKI__DOMAINS": json.dumps([DOMAIN]),
            "WIKI__INCLUDE": json.dumps([DOMAIN]),
            "WIKI__NAMESPACES": json.dumps(list(namespaces)),
            "JOURNAL__URL": f"sqlite:///{folder}/journal.db",
            "STORE__PATH": f"{folder}/store.db",
            "MIRROR__PATH": f"{folder}/mirror.db",
            "OPS__LISTEN": f"127.0.0.1:{free_port()}",
            "MIRROR__LISTEN": "127.0.0.1:0",
        }
        settings |= journal or {}
        self._environment = os.environ | {f"SYNCER_{name}": value for name, value in settings.items()}
        self.ops = settings["OPS__LISTEN"]
        self.on_kafka = settings["JOURNAL__URL"].startswith("kafka:")
        self._started: list[subprocess.Popen[bytes]] = []

    def set(self, **changed: str) -> None:
        """Have other settings for what is started from now on, named as in the environment."""
        self._environment = self._environment | {f"SYNCER_{name}": value for name, value in changed.items()}

    def start(self, *arguments: str, fault: str = "") -> subprocess.Popen[bytes]:
        """Start something that runs until it is stopped, or to a fault (syncer/faultpoints.py); what it says goes to a file."""
        environment = self._environment | {"SYNCER_TEST_FAULT": fault}
        with (self.folder / "syncer.log").open("ab") as log:
            process = subprocess.Popen([SYNCER, *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._started.append(process)
        return process

    def wait_for_journal(self) -> None:
        """Until a hub that was just started has made its journal: a mirror follows one that is there."""
        deadline = time.monotonic() + DRAIN
        if self.on_kafka:
            return
        while not (self.folder / "journal.db").exists():
            assert time.monotonic() < deadline, f"the hub made no journal; see {self.folder}"
            time.sleep(0.05)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """SIGTERM, and the drained exit that has to follow it."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(DRAIN) == 0, self._end_of(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End it by kill -9. It must not have ended by itself before."""
        assert process.poll() is None, self._end_of(process)
        process.kill()
        process.wait()

    def finish(self, *arguments: str) -> None:
        """Run something that ends when it is idle, to its end."""
        self.finished(self.start(*arguments))

    def finished(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it has ended by itself."""
        assert process.wait(PATIENCE) == 0, self._end_of(process)

    def ask(self, *arguments: str) -> str:
        """What a finite job prints."""
        done = subprocess.run([SYNCER, *arguments], env=self._environment, capture_output=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, f"syncer {' '.join(arguments)}: {done.returncode}\n{done.stderr.decode()}"
        return done.stdout.decode()

    def export(self, *options: str) -> list[dict[str, Any]]:
        """The mirror's pages."""
        return [json.loads(line) for line in self.ask(*options, "mirror", "export").split("\n") if line]

    def _end_of(self, process: subprocess.Popen[bytes]) -> str:
        """How a process ended that should not have ended so."""
        said = (self.folder / "syncer.log").read_text(errors="replace")[-3000:]
        return f"{process.args!r} ended with {process.returncode}, see {self.folder}; at last it said:\n{said}"

    def clean_up(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
