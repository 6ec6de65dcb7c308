"""A MediaWiki of its own for every lab: Debian's package on SQLite behind PHP's own web server. Installing takes two seconds."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
MEDIAWIKI = Path("/usr/share/mediawiki")
MAINTENANCE = MEDIAWIKI / "maintenance"
DATABASE = "data/labwiki.sqlite"
SHUTDOWN = 5.0  # seconds

PASSWORDS = {
    "Alice": "AlicePass-2026-x",
    "Vandal": "VandalPass-2026-x",
    "LabBot@lab": "0123456789abcdef0123456789abcdef",
}
BOT_GRANTS = (
    "basic,editpage,editprotected,createeditmovepage,delete,rollback,blockusers,protect,highvolume,uploadfile,uploadeditmovefile,"
    "mergehistory,patrol,viewdeleted,oversight,import,editinterface,privateinfo"
)


class Wiki:
    """A wiki that runs. ``folder`` is its own; ``udp_port`` is where it says what changes."""

    def __init__(self, folder: Path, *, udp_port: int, port: int | None = None, workers: int = 4) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api.php"
        self.database = folder / DATABASE
        self._environment = {
            **os.environ,
            "MW_CONFIG_FILE": str(folder / "LocalSettings.php"),
            "MW_INSTALL_PATH": str(MEDIAWIKI),
            "PHP_CLI_SERVER_WORKERS": str(workers),
            "LAB_WIKI_PORT": str(self.port),
            "LAB_UDP_PORT": str(udp_port),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Install it, and serve it. Returns when the API answers."""
        self._install()
        limits = "opcache.enable=1 post_max_size=64M upload_max_filesize=32M memory_limit=768M max_execution_time=300"
        options = [part for limit in limits.split() for part in ("-d", limit)]
        address = f"127.0.0.1:{self.port}"
        self._spawn("wiki", ["php", *options, "-q", "-S", address, "-t", str(MEDIAWIKI), str(HERE / "router.php")])
        self._spawn("jobs", ["php", str(MAINTENANCE / "runJobs.php"), "--wait"])
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.api_url}?action=query&format=json", timeout=30):
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the wiki did not come up, see {self.folder}/wiki.log")
            time.sleep(0.05)

    def stop(self) -> None:
        """End what was started, by group: PHP's server has workers."""
        for process in self._processes:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + SHUTDOWN
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
        self._processes.clear()

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(process)

    def _install(self) -> None:
        """Make the wiki, its users and the bot's password."""
        if not MAINTENANCE.exists():
            raise RuntimeError("Debian's mediawiki is not installed: run `make test`, or install what the Makefile lists as WIKI")
        for name in ("data", "images", "cache", "tmp"):
            (self.folder / name).mkdir(parents=True)
        place = [f"--dbpath={self.folder}/data", f"--confpath={self.folder}", "--dbtype=sqlite", "--dbname=labwiki"]
        address = ["--server=http://127.0.0.1", "--scriptpath=", "--lang=en"]
        # The installer must not be told of the settings it is to write.
        bare = {name: value for name, value in self._environment.items() if name != "MW_CONFIG_FILE"}
        _maintain("install", *place, *address, "--pass=LabAdminPass-2026", "Lab Wiki", "Admin", environment=bare)
        with (self.folder / "LocalSettings.php").open("a") as settings:
            settings.write("\nrequire __DIR__ . '/settings.php';\n")
        shutil.copy(HERE / "settings.php", self.folder)

        maintain = functools.partial(_maintain, environment=self._environment)
        maintain("createAndPromote", "--sysop", "--bot", "LabBot", "LabBotPass-2026")
        maintain("createAndPromote", "--sysop", "Alice", PASSWORDS["Alice"])
        maintain("createAndPromote", "Vandal", PASSWORDS["Vandal"])
        maintain("createBotPassword", "--appid", "lab", "--grants", BOT_GRANTS, "LabBot", PASSWORDS["LabBot@lab"])
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            database.execute("PRAGMA journal_mode = WAL")


def _maintain(script: str, *arguments: str, environment: dict[str, str]) -> None:
    command = ["php", str(MAINTENANCE / f"{script}.php"), *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stdout}{done.stderr}")


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def free_port() -> int:
    """A port of the loopback interface that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
