"""The model of a run: what is known of it, and its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deploy_action.backtest.runs_on import RunsOn
from deploy_action.records import dataclass, field

if TYPE_CHECKING:
    from pathlib import Path

    from deploy_action.bundle.bundle import Bundle
    from deploy_action.bundle.including import Include
    from deploy_action.errors import Problem
    from deploy_action.regular_files import SourceTree


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedModel:
    """What inputs, `blankly.json`, event and commit say about a model; blank where it is unknown.

    `path` is the model's directory relative to the workspace. `origin` says where the model comes
    from: its repository and directory, else its name. `scope` is the pull request or branch of
    which it is. `is_committed` says that no packed file is known to differ from `commit`.
    `checked_out` is the commit of the checkout, which is not always that of the event,
    `committed_at` when it was committed, in ISO 8601, and `repository` the page of its repository.
    `deployed_by` is the account that started the workflow's run, and `run_url` the page of that.
    `included` are the files and directories of the workspace that are packed, too.
    `argument_sources` says for each argument of a backtest where it comes from:
    `backtest-args`, `blankly.json`, or `default`. `problems` were found while it was read and
    checked.
    """

    path: str = ""
    name: str = ""
    type: str = ""
    origin: str = ""
    project_id: str = ""
    model_id: str = ""
    runs_on: RunsOn = field(default_factory=RunsOn)
    commit: str = ""
    is_committed: bool = True
    commit_url: str | None = None
    checked_out: str = ""
    committed_at: str = ""
    repository: str = ""
    deployed_by: str = ""
    run_url: str = ""
    description: str = ""
    scope: str = ""
    argument_sources: Mapping[str, str] = field(default_factory=dict)
    included: tuple[Include, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """A model that was checked and packed.

    `directory` is absolute and without links, `files` are those below it and the included ones.
    `requirements` are what the model asks of each
    package, by name; they are read only for a comparison.
    """

    described: DescribedModel
    directory: Path
    files: SourceTree
    bundle: Bundle
    requirements: Mapping[str, str]
