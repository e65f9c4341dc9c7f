"""The history of a model: a metric over its backtests, only like with like in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from deploy_action.backtest.metrics import METRICS
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.backtests.history_chart import MOST_DRAWN, Picture, draw
from deploy_action.platform.web.backtests.identity import Told, Uploads, Variables, variables_of
from deploy_action.platform.web.backtests.lines import Line, Point, lines_of
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame
from deploy_action.records import dataclass
from deploy_action.text.harmless import cut
from deploy_action.text.quantities import days, exact, moment, percentage

if TYPE_CHECKING:
    from deploy_action.platform.storage.records import Model
    from deploy_action.platform.storage.transaction import Transaction

_MOST_BACKTESTS: Final = 500
_MOST_LINES: Final = 8
_MOST_ROWS: Final = 50
_MOST_SYMBOLS: Final = 5
_LONGEST: Final = 300
_DAY: Final = 86_400
_DEFAULT: Final = "cum_returns"
_UNKNOWN: Final = "not known, or too long to be shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A line of the history: what its backtests have in common, its picture, its latest rows.

    `facts` are pairs of a name and a text; `movement` says how the period moves, blank if it does
    not. `not_drawn` is how many older backtests are not in the picture, `left_out` how many have no
    row.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    movement: str
    picture: Picture | None
    not_drawn: int
    rows: tuple[Point, ...]
    left_out: int
    has_drifted: bool


def show_history(site: Site, visit: Visit) -> Answer:
    """Show how a metric of a model's backtests changed."""
    metric = visit.query.get("metric", _DEFAULT)
    metric = metric if metric in METRICS else _DEFAULT
    only_deployed = visit.query.get("deployed") == "1"
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        points = _points(snapshot, model, site.credentials.given_variables)
        values = frame(site, snapshot, model, "backtests")
    chosen = [one for one in points if one.deployed is not None or not only_deployed]
    lines = lines_of(chosen)
    several = [line for line in lines if len(line.points) > 1]
    return Page(
        "history.html",
        {
            **values,
            "metric": METRICS[metric],
            "metrics": list(METRICS.values()),
            "only_deployed": only_deployed,
            "number": len(chosen),
            "unknown": sum(one.variables is None for one in chosen),
            "is_cut": len(points) == _MOST_BACKTESTS,
            "most": _MOST_BACKTESTS,
            "lines": [_shown(line, metric) for line in several[:_MOST_LINES]],
            "more_lines": max(0, len(several) - _MOST_LINES),
            "alone": len(lines) - len(several),
        },
    )


def _points(snapshot: Transaction, model: Model, told: Told) -> list[Point]:
    found = [
        one
        for one in snapshot.figures.latest(model.project_id, model.id, _MOST_BACKTESTS)
        if "problem" not in one.document
    ]
    versions = snapshot.live.versions({one.version_id for one in found})
    uploads = Uploads.of(snapshot, versions.values(), told)
    return [
        Point(
            time=one.time,
            backtest_id=one.backtest_id,
            version=version,
            twin=uploads.same_bytes(version),
            deployed=uploads.same(version, variables),
            variables=variables,
            document=one.document,
        )
        for one in found
        for version in (versions[one.version_id],)
        for variables in (variables_of(one.document),)
    ]


def _shown(line: Line, metric: str) -> Shown:
    rows = line.points[::-1][:_MOST_ROWS]
    return Shown(
        title=_title(line),
        facts=tuple(_facts(line.last.document, line.last.variables)),
        movement=_movement(line),
        picture=draw(line, metric),
        not_drawn=max(0, len(line.points) - MOST_DRAWN),
        rows=tuple(rows),
        left_out=len(line.points) - len(rows),
        has_drifted=any(one.drift for one in line.points),
    )


def _title(line: Line) -> str:
    """Return what is tested, and for how long: `OAK-USD over 365 days`."""
    symbols = line.last.document.get("symbols") or []
    named = ", ".join(map(str, symbols[:_MOST_SYMBOLS])) or "Unknown symbols"
    more = len(symbols) - _MOST_SYMBOLS
    named += f" and {more} more" if more > 0 else ""
    period = line.last.period
    length = f" over {days((period[1] - period[0]) / _DAY)}" if period else ""
    return f"{cut(named, _LONGEST)}{length}"


def _movement(line: Line) -> str:
    first, last = line.points[0].period, line.last.period
    if not line.moves or first is None or last is None:
        return ""
    return (
        f"The period moves: from {_dates(first)} at first to {_dates(last)} at last. What changes"
        " here may come from the market, and not from the model."
    )


def _dates(period: tuple[float, float]) -> str:
    start, end = moment(period[0], "%Y-%m-%d"), moment(period[1], "%Y-%m-%d")
    return f"{start} – {end}"  # noqa: RUF001  # as a range of dates is written


def _facts(document: Mapping[str, Any], variables: Variables | None) -> list[tuple[str, str]]:
    """Return what all backtests of a line have in common."""
    arguments, rules = document.get("arguments"), document.get("rules")
    said = _UNKNOWN if arguments is None else json.dumps(arguments, ensure_ascii=False)
    if arguments == {}:
        said = "none"
    named = [] if variables is None else [cut(one, _LONGEST) for one in variables["names"]]
    facts = [
        ("Arguments", cut(said, _LONGEST)),
        ("Variables", cut(", ".join(named), _LONGEST) or "none"),
    ]
    if rules is None:
        return [*facts, ("Fees and start", _UNKNOWN)]
    fees = sorted({_fee(one) for pair in rules.get("fees") or () for one in pair})
    start = [f"{exact(size)} {asset}" for asset, size in (rules.get("initialValues") or {}).items()]
    return [
        *facts,
        ("Orders are filled at", f"the {cut(str(rules.get('usePrice')), 40)} of a bar"),
        ("Fees", cut(", ".join(fees) or "unknown", _LONGEST)),
        ("Start", cut(", ".join(start) or "nothing", _LONGEST)),
    ]


def _fee(share: float | None) -> str:
    return "unknown" if share is None else percentage(share * 100)
