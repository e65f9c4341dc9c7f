"""Files that hold secrets by their names: packed only where an ignore pattern takes them back.

What is packed goes to the server and to everyone who can read there. `keys.json` is none of these:
the package reads it, so a model needs it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_NAMES: Final = re.compile(
    # Variables, private keys and stores of keys, the keys of other accounts, and tools' passwords.
    r"\.env(rc|\..+)?|.+\.env|.+\.(key|pem|p8|p12|pfx|ppk|jks|keystore)|id_(rsa|dsa|ecdsa|ed25519)"
    r"|keys[._-].*\.json|.+[._-]keys\.json|\.netrc|\.pypirc|\.git-credentials",
    re.IGNORECASE,
)
_EXAMPLES: Final = re.compile(r"[._-](example|sample|template|dist|schema)\b", re.IGNORECASE)
_MAY_BE_CERTIFICATE: Final = (".pem",)
_PRIVATE: Final = b"PRIVATE KEY"
_MOST_BYTES: Final = 1 << 20


def may_hold_secrets(name: str, file: Path) -> bool:
    """Whether a file, by the last part of its name, is one that holds secrets.

    Examples such as `.env.example` are not, nor is a `.pem` without a private key: certificates are
    public.
    """
    if not _NAMES.fullmatch(name) or _EXAMPLES.search(f".{name}"):
        return False
    if not name.lower().endswith(_MAY_BE_CERTIFICATE):
        return True
    try:
        with file.open("rb") as stream:
            return _PRIVATE in stream.read(_MOST_BYTES)
    except OSError:
        return True
