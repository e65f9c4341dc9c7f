"""What holds where neither an input nor `blankly.json` says anything: servers, plan, Python."""

from __future__ import annotations

from typing import Final

HOSTED_API_URL: Final = "https://deploy.blankly.finance"
HOSTED_APP_URL: Final = "https://app.blankly.finance"
HOSTED_GONE: Final = (
    "Blankly's hosted service was taken down. Either run a server of your own (`blankly-deploy "
    "serve`) and name it in `api-url`, or use the one embedded here with `api-url: local`."
)

DEFAULT_PLAN: Final = "nano"
# What the `blankly` package writes into a new `blankly.json`.
DEFAULT_PYTHON: Final = "3.7"
