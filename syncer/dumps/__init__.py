"""A MediaWiki XML dump, read as it streams by: one page at a time, whatever the length of the file. The one reader of dumps.

Facts of the format: a title has its prefix, and spaces; a hash is base 36; what is hidden has ``deleted="deleted"`` and is not
there; an empty element stands for an empty text; a parser turns CRLF into LF, so old texts come back with the wrong line ends.
"""

from __future__ import annotations

import lzma
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from syncer.dumps.files import PACKED, opened
from syncer.errors import Misconfigured
from syncer.extras import missing
from syncer.model import Visibility

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from syncer.dumps.files import Reading

__all__ = ["BROKEN", "PACKED", "Current", "Dump", "Page", "Revision", "Site", "current", "dumped", "opened", "parse", "site"]

# What is raised by a parser, or by a decompressor, whose input is not what it should be.
BROKEN = (ValueError, SyntaxError, EOFError, lzma.LZMAError, AssertionError, AttributeError, TypeError)
MOST = 256 * 1024 * 1024  # bytes of XML of one revision: a page has 2 MiB, a record 16, and escapes up to 6 times as many
DATE = re.compile(r"(?<!\d)(20\d\d)-?([01]\d)-?([0-3]\d)(?!\d)")  # in a name, as enwiki-20261101-pages-articles.xml.bz2


class Revision(NamedTuple):
    """A revision as it is dumped; ids that are not told are 0. ``text`` is None where it is hidden, ``sha1`` (hex, of the main
    slot) where there is none.
    """

    rev_id: int
    parent_id: int
    timestamp: str | None
    user: str | None
    comment: str | None
    minor: bool
    model: str
    text: str | None
    sha1: str | None
    size: int | None
    visibility: Visibility


class Page(NamedTuple):
    """A page as it is dumped. ``revisions`` has to be read before the next page."""

    page_id: int
    title: str
    namespace: int
    is_redirect: bool
    revisions: Iterator[Revision]


@dataclass(frozen=True, slots=True)
class Site:
    """What a dump says of its wiki; ``main_page`` is the address of that."""

    wiki_id: str | None
    main_page: str

    @property
    def domain(self) -> str | None:
        """The wiki's host."""
        return urlsplit(self.main_page).hostname

    def permalink(self, title: str, rev_id: int) -> str:
        """The address of a revision, formed as that of the main page is."""
        before = self.main_page[: max(map(self.main_page.rfind, "/=")) + 1]
        return f"{before}{quote(title.replace(' ', '_'), safe='/:')}{'&' if '?' in before else '?'}oldid={rev_id}"


class Current(NamedTuple):
    """A page with its current revision, None where it has none, and the place in the file (0 where another program reads it)."""

    site: Site
    page: Page
    revision: Revision | None
    at: int


class Dump(NamedTuple):
    """A dump that is read."""

    site: Site
    pages: Iterator[Page]


def dumped(path: Path) -> str | None:
    """The day at whose beginning a dump was not begun yet, ISO, as its name says; None where that says none."""
    found = DATE.search(path.name)
    return f"{found[1]}-{found[2]}-{found[3]}" if found else None


@contextmanager
def _reading(path: Path) -> Iterator[tuple[Dump, Reading]]:
    """A dump, and the file that it is in. Raises Misconfigured, with its name, for all that is wrong with it."""
    try:
        with opened(path) as file:
            yield parse(file), file
    except (OSError, *BROKEN) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Misconfigured(
            f"{path} is no MediaWiki dump that can be read, or not to its end: {why}",
            hint="compare its size and checksum with those where it was downloaded from, and download it again",
        ) from error


def site(path: Path) -> Site:
    """What a dump says of its wiki. Raises Misconfigured where it cannot be read."""
    with _reading(path) as (dump, _):
        return dump.site


def current(path: Path, *, skip: int = 0) -> Iterator[Current]:
    """Every page of a dump of current revisions, after the first so many. Raises Misconfigured from where it cannot be read on,
    and where it is a dump of histories: of those nothing says which revision is the current one.
    """
    with _reading(path) as (dump, file):
        for number, page in enumerate(dump.pages):
            if number < skip:
                continue
            revision = next(page.revisions, None)
            yield Current(dump.site, page, revision, file.at)
            if next(page.revisions, None):
                raise Misconfigured(
                    f"{path} is a dump of histories: {page.title} has more than one revision",
                    hint="take pages-articles or pages-meta-current",
                )


def parse(file: Reading) -> Dump:
    """Read the head of a dump, and its pages as they are asked for. Raises one of BROKEN, or OSError, also while they are."""
    try:
        import mwxml  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
        from mwxml.element_iterator import ElementIterator  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise missing("dumps", error) from error
    bounded = _Bounded(file)
    root = ElementIterator.from_file(bounded)
    if root.tag != "mediawiki":
        raise ValueError(f"its first element is <{root.tag}>, not <mediawiki>")
    (found,) = _formed(map(mwxml.Dump.from_element, [root]))
    site = Site(found.site_info.dbname, found.site_info.base or "")
    prefixes = {space.id: space.name for space in found.site_info.namespaces or () if space.name}
    return Dump(site, _pages(found, root, bounded, prefixes))


def _pages(found: Any, root: Any, bounded: _Bounded, prefixes: dict[int, str]) -> Iterator[Page]:
    for page in _formed(found):
        prefix, title = prefixes.get(page.namespace), page.title
        if prefix and not title.startswith(f"{prefix}:"):
            title = f"{prefix}:{title}"  # old dumps do not say the namespace, and the parser has cut it off
        yield Page(page.id or 0, title, page.namespace or 0, page.redirect is not None, _revisions(page, bounded))
        root.element.clear()  # the parser keeps an empty element for every page that was
        bounded.start()


def _revisions(page: Any, bounded: _Bounded) -> Iterator[Revision]:
    for revision in _formed(page):
        deleted, hidden = revision.deleted, revision.deleted.text
        yield Revision(
            rev_id=revision.id or 0,
            parent_id=revision.parent_id or 0,
            timestamp=revision.timestamp and str(revision.timestamp),
            user=revision.user and revision.user.text,
            comment=revision.comment,
            minor=bool(revision.minor),
            model=revision.model or "wikitext",
            text=None if hidden else revision.text or "",
            sha1=None if hidden else _hex(revision.sha1),
            size=revision.bytes,
            visibility=Visibility(not hidden, not deleted.user, not deleted.comment),
        )
        bounded.start()


def _formed(elements: Iterable[Any]) -> Iterator[Any]:
    """What the parser makes of elements; ValueError where they are not those that a dump has."""
    from mwxml.errors import MalformedXML  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra

    try:
        yield from elements
    except MalformedXML as error:
        raise ValueError(str(error)) from error


def _hex(sha1: str | None) -> str | None:
    """A hash in the API's form; None where there is none that could be one."""
    try:
        return f"{int(sha1, 36):040x}" if sha1 else None
    except ValueError:
        return None


class _Bounded:
    """A file of which not more than MOST is read for one thing: what never ends would else be kept in memory."""

    def __init__(self, file: Reading) -> None:
        self._file, self._left = file, MOST

    def start(self) -> None:
        """The next thing begins."""
        self._left = MOST

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"more than {MOST} bytes without an end of a revision")
        return data
