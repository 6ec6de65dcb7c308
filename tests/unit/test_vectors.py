"""The golden vectors of every format, and the few lines of the docs that apply them in other languages."""

from __future__ import annotations

import doctest
import hashlib
import json
import re
import shutil
import subprocess
import sys
import textwrap
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from syncer.diff import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "patches.md"
VECTORS = ROOT / "schema" / "vectors"
APPLIERS = Path(__file__).with_name("appliers")
PROGRAMS = {
    "apply.py": [sys.executable, str(APPLIERS / "apply.py")],
    "apply.js": ["node", str(APPLIERS / "apply.js")],
    "Apply.java": ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", str(APPLIERS / "Apply.java")],  # compiles it by itself
}
LANGUAGES = {"python": "apply.py", "javascript": "apply.js", "java": "Apply.java"}


def vectors(name: str) -> dict[str, Any]:
    """The vectors of a format."""
    part: dict[str, Any] = json.loads((VECTORS / f"{name.replace('/', '-')}.json").read_text(encoding="ascii"))
    return part


def cases(kind: str) -> list[Any]:
    """Every vector of every format, as parameters of a test."""
    return [pytest.param(name, case, id=f"{name} {case['name']}") for name in FORMATS for case in vectors(name)[kind]]


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def test_every_format_has_vectors_and_every_file_a_format() -> None:
    assert {path.name for path in VECTORS.glob("*.json")} == {f"{name.replace('/', '-')}.json" for name in FORMATS}
    for name in FORMATS:
        part = vectors(name)
        assert part["format"] == name
        for kind in ("applies", "refused"):
            names = [case["name"] for case in part[kind]]
            assert len(names) == len(set(names)) > 10


def test_the_files_are_what_the_script_writes(tmp_path: Path) -> None:
    script = shutil.copy(VECTORS / "make.py", tmp_path)
    subprocess.run([sys.executable, script], check=True)
    for path in VECTORS.glob("*.json"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("name", "case"), cases("applies"))
def test_a_vector_applies(name: str, case: dict[str, Any]) -> None:
    assert sha1(case["base"]) == case["base_sha1"]
    assert sha1(case["result"]) == case["result_sha1"]
    assert FORMATS[name].apply(case["base"].encode(), case["ops"]) == case["result"].encode()


@pytest.mark.parametrize(("name", "case"), cases("applies"))
def test_what_is_computed_for_a_vector_applies(name: str, case: dict[str, Any]) -> None:
    base, result = case["base"].encode(), case["result"].encode()
    assert FORMATS[name].apply(base, FORMATS[name].compute(base, result)) == result


@pytest.mark.parametrize(("name", "case"), cases("refused"))
def test_what_is_no_patch_is_refused(name: str, case: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="operation"):
        FORMATS[name].apply(case["base"].encode(), case["ops"])


def run(program: str, pairs: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> list[str]:
    """Let a program apply patches: a base and its operations each. Its results as texts."""
    command = PROGRAMS[program]
    assert shutil.which(command[0]), f"{command[0]} is missing on PATH: the lines in docs/patches.md cannot be checked without it"
    lines = []
    for base, ops in pairs:
        fields = [b64encode(base.encode()).decode()]
        for offset, delete, insert in ops:
            fields += str(offset), str(delete), b64encode(insert.encode()).decode()
        lines.append("\t".join(fields) + "\n")
    done = subprocess.run(command, input="".join(lines), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [b64decode(line).decode() for line in done.stdout.split("\n")[:-1]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_other_languages_apply_the_vectors(program: str) -> None:
    applies = vectors("splice/1")["applies"]
    results = run(program, [(case["base"], case["ops"]) for case in applies])
    assert results == [case["result"] for case in applies]


@pytest.mark.parametrize("program", PROGRAMS)
def test_other_languages_apply_what_is_computed(program: str) -> None:
    splice = FORMATS["splice/1"]
    applies = vectors("splice/1")["applies"]
    pairs = [(one["base"], other["result"]) for one in applies for other in applies]
    results = run(program, [(base, splice.compute(base.encode(), result.encode())) for base, result in pairs])
    assert results == [result for _, result in pairs]


def test_the_docs_show_what_the_appliers_do() -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    for language, program in LANGUAGES.items():
        source = (APPLIERS / program).read_text(encoding="utf-8")
        indent = "    " if language == "java" else ""  # a method of a class
        shown = textwrap.indent(blocks[language], indent)
        assert f"\n{shown}" in source, f"docs/patches.md shows other {language} than tests/unit/appliers/{program}"
        assert "apply(" in shown


def test_the_docs_name_every_format_and_show_what_really_happens() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(FORMATS) <= set(headings)
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert tried > 5
    assert failed == 0
