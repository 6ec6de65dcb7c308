"""The documentation tells the truth about what there is: every setting, metric, command and link."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import typer

from syncer import cli, config, daemon, errors, telemetry
from syncer.cli import app, verbs
from syncer.fetch import client

ROOT = Path(__file__).resolve().parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[str]:
    assert verbs
    root = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        found += [f"{name} {verb}" for verb in command.commands] if hasattr(command, "commands") else [name]
    return found


@pytest.mark.parametrize("key", config.known_keys())
def test_every_setting_is_documented(key: str) -> None:
    assert f"`{key}`" in OPERATING


def test_no_setting_is_documented_that_is_none() -> None:
    documented = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", OPERATING.split("## Settings")[1].split("## Exit codes")[0])
    assert sorted(set(documented) - set(config.known_keys())) == []


def test_every_metric_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"`(syncer_[a-z_]+)`", OPERATING))
    existing = {metric.name + ("_total" if metric.type == "counter" else "") for metric in telemetry.REGISTRY.collect()}
    assert documented == existing


def test_every_exit_code_is_documented_and_no_other() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", OPERATING, re.MULTILINE)}
    stops, todo = set(), [errors.Stop]
    while todo:
        stop = todo.pop()
        stops.add(stop.exit_code)
        todo += stop.__subclasses__()
    by_signal = {cli.INTERRUPTED, 128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert documented == stops | by_signal | {0, 2, cli.UNAVAILABLE}


def test_every_outcome_and_every_end_of_a_request_is_documented() -> None:
    for word in (*daemon.OUTCOMES.values(), *client.RESULTS.values(), "answered", "given_up"):
        assert f"`{word}`" in OPERATING


@pytest.mark.parametrize("command", [command for command in commands() if command.split()[0] not in {"run", "ingest", "enrich"}])
def test_every_finite_command_takes_json(command: str) -> None:
    found = typer.main.get_command(app)
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    assert any("--json" in option.opts for option in found.params)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    words = command.split()
    assert all(word in OPERATING for word in words), command
    assert re.search(rf"syncer [^\n]*\b{re.escape(words[0])}\b", OPERATING)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_path_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(r"`((?:tests|schema|docs)/[\w./-]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    modules = re.findall(r"`((?:syncer|feed|fetch)/[\w./]+\.py|(?:budget|decide)\.py)`", text)
    assert [module for module in modules if not ((ROOT / module).exists() or (ROOT / "syncer" / module).exists())] == []
