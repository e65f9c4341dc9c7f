"""The frozen settings of a run: every input of `action.yml`, parsed once, all errors at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from deploy_action.bundle.including import Include
from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.inputs import model_env, parsing
from deploy_action.inputs.defaults import HOSTED_API_URL, HOSTED_APP_URL, HOSTED_GONE
from deploy_action.inputs.definitions import INPUTS, LOCAL, Comment, Mode
from deploy_action.inputs.secrets import secrets_of, too_short_to_mask
from deploy_action.records import dataclass, field, replace
from deploy_action.text.harmless import tidy
from deploy_action.text.redaction import HIDDEN, redacted

if TYPE_CHECKING:
    from deploy_action.backtest.period.windows import Window
    from deploy_action.backtest.sweep.grid import Sweep
    from deploy_action.backtest.sweep.shards import Shard
    from deploy_action.gates.judgement import AnyGate
    from deploy_action.text.located_json import JsonValue

UNWANTED_WARNINGS: Final = Problem(
    message="There are warnings, and `fail-on-warning` is set.",
    hint="Fix what the warnings name, or remove `fail-on-warning`.",
)

_IN_A_WORKFLOW: Final = (
    "Store the token as a repository secret and pass it as `token: ${{ secrets.BLANKLY_TOKEN }}`."
)
_ON_A_TERMINAL: Final = "Put the token into the variable INPUT_TOKEN."
_ON_FORKS: Final = (
    " Workflows of pull requests from forks get no secrets: use `api-url: local` there, which "
    "needs no token."
)

Parsed = TypeVar("Parsed")
Blank = TypeVar("Blank")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The inputs of a run. A blank input is None, or the default of `action.yml`."""

    mode: Mode
    token: str | None = field(repr=False)
    api_url: str
    app_url: str  # blank where no pages are known
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
    # A number of equal parts of the whole period, or the windows themselves.
    windows: int | tuple[Window, ...]
    sweep: Sweep | None
    shard: Shard | None
    include: tuple[Include, ...]
    ignore: tuple[str, ...]
    keys_json: bytes | None = field(repr=False)
    # None if the input is unset; an input of comments alone gives no variables.
    model_env: Mapping[str, str] | None = field(repr=False)
    gates: tuple[AnyGate, ...]
    compare_with: str | None
    changed_since: str | None
    comment: Comment
    comment_key: str | None
    report_path: str | None
    github_token: str | None = field(repr=False)
    version_id: str | None
    # Whether a deploy that would change nothing is skipped.
    unchanged: bool
    allow_older: bool
    platform_data: str | None
    timeout_minutes: float
    dry_run: bool
    fail_on_warning: bool
    # What looks like a mistake in the inputs, without being an error.
    warnings: tuple[Problem, ...]
    # Whether hints are for a workflow; otherwise they are for a terminal.
    for_runner: bool

    @property
    def is_local(self) -> bool:
        """Whether the embedded platform is the target."""
        return self.api_url == LOCAL

    @property
    def may_create(self) -> bool:
        """Whether a missing project or model may be created. The embedded platform always may."""
        return self.create_new or self.is_local

    @property
    def description(self) -> str | None:
        """The description given for this mode, if any."""
        if self.mode is Mode.BACKTEST:
            return self.backtest_description
        return self.version_description

    @property
    def is_backtested(self) -> bool:
        """Whether the run backtests the model: as its mode, or before a deploy."""
        return self.mode is Mode.BACKTEST or self.tests_first

    @property
    def tests_first(self) -> bool:
        """Whether a deploy is backtested on the embedded platform first."""
        return self.mode is Mode.DEPLOY and bool(self.gates or self.compare_with)

    @property
    def wants_several(self) -> bool:
        """Whether windows or combinations are backtested, too."""
        return bool(self.windows) or self.sweep is not None

    @property
    def sends(self) -> bool:
        """Whether the run changes anything on a platform."""
        return self.mode.sends and not self.dry_run


def parse_settings(
    inputs: Mapping[str, str],
    now: Callable[[], float] = time.time,
    *,
    for_runner: bool = True,
) -> Settings:
    """Return all inputs, typed; `InvalidInputError` has a problem for each that is wrong.

    `now` returns seconds since 1970-01-01 UTC. Without `for_runner`, hints are for a terminal.
    """
    reader = _Reader(inputs, now)
    settings = replace(_read_settings(reader), for_runner=for_runner)
    reader.check_gates(settings)
    reader.check_token(settings)
    reader.check_control(settings)
    reader.check_sweep(settings)
    reader.check_shard(settings)
    reader.check_reports(settings)
    reader.check_secrets(settings)
    if reader.problems:
        raise InvalidInputError(*reader.problems, *reader.warnings)
    is_hosted = settings.api_url == HOSTED_API_URL
    app_url = settings.app_url or (HOSTED_APP_URL if is_hosted else "")
    return replace(settings, app_url=app_url, warnings=tuple(reader.warnings))


def _read_settings(reader: _Reader) -> Settings:
    read, line, text, boolean = reader.read, reader.line, reader.text, reader.boolean
    return Settings(
        mode=read("mode", parsing.parse_mode, Mode.DEPLOY),
        token=read("token", parsing.parse_token, None),
        api_url=read("api-url", parsing.parse_api_url, ""),
        app_url=read("app-url", parsing.parse_url, ""),
        model_path=read("model-path", parsing.parse_model_path, ""),
        project_id=read("project-id", parsing.parse_identifier, None),
        project_name=line("project-name"),
        project_description=text("project-description"),
        model_id=read("model-id", parsing.parse_identifier, None),
        model_name=line("model-name"),
        general_description=text("general-description"),
        version_description=text("version-description"),
        backtest_description=text("backtest-description"),
        create_new=boolean("create-new"),
        plan=line("plan"),
        python_version=read("python-version", parsing.parse_python_version, None),
        backtest_args=read("backtest-args", parsing.parse_arguments, {}),
        windows=read("windows", reader.parse_windows, ()),
        sweep=read("sweep", reader.parse_sweep, None),
        shard=read("shard", parsing.parse_shard, None),
        include=read("include", parsing.parse_include, ()),
        ignore=read("ignore", parsing.parse_patterns, ()),
        keys_json=read("keys-json", parsing.parse_keys, None),
        model_env=read("model-env", reader.parse_model_env, None),
        gates=read("gates", reader.parse_gates, ()),
        compare_with=line("compare-with"),
        changed_since=line("changed-since"),
        # `comment_wanted` reads these, too, even when another input is wrong.
        comment=read("comment", parsing.parse_comment, Comment.NEVER),
        comment_key=line("comment-key"),
        report_path=line("report-path"),
        github_token=read("github-token", parsing.parse_token, None),
        version_id=read("version-id", parsing.parse_identifier, None),
        unchanged=read("unchanged", parsing.parse_unchanged, blank=False),
        allow_older=boolean("allow-older"),
        platform_data=line("platform-data"),
        timeout_minutes=read("timeout-minutes", parsing.parse_minutes, 0.0),
        dry_run=boolean("dry-run"),
        fail_on_warning=boolean("fail-on-warning"),
        warnings=(),
        for_runner=True,
    )


_HIDDEN_IS_WRONG: Final = "a secret stands there that is not allowed."


def _with_hint(parse: Callable[[], Parsed], hint: str) -> Parsed:
    try:
        return parse()
    except ValueError as wrong:
        raise parsing.BadValueError(str(wrong), hint=hint) from None


def _fault_without_secrets(
    parse: Callable[[str], object], hidden: str, wrong: parsing.BadValueError
) -> parsing.BadValueError:
    """Return what is wrong with a value in which secrets are hidden, as `wrong` is with the whole.

    Messages quote parts of values, and may cut a secret in two.
    """
    try:
        parse(hidden.replace(HIDDEN, "hidden"))  # which has no meaning in YAML
    except parsing.BadValueError as fault:
        return fault
    return parsing.BadValueError(_HIDDEN_IS_WRONG, hint=wrong.hint)


class _Reader:
    """Parses one input after the other and collects what is wrong."""

    def __init__(self, inputs: Mapping[str, str], now: Callable[[], float]) -> None:
        self._inputs = inputs
        self._now = now
        self._definitions = {one.name: one for one in INPUTS}
        self._secrets = secrets_of(inputs)
        self._failed: set[str] = set()
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def read(self, name: str, parse: Callable[[str], Parsed], blank: Blank) -> Parsed | Blank:
        """Return the parsed input, and `blank` where it is unset or wrong."""
        definition = self._definitions[name]
        text = self._inputs.get(name) or definition.default
        if not text:
            return blank
        # In a pattern of `.gitignore`, spaces at the ends count.
        given = text if definition.lines else text.strip()
        try:
            return parse(given)
        except parsing.BadValueError as wrong:
            value, fault = "", wrong
            if not definition.secret:
                hidden = self._redacted(given)
                value = f" is {parsing.shown(hidden)}"
                fault = wrong if hidden == given else _fault_without_secrets(parse, hidden, wrong)
            self._failed.add(name)
            self.problems.append(
                Problem(message=f"Input `{name}`{value}: {fault}", hint=fault.hint)
            )
            return blank

    def boolean(self, name: str) -> bool:
        return self.read(name, parsing.parse_boolean, blank=False)

    def line(self, name: str) -> str | None:
        return self.read(name, parsing.parse_line, None)

    def text(self, name: str) -> str | None:
        return self.read(name, lambda text: tidy(self._redacted(text)), None)

    def parse_gates(self, text: str) -> tuple[AnyGate, ...]:
        from deploy_action.gates.grammar import parse_gates

        gates, problems = parse_gates(text)
        if any(one.severity is Severity.ERROR for one in problems):
            # Redact a pasted secret before its line is cut for a quotation. Valid gates are not
            # redacted: a secret may happen to be a word such as `base`.
            _, problems = parse_gates(redacted(text, self._secrets, keep_lines=True))
            if all(one.severity is not Severity.ERROR for one in problems):
                self._refuse(f"Input `gates`: {_HIDDEN_IS_WRONG}", "Take it out.")
        self.warnings += [one for one in problems if one.severity is Severity.WARNING]
        self.problems += [one for one in problems if one.severity is Severity.ERROR]
        return gates

    def parse_model_env(self, text: str) -> Mapping[str, str]:
        variables, problems = model_env.parse_model_env(text)
        self.problems += problems
        return variables

    def parse_windows(self, text: str) -> int | tuple[Window, ...]:
        from deploy_action.backtest.period.windows import parse_windows

        now = self._now()
        hint = "For example: `4`, or one window a line, `2022: 2022-01-01..2023-01-01`."
        return _with_hint(lambda: parse_windows(text, now), hint)

    def parse_sweep(self, text: str) -> Sweep:
        from deploy_action.backtest.sweep.grid import parse_sweep

        hint = "For example: `{env.FAST: [5, 10, 20], env.SLOW: [40, 80]}`."
        return _with_hint(lambda: parse_sweep(text), hint)

    def check_gates(self, settings: Settings) -> None:
        """Refuse gates that cannot pass, before they cost a backtest."""
        if settings.mode is Mode.MERGE:  # the reports tell what there is
            return
        if not settings.compare_with and "compare-with" not in self._failed:
            self._refuse_gate(
                next((gate for gate in settings.gates if gate.needs_base), None),
                "it needs a base, and input `compare-with`, which names one, is not set.",
                "Set `compare-with` to a git ref, such as `HEAD^` or `main`.",
            )
        if not (settings.wants_several or self._failed & {"windows", "sweep"}):
            self._refuse_gate(
                next((gate for gate in settings.gates if gate.needs_several), None),
                "it is about several backtests, and neither `windows` nor `sweep` is set.",
                "Set `windows`, for example to `4`, or write the metric alone: the whole period.",
            )

    def _refuse_gate(self, gate: AnyGate | None, why: str, hint: str) -> None:
        if gate is not None:
            self._refuse(f"Gate `{gate.text}` cannot pass: {why}", hint)

    def _refuse(self, message: str, hint: str) -> None:
        self.problems.append(Problem(message=message, hint=hint))

    def check_secrets(self, settings: Settings) -> None:
        """Add notices of values that are too short to be masked, or blank."""
        notice = too_short_to_mask(self._inputs)
        if settings.keys_json is not None and notice is not None:
            self.warnings.append(notice)
        self.warnings += model_env.notices(self._inputs.get("model-env", ""))

    def check_token(self, settings: Settings) -> None:
        """Refuse a run that would send something to a server without a token."""
        if self._failed & {"mode", "api-url", "dry-run", "token"}:
            return
        if settings.is_local or settings.token is not None:
            return
        if settings.mode.sends and settings.dry_run:
            self._note_unasked(settings)
        if not settings.sends:
            return
        way, forks = (_IN_A_WORKFLOW, _ON_FORKS) if settings.for_runner else (_ON_A_TERMINAL, "")
        if settings.api_url == HOSTED_API_URL:
            hint = "A server of your own also needs its token, in the input `token`."
            self.problems.insert(0, Problem(message=HOSTED_GONE, hint=hint))
        else:
            self.problems.append(
                Problem(
                    message=f"Input `token` is missing: mode `{settings.mode}` "
                    f"{'speaks' if settings.mode.is_control else 'sends the model'} to "
                    f"{settings.api_url}, and that takes the Blankly refresh token.",
                    hint=f"{way} "
                    "`blankly-deploy login` shows the token of a hosted service, `blankly-deploy "
                    f"serve` the one of a server of your own.{forks}",
                )
            )

    def _note_unasked(self, settings: Settings) -> None:
        """Say that a dry run without a token asks nobody, and that a real run needs one."""
        is_hosted = settings.api_url == HOSTED_API_URL
        hint = "Set `token` to have the server asked, too."
        self.warnings.append(
            Problem(
                message="No token is given: the server is not asked, and a real run would fail.",
                hint=HOSTED_GONE if is_hosted else hint,
                severity=Severity.WARNING if is_hosted else Severity.NOTICE,
            )
        )

    def check_control(self, settings: Settings) -> None:
        """Refuse to stop or start something where nothing runs."""
        if settings.mode.is_control and settings.is_local:
            self.problems.append(
                Problem(
                    message=f"There is nothing to {settings.mode} with `api-url: local`: nothing "
                    "runs there after the job.",
                    hint="Set `api-url` to the server that runs the model, such as one of your own "
                    "(`blankly-deploy serve`).",
                )
            )

    def check_sweep(self, settings: Settings) -> None:
        """Refuse a sweep over periods in windows, and more backtests than a run has."""
        sweep, windows = settings.sweep, settings.windows
        if settings.mode is Mode.DEPLOY and settings.wants_several and not settings.tests_first:
            name = "windows" if sweep is None else "sweep"
            self.warnings.append(
                Problem(
                    message=f"Input `{name}` tests nothing: a deploy without `gates` and "
                    "`compare-with` is not backtested.",
                    hint=f"Set `gates`, such as `worst max_drawdown <= 40%`, or leave `{name}` "
                    "away.",
                    severity=Severity.WARNING,
                )
            )
        if sweep is None:
            return
        # These load PyYAML, which most runs do not need.
        from deploy_action.backtest.period.asked import PERIOD
        from deploy_action.backtest.sweep.grid import MOST_BACKTESTS

        number = windows if isinstance(windows, int) else len(windows)
        total = len(sweep) * (1 + number) + number
        if total > MOST_BACKTESTS:
            self._refuse(
                f"Input `sweep` has {len(sweep):,} combinations, with `windows` {total:,} "
                f"backtests; at most {MOST_BACKTESTS:,} are run.",
                "Try fewer values, or fewer windows.",
            )
        named = [axis.name for axis in sweep.axes if axis.name in PERIOD]
        if number and named:
            self._refuse(
                f"Input `sweep` changes the period, with `{named[0]}`, and `windows` are periods.",
                "Set only one of the two.",
            )
        gate = next((one for one in settings.gates if one.needs_several and one.needs_base), None)
        self._refuse_gate(
            gate,
            "it compares the whole sweep with the base, which is backtested with its own setting "
            "only.",
            "Compare the metric alone with `base`, or the sweep with a number.",
        )

    def check_shard(self, settings: Settings) -> None:
        """Refuse a share of nothing, and of what goes on after its backtests."""
        if settings.shard is None or settings.mode is Mode.MERGE:
            return
        if settings.mode is Mode.DEPLOY:
            self._refuse(
                "Input `shard` is set, and `mode: deploy` deploys only what was tested as a whole.",
                "Use `mode: backtest` for the shards, `mode: merge` for their gates, and deploy in "
                "a job that needs that one.",
            )
        elif not (settings.wants_several or self._failed & {"windows", "sweep"}):
            self._refuse(
                "Input `shard` is set, and there is nothing to share out.",
                "Set `sweep` or `windows`, or leave `shard` away.",
            )

    def check_reports(self, settings: Settings) -> None:
        """Refuse to read reports that are not named, or to post one without a token."""
        if not settings.mode.reads_reports:
            return
        needed = {"report-path": "the report of the earlier run, or the directory with it"}
        if settings.mode is Mode.COMMENT:
            needed["github-token"] = "a token that may write on pull requests"  # words
        for name, what in needed.items():
            is_set = name in self._failed or (self._inputs.get(name) or "").strip()
            if is_set or (name == "github-token" and settings.dry_run):
                continue
            self.problems.append(
                Problem(
                    message=f"Input `{name}` is missing: `mode: {settings.mode}` needs it.",
                    hint=f"Set it to {what}.",
                )
            )

    def _redacted(self, text: str) -> str:
        return redacted(text, self._secrets)
