"""Applies patches as a partner would; the function is the one that docs/patches.md shows."""

import sys
from base64 import b64decode, b64encode


def apply(base: bytes, ops: list[tuple[int, int, str]]) -> bytes:
    parts: list[bytes] = []
    done = 0
    for offset, delete, insert in ops:
        parts += base[done:offset], insert.encode()
        done = offset + delete
    return b"".join([*parts, base[done:]])


# A line each: the base in base 64, then offset, delete and insert (base 64) of each operation; out comes the result in base 64.
for line in sys.stdin:
    base, *fields = line.rstrip("\n").split("\t")
    ops = [
        (int(offset), int(delete), b64decode(insert).decode())
        for offset, delete, insert in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
    ]
    print(b64encode(apply(b64decode(base), ops)).decode())
