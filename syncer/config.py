"""Every setting, in frozen sections; a component gets only its own section.

Flags > environment ``SYNCER_SECTION__KEY`` > the TOML file of ``--config`` > the defaults here. An unknown key is an error that
names the key and the nearest known one. ``<state>`` in a path is ``$STATE_DIRECTORY`` (set by systemd), else the XDG state folder.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "SYNCER_"

# The public projects of Wikimedia, and the two single-site ones: nothing else is ever asked unless the operator adds it.
PUBLIC_DOMAINS = (
    "wikipedia.org", "wiktionary.org", "wikibooks.org", "wikinews.org", "wikiquote.org", "wikisource.org",
    "wikiversity.org", "wikivoyage.org", "wikidata.org", "wikimedia.org", "mediawiki.org", "wikifunctions.org",
)  # fmt: skip


class Section(BaseModel):
    """A frozen group of settings that knows no other keys than its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeedSettings(Section):
    """Where and what to read of EventStreams. Times in seconds, sizes in bytes."""

    url: str = "https://stream.wikimedia.org/v2/stream"
    streams: tuple[str, ...] = ("recentchange", "mediawiki.page_change.v1", "mediawiki.revision-visibility-change")
    since: str | None = None
    rewind: float = Field(default=30.0, ge=0)  # PROTOCOL 5: ids are not in order; events lie seconds apart, not minutes
    connect_for: float = Field(default=840.0, gt=0)  # the edge closes at 900 s; leave a minute before it does
    header_timeout: float = Field(default=30.0, gt=0)  # with its broker down the server sends no headers at all
    idle_timeout: float = Field(default=180.0, gt=0)  # about when the edge cuts an idle connection
    max_block: int = Field(default=256 * 1024, gt=0)  # bytes of one event


class ApiSettings(Section):
    """How the Action API is asked."""

    url: str = "https://{domain}/w/api.php"
    requests_per_minute: int = Field(default=180, gt=0)
    concurrency: int = Field(default=1, ge=1)
    token: SecretStr | None = None
    timeout: float = Field(default=60.0, gt=0)  # seconds for a whole answer
    max_body: int = Field(default=48 * 1024 * 1024, gt=0)  # bytes decoded; the API stops at 12 MiB of text, JSON escapes up to 3x
    young: float = Field(default=10.0, ge=0)  # seconds during which an answer may lag behind its event


class WikiSettings(Section):
    """Which wikis and pages are wanted. Globs match the domain or the wiki id."""

    domains: tuple[str, ...] = PUBLIC_DOMAINS
    include: tuple[str, ...] = ("*.wikipedia.org",)
    exclude: tuple[str, ...] = ()
    namespaces: tuple[int | Literal["*"], ...] = (0,)


class Retention(Section):
    """How long and how much a topic keeps; either bound cuts. Days and bytes."""

    changes_days: float = Field(default=14.0, gt=0)
    changes_bytes: int = Field(default=4 * 10**9, gt=0)
    mutations_days: float = Field(default=45.0, gt=0)
    mutations_bytes: int = Field(default=50 * 10**9, gt=0)
    set_aside_days: float = Field(default=90.0, gt=0)
    set_aside_bytes: int = Field(default=1 * 10**9, gt=0)


class JournalSettings(Section):
    """Where the journal is. ``partitions`` is fixed when it is created."""

    url: str = "sqlite:///<state>/journal.db"
    prefix: str = "syncer"
    partitions: int = Field(default=12, ge=1, le=1024)
    retention: Retention = Retention()


class StoreSettings(Section):
    """The hub's own store."""

    path: str = "<state>/store.db"
    max_bytes: int = Field(default=20 * 10**9, gt=0)


class EnrichSettings(Section):
    """What is done with a change."""

    first_sight: Literal["parent", "snapshot"] = "parent"
    unfinished_limit: int = Field(default=20_000, ge=100)  # changes of a partition in work before its intake pauses
    unavailable_changes: int = Field(default=5_000, ge=1)  # a broken wiki is taken out of the way beyond this many changes
    unavailable_minutes: float = Field(default=30.0, gt=0)  # or this long
    probe_minutes: float = Field(default=5.0, gt=0)  # how often it is tried again, then replayed


class MirrorSettings(Section):
    """A partner's mirror."""

    path: str = "<state>/mirror.db"
    heal: Literal["hub", "api", "off"] = "hub"
    wikis: tuple[str, ...] = ("*",)
    namespaces: tuple[int | Literal["*"], ...] = ("*",)


class OpsSettings(Section):
    """The health and metrics server."""

    listen: str = "127.0.0.1:8750"


class Settings(Section):
    """Everything, built once by :func:`load`."""

    contact: str | None = None
    feed: FeedSettings = FeedSettings()
    api: ApiSettings = ApiSettings()
    wiki: WikiSettings = WikiSettings()
    journal: JournalSettings = JournalSettings()
    store: StoreSettings = StoreSettings()
    enrich: EnrichSettings = EnrichSettings()
    mirror: MirrorSettings = MirrorSettings()
    ops: OpsSettings = OpsSettings()

    @field_validator("contact")
    @classmethod
    def _no_blank(cls, value: str | None) -> str | None:
        return value.strip() or None if value else None
