"""What triggered the run: the runner's variables and the event's payload, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from deploy_action.github.runners import Runner, runner_of
from deploy_action.records import dataclass
from deploy_action.regular_files import read_regular
from deploy_action.text.harmless import LONGEST_DESCRIPTION, cut, tidy

_SHORT_SHA_LENGTH: Final = 7
_LARGEST_PAYLOAD: Final = 32 << 20  # GitHub sends at most 25 MB
# They run what is in the default branch, a tag, or the branch that `GITHUB_REF` names.
_OWN_EVENTS: Final = frozenset(
    {"", "push", "schedule", "workflow_dispatch", "repository_dispatch", "release"}
)
_BRANCHES: Final = "refs/heads/"
# Where the payloads of these events have their `head_commit`.
_HEAD_COMMIT_HOLDERS: Final = {"merge_group": "merge_group", "workflow_run": "workflow_run"}


@dataclass(frozen=True, slots=True)
class Event:
    """The event that started the workflow run; on a terminal, everything is blank.

    `actor` is the account that started the run, or started it again.
    `payload` is the webhook's JSON, whose shape GitHub documents for each event.
    """

    name: str
    payload: Mapping[str, object]
    sha: str
    workflow: str
    run_number: str
    repository_url: str
    repository: str = ""
    run_id: str = ""
    git_ref: str = ""
    actor: str = ""
    runner: Runner = Runner.GITHUB

    @property
    def scope(self) -> str:
        """The pull request or branch that is not merged yet; blank for what the repository has."""
        number = mapping(self.payload.get("pull_request")).get("number")
        if self.name.startswith("pull_request") and number is not None:
            return f"pull/{number}"
        if self.name not in _OWN_EVENTS:  # it may have checked out anything
            return f"{self.name} {self.git_ref} {self.run_id}".strip()
        default = _text(mapping(self.payload.get("repository")).get("default_branch"))
        # A schedule runs on the default branch only, and its payload does not name that.
        is_default = self.name == "schedule" or self.git_ref == f"{_BRANCHES}{default}"
        return self.git_ref if not is_default and self.git_ref.startswith(_BRANCHES) else ""

    @property
    def is_deletion(self) -> bool:
        """Whether a branch or tag was deleted, so that there is nothing to deploy."""
        return self.name == "push" and self.payload.get("deleted") is True

    @property
    def before(self) -> str:
        """The id of the commit before a push, or before the last push to a pull request."""
        return _text(self.payload.get("before"))

    @property
    def ref(self) -> str:
        """The full name of the pushed ref, such as `refs/heads/main`, else blank."""
        return _text(self.payload.get("ref"))

    @property
    def commit(self) -> str:
        """The commit that somebody wrote: a pull request's head, not the runner's merge commit."""
        head = mapping(mapping(self.payload.get("pull_request")).get("head"))
        return _text(head.get("sha")) or self.sha

    @property
    def run_url(self) -> str:
        """The page of the workflow run; blank if the forge is unknown."""
        return self.runner.run_url(self.repository_url, self.run_id, self.run_number)

    def commit_url(self, commit: str) -> str | None:
        """Return the page of `commit` on the forge, or None if the forge is unknown."""
        if not self.repository_url or not commit:
            return None
        return f"{self.repository_url}/commit/{quote(commit, safe='')}"

    def line_url(self, commit: str, path: str, line: int) -> str:
        """Return the page of a line of a file in `commit`; blank if the forge is unknown."""
        if not self.repository_url or not commit:
            return ""
        return self.runner.line_url(self.repository_url, commit, path, line)


def read_event(environ: Mapping[str, str]) -> Event:
    """Read the event from the runner's variables; an unreadable payload counts as empty."""
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    return Event(
        name=environ.get("GITHUB_EVENT_NAME", ""),
        payload=_read_payload(environ.get("GITHUB_EVENT_PATH", "")),
        sha=environ.get("GITHUB_SHA", ""),
        workflow=environ.get("GITHUB_WORKFLOW", ""),
        run_number=environ.get("GITHUB_RUN_NUMBER", ""),
        repository_url=f"{server.rstrip('/')}/{repository}" if server and repository else "",
        repository=repository,
        run_id=environ.get("GITHUB_RUN_ID", ""),
        git_ref=environ.get("GITHUB_REF", ""),
        # Of a run that was started again, the second is who started it first.
        actor=environ.get("GITHUB_TRIGGERING_ACTOR") or environ.get("GITHUB_ACTOR", ""),
        runner=runner_of(environ),
    )


def _read_payload(path: str) -> Mapping[str, object]:
    import json

    if not path:
        return {}
    try:
        data = read_regular(path, _LARGEST_PAYLOAD)
        payload = json.loads(data)
        if b"\\ud" in data.lower():
            payload = _whole(payload)
    except (OSError, ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _whole(payload: object) -> object:
    """Return a payload with U+FFFD for half characters: JSON can escape them, UTF-8 has none."""
    import json

    text = json.dumps(payload, ensure_ascii=False)
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return payload if whole == text else json.loads(whole)


def describe(
    event: Event,
    read_checked_out_message: Callable[[], str | None],
    redact: Callable[[str], str] = str,
) -> str:
    """Return the description of a version: the event's message, else the checked-out commit's.

    `read_checked_out_message` is called only if the event has no message. The message goes through
    `redact` before it is cut.
    """
    return (
        tidy(_event_message(event, redact))
        or tidy(redact(read_checked_out_message() or ""))
        or tidy(_run_name(event))
    )


def _event_message(event: Event, redact: Callable[[str], str]) -> str:
    payload = event.payload
    if event.name.startswith("pull_request"):
        return _pull_request_title(payload, redact)
    if event.name == "push":
        return redact(_head_message(payload))
    if event.name == "release":
        release = mapping(payload.get("release"))
        return redact(_text(release.get("name")).strip() or _text(release.get("tag_name")))
    if holder := _HEAD_COMMIT_HOLDERS.get(event.name):
        return redact(_head_message(mapping(payload.get(holder))))
    return ""


def _pull_request_title(payload: Mapping[str, object], redact: Callable[[str], str]) -> str:
    request = mapping(payload.get("pull_request"))
    title, number = redact(_text(request.get("title"))).strip(), request.get("number")
    if not title or not isinstance(number, int):
        return title
    # Shorten the title, not the number.
    suffix = f" (#{number})"
    return cut(title, LONGEST_DESCRIPTION - len(suffix)) + suffix


def _head_message(holder: Mapping[str, object]) -> str:
    return _text(mapping(holder.get("head_commit")).get("message"))


def _run_name(event: Event) -> str:
    short_sha = event.sha[:_SHORT_SHA_LENGTH]
    if not event.workflow:
        return f"Commit {short_sha}" if short_sha else "Sent from a terminal"
    sha = f" ({short_sha})" if short_sha else ""
    return f"{event.workflow} run {event.run_number}{sha}"


def mapping(value: object) -> Mapping[str, object]:
    """Return an object of the payload, empty if it is missing or something else."""
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
