"""Programs of partners who have nothing of this package, and how tests run them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.kafka.java import jars
from tests.kafka import fresh

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "tests" / "integration" / "partners"
TIMEOUT = 60.0
KILLED = 9

# The program of the docs, killed when it has taken so many records, in the middle of a transaction.
DYING = """
import itertools, os, sys, partner
take, limit, taken = partner.take, int(sys.argv.pop()), itertools.count(1)
partner.take = lambda *record: take(*record) if next(taken) < limit else os._exit(9)
partner.main()
"""

Page = dict[str, Any]


def blocks(page: str) -> dict[str, list[str]]:
    """The fenced blocks of a page of the docs, by language."""
    found: dict[str, list[str]] = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(text)
    return found


def build(folder: Path) -> Path:
    """The partners' programs, each beside the five lines of its language as docs/patches.md has them."""
    shutil.copytree(PROGRAMS, folder)
    lines = {language: found[0] for language, found in blocks("patches.md").items()}
    (folder / "apply.py").write_text(lines["python"])
    (folder / "apply.js").write_text(lines["javascript"] + "module.exports = apply;\n")
    imports = (
        "import static java.nio.charset.StandardCharsets.UTF_8;\nimport java.io.ByteArrayOutputStream;\nimport java.util.List;\n"
    )
    record = "    record Op(int offset, int delete, String insert) {}\n"
    (folder / "Apply.java").write_text(f"{imports}final class Apply {{\n{record}{textwrap.indent(lines['java'], '    ')}}}\n")
    command = ["javac", "-cp", f"{jars()}/*", "-d", ".", "Apply.java", "Partner.java"]
    subprocess.run(command, cwd=folder, check=True, timeout=TIMEOUT)
    return folder


@dataclass
class Partner:
    """One of the programs, with what it keeps. ``access`` are settings of its client as librdkafka names them."""

    program: str
    programs: Path
    folder: Path
    topic: str
    access: Mapping[str, str]
    isolation: str = "read_committed"

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.group = fresh("partner.")

    def run(self, wanted: str, *, limit: int = 0) -> list[Page]:
        """Read to the end of the topic; the pages it has then. With a limit it dies on the way, and has none to show."""
        done = subprocess.run(
            getattr(self, f"_{self.program}")(wanted, limit),
            cwd=self.programs, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert done.returncode == (KILLED if limit else 0), done.stderr
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    def _settings(self, **more: str) -> str:
        path = self.folder / "client.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in {**self.access, **more}.items()))
        return str(path)

    def _python(self, wanted: str, limit: int) -> list[str]:
        arguments = [self._settings(), self.topic, wanted, str(self.folder / "pages.db")]
        return [sys.executable, "-c", DYING, *arguments, str(limit)] if limit else [sys.executable, "partner.py", *arguments]

    def _java(self, wanted: str, limit: int) -> list[str]:
        (kept := self.folder / "pages").mkdir(exist_ok=True)
        file = self._settings(**{"group.id": self.group, "group.instance.id": "one"})
        options = [
            "-Xshare:auto",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            f".:{jars()}/*",
        ]
        return ["java", *options, "Partner", file, self.topic, wanted, str(kept), str(limit)]

    def _kcat(self, wanted: str, limit: int) -> list[str]:
        (line,) = blocks("kafka.md")["sh"]
        line = line.replace("read_committed", self.isolation)
        line = line.replace("client.properties", self._settings()).replace("syncer.mutations.v1", self.topic)
        return ["bash", "-euo", "pipefail", "-c", line.replace("partner.js 0", f"partner.js {wanted}")]
