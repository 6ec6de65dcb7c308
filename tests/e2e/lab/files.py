"""Files that are given to a wiki: an export to import, a picture to upload."""

from __future__ import annotations

import html
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def export(title: str, texts: Mapping[str, str]) -> bytes:
    """An export of one page in MediaWiki's XML: its texts, each with the time it was saved at."""
    revisions = "".join(
        f"<revision><id>{n}</id><timestamp>{timestamp}</timestamp>"
        f"<contributor><username>Old{n}</username><id>{n}</id></contributor><comment>c{n}</comment>"
        f'<model>wikitext</model><format>text/x-wiki</format><text xml:space="preserve">{html.escape(text)}</text></revision>'
        for n, (timestamp, text) in enumerate(texts.items(), 1)
    )
    page = f"<page><title>{html.escape(title)}</title><ns>0</ns><id>1</id>{revisions}</page>"
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">'
    return f"{head}{page}</mediawiki>".encode()


def png(grey: int) -> bytes:
    """The smallest picture there is: one pixel, of one of 256 greys."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes([0, grey]))) + chunk(b"IEND", b"")
