"""The inputs of `action.yml`: their names, defaults and descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LOCAL: Final = "local"
HOSTED_API_URL: Final = "https://deploy.blankly.finance"
HOSTED_APP_URL: Final = "https://app.blankly.finance"
HOSTED_GONE: Final = (
    "Blankly's hosted service was taken down. There are two ways on: run a server of your own "
    "(`blankly-deploy serve`) and name it in `api-url`, or use the one embedded here with "
    "`api-url: local`."
)


class Mode(StrEnum):
    """What a run does."""

    DEPLOY = "deploy"
    BACKTEST = "backtest"
    VALIDATE = "validate"


class Group(StrEnum):
    """The headings under which `--help` lists the inputs, in this order."""

    MODEL = "model"
    TARGET = "target"
    BACKTEST = "backtest"
    REPORT = "report"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Input:
    """One input as `action.yml` declares it.

    A `secret` is never quoted in an error. An input of `lines` takes one entry a line.
    """

    name: str
    group: Group
    description: str
    default: str = ""
    secret: bool = False
    boolean: bool = False
    lines: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that the runner passes it in: upper case, hyphens kept."""
        return "INPUT_" + self.name.upper()


INPUTS: Final = (
    Input(
        "mode",
        Group.RUN,
        "What to do: `deploy` a new version, run a `backtest`, or only `validate` the model.",
        default="deploy",
    ),
    Input(
        "token",
        Group.TARGET,
        "Blankly refresh token (a secret). Needed unless `api-url` is `local` or nothing is sent.",
        secret=True,
    ),
    Input(
        "api-url",
        Group.TARGET,
        "Base URL of the Deployment API, or `local` for the one embedded in this action.",
        default=HOSTED_API_URL,
    ),
    Input(
        "app-url",
        Group.REPORT,
        "Where result links point. No link is shown for `local`.",
        default=HOSTED_APP_URL,
    ),
    Input(
        "model-path",
        Group.MODEL,
        "Directory that holds `blankly.json`, relative to the workspace. It may not leave it.",
        default=".",
    ),
    Input(
        "project-id",
        Group.TARGET,
        "Project to deploy to. Overrides `project_id` of `blankly.json`; with neither, and no"
        " `project-name`, the user's personal project.",
    ),
    Input(
        "project-name",
        Group.TARGET,
        "Look the project up by name; with `create-new: true` it is created when absent.",
    ),
    Input(
        "project-description",
        Group.TARGET,
        "Description of the project when it is created.",
    ),
    Input(
        "model-id",
        Group.TARGET,
        "Model to deploy to. Overrides `model_id` of `blankly.json`.",
    ),
    Input(
        "model-name",
        Group.TARGET,
        "Name of the model. Overrides `model_name` of `blankly.json`; with neither, the "
        "directory's name.",
    ),
    Input(
        "general-description",
        Group.TARGET,
        "Description of the model, sent as `generalDescription`.",
    ),
    Input(
        "version-description",
        Group.TARGET,
        "Description of the version. Without it, the commit message.",
    ),
    Input(
        "backtest-description",
        Group.BACKTEST,
        "Description of the backtest. Without it, the commit message.",
    ),
    Input(
        "create-new",
        Group.TARGET,
        "Whether the model (and the project) may be created when no id is known. `local` "
        "needs no permission.",
        default="false",
        boolean=True,
    ),
    Input(
        "plan",
        Group.MODEL,
        "Plan the model runs on. Without it, `plan` of `blankly.json`, else `nano`.",
    ),
    Input(
        "python-version",
        Group.MODEL,
        "Python version of the model, such as `3.10`. Without it, `python_version` of "
        "`blankly.json`.",
    ),
    Input(
        "backtest-args",
        Group.BACKTEST,
        "YAML or JSON mapping, merged over `backtest_args` of `blankly.json` key by key. A "
        "null removes a key.",
    ),
    Input(
        "ignore",
        Group.MODEL,
        "More files to leave out, one pattern a line, in `.gitignore` syntax.",
        lines=True,
    ),
    Input(
        "keys-json",
        Group.MODEL,
        "Contents of `keys.json` (a secret), placed in the bundle and nowhere else. Replaces "
        "a `keys.json` of the repository.",
        secret=True,
    ),
    Input(
        "gates",
        Group.BACKTEST,
        "Conditions on the metrics of the backtest, one a line, such as `max_drawdown <= 20%` or "
        "`sharpe >= base - 10%`. If one does not hold, the run fails; in mode `deploy` the model "
        "is backtested first, on the embedded platform, and not deployed then.",
        lines=True,
    ),
    Input(
        "compare-with",
        Group.BACKTEST,
        "Git ref (such as `HEAD^`, `main` or a tag) whose version of the model is backtested too "
        "and compared with.",
    ),
    Input(
        "comment",
        Group.REPORT,
        "Keep one comment for the model up to date on the pull request.",
        default="false",
        boolean=True,
    ),
    Input(
        "github-token",
        Group.REPORT,
        "Token for the comment, and for nothing else.",
        secret=True,
    ),
    Input(
        "platform-data",
        Group.BACKTEST,
        "Directory in which the embedded platform keeps its data. Without it, a directory "
        "below `RUNNER_TEMP`, else the user's data directory.",
    ),
    Input(
        "timeout-minutes",
        Group.RUN,
        "Deadline of the whole run, in minutes. May be a fraction.",
        default="30",
    ),
    Input(
        "dry-run",
        Group.RUN,
        "Change nothing anywhere: validate, pack, make the read-only requests if there is a "
        "token, and say what would be sent.",
        default="false",
        boolean=True,
    ),
    Input(
        "fail-on-warning",
        Group.RUN,
        "Whether warnings fail the run.",
        default="false",
        boolean=True,
    ),
)


def read_inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the inputs of `action.yml` that are set in `environ`; blank means unset."""
    given = {one.name: environ.get(one.variable, "") for one in INPUTS}
    return {name: value for name, value in given.items() if value.strip()}
