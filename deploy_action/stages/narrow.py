"""Warns of a comparison that misses what a pull request changed earlier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy_action.errors import Problem, Severity
from deploy_action.git.revision import read_checked_out_commit
from deploy_action.github.event import Event
from deploy_action.text.harmless import one_line


def narrow(
    event: Event, directory: Path, asked_by: str, ref: str | None, consequence: str
) -> Iterator[Problem]:
    """Yield a warning that begins with `consequence` where `ref` is within the pull request.

    `asked_by` is the input that has the ref, and `directory` is in the checkout.
    """
    if ref is None or not event.name.startswith("pull_request"):
        return
    head = read_checked_out_commit(directory)
    is_merge = head is not None and event.commit in head.parents[1:]
    if ref == event.before:
        what = "`github.event.before` is the pull request before its last push"
    elif ref.startswith(("HEAD", "@")) and not is_merge:
        what = f"the checkout is not the merge of the pull request, so that `{one_line(ref)}` is a "
        what += "commit of its own branch"
    else:
        return
    yield Problem(
        message=f"{consequence}: {what}.",
        hint=f"Set `{asked_by}: HEAD^`, without `ref` of `actions/checkout` and with "
        "`fetch-depth: 2`. On a forge that makes no merge commits, set it to "
        "`github.event.pull_request.base.sha`, with `fetch-depth: 0`.",
        severity=Severity.WARNING,
    )
