"""Serve a stand-in exchange until SIGTERM or SIGINT: `python -m tests.support.stand_in_exchange`.

DIRECTORY gets `authority.pem` and, once it serves, `model.env`: the variables for a model, as the
input `model-env` takes them. The first line of the output is the URL of the proxy; below it,
`GET /orders` shows all orders, and `POST /fault/down` (`500`, `html`, `none`) lets something be
wrong.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.support.stand_in_exchange import (
    Market,
    StandInExchange,
    TimeLapse,
    libfaketime,
    serving_stand_in,
)

_ROOT = Path(__file__).parents[3]
_PRICES = _ROOT / "examples" / "models" / "constant-value" / "prices" / "YEW-USD.csv"


def main() -> None:
    """Serve as the arguments say."""
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before any thread, for all of them
    options = _options()
    with ExitStack() as stack:
        exchange, variables = _exchange(options, stack)
        stack.enter_context(serving_stand_in(exchange, options.directory / "authority.pem"))
        _write_variables(options.directory / "model.env", exchange.variables | variables)
        sys.stdout.write(f"{exchange.url}\n")
        sys.stdout.flush()
        signal.sigwait(signals)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.support.stand_in_exchange")
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--prices", type=Path, default=_PRICES, help="a file of bars, named after its asset"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="that a bar lasts here")
    parser.add_argument("--begin", type=_date, help="for a time-lapse: its first day")
    parser.add_argument("--speed", type=int, default=20_000, help="of the time-lapse")
    return parser.parse_args()


def _date(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _exchange(
    options: argparse.Namespace, stack: ExitStack
) -> tuple[StandInExchange, dict[str, str]]:
    """Return the exchange, and variables that a model needs beside those that lead there."""
    asset = options.prices.stem.partition("-")[0]
    if options.begin is None:
        market = Market.from_csv(options.prices, begins=time.time(), seconds=options.seconds)
        return StandInExchange({asset: market}), {}
    library = libfaketime()
    if library is None:
        sys.exit("libfaketime is not installed: on Debian, apt-get install libfaketime")
    lapse = stack.enter_context(
        TimeLapse(options.directory / "time", library, options.begin, options.speed)
    )
    market = Market.from_csv(options.prices)
    return StandInExchange({asset: market}, lapse.now), lapse.variables


def _write_variables(path: Path, variables: Mapping[str, str]) -> None:
    written = path.with_suffix(".new")
    written.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    written.replace(path)


if __name__ == "__main__":
    main()
