"""The sign-in of the Deployment API: the browser sends the refresh token to a local port."""

from __future__ import annotations

import errno
import re
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from deploy_action.errors import RefusedError
from deploy_action.inputs.defaults import HOSTED_APP_URL

if TYPE_CHECKING:
    import queue
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The sign-in page sends the browser to http://localhost:9082/?token=…, so the port is fixed.
# Browsers may use either address for `localhost`.
DEFAULT_PORT = 9082
_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MAX_TOKEN_LENGTH = 8192
_CONNECTION_SECONDS = 10
_POLL_SECONDS = 0.05

_SIGNED_IN = ("Signed in", "You can close this window and go back to the terminal.")
_NO_TOKEN = ("No token arrived", "The sign-in did not complete. Please sign in again.")
_NOT_FOUND = ("Nothing here", "This page only waits for the sign-in to complete.")
_REFUSED = ("Refused", "This page only answers the browser that signs in on this machine.")


def wait_for_token(
    app_url: str,
    *,
    open_browser: Callable[[str], bool],
    announce: Callable[[str], None],
    port: int = DEFAULT_PORT,
    timeout: float,
) -> str:
    """Open the sign-in page of `app_url`, and return the refresh token that it sends back.

    `open_browser` returns whether it could; `announce` gets lines for the user, never the token.

    Raises:
        RefusedError: `port` is in use, or no token came within `timeout` seconds.
    """
    import queue

    url = f"{app_url.rstrip('/')}/auth/signin?redirectUrl=/deploy"
    tokens: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ExitStack() as stack:
        for server in _listen(port, tokens):
            stack.callback(_serve(server))
        opened = open_browser(url)
        announce(f"Opened {url}" if opened else f"Open this page in a browser: {url}")
        if app_url.rstrip("/") == HOSTED_APP_URL:
            announce("Blankly's hosted service was taken down: that page may never answer.")
            announce("Your own server prints its token itself; see `blankly-deploy serve`.")
        announce("Waiting for you to sign in there …")
        try:
            return tokens.get(timeout=timeout)
        except queue.Empty:
            raise RefusedError.of(
                message=f"Nobody signed in within {timeout:g} seconds.",
                hint="Run the command again, and complete the sign-in in the browser.",
            ) from None


def _listen(port: int, tokens: queue.SimpleQueue[str]) -> list[ThreadingHTTPServer]:
    """Return a server for each loopback address that this machine has."""
    servers: list[ThreadingHTTPServer] = []
    for family, address in _ADDRESSES:
        try:
            servers.append(_bind(family, address, port, tokens))
        except OSError as error:
            if error.errno in _NO_SUCH_FAMILY:
                continue
            for server in servers:
                server.server_close()
            raise RefusedError.of(
                message=f"Cannot listen on {address} port {port}, where the sign-in page sends"
                f" the token: {error.strerror}.",
                hint="Stop the program that uses the port (perhaps another sign-in), and run"
                " the command again.",
            ) from error
    return servers


def _bind(
    family: socket.AddressFamily, address: str, port: int, tokens: queue.SimpleQueue[str]
) -> ThreadingHTTPServer:
    # Threads, because browsers open connections in advance and leave them idle.
    from http.server import ThreadingHTTPServer

    class Server(ThreadingHTTPServer):
        address_family = family
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """Print nothing if a browser closes the connection before it has its answer."""

    return Server((address, port), _make_handler(tokens))


def _serve(server: ThreadingHTTPServer) -> Callable[[], None]:
    """Serve on a thread, and return a function that stops it."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return stop


def _make_handler(tokens: queue.SimpleQueue[str]) -> type[BaseHTTPRequestHandler]:
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        timeout = _CONNECTION_SECONDS
        server_version = "blankly-deploy"
        sys_version = ""

        def do_GET(self) -> None:
            """Receive the token, or answer what is wrong."""
            if not self._is_local_navigation():
                self._answer(403, _REFUSED)
            elif self.path.partition("?")[0] != "/":
                self._answer(404, _NOT_FOUND)
            elif (token := _read_token(self.path)) is None:
                self._answer(400, _NO_TOKEN)
            else:
                try:
                    self._answer(200, _SIGNED_IN)
                finally:
                    tokens.put(token)

        def _refuse(self) -> None:
            self._answer(405, _REFUSED)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _refuse  # noqa: N815  their names

        def _is_local_navigation(self) -> bool:
            """Tell whether to answer: not to other host names (DNS rebinding), nor in a frame."""
            port = self.connection.getsockname()[1]
            host = self.headers.get("Host", "").lower().removesuffix(f":{port}")
            destination = self.headers.get("Sec-Fetch-Dest", "document")
            return host in _HOSTS and destination == "document"

        def _answer(self, status: int, text: tuple[str, str]) -> None:
            nonce, body = _make_page(*text)
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header(
                "Content-Security-Policy",
                f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'",
            )
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  their name
            """Log nothing, because the request line contains the token."""

    return Handler


def _read_token(target: str) -> str | None:
    """Return the token from a request target's query, or None if there is no valid one."""
    from urllib.parse import parse_qs

    try:
        values = parse_qs(target.partition("?")[2], max_num_fields=20).get("token", [])
    except ValueError:
        return None
    if len(values) != 1 or len(values[0]) > _MAX_TOKEN_LENGTH:
        return None
    token = values[0].strip()
    return token if re.fullmatch(r"[!-~]+", token) else None


def _make_page(title: str, text: str) -> tuple[str, bytes]:
    """Return the nonce of the inline style and script, and a page without other resources."""
    import secrets

    nonce = secrets.token_urlsafe(16)
    # The script removes the token from the address bar and the history.
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style nonce="{nonce}">
body {{ font: 1.1rem/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 30rem;
       padding: 0 1rem; text-align: center; color-scheme: light dark; }}
</style>
<script nonce="{nonce}">history.replaceState(null, "", "/");</script>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
</body>
</html>
"""
    return nonce, page.encode()
