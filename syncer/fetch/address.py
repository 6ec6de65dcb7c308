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

from syncer.config import PUBLIC_DOMAINS
from syncer.errors import Misconfigured, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncer.config import ApiSettings, Settings, WikiSettings

PLACEHOLDERS = frozenset({"domain", "wiki_id"})
WIKI_ID = re.compile(r"[a-z0-9_-]{1,64}")
DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)*")  # a name and nothing else: no port, no user, no path

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


def check(settings: Settings, *, feed: bool = False) -> None:
    """Raise Misconfigured (exit code 78) if these settings cannot or must not ask the API; with ``feed``, nor read the feed."""
    api = settings.api
    _check_url(api.url)
    if settings.contact and not (settings.contact.isascii() and settings.contact.isprintable()):
        raise Misconfigured("contact has characters that a User-Agent cannot have", hint="use an address or a URL, in ASCII")
    public = _is_public(api.url, settings.wiki.domains)
    if not settings.contact and (public or (feed and _is_public(settings.feed.url, ()))):
        raise Misconfigured(
            "contact is not set, and Wikimedia's policy demands one in the User-Agent",
            hint="set it to an address or URL where you can be reached: SYNCER_CONTACT=you@example.org",
        )
    if not public:
        return
    if urlsplit(api.url).scheme != "https":
        raise Misconfigured("api.url is not https", hint='set api.url to "https://{domain}/w/api.php"')
    most, at_once = WITH_TOKEN if api.token else ANONYMOUS
    more = "" if api.token else "; an OAuth 2 owner-only token (api.token) allows more"
    for key, value, limit in (("requests_per_minute", api.requests_per_minute, most), ("concurrency", api.concurrency, at_once)):
        if value > limit:
            raise Misconfigured(
                f"api.{key} is {value}: the public wikis allow {limit}", hint=f"set api.{key} to at most {limit}{more}"
            )


def _check_url(url: str) -> None:
    try:
        used, parts = _placeholders(url), urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Misconfigured(f"api.url is no URL: {error}", hint='set api.url to "https://{domain}/w/api.php"') from error
    if parts.scheme not in {"http", "https"} or not parts.netloc or port == 0 or not used <= PLACEHOLDERS:
        raise Misconfigured(
            "api.url has to be an http or https URL, without other placeholders than {domain} and {wiki_id}",
            hint='set api.url to "https://{domain}/w/api.php"',
        )


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def _is_public(url: str, domains: Iterable[str]) -> bool:
    """Whether the URL leads, or may lead, to a host of Wikimedia's."""
    netloc = urlsplit(url).netloc
    if not _placeholders(netloc):
        return _within((urlsplit(url).hostname or "").rstrip("."), PUBLIC_DOMAINS)
    return any(
        _within(domain, PUBLIC_DOMAINS) or any(_within(public, [domain]) for public in PUBLIC_DOMAINS) for domain in domains
    )


def _within(host: str, domains: Iterable[str]) -> bool:
    """Whether the host is one of the domains, or ends with one on a label boundary."""
    return f".{host.lower()}".endswith(tuple("." + domain.lower().strip(".") for domain in domains))
