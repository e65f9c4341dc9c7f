from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy_action.deployment_api.live import LiveApi
from deploy_action.deployment_api.retry_rules import NotConnectedError
from deploy_action.errors import Problem, RefusedError
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline
from deploy_action.stages.live import following
from deploy_action.stages.live.following import Follower


def test_a_server_that_is_gone_after_an_order_leaves_it_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is no server that does not tell: nobody knows whether the model stopped."""
    monkeypatch.setattr(following, "_LONGEST_SILENCE", 0.0)

    def refuse(*_: object, **__: object) -> Any:
        raise NotConnectedError(Problem(message="Nothing listens there."))

    transport = SimpleNamespace(retries=Retries(Deadline.after(1)))
    api = SimpleNamespace(fields_of=refuse, transport=transport)
    follower = Follower(
        live=cast("LiveApi", SimpleNamespace(api=api, describe=refuse)),
        on_life=lambda _: None,
        say=lambda _: None,
        say_log=lambda _: None,
    )
    with pytest.raises(RefusedError, match="What the model does is not known"):
        follower.follow_stop()
