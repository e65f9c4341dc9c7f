"""Which of the machine's settings uv gets."""

from __future__ import annotations

import ssl

from deploy_action.platform.environments.installer import uv_environment


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
