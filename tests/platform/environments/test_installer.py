"""Which of the machine's settings uv gets."""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path

import pytest

from deploy_action.platform.environments.installer import Uv, UvFailedError, uv_environment
from tests.support.wire_server import WireServer, answering


def test_uv_trusts_the_certificates_that_are_named() -> None:
    chosen = uv_environment({"SSL_CERT_FILE": "a"})
    assert chosen["SSL_CERT_FILE"] == "a"
    assert "UV_SYSTEM_CERTS" not in chosen


def test_uv_trusts_the_system_by_default() -> None:
    """As pip does; a company's own authority is installed there."""
    assert ssl.get_default_verify_paths().cafile, "there are no certificates on this machine"
    assert uv_environment({})["UV_SYSTEM_CERTS"] == "true"
    assert "UV_SYSTEM_CERTS" not in uv_environment({"SSL_CERT_DIR": "somewhere"})


def test_a_setting_for_uv_itself_is_kept() -> None:
    assert uv_environment({"UV_SYSTEM_CERTS": "false"})["UV_SYSTEM_CERTS"] == "false"


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_proxy_that_refuses_uv_is_named(tmp_path: Path, scheme: str) -> None:
    host = "packages.example"
    refusal = answering(403)
    routes = {f"CONNECT {host}:443": refusal, "GET /simple/cedar/": refusal}
    (tmp_path / "wanted").write_text("cedar")
    with WireServer(routes) as server:
        url = server.url
        environ = {
            "PATH": os.environ["PATH"],
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "UV_DEFAULT_INDEX": f"{scheme}://{host}/simple",
            "UV_HTTP_RETRIES": "0",
            f"{scheme}_proxy": url.replace("//", "//trader:secret@"),
        }
        with pytest.raises(UvFailedError) as caught:
            Uv.for_environ(environ).run(
                *("pip", "compile", "wanted"),
                cwd=tmp_path,
                on_line=lambda _: None,
                stop=threading.Event(),
            )
    said = f"through the proxy {url} (from the variable `{scheme.upper()}_PROXY` or `"
    assert said in caught.value.reason
    assert said in caught.value.cause
