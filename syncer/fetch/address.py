"""Which host a wiki is asked at, and what the settings must be for that. Pure.

Only the wiki's domain and id are taken from the feed, and only into the placeholders of ``api.url``, after the domain was
found in ``wiki.domains``. A host without a placeholder is the operator's own word.
"""

from __future__ import annotations

import re
from importlib import metadata
from string import Formatter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from syncer.config import PUBLIC_DOMAINS, ApiSettings, FeedSettings
from syncer.errors import Misconfigured, Unusable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from syncer.config import Settings, WikiSettings

FEED, API = FeedSettings().url, ApiSettings().url
PLACEHOLDERS = frozenset({"domain", "wiki_id"})
WIKI_ID = re.compile(r"[a-z0-9_-]{1,64}")
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)*")  # a name and nothing else: no port, no user, no path
HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")

# PROTOCOL 19, robot policy: 200 a minute and one at a time; with an account 2,000 and three, of which we leave a tenth.
ANONYMOUS = (200, 1)
WITH_TOKEN = (1800, 3)


def user_agent(contact: str | None) -> str:
    """Who we are, as the policy of Wikimedia wants it (PROTOCOL 20)."""
    who = f"{contact}; bot" if contact else "bot"
    return f"syncer/{metadata.version('wiki-syncer')} ({who}) aiohttp/{aiohttp.__version__}"


def address(api: ApiSettings, wiki: WikiSettings, wiki_id: str, domain: str) -> str:
    """The URL to ask a wiki at. Raises Unusable ``foreign_domain`` for a wiki that must not be asked."""
    used = _placeholders(api.url)
    if not used:
        return api.url
    domain = domain.lower()
    if WIKI_ID.fullmatch(wiki_id) and DOMAIN.fullmatch(domain) and _within(domain, wiki.domains):
        url = api.url.format(domain=domain, wiki_id=wiki_id)
        host = urlsplit(url).hostname or ""
        if not _placeholders(urlsplit(api.url).netloc) or _within(host, wiki.domains):
            return url
    raise Unusable("foreign_domain", f"{domain[:100]!r} ({wiki_id[:100]!r}) is not in wiki.domains, and is not asked")


def check(settings: Settings, *, processes: int = 1) -> None:
    """Raise Misconfigured (exit code 78) if these settings cannot or must not ask the API, by so many processes at once."""
    api = settings.api
    _check_url("api.url", api.url, API, PLACEHOLDERS)
    if api.token and not _in_header(api.token.get_secret_value()):
        raise Misconfigured("api.token has characters that no token has", hint="set it to the token alone, as it was issued")
    if not _check_manners(settings.contact, "api.url", api.url, API, settings.wiki.domains):
        return
    most, at_once = WITH_TOKEN if api.token else ANONYMOUS
    more = "" if api.token else "; an OAuth 2 owner-only token (api.token) allows more"
    if processes * api.concurrency > at_once and processes > 1:
        raise Misconfigured(
            f"{processes} shards would ask the public wikis {processes * api.concurrency} things at a time: they allow {at_once}",
            hint=f"run fewer shards{more}",
        )
    for key, value, limit in (("requests_per_minute", api.requests_per_minute, most), ("concurrency", api.concurrency, at_once)):
        if value > limit:
            raise Misconfigured(
                f"api.{key} is {value}: the public wikis allow {limit}", hint=f"set api.{key} to at most {limit}{more}"
            )


def check_feed(settings: Settings) -> None:
    """Raise Misconfigured (exit code 78) if these settings cannot or must not read the feed."""
    _check_url("feed.url", settings.feed.url, FEED)
    if URL(settings.feed.url).raw_query_string or URL(settings.feed.url).raw_fragment:
        raise Misconfigured("feed.url ends before the names of the streams, without ? and #", hint=f'set feed.url to "{FEED}"')
    _check_manners(settings.contact, "feed.url", settings.feed.url, FEED)


def _check_manners(contact: str | None, key: str, url: str, good: str, domains: Iterable[str] = ()) -> bool:
    """Whether the URL leads to a public host; there a client says who it is, and encrypts."""
    public = _is_public(url, domains)
    if contact and not _in_header(contact):
        raise Misconfigured("contact has characters that a User-Agent cannot have", hint="use an address or a URL, in ASCII")
    if public and not contact:
        raise Misconfigured(
            "contact is not set, and Wikimedia's policy demands one in the User-Agent",
            hint="set it to an address or URL where you can be reached: SYNCER_CONTACT=you@example.org",
        )
    if public and urlsplit(url).scheme != "https":
        raise Misconfigured(f"{key} is not https", hint=f'set {key} to "{good}"')
    return public


def _in_header(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _check_url(key: str, template: str, good: str, allowed: Collection[str] = ()) -> None:
    """Whether an address comes of it, as far as one can tell without going there."""
    try:
        fields = [field[1:] for field in Formatter().parse(template) if field[1] is not None]
        plain = all(name in allowed and not form and not conversion for name, form, conversion in fields)
        url = URL(template.format(**dict.fromkeys(allowed, "a.example")) if plain else "")
    except ValueError as error:
        raise Misconfigured(f"{key} is no address: {error}", hint=f'set {key} to "{good}"') from error
    host = url.raw_host or ""
    if url.scheme not in {"http", "https"} or not (HOST.fullmatch(host) or ":" in host) or url.port == 0:
        without = ", without other placeholders than {domain} and {wiki_id}" if allowed else ""
        raise Misconfigured(f"{key} has to be an http or https address{without}", hint=f'set {key} to "{good}"')


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def _is_public(url: str, domains: Iterable[str]) -> bool:
    """Whether the URL leads, or may lead, to a host of Wikimedia's."""
    if not _placeholders(urlsplit(url).netloc):
        return _within((URL(url).raw_host or "").rstrip("."), PUBLIC_DOMAINS)
    return any(
        _within(domain, PUBLIC_DOMAINS) or any(_within(public, [domain]) for public in PUBLIC_DOMAINS) for domain in domains
    )


def _within(host: str, domains: Iterable[str]) -> bool:
    """Whether the host is one of the domains, or ends with one on a label boundary."""
    return f".{host.lower()}".endswith(tuple("." + domain.lower().strip(".") for domain in domains))
