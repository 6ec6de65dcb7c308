"""Beginning a mirror with dumps, so that it has to follow only from before their date.

    dumps ──► head: which wiki ──► where the journal was at that time: noted, before the first page
      └─────► pages, proven by hash ──► the store, and how many of the file are in, in one transaction

All that a wiki did after a dump was begun is in the journal from there on, and what it says of a page counts, whatever the dump
said; how the two meet is told in :mod:`syncer.store.seeds`. A text that has not the announced hash is not kept, and its page
stands diverged; a page that cannot be kept at all is set aside with a reason, and counted.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from syncer import dumps
from syncer.errors import Misconfigured, Unusable
from syncer.faultpoints import at
from syncer.mirror.beginning import since
from syncer.model import MAX_ID, Attribution, Cause, Kind, Mutation, PageFacts, RevisionFacts, Source
from syncer.store.chain import AS_DUMPED, sha1
from syncer.wire import MAX_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from syncer.config import MirrorSettings
    from syncer.dumps import Current
    from syncer.journal import Journal
    from syncer.store import Store

log = structlog.get_logger()

NOTE = "bootstrap"  # the store's note of where it is to follow from, and whether every dump is in
PAGES_AT_ONCE, BYTES_AT_ONCE = 500, 4 * 1024 * 1024  # of a transaction; either ends it
WRONG_HASH = "hash of dump"  # why a text is not kept
NAMED = 20  # pages set aside that are named in the log
ANEW = "move mirror.path away, and bootstrap a new mirror with all that it is to begin with"


@dataclass(frozen=True, slots=True)
class Dumped:
    """A dump that is to be read: of which wiki, and a time at which it was not begun yet, in seconds since the epoch."""

    path: Path
    wiki_id: str
    domain: str
    began: float


@dataclass(slots=True)
class Tally:
    """What came of the pages of a dump that were ``read``, each of them one of these; ``done``: those are all."""

    size: int
    read: int = 0
    taken: int = 0
    diverged: int = 0  # taken too, without their texts
    known: int = 0
    left_alone: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    namespaces: Counter[str] = field(default_factory=Counter)  # of those taken
    done: bool = False


def head(path: Path, date: str | None = None) -> Dumped:
    """What there is to know of a dump before it is read; ``date`` is when it was begun, where its name does not say that."""
    day = date or dumps.dumped(path)
    try:
        began = datetime.fromisoformat(day) if day else None
    except ValueError as error:
        raise Misconfigured(f"{path}: {day} is no date", hint="--date 2026-11-01, or with a time and zone") from error
    if began is None:
        raise Misconfigured(f"{path} does not say when it was begun", hint="--date 2026-11-01: that day, or one before")
    began = began if began.tzinfo else began.replace(tzinfo=UTC)
    if began > datetime.now(UTC):
        raise Misconfigured(f"{path} cannot have been begun at {day}: that is yet to come")
    return Dumped(path, *origin(path), began.timestamp())


def origin(path: Path) -> tuple[str, str]:
    """The wiki that a dump is of: its id and its domain. Raises Misconfigured where it does not say that."""
    site = dumps.site(path)
    if not site.wiki_id or not site.domain:
        raise Misconfigured(f"{path} does not say of which wiki it is", hint="a dump has <dbname> and <base> in its <siteinfo>")
    return site.wiki_id, site.domain


def check_bootstrapped(store: Store) -> None:
    """Raise Misconfigured where a mirror was begun with dumps, or the topic of pages, that are not read to their end."""
    note = orjson.loads(store.meta(NOTE) or '{"done": true}')
    if not note["done"]:
        what, how = ("pages of the hub", "--from-pages") if "pages" in note else ("dumps", "the same dumps")
        raise Misconfigured(
            f"the {what} that this mirror begins with are not all read",
            hint=f"run syncer mirror bootstrap again, with {how}: it goes on where it stopped",
        )


class Bootstrap:
    """Fills a new mirror with dumps: ``begin`` once, ``fill`` with each, ``finish``. Killed, it is run again from the start."""

    def __init__(self, store: Store, settings: MirrorSettings) -> None:
        self._store, self._settings = store, settings

    async def begin(self, journal: Journal, found: Sequence[Dumped]) -> dict[int, int]:
        """Note where every partition is to be followed from. Raises Misconfigured where that cannot become a whole mirror."""
        note = orjson.loads(self._store.meta(NOTE) or "null")
        self._check(note, found)
        if note:
            self._store.bind(journal.identity)
        before = {int(partition): offset for partition, offset in note["starts"].items()} if note else {}
        oldest = {one.wiki_id: one.began for one in sorted(found, key=lambda one: -one.began)}
        starts = await since(journal, oldest)
        starts = {partition: min(offset, before.get(partition, offset)) for partition, offset in starts.items()}
        with self._store.folding():
            self._store.remember("journal", journal.identity)
            for partition, offset in starts.items():
                self._store.advance(partition, offset)
            self._remember(starts, done=False)
        return starts

    def _check(self, note: Any, found: Sequence[Dumped]) -> None:
        for one in found:
            if not any(fnmatch.fnmatchcase(one.wiki_id, pattern) for pattern in self._settings.wikis):
                raise Misconfigured(f"{one.path} is of {one.wiki_id}, which mirror.wikis does not take", hint="add it there")
        if note and "pages" in note:
            raise Misconfigured("this mirror begins with the pages of the hub", hint=ANEW)
        if note is None and self._store.meta("journal") is not None:
            raise Misconfigured("this mirror follows already: what a dump says would be older than what it has", hint=ANEW)
        if note and any(self._store.offset(int(partition)) != offset for partition, offset in note["starts"].items()):
            raise Misconfigured("this mirror was begun with dumps and follows already: it can take no more of them", hint=ANEW)

    def _remember(self, starts: dict[int, int], *, done: bool) -> None:
        note = {"starts": {str(partition): offset for partition, offset in starts.items()}, "done": done}
        self._store.remember(NOTE, orjson.dumps(note).decode())

    def finish(self, starts: dict[int, int]) -> None:
        """Every dump is in."""
        self._remember(starts, done=True)

    def fill(self, dumped: Dumped) -> Iterator[tuple[Tally, int]]:
        """Take the pages of a dump in; after each transaction, what came of them so far, and the place in the file.

        What is in already, from a run before, is only passed over. Raises Misconfigured at the place from which on the file
        cannot be read; what is before that stays.
        """
        tally = self._resumed(dumped)
        if tally.done:
            yield tally, tally.size
            return
        portion: list[Current] = []
        size = 0
        for current in dumps.current(dumped.path, skip=tally.read):
            portion.append(current)
            size += len(current.revision.text or "") if current.revision else 0
            if len(portion) >= PAGES_AT_ONCE or size >= BYTES_AT_ONCE:
                self._commit(dumped, tally, portion)
                yield tally, current.at
                portion, size = [], 0
        tally.done = True
        self._commit(dumped, tally, portion)
        yield tally, tally.size

    def _resumed(self, dumped: Dumped) -> Tally:
        """What a run before has done with this very file."""
        size = dumped.path.stat().st_size
        known = orjson.loads(self._store.meta(f"dump {dumped.path.absolute()}") or "null")
        if known is None or known["size"] != size:  # another file of that name is read from its start, and changes nothing twice
            return Tally(size)
        return Tally(**known | {name: Counter(known[name]) for name in ("set_aside", "namespaces")})

    def _commit(self, dumped: Dumped, tally: Tally, portion: Sequence[Current]) -> None:
        with self._store.folding():
            for current in portion:
                tally.read += 1
                try:
                    self._take(dumped, tally, current)
                except Unusable as error:
                    tally.set_aside[error.reason] += 1
                    if tally.set_aside.total() <= NAMED:
                        log.warning(
                            "a page of a dump is set aside", page=current.page.title, why=str(error), dump=str(dumped.path)
                        )
            self._store.remember(f"dump {dumped.path.absolute()}", orjson.dumps(tally).decode())
            at("bootstrap-folded")
        at("bootstrap-committed")

    def _take(self, dumped: Dumped, tally: Tally, current: Current) -> None:
        wanted = self._settings.namespaces
        if "*" not in wanted and current.page.namespace not in wanted:
            tally.left_alone += 1
            return
        page = _snapshot(dumped, current)
        seen = page.revision is not None and page.revision.visibility.text
        flaw = WRONG_HASH if seen and page.text is None else None
        if not self._store.seed(page, flaw):
            tally.known += 1
            return
        tally.taken += 1
        tally.namespaces[str(current.page.namespace)] += 1
        tally.diverged += flaw is not None


def _snapshot(dumped: Dumped, current: Current) -> Mutation:
    """A page as its mirror would have it from a mutation. Raises Unusable where it could not be one."""
    page, revision = current.page, current.revision
    if revision is None:
        raise Unusable("no_revision", "it has no revision")
    if not (0 < page.page_id <= MAX_ID and 0 < revision.rev_id <= MAX_ID):
        raise Unusable("bad_id", f"page {page.page_id}, revision {revision.rev_id}: these are no ids")
    if not page.title or revision.timestamp is None:
        raise Unusable("no_facts", f"page {page.page_id} has no title, or no timestamp")
    text = None
    if revision.visibility.text:
        if revision.sha1 is None:
            raise Unusable("no_hash", "nothing says what its text has to be: the dump is from before 2012, or not MediaWiki's")
        text = _proven((revision.text or "").encode(), revision.sha1)
        if len(text or b"") > MAX_RECORD:
            raise Unusable("too_large", f"its text has {len(text or b'')} bytes, at most {MAX_RECORD} fit into a record")
    facts = RevisionFacts(
        rev_id=revision.rev_id,
        rev_parent_id=revision.parent_id,
        timestamp=revision.timestamp,
        size=(revision.size or 0) if text is None else len(text),
        sha1=revision.sha1,
        content_model=revision.model,
        minor=revision.minor,
        bot=False,  # a dump does not say
        tags=(),
        visibility=revision.visibility,
    )
    return Mutation(
        seq=AS_DUMPED,
        kind=Kind.SNAPSHOT,
        cause=Cause.IMPORT,
        wiki_id=dumped.wiki_id,
        domain=dumped.domain,
        page=PageFacts(page.page_id, page.title, page.namespace, page.is_redirect),
        source=Source("dump", dumped.path.name, revision.timestamp, revision.timestamp),
        published_at=revision.timestamp,
        revision=facts,
        text=text,
        gap=True,
        attribution=Attribution(None, current.site.permalink(page.title, revision.rev_id), revision.user, revision.comment),
    )


def _proven(text: bytes, announced: str) -> bytes | None:
    """The text that has the announced hash: as it was read, or with the line ends that the parser has taken from it."""
    if sha1(text) == announced:
        return text
    windows = text.replace(b"\n", b"\r\n")
    return windows if sha1(windows) == announced else None
