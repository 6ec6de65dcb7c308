"""Only hosts in ``wiki.domains`` are asked, and public ones only with manners."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.config import FeedSettings, Settings
from syncer.errors import Misconfigured, Unusable
from syncer.fetch import check, check_feed, user_agent
from syncer.fetch.address import address

PUBLIC = "https://{domain}/w/api.php"


def settings(*, contact: str | None = "ops@example.org", domains: tuple[str, ...] | None = None, **api: object) -> Settings:
    wiki: dict[str, Any] = {"domains": domains} if domains else {}
    return Settings.model_validate({"contact": contact, "api": api, "wiki": wiki})


def at(url: str, wiki_id: str, domain: str, domains: tuple[str, ...] = ("wikipedia.org", "localhost")) -> str:
    made = settings(url=url, domains=domains)
    return address(made.api, made.wiki, wiki_id, domain)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (PUBLIC, "https://en.wikipedia.org/w/api.php"),
        ("https://proxy.internal/{domain}/api.php", "https://proxy.internal/en.wikipedia.org/api.php"),
        ("http://127.0.0.1:8080/{wiki_id}/api.php", "http://127.0.0.1:8080/enwiki/api.php"),
        ("http://{wiki_id}.localhost:8080/api.php", "http://enwiki.localhost:8080/api.php"),
        ("http://127.0.0.1:8080/api.php", "http://127.0.0.1:8080/api.php"),
    ],
)
def test_addresses(url: str, expected: str) -> None:
    assert at(url, "enwiki", "en.wikipedia.org") == expected
    assert at(url, "enwiki", "EN.Wikipedia.org") == expected


def test_the_domain_itself_is_within() -> None:
    assert at(PUBLIC, "wikidatawiki", "wikidata.org", ("WikiData.org.",)) == "https://wikidata.org/w/api.php"


@pytest.mark.parametrize("url", [PUBLIC, "https://proxy.internal/{domain}/api.php", "http://127.0.0.1/{wiki_id}/api.php"])
@pytest.mark.parametrize(
    ("wiki_id", "domain"),
    [
        ("enwiki", "evilwikipedia.org"),
        ("enwiki", "wikipedia.org.evil.com"),
        ("enwiki", "evil.com/.wikipedia.org"),
        ("enwiki", "evil.com#.wikipedia.org"),
        ("enwiki", "evil.com?.wikipedia.org"),
        ("enwiki", "evil.com\\.wikipedia.org"),
        ("enwiki", "user@en.wikipedia.org"),
        ("enwiki", "en.wikipedia.org:8080"),
        ("enwiki", "en.wikipedia.org."),
        ("enwiki", "en..wikipedia.org"),
        ("enwiki", "en.wikipedia.org\n"),
        ("enwiki", "{wiki_id}.wikipedia.org"),
        ("enwiki", "ën.wikipedia.org"),
        ("enwiki", "a" * 250 + ".wikipedia.org"),
        ("enwiki", ""),
        ("../etc", "en.wikipedia.org"),
        ("en/wiki", "en.wikipedia.org"),
        ("EnWiki", "en.wikipedia.org"),
        ("enwiki\n", "en.wikipedia.org"),
        ("en.evil", "en.wikipedia.org"),
        ("", "en.wikipedia.org"),
    ],
)
def test_what_is_not_within_is_not_asked(url: str, wiki_id: str, domain: str) -> None:
    with pytest.raises(Unusable) as caught:
        at(url, wiki_id, domain)
    assert caught.value.reason == "foreign_domain"
    assert len(str(caught.value)) < 400


def test_a_host_made_of_the_wiki_id_has_to_be_within_too() -> None:
    with pytest.raises(Unusable):
        at("https://{wiki_id}.example.net/api.php", "enwiki", "en.wikipedia.org")
    with pytest.raises(Unusable):
        at("https://{domain}.example.net/api.php", "enwiki", "en.wikipedia.org")


def feeding(url: str, contact: str | None = "ops@example.org") -> Settings:
    return Settings.model_validate({"contact": contact, "feed": {"url": url}})


@pytest.mark.parametrize(
    ("contact", "named"), [(None, "contact is not set"), ("", "contact is not set"), (" \t", "contact is not set"),
                           ("ops@example.org\nX: y", "User-Agent"), ("\xe9", "User-Agent"), ("a\x7fb", "User-Agent")]
)  # fmt: skip
@pytest.mark.parametrize("part", ["api", "feed"])
def test_a_public_host_demands_a_contact_that_can_be_sent(part: str, contact: str | None, named: str) -> None:
    """The API's own host, or the feed's: each by itself."""
    own = {"api": {"url": "http://127.0.0.1:8080/api.php"}, "feed": {"url": "http://127.0.0.1:8081/v2/stream"}}
    made = Settings.model_validate({"contact": contact, **{name: section for name, section in own.items() if name != part}})
    with pytest.raises(Misconfigured, match=named) as caught:
        (check if part == "api" else check_feed)(made)
    assert caught.value.exit_code == 78
    assert caught.value.hint
    if not (contact or "").strip():
        (check_feed if part == "api" else check)(made)


def test_the_defaults_with_a_contact_are_in_order() -> None:
    check(settings())
    check_feed(settings())


@pytest.mark.parametrize(
    "url",
    [
        "", "notaurl", "stream.wikimedia.org/v2/stream", "ftp://a.example/v2/stream", "http://", "http:///v2/stream",
        "http://a b/", "http://a:0/", "http://a:99999/", "http://a:port/", "http://[::1/", "http://a..b/", "http://-.%/",
        "http://" + 64 * "a", "http://a.example/{domain}", "http://a.example/{", "https://a.example/?streams=", "https://a.example/v2#x",
        "http://stream.wikimedia.org/v2/stream",
    ],
)  # fmt: skip
def test_a_feed_that_has_no_address_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"feed\.url") as caught:
        check_feed(feeding(url))
    assert FeedSettings().url in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081/v2/stream", "http://[::1]:8081/", "http://feed_1:80", "https://wikimedia.example./v2/stream/"]
)
def test_a_feed_of_ones_own_may_be_anywhere(url: str) -> None:
    check_feed(feeding(url, contact=None))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"contact": None}, "contact"),
        ({"requests_per_minute": 201}, "requests_per_minute is 201"),
        ({"concurrency": 2}, "concurrency is 2"),
        ({"token": "t", "requests_per_minute": 1801}, "requests_per_minute is 1801"),
        ({"token": "t", "concurrency": 4}, "concurrency is 4"),
        ({"url": "http://{domain}/w/api.php"}, "https"),
        ({"url": "https://{wiki_id}.example.net/api.php", "requests_per_minute": 999}, "requests_per_minute"),
        ({"url": "https://en.wikipedia.org/w/api.php", "requests_per_minute": 999}, "requests_per_minute"),
        ({"url": "https://en.wikipedia.org./w/api.php", "contact": None}, "contact"),
        ({"url": "https://en.wikipedia\u3002org/w/api.php", "contact": None}, "contact"),
        ({"url": "https://Wikidata.org:443/{domain}/w/api.php", "contact": None}, "contact"),
        ({"domains": ("org",), "contact": None}, "contact"),
        ({"domains": ("de.wikipedia.org",), "contact": None}, "contact"),
        ({"token": "two\nlines"}, r"api\.token"),
        ({"token": "tök"}, r"api\.token"),
        ({"url": "https:///w/api.php"}, "api.url"),
        ({"url": "ftp://{domain}/w/api.php"}, "api.url"),
        ({"url": "/w/api.php"}, "api.url"),
        ({"url": "https://{domain/w/api.php"}, "api.url"),
        ({"url": "https://{}/w/api.php"}, "api.url"),
        ({"url": "https://{domain.__class__}/w/api.php"}, "api.url"),
        ({"url": "https://{host}/w/api.php"}, "api.url"),
        ({"url": "https://example.org:port/w/api.php"}, "api.url"),
        ({"url": "https://example.org:0/w/api.php"}, "api.url"),
        ({"url": "https://{domain:>999999999}/w/api.php"}, "api.url"),
        ({"url": "https://{domain!r}/w/api.php"}, "api.url"),
        ({"url": "https://{domain}:{wiki_id}/w/api.php"}, "api.url"),
        ({"url": "https://a b/w/api.php"}, "api.url"),
    ],
)
def test_what_is_refused_before_anything_is_asked(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(Misconfigured, match=named) as caught:
        check(settings(**changes))
    assert caught.value.exit_code == 78
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"token": "t", "requests_per_minute": 1800, "concurrency": 3},
        {"requests_per_minute": 200},
        {"url": "http://127.0.0.1:8080/api.php", "contact": None, "requests_per_minute": 60_000, "concurrency": 20},
        {"url": "http://{domain}/api.php", "domains": ("wiki.example.net",), "contact": None, "requests_per_minute": 999},
        {"url": "http://notwikipedia.org/{domain}/api.php", "contact": None, "requests_per_minute": 999},
    ],
)
def test_what_is_allowed(changes: dict[str, Any]) -> None:
    check(settings(**changes))


def test_the_user_agent_says_who_and_how_to_reach_them() -> None:
    assert user_agent("ops@example.org").startswith("syncer/")
    assert "(ops@example.org; bot) aiohttp/" in user_agent("ops@example.org")
    assert "(bot) aiohttp/" in user_agent(None)
