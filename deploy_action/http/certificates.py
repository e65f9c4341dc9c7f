"""Certificate authorities of one's own, named in one variable for everything that a run starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError

# Each is read by some program: requests, curl, pip, uv and OpenSSL, and `websocket-client`.
NAMES: Final = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "SSL_CERT_FILE",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
)
_HEAD: Final = b"-----BEGIN CERTIFICATE-----"
# What `trusted_everywhere` made last.
_MADE: Final[list[Path]] = []


def authorities() -> str:
    """Return the file with the authorities that this process trusts: by default the public ones."""
    from certifi import where

    return str(_MADE[-1]) if _MADE else where()


def trusted_everywhere(environ: Mapping[str, str], workspace: Path) -> dict[str, str]:
    """Return variables that make every program trust the authorities that one of them names.

    All of `NAMES` then name one file, with the public authorities in it and those that were named,
    by paths relative to `workspace`. Nothing is named: no variables. The file lasts as long as this
    process, which trusts it from here on, and every user may read it, as models of other users do.

    Raises:
        InvalidInputError: a file cannot be read, has no certificate in PEM form, or a damaged one.
    """
    named = {name: environ[name] for name in NAMES if environ.get(name, "").strip()}
    if not named:
        return {}
    files = {workspace / path: name for name, path in reversed(named.items())}
    blocks = [_read(path, name) for path, name in files.items()]
    import atexit
    import tempfile

    from certifi import where

    with tempfile.NamedTemporaryFile(prefix="authorities-", suffix=".pem", delete=False) as file:
        file.write(b"\n".join([Path(where()).read_bytes(), *blocks]))
    place = Path(file.name)
    place.chmod(0o644)
    atexit.register(place.unlink, missing_ok=True)
    _MADE.append(place)
    return dict.fromkeys(NAMES, str(place))


def _read(path: Path, variable: str) -> bytes:
    """Return the certificates in a file, or in the files of a directory."""
    import ssl

    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        read = {one: one.read_bytes() for one in files if one.is_file() or one == path}
    except OSError as error:
        raise InvalidInputError.of(
            message=f"The variable `{variable}` names the certificates in {path}, which cannot be "
            f"read: {error.strerror or error}.",
            hint="Correct the path, which is relative to the workspace, or remove the variable. A "
            "container sees only the files of the workspace.",
        ) from error
    found = {one: block for one, block in read.items() if _HEAD in block}
    if not found:
        raise InvalidInputError.of(
            message=f"The variable `{variable}` names {path}, and there is no certificate in PEM "
            "form in it (`-----BEGIN CERTIFICATE-----`).",
            hint="Name the file with the authority's certificate, in PEM form.",
        )
    for one in found:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(one)
        except OSError as error:
            raise InvalidInputError.of(
                message=f"The variable `{variable}` names the certificates in {path}, and one in "
                f"{one.name} is damaged: OpenSSL cannot read it.",
                hint="Copy the authority's certificate once more, with its first and last line.",
            ) from error
    return b"\n".join(found.values())
