"""The files that `init` adds, and the one line that it adds to a `blankly.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from os.path import isdir, lexists
from pathlib import Path
from typing import Final

from deploy_action.errors import InvalidInputError, RefusedError
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.model.files import BACKTEST_NAME, SETTINGS_NAME
from deploy_action.model.manifest import Manifest
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.records import dataclass
from deploy_action.text.located_json import parse_json

SCHEMA: Final = (
    "https://raw.githubusercontent.com/blankly-community/deploy-action/main/deploy_action/"
    "blankly.schema.json"
)
_OPENING: Final = lazy_regex(r"(\ufeff?\s*\{)(\s*)")
_TEMPLATES: Final = Path(__file__).parent / "templates"
# Quote currencies of symbols such as BTC-USDT.
_QUOTES: Final = lazy_regex(r"""[A-Z0-9]-(USDT|USDC|BUSD|EUR|GBP|USD)["']""")
_OTHER_SETTINGS: Final = "settings_path"


@dataclass(frozen=True, slots=True)
class Change:
    """A file to write: what is in it now, None for a new one, and what will be."""

    path: Path
    before: str | None
    after: str

    def write(self) -> None:
        """Write the file, without touching one that came into being meanwhile.

        Raises:
            InvalidInputError: it is not what it was when the change was planned.
            RefusedError: it cannot be written.
        """
        if read_text(self.path) != self.before:
            raise InvalidInputError.of(
                message=f"{self.path} was changed meanwhile, so it was left alone.",
                hint="Run the command again.",
            )
        data = self.after.encode("utf-8")  # before a file is made
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("xb" if self.before is None else "wb") as file:
                file.write(data)
        except OSError as error:
            raise RefusedError.of(
                message=f"{self.path} cannot be written: {error.strerror or error}.",
                hint="Mend that, and run the command again: what is above was written.",
            ) from error


def template(name: str) -> str:
    """Return a file that is shipped with this program."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def read_text(path: Path) -> str | None:
    """Return a file's text with its line ends as they are; None if it is not UTF-8, or no file."""
    try:
        return path.read_bytes().decode("utf-8") if path.is_file() else None
    except (OSError, UnicodeDecodeError):
        return None


def changes_of(directory: Path, manifest: Manifest) -> Iterator[Change]:
    """Yield what a model with a readable `blankly.json` lacks to be backtested."""
    path = directory / MANIFEST_NAME
    before = None if path.is_symlink() else read_text(path)
    if before is not None and (after := with_schema(before)):
        yield Change(path, before, after)
    script = read_text(directory / manifest.main_script) or ""
    if _OTHER_SETTINGS in script:
        return  # it says itself where its settings are
    place = directory / manifest.working_directory
    if not isdir(place):  # noqa: PTH112  # that of `Path` raises for a name that is too long
        return
    if not lexists(place / SETTINGS_NAME):
        yield Change(place / SETTINGS_NAME, None, template(SETTINGS_NAME))
    is_told = _OTHER_SETTINGS in manifest.backtest_args
    if manifest.type == "strategy" and not is_told and not lexists(place / BACKTEST_NAME):
        yield Change(place / BACKTEST_NAME, None, _backtest_settings(script))


def _backtest_settings(script: str) -> str:
    """Return the settings of backtests, in the currency in which the script trades."""
    quotes = set(_QUOTES.findall(script))
    text = template(BACKTEST_NAME)
    if len(quotes) != 1:
        return text
    return text.replace('_value_in": "USD"', f'_value_in": "{quotes.pop()}"')


def with_schema(text: str) -> str | None:
    """Return a `blankly.json` with `$schema` first, else as it was.

    None if it has one already, or cannot be read, or is not an object.
    """
    parsed = parse_json(text.encode("utf-8"))
    opening = _OPENING.match(text)
    if parsed.problems or not isinstance(parsed.value, dict) or opening is None:
        return None
    if "$schema" in parsed.value:
        return None
    entry = f'"$schema": {json.dumps(SCHEMA)}'
    if parsed.value:
        entry += "," + (opening[2] or " ")
    return f"{opening[1]}{opening[2]}{entry}{text[opening.end() :]}"
