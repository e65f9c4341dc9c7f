"""Files that hold secrets by their names: packed only where an ignore pattern takes them back.

What is packed goes to the server and to everyone who can read there. `keys.json` is none of these:
the package reads it, so a model needs it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.regular_files import open_regular

_COPY: Final = r"(~|[._~-](bak|backup|copy|old|orig|save|swp|[0-9]+))"
_NAMES: Final = lazy_regex(
    # Variables, private keys and stores of keys, the keys of other accounts, and tools' passwords.
    r"(\.env(rc|[._~-].*)?|.+\.env|.+\.(key|pem|p8|p12|pfx|ppk|jks|keystore)"
    r"|id_(rsa|dsa|ecdsa|ed25519)|keys[._-].*\.json|.+[._-]keys\.json"
    rf"|\.netrc|\.pgpass|\.pypirc|\.git-credentials){_COPY}?|keys\.json{_COPY}",
    re.IGNORECASE,
)
_EXAMPLES: Final = lazy_regex(
    r"[._-](example|sample|template|dist|schema)(\.(env|json|key|pem))?", re.IGNORECASE
)
_MAY_BE_CERTIFICATE: Final = lazy_regex(rf".+\.pem{_COPY}?", re.IGNORECASE)
_PRIVATE: Final = b"PRIVATE KEY"
_MOST_BYTES: Final = 1 << 20


def may_hold_secrets(name: str, file: Path) -> bool:
    """Whether a file, by the last part of its name, is one that holds secrets.

    The name of the file itself counts as well, and that of the one to which a link leads. Examples
    such as `.env.example` are not, nor is a `.pem`, unless there is a private key in them:
    certificates are public.
    """
    names = {name, file.name, _name_of_target(file)}
    secret = [one for one in names if looks_secret(one)]
    if not secret:
        return False
    return any(map(names_secrets, secret)) or _has_private_key(file)


def looks_secret(name: str) -> bool:
    """Whether a file of that name may hold secrets; what is in it decides on some."""
    return _NAMES.fullmatch(name) is not None


def names_secrets(name: str) -> bool:
    """Whether a file of that name holds secrets, whatever is in it."""
    return looks_secret(name) and not _may_be_public(name)


def _name_of_target(file: Path) -> str:
    if not file.is_symlink():
        return file.name
    try:
        file.stat()  # which refuses a chain of links that is too long for the next line
        return Path(os.path.realpath(file)).name
    except OSError:
        return file.name


def _may_be_public(name: str) -> bool:
    is_example = any(found.end() == len(name) + 1 for found in _EXAMPLES.finditer(f".{name}"))
    return is_example or _MAY_BE_CERTIFICATE.fullmatch(name) is not None


def _has_private_key(file: Path) -> bool:
    try:
        with os.fdopen(open_regular(file)[0], "rb") as stream:
            return _PRIVATE in stream.read(_MOST_BYTES)
    except OSError:
        return True
