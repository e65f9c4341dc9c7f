"""The proxy that is all exchanges at once: it answers for every host by itself, over TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import trustme

from tests.support.local_server import Listener, LocalHandler, LocalServer
from tests.support.stand_in_exchange import alpaca, coinbase, others
from tests.support.stand_in_exchange.answers import Answer, Page, Request
from tests.support.stand_in_exchange.exchange import Fault, StandInExchange
from tests.support.stand_in_exchange.feed import accept_key, serve_ticks

_KEYS: Final = ("CB-ACCESS-KEY", "APCA-API-KEY-ID", "X-MBX-APIKEY", "Authorization")
_ANSWERS: Final = {
    "coinbase": coinbase.answer,
    "alpaca": alpaca.answer,
    "binance": others.answer_as_binance,
    "oanda": others.answer_as_oanda,
}
_GATEWAY: Final = Page("<!DOCTYPE html><title>503 Service Unavailable</title>")


class _Handler(LocalHandler):
    server: Listener[StandInServer]
    host = ""  # that the client believes to speak to

    def finish(self) -> None:
        """Close it; the listener would close what there was before the encryption."""
        super().finish()
        self.server.owner.connections.discard(self.connection)
        self.connection.close()

    def do_CONNECT(self) -> None:  # noqa: N802  # `http.server` calls it by this name
        """Become the host that the client asks for."""
        owner = self.server.owner
        if owner.exchange.fault is Fault.DOWN:
            self.drop()
            return
        self.host = self.path.partition(":")[0]
        self.send_response_only(200)
        self.end_headers()
        try:
            self.connection.getpeername()
        except OSError:  # the client has left: `ssl` would leave a socket open
            self.drop()
            return
        self.connection = owner.context_of(self.host).wrap_socket(self.connection, server_side=True)
        owner.connections.add(self.connection)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb", self.wbufsize or 1)
        self.close_connection = False

    def answer(self) -> None:
        """Answer as the host would, or as it would not."""
        owner = self.server.owner
        request = self._request()
        if not self.host:  # it was not asked as a proxy, but by who controls it
            self._send(owner.control(request))
            return
        owner.exchange.requests.append(request)
        if owner.exchange.fault is Fault.DOWN:
            self.drop()
        elif request.path in owner.exchange.silent:
            self.rfile.read(1)  # until the client leaves
            self.drop()
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self._serve_feed()
        else:
            self._send(owner.answer(request))

    def _send(self, answer: Answer) -> None:
        body, kind = answer.encoded()
        self.send(answer.status, body, {"Content-Type": kind})

    def _request(self) -> Request:
        split = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        return Request(
            method=self.command,
            host=self.host,
            path=split.path,
            query=dict(parse_qsl(split.query)),
            body=self.rfile.read(length),
            key=next((found for name in _KEYS if (found := self.headers.get(name))), ""),
            time=time.monotonic(),
        )

    def _serve_feed(self) -> None:
        self.close_connection = True
        self.send_response_only(101)
        for name, value in {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(self.headers["Sec-WebSocket-Key"]),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        serve_ticks(self.server.owner.exchange, self.rfile.read, self.connection.sendall)


class StandInServer(LocalServer):
    """Serves the exchange in the background; the certificate of its authority goes to a file."""

    handler = _Handler

    def __init__(self, exchange: StandInExchange, authority: Path) -> None:
        """Make the authority; its certificates hold from 2000 on, for models in time-lapse."""
        self.exchange = exchange
        self.connections: set[socket.socket] = set()
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(authority)
        authority.chmod(0o644)
        exchange.authority = authority
        self.context_of = lru_cache(maxsize=None)(self._context_of)

    def set_fault(self, fault: Fault) -> None:
        """Let something be wrong from now on, or nothing any more."""
        self.exchange.fault = fault
        if fault is Fault.DOWN:
            self.close_connections()

    def close_connections(self) -> None:
        """End the connections of all clients."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.connections.discard(connection)  # it is gone already

    def control(self, request: Request) -> Answer:
        """Show the orders, or set a fault."""
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["orders"]:
                return Answer([asdict(order) for order in self.exchange.orders()])
            case "POST", ["fault", kind] if kind in list(Fault):
                self.set_fault(Fault(kind))
                return Answer({"fault": kind})
        return Answer({"message": "there is GET /orders and POST /fault/KIND"}, 404)

    def answer(self, request: Request) -> Answer:
        """Answer for any host."""
        if self.exchange.fault is Fault.ERROR or request.path in self.exchange.failing:
            return Answer({"message": "Internal server error"}, 500)
        if self.exchange.fault is Fault.HTML:
            return Answer(_GATEWAY, 503)
        with self.exchange.lock:
            for name, answer in _ANSWERS.items():
                if name in request.host:
                    return answer(self.exchange, request)
        return Answer(Page("<!DOCTYPE html><title>No such exchange here</title>"), 404)

    def _context_of(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(host).configure_cert(context)
        return context


@contextmanager
def serving_stand_in(exchange: StandInExchange, authority: Path) -> Iterator[StandInServer]:
    """Serve the exchange for the duration of the block."""
    with StandInServer(exchange, authority) as server:
        exchange.url = server.origin
        try:
            yield server
        finally:
            server.close_connections()
