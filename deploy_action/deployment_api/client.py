"""The Deployment API as typed calls.

Where its documentation and the published server differ, a call sends what satisfies both, and
accepts the answers of both. Answers are checked here: callers never see raw JSON.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from deploy_action.deployment_api.answers import (
    SIGN_IN,
    Reply,
    RouteMissingError,
    claims_of,
    failed_problems,
    id_of,
    is_bad_token,
    problems_of,
    text_of,
    tokens_in,
)
from deploy_action.deployment_api.description import Description
from deploy_action.deployment_api.history import History, parse_history
from deploy_action.deployment_api.windows import WINDOW_FIELDS, KeptWindow
from deploy_action.errors import Problem, RefusedError
from deploy_action.http.exchange import LARGEST_ANSWER, Answer
from deploy_action.records import dataclass, field, replace
from deploy_action.text.redaction import redacted

if TYPE_CHECKING:
    from deploy_action.backtest.result import BacktestResult, BacktestRun
    from deploy_action.backtest.runs_on import RunsOn
    from deploy_action.deployment_api.bodies import Upload
    from deploy_action.deployment_api.transport import Transport

# A result of 128 MiB, the most that the embedded platform allows, and what is around it. In memory
# it takes four times the size of its text, a hostile one ten times.
LARGEST_RESULT: Final = 144 * 1024 * 1024

ENVIRONMENT: Final = "environment"
"""The field for the variables of a model's process, a JSON object."""

_UNAUTHORIZED: Final = 401
_QUOTED: Final = 64 * 1024
_DEPLOY: Final = "/model/deploy"
_UNCHANGED: Final = "unchanged"
_BACKTEST: Final = "/model/backtest"
_VERSION, _EPHEMERAL = "versionId", "ephemeral"


class TokenRefusedError(RefusedError):
    """The server does not accept the refresh token."""


@dataclass(frozen=True, slots=True)
class Project:
    """An entry of `GET /project/list`, or of `GET /project/teams`."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Model:
    """An entry of `POST /model/list`; fields that the server leaves out are blank."""

    id: str
    name: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The fields that are sent with a bundle, for a deploy or a backtest.

    `model_id` is None if the upload itself is to create the model. `price_scope` keeps apart the
    prices that backtests of a pull request or branch download; blank for others. `environment` are
    variables for the model's process, and `options` other fields by name: only some servers
    take them (`DeploymentApi.fields_of`).
    """

    project_id: str
    model_id: str | None
    model_name: str
    model_type: str
    general_description: str
    description: str
    runs_on: RunsOn
    price_scope: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> dict[str, str]:
        """Return the form fields that both routes take."""
        fields = {
            "plan": self.runs_on.plan,
            "name": self.model_name,
            "projectId": self.project_id,
            "generalDescription": self.general_description,
            "createNew": "true" if self.model_id is None else "false",
            "pythonVersion": self.runs_on.python_version,
            "type": self.model_type,
        }
        if self.environment:
            fields[ENVIRONMENT] = json.dumps(dict(self.environment))
        return fields if self.model_id is None else {**fields, "modelId": self.model_id}

    def deploy_fields(self) -> dict[str, str]:
        """Return the form fields of `POST /model/deploy`."""
        fields = {**self.fields(), "versionDescription": self.description, **self.options}
        schedule = self.runs_on.schedule
        return {**fields, "schedule": schedule} if schedule else fields

    def backtest_fields(self) -> dict[str, str]:
        """Return the form fields of `POST /model/backtest`.

        The server requires `backtestingArgs` but reads `backtestArgs`, so both are sent.
        """
        arguments = json.dumps(self.runs_on.arguments or {}, separators=(",", ":"))
        return {
            **self.fields(),
            "backtestDescription": self.description,
            "backtestArgs": arguments,
            "backtestingArgs": arguments,
            **({"priceScope": self.price_scope} if self.price_scope else {}),
            **self.options,
        }


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to an upload; ids that the server left out are None.

    `status` is that of a version that was found in the list of the server; blank for an answer.
    `is_unchanged` says that nothing was deployed, because the version named runs already.
    """

    model_id: str | None
    version_id: str | None
    backtest_id: str | None = None
    status: str = ""
    is_unchanged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtested(Accepted):
    """The answer to an upload for a backtest.

    Only a server that runs the backtest before it answers sends `result` and `run`. A failed
    backtest has at least one problem that is an error, and no result, unless its script failed
    after the backtest was over.
    """

    result: BacktestResult | None = None
    run: BacktestRun | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class DeploymentApi:
    """Calls to one server on behalf of one user.

    `on_secret` is called with each new idToken, so that it can be masked before anything is
    printed. `redact` hides the run's other secrets in the server's words. `now` is the time from
    which the arguments of backtests count back, the same for all of a run. Every call raises
    `RefusedError` or a subclass, with a problem that says what happened and what to do.
    """

    transport: Transport
    refresh_token: str = field(repr=False)
    on_secret: Callable[[str], None] = field(repr=False)
    redact: Callable[[str], str] = str
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _id_token: str = field(default="", init=False, repr=False)
    _signing_in: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _user_id: str | None = field(default=None, init=False)
    _email: str | None = field(default=None, init=False)
    _secrets: list[str] = field(default_factory=list, init=False, repr=False)
    _described: Description | None = field(default=None, init=False, repr=False)

    def sign_in(self) -> None:
        """Exchange the refresh token for an idToken, which is valid for one hour."""
        answer = self.transport.read("POST", "/auth/token", {"refreshToken": self.refresh_token})
        reply = self._reply(answer, SIGN_IN)
        if is_bad_token(answer):
            raise TokenRefusedError(reply.bad_token())
        body = reply.json_object()
        token = body.get("idToken")
        # One word: if a token does not fit into a header, the library's error would quote it.
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise reply.unexpected("it has no idToken")
        data, claims = body.get("data"), claims_of(token)
        for secret in tokens_in(body):
            self.on_secret(secret)
            self._secrets.append(secret)
        self._id_token = token
        self._user_id = id_of(data, "user_id") or id_of(claims, "user_id", "sub")
        self._email = id_of(data, "email") or id_of(claims, "email")

    def user(self) -> str:
        """Return who is signed in, for people: the e-mail address and the id, as far as known."""
        email, user_id = self._email, self._user_id
        if email and user_id:
            return f"{email} (user {user_id})"
        return email or (f"user {user_id}" if user_id else "a user whom the server does not name")

    def personal_project_id(self) -> str:
        """Return the id of the user's own project, which is the user's id."""
        if self._user_id is None:
            raise RefusedError.of(
                message=f"{self._server} does not say who the user is, so the personal project "
                "is unknown.",
                hint="Name the project in the input `project-id`, or in `project_id` of "
                "`blankly.json`.",
            )
        return self._user_id

    def projects(self) -> tuple[Project, ...]:
        """Return the user's projects."""
        listed = self.read("GET", "/project/list", {}).entries("projectId", "id")
        return tuple(Project(id=found, name=text_of(one, "name")) for found, one in listed)

    def teams(self) -> tuple[Project, ...]:
        """Return the user's teams: each takes models as a project does; none if it has no teams."""
        listed = _listed(self.read("GET", "/project/teams", {}), "id", "projectId")
        return tuple(Project(id=found, name=text_of(one, "name")) for found, one in listed)

    def create_project(self, name: str, description: str) -> Project:
        """Create a project."""
        reply = self.change("/project/create", {"name": name, "description": description})
        if identifier := id_of(reply.json_object(), "projectId", "id"):
            return Project(id=identifier, name=name)
        raise reply.unexpected("it has no projectId")

    def plans(self) -> frozenset[str]:
        """Return the names of the plans for live models; empty if the server cannot list them."""
        reply = self.read("POST", "/project/plans", {"type": "live"})
        try:
            reply.require_route()
            return frozenset(reply.json_object())
        except RouteMissingError:
            return frozenset()

    def models(self, project_id: str) -> tuple[Model, ...]:
        """Return the models of a project; empty if the server cannot list them."""
        fields = {"projectId": project_id}
        return tuple(
            Model(
                id=identifier,
                name=text_of(one, "name"),
                type=text_of(one, "type"),
                description=text_of(one, "description"),
            )
            for identifier, one in _listed(
                self.read("POST", "/model/list", fields), "id", "modelId"
            )
        )

    def fields_of(self, path: str) -> frozenset[str]:
        """Return the fields that a route takes, as the server says; empty if it does not."""
        return self.description().fields_of(path)

    @property
    def has_pages(self) -> bool:
        """Whether the server has pages for people, as it says."""
        return self.description().has_pages

    def description(self) -> Description:
        """Return what the server says of itself, empty if it does not.

        One that fails, or sends broken JSON, is not taken for one that does not: it would be told
        no commit, for example, and could not refuse one that is older than what runs.
        """
        if self._described is None:
            reply = self.read("GET", "/openapi.json", {})
            if reply.answer.may_pass or reply.is_unreadable:
                reply.json()  # which raises
            self._described = Description.of(reply.answer)
        return self._described

    def history(self, project_id: str, model_id: str) -> History:
        """Return what was uploaded for a model, as far as the server tells within seconds."""
        # With an id that no backtest has, the embedded platform sends no results.
        fields = {"projectId": project_id, "modelId": model_id, "backtestId": "none"}
        body = self.glance("/model/details", fields).json_object()
        return parse_history(body)

    def create_model(self, submission: Submission) -> str | None:
        """Create the model and return its id; None if only the upload can create it."""
        fields = {
            "projectId": submission.project_id,
            "type": submission.model_type,
            "name": submission.model_name,
            "description": submission.general_description,
        }
        reply = self.change("/model/create-model", fields)
        try:
            reply.require_route()
            body = reply.json_object()
        except RouteMissingError:
            return None
        if identifier := id_of(body, "modelId", "id"):
            return identifier
        raise reply.unexpected("it has no modelId")

    def deploy(self, submission: Submission, upload: Upload) -> Accepted:
        """Upload a bundle as a new version, which replaces the running one."""
        fields = submission.deploy_fields()
        reply = self._upload(_DEPLOY, fields, upload)
        body = _success(reply, _UNCHANGED)
        return Accepted(*_ids(body, fields), is_unchanged=body.get("status") == _UNCHANGED)

    def backtest(self, submission: Submission, upload: Upload) -> Backtested:
        """Upload a bundle to be backtested; if the server runs it at once, wait for the end."""
        fields = submission.backtest_fields()
        reply = self._upload(_BACKTEST, fields, replace(upload, now=self._now))
        return self._backtested(reply, fields)

    @property
    def can_backtest_versions(self) -> bool:
        """Whether the server takes `backtest_version`, as it says at `/openapi.json`."""
        return {_VERSION, _EPHEMERAL} <= self.fields_of(_BACKTEST)

    def backtest_version(
        self, submission: Submission, version_id: str, window: KeptWindow | None = None
    ) -> Backtested:
        """Backtest a version that the server has, and wait for the end.

        The server keeps nothing of it, but a `window` if it can: one that is sent twice is kept
        once. `run.bundle_sha256` says what was run. Several threads may call this at once.
        """
        kept: Mapping[str, str] = {_EPHEMERAL: "true"}
        if window is not None and self.fields_of(_BACKTEST) >= WINDOW_FIELDS:
            kept = window.fields()
        fields = {**submission.backtest_fields(), _VERSION: version_id, **kept}
        reply = self._authorized(
            lambda token: self.transport.ask(
                _BACKTEST, fields, token, now=self._now, largest_answer=LARGEST_RESULT
            ),
            f"POST {_BACKTEST}",
        )
        return self._backtested(reply, fields)

    @property
    def _now(self) -> str:
        return f"{self.now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def _backtested(self, reply: Reply, fields: Mapping[str, str]) -> Backtested:
        from deploy_action.backtest.wire import (
            WrongResultError,
            parse_result,
            parse_run,
            split_result,
        )

        rest, result_text = split_result(reply.answer.body)
        reply = _with_small_body(reply, rest)
        body = reply.answer.json
        if reply.answer.is_good and isinstance(body, dict) and body.get("error") and "run" in body:
            # The bundle was accepted, and its backtest failed.
            problems = failed_problems(body, reply)
        else:
            body = _success(reply)
            problems = problems_of(body, reply)
        try:
            result = None if result_text is None else parse_result(result_text)
        except WrongResultError as error:
            if not body.get("error"):
                # It is known that the backtest ran: nothing is in doubt.
                flaw = error.in_words(reply.redact)
                raise replace(reply, is_change=False).unexpected(flaw) from error
            result = None  # why it failed is worth more
        run = parse_run(body.get("run"))
        return Backtested(*_ids(body, fields), result=result, run=run, problems=problems)

    @property
    def _server(self) -> str:
        return self.transport.base_url

    def read(self, method: str, path: str, fields: Mapping[str, str]) -> Reply:
        """Send a request that may be repeated as often as it takes."""
        return self._authorized(
            lambda token: self.transport.read(method, path, fields, token), f"{method} {path}"
        )

    def glance(self, path: str, fields: Mapping[str, str]) -> Reply:
        """Send a request that changes nothing once, and wait some seconds only."""
        return self._authorized(
            lambda token: self.transport.glance(path, fields, token), f"POST {path}"
        )

    def change(self, path: str, fields: Mapping[str, str]) -> Reply:
        """Send a request that must not be acted on twice."""
        return self._authorized(
            lambda token: self.transport.change(path, fields, token), f"POST {path}", is_change=True
        )

    @contextmanager
    def stream(
        self, path: str, fields: Mapping[str, str]
    ) -> Iterator[tuple[Reply, Iterator[bytes]]]:
        """Send a request that changes nothing, once, and yield its answer while it comes."""
        with ExitStack() as stack:
            blocks: Iterator[bytes] = iter(())

            def send(token: str) -> Answer:
                nonlocal blocks
                stack.close()
                answer, blocks = stack.enter_context(self.transport.stream(path, fields, token))
                return answer

            yield self._authorized(send, f"POST {path}"), blocks

    def _upload(self, path: str, fields: Mapping[str, str], upload: Upload) -> Reply:
        return self._authorized(
            lambda token: self.transport.upload(path, fields, token, upload),
            f"POST {path}",
            is_change=True,
        )

    def _authorized(
        self, send: Callable[[str], Answer], route: str, *, is_change: bool = False
    ) -> Reply:
        """Send with the idToken; if it is refused, exchange the refresh token again, once."""
        token = self._id_token or self._new_token("")
        answer = send(token)
        if answer.status == _UNAUTHORIZED:
            answer = send(self._new_token(token))
        if answer.status == _UNAUTHORIZED:
            raise RefusedError.of(
                message=f"{self._server} refuses `{route}` for this user (401), although the "
                "idToken is new.",
                hint="Check that the token belongs to a user of the project.",
            )
        return self._reply(answer, route, is_change=is_change)

    def _new_token(self, refused: str) -> str:
        """Return another idToken than the refused one; threads that need one share it."""
        with self._signing_in:
            if self._id_token == refused:
                self.sign_in()
            return self._id_token

    def _reply(self, answer: Answer, route: str, *, is_change: bool = False) -> Reply:
        return Reply(
            server=self._server,
            route=route,
            answer=answer,
            is_change=is_change,
            redact=self._redact_all,
            proxy_hint=self.transport.proxy_hint,
        )

    def _redact_all(self, text: str) -> str:
        return redacted(self.redact(text), [self.refresh_token, *self._secrets])


def _ids(
    body: Mapping[str, object], fields: Mapping[str, str]
) -> tuple[str | None, str | None, str | None]:
    """Return the fields of `Accepted`."""
    model_id = id_of(body, "modelId") or fields.get("modelId")
    return model_id, id_of(body, "versionId"), id_of(body, "backtestId")


def _listed(reply: Reply, *names: str) -> Sequence[tuple[str, object]]:
    """Return `Reply.entries` of a route that only some servers have; empty if it is missing."""
    try:
        reply.require_route()
    except RouteMissingError:
        return ()
    return reply.entries(*names)  # a page is no list, and raises


def _success(reply: Reply, *also: str) -> Mapping[str, object]:
    body = reply.json_object()
    if body.get("status", "success") not in ("success", *also) or not (
        "status" in body or "versionId" in body
    ):
        raise reply.unexpected("it reports no success")
    return body


def _with_small_body(reply: Reply, body: bytes) -> Reply:
    """Return the reply with a body that may become values, which take many times the memory."""
    if len(body) <= LARGEST_ANSWER:
        return replace(reply, answer=replace(reply.answer, body=body))
    reply = replace(reply, answer=replace(reply.answer, body=body[:_QUOTED]))
    raise reply.unexpected(
        f"without the backtest's result it is larger than {LARGEST_ANSWER >> 20} MiB"
    )
