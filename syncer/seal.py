"""Making sure that what is erased is gone from the file.

SQLite overwrites what it deletes (``secure_delete``), but not the copies that are left behind in its pages whenever it moves
rows between them. So what may have to be erased is written under a key of its own, used once and kept where rows never move;
to erase is to overwrite the key, and a copy left behind is noise. This is no encryption of the store: the keys lie in it.
"""

from __future__ import annotations

import hashlib
import os

from syncer.sqlite import PAGE

KEY = 16  # bytes
NO_KEY = bytes(KEY)
MOVABLE = PAGE  # what a row is moved with is less; the rest of it is on pages of its own, which are overwritten when freed


def seal(data: bytes) -> tuple[bytes, bytes]:
    """A new key, and the data under it."""
    key = os.urandom(KEY)
    return key, unseal(key, data)


def unseal(key: bytes, data: bytes) -> bytes:
    """The data that was sealed with this key."""
    head = data[:MOVABLE]
    noise = hashlib.shake_128(key).digest(len(head))
    return (int.from_bytes(head, "little") ^ int.from_bytes(noise, "little")).to_bytes(len(head), "little") + data[MOVABLE:]
