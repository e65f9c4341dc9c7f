"""The proxy that requests are sent through: which one, and which variable names it."""

from __future__ import annotations

import re
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
    scheme = next((one for one in schemes if named.get(one) == chosen), "")
    variable = f"{scheme}_proxy".upper() if scheme else ""
    return Proxy(_CREDENTIALS.sub(r"\1", chosen), variable)
