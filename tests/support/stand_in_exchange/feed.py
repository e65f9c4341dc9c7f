"""Coinbase Pro's feed of ticks: a web socket (RFC 6455), as much as it takes to serve one."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Final

from tests.support.stand_in_exchange.account import CASH
from tests.support.stand_in_exchange.answers import iso
from tests.support.stand_in_exchange.exchange import Fault, StandInExchange

Read = Callable[[int], bytes]  # that many bytes, or fewer at the end

_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE = 0x1, 0x8
_TWO_BYTES = 126  # the mark of a length in two bytes


def accept_key(key: str) -> str:
    """Return what the server answers to a client's `Sec-WebSocket-Key`."""
    # The protocol says SHA-1; nothing is secured by it.
    digest = hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def serve_ticks(exchange: StandInExchange, read: Read, write: Callable[[bytes], object]) -> None:
    """Send ticks of what the client subscribed to, until it leaves or the exchange is down."""
    asked = json.loads(_read_text(read))
    products: list[str] = asked["product_ids"]
    channels = [{"name": name, "product_ids": products} for name in asked["channels"]]
    write(_frame({"type": "subscriptions", "channels": channels}))
    left = threading.Event()
    threading.Thread(target=_watch, args=(read, left), daemon=True).start()
    while exchange.fault is Fault.NONE and not left.wait(exchange.tick_every):
        for tick in _ticks(exchange, products):
            write(_frame(tick))


def _ticks(exchange: StandInExchange, products: Iterable[str]) -> Iterable[dict[str, object]]:
    for product in products:
        asset = product.partition("-")[0]
        price = f"{exchange.price_of(asset):.2f}"
        yield {
            "type": "ticker",
            "product_id": f"{asset}-{CASH}",
            "price": price,
            "best_bid": price,
            "best_ask": price,
            "side": "buy",
            "time": iso(exchange.now()),
            "trade_id": exchange.next_trade(),
            "last_size": "1.0",
        }


def _watch(read: Read, left: threading.Event) -> None:
    """Notice that the client leaves; whatever else it says does not matter."""
    try:
        while _read_frame(read)[0] != _CLOSE:
            pass
    except (OSError, EOFError, ValueError):
        pass
    left.set()


def _read_text(read: Read) -> bytes:
    while True:
        kind, content = _read_frame(read)
        if kind == _TEXT:
            return content


def _read_frame(read: Read) -> tuple[int, bytes]:
    """Read one frame of a client: short, whole, and masked, as those of this feed are."""
    first, second = _exactly(read, 2)
    length = second & 0x7F
    if length == _TWO_BYTES:
        (length,) = struct.unpack(">H", _exactly(read, 2))
    mask = _exactly(read, 4)
    content = bytes(byte ^ mask[place % 4] for place, byte in enumerate(_exactly(read, length)))
    return first & 0x0F, content


def _exactly(read: Read, count: int) -> bytes:
    found = read(count)
    if len(found) < count:
        raise EOFError("the client left")
    return found


def _frame(message: dict[str, object]) -> bytes:
    content = json.dumps(message).encode()
    head = (
        bytes([0x80 | _TEXT, len(content)])
        if len(content) < _TWO_BYTES
        else struct.pack(">BBH", 0x80 | _TEXT, _TWO_BYTES, len(content))
    )
    return head + content
