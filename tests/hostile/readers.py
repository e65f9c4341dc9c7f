"""What reads or prints one text that others wrote, for tests of how long that takes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy_action.backtest.period.windows import WrongWindowsError, parse_windows
from deploy_action.bundle.ignore_rules import compile_rules
from deploy_action.commands.init.repository import Repository
from deploy_action.errors import Problem, Severity
from deploy_action.gates.grammar import parse_gates
from deploy_action.inputs.model_env import parse_model_env, secret_values
from deploy_action.model.manifest import load_manifest
from deploy_action.outcome.ending import Status
from deploy_action.platform.environments import EnvironmentFailedError
from deploy_action.platform.environments.installer import without_credentials
from deploy_action.platform.environments.requirements import read_requirements
from deploy_action.platform.processes.lines import Lines
from deploy_action.platform.web.changes.secrecy import hidden_lines
from deploy_action.report import blocks
from deploy_action.report.document import Block, Code, Paragraph, Quote, prose, to_markdown, to_text
from deploy_action.report.markup import to_html
from deploy_action.text.cron import cron_fault
from deploy_action.text.harmless import defused, plain, tidy
from deploy_action.text.likely_keys import likely_keys, without_keys
from deploy_action.text.located_json import parse_json
from deploy_action.text.redaction import key_lines, redacted
from deploy_action.text.strict_json import strict_text
from deploy_action.text.terminal import wrapped
from deploy_action.text.yaml_mapping import NotAMappingError, parse_mapping
from tests.support.model_checks import check, sound_model
from tests.support.outcomes import an_outcome, with_problems

Reader = Callable[[str], object]
_SECRETS: Final = ("x9Kd02mmAq1", "aaaa")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _in_file(name: str) -> Reader:
    """Return what checks a model with a text in this file."""

    def read(text: str) -> object:
        with tempfile.TemporaryDirectory() as folder:
            model = sound_model(Path(folder, "model"))
            Path(model, name).write_bytes(_bytes(text))
            return check(model)

    return read


def _manifest(text: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "blankly.json").write_bytes(_bytes(text))
        return load_manifest(Path(folder))


def _environment(text: str) -> object:
    with tempfile.TemporaryDirectory() as folder, suppress(EnvironmentFailedError):
        Path(folder, "requirements.txt").write_bytes(_bytes(text))
        return read_requirements(Path(folder), "requirements.txt")
    return None


def _repository(text: str) -> object:
    """Read what `init` does of a repository with submodules."""
    with tempfile.TemporaryDirectory() as folder:
        sound_model(Path(folder, "model"))
        Path(folder, ".gitmodules").write_bytes(_bytes(text))
        return Repository.around(Path(folder)).needs


def _mapping(text: str) -> object:
    with suppress(NotAMappingError):
        return parse_mapping(text)
    return None


def _windows(text: str) -> object:
    with suppress(WrongWindowsError):
        return parse_windows(text, 1.8e9)
    return None


def _strict(text: str) -> object:
    for data in (json.dumps([text]).encode() + _bytes(text), json.dumps([text]).encode()):
        with suppress(ValueError):
            strict_text(data)
    return None


def _pattern(text: str) -> object:
    """Match a name with the text's beginning as a pattern: longer ones are refused."""
    rules, _ = compile_rules([text[:4_000]])
    return rules.deciding(text[:4_000], text[:250], is_directory=False)


def _patterns(text: str) -> object:
    return compile_rules(text.split("\n"))


def _page(text: str) -> object:
    return to_html([Paragraph([Code(text), text]), Quote(text)], {})


def _document(text: str) -> object:
    document: list[Block] = [Paragraph([Code(text), *prose(text)]), Quote(text)]
    return to_markdown(document), to_text(document)


def _told(text: str) -> object:
    """Look for a warning among those that a summary told already."""
    warning = Problem(message=text[:4_000], severity=Severity.WARNING)
    outcome = with_problems(an_outcome("backtest", Status.BACKTESTED), warning)
    return blocks.problems(outcome, Severity.WARNING, "Warnings", ["a word " * 400])


def _lines(text: str) -> object:
    reader = Lines(lambda _line: None)
    data = _bytes(text)
    for start in range(0, len(data), 4_096):
        reader.feed(data[start : start + 4_096])
    reader.finish()
    return None


def _hidden(text: str) -> object:
    lines = text.encode("utf-8", "replace").decode().split("\n")  # files that are UTF-8
    return hidden_lines("a.yaml", lines, range(len(lines)), _SECRETS)


READERS: Final[dict[str, Reader]] = {
    "plain": plain,
    "defused": defused,
    "tidy": tidy,
    "wrapped": lambda text: wrapped(text, 80),
    "document": _document,
    "page": _page,
    "told": _told,
    "redacted": lambda text: redacted(text, _SECRETS),
    "key lines": lambda text: key_lines([text]),
    "likely keys": lambda text: likely_keys(_bytes(text)),
    "likely keys in settings": lambda text: likely_keys(_bytes(text), is_code=False),
    "without keys": lambda text: without_keys(text, is_code=False),
    "JSON": lambda text: parse_json(_bytes(text)),
    "strict JSON": _strict,
    "YAML": _mapping,
    "gates": parse_gates,
    "model-env": lambda text: (parse_model_env(text), [*secret_values(text)]),
    "windows": _windows,
    "cron": cron_fault,
    "pattern": _pattern,
    "patterns": _patterns,
    "requirements": _in_file("requirements.txt"),
    "requirements of an environment": _environment,
    "script": _in_file("bot.py"),
    "settings": _in_file("settings.json"),
    "keys": _in_file("keys.json"),
    ".env": _in_file(".env"),
    "notebook": _in_file("a.ipynb"),
    "shell script": _in_file("run.sh"),
    "manifest": _manifest,
    "repository": _repository,
    "installer": lambda text: without_credentials(text, _SECRETS),
    "output": _lines,
    "shown lines": _hidden,
}
