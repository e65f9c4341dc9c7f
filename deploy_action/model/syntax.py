"""Checks that a script is Python, and such as the model's version of Python can read.

Python's own parser says what is too new for a version (`feature_version` of `ast.parse`): `match`,
`except*`, `:=`, positional-only parameters, `with` in parentheses and more. It does not look at
what fails only when the code runs, of which types in annotations are the most frequent.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from deploy_action.errors import Problem, Severity
from deploy_action.lazy.patterns import lazy_regex
from deploy_action.model.live.modules import readable
from deploy_action.records import dataclass, replace
from deploy_action.text.python_version import OLDEST, minor_version

_NOTEBOOK_HINT = (
    "Lines that begin with `!` or `%` work in notebooks only: take them out, and write the "
    "packages that they install into the requirements."
)
_SINCE: Final = lazy_regex(
    r"(.*?) (?:is|are) only supported in Python ([0-9]+)\.([0-9]+) and greater"
)
_KINDS: Final[Mapping[str, tuple[type[ast.expr | ast.stmt], ...]]] = {
    "Pattern": (ast.Match,),
    "Exception groups": (ast.TryStar,),
    "Assignment expressions": (ast.NamedExpr,),
    "Parenthesized": (ast.With, ast.AsyncWith),
}
_OLDEST_KNOWN: Final = (3, 7)  # to `ast.parse`, as of Python 3.13
_GENERIC: Final = frozenset({"dict", "frozenset", "list", "set", "tuple", "type"})  # PEP 585
_GENERIC_SINCE: Final = (3, 9)
_PLAIN: Final = _GENERIC | {"bool", "bytes", "complex", "float", "int", "object", "str"}
_UNION_SINCE: Final = (3, 10)  # PEP 604
_Version = tuple[int, int]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Wanted:
    """The Python that a model asks for. `is_given`: somebody wrote it, and it is no default."""

    version: _Version
    is_given: bool

    def __str__(self) -> str:
        return _dotted(self.version)


def wanted_python(version: str | None, default: str) -> Wanted:
    """Return the Python that a model asks for; one that is no version counts as the default."""
    found = minor_version(version or "")
    return Wanted(found or minor_version(default) or OLDEST, is_given=found is not None)


def _dotted(version: _Version) -> str:
    return f"{version[0]}.{version[1]}"


def syntax_problem(
    data: bytes, name: str, wanted: Wanted, redact: Callable[[str], str] = str
) -> Problem | None:
    """Return the first thing in a script that the wanted Python cannot read; None if there is none.

    `name` is its path. A script for a newer Python than this one may be right. Whatever the message
    quotes goes through `redact`.
    """
    here = sys.version_info[:2]
    problem = _compile(data, name, redact)
    if problem is None:
        return _too_new(data, name, wanted) if wanted.version < here else None
    if wanted.version <= here:
        return problem
    return replace(
        problem,
        message=f"{problem.message} It was checked as Python {here[0]}.{here[1]}.",
        hint=f"Ignore this if it is valid in Python {wanted}; otherwise correct it.",
        severity=Severity.WARNING,
    )


def _compile(data: bytes, name: str, redact: Callable[[str], str]) -> Problem | None:
    from importlib.util import decode_source

    try:
        # Compiling bytes gives columns in bytes for some mistakes and in characters for others.
        source = decode_source(readable(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        problem = _no_python(name, redact(error.msg), error.lineno, error.offset)
        is_notebooks = (error.text or "").lstrip().startswith(("!", "%"))
        return replace(problem, hint=_NOTEBOOK_HINT) if is_notebooks else problem
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _no_python(name, f"it is not encoded as {error.encoding}", line, None)
    except LookupError:  # Python has codecs that make no text, such as hex
        return _no_python(name, "it declares an encoding that is not for text", None, None)
    except (ValueError, MemoryError, RecursionError) as error:
        return _no_python(name, str(error) or "it is nested too deep", None, None)
    return None


def _no_python(name: str, reason: str, line: int | None, column: int | None) -> Problem:
    message = f"{name} is not valid Python: {reason[:200]}."
    hint = "Correct the script; a run would stop there."
    return Problem(message=message, hint=hint, path=name, line=line or None, column=column or None)


def _too_new(data: bytes, name: str, wanted: Wanted) -> Problem | None:
    """Return the first thing in a valid script that the wanted Python does not know."""
    try:
        tree = ast.parse(data)
        features = [*_of_parser(data, tree, wanted), *_of_tree(tree, wanted)]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None  # nested too deep for another look
    if not features:
        return None
    node, what, since = min(features, key=lambda one: (one[0].lineno, one[0].col_offset))
    needed = max(one[2] for one in features)
    source = "" if wanted.is_given else ", which is assumed where nothing says another"
    return Problem(
        message=f"{name} has {what}, new in Python {_dotted(since)}, and the model asks for "
        f"Python {wanted}{source}: it cannot start.",
        hint=f'Write `"python_version": "{_dotted(needed)}"`, or a later one that you tested with, '
        "into blankly.json (the input python-version wins over that), or write it as older ones "
        "do.",
        severity=Severity.ERROR if wanted.is_given else Severity.WARNING,
        path=name,
        line=node.lineno,
        column=node.col_offset + 1,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A line, from 1, and a column, from 0, as nodes of a syntax tree have them."""

    lineno: int
    col_offset: int


_Feature = tuple[ast.expr | ast.stmt | _Place, str, _Version]


def _of_parser(data: bytes, tree: ast.Module, wanted: Wanted) -> Iterator[_Feature]:
    """Yield what Python's parser finds too new: one for each version that knows more."""
    version = max(wanted.version, _OLDEST_KNOWN)
    while version < sys.version_info[:2]:
        try:
            ast.parse(data, feature_version=version)
        except SyntaxError as error:
            found = _SINCE.match(error.msg)
            if found is None:
                return
            since = (int(found[2]), int(found[3]))
            if place := _place_of(found[1], tree, error.lineno or 1):
                yield place, f"{found[1][0].lower()}{found[1][1:]}", since
            version = max(since, (version[0], version[1] + 1))
        else:
            return


def _place_of(what: str, tree: ast.Module, line: int) -> ast.expr | ast.stmt | _Place | None:
    """Return the statement or expression that the parser found at its end, in some line."""
    kinds = next((kinds for words, kinds in _KINDS.items() if what.startswith(words)), ())
    for node in ast.walk(tree):
        if not isinstance(node, kinds) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        # The parser takes `with (open(path)):` for new, too.
        items = node.items if isinstance(node, ast.With | ast.AsyncWith) else ()
        if len(items) != 1 or items[0].optional_vars:
            return node
    return None if what.startswith("Parenthesized") else _Place(line, 0)


def _of_tree(tree: ast.Module, wanted: Wanted) -> Iterator[_Feature]:
    are_texts = any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and wanted.version < (3, 11):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
            if any(isinstance(one, ast.Starred) for one in parts):
                yield node, "a `*` in an index", (3, 11)
        decorators = getattr(node, "decorator_list", ())
        if wanted.version < (3, 9):  # PEP 614
            new = (one for one in decorators if not _is_old_decorator(one))
            yield from ((one, "such a decorator", (3, 9)) for one in new)
    if not are_texts:
        for annotation in _evaluated(tree.body):
            yield from _of_annotation(annotation, wanted)


def _is_old_decorator(node: ast.expr) -> bool:
    inner = node.func if isinstance(node, ast.Call) else node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return isinstance(inner, ast.Name)


def _evaluated(statements: list[ast.stmt]) -> Iterator[ast.expr]:
    """Yield the annotations that are worked out when a module is imported, for certain."""
    for node in statements:
        if isinstance(node, ast.AnnAssign):
            yield node.annotation
        elif isinstance(node, ast.ClassDef):
            yield from _evaluated(node.body)
        elif isinstance(node, _Function):
            given = node.args
            every = (*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg)
            yield from (one.annotation for one in every if one and one.annotation)
            if node.returns:
                yield node.returns


def _of_annotation(annotation: ast.expr, wanted: Wanted) -> Iterator[_Feature]:
    """Yield types that older Pythons stop at with a `TypeError`."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and wanted.version < _GENERIC_SINCE:
            if isinstance(node.value, ast.Name) and node.value.id in _GENERIC:
                yield node, f"the type `{node.value.id}[…]`", _GENERIC_SINCE
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            is_union = all(map(_is_plain_type, (node.left, node.right)))
            if is_union and wanted.version < _UNION_SINCE:
                yield node, "a type with `|`", _UNION_SINCE


def _is_plain_type(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None
    if isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id in _PLAIN
