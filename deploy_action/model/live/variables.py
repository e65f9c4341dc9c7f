"""Tells which variables a model reads and does not get, before it runs.

A model sees what `model-env` gives, and no other variable of the workflow or terminal.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeGuard

from deploy_action.bundle.selection import Selection
from deploy_action.errors import Problem, Severity
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.model.live.code import Code, Reach, Use, VariableRead
from deploy_action.model.live.modules import Module
from deploy_action.records import dataclass, field
from deploy_action.text.variables import is_name, is_reserved

_MOST: Final = 10
_LOADS_FILE: Final = frozenset({"load_dotenv", "dotenv_values"})
# What processes have on most machines, whoever starts them.
_OF_SYSTEMS: Final = lazy_regex(
    r"(?i:PATH|HOME|USER|LOGNAME|USERNAME|USERPROFILE|APPDATA|LOCALAPPDATA|SHELL|TERM|LANG|LC_.*|TZ"
    r"|TMPDIR|TEMP|TMP|PWD|HOSTNAME|CI|.*_PROXY|PYTHON.*|SSL_CERT_.*|.*_CA_BUNDLE|.*_NUM_THREADS)"
)
_OF_ENV_FILE: Final = lazy_regex(rb"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=", re.MULTILINE)
_MOST_BYTES: Final = 1 << 20


_Tests = tuple[AbstractSet[int], AbstractSet[str], Mapping[int, ast.AST]]


@dataclass(frozen=True, slots=True)
class Given:
    """The variables that a run gives the model, and how serious a missing one is.

    `is_run`: the run backtests or deploys the model now. `left_out` are files that are not in the
    bundle because they may hold secrets, by their paths, and `in_files` the variables of a `.env`
    that is in the bundle. Hints are for a workflow, or without `for_runner` for a terminal.
    """

    names: AbstractSet[str]
    is_run: bool
    left_out: tuple[str, ...] = ()
    in_files: AbstractSet[str] = frozenset()
    for_runner: bool = True


def check_variables(code: Code, given: Given) -> Iterator[Problem]:
    """Yield a problem for each variable that the code reads without a default, and does not get.

    An error is only what certainly ends the model: `os.environ["NAME"]` in code that runs before
    the script has ended.
    """
    if None in code.sets:  # it sets variables whose names are not known
        return
    loads = [use for use in code.uses if use.name in _LOADS_FILE]
    known = given.names | code.sets | (given.in_files if loads else frozenset())
    missing: dict[str, VariableRead] = {}
    for read in sorted(code.reads, key=_weight, reverse=True):
        is_known = read.name in known or not is_name(read.name)
        if not is_known and not is_reserved(read.name) and not _OF_SYSTEMS.fullmatch(read.name):
            missing.setdefault(read.name, read)
    tested = _Tested()
    told = [read for read in missing.values() if read.raises or tested.needs(read)]
    for read in told[:_MOST]:
        yield _problem(read, given, from_file=bool(loads))
    if loads and given.is_run and not told and not given.names and not given.in_files:
        yield _without_file(loads[0], given)


def names_in_files(selection: Selection) -> AbstractSet[str]:
    """Return the variables of each `.env` in the bundle, which the package python-dotenv reads."""
    names: set[str] = set()
    for entry in selection.entries:
        if ".env" in posixpath.basename(entry.name):
            try:
                data = selection.files.read(entry.name, _MOST_BYTES)
            except OSError:
                continue
            names |= {found.decode() for found in _OF_ENV_FILE.findall(data)}
    return names


def _without_file(use: Use, given: Given) -> Problem:
    """Tell that a script reads variables from a file, and gets neither the file nor variables."""
    why = "there is no such file in the bundle"
    if given.left_out:
        why = f"{given.left_out[0]} is not packed: it may hold secrets"
    return Problem(
        message=f"The script reads variables from a file with {use.name}, and {why}.",
        hint=_way_out("NAME", given, given.left_out),
        severity=Severity.WARNING if given.left_out else Severity.NOTICE,
        path=use.file,
        line=use.line,
        column=use.column,
    )


def _weight(read: VariableRead) -> tuple[bool, Reach]:
    return read.raises, read.reach


def _problem(read: VariableRead, given: Given, *, from_file: bool) -> Problem:
    is_certain = read.reach is Reach.AT_ONCE
    what = "reads" if is_certain else "may read"
    ends = ", and ends with a KeyError without it" if read.raises and is_certain else ""
    if given.is_run:
        severity = Severity.ERROR if read.raises and is_certain else Severity.WARNING
        missing = "`model-env` does not give it"
    else:
        severity, missing = Severity.NOTICE, "a backtest or a deploy has to give it"
    if not read.raises or not is_certain:
        severity = Severity.NOTICE if read.reach is Reach.MAYBE else severity
    return Problem(
        message=f"The script {what} the variable `{read.name}`{ends}, and {missing}.",
        hint=_way_out(read.name, given, given.left_out if from_file else ()),
        severity=severity,
        path=read.module.file,
        line=read.node.lineno,
        column=read.node.col_offset + 1,
    )


def _way_out(name: str, given: Given, left_out: tuple[str, ...]) -> str:
    """Say how a model gets a variable; the files are those that are not packed."""
    way = (
        f"Models see no variables of the workflow: give it as `{name}=VALUE`, a line of the input "
        "`model-env`"
    )
    if not given.for_runner:
        way = (
            "Models see no variables of the terminal: give it with "
            f'`env "INPUT_MODEL-ENV={name}=VALUE" blankly-deploy …`'
        )
    if not left_out:
        return f"{way}, or give it a default in the script."
    return (
        f"{way}. {left_out[0]} is not packed, because it may hold secrets; `!/{left_out[0]}` in "
        "ignore_files takes it into the bundle all the same."
    )


@dataclass(slots=True)
class _Tested:
    """Knows where scripts look whether a value is there, before they use it."""

    _modules: dict[int, _Tests] = field(default_factory=dict)

    def needs(self, read: VariableRead) -> bool:
        """Whether a script uses a variable without looking whether it is there."""
        nodes, names, parents = self._of(read.module)
        if id(read.node) in nodes:
            return False
        parent = parents.get(id(read.node))
        targets = _targets(parent) if isinstance(parent, ast.Assign | ast.AnnAssign) else []
        return not isinstance(parent, ast.Expr) and names.isdisjoint(targets)

    def _of(self, module: Module) -> _Tests:
        if id(module) not in self._modules:
            self._modules[id(module)] = _tests_in(module.tree)
        return self._modules[id(module)]


def _targets(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Yield the last names of what is assigned to: of `self.token`, `token`."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Attribute):
            yield target.attr


def _tests_in(tree: ast.Module) -> _Tests:
    """Return the expressions that are tested, the names in them, and what each node is in.

    What is tested to end the script without it counts as needed.
    """
    roots: list[ast.expr] = []
    refused: set[int] = set()
    parents: dict[int, ast.AST] = {}
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            parents[id(child)] = node
        match node:
            case ast.If() | ast.IfExp() | ast.While():
                roots.append(node.test)
                if isinstance(node, ast.If) and _ends(node.body[-1]):
                    refused |= {id(inner) for inner in ast.walk(node.test)}
            case ast.BoolOp(op=ast.Or()):
                roots += node.values[:-1]
            case ast.Compare():
                roots.append(node)
            case ast.Call(func=ast.Name(id="bool")):
                roots += node.args
            case _:
                pass
    inner = [node for root in roots for node in ast.walk(root) if id(node) not in refused]
    names = {node.id for node in inner if isinstance(node, ast.Name)}
    names |= {node.attr for node in inner if isinstance(node, ast.Attribute)}
    return {id(node) for node in inner}, names, parents


def _ends(node: ast.stmt) -> bool:
    """Whether a statement ends the script: `raise`, or a call of `exit` under some name."""
    if isinstance(node, ast.Raise):
        return True
    called = node.value.func if isinstance(node, ast.Expr) and _is_call(node.value) else None
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in {"exit", "quit", "_exit"}


def _is_call(node: ast.expr) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call)
