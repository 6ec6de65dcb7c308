"""Kafka nodes on loopback: started, frozen, killed, started again. All they have is in a folder that `layout.py` made.

It holds `cluster.json` and, for each node, `<n>/{server.properties,data,node.log,pid}`. The pid file is locked by the
process that it names, so that no signal ever goes to another one that came by the same number.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from deploy.kafka.java import POM, Unavailable, java

HOST = "127.0.0.1"
START_TIMEOUT = 90.0  # seconds; 3 to 6 where nothing else runs
STOP_TIMEOUT = 10.0  # seconds until a node that was asked to stop is made to: the last of three waits in vain for the others


class Node:
    """One broker and controller. Its ports and its data stay the same over restarts."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.number = int(folder.name)
        self.address = f"{HOST}:{port}"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process that is this node; None when there is none."""
        try:
            with (self.folder / "pid").open() as pid:
                try:
                    fcntl.flock(pid, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(pid.read())
        except FileNotFoundError:
            pass
        return None

    def start(self) -> None:
        """Start the process, unless it runs; :meth:`Cluster.wait` says when it serves."""
        with (self.folder / "pid").open("a") as pid, (self.folder / "node.log").open("ab") as log:
            try:
                fcntl.flock(pid, fcntl.LOCK_EX | fcntl.LOCK_NB)  # inherited, and held as long as the process lives
            except BlockingIOError:
                return
            if self._process is not None:
                self._process.wait()  # it ended by itself
            self._process = subprocess.Popen(  # noqa: S603 - all ours
                java("kafka.Kafka", str(self.folder / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[pid.fileno()],
                start_new_session=True,  # a Ctrl-C is for whoever started it
            )
            pid.truncate(0)
            pid.write(str(self._process.pid))

    def stop(self) -> None:
        """Ask it to stop in order, and make it if that takes too long."""
        self.signal(signal.SIGTERM)
        if not self._gone():
            self.kill()

    def kill(self) -> None:
        """End it by kill -9, frozen or not."""
        self.signal(signal.SIGKILL)
        self._gone()

    def freeze(self) -> None:
        """Suspend it: connections stay open and nothing is answered, until :meth:`thaw`. Returns when every thread stands."""
        self.signal(signal.SIGSTOP)
        while (pid := self.pid) is not None and not all(map(_stands, Path(f"/proc/{pid}/task").iterdir())):
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal, if there is a process to get it."""
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def serving(self) -> set[int]:
        """The numbers of the nodes that this one knows to be serving; none while it does not answer."""
        # A Metadata request, version 1, about no topics: key, version, correlation id, no client name, length of the list.
        request = struct.pack("!hhihi", 3, 1, 0, -1, 0)
        numbers = set()
        try:
            with socket.create_connection((HOST, self._port), 2) as connection, connection.makefile("rb") as answer:
                connection.sendall(struct.pack("!i", len(request)) + request)
                _size, _correlation, count = struct.unpack("!iii", answer.read(12))
                for _ in range(count):
                    number, length = struct.unpack("!ih", answer.read(6))
                    answer.read(length + 4 + 2)  # host, port, no rack
                    numbers.add(number)
        except (OSError, struct.error):
            return set()
        return numbers

    def log(self) -> str:
        """What it said last."""
        return "\n".join((self.folder / "node.log").read_text(errors="replace").splitlines()[-20:])

    def _gone(self) -> bool:
        """Whether it has ended, soon enough."""
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        if self._process is not None:
            self._process.wait()
        return True


def _stands(thread: Path) -> bool:
    """Whether a thread is suspended."""
    try:
        return (thread / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except FileNotFoundError:
        return True


class Cluster:
    """The nodes in a folder.

    As a context manager it runs within the block, and ends with this process however that ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        try:
            made = json.loads((self.folder / "cluster.json").read_text())
        except FileNotFoundError:
            raise Unavailable(f"There is no cluster in {folder}.") from None
        self.nodes = [Node(self.folder / str(number), ports[0]) for number, ports in enumerate(made["ports"], 1)]
        self.bootstrap = ",".join(node.address for node in self.nodes)
        self.users: dict[str, str] = made["users"]  # name to password; none without security
        self.secure_bootstrap = ",".join(f"{HOST}:{ports[2]}" for ports in made["ports"] if self.users)
        self.ca = self.folder / "ca.pem"
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the nodes, and a process that kills them when its standard input ends, which it does with this process."""
        self._guard = subprocess.Popen(  # noqa: S603 - all ours
            [sys.executable, "-m", "deploy.kafka", "guard", str(self.folder)],
            cwd=POM.parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the nodes."""
        self.kill()
        if self._guard is not None:
            self._guard.communicate()

    def start(self) -> None:
        """Start the nodes that do not run, and wait for them."""
        for node in self.nodes:
            node.start()
        self.wait()

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Until every node that runs serves, and knows that the others do."""
        deadline = time.monotonic() + timeout
        running = [node for node in self.nodes if node.pid is not None] or self.nodes
        numbers = {node.number for node in running}
        for node in running:
            while not numbers <= node.serving():
                if node.pid is None:
                    raise Unavailable(f"Node {node.number} of {self.folder} ended; at last it said:\n{node.log()}")
                if time.monotonic() > deadline:
                    raise Unavailable(f"Node {node.number} of {self.folder} does not serve; at last it said:\n{node.log()}")
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop every node in order; the data stays."""
        for node in self.nodes:
            node.signal(signal.SIGTERM)  # all at once
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """End every node by kill -9; the data stays as it was at that moment."""
        for node in self.nodes:
            node.kill()
