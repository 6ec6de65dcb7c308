"""Kafka's programs: the jars that the pom names, fetched once into the cache, and how to run a class of theirs."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

POM = Path(__file__).resolve().with_name("pom.xml")
CACHE = POM.parents[2] / ".cache" / "kafka"
PACKAGES = {"java": "default-jre-headless", "mvn": "maven", "openssl": "openssl"}  # Debian's names
# Cheap to start: without its second compiler a node takes 2.5 s of processor time until it serves, with it 3.7 s.
OPTIONS = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


class Unavailable(Exception):
    """There is no Kafka to be had; says why, and what to do."""


def jars() -> Path:
    """Return the folder of the jars, fetched when the pom is not the one of the last time."""
    folder = CACHE / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        need("java", "mvn")
        CACHE.mkdir(parents=True, exist_ok=True)
        print("Fetching Apache Kafka (44 MB) ...", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=CACHE) as new:
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={new}/jars"]
            run(["mvn", "--quiet", "--batch-mode", "--strict-checksums", "--file", str(POM), *goal])
            with contextlib.suppress(OSError):  # somebody else was faster
                Path(new, "jars").rename(folder)
    return folder


def java(main: str, *arguments: str) -> list[str]:
    """Return the command that runs one of Kafka's classes."""
    need("java")
    return ["java", *OPTIONS, "-cp", f"{jars()}/*", main, *arguments]


def need(*programs: str) -> None:
    """Check that these can be run."""
    for program in programs:
        if shutil.which(program) is None:
            raise Unavailable(f"Kafka needs {program}, which is not installed. Run: deploy/packages.sh {PACKAGES[program]}")


def run(command: list[str]) -> None:
    """Run something that has to succeed, quietly."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - all ours
    if done.returncode != 0:
        said = (done.stdout + done.stderr).splitlines()[-20:]
        raise Unavailable("\n".join([f"{command[0]} ended with {done.returncode}:", *said]))
