"""Orders in words, as models reported them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy_action.platform.storage.records import StopReason
from deploy_action.platform.storage.tables.reports import Kept
from deploy_action.records import dataclass
from deploy_action.text.quantities import exact

_SIMULATED: Final = " (simulated)"  # as the platform marks the exchange of a PaperTrade
NO_REAL_MONEY: Final = "no real money"
_TEARDOWNS: Final[Mapping[str | None, str]] = {
    StopReason.STOP: "a stop was asked for",
    StopReason.REPLACE: "another version took its place",
    StopReason.SHUTDOWN: "this server was shut down",
}
_UNKNOWN: Final = "–"  # noqa: RUF001  # as the pages write it


@dataclass(frozen=True, slots=True)
class OrderWords:
    """An order for people; what was not reported is a dash.

    `time` is when it was sent, in seconds since 1970; `version_id` is the version that ran then, ""
    if that is not known. `status_note` says of when the status is. `unreal` says why no real money
    was traded: `simulated` by a PaperTrade, or `no real money` in the account of the exchange; it
    is blank where that is not known. `teardown` says why its version was torn down meanwhile,
    blank if it was not.
    """

    number: int
    id: str
    time: float
    side: str
    type: str
    amount: str
    symbol: str
    price: str
    exchange: str
    unreal: str
    status: str
    status_note: str
    annotation: str
    executed_at: float | None
    canceled_at: float | None
    version_id: str
    teardown: str

    @property
    def summary(self) -> str:
        """Return what was ordered, such as `buy 2 BTC-USD`."""
        return f"{self.side} {self.amount} {self.symbol}"


def order_in_words(kept: Kept) -> OrderWords:
    """Return an order in words."""
    get = kept.document.get
    size, funds, price, status = get("size"), get("funds"), get("price"), get("status")
    amount = exact(size) if size is not None else ""
    if not amount and funds is not None:
        amount = f"for {exact(funds)}"
    note = "told later" if get("updated") else "when sent"
    exchange = str(get("exchange") or _UNKNOWN)
    unreal = NO_REAL_MONEY if get("testAccount") else ""
    if exchange.endswith(_SIMULATED):
        unreal = _SIMULATED.strip(" ()")
    return OrderWords(
        number=kept.number,
        id=kept.name or "",
        time=kept.time,
        side=str(get("side") or _UNKNOWN),
        type=str(get("type") or _UNKNOWN),
        amount=amount or _UNKNOWN,
        symbol=str(get("symbol") or _UNKNOWN),
        price=_UNKNOWN if price is None else exact(price),
        exchange=exchange.removesuffix(_SIMULATED),
        unreal=unreal,
        status=str(status or _UNKNOWN),
        status_note=note if status else "not told",
        annotation=str(get("annotation") or ""),
        executed_at=get("executedAt"),
        canceled_at=get("canceledAt"),
        version_id=str(get("versionId") or ""),
        teardown=_TEARDOWNS.get(get("tornDownFor"), ""),
    )
