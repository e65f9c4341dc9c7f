"""Which comment a run keeps up to date, as its inputs say, right or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from posixpath import normpath
from typing import Final, TypeVar

from deploy_action.inputs import parsing
from deploy_action.inputs.definitions import Comment, Mode
from deploy_action.records import dataclass, field

_Parsed = TypeVar("_Parsed")
_Otherwise = TypeVar("_Otherwise")
# What differs between legs of a matrix, or steps, that are not told apart by `comment-key`.
_OF_LEG: Final = ("mode", "backtest-args", "python-version", "windows", "sweep", "compare-with")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommentWanted:
    """Which comment to keep up to date.

    `key` tells the models of one pull request apart, `leg` the runs of one model. `name` says to
    readers which of several comments it is, such as `comment-key: BTC`; blank for a single one.
    """

    token: str = field(repr=False)
    key: str
    leg: str
    name: str
    is_on_problem: bool


def comment_wanted(inputs: Mapping[str, str]) -> CommentWanted | None:
    """Return which comment a run keeps up to date. None: no comment, or the run sends nothing.

    It does not depend on the other inputs being right, so that a failed run edits the comment of
    an earlier one.
    """
    given = {name: text.strip() for name, text in inputs.items()}
    when = _read(parsing.parse_comment, given.get("comment", ""), Comment.NEVER)
    is_dry = parsing.BOOLEANS.get(given.get("dry-run", ""), False)
    if when is Comment.NEVER or is_dry:
        return None
    mode = given.get("mode")
    if mode in set(Mode) and not Mode(mode).tells_result:
        return None
    if given.get("shard") and mode != Mode.MERGE:  # `merge` comments on all of them
        return None
    arguments = _arguments(given.get("backtest-args", ""))
    key = given.get("comment-key", "")
    name = f"comment-key: {key}" if key else arguments and f"backtest-args: {arguments}"
    of_leg = {**given, "backtest-args": arguments}
    return CommentWanted(
        token=given.get("github-token", ""),
        key=json.dumps(
            [normpath(given.get("model-path") or "."), given.get("model-name", ""), key]
        ),
        leg=json.dumps([of_leg.get(one, "") for one in _OF_LEG]),
        name=name,
        is_on_problem=when is Comment.ON_PROBLEM,
    )


def _arguments(text: str) -> str:
    """Return `backtest-args` in one form, however it is laid out; as it is if it is wrong."""
    arguments = _read(parsing.parse_arguments, text, None) if text else {}
    if not arguments:
        return text if arguments is None else ""
    return json.dumps(arguments, sort_keys=True, ensure_ascii=False)


def _read(
    parse: Callable[[str], _Parsed], text: str, otherwise: _Otherwise
) -> _Parsed | _Otherwise:
    """Return what a text is parsed as; `otherwise` if it is wrong, which is told elsewhere."""
    try:
        return parse(text)
    except parsing.BadValueError:
        return otherwise
