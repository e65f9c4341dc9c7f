"""The runner's protocol: workflow commands, file commands, and their escapes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deploy_action.errors import Severity


def escape_message(text: str) -> str:
    """Escape the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape the value of a workflow command's property."""
    return escape_message(text).replace(":", "%3A").replace(",", "%2C")


def command(name: str, message: str = "", **properties: str | int | None) -> str:
    """Return a workflow command on one line, without the properties that are None."""
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
    """Return the command that annotates a problem at its place in the repository."""
    return command(severity, message, file=file, line=line, col=column, title=_TITLES[severity])


_TITLES = {
    Severity.ERROR: "Blankly deploy failed",
    Severity.WARNING: "Blankly deploy warning",
    Severity.NOTICE: "Blankly deploy",
}


def mask_commands(secret: str) -> list[str]:
    """Return the commands that mask a secret, one for each line.

    Lines of punctuation alone are left out, such as the braces of pretty-printed JSON: the runner
    would mask every brace in the log.
    """
    lines = [line.strip() for line in re.split(r"[\r\n]+", secret)]
    kept = [line for line in dict.fromkeys(lines) if re.search(r"\w", line)]
    return [command("add-mask", line) for line in kept or [secret.strip()] if line]


def write_outputs(path: Path, outputs: Mapping[str, str]) -> None:
    """Append outputs to the file that `GITHUB_OUTPUT` names."""
    _append(path, "".join(_entry(name, value) for name, value in outputs.items()))


def _entry(name: str, value: str) -> str:
    if "\n" not in value and "\r" not in value:
        return f"{name}={value}\n"
    # Random, so that no value can end its own entry and start another one.
    delimiter = f"EOF_{os.urandom(16).hex()}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def write_summary(path: Path, markdown: str) -> None:
    """Append Markdown to the file that `GITHUB_STEP_SUMMARY` names."""
    _append(path, markdown)


def _append(path: Path, text: str) -> None:
    """Append all of the text or nothing: half an entry makes the runner fail the step."""
    data = text.encode("utf-8", "replace")
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            while data:
                data = data[os.write(file.fileno(), data) :]
        except OSError:
            with suppress(OSError):  # it may be a pipe
                file.truncate(size)
            raise
