"""Only hosts in ``wiki.domains`` are asked, and public ones only with manners."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.config import Settings
from syncer.errors import Misconfigured, Unusable
from syncer.fetch import check, user_agent
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


def test_a_public_feed_demands_a_contact_whatever_the_api_is() -> None:
    own = settings(contact=None, url="http://127.0.0.1:8080/api.php")
    check(own)
    with pytest.raises(Misconfigured, match="contact"):
        check(own, feed=True)
    check(own.model_copy(update={"feed": own.feed.model_copy(update={"url": "http://127.0.0.1:8081/v2/stream"})}), feed=True)


def test_the_defaults_with_a_contact_are_in_order() -> None:
    check(settings())


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
        ({"url": "https://Wikidata.org:443/{domain}/w/api.php", "contact": None}, "contact"),
        ({"domains": ("org",), "contact": None}, "contact"),
        ({"domains": ("de.wikipedia.org",), "contact": None}, "contact"),
        ({"contact": "me@example.org\r\nX: y"}, "User-Agent"),
        ({"contact": "mé@example.org"}, "User-Agent"),
        ({"url": "https:///w/api.php"}, "api.url"),
        ({"url": "ftp://{domain}/w/api.php"}, "api.url"),
        ({"url": "/w/api.php"}, "api.url"),
        ({"url": "https://{domain/w/api.php"}, "api.url"),
        ({"url": "https://{}/w/api.php"}, "api.url"),
        ({"url": "https://{domain.__class__}/w/api.php"}, "api.url"),
        ({"url": "https://{host}/w/api.php"}, "api.url"),
        ({"url": "https://example.org:port/w/api.php"}, "api.url"),
        ({"url": "https://example.org:0/w/api.php"}, "api.url"),
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
