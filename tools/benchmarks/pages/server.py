"""A server with many models, which run nowhere, on a process of its own.

    python -m tools.benchmarks.pages.server DATA MODELS BACKTESTS ORDERS

BACKTESTS and ORDERS are in all. It prints one line of JSON: its `url`, `token`, `pid`, and the
`paths` of its pages by name. It serves until it gets SIGTERM.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path

from deploy_action.platform.runs.model_run import Outcome
from deploy_action.platform.storage.tables.reports import Kept
from tests.support.scripted_live_server import LivePlatform, ServerParts
from tests.support.trading_year import trading_year

_VERSIONS = 2
_LINES = 2_000
_MINUTE = 60.0


def main() -> None:
    """Fill DATA and serve it."""
    data, models, backtests, orders = sys.argv[1:]
    token, over = secrets.token_urlsafe(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with ServerParts(Path(data), token) as parts:
        platform = LivePlatform.of(parts)
        per_model = int(backtests) // int(models), int(orders) // int(models)
        ids = _fill(platform, int(models), *per_model)
        found = {
            "url": parts.url,
            "token": token,
            "pid": os.getpid(),
            "paths": dict(_paths(platform, ids)),
        }
        sys.stdout.write(f"{json.dumps(found)}\n")
        sys.stdout.flush()
        over.wait()


def _fill(platform: LivePlatform, models: int, backtests: int, orders: int) -> list[str]:
    """Add models that run; return their ids."""
    years = cycle([json.dumps(trading_year(seed)).encode() for seed in range(1, 4)])
    ids = []
    for number in range(models):
        model_id = platform.create_model()
        ids.append(model_id)
        for year, _ in zip(years, range(backtests), strict=False):
            platform.parts.runner.outcome = Outcome(result=year, problems=(), facts={})
            with platform.backtest(model_id, backtestDescription=f"Try {number}") as answer:
                answer.raise_for_status()
        for version in range(_VERSIONS):
            platform.run_a_version(model_id, versionDescription=f"Version {version} of {number}")
        for line in range(_LINES):
            platform.instance.listener.line("out", f"looked at the price for the {line}th time")
        _add_orders(platform, model_id, orders)
    return ids


def _add_orders(platform: LivePlatform, model_id: str, orders: int) -> None:
    """Write orders past the limit on how many a model may report in a second."""
    known = {"symbol": "OAK-USD", "exchange": "alpaca", "type": "market", "size": 1.0}
    known |= {"status": "filled", "updated": True, "annotation": "The averages have crossed"}
    with platform.parts.store.transaction() as transaction:
        for number in range(orders):
            side = {"side": ("buy", "sell")[number % 2], "price": 100.0 + number % 7}
            at = transaction.now - (orders - number) * _MINUTE
            kept = Kept(f"order-{number}", at, {**known, **side})
            transaction.reports.put(platform.user_id, model_id, "order", kept)


def _paths(platform: LivePlatform, ids: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the pages by name: of the model in the middle, if they are of one."""
    model_id = ids[len(ids) // 2]
    base = f"/{platform.user_id}/{model_id}"
    versions = [str(one["versionId"]) for one in platform.versions(model_id)]
    backtests = [str(one["backtestId"]) for one in platform.backtests(model_id)]
    with platform.parts.store.snapshot() as snapshot:
        (order,) = snapshot.reports.latest(platform.user_id, model_id, "order", 1)
    pages: Mapping[str, str] = {
        "home": "/",
        "overview": f"{base}/overview",
        "orders": f"{base}/orders",
        "an order": f"{base}/orders/{order.number}",
        "log": f"{base}/log",
        "log, search": f"{base}/log?search=7th",
        "versions": f"{base}/versions",
        "a version": f"{base}/versions/{versions[-1]}",
        "two versions": f"{base}/versions/compare",
        "backtests": f"{base}/backtests",
        "a backtest": f"{base}/backtests/{backtests[-1]}",
        "two backtests": f"{base}/backtests/compare?a={backtests[0]}&b={backtests[-1]}",
        "history": f"{base}/backtests/history",
        "API": "/api",
        "metrics": "/metrics",
    }
    yield from pages.items()


if __name__ == "__main__":
    main()
