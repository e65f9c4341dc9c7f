"""What a server lists of a model's uploads."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploy_action.deployment_api.answers import id_of, text_of, time_of
from deploy_action.records import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """A version or a backtest as a server lists it; what it does not tell is blank."""

    sha256: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a server says was uploaded for a model; what it does not tell is None.

    `versions` and `backtests` are the deployed versions and the backtests by id, the oldest first.
    A server may leave out the older ones, and does so the same way each time.
    `running` is the id of the version that was deployed last, blank if none was, at `deployed_at`,
    in seconds since 1970-01-01 UTC.
    """

    versions: Mapping[str, Listed] | None = None
    backtests: Mapping[str, Listed] | None = None
    running: str | None = None
    deployed_at: float | None = None


def parse_history(body: Mapping[str, object]) -> History:
    """Return what the answer of `POST /model/details` tells of uploads."""
    # The original server has `exists` in each answer, and the others once there was a deploy.
    tells = "deployedVersion" in body or "exists" in body
    return History(
        versions=_listed(body.get("versions"), "versionId"),
        backtests=_listed(body.get("backtests"), "backtestId"),
        running=(id_of(body, "deployedVersion") or "") if tells else None,
        deployed_at=time_of(body, "deployedAt"),
    )


def _listed(listed: object, name: str) -> Mapping[str, Listed] | None:
    """Return the entries by the id called `name`; None if it is no list whose entries have one."""
    if not isinstance(listed, list):
        return None
    ids = [id_of(one, name, "id") for one in listed]
    return (
        {
            identifier: Listed(_digest_of(one), text_of(one, "status"))
            for identifier, one in zip(ids, listed, strict=True)
            if identifier
        }
        if all(ids)
        else None
    )


def _digest_of(entry: Mapping[str, object]) -> str:
    text = text_of(entry.get("bundle"), "sha256").lower().removeprefix("sha256:")
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else ""
