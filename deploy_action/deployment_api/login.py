"""The sign-in of the Deployment API: the browser sends the refresh token to a local port."""

from __future__ import annotations

import errno
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from deploy_action.errors import RefusedError
from deploy_action.inputs.defaults import HOSTED_APP_URL
from deploy_action.text.harmless import plain

if TYPE_CHECKING:
    import queue
    from email.message import Message
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The sign-in page sends the browser to http://localhost:9082/?token=…, so the port is fixed.
# Browsers may use either address for `localhost`.
DEFAULT_PORT = 9082
_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MAX_TOKEN_LENGTH = 8192
_CONNECTION_SECONDS = 10
_SIGN_IN_MINUTES = 0.5
_POLL_SECONDS = 0.05

_RECEIVED = ("Token received", "Go back to the terminal: it says whose token it is.")
_NO_TOKEN = ("No token arrived", "The sign-in did not complete. Please sign in again.")
_NOT_FOUND = ("Nothing here", "This page only waits for the sign-in to complete.")
_REFUSED = ("Refused", "This page only answers the browser that signs in on this machine.")


def wait_for_token(
    app_url: str,
    *,
    open_browser: Callable[[str], bool],
    announce: Callable[[str], None],
    accepts: Callable[[str], bool],
    port: int = DEFAULT_PORT,
    timeout: float,
) -> str:
    """Open the sign-in page of `app_url`, and return the refresh token that it sends back.

    `open_browser` returns whether it could; `announce` gets lines for the user, never the token.
    Any page can send the browser here with a token of its own, so the wait goes on until `accepts`
    returns True for one.

    Raises:
        RefusedError: `port` is in use, or no token came within `timeout` seconds.
    """
    import queue

    url = f"{app_url.rstrip('/')}/auth/signin?redirectUrl=/deploy"
    tokens: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ExitStack() as stack:
        for server in _listen(port, tokens, _origin(app_url)):
            stack.callback(_serve(server))
        opened = open_browser(url)
        announce(f"Opened {url}" if opened else f"Open this page in a browser: {url}")
        if app_url.rstrip("/") == HOSTED_APP_URL:
            announce("Blankly's hosted service was taken down: that page may never answer.")
            announce("Your own server prints its token itself; see `blankly-deploy serve`.")
        else:
            announce("If it is a server of your own, sign in there with the token that it printed.")
        announce("Waiting for you to sign in there …")
        ends_at = time.monotonic() + timeout
        # Without time left, not even for a token that waits: they may come without an end.
        while (left := ends_at - time.monotonic()) > 0:
            with suppress(queue.Empty):
                token = tokens.get(timeout=left)
                if accepts(token):
                    return token
    raise RefusedError.of(
        message=f"Nobody signed in within {timeout:g} seconds.",
        hint="Run the command again, and complete the sign-in in the browser.",
    )


def is_known_token(api_url: str, announce: Callable[[str], None], token: str) -> bool:
    """Say whose token it is. False if the server does not know it; True if that is not told."""
    from deploy_action.deployment_api.client import DeploymentApi, TokenRefusedError
    from deploy_action.deployment_api.transport import Transport
    from deploy_action.http.exchange import Retries
    from deploy_action.interruption import Deadline, deadline_as_error

    deadline = Deadline.after(_SIGN_IN_MINUTES)
    transport = Transport(api_url, Retries(deadline, attempts=1))
    api = DeploymentApi(transport, token, on_secret=lambda _secret: None)
    try:
        with deadline_as_error(deadline):
            api.sign_in()
    except TokenRefusedError as error:
        announce(f"A token came that is not used. {error} Still waiting …")
        return False
    except RefusedError as error:
        announce(f"It is not known whose token came. {error}")
        announce("Use it only if you have just signed in yourself.")
    else:
        announce(
            f"The token is that of {plain(api.user())} at {api_url}. Use it only if that is you."
        )
    finally:
        transport.close()
    return True


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL, as browsers send them."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _listen(
    port: int, tokens: queue.SimpleQueue[str], sign_in_origin: str
) -> list[ThreadingHTTPServer]:
    """Return a server for each loopback address that this machine has."""
    servers: list[ThreadingHTTPServer] = []
    for family, address in _ADDRESSES:
        try:
            servers.append(_bind(family, (address, port), tokens, sign_in_origin))
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
    family: socket.AddressFamily,
    address: tuple[str, int],
    tokens: queue.SimpleQueue[str],
    sign_in_origin: str,
) -> ThreadingHTTPServer:
    # Threads, because browsers open connections in advance and leave them idle.
    from http.server import ThreadingHTTPServer

    class Server(ThreadingHTTPServer):
        address_family = family
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """Print nothing if a browser closes the connection before it has its answer."""

    return Server(address, _make_handler(tokens, sign_in_origin))


def _serve(server: ThreadingHTTPServer) -> Callable[[], None]:
    """Serve on a thread, and return a function that stops it."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return stop


def _make_handler(
    tokens: queue.SimpleQueue[str], sign_in_origin: str
) -> type[BaseHTTPRequestHandler]:
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        timeout = _CONNECTION_SECONDS
        server_version = "blankly-deploy"
        sys_version = ""

        def do_GET(self) -> None:
            """Receive the token, or answer what is wrong."""
            port = self.connection.getsockname()[1]
            if not _may_come_from(sign_in_origin, self.headers, port):
                self._answer(403, _REFUSED)
            elif self.path.partition("?")[0] != "/":
                self._answer(404, _NOT_FOUND)
            elif (token := _read_token(self.path)) is None:
                self._answer(400, _NO_TOKEN)
            else:
                try:
                    self._answer(200, _RECEIVED)
                finally:
                    tokens.put(token)

        def _refuse(self) -> None:
            self._answer(405, _REFUSED)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _refuse  # noqa: N815  their names

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


def _may_come_from(sign_in_origin: str, headers: Message, port: int) -> bool:
    """Tell whether to answer a request with these headers.

    Not to other host names (DNS rebinding), nor in a frame, nor if another page than the sign-in
    page sent the browser here and says so.
    """
    host = headers.get("Host", "").lower().removesuffix(f":{port}")
    referrer = headers.get("Referer", "")
    return (
        host in _HOSTS
        and headers.get("Sec-Fetch-Dest", "document") == "document"
        and (not referrer or _origin(referrer) == sign_in_origin)
    )


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
