"""Small dumps, in the form of MediaWiki 1.39's own (schema 0.11)."""

from __future__ import annotations

import hashlib
import string
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

DIGITS = string.digits + string.ascii_lowercase
SPACES = {0: "", 1: "Talk", 2: "User", 10: "Template"}


def base36(text: bytes) -> str:
    """A hash as dumps have it: 31 digits."""
    number, digits = int.from_bytes(hashlib.sha1(text, usedforsecurity=False).digest()), ""
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return digits.rjust(31, "0")


def dump(*pages: str, wiki: str = "testwiki", domain: str = "test.wikipedia.org") -> bytes:
    """A dump of these pages."""
    return b"".join(head_and_tail(wiki, domain, pages))


def head_and_tail(wiki: str, domain: str, pages: Iterable[str]) -> Iterable[bytes]:
    spaces = "".join(f'<namespace key="{key}" case="first-letter">{name}</namespace>' for key, name in SPACES.items())
    yield (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">\n  <siteinfo>\n'
        f"    <sitename>Test</sitename>\n    <dbname>{wiki}</dbname>\n    <base>https://{domain}/wiki/Main_Page</base>\n"
        "    <generator>MediaWiki 1.39.13</generator>\n    <case>first-letter</case>\n"
        f"    <namespaces>{spaces}</namespaces>\n  </siteinfo>\n"
    ).encode()
    for page in pages:
        yield page.encode()
    yield b"</mediawiki>\n"


def page(
    page_id: int,
    title: str,
    text: str | None,
    rev_id: int,
    *,
    namespace: int = 0,
    redirect: str = "",
    parts: str = "<contributor><username>Ada</username><id>5</id></contributor><comment>a comment</comment>",
    model: str = "wikitext",
    timestamp: str = "2026-11-02T09:00:00Z",
    stored: bytes | None = None,
    sha1: str | None = None,
) -> str:
    """A page with its current revision; None where that is hidden. ``stored``: what the wiki has, and XML cannot say."""
    there = stored if stored is not None else (text or "").encode()
    digest = base36(there) if sha1 is None else sha1
    if text is None:
        content = f'<text bytes="{len(there)}" deleted="deleted" /><sha1/>'
    else:
        attributes = f'bytes="{len(there)}" sha1="{digest}" xml:space="preserve"' if digest else f'bytes="{len(there)}"'
        content = f"<text {attributes}>{escape(text)}</text><sha1>{digest}</sha1>"
    to = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{namespace}</ns>\n    <id>{page_id}</id>\n{to}"
        f"    <revision><id>{rev_id}</id><parentid>{rev_id - 1}</parentid><timestamp>{timestamp}</timestamp>{parts}"
        f"<origin>{rev_id}</origin><model>{model}</model><format>text/x-wiki</format>{content}</revision>\n  </page>\n"
    )
