"""The words of the project as frozen types. No I/O, no clock, nothing imported but the standard library.

Times are either ISO 8601 strings as upstream wrote them, or float seconds since the Unix epoch (UTC); the field says which.
Texts are UTF-8 ``bytes`` everywhere, because patches and hashes are over bytes. Titles are as the Action API writes them:
namespace prefix and spaces, never underscores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_ID = 2**63 - 1  # of a page or a revision: what a database holds, and more than any wiki will ever have

SCOPE = "scope"  # the stream of changes about pages that the settings do not want any more: each names one, by id
HEAL = "heal"  # the stream of changes that mirrors have asked for: to publish a page again, as it is published
REPAIR = "repair"  # the stream of changes that a person has asked for: to read a page again
SEED = "seed"  # the stream of changes about pages of a dump that nobody has heard of here: each names one, by id


class Cause(StrEnum):
    """Why a page is looked at; on the wire as ``cause``. What is done about it is decided by the wiki's answer alone."""

    EDIT = "edit"
    CREATE = "create"
    MOVE = "move"
    DELETE = "delete"
    UNDELETE = "undelete"
    VISIBILITY = "visibility"
    PROTECT = "protect"
    IMPORT = "import"
    MERGE = "merge"
    UPLOAD = "upload"
    CONTENT_MODEL = "content_model"
    LOG = "log"
    RECONCILE = "reconcile"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Visibility:
    """What of a revision everybody may see (true = visible), as in ``mediawiki.revision-visibility-change``."""

    text: bool = True
    user: bool = True
    comment: bool = True

    @property
    def full(self) -> bool:
        """Whether nothing is hidden."""
        return self.text and self.user and self.comment

    @classmethod
    def from_bits(cls, bits: int) -> Visibility:
        """Read MediaWiki's ``rev_deleted`` bits: 1 text, 2 comment, 4 user, 8 restricted (PROTOCOL d)."""
        return cls(text=not bits & 1, comment=not bits & 2, user=not bits & 4)


VISIBLE = Visibility()
NOTHING = Visibility(text=False, user=False, comment=False)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a change was learned: ``stream`` and ``event_id`` (``meta.id``); ``event_time`` is ``meta.dt``, ISO."""

    stream: str
    event_id: str
    event_time: str
    received_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the feed, a reconciliation or a person said happened: things of one wiki to read again.

    Holds ids, titles, times and flags, never a user, a comment or a hash: there is nothing in it to redact.
    ``rev_ids`` are revisions to fetch (one for an edit, any number for a visibility change), ``titles`` and ``page_ids``
    pages to read again. ``claims`` is what a visibility event said of its revisions; it serves only to notice a replica
    that answers from before the event.
    """

    wiki_id: str
    domain: str
    cause: Cause
    source: Source
    rev_ids: tuple[int, ...] = ()
    titles: tuple[str, ...] = ()
    page_ids: tuple[int, ...] = ()
    namespace: int | None = None
    parent_rev_id: int | None = None
    claims: tuple[tuple[int, Visibility], ...] = ()
    bot: bool = False
    replay_of: str | None = None

    @property
    def change_id(self) -> str:
        """The id that tells this change from every other one: ``meta.id`` of its event, or one made for it."""
        return self.source.event_id


@dataclass(frozen=True, slots=True)
class Position:
    """The resume point in the feed: stream topic-partition -> largest Kafka timestamp delivered, in milliseconds."""

    timestamps: Mapping[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A revision as the API gave it. ``text`` is None where it is hidden; hidden parts are never kept, even if they were sent.

    ``sha1`` is the API's hex hash of the main slot (``slotsha1``, or ``sha1`` where the wiki is too old to give that),
    None where it is hidden. ``fault`` names a storage fault of the wiki (``textmissing``, ``slotsmissing``).
    """

    rev_id: int
    rev_parent_id: int
    timestamp: str
    size: int
    content_model: str
    text: bytes | None
    sha1: str | None
    minor: bool = False
    tags: tuple[str, ...] = ()
    editor: str | None = None
    comment: str | None = None
    visibility: Visibility = VISIBLE
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as it is at the time of an answer, with those of its revisions that were asked for.

    ``last_rev_id`` is the current revision, whether or not it is among ``revisions``. Title, namespace and ``is_redirect``
    describe the page now, not as it was at any of the revisions (PROTOCOL 22).
    """

    page_id: int
    title: str
    namespace: int
    is_redirect: bool
    last_rev_id: int
    revisions: Mapping[int, Revision] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a wiki answered to one question about revisions, titles or page ids, continuation included.

    ``missing_titles`` are in the canonical form of the API and carry their namespace; ``canonical`` maps every asked title
    that the API wrote differently to its canonical form. ``invalid_titles`` can name no page (bad characters, special pages,
    other wikis).
    """

    pages: Mapping[int, Page] = field(default_factory=dict)
    bad_rev_ids: frozenset[int] = frozenset()
    missing_titles: Mapping[str, int] = field(default_factory=dict)
    missing_page_ids: frozenset[int] = frozenset()
    invalid_titles: frozenset[str] = frozenset()
    canonical: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence a wiki states for its texts (``meta=siteinfo&siprop=rightsinfo``)."""

    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Site:
    """What a wiki says of itself.

    ``licence`` is None where it states none; ``namespaces`` maps every local name, canonical name and alias (lower case,
    spaces) to its number; ``article_url`` is the server and path with ``$1`` for the title.
    """

    licence: Licence | None
    namespaces: Mapping[str, int]
    article_url: str


class Kind(StrEnum):
    """How a mutation is to be applied; readers stop at a kind they do not know."""

    PATCH = "patch"
    SNAPSHOT = "snapshot"
    DELETE = "delete"
    REDACT = "redact"


@dataclass(frozen=True, slots=True)
class PageFacts:
    """A page as it is now. ``page_id`` is None only in the delete of a page that no event named by id."""

    page_id: int | None
    title: str
    namespace: int
    is_redirect: bool = False


@dataclass(frozen=True, slots=True)
class Prior:
    """What of a page changed with a mutation: the values before, None where the same."""

    title: str | None = None
    namespace: int | None = None
    page_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionFacts:
    """A revision without its text. ``sha1`` is the hex SHA-1 of the UTF-8 text sent, None where the text is hidden."""

    rev_id: int
    rev_parent_id: int
    timestamp: str
    size: int
    sha1: str | None
    content_model: str
    minor: bool
    bot: bool
    tags: tuple[str, ...]
    visibility: Visibility


@dataclass(frozen=True, slots=True)
class Base:
    """The text a patch starts from."""

    rev_id: int
    sha1: str


# One splice: at this byte of the base, delete so many bytes, insert this (format ``splice/1``).
Op = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Patch:
    """How to get from the base text to the result text, in a format that :data:`syncer.diff.FORMATS` knows."""

    format: str
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class SectionChange:
    """A section of the text that changed. ``range`` is in bytes of the new text (of the old one when it was removed)."""

    path: tuple[str, ...]
    occurrence: int
    change: str
    range: tuple[int, int]
    before_sha1: str | None
    after_sha1: str | None


@dataclass(frozen=True, slots=True)
class Redacted:
    """A revision whose visibility is now this. ``recall``: (partition, offset) of records published before that hold it."""

    rev_id: int
    visibility: Visibility
    recall: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the licence asks a reader to name. ``url`` is the permalink; editor and comment are None where hidden."""

    licence: Licence | None
    url: str
    editor: str | None
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """What partners receive: one step of one page (DESIGN 6).

    ``erased``: as it stands in a journal that was rewritten, without the text, patch and sections that it had.
    """

    seq: int
    kind: Kind
    cause: Cause
    wiki_id: str
    domain: str
    page: PageFacts
    source: Source
    published_at: str
    prior: Prior | None = None
    revision: RevisionFacts | None = None
    base: Base | None = None
    patch: Patch | None = None
    text: bytes | None = None
    gap: bool = False
    sections: tuple[SectionChange, ...] = ()
    redacted: tuple[Redacted, ...] = ()
    attribution: Attribution | None = None
    upstream_sha1: str | None = None
    erased: bool = False

    @property
    def ce_id(self) -> str:
        """The id that no two mutations share."""
        return f"{self.wiki_id}:{self.page.page_id or 0}:{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageState:
    """A page as folded from the mutations so far. A page that is not ``live`` was deleted, or left the scope.

    ``title`` is None while another page has taken it over. ``revision`` and ``attribution`` are those of the last mutation
    that stated them, None once deleted.
    """

    page_id: int
    title: str | None
    namespace: int
    is_redirect: bool
    seq: int
    live: bool
    revision: RevisionFacts | None
    attribution: Attribution | None
