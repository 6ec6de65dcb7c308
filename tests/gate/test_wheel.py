"""The package as users get it: built, installed, and tested where its source is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.shared import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "wheel"
LOCKS = ROOT / "deploy" / "locks"
ON_THE_WHEEL = ("tests/unit/", "tests/property/")
HUB_LIBRARIES = ("aiohttp", "aiokafka", "rapidfuzz", "sseclient", "uvloop")

pytestmark = pytest.mark.timeout(1500)


def clean() -> dict[str, str]:
    """This run's environment without what could show somebody the source."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "COV_"))}


def call(*command: str | Path, cwd: Path = CACHE, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=clean() | environment, capture_output=True, text=True, check=False)


def succeed(*command: str | Path, cwd: Path = CACHE, **environment: str) -> str:
    done = call(*command, cwd=cwd, **environment)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The built wheel, the only one in its folder."""
    folder = CACHE / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    succeed(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def install(wheel: Path, lock: str) -> Path:
    """The folder of programs of an environment with the locked packages, made once, and the wheel, installed anew."""
    environment, wanted = CACHE / lock, (LOCKS / f"{lock}.txt").read_text()
    stamp, python = environment / "installed.txt", environment / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        succeed(sys.executable, "-m", "venv", "--clear", environment)
        succeed(python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", LOCKS / f"{lock}.txt")
        stamp.write_text(wanted)
    succeed(python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    return environment / "bin"


@pytest.fixture(scope="session")
def partner(wheel: Path) -> Path:
    """What a partner has who only mirrors: the base package."""
    return install(wheel, "mirror")


def test_what_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"syncer", info}
    assert "syncer/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names
    assert metadata["Name"] == "wiki-syncer"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == {"hub", "kafka", "dumps", "dev"}
    assert "syncer = syncer.cli:main" in entry_points


def test_every_lock_is_hashed_and_names_no_host() -> None:
    for lock in LOCKS.glob("*.txt"):
        text = lock.read_text()
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert pins, lock
        assert all("==" in pin and pin.endswith("\\") for pin in pins), lock
        assert "://" not in text, lock


def test_a_partner_needs_only_the_base_package(partner: Path, tmp_path: Path) -> None:
    for library in HUB_LIBRARIES:
        assert call(partner / "python", "-c", f"import {library}").returncode != 0, f"{library} is in the base installation"
    succeed(partner / "python", "-W", "error", "-c", "import syncer.mirror, syncer.cli.mirror, syncer.wire")
    assert "mirror" in succeed(partner / "syncer", "--help")
    assert succeed(partner / "syncer", "version").strip() == succeed(partner / "python", "-m", "syncer", "version").strip() != ""

    state = str(tmp_path)
    made = "import asyncio, syncer.config, syncer.journal as j; asyncio.run(j.open_journal(syncer.config.load().journal))"
    succeed(partner / "python", "-c", made, STATE_DIRECTORY=state)  # as a hub would have
    for command in (
        "mirror follow --until-idle 0.1",
        "mirror export",
        "mirror verify",
        "journal read mutations --json",
        "status --json",
    ):
        succeed(partner / "syncer", *command.split(), STATE_DIRECTORY=state)


def test_a_partner_who_tries_to_run_the_hub_is_told_what_to_install(partner: Path, tmp_path: Path) -> None:
    done = call(partner / "syncer", "run", STATE_DIRECTORY=str(tmp_path), SYNCER_CONTACT="you@example.org")
    assert done.returncode == 78
    assert "wiki-syncer[hub]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="session")
def tests_on_it(wheel: Path) -> Iterator[subprocess.Popen[str]]:
    """The tests of the package on the wheel, at work beside everything that is tested here and mostly waits."""
    programs = install(wheel, "dev")
    tree = CACHE / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    for name in ("tests", "schema", "docs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree)
    (tree / "deploy").symlink_to(ROOT / "deploy")  # and with it the jars of Kafka, beside what it really is
    shared = CACHE / "shared"  # beside the checkout, as tests.shared looks for it
    shared.unlink(missing_ok=True)
    if SHARED.exists():
        shared.symlink_to(SHARED)

    where = succeed(programs / "python", "-c", "import syncer; print(syncer.__file__)", cwd=tree)
    assert "site-packages" in where
    command: list[str | Path] = ["nice", "-n", "5", programs / "python", "-m", "pytest", "-q", "-rfE", *ON_THE_WHEEL]
    with (CACHE / "tests.log").open("w") as said:
        process = subprocess.Popen(
            command, cwd=tree, env=clean(), stdin=subprocess.DEVNULL, stdout=said, stderr=said, text=True, start_new_session=True
        )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_tests_begin_on_it(tests_on_it: subprocess.Popen[str]) -> None:
    """How they end is looked at last: conftest.py."""
    assert tests_on_it.poll() is None


def test_the_tests_pass_on_it(tests_on_it: subprocess.Popen[str]) -> None:
    """With everything of the repository but the package: what shows that all of it is there."""
    status = tests_on_it.wait()
    said = (CACHE / "tests.log").read_text()
    assert status == 0, said
    print(said.splitlines()[-1])
