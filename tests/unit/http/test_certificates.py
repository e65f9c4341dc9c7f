"""One variable names an authority for everything: requests, uv, and the model's own libraries."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from certifi import where

from deploy_action.errors import InvalidInputError
from deploy_action.http.certificates import NAMES, trusted_everywhere


@pytest.fixture(scope="module")
def authorities() -> tuple[bytes, bytes]:
    return tuple(trustme.CA().cert_pem.bytes() for _ in range(2))  # type: ignore[return-value]


def test_without_any_nothing_is_set(tmp_path: Path) -> None:
    assert trusted_everywhere({"SSL_CERT_FILE": " ", "PATH": "/bin"}, tmp_path) == {}


@pytest.mark.parametrize("variable", NAMES)
def test_each_variable_counts_for_all(
    tmp_path: Path, authorities: tuple[bytes, bytes], variable: str
) -> None:
    """The public authorities stay trusted: packages and prices come from public servers."""
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ours.pem").write_bytes(authorities[0])
    chosen = trusted_everywhere({variable: "certs/ours.pem"}, tmp_path)
    assert set(chosen) == set(NAMES)
    (place,) = {Path(value) for value in chosen.values()}
    assert place.read_bytes() == Path(where()).read_bytes() + b"\n" + authorities[0]
    assert place.stat().st_mode & 0o777 == 0o644


def test_several_files_and_a_directory_are_put_together(
    tmp_path: Path, authorities: tuple[bytes, bytes]
) -> None:
    (tmp_path / "one.pem").write_bytes(authorities[0])
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "two.pem").write_bytes(authorities[1])
    (tmp_path / "many" / "README").write_text("not a certificate")
    environ = {"SSL_CERT_FILE": str(tmp_path / "one.pem"), "REQUESTS_CA_BUNDLE": "many"}
    text = Path(trusted_everywhere(environ, tmp_path)["SSL_CERT_FILE"]).read_bytes()
    assert authorities[0] in text
    assert authorities[1] in text
    assert b"not a certificate" not in text


def test_what_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"`SSL_CERT_FILE` names .*gone.pem.* No such file"):
        trusted_everywhere({"SSL_CERT_FILE": "gone.pem"}, tmp_path)
    (tmp_path / "key.der").write_bytes(b"\x30\x82")
    with pytest.raises(InvalidInputError, match=r"`PIP_CERT` names .* no certificate in PEM form"):
        trusted_everywhere({"PIP_CERT": "key.der"}, tmp_path)


def test_a_damaged_certificate_is_an_error_at_once(
    tmp_path: Path, authorities: tuple[bytes, bytes]
) -> None:
    """Otherwise each server would be said to speak no TLS."""
    (tmp_path / "good.pem").write_bytes(authorities[0])
    (tmp_path / "cut.pem").write_bytes(authorities[1][:-40])
    with pytest.raises(InvalidInputError, match=r"`SSL_CERT_FILE` names .* in cut.pem is damaged"):
        trusted_everywhere({"SSL_CERT_FILE": "."}, tmp_path)
