"""Authentication: the refresh token of the data directory, and the idTokens issued for it."""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from deploy_action.errors import InvalidInputError
from deploy_action.platform.storage import data_directory
from deploy_action.platform.storage.store import Store

TOKEN_LIFE_SECONDS = 3600


class Credentials:
    """Exchanges the refresh token for idTokens, which are valid for an hour.

    An idToken says when it expires, and is signed with the refresh token: nothing is stored, so
    that people can sign in while the disk is full, and another refresh token voids all idTokens.
    """

    def __init__(self, refresh_token: str, clock: Callable[[], float]) -> None:
        """Raise `InvalidInputError` for a blank refresh token."""
        if not refresh_token.strip():
            raise InvalidInputError.of(
                message="The platform's refresh token is blank.",
                hint="Leave it unset to have one generated, or set it to a long random text.",
            )
        self._refresh_token = _encode(refresh_token)
        self._clock = clock

    def exchange(self, refresh_token: str) -> str | None:
        """Return a new idToken, or None for a wrong refresh token."""
        if not secrets.compare_digest(self._refresh_token, _encode(refresh_token)):
            return None
        expires_at = math.ceil(self._clock() + TOKEN_LIFE_SECONDS)
        content = f"{secrets.token_urlsafe(16)}.{expires_at}"
        return f"{content}.{self._signature(content)}"

    def admits(self, id_token: str) -> bool:
        """Return whether the idToken was issued for this refresh token within the last hour."""
        content, _, signature = id_token.rpartition(".")
        if not secrets.compare_digest(_encode(signature), self._signature(content).encode()):
            return False
        return self._clock() < int(content.rpartition(".")[2])

    def _signature(self, content: str) -> str:
        # Earlier servers signed other texts with the same key.
        signed = _encode(f"idToken {content}")
        return hmac.new(self._refresh_token, signed, hashlib.sha256).hexdigest()


class ProjectKeys:
    """The keys of projects, with which models that run elsewhere report."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admits(self, project_id: str, password: str, model_id: str) -> bool:
        """Return whether this is a key of the project, and the model is one of it."""
        with self._store.snapshot() as snapshot:
            return (
                snapshot.has_project_key(project_id, pass_digest(password))
                and snapshot.model(project_id, model_id) is not None
            )


def pass_digest(password: str) -> str:
    """Return what is kept of a key's password: a UUID cannot be guessed from its SHA-256."""
    return hashlib.sha256(_encode(password)).hexdigest()


def _encode(token: str) -> bytes:
    return token.encode("utf-8", "surrogatepass")


def load_or_create_refresh_token(data: Path) -> tuple[str, bool]:
    """Return the refresh token stored in `data`, and whether it was just created.

    Only its owner can read the file. Raises `InvalidInputError` when the directory or the file
    cannot be used.
    """
    data_directory.prepare(data)
    path = data / data_directory.REFRESH_TOKEN
    try:
        with data_directory.locked(data):
            if path.exists():
                return _read_token(path), False
            return _create_token(path), True
    except (OSError, UnicodeDecodeError) as error:
        raise data_directory.lack_of_room(data, error) or InvalidInputError.of(
            message=f"The refresh token in {path} cannot be read or written."
        ) from error


def _read_token(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        token = file.read().strip()
    if not token:
        raise InvalidInputError.of(
            message=f"The refresh token file {path} is empty.",
            hint="Remove it to have a new token generated.",
        )
    return token


def _create_token(path: Path) -> str:
    """Write a new token; a crash leaves the whole file or none."""
    token = secrets.token_urlsafe(32)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    data_directory.sync_directory(path.parent)
    return token
