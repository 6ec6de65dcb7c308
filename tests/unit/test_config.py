"""Settings: where they come from, what is refused and how, and that no secret shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from syncer import config
from syncer.config import Settings, known_keys, load
from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t-t0ken"  # noqa: S105 - the very thing that must not show

# DESIGN 7: what others rely on.
DEFAULTS: dict[str, Any] = {
    "contact": None,
    "journal.url": "sqlite:///<state>/journal.db",
    "journal.prefix": "syncer",
    "journal.partitions": 12,
    "journal.retention.changes_days": 14,
    "journal.retention.mutations_days": 45,
    "journal.retention.set_aside_days": 90,
    "store.path": "<state>/store.db",
    "store.max_bytes": 20 * 10**9,
    "mirror.path": "<state>/mirror.db",
    "mirror.heal": "hub",
    "mirror.requests_per_minute": 20,
    "mirror.listen": "127.0.0.1:8752",
    "mirror.wikis": ("*",),
    "mirror.namespaces": ("*",),
    "feed.url": "https://stream.wikimedia.org/v2/stream",
    "feed.streams": ("recentchange", "mediawiki.page_change.v1", "mediawiki.revision-visibility-change"),
    "feed.since": None,
    "api.url": "https://{domain}/w/api.php",
    "api.requests_per_minute": 180,
    "api.concurrency": 1,
    "api.token": None,
    "wiki.include": ("*.wikipedia.org",),
    "wiki.exclude": (),
    "wiki.namespaces": (0,),
    "enrich.first_sight": "parent",
    "ops.listen": "127.0.0.1:8750",
}


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "syncer.toml"
    path.write_text(text, encoding="utf-8")
    return path


def of(**environ: str) -> Settings:
    """Settings from variables alone, written without the prefix."""
    return load(environ={f"SYNCER_{name}": value for name, value in environ.items()})


def refusal(**arguments: Any) -> str:
    with pytest.raises(Misconfigured) as caught:
        load(**{"environ": {}, **arguments})
    assert caught.value.exit_code == 78
    return str(caught.value)


# -- defaults and layers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", DEFAULTS)
def test_a_default_is_the_one_that_was_promised(key: str) -> None:
    assert known_keys()[key] == DEFAULTS[key]


def test_wikis_of_wikimedia_are_allowed_and_no_others() -> None:
    domains = known_keys()["wiki.domains"]
    assert {"wikipedia.org", "wiktionary.org", "wikidata.org", "wikimedia.org"} <= set(domains)
    assert all(domain.endswith(".org") and "wik" in domain for domain in domains)


def test_nothing_set_is_the_defaults() -> None:
    assert load(environ={}) == Settings()


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_defaults(tmp_path: Path) -> None:
    path = toml(tmp_path, '[feed]\nrewind = 1\nconnect_for = 1\nidle_timeout = 1\n[journal]\nprefix = "file"\n')
    environ = {"SYNCER_FEED__REWIND": "2", "SYNCER_FEED__CONNECT_FOR": "2"}
    feed = load(path, {"feed.rewind": "3"}, environ).feed
    assert (feed.rewind, feed.connect_for, feed.idle_timeout, feed.header_timeout) == (3, 2, 1, 30)
    assert load(path, {"feed.rewind": "3"}, environ).journal.prefix == "file"


def test_a_layer_replaces_a_list_whole(tmp_path: Path) -> None:
    path = toml(tmp_path, '[wiki]\ninclude = ["a.org", "b.org"]\n')
    assert load(path, environ={"SYNCER_WIKI__INCLUDE": "c.org"}).wiki.include == ("c.org",)


def test_sections_may_lie_deeper(tmp_path: Path) -> None:
    path = toml(tmp_path, "[journal.retention]\nchanges_days = 2\n")
    retention = load(path, environ={"SYNCER_JOURNAL__RETENTION__MUTATIONS_DAYS": "3"}).journal.retention
    assert (retention.changes_days, retention.mutations_days, retention.set_aside_days) == (2, 3, 90)


def test_what_belongs_to_others_is_no_setting() -> None:
    assert of(TEST_KAFKA="localhost:9092", TEST_="x", CONFIG="/etc/syncer.toml") == Settings()
    assert load(environ={"PATH": "/bin", "SYNCERCONTACT": "x", "syncer_contact": "x", "XSYNCER_CONTACT": "x"}) == Settings()


def test_the_environment_of_the_process_is_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCER_CONTACT", "ops@example.org")
    assert load().contact == "ops@example.org"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().feed.rewind = 1.0  # type: ignore[misc]


# -- values as text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "streams"),
    [
        ('["recentchange"]', ("recentchange",)),
        (' ["recentchange", "mediawiki.page_change.v1"]', ("recentchange", "mediawiki.page_change.v1")),
        ("recentchange", ("recentchange",)),
        ("recentchange, mediawiki.page_change.v1,", ("recentchange", "mediawiki.page_change.v1")),
    ],
)
def test_a_list_is_json_or_words_with_commas(text: str, streams: tuple[str, ...]) -> None:
    assert of(FEED__STREAMS=text).feed.streams == streams
    assert load(flags={"feed.streams": text}, environ={}).feed.streams == streams


LISTS = [key for key, default in known_keys().items() if isinstance(default, tuple)]


@pytest.mark.parametrize("key", [key for key in LISTS if known_keys()[key]])
@pytest.mark.parametrize("nothing", ["", " ", "[]", ",", []])
def test_a_list_that_leaves_nothing_to_do_is_refused(key: str, nothing: object) -> None:
    assert f"{key}: an empty list leaves nothing to do" in refusal(flags={key: nothing})


def test_nothing_may_be_excluded() -> None:
    assert of(WIKI__EXCLUDE="").wiki.exclude == of(WIKI__EXCLUDE="[]").wiki.exclude == ()


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("0", (0,)), ("0,4, 14", (0, 4, 14)), ("[0, 4]", (0, 4)), ('["*"]', ("*",)), ("*", ("*",)), ("[-1]", (-1,))],
)
def test_namespaces_are_numbers_or_everything(text: str, namespaces: tuple[int | str, ...]) -> None:
    assert of(WIKI__NAMESPACES=text).wiki.namespaces == namespaces


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_value_of_what_may_be_absent_is_none(blank: str) -> None:
    settings = of(CONTACT=blank, API__TOKEN=blank, FEED__SINCE=blank)
    assert (settings.contact, settings.api.token, settings.feed.since) == (None, None, None)


def test_what_stands_around_a_contact_is_cut_off() -> None:
    assert of(CONTACT=" ops@example.org ").contact == "ops@example.org"


@pytest.mark.parametrize(
    ("listen", "address", "url"),
    [
        ("127.0.0.1:8750", ("127.0.0.1", 8750), "http://127.0.0.1:8750"),
        (":0", ("127.0.0.1", 0), "http://127.0.0.1:0"),
        ("9000", ("127.0.0.1", 9000), "http://127.0.0.1:9000"),
        ("[::1]:8750", ("::1", 8750), "http://[::1]:8750"),
        ("localhost:1", ("localhost", 1), "http://localhost:1"),
    ],
)
def test_where_to_listen_is_a_host_and_a_port(listen: str, address: tuple[str, int], url: str) -> None:
    ops = of(OPS__LISTEN=listen).ops
    assert (ops.address, ops.url) == (address, url)


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("feed.ulr", "feed.url"),
        ("api.request_per_minute", "api.requests_per_minute"),
        ("wiki.namespace", "wiki.namespaces"),
        ("journal.retention.change_days", "journal.retention.changes_days"),
        ("contacts", "contact"),
        ("feeds.url", "feed.url"),
        ("mirror.paht", "mirror.path"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(tmp_path: Path, key: str, nearest: str) -> None:
    *section, name = key.split(".")
    file = (f"[{'.'.join(section)}]\n" if section else "") + f'{name} = "x"\n'
    for said in (
        refusal(flags={key: "x"}),
        refusal(environ={f"SYNCER_{key.replace('.', '__').upper()}": "x"}),
        refusal(path=toml(tmp_path, file)),
    ):
        assert f"{key if key != 'feeds.url' else 'feeds'} is not a setting" in said
        assert nearest in said or key == "feeds.url"


def test_a_key_like_no_other_is_an_error_without_advice() -> None:
    assert refusal(flags={"zzzzqqqq": "x"}) == "zzzzqqqq is not a setting"


def test_every_problem_is_named() -> None:
    said = refusal(flags={"feed.rewind": "-1", "mirror.heal": "maybe", "zzz": "1"})
    for part in ("feed.rewind", "mirror.heal", "'hub', 'api' or 'off'", "zzz"):
        assert part in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("feed.rewind", "soon"), ("feed.rewind", "-1"), ("feed.max_block", "0"), ("api.requests_per_minute", "0"),
        ("api.requests_per_minute", "1.5"), ("api.concurrency", "0"), ("journal.partitions", "0"), ("journal.partitions", "1025"),
        ("store.max_bytes", "0"), ("mirror.heal", "hubs"), ("enrich.first_sight", "diff"), ("wiki.namespaces", "main"),
        ("wiki.namespaces", "[0"), ("feed.streams", "[1, 2]"), ("feed.streams", '["a"'), ("ops.listen", "localhost"),
        ("ops.listen", "127.0.0.1:http"), ("ops.listen", "127.0.0.1:65536"), ("ops.listen", "127.0.0.1:-1"),
        ("journal.retention.changes_days", "0"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_by_its_key(key: str, value: str) -> None:
    assert key in refusal(flags={key: value})


@pytest.mark.parametrize("key", [key for key, default in known_keys().items() if isinstance(default, int | float)])
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "-1", "1e300", "1" + 40 * "0", "", "many", float("inf"), 10**400])
def test_a_number_has_bounds(key: str, value: object) -> None:
    with pytest.raises(Misconfigured, match=key) as caught:
        load(flags={key: value}, environ={})
    assert caught.value.hint == f"the default is {known_keys()[key]}"


def test_a_value_of_two_possible_types_is_told_of_by_its_key() -> None:
    said = refusal(flags={"wiki.namespaces": f"[{2**40}]"})
    assert said.count("wiki.namespaces: ") == 2
    assert "less than 2147483648" in said
    assert "'*'" in said


@pytest.mark.parametrize(
    "environ",
    [
        {"SYNCER_FEED": "x", "SYNCER_FEED__URL": "y"},
        {"SYNCER_FEED__URL": "y", "SYNCER_FEED": "x"},
        {"SYNCER_FEED": "x"},
        {"SYNCER_CONTACT__EMAIL": "x"},
        {"SYNCER_FEED__URL__HOST": "x"},
        {"SYNCER_": "x"},
        {"SYNCER___": "x"},
    ],
)
def test_a_section_has_no_value_and_a_value_no_sections(environ: dict[str, str]) -> None:
    assert refusal(environ=environ)


@pytest.mark.parametrize("text", ["[feed", "feed = ", "[feed]\nurl = 1\nurl = 2\n", "= 1"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    assert "syncer.toml is not TOML" in refusal(path=toml(tmp_path, text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "nowhere.toml cannot be read: No such file" in refusal(path=tmp_path / "nowhere.toml")
    assert "cannot be read" in refusal(path=tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'contact = "\xe4"\n')
    assert "latin.toml is not TOML" in refusal(path=tmp_path / "latin.toml")


def test_a_section_of_the_file_may_not_be_a_value(tmp_path: Path) -> None:
    assert "feed" in refusal(path=toml(tmp_path, "feed = 1\n"))


# -- secrets -------------------------------------------------------------------------------------------------------------


def test_a_secret_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    settings = of(API__TOKEN=SECRET)
    assert settings.api.token
    assert settings.api.token.get_secret_value() == SECRET
    shown = [repr(settings), str(settings), repr(settings.api), str(settings.model_dump()), settings.model_dump_json()]
    shown += [str(known_keys()), repr(config._flat(settings))]
    path = toml(tmp_path, f'[api]\ntoken = ["{SECRET}"]\n')
    shown += [refusal(path=path), refusal(flags={"api.tokn": SECRET}), refusal(flags={"api.token": SECRET, "feed.rewind": "x"})]
    shown += [
        refusal(path=toml(tmp_path, f'[api]\ntoken = "{SECRET}\n')),
        refusal(path=toml(tmp_path, f"[api]\ntoken = {SECRET}\n")),
    ]
    shown += [refusal(environ={"SYNCER_API__TOKEN__X": SECRET}), refusal(environ={"SYNCER_API": SECRET})]
    for text in shown:
        assert SECRET not in text


@pytest.mark.parametrize("key", ["api.token", "journal.kafka.password"])
def test_a_secret_is_no_flag(key: str) -> None:
    assert key in config.secret_keys()
    with pytest.raises(Misconfigured, match=key) as caught:
        load(flags={key: SECRET}, environ={})
    assert f"SYNCER_{key.upper().replace('.', '__')}" in str(caught.value.hint)


def test_a_secret_is_a_setting_that_says_so() -> None:
    """A name that sounds like one, but for the files that hold them."""
    sounding = {key for key in known_keys() if key.endswith(("password", "token", "secret", "key"))}
    assert sounding == config.secret_keys()


def test_the_cause_of_a_refusal_shows_no_secret_either(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(toml(tmp_path, f'[api]\ntoken = ["{SECRET}"]\n'), environ={})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
