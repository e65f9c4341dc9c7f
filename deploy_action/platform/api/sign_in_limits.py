"""How many wrong refresh tokens an address may present."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from deploy_action.platform.allowance import Allowance
from deploy_action.records import dataclass, field

_FAILURES_AT_ONCE: Final = 10
_FAILURES_PER_SECOND: Final = 1 / 30
_MOST_ADDRESSES: Final = 10_000
_MOST_REMEMBERED: Final = 20  # of an address
_IPV6_PREFIX: Final = 64  # what one subscriber has
# Of 20 characters of base64 there are more than HTTP lets anybody try, at any rate.
_UNGUESSABLE: Final = 20


class TooManyTokensError(Exception):
    """An address has presented too many wrong tokens; it has to wait for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__("Too many wrong tokens came from your address.")
        self.seconds = seconds


@dataclass(slots=True)
class _Attempts:
    """The wrong tokens of an address: how many more there may be, and digests of the last ones."""

    allowance: Allowance
    wrong: deque[bytes] = field(default_factory=lambda: deque(maxlen=_MOST_REMEMBERED))


class SignInLimits:
    """Counts wrong tokens by address; safe to use from several threads.

    A token is counted once, however often it comes: nobody learns anything from it, and runners
    that have an old one do not lock out others at their address. Who tries many different ones has
    to wait. The right one is taken even then if it is long: nobody must be able to keep its owner
    from stopping a bot. A short one has to wait, too: else it could be guessed.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` returns seconds."""
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, _Attempts] = OrderedDict()
        self._key = secrets.token_bytes(16)

    def admits(self, address: str, token: str, is_right: Callable[[str], bool]) -> bool:
        """Return whether a token is right; raise `TooManyTokensError` if it is not looked at."""
        text = token.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, key=self._key, digest_size=16).digest()
        with self._lock:
            attempts = self._attempts.get(address)
            if attempts is not None:
                if digest in attempts.wrong:
                    return False
                seconds = attempts.allowance.seconds_until(1)
                if seconds and not (len(token) >= _UNGUESSABLE and is_right(token)):
                    raise TooManyTokensError(seconds)
            if is_right(token):
                return True
            self._count(address, digest)
            return False

    def _count(self, address: str, digest: bytes) -> None:
        """Count a wrong token. The addresses that failed longest ago are forgotten."""
        allowance = Allowance(_FAILURES_AT_ONCE, _FAILURES_PER_SECOND, self._monotonic)
        attempts = self._attempts.pop(address, None) or _Attempts(allowance)
        attempts.allowance.use(1)
        attempts.wrong.append(digest)
        self._attempts[address] = attempts
        if len(self._attempts) > _MOST_ADDRESSES:
            self._attempts.popitem(last=False)


def client_address(peer: str, forwarded: Sequence[str]) -> str:
    """Return the address of a client, or the network of one that has IPv6.

    `forwarded` are the lines of `X-Forwarded-For`. Behind a proxy of this machine or of a network
    that is not public, the client's is the last address in them, which the proxy saw. What is
    before that may be invented by the client.
    """
    address = _parse(peer)
    if address is None:
        return peer
    if not address.is_global:
        address = _parse(",".join(forwarded).rpartition(",")[2].strip()) or address
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, which some proxies write with a port: `1.2.3.4:5`, `[2001:db8::1]:5`."""
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return ip_address(host)
    except ValueError:
        return None
