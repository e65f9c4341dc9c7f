"""The workflow that `init` writes: backtests on pull requests, deploys on pushes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass

ACTION: Final = "blankly-community/deploy-action"
# As in examples/workflows, which are kept up to date; a test compares them.
CHECKOUT: Final = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0"
CACHE: Final = "actions/cache@0057852bfaa89a56745cba8c7296529d2fc39830 # v4.3.0"

# Words that YAML takes for strings without quotes.
# What YAML refuses, or takes for the end of a line.
_UNQUOTABLE: Final = lazy_regex("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_PLAIN: Final = lazy_regex(
    r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z][A-Za-z0-9_/-]*", re.IGNORECASE
)
_GLOB: Final = lazy_regex(r"[+!]")  # git takes no other special characters

_HEAD: Final = """\
# Made by `blankly-deploy init`, and yours to change. All inputs: https://github.com/{action}
#
# A pull request backtests {what}, and compares with the version that it would replace.
# A push to {branch_in_words} deploys {it}, once the repository has the variable BLANKLY_API_URL,
# the address of your server, and the secret BLANKLY_TOKEN. Until then that job is skipped.
name: Blankly

on:
  pull_request:
  push:
    branches: [{branch}]

permissions: {{}}

{concurrency}
jobs:
"""
_CONCURRENCY: Final = """\
# A new push to a pull request ends its older run; a deploy is not cut off.
concurrency:
  group: blankly-${{ github.ref }}
  cancel-in-progress: ${{ github.event_name == 'pull_request' }}
"""
_FIND: Final = """\
  models:
    name: Find the models
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions:
      contents: read # to check the repository out
    outputs:
      models: ${{{{ steps.find.outputs.models }}}}
    steps:
      - uses: {checkout}
        with:
          fetch-depth: 2 # the pull request's merge commit and its base, HEAD^
          persist-credentials: false
      - id: find
        uses: {action}@v1
        with:
          mode: discover{below}
          changed-since: {since} # a push lists all models
{include}\

"""
# Blank for a push, which lists all models: what an earlier push did not deploy is made up for, as
# when its deploy failed, or there was no server yet.
_SINCE: Final = "${{ github.event_name == 'pull_request' && 'HEAD^' || '' }}"
_JOB: Final = """\
  {job}:
    name: {name}
{conditions}\
    runs-on: ubuntu-latest
    timeout-minutes: 35
{matrix}\
    permissions:
{permissions}\
    steps:
      - uses: {checkout}
        with:
{depth}\
          persist-credentials: false
"""
_MATRIX: Final = """\
    strategy:
      fail-fast: false # the failure of one model does not stop the others
      matrix:
        model: ${{ fromJSON(needs.models.outputs.models) }}
"""
_CACHES: Final = """\
      - uses: {cache}
        with:
          path: ${{{{ runner.temp }}}}/blankly-platform/environments
          key: {key}
          restore-keys: {start}-{leg}
      - uses: {cache}
        with: # only for models that download prices
          path: ${{{{ runner.temp }}}}/blankly-platform/prices
          key: blankly-prices-{leg}${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}
          restore-keys: blankly-prices-{leg}
"""
_START: Final = "blankly-${{ runner.os }}-${{ runner.arch }}"
_KEY: Final = (
    "blankly-${{{{ runner.os }}}}-${{{{ runner.arch }}}}-{leg}"
    "${{{{ hashFiles('**/requirements*.txt', '**/pyproject.toml', '**/blankly.json') }}}}"
)
_STEP: Final = """\
      - uses: {action}@v1
        with:
          mode: {mode}
          model-path: {path}
"""
_BACKTEST: Final = """\
          api-url: local # on the runner: no server, no token
          compare-with: HEAD^
          comment: true
          # gates: |
          #   max_drawdown <= 25%
          #   sharpe >= base - 10%
"""
_DEPLOY: Final = """\
          api-url: ${{ vars.BLANKLY_API_URL }}
          token: ${{ secrets.BLANKLY_TOKEN }}
          create-new: true # the first time; later runs find the model by its name
          # project-id: the project on the server; without it, the one of the token's user
          # model-id: a model that the server has already
"""
_SECRETS: Final = """\
          # keys-json: ${{ secrets.BLANKLY_KEYS_JSON }} # if it needs the keys of an exchange
          # model-env: ${{ secrets.BLANKLY_MODEL_ENV }} # its variables, NAME=VALUE one a line
"""
_UNCHANGED: Final = """\
          # A push that changed nothing of the model does not restart it. Only servers that run
          # models can tell: remove this line for others.
          unchanged: skip
"""
_UNCHANGED_OF_SEVERAL: Final = """\
          # Each push lists all models, and this leaves alone those that run the same already. Only
          # servers that run models can tell. For others remove this line, and give the job `models`
          # `changed-since: ${{ github.event.before }}` with `fetch-depth: 0`.
          unchanged: skip
"""
_DEPTH: Final = "          fetch-depth: 2 # the pull request's merge commit and its base, HEAD^\n"
_READ: Final = "      contents: read # to check the repository out\n"
_WRITE: Final = "      pull-requests: write # to write the comment; forks cannot\n"
_PULL_REQUEST: Final = "github.event_name == 'pull_request'"
_PUSH: Final = "github.event_name == 'push' && vars.BLANKLY_API_URL != ''"


@dataclass(frozen=True, slots=True)
class ModelInRepository:
    """A model: its path from the repository's root, and what its `blankly.json` says of it."""

    path: str
    is_screener: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What models need of a checkout, and `include`: what they import from outside of them."""

    lfs: bool = False
    submodules: bool = False
    include: tuple[str, ...] = ()

    @property
    def of_checkout(self) -> str:
        """Inputs of `actions/checkout`."""
        lfs = "          lfs: true # files that Git LFS keeps\n" if self.lfs else ""
        return lfs + ("          submodules: true\n" if self.submodules else "")

    @property
    def of_action(self) -> str:
        """The input `include` of this action."""
        if not self.include:
            return ""
        lines = "".join(f"            {scalar_line(one)}\n" for one in self.include)
        return f"          include: | # what the models import from outside of them\n{lines}"


_NO_NEEDS: Final = Needs()


def workflow_of(
    models: Sequence[ModelInRepository],
    branch: str,
    below: str = ".",
    needs: Needs = _NO_NEEDS,
) -> str:
    """Return the workflow for a repository's models; several are found by the workflow itself.

    `branch` is the one whose pushes deploy, and `below` the directory that all models are in.
    """
    several = len(models) > 1
    head = _HEAD.format(
        action=ACTION,
        what="the models that it changes" if several else "the model",
        it="those that differ from what runs" if several else "it",
        branch=scalar(_GLOB.sub(r"\\\g<0>", branch)),
        branch_in_words=json.dumps(branch)[1:-1],
        concurrency=_CONCURRENCY,
    )
    find = ""
    if several:
        found_below = "" if below == "." else f"\n          model-path: {scalar(below)}"
        find = _FIND.format(
            checkout=CHECKOUT,
            action=ACTION,
            below=found_below,
            since=_SINCE,
            include=needs.of_action,
        )
    return head + find + _test_job(models, needs) + "\n" + _deploy_job(models, needs)


def _test_job(models: Sequence[ModelInRepository], needs: Needs) -> str:
    several = len(models) > 1
    screeners = [model.path for model in models if model.is_screener]
    only_checked = len(screeners) == len(models)
    job = _job(
        "check" if only_checked else "backtest",
        "Check" if only_checked else "Backtest",
        _PULL_REQUEST,
        several=several,
        permissions=_READ + ("" if only_checked else _WRITE),
        depth=("" if only_checked else _DEPTH) + needs.of_checkout,
    )
    mode = "validate" if only_checked else "backtest"
    if screeners and not only_checked:
        listed = _expression_string(json.dumps(screeners, ensure_ascii=False))
        chosen = f"contains(fromJSON({listed}), matrix.model.path) && 'validate' || 'backtest'"
        mode = json.dumps(f"${{{{ {chosen} }}}}", ensure_ascii=False)
    if screeners:
        mode += " # screeners cannot be backtested"
    step = _STEP.format(action=ACTION, mode=mode, path=_path_in(models))
    if only_checked:
        return job + step + needs.of_action
    leg = "${{ matrix.model.path }}-" if several else ""
    caches = _CACHES.format(cache=CACHE, key=_KEY.format(leg=leg), start=_START, leg=leg)
    return job + caches + step + _BACKTEST + needs.of_action + _SECRETS


def _deploy_job(models: Sequence[ModelInRepository], needs: Needs) -> str:
    several = len(models) > 1
    job = _job(
        "deploy", "Deploy", _PUSH, several=several, permissions=_READ, depth=needs.of_checkout
    )
    step = _STEP.format(action=ACTION, mode="deploy", path=_path_in(models))
    unchanged = _UNCHANGED_OF_SEVERAL if several else _UNCHANGED
    return job + step + _DEPLOY + needs.of_action + _SECRETS + unchanged


def _job(
    job: str, name: str, condition: str, *, several: bool, permissions: str, depth: str
) -> str:
    conditions = f"    if: {condition}\n"
    if several:
        name += " ${{ matrix.model.name }}"
        conditions = (
            f"    needs: models\n    if: {condition} && needs.models.outputs.models != '[]'\n"
        )
    return _JOB.format(
        job=job,
        name=name,
        conditions=conditions,
        matrix=_MATRIX if several else "",
        permissions=permissions,
        checkout=CHECKOUT,
        depth=depth,
    )


def _path_in(models: Sequence[ModelInRepository]) -> str:
    if len(models) > 1:
        return "${{ matrix.model.path }}"
    path = models[0].path
    return path if path == "." else scalar(path)


def scalar_line(text: str) -> str:
    """Return a line of a block of text in which GitHub finds no expression."""
    return text.replace("${{", "${{ '${{' }}")


def scalar(text: str) -> str:
    """Return a string in YAML in which GitHub finds no expression, quoted if it has to be."""
    if _PLAIN.fullmatch(text):
        return text
    quoted = json.dumps(scalar_line(text), ensure_ascii=False)
    return _UNQUOTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def _expression_string(text: str) -> str:
    """Return a string in one of GitHub's expressions; it ends at the first closing braces."""
    return "'" + text.replace("'", "''").replace("}}", "}\\u007d") + "'"
