"""An exchange on this machine, and a model that trades there with the real package."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DAY = 86_400
START = 1_672_531_200  # 2023-01-01

# The package's interface to an exchange that it does not know; what it buys is told by its result.
MODEL = """
import json, urllib.request
import blankly, pandas
from blankly.utils.utils import AttributeDict
from blankly.exchanges.interfaces.keyless.keyless import KeylessExchange
from blankly.exchanges.interfaces.keyless.keyless_api import KeylessAPI

class Interface(KeylessAPI):
    url = "{url}"

    def __init__(self):
        super().__init__(0.001, 0.001, [])

    def get_exchange_type(self):
        return "stand_in"

    def get_products(self):
        return [{{"symbol": "ASH-USD", "base_asset": "ASH", "quote_asset": "USD",
                 "base_min_size": 0.0, "base_max_size": 1e9, "base_increment": 1e-9}}]

    def get_account(self, symbol=None):
        empty = {{"available": 0.0, "hold": 0.0}}
        return AttributeDict({{
            "ASH": AttributeDict(empty),
            "USD": AttributeDict(empty),
        }})

    def get_product_history(self, symbol, epoch_start, epoch_stop, resolution):
        asked = f"{{self.url}}/?symbol={{symbol}}&start={{epoch_start}}&stop={{epoch_stop}}"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
        with direct.open(f"{{asked}}&resolution={{resolution}}") as answer:
            rows = json.load(answer)
        return pandas.DataFrame(rows, columns=["time", "low", "high", "open", "close", "volume"])

exchange = KeylessExchange(price_reader=[])
exchange.calls = exchange.interface = Interface()
strategy = blankly.Strategy(exchange)

def on_bar(price, symbol, state):
    state.variables.setdefault("count", 0)
    state.variables["count"] += 1
    if state.variables["count"] % 20 == 5:
        state.interface.market_order(symbol, "buy", {size})
    if state.variables["count"] % 20 == 15:
        state.interface.market_order(symbol, "sell", {size})

strategy.add_price_event(on_bar, symbol="ASH-USD", resolution="1d")
strategy.start()
"""


@dataclass(slots=True)
class Exchange:
    """A server of daily prices that never end; `asked` are the periods that were asked for."""

    url: str
    asked: list[tuple[float, float]] = field(default_factory=list)
    factor: float = 1.0  # of all prices, as after a split
    before_answer: Callable[[], None] = lambda: None

    def model(self, size: float = 1.5) -> str:
        """Return the script of a model that trades here, `size` each time."""
        return MODEL.format(url=self.url, size=size)

    def bars(self, start: float, stop: float) -> list[list[float]]:
        """Return the bars that begin in a period, its ends included."""
        first, last = math.ceil(start / DAY), math.floor(stop / DAY)
        return [self._bar(number) for number in range(first, last + 1)]

    def _bar(self, number: int) -> list[float]:
        middle = (100 + math.sin(number / 7) * 20 + number % 13 / 3) * self.factor
        return [number * DAY, middle * 0.97, middle * 1.03, middle, middle * 1.01, 10 / 3]


@contextmanager
def serving_exchange() -> Iterator[Exchange]:
    """Serve an exchange on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            start, stop = float(query["start"][0]), float(query["stop"][0])
            exchange.asked.append((start, stop))
            exchange.before_answer()
            body = json.dumps(exchange.bars(start, stop)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    exchange = Exchange(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
