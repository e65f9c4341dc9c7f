"""What to do next: each step is a sentence, and the commands for it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from deploy_action.commands.init.changes import Change
from deploy_action.commands.init.repository import WORKFLOW, Repository
from deploy_action.commands.init.workflow import ACTION
from deploy_action.lazy.patterns import lazy_regex

Step = tuple[str, ...]
_PATTERN: Final = lazy_regex(r"[*?\[\\]")  # of names that `git add` takes for more
_SPECIAL: Final = lazy_regex(r"[*?\[\]#!\\]")  # in a line of `.gitignore`


def next_steps(
    repository: Repository, changes: Sequence[Change], *, errors: int, dry_run: bool
) -> Iterator[Step]:
    """Yield what to do next, in the order in which it is done.

    `errors` is how many there are that let the first run fail.
    """
    if dry_run:
        yield ("Run the same without --dry-run, to write this.",)
    if errors:
        what = "the error" if errors == 1 else f"the {errors} errors"
        yield (f"Mend {what} above: the first run fails on {'it' if errors == 1 else 'them'}.",)
    strategies = [one for one in repository.models if not one.in_workflow.is_screener]
    if strategies:
        yield "Try it here first:", repository.command("backtest", strategies[0])
    is_new = any(change.path == repository.root / WORKFLOW for change in changes)
    yield from _commit_steps(repository, changes, _checks_of(repository) if is_new else "")
    if is_new:
        yield (
            "Nothing is deployed until there is a server, and the repository knows it:",
            "blankly-deploy init --server",
        )


def _checks_of(repository: Repository) -> str:
    what = "the model" if len(repository.models) == 1 else "the models that it changes"
    if not repository.has_strategies:
        return f" Its checks look at {what}."
    return f" Its checks backtest {what}, and a comment shows what came of it."


def _commit_steps(
    repository: Repository, changes: Sequence[Change], its_checks: str
) -> Iterator[Step]:
    new = repository.untracked
    if not changes and not new:
        return
    habits = repository.habits
    keys = " ".join(shlex.quote(_SPECIAL.sub(r"\\\g<0>", one)) for one in repository.keys_to_hide)
    # Its last line may have no end.
    hide = (f"printf '\\n%s\\n' {keys} >> .gitignore",) if keys else ()
    added = [*new, *(one.path for one in changes if not any(map(one.path.is_relative_to, new)))]
    names = [path.relative_to(repository.root).as_posix() for path in added]
    names += [".gitignore"] if hide else []
    commit = _add(names), "git commit --message 'Backtest on pull requests'"
    is_here = repository.root == Path.cwd()
    enter = () if is_here else (f"cd {shlex.quote(str(repository.root))}",)
    model = ", with what git lacks of the models" if new else ""
    model += ", but without keys" if hide else ""
    if habits.has_commits and habits.has_origin:
        yield (
            f"Commit it on a branch{model}:",
            *enter,
            "git switch --create backtests",
            *hide,
            *commit,
        )
        push = "git push --set-upstream origin backtests"
        yield f"Push it, and open a pull request.{its_checks}", push
        return
    begin = () if repository.is_git else (f"git init --initial-branch {habits.branch}",)
    yield f"Commit it{model}:", *enter, *begin, *hide, *commit
    create = "gh repo create --private --source . --push"
    push = f"git push --set-upstream origin {shlex.quote(habits.branch)}"
    yield "Push it to GitHub:", push if habits.has_origin else create
    yield (f"Then open a pull request that changes a model.{its_checks}",)


def _add(names: Sequence[str]) -> str:
    """Return the command that adds files, whatever git could take their names for."""
    is_strange = any(one[0] in "-:" or _PATTERN.search(one) for one in names)
    git = "git --literal-pathspecs add --" if is_strange else "git add"
    return " ".join([git, *map(shlex.quote, names)])


def server_steps(directory: Path) -> Iterator[Step]:
    """Yield the way from a compose file in `directory` to a repository that deploys."""
    build = "docker build --target server --tag localhost/blankly-deploy-server"
    yield "Build the image:", f"{build} https://github.com/{ACTION}.git#v1"
    secrets = (
        "Make the token that clients present, and the list of places for notifications, which may "
        "stay empty:"
    )
    enter = () if directory.resolve() == Path.cwd() else (f"cd {shlex.quote(str(directory))}",)
    make = "mkdir secrets; touch secrets/notify; head -c 32 /dev/urandom | base64 > secrets/token"
    yield secrets, *enter, f"(umask 077; {make})"
    yield "Start it:", "docker compose up --detach"
    docs = f"https://github.com/{ACTION}/blob/main/docs/server.md"
    proxy = (
        "It listens on 127.0.0.1:9080 only, without TLS: put a proxy with a certificate in front."
    )
    yield (f"{proxy} {docs} says how, and goes on from here.",)
    yield (
        "Tell your repository of it, with the address that the proxy has:",
        "gh variable set BLANKLY_API_URL --body https://bots.example.com",
        "gh secret set BLANKLY_TOKEN < secrets/token",
    )
