"""The Deployment API as typed calls, read from what it documents and from what it does.

Where the documentation and the published server differ, a call sends what satisfies both and takes
either's answer. What an answer holds is checked here; nothing behind this module sees raw JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypedDict

from deploy_action.backtest.result import BacktestResult, BacktestRun, parse_result, parse_run
from deploy_action.deployment_api.transport import BrokenExchangeError
from deploy_action.errors import Problem, RefusedError, Severity, read_problems
from deploy_action.http_exchange import NOT_ACTED_ON, Answer
from deploy_action.inputs.definitions import HOSTED_API_URL, HOSTED_GONE
from deploy_action.text.harmless import redacted

if TYPE_CHECKING:
    from deploy_action.deployment_api.bodies import Upload
    from deploy_action.deployment_api.transport import Transport
    from deploy_action.text.located_json import JsonValue

# The result of a backtest holds the account's value at each bar, in some 50 bytes.
LARGEST_RESULT: Final = 320 * 1024 * 1024

_SIGN_IN: Final = "POST /auth/token"
_UNAUTHORIZED: Final = 401
_TOO_LARGE: Final = 413
_ROUTE_MISSING: Final = frozenset({404, 405, 501})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER: Final = 303
_LONGEST_QUOTE: Final = 300
_LONGEST_ID: Final = 200
# A secret may lie on this edge; but it is far from the part that is quoted.
_LONGEST_PAGE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Project:
    """A project as `GET /project/list` names it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model as `POST /model/list` names it; blank is what the server does not say."""

    id: str
    name: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What goes with a bundle: the fields that a deploy and a backtest share.

    `model_id` is None where the upload itself is to create the model.
    """

    project_id: str
    model_id: str | None
    model_name: str
    model_type: str
    general_description: str
    description: str
    plan: str
    python_version: str
    schedule: str | None = None
    backtest_args: Mapping[str, JsonValue] = field(default_factory=dict)

    def fields(self) -> dict[str, str]:
        """Return the form fields that both routes take."""
        fields = {
            "plan": self.plan,
            "name": self.model_name,
            "projectId": self.project_id,
            "generalDescription": self.general_description,
            "createNew": "true" if self.model_id is None else "false",
            "pythonVersion": self.python_version,
            "type": self.model_type,
        }
        return fields if self.model_id is None else {**fields, "modelId": self.model_id}

    def deploy_fields(self) -> dict[str, str]:
        """Return the form fields of `POST /model/deploy`."""
        fields = {**self.fields(), "versionDescription": self.description}
        return fields if self.schedule is None else {**fields, "schedule": self.schedule}

    def backtest_fields(self) -> dict[str, str]:
        """Return the form fields of `POST /model/backtest`.

        The server requires `backtestingArgs` and reads `backtestArgs`: both hold the same.
        """
        arguments = json.dumps(self.backtest_args, separators=(",", ":"))
        return {
            **self.fields(),
            "backtestDescription": self.description,
            "backtestArgs": arguments,
            "backtestingArgs": arguments,
        }


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to an upload; what the server did not name is None."""

    model_id: str | None
    version_id: str | None
    backtest_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtested(Accepted):
    """The answer to an upload for a backtest.

    A server that runs it and answers afterwards sends the `result` and how it was run; others
    leave both out. A backtest that failed has problems that are errors, and no result.
    """

    result: BacktestResult | None = None
    run: BacktestRun | None = None
    problems: tuple[Problem, ...] = ()


class RouteMissingError(RefusedError):
    """The server does not have the route, as servers that only follow the documentation may."""


@dataclass(slots=True)
class DeploymentApi:
    """Calls to one server on behalf of one user.

    `on_secret` is told each idToken before anything else can show it; `redact` hides what else is
    secret in what the server says. Every call raises
    `RefusedError`, or one of its kinds, with a problem that says what happened and what to do.
    """

    transport: Transport
    refresh_token: str = field(repr=False)
    on_secret: Callable[[str], None] = field(repr=False)
    redact: Callable[[str], str] = str
    _id_token: str = field(default="", init=False, repr=False)
    _user_id: str | None = field(default=None, init=False)
    _secrets: list[str] = field(default_factory=list, init=False, repr=False)

    def sign_in(self) -> None:
        """Exchange the refresh token for an idToken, which lives one hour."""
        answer = self.transport.read("POST", "/auth/token", {"refreshToken": self.refresh_token})
        if answer.status in {400, _UNAUTHORIZED, 403}:
            raise RefusedError(
                Problem(
                    message=f"{self._server} does not accept the token "
                    f"(`{_SIGN_IN}` answered {answer.status}).",
                    hint="Sign in again with `blankly-deploy login`, and update the secret that "
                    "the workflow passes as `token`.",
                ),
            )
        body = self._object(answer, _SIGN_IN)
        token = body.get("idToken")
        if not isinstance(token, str) or not _fits_a_header(token):
            raise self._unexpected(answer, _SIGN_IN, "it has no idToken")
        self.on_secret(token)
        self._secrets.append(token)
        self._id_token = token
        data = body.get("data")
        self._user_id = _identifier(data, "user_id") or _identifier(
            _claims(token), "user_id", "sub"
        )

    def personal_project_id(self) -> str:
        """Return the id of the user's own project, which is the user's id."""
        if self._user_id is None:
            raise RefusedError(
                Problem(
                    message=f"{self._server} does not say who the user is, so the personal project "
                    "is not known.",
                    hint="Name the project in the input `project-id`, or in `project_id` of "
                    "`blankly.json`.",
                ),
            )
        return self._user_id

    def projects(self) -> tuple[Project, ...]:
        """Return the user's projects."""
        answer = self._read("GET", "/project/list", {})
        body = self._json(answer, "GET /project/list")
        return tuple(
            Project(id=identifier, name=_string(one, "name"))
            for one in self._list(body, answer, "GET /project/list")
            if (identifier := _identifier(one, "projectId", "id"))
        )

    def create_project(self, name: str, description: str) -> Project:
        """Create a project."""
        route = "POST /project/create"
        answer = self._change("/project/create", {"name": name, "description": description})
        body = self._object(answer, route, is_change=True)
        if identifier := _identifier(body, "projectId", "id"):
            return Project(id=identifier, name=name)
        raise self._unexpected(answer, route, "it has no projectId", is_change=True)

    def plans(self) -> frozenset[str]:
        """Return the names of the plans for live models; empty where the server has none."""
        try:
            answer = self._read("POST", "/project/plans", {"type": "live"})
            self._optional(answer, "POST /project/plans")
            return frozenset(self._object(answer, "POST /project/plans"))
        except RouteMissingError:
            return frozenset()

    def models(self, project_id: str) -> tuple[Model, ...]:
        """Return the models of a project; none where the server cannot list them."""
        route = "POST /model/list"
        try:
            answer = self._read("POST", "/model/list", {"projectId": project_id})
            self._optional(answer, route)
            body = self._json(answer, route)
        except RouteMissingError:
            return ()
        return tuple(
            Model(
                id=identifier,
                name=_string(one, "name"),
                type=_string(one, "type"),
                description=_string(one, "description"),
            )
            for one in self._list(body, answer, route)
            if (identifier := _identifier(one, "id", "modelId"))
        )

    def create_model(self, submission: Submission) -> str | None:
        """Create the model and return its id; None where only the upload can create it."""
        route = "POST /model/create-model"
        fields = {
            "projectId": submission.project_id,
            "type": submission.model_type,
            "name": submission.model_name,
            "description": submission.general_description,
        }
        try:
            answer = self._change("/model/create-model", fields)
            self._optional(answer, route)
            body = self._object(answer, route, is_change=True)
        except RouteMissingError:
            return None
        if identifier := _identifier(body, "modelId", "id"):
            return identifier
        raise self._unexpected(answer, route, "it has no modelId", is_change=True)

    def deploy(self, submission: Submission, upload: Upload) -> Accepted:
        """Upload a bundle as a new version, which replaces the one that runs."""
        fields = submission.deploy_fields()
        answer = self._upload("/model/deploy", fields, upload)
        return Accepted(**_ids(self._success(answer, "POST /model/deploy"), fields))

    def backtest(self, submission: Submission, upload: Upload) -> Backtested:
        """Upload a bundle to be backtested; where the server runs it at once, wait for the end."""
        fields, route = submission.backtest_fields(), "POST /model/backtest"
        answer = self._upload("/model/backtest", fields, upload)
        body = answer.json
        if answer.is_good and isinstance(body, dict) and body.get("error") and "run" in body:
            # It was taken, and it failed.
            problems = self._problems(body, answer)
            return Backtested(**_ids(body, fields), run=parse_run(body["run"]), problems=problems)
        body = self._success(answer, route)
        try:
            result = parse_result(body["result"]) if body.get("result") is not None else None
        except ValueError as error:
            raise self._unexpected(answer, route, f"{error}") from error
        run, problems = parse_run(body.get("run")), _problems_of(body)
        return Backtested(**_ids(body, fields), result=result, run=run, problems=problems)

    def _problems(self, body: Mapping[str, object], answer: Answer) -> tuple[Problem, ...]:
        """Return the problems of a backtest that failed: one of them at least is an error."""
        problems = _problems_of(body)
        if any(problem.severity is Severity.ERROR for problem in problems):
            return problems
        return (Problem(message=f"The backtest failed: {self._reason(answer)}"), *problems)

    def _upload(self, path: str, fields: Mapping[str, str], upload: Upload) -> Answer:
        return self._authorized(
            lambda token: self.transport.upload(path, fields, token, upload), f"POST {path}"
        )

    def _success(self, answer: Answer, route: str) -> Mapping[str, object]:
        body = self._object(answer, route, is_change=True)
        if body.get("status", "success") != "success" or not (
            "status" in body or "versionId" in body
        ):
            raise self._unexpected(answer, route, "it reports no success", is_change=True)
        return body

    @property
    def _server(self) -> str:
        return self.transport.base_url

    def _read(self, method: str, path: str, fields: Mapping[str, str]) -> Answer:
        return self._authorized(
            lambda token: self.transport.read(method, path, fields, token), f"{method} {path}"
        )

    def _change(self, path: str, fields: Mapping[str, str]) -> Answer:
        return self._authorized(
            lambda token: self.transport.change(path, fields, token), f"POST {path}"
        )

    def _authorized(self, send: Callable[[str], Answer], route: str) -> Answer:
        """Send with the idToken; when it is refused, exchange the refresh token anew, once."""
        if not self._id_token:
            self.sign_in()
        answer = send(self._id_token)
        if answer.status == _UNAUTHORIZED:
            self.sign_in()
            answer = send(self._id_token)
        if answer.status == _UNAUTHORIZED:
            raise RefusedError(
                Problem(
                    message=f"{self._server} refuses `{route}` for this user (401), with an "
                    "idToken it has just made.",
                    hint="Check that the token belongs to a user of the project.",
                ),
            )
        return answer

    def _optional(self, answer: Answer, route: str) -> None:
        """Raise where the server does not have a route that only some servers have.

        Whatever the body says: some word a missing route as JSON.
        """
        if answer.status in _ROUTE_MISSING:
            raise RouteMissingError(self._no_such_route(answer, route))

    def _object(
        self, answer: Answer, route: str, *, is_change: bool = False
    ) -> Mapping[str, object]:
        body = self._json(answer, route, is_change=is_change)
        if not isinstance(body, dict):
            raise self._unexpected(answer, route, "it is no JSON object", is_change=is_change)
        return body

    def _list(self, body: object, answer: Answer, route: str) -> Sequence[object]:
        if not isinstance(body, list):
            raise self._unexpected(answer, route, "it is no list")
        return body

    def _json(self, answer: Answer, route: str, *, is_change: bool = False) -> object:
        """Return the body of a good answer; a 200 may carry an `error` all the same."""
        body = answer.json
        said = body.get("error") if isinstance(body, dict) else None
        if answer.is_good and body is not None:
            # Some servers send `error` on success, too, and empty.
            if said:
                raise self._refused(answer, route)
            return body
        if (answer.status in _ROUTE_MISSING and not said) or (answer.is_good and _is_html(answer)):
            # A server may answer every unknown path with the page of its web application; yet
            # such a page does not prove that nothing was done.
            doubtful = is_change and answer.is_good
            raise RouteMissingError(self._no_such_route(answer, route), may_have_acted=doubtful)
        if answer.status in _REDIRECTS:
            # "See other" is what a server may say when it has acted (RFC 9110, 15.4.4).
            doubtful = is_change and answer.status == _SEE_OTHER
            raise RefusedError(self._moved(answer, route), may_have_acted=doubtful)
        if answer.is_refusal:
            raise self._refused(answer, route)
        raise self._unexpected(answer, route, "it is not JSON", is_change=is_change)

    def _refused(self, answer: Answer, route: str) -> RefusedError:
        reason = self._reason(answer)
        hint = _HINTS.get(reason, "Correct what the server names, and run the workflow again.")
        if answer.status == _TOO_LARGE:
            hint = "Leave files out of the bundle with `ignore_files` or the input `ignore`."
        elif answer.status in NOT_ACTED_ON:
            hint = "The server is busy or being worked on: run the workflow again later."
        return RefusedError(
            Problem(
                message=f"{self._server} refused `{route}` ({answer.status}): "
                f"{reason or 'it does not say why'}",
                hint=hint,
            ),
        )

    def _unexpected(
        self, answer: Answer, route: str, flaw: str, *, is_change: bool = False
    ) -> BrokenExchangeError:
        """Return the failure for an answer that leaves open what the server did.

        What answers a sign-in is not quoted: it may hold an idToken that nobody recognised.
        """
        reason = "" if route == _SIGN_IN else self._reason(answer)
        if answer.is_good:
            message = f"The answer of {self._server} to `{route}` cannot be used: {flaw}."
            message += f" It begins: {reason}" if reason else ""
            hint = self._no_api_hint()
        else:
            message = f"{self._server} failed at `{route}` ({answer.status})"
            message += f": {reason}" if reason else ", and does not say why."
            hint = "Look at the server's log for the reason."
        return BrokenExchangeError(Problem(message=message, hint=hint), may_have_acted=is_change)

    def _reason(self, answer: Answer) -> str:
        """Return what an answer says, as one line: its `error`, else how its text begins.

        A secret that the server repeats goes first: cut in the middle, it would not be recognised
        by those who hide it later.
        """
        body = answer.json
        text = _string(body, "error", "message") or _text(answer)
        return _clip(self.redact(redacted(text, [self.refresh_token, *self._secrets])))

    def _no_such_route(self, answer: Answer, route: str) -> Problem:
        what = f"has no `{route}` ({answer.status})"
        if answer.is_good:
            what = f"answers `{route}` with a web page, as if it had no such route"
        return Problem(message=f"{self._server} {what}.", hint=self._no_api_hint())

    def _moved(self, answer: Answer, route: str) -> Problem:
        place = _clip(self.redact(answer.location)) or "an unnamed place"
        return Problem(
            message=f"{self._server} redirects `{route}` to {place}, and a token is not sent "
            "elsewhere.",
            hint="Put the server's own address in `api-url`.",
        )

    def _no_api_hint(self) -> str:
        if self._server == HOSTED_API_URL:
            return HOSTED_GONE
        return "Check that `api-url` names a Deployment API, and look at the server's log."


_HINTS: Final = {
    "Invalid permission.": "Check `project-id`: the project does not belong to the user of the "
    "token, or does not exist.",
    "This modelId was not found under this project.": "Check `model-id` and `project-id`. To "
    "create the model, remove the id and set `create-new: true`.",
    "The specified type does not match the model type.": "The model was created as the other type "
    "(`strategy` or `screener`): correct `type` in `blankly.json`, or deploy to another model.",
}


class _Ids(TypedDict):
    """The ids that answer an upload."""

    model_id: str | None
    version_id: str | None
    backtest_id: str | None


def _ids(body: Mapping[str, object], fields: Mapping[str, str]) -> _Ids:
    return _Ids(
        model_id=_identifier(body, "modelId") or fields.get("modelId"),
        version_id=_identifier(body, "versionId"),
        backtest_id=_identifier(body, "backtestId"),
    )


def _problems_of(body: Mapping[str, object]) -> tuple[Problem, ...]:
    """Return what a server found on running a model."""
    run = body.get("run")
    return read_problems(run.get("problems") if isinstance(run, dict) else None)


def _is_html(answer: Answer) -> bool:
    return answer.body[:_LONGEST_QUOTE].lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))


def _string(value: object, *names: str) -> str:
    """Return the first of the named members that is text, else blank."""
    members = value if isinstance(value, dict) else {}
    return next((members[name] for name in names if isinstance(members.get(name), str)), "")


def _identifier(value: object, *names: str) -> str | None:
    """Return the first of the named members that is an id: printable text or a whole number."""
    members = value if isinstance(value, dict) else {}
    for name in names:
        identifier = members.get(name)
        if isinstance(identifier, int) and not isinstance(identifier, bool):
            identifier = str(identifier)
        if (
            isinstance(identifier, str)
            and identifier.strip()
            and identifier.isprintable()
            and len(identifier) <= _LONGEST_ID
        ):
            return identifier
    return None


def _fits_a_header(token: str) -> bool:
    """Tell whether a token can be sent: what cannot would be quoted in the library's error."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _claims(token: str) -> object:
    """Return what a JWT says of its user; nothing hangs on it, so its signature is not checked.

    The documented answer holds the idToken alone, which is a Google secure token: its claims name
    the user.
    """
    import base64
    import binascii

    part = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004  # RFC 7519
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None


def _text(answer: Answer) -> str:
    """Return a body as text, without the tags, scripts and styles of a web page."""
    import re

    text = answer.body[:_LONGEST_PAGE].decode("utf-8", "replace")
    return re.sub(r"(?s)<(style|script)\b.*?(</\1>|$)|<[^<>]*>", " ", text)


def _clip(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 1] + "…"
