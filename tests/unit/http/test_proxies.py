"""Which proxy a message names."""

from __future__ import annotations

import sys
from base64 import b64decode
from collections.abc import Mapping

import pytest

from deploy_action.http.proxies import (
    address_of_proxy,
    credentials_for,
    instead_of,
    may_be_set,
    passwords_in,
    proxy_in,
    proxy_of,
)

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "url", "variable"),
    [
        (
            {"HTTPS_PROXY": "http://me:secret@proxy.example:3128"},
            "https://a.example/x",
            "HTTPS_PROXY",
        ),
        ({"http_proxy": PROXY, "HTTP_PROXY": "http://other"}, "http://a.example", "HTTP_PROXY"),
        ({"ALL_PROXY": PROXY}, "https://a.example", "ALL_PROXY"),
        ({"HTTP_PROXY": PROXY}, "https://a.example", None),
        (
            {"HTTPS_PROXY": PROXY, "NO_PROXY": "b.example,a.example"},
            "https://a.example:8443/",
            None,
        ),
        ({"HTTPS_PROXY": ""}, "https://a.example", None),
    ],
)
def test_the_proxy_of_another_program(
    environ: Mapping[str, str], url: str, variable: str | None
) -> None:
    found = proxy_in(environ, url)
    assert (found and found.variable) == variable
    assert found is None or found.url == PROXY


def test_only_without_tls_can_a_proxy_answer_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, PROXY)
    monkeypatch.setenv("no_proxy", "mine.example")
    assert f"the proxy {PROXY} (from the variable `HTTP_PROXY` or" in instead_of("http://a.example")
    assert instead_of("https://a.example") == ""
    assert instead_of("http://mine.example") == ""


@pytest.mark.parametrize(
    ("proxy", "passwords"),
    [
        ("http://me:pass%2Fword@proxy.example:3128", {"pass%2Fword", "pass/word"}),
        ("http://me:pass:/@word@proxy.example", {"pass:/@word"}),
        ("me:password@proxy.example", {"password"}),
        ("http://a-long-token@proxy.example", {"a-long-token"}),
        ("http://me:short@proxy.example", set()),
        ("http://proxy.example:3128/a", set()),
        ("", set()),
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
def test_a_proxy_has_a_password(proxy: str, passwords: set[str], name: str) -> None:
    assert {*passwords_in({name: proxy, "UV_INDEX": "https://me:password2@a.example"})} == passwords


@pytest.mark.parametrize(
    ("excepted", "url", "is_used"),
    [
        ("10.0.0.0/8", "http://10.1.2.3:9080", False),
        ("10.0.0.0/8", "http://11.1.2.3:9080", True),
        ("10.0.0.0/8", "http://ten.example", True),
        ("192.0.2.7", "http://192.0.2.7", False),
        ("fd00::/8", "http://[fd00::1]:9080", False),
        ("::1", "http://[::1]:9080", False),
        ("[::1]", "http://[::1]", False),
        ("0.0.0.0/0", "http://[::1]", True),
        ("mine.example", "http://api.mine.example", False),
        ("mine.example", "http://notmine.example", True),
        (".mine.example", "http://api.mine.example", False),
        ("mine.example:9080", "http://mine.example:9080", False),
        ("mine.example:9080", "http://mine.example:80", True),
        ("*", "http://any.example", False),
        (" ,broken/99, a.example ", "http://a.example", False),
        ("", "http://a.example", True),
    ],
)
def test_no_proxy_names_hosts_domains_and_networks(
    monkeypatch: pytest.MonkeyPatch, excepted: str, url: str, *, is_used: bool
) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("no_proxy", excepted)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert (proxy_of(url) is not None) == is_used
    assert address_of_proxy(url) == (PROXY if is_used else "")


def test_a_proxy_may_be_written_without_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "me:secret@proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert address_of_proxy("http://a.example") == "http://me:secret@proxy.example:3128"
    found = proxy_of("http://a.example")
    assert found is not None
    assert "secret" not in found.named


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have settings for proxies")
def test_without_variables_no_proxy_is_looked_for() -> None:
    assert not may_be_set({"PATH": "/bin", "HTTPS_PROXY": ""})
    assert may_be_set({"https_proxy": PROXY})
    assert may_be_set({"ALL_PROXY": PROXY})


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("me:p%40ss%3A%2F%25@", "me:p@ss:/%"),
        ("me%3Aself:p:q@", "me:self:p:q"),
        ("me:p@ss@", "me:p@ss"),
        ("me:gr\u00f6\u00dfer@", "me:gr\u00f6\u00dfer"),
        ("me:%E2%82%AC@", "me:\u20ac"),
        ("token@", "token:"),
        ("me:@", "me:"),
    ],
)
def test_a_proxy_gets_the_name_and_the_password_that_were_meant(written: str, sent: str) -> None:
    header = credentials_for(f"http://{written}proxy.example:3128")["Proxy-Authorization"]
    scheme, word = header.split()
    assert (scheme, b64decode(word).decode()) == ("Basic", sent)
    assert credentials_for(PROXY) == {}
