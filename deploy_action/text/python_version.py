"""Which versions of Python a model may ask for, where any server may have them."""

from __future__ import annotations

from typing import Final

from deploy_action.lazy.patterns import lazy_regex

# The package's own oldest is 3.7, its default. Python 3.15.0 came out in October 2026 (PEP 790).
OLDEST: Final = (3, 7)
NEWEST: Final = (3, 15)
_FORM: Final = lazy_regex(r"([0-9]{1,3})\.([0-9]{1,3})(?:\.[0-9]{1,3})?")


def minor_version(text: str) -> tuple[int, int] | None:
    """Return the two numbers that begin a version such as `3.10` or `3.10.4`; None for others."""
    found = _FORM.fullmatch(text.strip())
    return (int(found[1]), int(found[2])) if found else None


def python_fault(text: str) -> tuple[str, str] | None:
    """Return why no model runs on a version, as a sentence, and what to do; None if it may.

    A text that is no version is left to others.
    """
    version = minor_version(text)
    if version is None or OLDEST <= version <= NEWEST:
        return None
    if version == (3, 1):
        hint = 'YAML and JSON read 3.10 without quotes as the number 3.1: write "3.10", in quotes.'
    else:
        hint = 'Name the version that the model was written for, in quotes: "3.10", for example.'
    if version > NEWEST:
        newest = ".".join(map(str, NEWEST))
        return f"there is no such Python yet; the newest that is known here is {newest}.", hint
    return "models run on Python 3.7 or later.", hint
