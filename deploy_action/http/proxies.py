"""The proxy that requests are sent through: which one, and which variable names it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Final

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.records import dataclass
from deploy_action.text.redaction import SHORTEST_KEY

VARIABLES: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
"""The proxy settings; programs disagree on upper or lower case."""
# Up to the last one: a password may hold any character, although `/` and `@` should be escaped.
_CREDENTIALS: Final = lazy_regex(r"^([a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `url` is without credentials.

    `variable` is in upper case, whichever was used, and blank if the system's settings name it.
    """

    url: str
    variable: str

    @property
    def named(self) -> str:
        """The proxy and where it is set, for a message."""
        return f"the proxy {self.url} (from {self.source})"

    @property
    def source(self) -> str:
        """Where the proxy is set."""
        if not self.variable:
            return "the system's settings"
        return f"the variable `{self.variable}` or `{self.variable.lower()}`"


def passwords_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the passwords of the proxies in these variables, as they are written and meant.

    Without a password, the user name may be one. Those of fewer than eight characters are left out.
    """
    given = [environ[name] for name in VARIABLES if "@" in environ.get(name, "")]
    if not given:
        return ()
    from urllib.parse import unquote

    found = filter(None, map(_CREDENTIALS.match, given))
    users = [one[0].removeprefix(one[1] or "").removesuffix("@") for one in found]
    words = [user.partition(":")[2] or user for user in users]
    forms = (form for word in words for form in (word, unquote(word)))
    return tuple(dict.fromkeys(form for form in forms if len(form) >= SHORTEST_KEY))


def may_be_set(environ: Mapping[str, str]) -> bool:
    """Tell whether there may be a proxy: in these variables, or in the settings of a system."""
    if sys.platform in {"darwin", "win32"}:
        return True
    return any(name.lower().endswith("_proxy") and value for name, value in environ.items())


def proxy_of(url: str) -> Proxy | None:
    """Return the proxy through which a request to `url` is sent, if there is one."""
    from urllib.request import getproxies_environment

    chosen, scheme = _chosen(url)
    if not chosen:
        return None
    return _named(chosen, scheme if getproxies_environment().get(scheme) == chosen else "")


def address_of_proxy(url: str) -> str:
    """Return the address of that proxy, with a scheme and its credentials; blank for none."""
    chosen, _ = _chosen(url)
    return f"http://{chosen}" if chosen and "://" not in chosen else chosen


def credentials_for(address: str) -> dict[str, str]:
    """Return the header with the name and the password in a proxy's address, if they are there.

    They are sent as the bytes that are written there; for letters beyond ASCII, that is UTF-8. A
    name without a password has an empty one (RFC 7617, section 2).

    Raises:
        urllib3.exceptions.LocationParseError: the address is invalid.
    """
    from base64 import b64encode
    from urllib.parse import unquote_to_bytes

    from urllib3.util import parse_url

    written = parse_url(address).auth
    if not written:
        return {}
    name, _, password = written.partition(":")
    pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


def _chosen(url: str) -> tuple[str, str]:
    """Return the proxy for `url` as it is set, and the scheme that it is set for; blank for none.

    It is set in the environment, else in the settings of a system that has such.
    """
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    named, parts = getproxies(), urlsplit(url)
    scheme = next((one for one in (parts.scheme, "all") if named.get(one)), "")
    if not scheme or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return "", ""
    excepted = named.get("no", "").split(",")
    if any(_is_within(parts.hostname or "", one.strip()) for one in excepted):
        return "", ""
    return named[scheme], scheme


def _is_within(host: str, network: str) -> bool:
    """Tell whether a host is named by an address in a network, such as 10.0.0.0/8."""
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:  # a name
        return False


def proxy_in(environ: Mapping[str, str], url: str) -> Proxy | None:
    """Return the proxy of another program, which reads the variables in `environ` alone."""
    from urllib.parse import urlsplit
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # undocumented

    named = {
        name.lower().removesuffix("_proxy"): value
        for name, value in sorted(environ.items())  # upper case first: lower case wins
        if name.lower().endswith("_proxy") and value
    }
    parts = urlsplit(url)
    if proxy_bypass_environment(parts.netloc.rpartition("@")[2], named):
        return None
    scheme = next((one for one in (parts.scheme, "all") if one in named), "")
    return _named(named[scheme], scheme) if scheme else None


def instead_of(url: str) -> str:
    """Return what to do about an answer that may be a proxy's own; blank if none can answer so.

    With TLS a proxy cannot: its certificate is refused, or it opened no tunnel.
    """
    proxy = proxy_of(url) if url.lower().startswith("http:") else None
    if proxy is None:
        return ""
    return (
        f"It may be the answer of {proxy.named}: correct that, or name the server in `NO_PROXY` if "
        "it needs no proxy."
    )


def _named(chosen: str, scheme: str) -> Proxy:
    variable = f"{scheme}_proxy".upper() if scheme else ""
    return Proxy(_CREDENTIALS.sub(r"\1", chosen), variable)
