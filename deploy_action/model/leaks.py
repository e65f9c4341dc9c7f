"""Reports secrets in a model's files: never their text, but where they are.

A file that git tracks is a leak to whoever can read the repository, now or later; one that an
earlier step of a workflow wrote is not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from deploy_action.bundle.secret_files import may_hold_secrets, names_secrets
from deploy_action.bundle.selection import Entry, Selection
from deploy_action.errors import Problem, Severity
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.model.live.code import Code
from deploy_action.records import dataclass, replace
from deploy_action.regular_files import OpenTree, SourceTree
from deploy_action.text.harmless import is_placeholder
from deploy_action.text.likely_keys import LikelyKey, likely_keys, looks_real
from deploy_action.text.located_json import JsonValue, LocatedJson, Redact, parse_json
from deploy_action.text.quantities import count
from deploy_action.text.redaction import key_lines, redacted

KEYS_NAME: Final = "keys.json"
_NOTIFY: Final = "notify.json"
_SOURCES: Final = frozenset(
    {".py", ".ipynb", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".sh"}
)
_BARE_VALUES: Final = frozenset({".yaml", ".yml", ".ini", ".cfg", ".conf", ".sh"})
_OWN_CHECKS: Final = frozenset({KEYS_NAME, _NOTIFY, "blankly.json"})
_STRING_VALUE: Final = lazy_regex(r':\s*+"((?:[^"\\\r\n]|\\.)*+)"')
_ASSIGNMENT: Final = lazy_regex(rb"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=[ \t]*(.*)$", re.MULTILINE)
_PRIVATE: Final = b"PRIVATE KEY"
_EVERYONE: Final = "everyone who can read it, now or later"
# What the package writes into a new notify.json (1.18.25b0, default_notify_settings).
_OF_TEMPLATE: Final = "my_password"
_MOST_BYTES_OF_ONE: Final = 1 << 20
# Twenty megabytes take half a second; a model has a few hundred kilobytes.
_MOST_BYTES: Final = 4 << 20
_MOST_PLACES: Final = 10
_LAST: Final = 2


@dataclass(frozen=True, slots=True)
class Leaks:
    """What looks like keys in the files that were selected, each with its file.

    `unread` counts the scripts and notebooks that are too large to be searched.
    """

    selection: Selection
    found: tuple[tuple[str, LikelyKey], ...]
    unread: int

    @property
    def values(self) -> tuple[str, ...]:
        """What is to be masked: texts that look like keys, as in `find_leaked_keys`."""
        return key_lines(key.value for _, key in self.found)


def find_leaked_keys(files: SourceTree) -> tuple[str, ...]:
    """Return the values in a model's `keys.json` that look like keys, tracked by git or not.

    They are to be masked. Other values are not: whoever writes the file, such as the author of a
    pull request, could mask words of what is printed, and of later steps.
    """
    document = _read_json(files, KEYS_NAME)
    if document is None:
        return ()
    found = [value for _, value in _real_values(document.value)]
    if not document.readable:
        found = _STRING_VALUE.findall(document.text)
    return key_lines(found)


def find_leaks(selection: Selection) -> Leaks:
    """Look for what looks like keys in scripts, notebooks and settings that are packed.

    Files of over 1 MiB, and what is over 4 MiB together, are not read.
    """
    found: list[tuple[str, LikelyKey]] = []
    left, unread = _MOST_BYTES, 0
    with _opened(selection) as tree:
        for entry in sorted(_searchable(selection), key=lambda one: (_rank(one.name), one.size)):
            name = entry.name
            is_small = entry.size <= min(_MOST_BYTES_OF_ONE, left)
            data = _read_entry(tree, entry) if is_small else None
            if data is None:
                unread += _rank(name) < _LAST
                continue
            left -= len(data)
            is_code = _ending(name) not in _BARE_VALUES
            found += ((name, key) for key in likely_keys(data, is_code=is_code))
    return Leaks(selection, tuple(found), unread)


def _searchable(selection: Selection) -> Iterator[Entry]:
    """Yield the files that people write, but those that have checks of their own."""
    for entry in selection.entries:
        is_source = _ending(entry.name) in _SOURCES and not entry.is_directory
        if is_source and entry.name not in _OWN_CHECKS:
            yield entry


def _ending(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


@contextmanager
def _opened(selection: Selection) -> Iterator[OpenTree | None]:
    """Open the files of a selection, all at once for speed; None if they are gone."""
    with ExitStack() as stack:
        tree = None
        with suppress(OSError):
            tree = stack.enter_context(selection.tree.opened())
        yield tree


def _read_entry(tree: OpenTree | None, entry: Entry) -> bytes | None:
    with suppress(OSError):
        return None if tree is None else tree.read(entry.source, _MOST_BYTES_OF_ONE)
    return None


def _rank(name: str) -> int:
    return 0 if name.endswith(".py") else 1 if name.endswith(".ipynb") else _LAST


def leak_problems(
    leaks: Leaks,
    code: Code,
    is_tracked: Callable[[Path], bool],
    *,
    keys_injected: bool,
    redact: Redact = str,
) -> Iterator[Problem]:
    """Yield where secrets are, and which files are left out because they may hold some.

    `code` is what of the scripts runs, and `is_tracked` says whether git has a file.
    `keys_injected` says that the bundle's `keys.json` does not come from the repository, whose own
    is not used then. Whatever messages quote from a file goes through `redact` before it is cut.
    """
    selection = leaks.selection

    def is_committed(name: str) -> bool:
        return is_tracked(selection.files.path(name))

    yield from _keys_problems(selection, is_committed, redact, keys_injected=keys_injected)
    yield from _notify_problems(selection, is_committed)
    yield from _left_out(selection, code, is_committed)
    for name, key in leaks.found[:_MOST_PLACES]:
        is_meant = may_hold_secrets(posixpath.basename(name), selection.files.path(name))
        if (is_leak := is_committed(name)) or not is_meant:  # a pattern took it back
            yield _in_source(name, key, is_committed=is_leak)
    if len(leaks.found) > _MOST_PLACES:
        yield Problem(
            message=f"{count(len(leaks.found) - _MOST_PLACES, 'more line')} of the model may hold "
            "a key or a password.",
            hint="Correct the ones above first.",
            severity=Severity.WARNING,
        )
    if leaks.unread:
        yield Problem(
            message=f"{count(leaks.unread, 'file')} with code, too large for that, not searched "
            "for keys and passwords.",
            hint="Look yourself that there are none in them.",
            severity=Severity.NOTICE,
        )


def _keys_problems(
    selection: Selection,
    is_committed: Callable[[str], bool],
    redact: Redact,
    *,
    keys_injected: bool,
) -> Iterator[Problem]:
    known = find_leaked_keys(selection.files)
    document = _read_json(selection.files, KEYS_NAME, lambda text: redact(redacted(text, known)))
    if document is None:
        return
    if document.problems and not keys_injected and selection.includes(KEYS_NAME):
        yield replace(document.problems[0], severity=Severity.WARNING, path=KEYS_NAME)
    first = next(_real_values(document.value), None)
    if first is None or not is_committed(KEYS_NAME):
        return
    line, column = document.locate(*first[0]) or (None, None)
    yield Problem(
        message=f"{KEYS_NAME} is in the repository with real values: the keys are leaked to "
        f"{_EVERYONE}.",
        hint="Revoke these keys at the exchange, remove the file from git and its history, and "
        "pass its contents as the secret keys-json.",
        severity=Severity.WARNING,
        path=KEYS_NAME,
        line=line,
        column=column,
    )


def _notify_problems(
    selection: Selection, is_committed: Callable[[str], bool]
) -> Iterator[Problem]:
    """Report the password of an e-mail account; a deployed model has no use for it."""
    document = _read_json(selection.files, _NOTIFY)
    value = document.value if document else None
    email = value.get("email") if isinstance(value, dict) else None
    password = email.get("password") if isinstance(email, dict) else None
    if document is None or not isinstance(password, str) or password == _OF_TEMPLATE:
        return
    if is_placeholder(password) or not looks_real(password) or not is_committed(_NOTIFY):
        return
    line, column = document.locate("email", "password") or (None, None)
    yield Problem(
        message=f"{_NOTIFY} is in the repository with a password: it is leaked to {_EVERYONE}.",
        hint="Change the password, and remove the file from git and its history. A deployed model "
        "has no use for it: the server sends its notifications.",
        severity=Severity.WARNING,
        path=_NOTIFY,
        line=line,
        column=column,
    )


def _left_out(
    selection: Selection, code: Code, is_committed: Callable[[str], bool]
) -> Iterator[Problem]:
    texts = {posixpath.normpath(text) for text in code.texts if text}
    for name in selection.left_out[:_MOST_PLACES]:
        line = _first_secret(selection.files, name)
        is_file = selection.files.path(name).is_file()  # a pipe, say, cannot be packed
        back = f" `!/{name}` in ignore_files packs it all the same." if is_file else ""
        # What is said of variables says the same of a `.env`.
        is_read = not texts.isdisjoint({name, posixpath.basename(name)}) and ".env" not in name
        if is_read or line is None or not is_committed(name):
            reads = ", and the script names it" if is_read else ""
            why = "files of that name hold secrets"
            if selection.files.path(name).is_symlink() and not names_secrets(
                posixpath.basename(name)
            ):
                why = "it is a link to a file that holds secrets"
            yield Problem(
                message=f"{name} is not packed, because {why}{reads}.",
                hint=f"A model gets variables from `model-env`, and keys of exchanges from "
                f"`keys-json`.{back}",
                severity=Severity.WARNING if is_read else Severity.NOTICE,
                path=name,
            )
        if line is None or not is_committed(name):
            continue
        yield Problem(
            message=f"{name} is in the repository with what look like secrets: they are leaked to "
            f"{_EVERYONE}. It is not packed.",
            hint="Revoke them where they came from, remove the file from git and its history, and "
            f"pass what the model needs as `model-env` or `keys-json`.{back}",
            severity=Severity.WARNING,
            path=name,
            line=line,
        )


def _first_secret(files: SourceTree, name: str) -> int | None:
    """Return the line of the first secret in a file that is known for them, None without one."""
    data = _read(files, name)
    if data is None:
        return 1
    start: int | None = None
    if _PRIVATE in data:
        start = data.index(_PRIVATE)
    elif name.endswith(".json"):
        document = parse_json(data)
        real = (path for path, text in _real_values(document.value) if looks_real(text))
        path = next(real, None)
        place = document.locate(*path) if path is not None else None
        return place[0] if place else None
    else:
        values = ((one.start(), one[2].strip(b"\"' \t\r")) for one in _ASSIGNMENT.finditer(data))
        texts = ((at, value.decode("utf-8", "replace")) for at, value in values)
        start = next((at for at, text in texts if looks_real(text)), None)
        if start is None and not _ASSIGNMENT.search(data) and data.strip():
            start = 0  # of a format of its own
    return None if start is None else data.count(b"\n", 0, start) + 1


def _in_source(name: str, key: LikelyKey, *, is_committed: bool) -> Problem:
    where = (
        f"in the repository: it is leaked to {_EVERYONE}"
        if is_committed
        else "in a file that goes into the bundle"
    )
    return Problem(
        message=f"What looks like {key.what} is {where}.",
        hint="Revoke it where it came from, and remove it from the file, and from the history of "
        "git if it was committed. Pass it as `model-env`, and read it from os.environ; keys of an "
        "exchange can also go into `keys-json`.",
        severity=Severity.WARNING if is_committed else Severity.NOTICE,
        path=name,
        line=key.line,
    )


def _real_values(
    value: JsonValue, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield path and text of the strings that are not placeholders, in the document's order."""
    if isinstance(value, str) and not is_placeholder(value):
        yield path, value
    children = value.items() if isinstance(value, dict) else ()
    for key, child in children:
        yield from _real_values(child, (*path, key))
    for index, child in enumerate(value if isinstance(value, list) else ()):
        yield from _real_values(child, (*path, index))


def _read_json(files: SourceTree, name: str, redact: Redact = str) -> LocatedJson | None:
    """Return a parsed JSON file of up to 1 MiB; None if there is none."""
    data = _read(files, name)
    return None if data is None else parse_json(data, redact=redact)


def _read(files: SourceTree, name: str) -> bytes | None:
    """Return a regular file of up to 1 MiB; None for anything else."""
    try:
        return files.read(name, _MOST_BYTES_OF_ONE)
    except OSError:
        return None
