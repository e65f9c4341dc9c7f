"""The deployed model that a command on a terminal is about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_action.errors import InvalidInputError
from deploy_action.http.proxies import passwords_in
from deploy_action.inputs.definitions import LOCAL, Mode
from deploy_action.inputs.secrets import secrets_of
from deploy_action.inputs.settings import Settings, parse_settings
from deploy_action.interruption import Deadline, deadline_as_error
from deploy_action.records import dataclass, field, replace
from deploy_action.text.redaction import redacted

if TYPE_CHECKING:
    from deploy_action.deployment_api.client import DeploymentApi
    from deploy_action.deployment_api.live import LiveApi
    from deploy_action.outcome.prepared_model import DescribedModel

# A mode that finds the model as these commands do, and whose inputs are checked as theirs.
_LIKE = Mode.START
_ENDLESS = Deadline(minutes=math.inf, at=math.inf)


@dataclass(slots=True)
class DeployedModel:
    """The model that the inputs of a command name.

    `command` is its name, for messages; `log` prints a line that is no part of the output.
    """

    command: str
    inputs: Mapping[str, str]
    environ: Mapping[str, str]
    log: Callable[[str], None]
    _secrets: list[str] = field(default_factory=list, init=False, repr=False)

    @contextmanager
    def found(self, *, is_endless: bool = False) -> Iterator[tuple[LiveApi, Settings]]:
        """Find it on its server, within `timeout-minutes`, which is also for what is read then.

        With `is_endless`, that has no deadline.

        Raises:
            InvalidInputError: an input is wrong, or nothing says which model it is.
            RefusedError: the server does not have it.
        """
        self._secrets += [*secrets_of(self.inputs), *passwords_in(self.environ)]
        try:
            settings, described = self._read_inputs()
        except InvalidInputError as error:
            error.problems = tuple(
                replace(one, message=self._in_own_words(one.message)) for one in error.problems
            )
            raise
        from deploy_action.deployment_api.live import LiveApi
        from deploy_action.stages.finding import Finder

        deadline = Deadline.after(settings.timeout_minutes)
        api = self._connect(settings, _ENDLESS if is_endless else deadline)
        try:
            with deadline_as_error(deadline):
                api.sign_in()
                finder = Finder(api, settings, described)
                project_id = finder.project()
                live = LiveApi(api, project_id, finder.deployed_model(project_id))
                if not is_endless:
                    yield live, settings
                    return
            yield live, settings
        finally:
            api.transport.close()

    def redact(self, text: str) -> str:
        """Return a text without the secrets of the inputs and of `blankly.json`."""
        return redacted(text, self._secrets)

    def _read_inputs(self) -> tuple[Settings, DescribedModel]:
        from deploy_action.github.event import read_event
        from deploy_action.stages.live.identity import identify

        if self.inputs.get("api-url", "").strip() == LOCAL:
            raise InvalidInputError.of(
                message="With `api-url: local` nothing runs after the job, so there is nothing to "
                "show.",
                hint="Set `api-url` to the server that runs the model.",
            )
        inputs = {**self.inputs, "mode": _LIKE, "dry-run": "false"}
        settings = parse_settings(inputs, for_runner=False)
        workspace = Path(self.environ["GITHUB_WORKSPACE"])
        event = read_event(self.environ)
        return settings, identify(settings, event, workspace, self._secrets.extend, self.redact)

    def _in_own_words(self, message: str) -> str:
        message = message.replace(f"mode `{_LIKE}`", f"`{self.command}`")
        return message.replace(f"which model to {_LIKE}", "which model is meant")

    def _connect(self, settings: Settings, deadline: Deadline) -> DeploymentApi:
        from deploy_action.deployment_api.client import DeploymentApi
        from deploy_action.deployment_api.transport import Transport
        from deploy_action.http.exchange import Retries

        return DeploymentApi(
            Transport(settings.api_url, Retries(deadline, on_retry=self.log)),
            settings.token or "",
            on_secret=self._secrets.append,
            redact=self.redact,
        )
