"""The runner's protocol: workflow commands, file commands, and what escapes them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from deploy_action.errors import Severity


def escape_message(text: str) -> str:
    """Escape the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape a property's value of a workflow command."""
    return escape_message(text).replace(":", "%3A").replace(",", "%2C")


def command(name: str, message: str = "", **properties: str | int | None) -> str:
    """Return a workflow command as one line; properties that are None are left out."""
    pairs = ",".join(
        f"{key}={escape_property(str(value))}"
        for key, value in properties.items()
        if value is not None
    )
    return f"::{name}{' ' if pairs else ''}{pairs}::{escape_message(message)}"


def annotation(
    severity: Severity,
    message: str,
    *,
    file: str | None = None,
    line: int | None = None,
    column: int | None = None,
) -> str:
    """Return the command that shows a problem at its place in the repository."""
    return command(severity, message, file=file, line=line, col=column, title=_TITLES[severity])


_TITLES = {
    Severity.ERROR: "Blankly deploy failed",
    Severity.WARNING: "Blankly deploy warning",
    Severity.NOTICE: "Blankly deploy",
}


def mask_commands(secret: str) -> list[str]:
    """Return the commands that mask a secret, line by line.

    The runner masks each line of a value as well as the whole. A line of punctuation alone is left
    out: a lone brace of a pretty-printed JSON would be masked wherever it occurs.
    """
    lines = [line.strip() for line in re.split(r"[\r\n]+", secret)]
    kept = [line for line in dict.fromkeys(lines) if re.search(r"\w", line)]
    return [command("add-mask", line) for line in kept or [secret.strip()] if line]


def write_outputs(path: Path, outputs: Mapping[str, str]) -> None:
    """Append outputs to the file that `GITHUB_OUTPUT` names.

    Raises:
        OSError: if the file cannot be written.
    """
    lines = [_entry(name, value) for name, value in outputs.items()]
    _append(path, "".join(lines))


def _entry(name: str, value: str) -> str:
    if "\n" not in value and "\r" not in value:
        return f"{name}={value}\n"
    # Random, so that no value can end its own entry and start another.
    delimiter = f"EOF_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def write_summary(path: Path, markdown: str) -> None:
    """Append Markdown to the file that `GITHUB_STEP_SUMMARY` names.

    Raises:
        OSError: if the file cannot be written.
    """
    _append(path, markdown)


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)
