"""Real page histories as edits of the farm: the lines described in DATA.md, or a MediaWiki XML export."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import orjson

from syncer import dumps
from syncer.demo.actions import Done
from syncer.demo.events import FORMATS
from syncer.demo.sites import Site
from syncer.demo.state import TEXT, By, User, WikiRefuses
from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import UnionType

    from syncer.demo.farm import Farm
    from syncer.demo.wiki import Wiki
    from syncer.dumps import Dump

PROJECTS = ("wiktionary", "wikibooks", "wikinews", "wikiquote", "wikisource", "wikiversity", "wikivoyage")
REVISION: dict[str, type | UnionType] = {"wiki": str, "title": str, "ns": int, "timestamp": str, "text": str | None}
FORMS = (
    "it takes a MediaWiki XML export (.xml) or JSON lines of wiki, ns, title, timestamp, text (.jsonl); also .gz, .xz, .bz2, .7z"
)
WITHHELD = "(this revision is hidden)"


class Past(NamedTuple):
    """One revision of a history; ``text`` None where it was hidden."""

    wiki_id: str
    title: str
    namespace: int
    timestamp: str
    user: str
    comment: str
    minor: bool
    model: str
    text: str | None


def read(path: Path) -> Iterator[Past]:
    """The revisions of a file, in its order. The ending tells the form: .jsonl or .xml, and .gz, .xz, .bz2 or .7z after it.

    Raises Misconfigured where the file cannot be read, or is not what its ending says, to its end.
    """
    form = path.suffixes[-2:][0] if path.suffix in dumps.PACKED else path.suffix
    try:
        with dumps.opened(path) as file:
            yield from _revisions(dumps.parse(file)) if form == ".xml" else map(_line, iter(file.readline, b""))
    except (OSError, *dumps.BROKEN) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Misconfigured(f"{path} is no history that could be replayed: {why}", hint=FORMS) from error


def _line(line: bytes) -> Past:
    found = orjson.loads(line)
    if not isinstance(found, dict):
        raise TypeError(f"no revision: {line[:80]!r}")
    for name, kinds in REVISION.items():
        if name not in found or not isinstance(found[name], kinds):
            raise TypeError(f"a revision without {name}: {line[:80]!r}")
    return Past(
        wiki_id=found["wiki"],
        title=found["title"],
        namespace=found["ns"],
        timestamp=found["timestamp"],
        user=str(found.get("user") or "Historian"),
        comment=str(found.get("comment") or ""),
        minor=bool(found.get("minor")),
        model=str(found.get("model") or "wikitext"),
        text=found["text"],
    )


def _revisions(dump: Dump) -> Iterator[Past]:
    for page in dump.pages:
        for revision in page.revisions:
            yield Past(
                wiki_id=dump.site.wiki_id or "historywiki",
                title=page.title,
                namespace=page.namespace,
                timestamp=revision.timestamp or "",
                user=revision.user or "Historian",
                comment=revision.comment or "",
                minor=revision.minor,
                model=revision.model,
                text=revision.text,
            )


class Replay:
    """The revisions of a file as edits, in the order of their time; at most ``limit`` of them, all kept in memory."""

    def __init__(self, farm: Farm, path: Path, *, limit: int = 5_000) -> None:
        self._farm = farm
        past = sorted(islice(read(path), limit), key=lambda past: past.timestamp)
        if not past:
            raise Misconfigured(f"{path} holds no revision", hint=FORMS)
        self._left = iter(past)

    def step(self) -> Done | None:
        """Replay the next revision that changes something. None at the end."""
        for past in self._left:
            wiki = self._wiki(past)
            try:
                changed = self._edit(wiki, past)
            except WikiRefuses:  # a title or a size that this farm's wikis do not allow
                continue
            if changed:
                return Done(past.wiki_id, "replay", past.title)
        return None

    def _edit(self, wiki: Wiki, past: Past) -> bool:
        by = By(User(past.user, 1), past.comment, minor=past.minor)
        model = past.model if past.model in FORMATS else "wikitext"
        text = f"{WITHHELD} {past.timestamp}" if past.text is None else past.text
        rev = wiki.edit(past.title, text, by, model=model)
        if rev and past.text is None:
            wiki.hide([rev.rev_id], TEXT, by, current=True)
        return rev is not None

    def _wiki(self, past: Past) -> Wiki:
        wiki = self._farm.wikis.get(past.wiki_id) or self._farm.add(_site(past.wiki_id))
        prefix, colon, _ = past.title.partition(":")
        if past.namespace and colon and wiki.site.namespaces.get(past.namespace) != prefix:
            wiki.site.learn(past.namespace, prefix)
        return wiki


def _site(wiki_id: str) -> Site:
    """A wiki known by its id only: chwiki is ch.wikipedia.org, dewiktionary de.wiktionary.org."""
    found = re.fullmatch(rf"(\w+?)(wiki|{'|'.join(PROJECTS)})", wiki_id)
    language, project = (found[1], found[2]) if found else (wiki_id, "wiki")
    if language in {"commons", "meta", "species"}:
        return Site(wiki_id=wiki_id, domain=f"{language}.wikimedia.org")
    return Site(wiki_id=wiki_id, domain=f"{language}.{'wikipedia' if project == 'wiki' else project}.org", language=language)
