"""The proxy that requests are sent through: which one, and which variable names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Up to the last one: a password may hold any character, although `/` and `@` should be escaped.
_CREDENTIALS: Final = re.compile(r"^([a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)


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


def proxy_of(url: str) -> Proxy | None:
    """Return the proxy through which requests sends a request to `url`, if there is one."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies_environment

    from requests.utils import get_environ_proxies, select_proxy

    chosen = select_proxy(url, get_environ_proxies(url))
    if not chosen:
        return None
    named = getproxies_environment()
    schemes = (urlsplit(url).scheme, "all")
    return _named(chosen, next((one for one in schemes if named.get(one) == chosen), ""))


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

    With TLS a proxy cannot: requests refuse its certificate, or say that it opened no tunnel.
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
