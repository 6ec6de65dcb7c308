"""A real Kafka that lets nobody in unasked: SASL_SSL with SCRAM, certificates, ACLs."""

from __future__ import annotations

import argparse
import asyncio
import re
import shlex
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from deploy.kafka.layout import make
from deploy.kafka.nodes import HOST
from syncer.config import JournalSettings, KafkaSettings
from syncer.journal.kafka.rights import Users, commands, rights
from syncer.provision import apply
from tests.command import Place, free_port, told
from tests.kafka import Kafka, fresh
from tests.partners import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from deploy.kafka.nodes import Cluster
    from tests.command import Said

PARTITIONS = 2
SCRAM = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
SOON = 30.0  # seconds: far less than for ever, and enough for a process to start on a busy machine
MORE = ("operator", "stranger")  # users beside those that every cluster has
NOBODY = "nobody"  # has no password at all


@dataclass
class Secure:
    """A cluster that lets nobody do anything, and who there is.

    ``certified`` is the address for clients that show a certificate, ``certificate`` the only one that is known there.
    """

    cluster: Cluster
    certified: str
    certificate: str
    passwords: dict[str, str]
    admin: AdminClient
    journal: JournalSettings

    @property
    def key(self) -> str:
        """The certificate's."""
        return self.certificate.replace(".pem", ".key")

    def settings(self, user: str, journal: JournalSettings) -> JournalSettings:
        """A journal, as this user reaches it."""
        access = {
            "security_protocol": "SASL_SSL", "username": user, "password": self.passwords.get(user, "guessed"),
            "ca_file": str(self.cluster.ca),
        }  # fmt: skip
        url = f"kafka://{self.cluster.secure_bootstrap}"
        return journal.model_copy(update={"url": url, "kafka": KafkaSettings.model_validate(access)})

    def place(self, folder: Path, user: str, **more: str) -> Place:
        """Where this user's commands run."""
        kafka = {
            "SECURITY_PROTOCOL": "SASL_SSL", "USERNAME": user, "PASSWORD": self.passwords.get(user, "guessed"),
            "CA_FILE": str(self.cluster.ca),
        }  # fmt: skip
        settings = {f"JOURNAL__KAFKA__{name}": value for name, value in kafka.items()}
        settings |= {"JOURNAL__URL": f"kafka://{self.cluster.secure_bootstrap}"}
        settings |= {"JOURNAL__PREFIX": self.journal.prefix, "JOURNAL__PARTITIONS": str(PARTITIONS)}
        return Place(folder, settings | more)

    def client(self, user: str, *, java: bool = False) -> dict[str, str]:
        """How a partner's client is let in, as docs/kafka.md has it."""
        changes = {"=partner\n": f"={user}\n"} if not java else {'"partner"': f'"{user}"'}
        address = {"kafka.example.org:9093": self.cluster.secure_bootstrap}
        return self._shown(int(java), {**address, **changes, "SECRET": self.passwords[user]})

    def certified_client(self) -> dict[str, str]:
        """The same with a certificate."""
        files = {"=partner.pem": f"={self.certificate}", "=partner.key": f"={self.key}"}
        return self._shown(2, {"kafka.example.org:9094": self.certified, **files})

    def _shown(self, number: int, changes: Mapping[str, str]) -> dict[str, str]:
        text = blocks("kafka.md")["properties"][number]
        for shown, real in {"=ca.pem": f"={self.cluster.ca}", **changes}.items():
            assert shown in text
            text = text.replace(shown, real)
        return dict(line.split("=", 1) for line in text.splitlines())

    async def remove(self, topic: str) -> None:
        """Delete a topic, if it is there, until it is forgotten."""
        async with Kafka(self.cluster.bootstrap).admin() as admin:
            await admin.delete_topics([topic])
            while not (await admin.describe_topics([topic]))[0]["error_code"]:
                pass

    def grant(self, acls: Sequence[AclBinding]) -> None:
        for done in self.admin.create_acls(list(acls)).values():
            done.result()

    def revoke(self, acls: Sequence[AclBinding]) -> None:
        filters = [
            AclBindingFilter(
                acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation, acl.permission_type
            )
            for acl in acls
        ]
        for done in self.admin.delete_acls(filters).values():
            assert len(done.result()) == 1


def acls(command: str) -> Iterator[AclBinding]:
    """What a line for Kafka's own tool grants, one by one."""
    tool, *words = shlex.split(command)
    assert tool == "kafka-acls.sh"
    parser = argparse.ArgumentParser(exit_on_error=False)
    for option in ("--bootstrap-server", "--command-config", "--allow-principal"):
        parser.add_argument(option, required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--resource-pattern-type", choices=["prefixed", "literal"], default="literal")
    for option in ("--operation", "--topic", "--transactional-id", "--group"):
        parser.add_argument(option, action="append", default=[])
    told = parser.parse_args(words)
    pattern = ResourcePatternType[told.resource_pattern_type.upper()]
    for resource in ("topic", "transactional_id", "group"):
        for name in getattr(told, resource):
            for operation in told.operation:
                word = AclOperation[re.sub(r"(?<!^)(?=[A-Z])", "_", operation).upper()]
                kind = ResourceType[resource.upper()]
                yield AclBinding(kind, name, pattern, told.allow_principal, "*", word, AclPermissionType.ALLOW)


@contextmanager
def started(folder: Path) -> Iterator[Secure]:
    """One node, three listeners: for anybody, with passwords, with certificates. The topics of a journal are there."""
    cluster = make(folder / "kafka", security=True)
    port = free_port()
    properties = cluster.nodes[0].folder / "server.properties"
    lines = dict(line.split("=", 1) for line in properties.read_text().splitlines())
    lines["listeners"] += f",SSL://{HOST}:{port}"
    lines["listener.security.protocol.map"] += ",SSL:SSL"
    known = certificate(folder, "partner")
    lines |= {"listener.name.ssl.ssl.client.auth": "required"}
    lines |= {
        "listener.name.ssl.ssl.truststore.type": "PEM",
        "listener.name.ssl.ssl.truststore.location": known,
    }
    properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    with cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        passwords = cluster.users | {name: fresh("secret") for name in MORE}
        added: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(name, SCRAM, passwords[name].encode()) for name in MORE
        ]
        for done in admin.alter_user_scram_credentials(added).values():
            done.result()
        journal = JournalSettings(url=f"kafka://{cluster.bootstrap}", prefix=fresh("j"), partitions=PARTITIONS)
        asyncio.run(apply(journal, pages=True))
        yield Secure(cluster, f"{HOST}:{port}", known, passwords, admin, journal)


def certificate(folder: Path, name: str) -> str:
    """A certificate that vouches for itself, with its key beside it; its path."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run([*command, "-subj", f"/CN={name}", "-out", pem, "-keyout", key], check=True, capture_output=True)
    return str(pem)


def of(user: str, journal: JournalSettings) -> list[AclBinding]:
    """What `topics plan` prints for a user."""
    lines = commands(journal, rights(journal, Users(), pages=True))
    return [acl for line in lines for acl in acls(line) if acl.principal == f"User:{user}"]


def said(place: Place, *arguments: str, **more: str) -> Said:
    """What a command says, which ends soon."""
    begun = time.monotonic()
    try:
        came = told(place.start(*arguments, **more))
    finally:
        place.clean_up()
    assert time.monotonic() - begun < SOON
    return came
