"""The part of Alpaca's API that the `blankly` package uses, for trading and for prices."""

from __future__ import annotations

from typing import Any, Final

from tests.support.stand_in_exchange.account import CASH, DONE, OPEN, Order, RefusedError
from tests.support.stand_in_exchange.answers import Answer, Page, Request, epoch, iso
from tests.support.stand_in_exchange.exchange import StandInExchange

NOT_FOUND = Answer({"code": 40410000, "message": "not found"}, 404)
_SECONDS: Final = {"Min": 60, "Hour": 3_600, "Day": 86_400}
_STATUSES: Final = {OPEN: "new", DONE: "filled"}


def answer(exchange: StandInExchange, request: Request) -> Answer:
    """Answer a request to a host of Alpaca."""
    if not request.key:
        return Answer({"code": 40110000, "message": "request is not authorized"}, 401)
    match request.path.strip("/").split("/"):
        case ["v2", "stocks", "snapshots"]:
            wanted = [name for name in request.query["symbols"].split(",") if name]
            return Answer(
                {
                    asset: {"latestTrade": _trade(exchange, asset)}
                    for asset in wanted
                    if asset in exchange.markets
                }
            )
        case ["v2", "stocks", asset, *what]:
            return _market(exchange, request, asset, what)
        case _:
            return _private(exchange, request)


def _market(exchange: StandInExchange, request: Request, asset: str, what: list[str]) -> Answer:
    if asset not in exchange.markets:
        return NOT_FOUND
    if what == ["trades", "latest"]:
        return Answer({"symbol": asset, "trade": _trade(exchange, asset)})
    if what != ["bars"]:
        return NOT_FOUND
    now, query = exchange.now(), request.query
    amount = query["timeframe"].rstrip("abcdefghijklmnopqrstuvwxyzDHM")
    bars = exchange.markets[asset].bars(
        epoch(query["start"]),
        epoch(query["end"]) if "end" in query else now,
        int(amount) * _SECONDS[query["timeframe"].removeprefix(amount)],
        now,
    )
    shown = [
        {"t": iso(b.time), "o": b.open, "h": b.high, "l": b.low, "c": b.close, "v": b.volume}
        for b in bars
    ]
    return Answer({"symbol": asset, "bars": shown, "next_page_token": None})


def _trade(exchange: StandInExchange, asset: str) -> dict[str, Any]:
    return {
        "t": iso(exchange.now()),
        "p": round(exchange.price_of(asset), 2),
        "s": 1,
        "i": exchange.next_trade(),
    }


def _private(exchange: StandInExchange, request: Request) -> Answer:
    account = exchange.account(request.key)
    match request.path.strip("/").split("/"):
        case ["v2", "account"]:
            return Answer(
                {
                    "id": request.key,
                    "status": "ACTIVE",
                    "currency": CASH,
                    "cash": f"{account.holdings[CASH]:.8f}",
                    "equity": f"{account.worth:.8f}",
                    "buying_power": f"{account.available(CASH):.8f}",
                    "account_blocked": False,
                }
            )
        case ["v2", "assets"]:
            return Answer([_asset(asset) for asset in exchange.markets])
        case ["v2", "positions"]:
            return Answer(
                [
                    {"symbol": asset, "qty": f"{size:.9f}"}
                    for asset, size in account.holdings.items()
                    if asset != CASH and size > 1e-9  # Alpaca's smallest part
                ]
            )
        case ["v2", "orders", *order_id]:
            return _orders(exchange, request, *order_id)
        case _:
            return NOT_FOUND


def _orders(exchange: StandInExchange, request: Request, order_id: str = "") -> Answer:
    account = exchange.account(request.key)
    if request.method == "POST":
        return _place(exchange, request)
    if not order_id:
        return Answer([_shown(order) for order in account.orders if order.status == OPEN])
    order = account.find(order_id)
    if order is None:
        return NOT_FOUND
    if request.method == "GET":
        return Answer(_shown(order))
    account.cancel(order)
    return Answer(Page(""), 204)


def _place(exchange: StandInExchange, request: Request) -> Answer:
    fields = request.json()
    asset = fields["symbol"]
    if asset not in exchange.markets:
        return Answer({"code": 42210000, "message": f'asset "{asset}" not found'}, 422)
    price = fields.get("limit_price") or fields.get("stop_price")
    try:
        order = exchange.account(request.key).place(
            asset,
            fields["side"],
            fields["type"],
            float(fields["qty"]),
            None if price is None else float(price),
        )
    except RefusedError:
        return Answer({"code": 40310000, "message": "insufficient buying power"}, 403)
    return Answer({**_shown(order), "status": "accepted"})


def _shown(order: Order) -> dict[str, Any]:
    filled = order.status == DONE
    return {
        "id": order.id,
        "client_order_id": order.id,
        "created_at": iso(order.created),
        "filled_at": None if order.filled is None else iso(order.filled),
        "symbol": order.asset,
        "qty": f"{order.size:.9f}",
        "notional": None,
        "filled_qty": f"{order.size if filled else 0:.9f}",
        "filled_avg_price": None if order.filled_price is None else f"{order.filled_price:.4f}",
        "type": order.type,
        "side": order.side,
        "time_in_force": "gtc",
        "limit_price": None if order.type != "limit" else f"{order.price:.4f}",
        "stop_price": None if order.type != "stop" else f"{order.price:.4f}",
        "status": _STATUSES.get(order.status, order.status),
    }


def _asset(asset: str) -> dict[str, Any]:
    return {
        "id": asset,
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": asset,
        "status": "active",
        "tradable": True,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": True,
    }
