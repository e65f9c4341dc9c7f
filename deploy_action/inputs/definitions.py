"""The inputs of `action.yml`: their names, defaults and descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from deploy_action.inputs.defaults import HOSTED_API_URL
from deploy_action.records import dataclass

LOCAL: Final = "local"


class Mode(StrEnum):
    """What a run does."""

    DEPLOY = "deploy"
    BACKTEST = "backtest"
    VALIDATE = "validate"
    DISCOVER = "discover"
    MERGE = "merge"
    COMMENT = "comment"
    START = "start"
    STOP = "stop"
    ROLLBACK = "rollback"

    @property
    def is_control(self) -> bool:
        """Whether it only says what a deployed model should do, and sends no files."""
        return self in {Mode.START, Mode.STOP, Mode.ROLLBACK}

    @property
    def sends(self) -> bool:
        """Whether it speaks to a Deployment API."""
        return self not in {Mode.VALIDATE, Mode.DISCOVER, Mode.MERGE, Mode.COMMENT}

    @property
    def tells_result(self) -> bool:
        """Whether a comment on a pull request is kept up to date about what it did."""
        return self is Mode.MERGE or (self.sends and not self.is_control)

    @property
    def reads_reports(self) -> bool:
        """Whether it does nothing but to read the reports of earlier runs."""
        return self in {Mode.MERGE, Mode.COMMENT}


class Comment(StrEnum):
    """When a run comments on its pull request."""

    NEVER = "false"
    ALWAYS = "true"
    ON_PROBLEM = "on-problem"
    """Once there is something wrong to say; from then on, always."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input as `action.yml` declares it.

    A `secret` is never quoted in an error. An input of `lines` takes one entry a line.
    """

    name: str
    description: str
    default: str = ""
    secret: bool = False
    boolean: bool = False
    lines: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that the runner passes it in: upper case, hyphens kept."""
        return "INPUT_" + self.name.upper()


def _switch(name: str, description: str) -> Input:
    return Input(name, description, default="false", boolean=True)


INPUTS: Final = (
    Input(
        "mode",
        "What to do: `deploy` a new version, run a `backtest`, or only `validate` the model. "
        "`discover` lists the models of the repository, for the matrix of a next job. `stop`, "
        "`start` and `rollback` are for the model that was deployed: they need no files of it. "
        "`merge` puts the reports of runs with `shard` together. "
        "`comment` posts the report of an earlier run on its pull request, as those of forks need.",
        default="deploy",
    ),
    Input(
        "token",
        "Blankly refresh token (a secret). Needed unless `api-url` is `local` or nothing is sent.",
        secret=True,
    ),
    Input(
        "api-url",
        "Base URL of your Deployment API, or `local` for the one embedded in this action. "
        "Blankly's hosted service was taken down, so set one of the two.",
        default=HOSTED_API_URL,
    ),
    Input(
        "app-url",
        "Base URL of the web pages that result links lead to. By default, links lead to the pages "
        "of the server at `api-url`, if it has some, as `blankly-deploy serve` has.",
    ),
    Input(
        "model-path",
        "Directory that holds `blankly.json`, relative to the workspace. It must lie in the "
        "workspace. `discover` searches it and what is below it.",
        default=".",
    ),
    Input(
        "project-id",
        "Project to deploy to. Overrides `project_id` of `blankly.json`. With neither, and "
        "without `project-name`, it is the user's personal project.",
    ),
    Input(
        "project-name",
        "Name of the project, looked up on the server. With `create-new: true` a missing "
        "project is created.",
    ),
    Input("project-description", "Description of a project that is created."),
    Input("model-id", "Model to deploy to. Overrides `model_id` of `blankly.json`."),
    Input(
        "model-name",
        "Name of the model. Overrides `model_name` of `blankly.json`. With neither, it is "
        "the directory's name.",
    ),
    Input("general-description", "Description of the model, sent as `generalDescription`."),
    Input("version-description", "Description of the version. By default, the commit message."),
    Input("backtest-description", "Description of the backtest. By default, the commit message."),
    _switch(
        "create-new",
        "Whether a model (and project) without a known id may be created. `local` needs no "
        "permission.",
    ),
    Input(
        "plan", "Plan that the model runs on. By default, `plan` of `blankly.json`, else `nano`."
    ),
    Input(
        "python-version",
        "Python version of the model, such as `3.10`. By default, `python_version` of "
        "`blankly.json`.",
    ),
    Input(
        "backtest-args",
        "Arguments of the backtest, as a YAML or JSON mapping. It is merged over "
        "`backtest_args` of `blankly.json` key by key; a null removes a key.",
    ),
    Input(
        "windows",
        "More periods to backtest in the same run, each beside the whole one: a number of equal "
        "parts, such as `4`, or one a line, such as `2022: 2022-01-01..2023-01-01` (ISO dates; "
        "the end is not part of it). Gates may ask for the `worst`, `median` or `best` of them.",
        lines=True,
    ),
    Input(
        "sweep",
        "Values to try: a YAML or JSON mapping of lists, such as `{env.FAST: [5, 10, 20], "
        "use_price: [open, close]}`. Names are those of arguments of `Strategy.backtest()`, and "
        "`env.NAME` is a variable of the model's process. Every combination is a backtest of the "
        "same bundle, with `windows` in each window, too.",
    ),
    Input(
        "shard",
        "`I/N`, such as `3/10`: run only that share of `windows` and `sweep`, on one of N runners. "
        "No gate is judged and no comment is written; `mode: merge` does that with the reports of "
        "all.",
    ),
    Input(
        "model-env",
        "Variables for the model's process (a secret), `NAME=VALUE` one a line as in a `.env` "
        "file. Backtests get them, and a deployed model, on servers that take them. Each value of "
        "eight characters or more is masked. In the text of requirements, `${NAME}` stands for one "
        "of them.",
        secret=True,
        lines=True,
    ),
    Input(
        "include",
        "More files and directories of the workspace to put into the bundle, one a line: `PATH`, "
        "or `PATH => NAME` for another name there than its last component. It is for the shared "
        "code of a monorepo, or requirements in a parent directory.",
        lines=True,
    ),
    Input(
        "ignore",
        "More files to leave out of the bundle: one pattern a line, in `.gitignore` syntax.",
        lines=True,
    ),
    Input(
        "keys-json",
        "Contents of `keys.json` (a secret). They go into the bundle and nowhere else, and "
        "replace a `keys.json` of the repository. Values of six characters or more are masked.",
        secret=True,
    ),
    Input(
        "gates",
        "Conditions on the metrics of the backtest, one a line, such as `max_drawdown <= "
        "20%`, `cum_returns > hold` or `sharpe >= base - 10%`. The run fails if one does not "
        "pass. In mode `deploy` the model is backtested on the embedded platform first, and "
        "deployed only if all pass.",
        lines=True,
    ),
    Input(
        "compare-with",
        "Git ref, such as `HEAD^`, `main` or a tag. The model at that ref is backtested "
        "too, and the two are compared.",
    ),
    Input(
        "changed-since",
        "Git ref for `discover`, such as `HEAD^` or what `github.event.before` says: only models "
        "that differ from that commit are listed. A ref of zeros, as GitHub gives for a new "
        "branch, lists all.",
    ),
    Input(
        "comment",
        "Keep one comment about the model up to date on the pull request: `true`, or `on-problem` "
        "to write none until there is an error or a warning to tell.",
        default="false",
        boolean=True,
    ),
    Input(
        "comment-key",
        "Tells several comments for one model apart, as the legs of a matrix need. Without it, "
        "steps that differ in `backtest-args` have comments of their own.",
    ),
    Input(
        "report-path",
        "The reports of earlier runs, a file or a directory, relative to the workspace: for "
        "`comment` the one to post, for `merge` those of all shards. With `shard` it may be an "
        "earlier report of the same sweep, which tells how long each backtest takes.",
    ),
    Input("github-token", "Token for the comment. It is used for nothing else.", secret=True),
    Input(
        "version-id",
        "Version for `rollback`, such as the output `version-id` of an earlier run. By default, "
        "the one that ran before the current one.",
    ),
    Input(
        "unchanged",
        "What `deploy` does if the server already runs these bytes with these settings: `deploy` "
        "restarts the model with them, `skip` leaves it alone.",
        default="deploy",
    ),
    _switch(
        "allow-older",
        "Whether a commit that is older than the one that runs may be deployed, as by a second run "
        "of an old workflow. To go back, `mode: rollback` is meant.",
    ),
    Input(
        "platform-data",
        "Directory for the data of the embedded platform. By default, one below "
        "`RUNNER_TEMP`, else in the user's data directory.",
    ),
    Input(
        "timeout-minutes", "Deadline of the whole run, in minutes. May be a fraction.", default="30"
    ),
    _switch(
        "dry-run",
        "Change nothing anywhere: validate, pack, make the read-only requests if there is a "
        "token, and say what would be sent.",
    ),
    _switch("fail-on-warning", "Whether warnings fail the run."),
)


def read_inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs of `action.yml` that are set in `environ`; blank means unset.

    A byte order mark before a value is left out: editors on Windows write one into files, and a
    secret is often made from a file.
    """
    given = {one.name: environ.get(one.variable, "").removeprefix("\ufeff") for one in INPUTS}
    return {name: value for name, value in given.items() if value.strip()}
