"""Variables that this machine needs to reach a package index, to add to a runner's environment."""

from __future__ import annotations

# These mean the same in a container.
NETWORK = (
    "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX",
)  # fmt: skip
# These name directories of this machine.
DIRECTORIES = ("SSL_CERT_DIR", "PIP_FIND_LINKS", "UV_FIND_LINKS", "UV_CACHE_DIR")
