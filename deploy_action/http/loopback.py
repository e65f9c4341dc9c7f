"""Which hosts are this machine itself."""

from __future__ import annotations


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: what is sent there passes nobody."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
