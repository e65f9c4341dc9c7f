"""Which proxy a message names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from deploy_action.http.proxies import instead_of, proxy_in

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
