"""What is deployed, as far as it can be tried without a container engine or a service manager: every file is read by the program
that reads it in earnest, or by the strictest one there is, and every command in it by syncer itself.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.kafka.java import java
from syncer import config, daemon, errors, telemetry
from syncer.feed.event import AsideReason
from syncer.fetch.client import RESULTS
from syncer.tasks import DEADLINE
from tests.command import PATIENCE, SYNCER, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CACHE = ROOT / ".cache" / "prometheus"
PROGRAMS = Path(sys.executable).parent
UNITS = {name: DEPLOY / "systemd" / f"syncer-{name}.service" for name in ("hub", "standby", "mirror")}
COMMON = DEPLOY / "systemd" / "syncer-.service.d" / "common.conf"
OURS = ("topics", "hub", "standby", "mirror")  # the services that run syncer
STATE = "/var/lib/syncer"
EXPOSURE = 15  # of 100, by systemd's own count; 10 is a service that needs the network and a folder, 96 one without any care
STYLE = "{extends: default, rules: {line-length: {max: 130}, document-start: disable, comments: {min-spaces-from-content: 1}}}"

# How an event, a change and a request can end, where an alert asks for it.
ENDS = {
    *(reason.value for reason in AsideReason),
    *daemon.OUTCOMES.values(),
    *RESULTS.values(),
}


def call(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run something to its end, with no more in its environment than it needs."""
    own = {"PATH": os.environ["PATH"], "HOME": str(CACHE)} | environment
    return subprocess.run(command, cwd=ROOT, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def succeed(*command: str | Path, **environment: str) -> str:
    done = call(*command, **environment)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", [*DEPLOY.glob("*.yaml"), *DEPLOY.glob("prometheus/*.yaml")], ids=lambda path: path.name)
def test_yaml_is_well_formed(path: Path) -> None:
    succeed(PROGRAMS / "yamllint", "--strict", "--config-data", STYLE, path)


# -- the image -----------------------------------------------------------------------------------------------------------

HEALTH = "HEALTHCHECK .*CMD"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    """What follows each of these instructions of the Dockerfile."""
    return re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)


def test_the_dockerfile_is_as_it_should_be() -> None:
    succeed(PROGRAMS / "hadolint", "--no-color", "--failure-threshold", "style", DEPLOY / "Dockerfile")


def test_the_image_has_no_shell_at_work_and_no_root() -> None:
    assert instructions("USER")
    assert all(re.fullmatch(r"[1-9]\d+:[1-9]\d+", user) for user in instructions("USER"))
    for name in ("RUN", "ENTRYPOINT", "CMD", HEALTH):
        assert all(isinstance(json.loads(form), list) for form in instructions(name)), name
    assert json.loads(instructions("ENTRYPOINT")[-1]) == ["syncer"]
    assert image_commands(HEALTH) == [["health"]]
    assert instructions("VOLUME") == [STATE]
    assert f"STATE_DIRECTORY={STATE}" in instructions("ENV")[-1].split()


def test_what_is_installed_into_it_is_locked() -> None:
    locked, own = (json.loads(run) for run in instructions("RUN") if '"pip"' in run)
    assert "--require-hashes" in locked
    assert {"--no-deps", "--no-build-isolation"} <= set(own)
    assert locked[-1] in " ".join(instructions("COPY"))


def test_only_what_is_built_from_gets_into_it() -> None:
    copied = [part.split()[:-1] for part in instructions("COPY") if not part.startswith("--from")]
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {path.removeprefix("./") for paths in copied for path in paths}


def image_commands(instruction: str) -> list[list[str]]:
    """Arguments that the image gives to syncer."""
    found = [json.loads(command) for command in instructions(instruction)]
    return [command[1:] if command[0] == "syncer" else command for command in found]


# -- compose -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The services as Docker Compose itself understands them, on the settings of the examples."""
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(DEPLOY / "compose.yaml", folder)
    for example in DEPLOY.glob("*.env.example"):
        shutil.copy(example, folder / example.stem)
    done = call(PROGRAMS / "docker-compose", "--file", folder / "compose.yaml", "config", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["networks"]["journal"]["internal"] is True
    return told["services"]  # type: ignore[no-any-return]


def test_no_container_can_write_or_gain_anything(services: dict[str, Any]) -> None:
    assert set(services) == {"kafka", *OURS}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) < 2 << 30, name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["driver"] == "local", name  # others grow for ever
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name


def test_each_has_a_volume_of_its_own_and_the_time_to_drain(services: dict[str, Any]) -> None:
    volumes = [volume for service in services.values() for volume in service.get("volumes", [])]
    assert len({volume["source"] for volume in volumes}) == len(volumes)
    for name in ("hub", "standby", "mirror"):
        assert [volume["target"] for volume in services[name]["volumes"]] == [STATE]
        assert seconds(services[name]["stop_grace_period"]) > DEADLINE


def test_they_start_in_order_and_the_mirror_sees_the_journal_alone(services: dict[str, Any]) -> None:
    conditions = {name: {on: how["condition"] for on, how in services[name]["depends_on"].items()} for name in OURS}
    ready = {"kafka": "service_healthy", "topics": "service_completed_successfully"}
    assert conditions == {
        "topics": {"kafka": "service_healthy"}, "hub": ready, "standby": ready | {"hub": "service_healthy"}, "mirror": ready,
    }  # fmt: skip
    assert set(services["mirror"]["networks"]) == set(services["topics"]["networks"]) == {"journal"}


def seconds(text: str) -> float:
    """As Compose writes times: 1m30s."""
    return sum(float(number) * {"m": 60, "s": 1}[unit] for number, unit in re.findall(r"([\d.]+)([ms])", text))


def test_kafka_takes_its_settings(services: dict[str, Any], tmp_path: Path) -> None:
    """Tried with what the image itself makes its settings with: a class of Kafka, of the release that the other tests run."""
    (release,) = re.findall(
        r"<artifactId>kafka_2.13</artifactId>\s*<version>(.*)</version>", (DEPLOY / "kafka" / "pom.xml").read_text()
    )
    assert services["kafka"]["image"] == f"apache/kafka:{release}"
    folders = {name: tmp_path / name for name in ("default", "mounted", "final")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (folders["default"] / name).touch()
    where = [word for name, folder in folders.items() for word in (f"--{name}-configs-dir", str(folder))]
    environment = services["kafka"]["environment"] | {"KAFKA_LOG_DIRS": str(tmp_path / "data")}
    assert "Formatting" in succeed(*java("kafka.docker.KafkaDockerWrapper", "setup", *where), **environment)
    properties = dict(line.split("=", 1) for line in (folders["final"] / "server.properties").read_text().split())
    assert properties["auto.create.topics.enable"] == "false"
    single = {name: value for name, value in properties.items() if name.endswith((".factor", ".isr"))}
    assert set(single.values()) == {"1"}
    assert 'name: "kafka"\n      level: "WARN"' in (folders["final"] / "log4j2.yaml").read_text()


# -- settings and commands -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hub", "mirror"])
def test_every_setting_of_an_example_exists(name: str) -> None:
    lines = re.findall(r"^#?(SYNCER_\w+)=(.*)$", (DEPLOY / f"{name}.env.example").read_text(), re.MULTILINE)
    assert lines
    config.load(environ=dict(lines))


def test_every_setting_of_a_service_exists(services: dict[str, Any]) -> None:
    for name in OURS:
        config.load(environ=services[name]["environment"])


def test_every_command_is_one(services: dict[str, Any]) -> None:
    commands = [*image_commands("CMD"), *image_commands(HEALTH), *(services[name]["command"] for name in OURS)]
    commands += [start(unit) for unit in UNITS.values()]
    for command in {tuple(command) for command in commands}:
        succeed(*SYNCER, *command, "--help", COLUMNS="200")


# -- systemd -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The units in a folder as they would be installed, with the syncer that is here in the place of the one that is not."""
    if not shutil.which("systemd-analyze"):
        succeed(DEPLOY / "packages.sh", "systemd")
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(DEPLOY / "systemd", folder, dirs_exist_ok=True)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/syncer/bin/", f"{PROGRAMS}/"))
    return {name: folder / unit.name for name, unit in UNITS.items()}


def settings(*files: Path) -> dict[str, list[str]]:
    """What is set in units, all of them together."""
    found = defaultdict(list)
    for name, value in re.findall(r"^(\w+)=(.*)$", "\n".join(file.read_text() for file in files), re.MULTILINE):
        found[name].append(value)
    return found


def start(unit: Path) -> list[str]:
    """The arguments that a unit gives to syncer."""
    program, *arguments = shlex.split(settings(unit)["ExecStart"][0])
    assert program == "/opt/syncer/bin/syncer"
    return arguments


def test_systemd_has_nothing_to_say_about_the_units(installed: dict[str, Path]) -> None:
    assert succeed("systemd-analyze", "verify", "--man=no", *installed.values()) == ""


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_shut_in(installed: dict[str, Path], name: str) -> None:
    succeed("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", installed[name])


def test_what_would_only_end_again_is_not_started_again() -> None:
    final = {2} | {kind.exit_code for kind in errors.Stop.__subclasses__()}
    assert errors.Superseded.exit_code in final
    for name, unit in UNITS.items():
        (prevented,) = settings(COMMON, unit)["RestartPreventExitStatus"]
        expected = final - {errors.Superseded.exit_code} if name == "standby" else final  # it waits for its turn again
        assert {int(code) for code in prevented.split()} == expected, name
    assert settings(COMMON)["Restart"] == ["always"]
    assert float(settings(COMMON)["TimeoutStopSec"][0]) > DEADLINE


def test_each_has_a_folder_of_its_own_and_an_example_of_its_settings() -> None:
    folders = [folder for unit in UNITS.values() for folder in settings(unit)["StateDirectory"]]
    assert len(set(folders)) == len(UNITS)
    for unit in UNITS.values():
        (file,) = settings(unit)["EnvironmentFile"]
        assert (DEPLOY / f"{Path(file).name}.example").exists()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, {"FEED__URL": "http://127.0.0.1:1/v2/stream"})
    yield place
    place.clean_up()


@pytest.mark.parametrize("name", UNITS)
def test_what_a_unit_starts_says_when_it_is_ready_and_that_it_lives(place: Place, name: str) -> None:
    assert settings(COMMON)["Type"] == ["notify"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, pytest.MonkeyPatch.context() as environment:
        manager.bind(str(place.folder / "notify"))
        manager.settimeout(PATIENCE / 4)
        environment.setenv("NOTIFY_SOCKET", str(place.folder / "notify"))
        environment.setenv("WATCHDOG_USEC", "200000")
        process = place.start(*start(UNITS[name]))
        assert manager.recv(100) == b"READY=1"
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


# -- alerts --------------------------------------------------------------------------------------------------------------

ALERTS = (DEPLOY / "prometheus" / "alerts.yaml").read_text()


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Out of Debian's package, which is unpacked and not installed: installed, it would start a server."""
    if found := shutil.which("promtool"):
        return Path(found)
    program = CACHE / "usr" / "bin" / "promtool"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            download = ["env", f"--chdir={folder}", "apt-get", "download", "prometheus"]
            if call(*download).returncode != 0:  # the lists are old, or there are none
                succeed(*([] if os.geteuid() == 0 else ["sudo", "--non-interactive"]), "apt-get", "update")
                succeed(*download)
            (package,) = Path(folder).glob("*.deb")
            succeed("dpkg-deb", "--extract", package, folder)
            program.parent.mkdir(parents=True, exist_ok=True)
            Path(folder, "usr", "bin", "promtool").rename(program)
    return program


def test_the_alerts_are_rules(promtool: Path) -> None:
    succeed(promtool, "check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "prometheus" / "alerts.yaml")


def test_each_alert_is_raised_when_it_should_be(promtool: Path) -> None:
    cases = DEPLOY / "prometheus" / "alerts.test.yaml"
    succeed(promtool, "test", "rules", cases)
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    assert alerts
    assert set(re.findall(r'alertname="(\w+)"', cases.read_text())) == set(alerts)


def test_an_alert_asks_for_what_there_is() -> None:
    metrics = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in telemetry.REGISTRY.collect()}
    asked = set(re.findall(r"\b(syncer_[a-z_]+)", ALERTS))
    assert asked
    assert asked <= metrics
    labels = re.findall(r'\w+=~?"([^"]+)"', ALERTS)
    assert {end for label in labels for end in label.split("|")} <= ENDS
    keys = re.findall(r"\b((?:api|feed|wiki|journal|ops)\.[a-z_.]+[a-z])\b", ALERTS)
    assert set(keys) <= set(config.known_keys())
    (budget,) = re.findall(r"0\.95 \* (\d+)", ALERTS)
    assert int(budget) == config.ApiSettings().requests_per_minute
