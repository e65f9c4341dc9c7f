"""The events API: what models that run elsewhere report, and bots that know nothing of Blankly."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypedDict

from deploy_action.platform.api.operations.documents import Text
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.live.reports import ReportError, Reports, TooManyReportsError
from deploy_action.records import dataclass

_ABOUT: Final = {
    "backtest": "a backtest that was run elsewhere",
    "live": "what a model does",
    "model": "what a model is",
}


class TimeDocument(TypedDict):
    """The time of the server, in seconds since 1970."""

    time: float


@dataclass(frozen=True, slots=True)
class Events:
    """The operations of the events API."""

    reports: Reports
    clock: Callable[[], float]

    def tell_time(self, _: Request) -> TimeDocument:
        """Tell the time."""
        return {"time": self.clock()}

    def receive(self, kind: str) -> Callable[[Request], Text]:
        """Return the operation that takes reports of a kind."""

        def report(request: Request) -> Text:
            self._keep(kind, request)
            return Text("")

        about, _, what = kind.partition("/")
        report.__name__ = kind.replace("/", "_").replace("-", "_")
        report.__doc__ = f"""Report {_ABOUT[about]}: `{what}`.

The answer is empty, and comes when the report is stored. Numbers and switches may be text, objects
and lists the text of JSON. Times are in seconds since 1970."""
        return report

    def receive_log(self, request: Request) -> Text:
        """Report a line of a log.

        The client `slate` sends its lines here, of live models and of backtests.
        """
        self._keep("backtest/log", request)
        return Text("")

    def _keep(self, kind: str, request: Request) -> None:
        who = request.reporter
        if who is None:
            raise ApiError("Not Authenticated", HTTPStatus.UNAUTHORIZED)
        at = self.clock() if who.time is None else who.time
        try:
            self.reports.keep(who.project_id, who.model_id, kind, request.fields, at)
        except TooManyReportsError as error:
            raise ApiError(str(error), HTTPStatus.TOO_MANY_REQUESTS) from error
        except ReportError as error:
            raise ApiError(str(error)) from error
