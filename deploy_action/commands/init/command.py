"""`blankly-deploy init`: writes what a repository lacks for its first pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy_action.commands.init.changes import Change, changes_of, read_text, template
from deploy_action.commands.init.checks import Checks
from deploy_action.commands.init.repository import WORKFLOW, Repository
from deploy_action.commands.init.steps import Step, next_steps, server_steps
from deploy_action.commands.init.workflow import ACTION, workflow_of
from deploy_action.console import Console
from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.github.event import read_event
from deploy_action.model.files import hint_to_add
from deploy_action.records import replace
from deploy_action.text.quantities import count
from deploy_action.text.terminal import Style

COMPOSE: Final = "compose.yml"
_WORKFLOWS: Final = ("*.yml", "*.yaml")
_MINIMAL: Final = """\
A model is a directory with three files:

  blankly.json      {"main_script": "./%s", "python_version": "3.11"}
  %-18sthe script that makes a blankly.Strategy
  requirements.txt  blankly
                    numpy<2
                    pandas<2.2
"""


def init(directory: Path, console: Console, environ: Mapping[str, str], *, dry_run: bool) -> None:
    """Write the workflow, and what the models lack to be backtested; print all of it.

    With `dry_run`, nothing is written. No file is overwritten; one line is added to a
    `blankly.json` that names no schema.

    Raises:
        InvalidInputError: there is no model, the directory is not there, or a link leads out of it.
    """
    if not directory.is_dir():
        raise InvalidInputError.of(f"{directory} does not exist, or is not a directory.")
    repository = Repository.around(directory)
    if not repository.models:
        _explain_models(directory, console)
        raise InvalidInputError.of(
            message=f"There is no model in {repository.searched}: no blankly.json, there or below.",
            hint="Make one as above, then run this again.",
        )
    _say_what_is_there(repository, console)
    changes = _planned(repository, console)
    if problems := [*_leading_out(changes, repository)]:
        raise InvalidInputError(*problems)
    for change in changes:
        _show(change, repository, changes, console)
        if not dry_run:
            change.write()
    errors = _show_problems(repository, changes, console, environ, dry_run=dry_run)
    _say_what_was_done(changes, repository, console, dry_run=dry_run)
    _print_steps(next_steps(repository, changes, errors=errors, dry_run=dry_run), console)


def init_server(directory: Path, console: Console, *, dry_run: bool) -> None:
    """Write the compose file of a server, and say how to start it.

    Raises:
        InvalidInputError: a file of that name is there, or the directory is not.
    """
    if not directory.is_dir():
        raise InvalidInputError.of(f"{directory} is not a directory.", "Make it first.")
    path = directory / COMPOSE
    if path.exists() or path.is_symlink():
        raise InvalidInputError.of(
            f"{path} is there already, and was left alone.", "Name another directory."
        )
    change = Change(path, None, template(COMPOSE))
    _print_lines(change.after.splitlines(), "+", Style.ADDED, console)
    if not dry_run:
        change.write()
    console.info("")
    console.section(f"{'Would write' if dry_run else 'Wrote'} {path}")
    _print_steps(server_steps(directory), console)


def _explain_models(directory: Path, console: Console) -> None:
    """Say how a model looks, with the script that is there already."""
    scripts = sorted(directory.glob("*.py"))
    named = [one.name for one in scripts if "blankly" in (read_text(one) or "")]
    script = next(iter(named), "bot.py")
    console.info(_MINIMAL % (script, script))


_MOST_NAMED: Final = 10


def _say_what_is_there(repository: Repository, console: Console) -> None:
    models = repository.models
    names = ", ".join(repository.shown_path(model) for model in models[:_MOST_NAMED])
    left = f" and {len(models) - _MOST_NAMED:,} more" if len(models) > _MOST_NAMED else ""
    console.info(f"Found {count(len(models), 'model')}: {names}{left}")
    for path in repository.ignored:
        console.info(f"Left out, because git ignores it: {repository.name_of(path)}")
    habits = repository.habits
    console.info(f"The branch to deploy from: {habits.branch} ({habits.known_by})")
    console.info("")


def _planned(repository: Repository, console: Console) -> list[Change]:
    """Return what is to be written; say what stays as it is."""
    changes: list[Change] = []
    path = repository.root / WORKFLOW
    below = repository.searched.relative_to(repository.root).as_posix()
    models = [model.in_workflow for model in repository.models]
    if path.exists() or path.is_symlink():
        console.info(f"{repository.name_of(path)} is there already, and is left alone.\n")
    elif other := _using_workflow(repository.root):
        said = (
            f"{repository.name_of(other)} uses this action already, so no workflow is written: two "
            "would deploy everything twice.\n"
        )
        console.info(console.terminal.wrapped(said))
    else:
        changes.append(
            Change(
                path, None, workflow_of(models, repository.habits.branch, below, repository.needs)
            )
        )
    for model in repository.models:
        if model.manifest is not None:
            changes += changes_of(repository.root / model.path, model.manifest)
    return changes


def _leading_out(changes: Iterable[Change], repository: Repository) -> Iterator[Problem]:
    """Yield a problem for each file that a link would put outside of the repository."""
    root = repository.root.resolve()
    for change in changes:
        if not change.path.resolve().is_relative_to(root):
            yield Problem(
                message=f"{repository.name_of(change.path)} is not written: a link on its path "
                "leads out of the repository.",
                hint="Put a directory in the place of the link, and run this again.",
            )


def _using_workflow(root: Path) -> Path | None:
    folder = root / WORKFLOW.parent
    found = (path for pattern in _WORKFLOWS for path in sorted(folder.glob(pattern)))
    return next((path for path in found if f"{ACTION}@" in (read_text(path) or "")), None)


def _show(
    change: Change, repository: Repository, changes: Sequence[Change], console: Console
) -> None:
    """Print a change as a diff; of several new files that are the same, the first one."""
    from difflib import unified_diff

    name = repository.name_of(change.path)
    if change.before is not None:
        console.section(f"{name}: one line is added")
        lines = list(unified_diff(change.before.splitlines(), change.after.splitlines(), n=1))
        for line in lines[3:]:
            style = {"+": Style.ADDED, "-": Style.REMOVED}.get(line[:1], Style.PLAIN)
            _print_lines([line[1:]], line[:1], style, console)
    else:
        same = next(one for one in changes if one.before is None and one.after == change.after)
        console.section(f"{name}: new")
        if same is change:
            _print_lines(change.after.splitlines(), "+", Style.ADDED, console)
        else:
            console.info(f"  the same as {repository.name_of(same.path)}")
    console.info("")


def _print_lines(lines: Iterable[str], mark: str, style: Style, console: Console) -> None:
    for line in lines:
        console.info(f"  {mark} {line}".rstrip(), style)


def _show_problems(
    repository: Repository,
    changes: Sequence[Change],
    console: Console,
    environ: Mapping[str, str],
    *,
    dry_run: bool,
) -> int:
    """Print what would stop the first run of a model, as `validate` does; return the errors."""
    errors = 0
    checks = Checks(repository.root, read_event(environ), console)
    written = {change.path for change in changes if change.before is None}
    for model in repository.models:
        found = checks.problems(model)
        if dry_run:
            found = tuple(_not_mended(found, repository.root / model.path, written))
        if not found:
            continue
        command = repository.command("validate", model)
        console.section(f"What `{command}` says:")
        directory = repository.root / model.path
        for problem in sorted(found, key=lambda one: list(Severity).index(one.severity)):
            path = problem.path and repository.name_of(directory / problem.path)
            console.problem(replace(problem, path=path))
            errors += problem.severity is Severity.ERROR
        console.info("")
    return errors


def _not_mended(
    problems: Iterable[Problem], directory: Path, written: set[Path]
) -> Iterator[Problem]:
    """Leave out that a file is missing which would have been written."""
    mended = {
        hint_to_add(one.relative_to(directory).as_posix())
        for one in written
        if one.is_relative_to(directory)
    }
    return (problem for problem in problems if problem.hint not in mended)


def _say_what_was_done(
    changes: Sequence[Change], repository: Repository, console: Console, *, dry_run: bool
) -> None:
    if not changes:
        console.info("Nothing was missing, so nothing was written.")
        return
    verb = "Would write" if dry_run else "Wrote"
    console.section(f"{verb} {count(len(changes), 'file')}:")
    for change in changes:
        what = "" if change.before is None else " (one line added)"
        console.info(f"  {repository.name_of(change.path)}{what}")


def _print_steps(steps: Iterable[Step], console: Console) -> None:
    """Print what to do next. Commands are never wrapped: they are there to be copied."""
    console.info("")
    console.section("Next:")
    for number, (text, *commands) in enumerate(steps, start=1):
        console.info(console.terminal.wrapped(f"  {number}. {text}", indent=5))
        for command in commands:
            console.info(f"     {command}", Style.COMMAND)
