"""What must hold for every file that is kept."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_LINES = 400  # of a module: beyond that a reader is lost
# Where this or that machine keeps things; a word before the slash makes it a part of some longer path.
MACHINE = re.compile(r"(?<![\w.])/(work|root|Users)/\w")


def kept(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_no_module_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in kept("syncer/*.py")}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    for path in kept():
        text = path.read_bytes().decode("utf-8", "replace")
        assert not (found := MACHINE.search(text)), f"{path.relative_to(ROOT)}: {found and found.group()}"
