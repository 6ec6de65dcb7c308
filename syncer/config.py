"""Every setting, in frozen sections; a component gets only its own section.

Flags > environment ``SYNCER_SECTION__KEY`` > the TOML file of ``--config`` > the defaults here. An unknown key is an error
that names the key and the nearest known one. ``<state>`` in a path is ``$STATE_DIRECTORY`` (set by systemd), else the XDG
state folder.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PREFIX = "SYNCER_"
FILE = "SYNCER_CONFIG"  # where the TOML file is
TESTS = "SYNCER_TEST_"  # what the tests alone look at

# The public projects of Wikimedia, and the two single-site ones: nothing else is ever asked unless the operator adds it.
PUBLIC_DOMAINS = (
    "wikipedia.org", "wiktionary.org", "wikibooks.org", "wikinews.org", "wikiquote.org", "wikisource.org",
    "wikiversity.org", "wikivoyage.org", "wikidata.org", "wikimedia.org", "mediawiki.org", "wikifunctions.org",
)  # fmt: skip


# Every number has two bounds. Beyond these nobody means it: a slip, or a value that the arithmetic would not survive.
HOUR, DAY, YEAR = 3600.0, 86_400.0, 366 * 86_400.0  # seconds
MOST_DAYS, MOST_BYTES = 36_600.0, 10**15  # a century, a petabyte
Namespace = Annotated[int, Field(ge=-2, lt=2**31)]


class Section(BaseModel):
    """A frozen group of settings that knows no other keys than its own. A list may be empty only where that is its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: object, info: ValidationInfo) -> object:
        """Take what an environment variable or a flag can say: nothing, a JSON list, or words with commas between them."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, str) and field.default is None:
            return value.strip() or None
        if get_origin(field.annotation) is not tuple:
            return value
        if isinstance(value, str):
            value = _listed(value)
        if value in ([], ()) and field.default:
            raise ValueError("an empty list leaves nothing to do")
        return value


def _listed(text: str) -> list[object]:
    """The values of a list given as text."""
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        values: list[object] = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"begins like a JSON list and is none: {error}") from None
    return values


class FeedSettings(Section):
    """Where and what to read of EventStreams. Times in seconds, sizes in bytes."""

    url: str = "https://stream.wikimedia.org/v2/stream"
    streams: tuple[str, ...] = ("recentchange", "mediawiki.page_change.v1", "mediawiki.revision-visibility-change")
    since: str | None = None
    rewind: float = Field(default=30.0, ge=0, le=DAY)  # PROTOCOL 5: ids are not in order; events lie seconds apart, not minutes
    connect_for: float = Field(default=840.0, gt=0, le=DAY)  # the edge closes at 900 s; leave a minute before it does
    header_timeout: float = Field(default=30.0, gt=0, le=HOUR)  # with its broker down the server sends no headers at all
    idle_timeout: float = Field(default=180.0, gt=0, le=HOUR)  # about when the edge cuts an idle connection
    max_block: int = Field(default=256 * 1024, gt=0, le=16 * 1024 * 1024)  # bytes of one event


class ApiSettings(Section):
    """How the Action API is asked."""

    url: str = "https://{domain}/w/api.php"
    requests_per_minute: int = Field(default=180, gt=0, le=1_000_000)
    concurrency: int = Field(default=1, ge=1, le=1000)
    token: SecretStr | None = None
    timeout: float = Field(default=60.0, gt=0, le=HOUR)  # seconds for a whole answer
    max_body: int = Field(default=48 * 1024 * 1024, gt=0, le=2**30)  # bytes decoded; 12 MiB of text, JSON escapes up to 3x
    young: float = Field(default=10.0, ge=0, le=HOUR)  # seconds during which an answer may lag behind its event


class WikiSettings(Section):
    """Which wikis and pages are wanted. Globs match the domain or the wiki id."""

    domains: tuple[str, ...] = PUBLIC_DOMAINS
    include: tuple[str, ...] = ("*.wikipedia.org",)
    exclude: tuple[str, ...] = ()
    namespaces: tuple[Namespace | Literal["*"], ...] = (0,)


class Retention(Section):
    """How long and how much a topic keeps; either bound cuts. Days and bytes.

    On Kafka a twelfth of the bytes is a partition's bound, and the fullest has up to half of all: of Wikipedia's articles
    45 days x 0.5 GB and 14 days x 0.3 GB (docs/kafka.md, Capacity).
    """

    changes_days: float = Field(default=14.0, gt=0, le=MOST_DAYS)
    changes_bytes: int = Field(default=16 * 10**9, gt=0, le=MOST_BYTES)
    mutations_days: float = Field(default=45.0, gt=0, le=MOST_DAYS)
    mutations_bytes: int = Field(default=90 * 10**9, gt=0, le=MOST_BYTES)
    set_aside_days: float = Field(default=90.0, gt=0, le=MOST_DAYS)
    set_aside_bytes: int = Field(default=1 * 10**9, gt=0, le=MOST_BYTES)


class KafkaSettings(Section):
    """How brokers are reached, where the journal is on Kafka. ``replication`` None: three, or as many as there are brokers."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    replication: int | None = Field(default=None, ge=1, le=10)


class JournalSettings(Section):
    """Where the journal is. ``partitions`` is fixed when it is created."""

    url: str = "sqlite:///<state>/journal.db"
    prefix: str = Field(default="syncer", pattern=r"^[A-Za-z0-9._-]{1,200}$")  # a part of names on Kafka
    partitions: int = Field(default=12, ge=1, le=1024)
    retention: Retention = Retention()
    kafka: KafkaSettings = KafkaSettings()


class StoreSettings(Section):
    """The hub's own store."""

    path: str = "<state>/store.db"
    max_bytes: int = Field(default=20 * 10**9, gt=0, le=MOST_BYTES)


class EnrichSettings(Section):
    """What is done with a change."""

    first_sight: Literal["parent", "snapshot"] = "parent"
    # Changes of a partition in work before its intake pauses: 12 x 4,000 x 1 KB.
    unfinished_limit: int = Field(default=4_000, ge=100, le=1_000_000)
    # A broken wiki is taken out of the way beyond this many changes, or this long; how often it is tried again, then replayed.
    unavailable_changes: int = Field(default=1_000, ge=1, le=1_000_000)
    unavailable_minutes: float = Field(default=30.0, gt=0, le=YEAR / 60)
    probe_minutes: float = Field(default=5.0, gt=0, le=YEAR / 60)


class ReconcileSettings(Section):
    """How what upstream never said is looked for."""

    interval: float = Field(default=HOUR, ge=60, le=DAY)  # seconds; the last so long is compared with what the wikis keep of it
    sample: int = Field(default=50, ge=0, le=50)  # pages of a wiki asked again every interval: one request
    sweep_per_hour: float = Field(default=120.0, ge=0, le=1_000_000)  # requests: 1.1 % of 180 a minute; x 50 = 6,000 pages


class HealSettings(Section):
    """How many pages that mirrors ask for are published again. By the minute."""

    pages_per_minute: float = Field(default=300.0, gt=0, le=1_000_000)  # x 30 KB = 9 MB that everybody reads
    pages_per_mirror: float = Field(default=150.0, gt=0, le=1_000_000)  # as many as a mirror asks for
    asked_per_minute: float = Field(default=18.0, ge=0, le=1_000_000)  # without a text here: 18 requests of 180, at worst


class PublishSettings(Section):
    """What is published beside the mutations."""

    pages: bool = False


class ManifestSettings(Section):
    """What is said, and signed, of every hour."""

    key_file: str = "<state>/manifests.key"


def _with_port(value: str) -> str:
    port = value.rpartition(":")[2]
    if not port.isdecimal() or int(port) > 65535 or not value.isprintable():  # noqa: PLR2004 - 16 bits
        raise ValueError("wants host:port, as in 127.0.0.1:8750; port 0 takes any")
    return value


Listen = Annotated[str, AfterValidator(_with_port)]


class MirrorSettings(Section):
    """A partner's mirror."""

    path: str = "<state>/mirror.db"
    name: str | None = Field(default=None, min_length=1, max_length=100)
    heal: Literal["hub", "api", "off"] = "hub"
    requests_per_minute: int = Field(default=20, gt=0, le=1_000_000)  # + a hub's 180 = the 200 that an address may ask
    wikis: tuple[str, ...] = ("*",)
    namespaces: tuple[Namespace | Literal["*"], ...] = ("*",)
    public_keys: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()  # whose manifests are believed
    listen: Listen = "127.0.0.1:8752"  # not a hub's: one may run on the same machine


class OpsSettings(Section):
    """The health and metrics server of the hub."""

    listen: Listen = "127.0.0.1:8750"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; without a host it is this machine alone."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]") or "127.0.0.1", int(port)

    @property
    def url(self) -> str:
        """Where the server is found."""
        return url_of(*self.address)


class Settings(Section):
    """Everything, built once by :func:`load`."""

    contact: str | None = None
    feed: FeedSettings = FeedSettings()
    api: ApiSettings = ApiSettings()
    wiki: WikiSettings = WikiSettings()
    journal: JournalSettings = JournalSettings()
    store: StoreSettings = StoreSettings()
    enrich: EnrichSettings = EnrichSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    heal: HealSettings = HealSettings()
    publish: PublishSettings = PublishSettings()
    manifests: ManifestSettings = ManifestSettings()
    mirror: MirrorSettings = MirrorSettings()
    ops: OpsSettings = OpsSettings()


def url_of(host: str, port: int) -> str:
    """The address of a server on this host and port."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def load(path: Path | None = None, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Build the settings. ``flags`` maps dotted keys (``feed.url``) to values. Raises Misconfigured, naming the key.

    A secret is no flag: everybody on the machine can read the arguments of a process.
    """
    for key in secret_keys().intersection(flags or ()):
        variable = PREFIX + key.upper().replace(".", "__")
        raise Misconfigured(
            f"{key} is a secret, and what stands on the command line everybody can read",
            hint=f"set {variable} in the environment, or {key} in the file of --config",
        )
    merged: dict[str, Any] = {}
    for layer in (_file(path), _environment(os.environ if environ is None else environ), _nested(flags or {})):
        _merge(merged, layer)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        problems = error.errors(include_input=False)
        told = dict.fromkeys(_explained(problem) for problem in problems)  # a value that could be of two types is told of twice
        default = known_keys().get(_key(problems[0]))
        default = ", ".join(map(str, default)) if isinstance(default, tuple) else default
        hint = None if default is None or len(problems) > 1 else f"the default is {default}"
        raise Misconfigured("; ".join(told), hint=hint) from None


def known_keys() -> dict[str, Any]:
    """Every dotted key with its default, in the order of the sections."""
    return dict(_flat(Settings()))


def secret_keys() -> frozenset[str]:
    """Those that nobody may see the value of."""
    return frozenset(_secrets(Settings))


def _secrets(section: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _secrets(field.annotation, f"{prefix}{name}.")
        elif SecretStr in get_args(field.annotation):
            yield prefix + name


def _flat(section: Section, prefix: str = "") -> list[tuple[str, Any]]:
    keys: list[tuple[str, Any]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        keys += _flat(value, f"{prefix}{name}.") if isinstance(value, Section) else [(prefix + name, value)]
    return keys


def _file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the settings file {path} is not TOML: {error}") from error


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = [name for name in environ if name.startswith(PREFIX) and not name.startswith(TESTS) and name != FILE]
    return _nested({name.removeprefix(PREFIX).lower().replace("__", "."): environ[name] for name in names})


def _nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in dotted.items():
        *sections, name = key.split(".")
        node = tree
        for section in sections:
            below = node.setdefault(section, {})
            if not isinstance(below, dict):
                raise Misconfigured(f"{section} is a section, and has no value of its own: set {key}")
            node = below
        if isinstance(node.get(name), dict):
            raise Misconfigured(f"{key} is a section, and has no value of its own")
        node[name] = value
    return tree


def _merge(into: dict[str, Any], layer: dict[str, Any]) -> None:
    for name, value in layer.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _key(problem: Any) -> str:
    """The setting that a problem is about: what comes after its key is a place in its value."""
    parts = [str(part) for part in problem["loc"]]
    return next((key for end in range(len(parts), 0, -1) if (key := ".".join(parts[:end])) in known_keys()), ".".join(parts))


def _explained(problem: Any) -> str:
    key = _key(problem)
    if problem["type"] != "extra_forbidden":
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    nearest = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.4)
    return f"{key} is not a setting" + (f"; the nearest is {nearest[0]}" if nearest else "")
