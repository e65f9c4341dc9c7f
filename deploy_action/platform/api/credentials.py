"""Authentication: the refresh token of the data directory, and the idTokens issued for it."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

from deploy_action.errors import InvalidInputError
from deploy_action.platform.api.sign_in_limits import SignInLimits
from deploy_action.platform.storage import data_directory
from deploy_action.platform.storage.store import Store

TOKEN_LIFE_SECONDS = 3600
_ID_TOKEN = "idToken"  # noqa: S105  # a kind of token


class GivenVariables(TypedDict):
    """What may be told of variables: their names, and a digest of what they are.

    Only this server can make the digest, so nobody can guess values by it. It is blank for none.
    """

    names: list[str]
    digest: str


class Credentials:
    """Issues what is signed with the refresh token: idTokens for an hour, sessions, and others.

    Each says when it expires. Nothing is stored, so that people can sign in while the disk is full,
    and another refresh token voids all of them.
    """

    def __init__(self, refresh_token: str, clock: Callable[[], float]) -> None:
        """Raise `InvalidInputError` for a blank refresh token."""
        if not refresh_token.strip():
            raise InvalidInputError.of(
                message="The platform's refresh token is blank.",
                hint="Leave it unset to have one generated, or set it to a long random text.",
            )
        self.refresh_token = refresh_token
        self._key = _encode(refresh_token)
        self._clock = clock
        self._limits = SignInLimits()

    def is_refresh_token(self, text: str) -> bool:
        """Return whether a text is the refresh token, in a time that does not depend on it."""
        return secrets.compare_digest(self._key, _encode(text))

    def recognises(self, refresh_token: str, address: str) -> bool:
        """Return whether a text from an address is the refresh token.

        Raises `TooManyTokensError` if too many wrong ones came from there.
        """
        return self._limits.admits(address, refresh_token, self.is_refresh_token)

    def exchange(self, refresh_token: str, address: str = "") -> str | None:
        """Return a new idToken, or None for a wrong refresh token; raises as `recognises`."""
        if not self.recognises(refresh_token, address):
            return None
        return self.issue(_ID_TOKEN, TOKEN_LIFE_SECONDS)

    def admits(self, id_token: str) -> bool:
        """Return whether the idToken was issued for this refresh token within the last hour."""
        return self.expiry(_ID_TOKEN, id_token) is not None

    def issue(self, kind: str, seconds: float) -> str:
        """Return a new token of a kind that is valid for so long."""
        content = f"{secrets.token_urlsafe(16)}.{math.ceil(self._clock() + seconds)}"
        return f"{content}.{self.signature(kind, content)}"

    def expiry(self, kind: str, token: str) -> float | None:
        """Return when a token of a kind expires; None if it has expired, or was not issued here."""
        content, _, signature = token.rpartition(".")
        if not secrets.compare_digest(_encode(signature), self.signature(kind, content).encode()):
            return None
        expires_at = float(content.rpartition(".")[2])
        return expires_at if self._clock() < expires_at else None

    def signature(self, kind: str, content: str) -> str:
        """Return what only this server can make of a text for a purpose, in lower-case hex."""
        signed = _encode(f"{kind} {content}")
        return hmac.new(self._key, signed, hashlib.sha256).hexdigest()

    def given_variables(self, variables: Mapping[str, str]) -> GivenVariables:
        """Return what may be told of variables, whose values may be secrets."""
        names = sorted(variables)
        if not names:
            return {"names": [], "digest": ""}
        text = json.dumps(dict(variables), sort_keys=True)
        return {"names": names, "digest": self.signature("variables", text)}


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
