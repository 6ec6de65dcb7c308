"""The hub's Ed25519 key, in a file of its own, and what is signed with it. The key itself is never shown."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """Signs. ``public`` is the key that everybody may have, hex."""

    public: str
    _key: Ed25519PrivateKey

    def sign(self, value: bytes) -> str:
        """The signature, hex."""
        return self._key.sign(value).hex()

    @property
    def public_pem(self) -> str:
        """The public key as OpenSSL and most libraries take it."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signer(path: Path, *, create: bool = False) -> Signer:
    """Read the key, or with ``create`` make it where there is none: a PEM file that its owner alone may read.

    Raises Misconfigured where it cannot be read or made, is no such key, or everybody may read it.
    """
    try:
        if create and not path.exists():
            _make(path)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise Misconfigured(f"{path} is a secret that everybody on this machine may read", hint=f"chmod 600 {path}")
            key = load_pem_private_key(file.read(), None)
    except OSError as error:
        raise Misconfigured(
            f"the key that manifests are signed with, {path}, cannot be had: {error.strerror}",
            hint="correct manifests.key_file; syncer run makes it where it may",
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Misconfigured(f"{path} is no private key: {type(error).__name__}", hint="put the right file there") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"{path} is a key of another kind", hint="openssl genpkey -algorithm ed25519 makes one")
    return Signer(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex(), key)


def _make(path: Path) -> None:
    """Make the file whole or not at all; who comes second keeps what the first has made."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def is_signed(public: str, value: bytes, signature: str) -> bool:
    """Whether that key has signed exactly this."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), value)
    except (InvalidSignature, ValueError):
        return False
    return True
