"""What a server lists of a model: whether an upload whose answer was lost made something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deploy_action.deployment_api.client import Accepted, Backtested
from deploy_action.deployment_api.history import History, Listed
from deploy_action.deployment_api.settling import UntoldError
from deploy_action.errors import DeadlineError, Problem, RefusedError
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from deploy_action.deployment_api.client import DeploymentApi
    from deploy_action.outcome.target import Target


@dataclass(frozen=True, slots=True)
class ListedUploads:
    """What the server listed `before` an upload of a bundle to the model of `target`.

    Its methods return what is new since then, with words for it, as `Settling` takes them.
    """

    api: DeploymentApi
    target: Target
    bundle_sha256: str
    before: History

    @property
    def tells_versions(self) -> bool:
        """Whether a new version can be told from the earlier ones."""
        return self.before.versions is not None or self.before.running is not None

    @property
    def tells_backtests(self) -> bool:
        """Whether a new backtest can be told from the earlier ones."""
        return self.before.backtests is not None

    def new_version(self) -> tuple[Accepted, str] | None:
        """Return the version that was deployed since then, or what the server says is one."""
        now, model_id = self._now(), self.target.model_id
        if self.before.versions is not None:
            found = self._new(now.versions, self.before.versions)
            if found is None:
                return None
            version_id, listed = found
            accepted = Accepted(model_id, version_id, status=listed.status)
            return accepted, f"lists the new version {version_id}{_whose(listed)}"
        is_other = bool(now.running) and now.running != self.before.running
        if not is_other or _is_earlier(now.deployed_at, self.before.deployed_at):
            raise UntoldError.of(message="The server deployed no other version.")
        words = f"runs another version since then, {now.running}, which is taken for this one"
        return Accepted(model_id, now.running), words

    def new_backtest(self) -> tuple[Backtested, str] | None:
        """Return the backtest that was made since then, without the result, which is lost."""
        found = self._new(self._now().backtests, self.before.backtests or {})
        if found is None:
            return None
        backtest_id, listed = found
        lost = Problem(
            message=f"The result of the backtest {backtest_id} was lost with the server's answer.",
            hint="Run the workflow again.",
        )
        backtested = Backtested(self.target.model_id, None, backtest_id, problems=(lost,))
        return backtested, f"lists the new backtest {backtest_id}{_whose(listed)}"

    def _now(self) -> History:
        return self.api.history(self.target.project_id, self.target.model_id)

    def _new(
        self, now: Mapping[str, Listed] | None, before: Mapping[str, Listed]
    ) -> tuple[str, Listed] | None:
        """Return what was made from this bundle in between, the newest if several.

        Raises:
            UntoldError: there is none, but the list does not prove that: it is missing or shorter,
                or has new entries with other digests.
        """
        new = {one: listed for one, listed in (now or {}).items() if one not in before}
        ours = [one for one in new if new[one].sha256 == self.bundle_sha256]
        ours = ours or [one for one in new if not new[one].sha256]
        if ours:
            return ours[-1], new[ours[-1]]
        if now is None or new or before.keys() - now.keys():
            raise UntoldError.of(message="The server's list does not tell.")
        return None


def list_uploads(api: DeploymentApi, target: Target, bundle_sha256: str) -> ListedUploads:
    """Ask the server what it lists; nothing if it cannot tell."""
    try:
        before = api.history(target.project_id, target.model_id) if target.model_id else History()
    except DeadlineError:
        raise
    except RefusedError:
        before = History()
    return ListedUploads(api, target, bundle_sha256, before)


def _is_earlier(time: float | None, than: float | None) -> bool:
    return time is not None and than is not None and time < than


def _whose(listed: Listed) -> str:
    if listed.sha256:
        return " with this bundle, so it was made"
    return ", which is taken for this one: it does not tell the bundle"
