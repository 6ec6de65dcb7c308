"""Which proxy a request goes through, as the environment says: HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

aiohttp would look there by itself, with ``trust_env``; but then it also sends the wikis what stands in ``~/.netrc``.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from syncer.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping


def through(address: URL | str) -> Mapping[str, Any]:
    """What a request to this address is told of a proxy. Raises Misconfigured where the environment names an unfit one."""
    try:
        url = URL(address)
    except ValueError:
        return {}  # whoever asks there will say so
    named = getproxies().get(url.scheme)
    if not named or url.host is None or proxy_bypass(f"{url.host}:{url.port}"):
        return {}
    try:
        proxy = URL(named if "://" in named else f"http://{named}")
        fit = proxy.scheme == "http" and proxy.host is not None
    except ValueError:
        fit = False
    if not fit:  # whatever it is may hold a password
        raise Misconfigured(
            f"{url.scheme.upper()}_PROXY in the environment names no proxy that can be used",
            hint="http://host:port is what it takes",
        )
    told: dict[str, Any] = {"proxy": proxy.with_user(None)}  # who we are is no part of it: errors show it
    if proxy.user:
        word = b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        told["proxy_headers"] = {"Proxy-Authorization": f"Basic {word}"}
    return told
