"""The hub and the mirror as processes: signals, pipes, and that there is only one of each."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from syncer.journal import Record, Topic
from tests.command import PATIENCE, Place, Said, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., Said]


# -- signals -------------------------------------------------------------------------------------------------------------


FOLLOW = ("mirror", "follow", "--json")
FOLLOWS = "the mirror follows"  # what a mirror says once it has its lock and its journal


def logged(process: subprocess.Popen[bytes], event: str) -> None:
    """Wait until the process logs this."""
    assert process.stderr
    said, deadline = b"", time.monotonic() + PATIENCE
    os.set_blocking(process.stderr.fileno(), False)
    while event.encode() not in said:
        said += process.stderr.read() or b""
        assert time.monotonic() < deadline, said.decode()
        assert process.poll() is None, said.decode()
        time.sleep(0.02)
    os.set_blocking(process.stderr.fileno(), True)


@pytest.fixture
def deaf(place: Place) -> Iterator[Place]:
    """A place whose feed takes connections and never answers, so that a hub stays up and connects to nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        place.settings |= {"FEED__URL": f"{address}/v2/stream", "API__URL": f"{address}/w/api.php"}
        yield place


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hub_is_asked_to_stop_and_stops_well(deaf: Place, number: signal.Signals) -> None:
    process = deaf.start("run")
    logged(process, "the hub runs")
    process.send_signal(number)
    said = told(process)
    assert said.code == 0
    assert f'"signal":"{number.name}"' in said.err
    assert '"event":"the hub stops"' in said.err


def test_a_mirror_is_asked_to_stop_and_tells_what_it_did(deaf: Place) -> None:
    asyncio.run(deaf.prepare())
    process = deaf.start(*FOLLOW, MIRROR__HEAL="hub")
    logged(process, FOLLOWS)
    process.terminate()
    said = told(process)
    assert (said.code, said.lines[0]["applied"]) == (0, {})


STUBBORN = """
import asyncio, sys
from syncer.tasks import stopping, until_stopped

async def main():
    stop = asyncio.Event()
    with stopping(stop):
        print("ready", flush=True)
        await until_stopped(asyncio.sleep(600), stop)

asyncio.run(main())
"""


@pytest.mark.parametrize(("numbers", "code"), [((signal.SIGTERM, signal.SIGTERM), 143), ((signal.SIGINT, signal.SIGINT), 130)])
def test_a_second_signal_ends_at_once(numbers: tuple[signal.Signals, ...], code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(numbers[0])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(numbers[1])
        assert process.wait(PATIENCE) == code


def test_ctrl_c_ends_a_finite_job_with_130(place: Place) -> None:
    asyncio.run(place.prepare(*(Record(Topic.MUTATIONS, 0, str(n), b'"%b"' % (b"x" * 50_000)) for n in range(60))))
    process = place.start("journal", "read", "mutations")
    assert process.stdout
    process.stdout.read(10)  # and no more: it waits to write
    process.send_signal(signal.SIGINT)
    assert told(process).code == 130


# -- one owner -----------------------------------------------------------------------------------------------------------


def test_a_second_hub_on_one_journal_is_4_whatever_port_it_has(deaf: Place) -> None:
    first = deaf.start("run")
    logged(first, "the hub runs")
    for arguments, more in (
        (["run"], {}),
        (["ingest"], {"OPS__LISTEN": "127.0.0.1:0"}),
        (["enrich"], {"OPS__LISTEN": "127.0.0.1:0"}),
    ):
        said = told(deaf.start(*arguments, **more))
        assert said.code == 4, said.err
        assert "another process is the owner" in said.err
        assert "hint" in said.err
    first.kill()
    told(first)
    third = deaf.start("run")
    logged(third, "the hub runs")
    third.terminate()
    assert told(third).code == 0


def test_a_port_in_use_is_78(deaf: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = told(deaf.start("run", OPS__LISTEN=f"127.0.0.1:{taken.getsockname()[1]}"))
    assert said.code == 78
    assert "ops.listen" in said.err


def test_a_second_follower_of_one_mirror_is_4(deaf: Place) -> None:
    asyncio.run(deaf.prepare())
    first = deaf.start(*FOLLOW, MIRROR__HEAL="hub")
    logged(first, FOLLOWS)
    said = told(deaf.start(*FOLLOW, MIRROR__HEAL="hub"))
    assert said.code == 4
    assert "mirror.db" in said.err
    first.terminate()
    assert told(first).code == 0


def test_a_mirror_waits_for_a_journal_and_makes_none(deaf: Place) -> None:
    process = deaf.start(*FOLLOW, MIRROR__HEAL="hub")
    logged(process, "there is no journal yet")
    assert not list(deaf.folder.glob("journal.db*"))
    asyncio.run(deaf.prepare())
    logged(process, FOLLOWS)
    process.terminate()
    assert told(process).code == 0
    waiting = deaf.start(*FOLLOW, JOURNAL__URL=f"sqlite:///{deaf.folder}/other.db")
    logged(waiting, "other.db")
    waiting.terminate()
    assert told(waiting).code == 0


def test_a_mirror_can_be_watched(deaf: Place) -> None:
    address = deaf.settings["MIRROR__LISTEN"]
    process = deaf.start(*FOLLOW, MIRROR__HEAL="hub")
    logged(process, "can be watched")
    assert fetched(address, "/livez") == (200, "ok\n")
    assert fetched(address, "/readyz") == (503, "the mirror waits for the journal\n")
    asyncio.run(deaf.prepare())
    logged(process, FOLLOWS)
    deadline = time.monotonic() + PATIENCE
    while fetched(address, "/readyz") != (200, "ok\n"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads(fetched(address, "/status")[1])["state"] == "follows"
    assert "<h2>mirror</h2>" in fetched(address, "/")[1]
    assert "syncer_mirror_diverged_pages 0.0" in fetched(address, "/metrics")[1]
    process.terminate()
    assert told(process).code == 0


def test_a_mirror_goes_on_where_its_page_cannot_be(deaf: Place) -> None:
    asyncio.run(deaf.prepare())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = told(deaf.start(*FOLLOW, "--until-idle", "0.1", MIRROR__LISTEN=f"127.0.0.1:{taken.getsockname()[1]}"))
    assert said.code == 0
    assert "nobody can watch the mirror" in said.err


def test_a_mirror_tells_the_service_manager_before_it_waits(deaf: Place) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(deaf.folder / "notify"))
        manager.settimeout(PATIENCE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOTIFY_SOCKET", str(deaf.folder / "notify"))
            process = deaf.start(*FOLLOW)
        assert manager.recv(100) == b"READY=1"
        process.terminate()
        assert manager.recv(100) == b"STOPPING=1"
    assert told(process).code == 0


def fetched(address: str, path: str) -> tuple[int, str]:
    """What a server of this machine says."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_mirror_of_another_journal_is_3(run: Run, place: Place) -> None:
    asyncio.run(place.prepare())
    assert run("mirror", "follow", "--until-idle", "0.1").code == 0
    for file in place.folder.glob("journal.db*"):
        file.unlink()
    asyncio.run(place.prepare())
    said = run("mirror", "follow", "--until-idle", "0.1")
    assert said.code == 3
    assert "hint" in said.err
