"""Every input of `action.yml`, parsed once into a frozen dataclass, all errors at once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from posixpath import normpath
from typing import TYPE_CHECKING, Final, TypeVar

from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.inputs.definitions import INPUTS
from deploy_action.text.harmless import (
    LONGEST_DESCRIPTION,
    cut,
    is_placeholder,
    one_line,
    redacted,
    tidy,
)

if TYPE_CHECKING:
    from deploy_action.gates.judgement import Gate
    from deploy_action.text.located_json import JsonValue

LOCAL: Final = "local"
CONSTRAINTS_VARIABLE: Final = "BLANKLY_DEPLOY_CONSTRAINTS"
BOOLEANS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Where a tool of YAML 1.1 writes the workflow, an unquoted `off` comes out as `false`.
_SWITCH: Final = {"": True, "on": True, "off": False, "true": True, "false": False}
_SHOWN_VALUE_LENGTH: Final = 80
_LONGEST_ID: Final = 200
_LONGEST_TOKEN: Final = 16_384
_SHORTEST_SECRET_NUMBER: Final = 6
_LONGEST_TIMEOUT_MINUTES: Final = 60 * 24 * 30

UNWANTED_WARNINGS: Final = Problem(
    message="There are warnings, and `fail-on-warning` is set.",
    hint="Mend what the warnings name, or remove `fail-on-warning`.",
)

Parsed = TypeVar("Parsed")


def parse_constraints(environ: Mapping[str, str]) -> bool:
    """Tell whether known-good constraints may be applied to a model's requirements.

    Raises:
        InvalidInputError: the variable that says so is neither `on` nor `off`, whatever the case,
            nor what YAML makes of those.
    """
    given = environ.get(CONSTRAINTS_VARIABLE, "")
    try:
        return _SWITCH[given.strip().lower()]
    except KeyError:
        message = f"The variable {CONSTRAINTS_VARIABLE} is {_shown(given)}."
        hint = "It takes `on` or `off`; `true` and `false` mean the same."
        raise InvalidInputError(Problem(message=message, hint=hint)) from None


class Mode(StrEnum):
    """What a run does."""

    DEPLOY = "deploy"
    BACKTEST = "backtest"
    VALIDATE = "validate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The inputs of a run. Blank inputs are None, or what `action.yml` gives as default."""

    mode: Mode
    token: str | None = field(repr=False)
    api_url: str
    app_url: str
    model_path: str
    project_id: str | None
    project_name: str | None
    project_description: str | None
    model_id: str | None
    model_name: str | None
    general_description: str | None
    version_description: str | None
    backtest_description: str | None
    create_new: bool
    plan: str | None
    python_version: str | None
    backtest_args: Mapping[str, JsonValue]
    ignore: tuple[str, ...]
    keys_json: bytes | None = field(repr=False)
    gates: tuple[Gate, ...]
    compare_with: str | None
    platform_data: str | None
    timeout_minutes: float
    dry_run: bool
    fail_on_warning: bool
    # What is odd about the inputs, and no error.
    warnings: tuple[Problem, ...]

    @property
    def is_local(self) -> bool:
        """Whether the embedded platform is the target."""
        return self.api_url == LOCAL

    @property
    def may_create(self) -> bool:
        """Whether what does not exist may be made; the embedded platform needs no permission."""
        return self.create_new or self.is_local

    @property
    def description(self) -> str | None:
        """The description that was given for this mode, if any."""
        if self.mode is Mode.BACKTEST:
            return self.backtest_description
        return self.version_description

    @property
    def is_backtested(self) -> bool:
        """Whether the run backtests the model: by its mode, or before it deploys."""
        return self.mode is Mode.BACKTEST or self.tests_first

    @property
    def tests_first(self) -> bool:
        """Whether only what was backtested on the embedded platform may be deployed."""
        return self.mode is Mode.DEPLOY and bool(self.gates or self.compare_with)

    @property
    def sends(self) -> bool:
        """Whether the run changes anything on a platform."""
        return self.mode is not Mode.VALIDATE and not self.dry_run


def secrets_of(inputs: Mapping[str, str]) -> tuple[str, ...]:
    """Return what must never be shown, before anything is checked: the order of masking matters.

    The strings inside `keys-json` are masked one by one: the runner masks each line of a value, and
    a line of pretty-printed JSON may be a lone brace. The GitHub token is one the runner made and
    masks by itself, yet one that was typed in may not be.
    """
    found = [inputs[name].strip() for name in ("token", "github-token") if name in inputs]
    if "keys-json" in inputs:
        found += _key_strings(inputs["keys-json"])
    return tuple(dict.fromkeys(secret for secret in found if secret.strip()))


def _key_strings(text: str) -> list[str]:
    import json

    try:
        # As pairs: of a key that is given twice, both values are secret.
        document = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_values_of)
    except (ValueError, RecursionError):
        # Whatever it is, it was meant to be secret: mask its lines, but no lone punctuation.
        return [line.strip() for line in text.splitlines() if re.search(r"\w", line)]
    return _strings_in(document)


def _values_of(pairs: list[tuple[str, object]]) -> list[object]:
    return [value for _, value in pairs]


def _strings_in(document: object) -> list[str]:
    pending, strings = [document], []
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            strings.append(node)
        elif isinstance(node, (int, float)) and len(str(node)) >= _SHORTEST_SECRET_NUMBER:
            strings.append(str(node))  # an account number, or a password without quotes
        elif isinstance(node, list):
            pending += node
    return [text for text in strings if not is_placeholder(text)]


def parse_settings(inputs: Mapping[str, str]) -> Settings:
    """Check all inputs and return them typed.

    Raises:
        InvalidInputError: with one problem for each input that is wrong.
    """
    parser = _Parser(inputs)
    settings = parser.settings()
    parser.check_together(settings)
    if parser.problems:
        raise InvalidInputError(*parser.problems, *parser.warnings)
    return settings


@dataclass(frozen=True, slots=True)
class CommentWanted:
    """Which comment is to be kept: `key` identifies the model among those of a pull request."""

    token: str = field(repr=False)
    key: str


def comment_wanted(inputs: Mapping[str, str]) -> CommentWanted | None:
    """Return which comment a run is to keep, None where it keeps none: it sends nothing.

    Whatever else is wrong with the inputs, so that a failure finds the comment of a success.
    """
    given = {name: text.strip() for name, text in inputs.items()}
    is_dry = BOOLEANS.get(given.get("dry-run", ""), False)
    if not BOOLEANS.get(given.get("comment", ""), False) or is_dry:
        return None
    if given.get("mode") == Mode.VALIDATE:
        return None
    key = f"{normpath(given.get('model-path') or '.')}\n{given.get('model-name', '')}"
    return CommentWanted(token=given.get("github-token", ""), key=key)


class _Parser:
    """Parses input by input and gathers what is wrong."""

    def __init__(self, inputs: Mapping[str, str]) -> None:
        self._inputs = inputs
        self._definitions = {one.name: one for one in INPUTS}
        self._secrets = secrets_of(inputs)
        self._failed: set[str] = set()
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def settings(self) -> Settings:
        # `Settings.field_name` is input `field-name`; what is no plain text has its parser here.
        parsers: dict[str, Callable[[str], object]] = {
            "mode": _mode,
            "token": _token,
            "github-token": _token,
            "gates": self._gates,
            "model-path": _model_path,
            "api-url": _api_url,
            "app-url": parse_url,
            "project-id": _identifier,
            "model-id": _identifier,
            "general-description": tidy,
            "project-description": tidy,
            "version-description": tidy,
            "backtest-description": tidy,
            "python-version": _python_version,
            "backtest-args": _arguments,
            "ignore": lambda text: tuple(text.splitlines()),
            "keys-json": _keys,
            "timeout-minutes": parse_minutes,
            **{one.name: _boolean for one in INPUTS if one.boolean},
        }
        values = {
            one.name: self._parse(one.name, parsers.get(one.name, _line), _blank(one.name))
            for one in INPUTS
        }
        self._check_base(values["gates"], values["compare-with"])  # type: ignore[arg-type]  # as below
        values["warnings"] = tuple(self.warnings)
        # They are checked here, and read by `comment_wanted`, also where something else is wrong.
        del values["comment"], values["github-token"]
        return Settings(**{name.replace("-", "_"): value for name, value in values.items()})  # type: ignore[arg-type]  # each parser above returns its field's type

    def _gates(self, text: str) -> tuple[Gate, ...]:
        from deploy_action.gates.grammar import parse_gates

        gates, problems = parse_gates(text)
        if any(one.severity is Severity.ERROR for one in problems):
            # A secret that was pasted here must be gone before its line is cut to be quoted.
            _, problems = parse_gates(redacted(text, self._secrets))
        self.warnings += [one for one in problems if one.severity is Severity.WARNING]
        self.problems += [one for one in problems if one.severity is Severity.ERROR]
        return gates

    def _parse(self, name: str, parse: Callable[[str], Parsed], blank: Parsed) -> Parsed:
        definition = self._definitions[name]
        text = self._inputs.get(name) or definition.default
        if not text:
            return blank
        try:
            return parse(text if name in _KEEPS_SPACES else text.strip())
        except BadValueError as wrong:
            shown = "" if definition.secret else f" is {_shown(redacted(text, self._secrets))}"
            self._failed.add(name)
            self.problems.append(
                Problem(message=f"Input `{name}`{shown}: {wrong}", hint=wrong.hint),
            )
            return blank

    def _check_base(self, gates: Sequence[Gate], ref: str | None) -> None:
        """Say of gates that cannot pass what a backtest would show, too, some minutes later."""
        of_base = next((gate for gate in gates if gate.bound.of_base), None)
        if of_base is not None and ref is None and "compare-with" not in self._failed:
            self.warnings.append(
                Problem(
                    message=f"Gate `{of_base.text}` asks for a base, and input `compare-with`, "
                    "which names one, is not set: it cannot pass.",
                    hint="Set `compare-with` to a git ref, such as `HEAD^` or `main`.",
                    severity=Severity.WARNING,
                )
            )

    def check_together(self, settings: Settings) -> None:
        """Check what only several inputs together can get wrong."""
        if self._failed & {"mode", "api-url", "dry-run", "token"}:
            return
        if settings.sends and not settings.is_local and settings.token is None:
            self.problems.append(
                Problem(
                    message=f"Input `token` is missing: mode `{settings.mode}` sends the model to "
                    f"{settings.api_url}, and that takes the Blankly refresh token.",
                    hint="Store the token as a repository secret and pass it as "
                    "`token: ${{ secrets.BLANKLY_TOKEN }}`; on a terminal, put it into the "
                    "variable INPUT_TOKEN. `blankly-deploy login` shows the token of a hosted "
                    "service, `blankly-deploy serve` the one of a server of your own. Workflows of "
                    "pull requests from forks get no secrets: use `api-url: local` there, which "
                    "needs no token.",
                ),
            )


class BadValueError(Exception):
    """A value that is not allowed, in words that end the sentence `Input X is Y: …`."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


# Their spaces and line breaks are part of them.
_KEEPS_SPACES: Final = frozenset({"gates", "ignore", "keys-json"})


def _blank(name: str) -> object:
    if name == "backtest-args":
        return {}
    return () if name in {"ignore", "gates"} else None


def _shown(text: str) -> str:
    """Quote a value for a message, without its credentials and not at full length."""
    shown = text.strip()
    if "//" in shown:
        shown = re.sub(r"[?#].*", "?…", re.sub(r"//.*@", "//…@", shown))
    return f"`{cut(one_line(shown), _SHOWN_VALUE_LENGTH)}`"


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise BadValueError("it takes `deploy`, `backtest` or `validate`.") from None


def _boolean(text: str) -> bool:
    try:
        return BOOLEANS[text]
    except KeyError:
        raise BadValueError("it takes `true` or `false`.") from None


def _line(text: str) -> str:
    if tidy(text) != text or "\n" in text:
        raise BadValueError(
            f"it takes one line of at most {LONGEST_DESCRIPTION} characters, none of them a "
            "control character.",
        )
    return text


def _model_path(text: str) -> str:
    if normpath(_line(text)).split("/")[0] == "..":
        raise BadValueError(
            "it leads out of the workspace.",
            hint="Name a directory inside the repository, relative to its root.",
        )
    return text


def _token(text: str) -> str:
    if (
        re.search(r"\s", text)
        or len(text) > _LONGEST_TOKEN
        or tidy(text[:LONGEST_DESCRIPTION]) != text[:LONGEST_DESCRIPTION]
    ):
        raise BadValueError("a token is one word.", hint="Store the secret again, and only it.")
    return text


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[^\s/\\?#\x00-\x1f\x7f]+", text) or len(text) > _LONGEST_ID:
        raise BadValueError(
            f"an id has no spaces and no slashes, and at most {_LONGEST_ID} characters.",
            hint="Copy the id from the address of the model's page, or from `blankly.json`.",
        )
    return text


def _api_url(text: str) -> str:
    return LOCAL if text == LOCAL else parse_url(text, also=" or `local`")


def parse_url(text: str, also: str = "") -> str:
    """Return an http or https URL without its last slash, or raise `BadValueError`."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise BadValueError(f"it takes a URL such as `https://example.com`{also}.")
    if parts.username is not None or parts.query or parts.fragment or re.search(r"\s", text):
        raise BadValueError("the URL may have no user name, password, query, fragment or blanks.")
    return text.rstrip("/")


def _python_version(text: str) -> str:
    if not re.fullmatch(r"[23]\.\d{1,2}", text):
        raise BadValueError(
            "it takes a version such as `3.10`, major and minor.",
            hint="Quote it in YAML, where 3.10 without quotes is the number 3.1.",
        )
    return text


def parse_minutes(text: str) -> float:
    """Return a number of minutes above 0, or raise `BadValueError`."""
    try:
        minutes = float(text) if re.fullmatch(r"[0-9.]+(e[0-9]+)?", text) else math.nan
    except ValueError:
        minutes = math.nan
    if not 0 < minutes <= _LONGEST_TIMEOUT_MINUTES:
        raise BadValueError(
            f"it takes a number of minutes above 0, at most {_LONGEST_TIMEOUT_MINUTES}.",
        )
    return minutes


def _keys(text: str) -> bytes:
    from deploy_action.text.located_json import parse_json

    document = parse_json(text.encode("utf-8", "replace"))
    if document.problems:
        # What the problems say is left out: it may quote the secret.
        raise BadValueError(
            "it is not valid JSON, or gives a key twice.",
            hint="Store the whole contents of `keys.json` as a secret, and pass it as "
            "`keys-json: ${{ secrets.BLANKLY_KEYS_JSON }}`.",
        )
    if not isinstance(document.value, dict):
        raise BadValueError("it must be a JSON object: exchange, then portfolio, then keys.")
    return text.removeprefix("\ufeff").strip().encode()


def _arguments(text: str) -> Mapping[str, JsonValue]:
    from deploy_action.text.yaml_mapping import NotAMappingError, parse_mapping

    try:
        return parse_mapping(text)
    except NotAMappingError as wrong:
        raise BadValueError(
            str(wrong), hint="For example: `{to: 1y, initial_values: {USD: 1000}}`."
        ) from wrong
