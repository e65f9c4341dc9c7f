"""`blankly-deploy status`: says what a deployed model does, and what it should do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, TextIO

from deploy_action.commands.deployed import DeployedModel as Named
from deploy_action.commands.printing import until_cut_off
from deploy_action.live.deployed import Account, DeployedModel, Event, Live, Order
from deploy_action.records import dataclass, field
from deploy_action.text.harmless import defused, excerpt
from deploy_action.text.quantities import days, duration, exact, moment, money

_DONE: Final = 0
_NOT_AS_WANTED: Final = 1
_MOST_SHOWN: Final = 5  # of orders and of events
_LONGEST: Final = 300
_AN_HOUR: Final = 3_600
_A_DAY: Final = 86_400
_UP: Final = frozenset({"running", "scheduled"})
_ON_THE_WAY: Final = frozenset({"preparing", "stopping"})


def show_status(named: Named, stream: TextIO) -> int:
    """Print what the server tells; return 0 if the model does what it should, else 1.

    Raises `RefusedError` when the server does not answer, or does not have the model.
    """
    with named.found() as (live, _):
        model = live.describe()
        text = StatusText(model, live.model_id, live.api.redact)
    with until_cut_off(stream):
        stream.writelines(f"{defused(line)}\n" for line in text.lines())
    return _DONE if is_as_wanted(model) else _NOT_AS_WANTED


def is_as_wanted(model: DeployedModel) -> bool:
    """Whether the model does what it was last told to do, or is on the way there.

    A script that ended by itself with nothing wrong did. One that waits to be started again after
    an unexpected end did not, nor does one whose callbacks all fail.
    """
    live = model.live
    if live is None or (live.callbacks_fail and live.state in _UP):
        return False
    if live.state == "scheduled" and (live.problem or live.exit_code):
        return False  # its last run failed
    if live.state in _UP:
        return live.wanted != "stopped"
    if live.state == "stopped":
        return live.wanted != "running"
    if live.state == "finished":
        return live.exit_code == 0 and not live.problem
    return live.state in _ON_THE_WAY


@dataclass(frozen=True, slots=True)
class StatusText:
    """The status of a model in words; `now` is in seconds since 1970, by this machine's clock."""

    model: DeployedModel
    model_id: str
    redact: Callable[[str], str]
    now: float = field(default_factory=time.time)

    def lines(self) -> Iterator[str]:
        """Yield the lines: what it does, then the latest orders and events."""
        model, live = self.model, self.model.live
        name = self._said(model.name) or self.model_id
        if live is None and model.tells_life:
            yield f"{name}: nothing was deployed yet, so nothing runs"
        elif live is None:
            yield f"{name}: the server does not tell what the model does"
        else:
            since = f" since {_time(live.since)}" if live.since is not None else ""
            yield f"{name}: {self._said(live.state)}{since}{self._for(live.since)}{self._but(live)}"
            yield from (f"  {title:<20}{text}" for title, text in self._facts(live) if text)
        if live is None:
            return
        yield from _section("Last orders", [self._order(one) for one in model.orders])
        yield from _section("Last events", [self._event(one) for one in model.events])

    def _facts(self, live: Live) -> Iterator[tuple[str, str]]:
        yield "version", self._version(live.version_id)
        if live.wanted and not is_as_wanted(self.model):
            yield "should be", self._said(live.wanted)
        yield "problem", self._said(live.problem)
        if live.exit_code is not None:
            yield (
                "ended with",
                f"code {live.exit_code}"
                + (", which does not prove that nothing failed" if live.exit_code == 0 else ""),
            )
        yield "restarts", str(live.restarts)
        none = ", and none has succeeded since" if live.callbacks_fail else ""
        yield "callback errors", f"{live.callback_errors}{none}"
        yield "last output", self._last_output(live)
        yield from (("account", self._account(account)) for account in self.model.accounts)
        if live.next_run_at is not None:
            yield "next run", _time(live.next_run_at)
        if live.next_id:
            yield "being prepared", self._version(live.next_id)
        if live.state not in _UP | {"preparing"}:
            yield "start would run", self._version(live.start_id) or "nothing"
        yield "rollback would run", self._version(live.previous_id) or "nothing"

    def _last_output(self, live: Live) -> str:
        if live.last_output_at is None:
            return "none"
        seconds = self.now - live.last_output_at
        ago = f" ({_long(seconds)} ago)" if seconds >= 0 else ""
        return f"{_time(live.last_output_at)}{ago}"

    def _account(self, account: Account) -> str:
        """Say what an account is worth, and what of it may have nothing to do with the model."""
        portfolio = f" ({account.portfolio})" if account.portfolio else ""
        where = f"{account.exchange}{portfolio}{', simulated' if account.is_simulated else ''}"
        if account.value is None:
            return self._said(f"unknown, at {where}: {account.problem}".rstrip(": "))
        missing = f", without {', '.join(account.missing)}" if account.missing else ""
        seconds = -1.0 if account.time is None else self.now - account.time
        ago = f", {_long(seconds)} ago" if seconds >= 0 else ""
        of = "" if account.is_simulated else "; all of it, with deposits and other bots"
        return self._said(f"{money(account.value)} {account.quote} at {where}{missing}{ago}{of}")

    def _version(self, version_id: str) -> str:
        version = self.model.versions.get(version_id)
        description = "" if version is None else self._said(version.description.partition("\n")[0])
        return f"{self._said(version_id)}  {description}".strip()

    def _for(self, since: float | None) -> str:
        seconds = -1.0 if since is None else self.now - since
        return f" ({_long(seconds)})" if seconds >= 0 else ""

    def _but(self, live: Live) -> str:
        if not live.callbacks_fail or live.state not in _UP:
            return ""
        since = live.callbacks_fail_since
        return f", but its callbacks fail{'' if since is None else f' since {_time(since)}'}"

    def _order(self, order: Order) -> str:
        amount = [exact(order.size)] if order.size is not None else []
        amount += [f"for {exact(order.funds)}"] if order.funds is not None else []
        price = f"at {exact(order.price)}" if order.price is not None else ""
        status = order.status
        if status and not order.is_updated:
            status = f"({status} when sent)"
        words = (order.type, order.side, *amount, order.symbol, price, status)
        return f"{_time(order.time)}  {self._said(' '.join(filter(None, words)))}"

    def _event(self, event: Event) -> str:
        words = (f"{event.source}:" if event.source else "", event.type, event.text)
        return f"{_time(event.time)}  {self._said(' '.join(filter(None, words)))}"

    def _said(self, text: str) -> str:
        return excerpt(self.redact(text), _LONGEST)


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines[-_MOST_SHOWN:])


def _long(seconds: float) -> str:
    return duration(seconds) if seconds < _AN_HOUR else days(seconds / _A_DAY)


def _time(seconds: float | None) -> str:
    return "at an unknown time" if seconds is None else moment(seconds, "%Y-%m-%d %H:%M:%S UTC")
