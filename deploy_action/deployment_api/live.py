"""Calls for a deployed model: what it does, and that it should start or stop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from deploy_action.deployment_api.answers import id_of, text_of, time_of
from deploy_action.deployment_api.client import ENVIRONMENT, DeploymentApi
from deploy_action.errors import RefusedError
from deploy_action.live.deployed import (
    UNTOLD,
    Account,
    DeployedModel,
    DeployedVersion,
    Event,
    Live,
    Order,
)
from deploy_action.records import dataclass, replace

MOST_LISTED: Final = 10  # versions, beside those that matter now
_HUGE = 1e300  # `float` fails on integers a little above


@dataclass(frozen=True, slots=True)
class LiveApi:
    """The calls for one model; each raises as those of `DeploymentApi` do."""

    api: DeploymentApi
    project_id: str
    model_id: str

    def describe(self, version_id: str = "", *, seen: DeployedModel = UNTOLD) -> DeployedModel:
        """Return what the server tells of the model and its versions, also of the one named here.

        A server may leave out older ones that it does not name itself. Raises
        `BrokenExchangeError`, too, if the server told what runs when the model was `seen` last, and
        does not tell it now.
        """
        # The original, and platforms of before, know none of these fields, and list all there is.
        # With an id that no backtest has, those send no results.
        fields = {
            **self._fields,
            "backtests": "0",
            "backtestId": "none",
            "versions": str(MOST_LISTED),
            **({"versionId": version_id} if version_id else {}),
        }
        reply = self.api.read("POST", "/model/details", fields)
        model = parse_model(reply.json_object())
        if (seen.tells_life and not model.tells_life) or (seen.live and model.live is None):
            raise reply.unexpected("it does not tell what runs any more")
        return replace(model, told_at=reply.answer.server_time)

    def run(
        self, version: DeployedVersion, model_type: str, environment: Mapping[str, str] | None
    ) -> None:
        """Have a version run in place of the one that runs, once.

        `environment` replaces all variables that it had; with None, it keeps them.
        """
        fields = {
            **self._fields,
            "versionId": version.id,
            "plan": version.plan,
            "type": model_type,
            **({"schedule": version.schedule} if version.schedule else {}),
            **({} if environment is None else {ENVIRONMENT: json.dumps(dict(environment))}),
        }
        self.api.change("/model/run", fields).check()

    def stop(self) -> None:
        """Have the model stopped. It is repeated until it is answered: stopping twice does no harm.

        A server may answer before the model has ended.
        """
        self.api.read("POST", "/model/kill", self._fields).check()

    def log(self, version_id: str, lines: int) -> tuple[str, ...] | None:
        """Return the last lines of a version's log, up to `lines`; None if they cannot be had."""
        fields = {**self._fields, "versionId": version_id, "lines": str(lines)}
        try:
            reply = self.api.glance("/model/logs", fields)
        except RefusedError:  # also at the deadline: what happened is known without the log
            return None
        if not reply.answer.is_good or reply.is_page:
            return None
        text = self.api.redact(reply.answer.body.decode("utf-8", "replace"))
        return tuple(text.removesuffix("\n").split("\n")[-lines:]) if text else ()

    @property
    def _fields(self) -> dict[str, str]:
        return {"projectId": self.project_id, "modelId": self.model_id}


def parse_model(body: Mapping[str, object]) -> DeployedModel:
    """Return what the answer of `POST /model/details` says; skip what is malformed."""
    live, versions = body.get("live"), body.get("versions")
    listed = [_version(one) for one in versions] if isinstance(versions, list) else []
    return DeployedModel(
        name=text_of(body, "name"),
        type=text_of(body, "type"),
        tells_life="live" in body and isinstance(live, dict | None),
        live=_live(live) if isinstance(live, dict) else None,
        current_id=id_of(body, "deployedVersion") or "",
        versions={one.id: one for one in listed if one.id},
        accounts=tuple(_account(one) for one in _objects(body.get("account"))),
        orders=tuple(_order(one) for one in _objects(body.get("orders"))),
        events=tuple(_event(one) for one in _objects(body.get("events"))),
    )


def _objects(listed: object) -> list[Mapping[str, object]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _order(order: Mapping[str, object]) -> Order:
    return Order(
        time=time_of(order, "time"),
        symbol=text_of(order, "symbol"),
        side=text_of(order, "side"),
        type=text_of(order, "type"),
        size=_amount(order.get("size")),
        funds=_amount(order.get("funds")),
        price=_amount(order.get("price")),
        status=text_of(order, "status"),
        is_updated=order.get("updated") is True,
    )


def _account(account: Mapping[str, object]) -> Account:
    missing = account.get("missing")
    return Account(
        exchange=text_of(account, "exchange"),
        portfolio=text_of(account, "portfolio"),
        quote=text_of(account, "quote"),
        is_simulated=account.get("simulated") is True,
        time=time_of(account, "time"),
        value=_amount(account.get("value")),
        missing=tuple(map(str, missing)) if isinstance(missing, list) else (),
        problem=text_of(account, "problem"),
    )


def _event(event: Mapping[str, object]) -> Event:
    return Event(
        time=time_of(event, "time"),
        source=text_of(event, "source"),
        type=text_of(event, "type"),
        text=text_of(event, "text"),
    )


def _amount(value: object) -> float | None:
    return float(value) if type(value) in {int, float} and abs(value) < _HUGE else None  # type: ignore[arg-type]


def _live(live: Mapping[str, object]) -> Live:
    exit_code = live.get("exitCode")
    return Live(
        state=text_of(live, "state"),
        version_id=id_of(live, "versionId") or "",
        wanted=text_of(live, "wanted"),
        since=time_of(live, "since"),
        restarts=_number(live.get("restarts")),
        exit_code=exit_code if type(exit_code) is int else None,
        problem=text_of(live, "problem"),
        callback_errors=_number(live.get("callbackErrors")),
        callbacks_fail=live.get("callbacksFail") is True,
        callbacks_fail_since=time_of(live, "callbacksFailSince"),
        last_output_at=time_of(live, "lastOutputAt"),
        next_run_at=time_of(live, "nextRunAt"),
        next_id=id_of(live.get("next"), "versionId") or "",
        start_id=id_of(live, "startVersionId") or "",
        previous_id=id_of(live, "previousVersionId") or "",
    )


def _version(version: object) -> DeployedVersion:
    members = version if isinstance(version, dict) else {}
    listed = members.get("environment")
    names = listed if isinstance(listed, list) else []
    return DeployedVersion(
        id=id_of(version, "versionId", "id") or "",
        progress=text_of(version, "progress"),
        problem=text_of(version, "problem"),
        description=text_of(version, "description"),
        created_at=time_of(version, "createdAt"),
        plan=text_of(version, "plan"),
        schedule=text_of(version, "schedule"),
        python_version=text_of(version, "pythonVersion"),
        bundle_sha256=text_of(members.get("bundle"), "sha256"),
        committed_at=time_of(version, "committedAt"),
        repository=text_of(version, "commitRepository"),
        environment=tuple(one for one in names if isinstance(one, str)),
    )


def _number(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
