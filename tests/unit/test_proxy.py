from __future__ import annotations

from base64 import b64decode

import pytest
from yarl import URL

from syncer.errors import Misconfigured
from syncer.proxy import through

FEED = URL("https://stream.wikimedia.org/v2/stream/recentchange")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("said", ["http://proxy:3128", "proxy:3128", "http://proxy:3128/"])
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_is_what_the_environment_names(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    assert through(FEED) == {}
    monkeypatch.setenv(name, said)
    assert str(through(FEED)["proxy"]).rstrip("/") == "http://proxy:3128"
    assert through(FEED.with_scheme("http")) == {}


@pytest.mark.parametrize(
    "said", ["stream.wikimedia.org", ".wikimedia.org", "other,wikimedia.org", "*", "stream.wikimedia.org:443"]
)
def test_some_hosts_go_without(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", said)
    assert through(FEED) == {}
    assert (through(URL("https://en.wikipedia.org")) == {}) == (said == "*")


def test_who_it_is_for_the_proxy_is_no_part_of_an_address_that_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cr%3At@proxy:3128")
    told = through(FEED)
    assert str(told["proxy"]).rstrip("/") == "http://proxy:3128"
    assert b64decode(told["proxy_headers"]["Proxy-Authorization"].removeprefix("Basic ")) == b"me:s3cr:t"


@pytest.mark.parametrize("said", ["socks5://me:s3cr3t@proxy:1080", "http://", "https://proxy:s3cr3t", "http://a:b:s3cr3t"])
def test_an_unfit_one_is_a_setting_to_mend(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", said)
    with pytest.raises(Misconfigured, match="HTTPS_PROXY") as caught:
        through(FEED)
    assert caught.value.hint
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("said", ["https://[", "no address", ""])
def test_what_is_no_address_is_for_others_to_complain_of(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert through(said) == {}
