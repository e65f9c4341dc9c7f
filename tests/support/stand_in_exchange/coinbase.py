"""The part of Coinbase Pro's API that the `blankly` package uses."""

from __future__ import annotations

from typing import Any

from tests.support.stand_in_exchange.account import CASH, DONE, FEE, OPEN, Order, RefusedError
from tests.support.stand_in_exchange.answers import Answer, Request, epoch, iso
from tests.support.stand_in_exchange.exchange import StandInExchange

NOT_FOUND = Answer({"message": "NotFound"}, 404)


def answer(exchange: StandInExchange, request: Request) -> Answer:
    """Answer a request to a host of Coinbase Pro."""
    match request.path.strip("/").split("/"):
        case ["products"]:
            return Answer([_product(asset) for asset in exchange.markets])
        case ["products", product, what]:
            return _market(exchange, request, product.partition("-")[0], what)
        case _ if request.key:
            return _private(exchange, request)
        case _:
            return Answer({"message": "CB-ACCESS-KEY header is required"}, 401)


def _market(exchange: StandInExchange, request: Request, asset: str, what: str) -> Answer:
    if asset not in exchange.markets or asset in exchange.unquoted:
        return NOT_FOUND
    if what == "ticker":
        price = f"{exchange.price_of(asset):.2f}"
        return Answer(
            {
                "trade_id": exchange.next_trade(),
                "price": price,
                "size": "1.0",
                "time": iso(exchange.now()),
                "bid": price,
                "ask": price,
                "volume": "1000",
            }
        )
    if what != "candles":
        return NOT_FOUND
    bars = exchange.markets[asset].bars(
        epoch(request.query["start"]),
        epoch(request.query["end"]),
        int(request.query["granularity"]),
        exchange.now(),
    )
    newest_first = reversed(bars)
    return Answer([[int(b.time), b.low, b.high, b.open, b.close, b.volume] for b in newest_first])


def _private(exchange: StandInExchange, request: Request) -> Answer:
    match request.path.strip("/").split("/"):
        case ["fees"]:
            rates = {"maker_fee_rate": str(FEE), "taker_fee_rate": str(FEE)}
            return Answer({**rates, "usd_volume": "0"})
        case ["accounts"]:
            account = exchange.account(request.key)
            assets = (CASH, *exchange.markets)
            return Answer(
                [
                    {
                        "id": asset,
                        "currency": asset,
                        "balance": f"{account.holdings.get(asset, 0.0):.16f}",
                        "available": f"{account.available(asset):.16f}",
                        "hold": f"{account.held(asset):.16f}",
                        "profile_id": "default",
                    }
                    for asset in assets
                ]
            )
        case ["orders", *order_id]:
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
    return Answer(order.id)


def _place(exchange: StandInExchange, request: Request) -> Answer:
    fields = request.json()
    asset = fields["product_id"].partition("-")[0]
    if asset not in exchange.markets:
        return NOT_FOUND
    kind, price = fields["type"], fields.get("price")
    if "stop" in fields:
        kind, price = "stop", fields["stop_price"]
    try:
        size = float(fields.get("size") or float(fields["funds"]) / exchange.price_of(asset))
        order = exchange.account(request.key).place(
            asset, fields["side"], kind, size, None if price is None else float(price)
        )
    except RefusedError as error:
        return Answer({"message": str(error)}, 400)
    # A fresh order is pending, whatever became of it meanwhile.
    return Answer({**_shown(order), "status": "pending", "settled": False})


def _shown(order: Order) -> dict[str, Any]:
    filled = order.size if order.status == DONE else 0.0
    shown = {
        "id": order.id,
        "product_id": f"{order.asset}-{CASH}",
        "side": order.side,
        "stp": "dc",
        "type": order.type,
        "size": f"{order.size:.8f}",
        "time_in_force": "GTC",
        "post_only": False,
        "created_at": iso(order.created),
        "fill_fees": f"{filled * (order.filled_price or 0) * FEE:.8f}",
        "filled_size": f"{filled:.8f}",
        "executed_value": f"{filled * (order.filled_price or 0):.8f}",
        "status": order.status,
        "settled": order.status == DONE,
    }
    if order.type == "limit":
        return {**shown, "price": f"{order.price:.8f}"}
    if order.type == "stop":
        return {**shown, "stop": "loss", "stop_price": f"{order.price:.8f}"}
    return shown


def _product(asset: str) -> dict[str, Any]:
    return {
        "id": f"{asset}-{CASH}",
        "base_currency": asset,
        "quote_currency": CASH,
        "base_min_size": "0.000001",
        "base_max_size": "1000000",
        "base_increment": "0.000001",
        "quote_increment": "0.01",
        "display_name": f"{asset}/{CASH}",
        "min_market_funds": "1",
        "status": "online",
    }
