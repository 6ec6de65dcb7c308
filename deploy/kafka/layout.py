"""What a cluster has in its folder before it is first started: ports, settings, formatted data, users, certificates."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.kafka.java import java, need, run
from deploy.kafka.nodes import HOST, Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

# Below where systems take the port of an outgoing connection from: else a client that keeps calling a node that is down one day
# gets that port for its own end, is connected to itself, and the node cannot have it back.
PORTS = range(20_000, 32_000)
ADMIN, USERS = "admin", ("admin", "hub", "partner")
CERTIFICATE = """[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[x]
{extensions}
"""


def make(folder: Path, nodes: int = 1, *, security: bool = False, settings: Mapping[str, str] | None = None) -> Cluster:
    """Prepare nodes that were never started. ``settings`` are added to the properties of each.

    With ``security`` there is a second listener, with SASL_SSL and SCRAM-SHA-512, for which ACLs hold: `admin` may do everything,
    the other users nothing yet. On the first listener everybody may do everything still.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    ports = _free_ports(nodes)
    controllers = [f"{HOST}:{controller}" for _, controller, _ in ports]
    users = {name: secrets.token_urlsafe(12) for name in USERS if security}
    quorum = ",".join(f"{number}@{address}:{_uuid()}" for number, address in enumerate(controllers, 1))
    options = ["--cluster-id", _uuid(), "--initial-controllers", quorum]
    for name, password in users.items():
        options += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
    if security:
        _certify(folder)
    for number, own in enumerate(ports, 1):
        node = folder / str(number)
        shutil.rmtree(node, ignore_errors=True)  # what an interrupted one left
        node.mkdir()
        properties = _properties(node, own, ",".join(controllers))
        properties |= _security(folder, own) if security else {}
        properties |= settings or {}
        (node / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        run(java("kafka.tools.StorageTool", "format", *options, "--config", str(node / "server.properties")))
    _write_secret(folder / "cluster.new", json.dumps({"ports": ports, "users": users}))
    (folder / "cluster.new").rename(folder / "cluster.json")
    return Cluster(folder)


def _properties(node: Path, ports: tuple[int, int, int], controllers: str) -> dict[str, str]:
    client, controller, _secure = ports
    copies, in_sync = ("3", "2") if "," in controllers else ("1", "1")
    return {
        "process.roles": "broker,controller",
        "node.id": node.name,
        "log.dirs": f"{node}/data",
        "controller.quorum.bootstrap.servers": controllers,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CONTROLLER://{HOST}:{controller},PLAINTEXT://{HOST}:{client}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL",
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        # For small machines and impatient tests. By default: 50 partitions; 128 MB of heap; a look every 10 s; and a node that
        # was killed waits 9 s until its former self is given up.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "log.cleaner.dedupe.buffer.size": str(16 << 20),
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "1000",
    }


def _security(folder: Path, ports: tuple[int, int, int]) -> dict[str, str]:
    client, controller, secure = ports
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "listeners": f"CONTROLLER://{HOST}:{controller},PLAINTEXT://{HOST}:{client},SASL_SSL://{HOST}:{secure}",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": f"{folder}/node.pem",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN};User:ANONYMOUS",  # the latter comes without a name: over the first listener, and the nodes
    }


def _certify(folder: Path) -> None:
    """Make an authority that nobody else trusts (`ca.pem`), and the key and certificate that the nodes show (`node.pem`)."""
    need("openssl")
    of_authority = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash"
    of_node = f"keyUsage=critical,digitalSignature\nsubjectAltName=IP:{HOST},DNS:localhost\nauthorityKeyIdentifier=keyid"
    with tempfile.TemporaryDirectory() as work:
        authority, node = Path(work, "authority"), Path(work, "node")
        authority.write_text(CERTIFICATE.format(name="throwaway", extensions=of_authority))
        node.write_text(CERTIFICATE.format(name="kafka", extensions=of_node))
        key = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365"]
        own = ["-config", str(authority), "-keyout", f"{work}/ca.key", "-out", f"{folder}/ca.pem"]
        run([*key, "-extensions", "x", *own])
        signed = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{work}/ca.key", "-keyout", f"{work}/key", "-out", f"{work}/certificate"]
        run([*key, "-extensions", "x", "-config", str(node), *signed])
        _write_secret(folder / "node.pem", Path(work, "key").read_text() + Path(work, "certificate").read_text())


def _write_secret(path: Path, text: str) -> None:
    """Write what nobody else may read."""
    path.touch(mode=0o600)
    path.write_text(text)


def _free_ports(nodes: int) -> list[tuple[int, int, int]]:
    """Ports that nobody has at the moment; for each node those of clients, of controllers, and of secure clients."""
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            free.append(port)
        if len(free) == 3 * nodes:
            break
    return [(free.pop(), free.pop(), free.pop()) for _ in range(nodes)]


def _uuid() -> str:
    """A name of the kind that Kafka gives to clusters and folders, which never begins like an option."""
    return base64.urlsafe_b64encode(b"K" + secrets.token_bytes(15)).decode().rstrip("=")
