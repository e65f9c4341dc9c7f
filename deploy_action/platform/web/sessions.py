"""Who is signed in: a cookie that this server signed, and what a form has to repeat of it."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping
from typing import Final

from deploy_action.platform.api.credentials import Credentials
from deploy_action.platform.storage.store import Store
from deploy_action.records import dataclass

SESSION_SECONDS: Final = 14 * 86_400
_SESSION: Final = "session"
_CSRF: Final = "form of"


@dataclass(frozen=True, slots=True)
class Session:
    """A session of somebody who is signed in; `expires_at` is in seconds since 1970.

    `csrf` is what each form has to send: other sites do not know it.
    """

    token: str
    expires_at: float
    csrf: str


class Sessions:
    """Begins, recognises and ends sessions. Only the end of one is stored."""

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self._store = store
        self._credentials = credentials
        self._ended: set[str] = set()  # also on a full disk

    def begin(self) -> Session:
        """Return a new session of somebody who has shown the refresh token."""
        token = self._credentials.issue(_SESSION, SESSION_SECONDS)
        return self._session(token, self._store.clock() + SESSION_SECONDS)

    def find(self, cookies: Mapping[str, str], *, is_secure: bool) -> Session | None:
        """Return the session of a request with these cookies, None if it has none."""
        token = cookies.get(cookie_name(is_secure=is_secure), "")
        expires_at = self._credentials.expiry(_SESSION, token)
        if expires_at is None or self._has_ended(token):
            return None
        return self._session(token, expires_at)

    def is_open(self, session: Session) -> bool:
        """Return whether a session has neither expired nor ended since it was found."""
        expires_at = self._credentials.expiry(_SESSION, session.token)
        return expires_at is not None and not self._has_ended(session.token)

    def end(self, session: Session) -> None:
        """Sign out: the cookie is of no use any more, whoever has it."""
        self._ended.add(_id(session.token))
        try:
            with self._store.transaction() as transaction:
                transaction.sessions.end(_id(session.token), session.expires_at)
        except (OSError, sqlite3.Error):
            return  # a full disk: it is remembered until this server ends

    def is_form_of(self, session: Session, csrf: str) -> bool:
        """Return whether a form was made for this session."""
        return secrets.compare_digest(session.csrf.encode(), csrf.encode("utf-8", "replace"))

    def _has_ended(self, token: str) -> bool:
        if _id(token) in self._ended:
            return True
        with self._store.snapshot() as snapshot:
            return snapshot.sessions.has_ended(_id(token))

    def _session(self, token: str, expires_at: float) -> Session:
        return Session(token, expires_at, self._credentials.signature(_CSRF, token))


def cookie_name(*, is_secure: bool) -> str:
    """Return the name of the session's cookie.

    Browsers take one that begins with `__Host-` from a secure page only, for this host alone.
    """
    return "__Host-session" if is_secure else "session"


def _id(token: str) -> str:
    return token.partition(".")[0]
