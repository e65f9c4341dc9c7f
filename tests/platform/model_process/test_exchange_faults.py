"""An exchange that goes wrong while the package downloads prices: all of them, or an error.

The package's own clients ask a stand-in exchange through a relay on which each answer goes wrong.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest

from deploy_action.text.redaction import redacted
from tests.support.faults.cases import Case, Sense, answer, fixed
from tests.support.faults.damages import ALL
from tests.support.faults.relay import Fault, FaultRelay, Passing, Plan
from tests.support.faults.stage import leaks_in
from tests.support.local_server import Listener, LocalHandler, LocalServer
from tests.support.stand_in_exchange import Market, StandInExchange, alpaca, coinbase, others
from tests.support.stand_in_exchange.answers import Request
from tests.support.torture import Rounds
from tests.support.wire_server import WireServer

from .conftest import ARGUMENTS, EXAMPLES, MODEL_PROCESS, Model

SECRETS: Final = ("key-of-the-test", "c2VjcmV0LW9mLXRoZS10ZXN0", "phrase-of-the-test")

# Downloads two parts of prices and more for each case, whose number is in the symbol.
SCRIPT: Final = """
import json, os, sys
import blankly
sys.path.insert(0, sys.argv[1])
from blankly_run.market import RefusedRunError
from blankly_run.prices import downloads

downloads._TIMEOUT = (5.0, 1.0)
url, (key, secret, phrase) = os.environ["URL"], sys.argv[4].split(",")

def coinbase_pro():
    from blankly.exchanges.interfaces.coinbase_pro import coinbase_pro_api, coinbase_pro_interface
    api = coinbase_pro_api.API(key, secret, phrase, api_url=url + "/")
    return coinbase_pro_interface.CoinbaseProInterface("coinbase_pro", api)

def alpaca():
    import alpaca_trade_api
    from blankly.exchanges.interfaces.alpaca.alpaca_interface import AlpacaInterface
    return AlpacaInterface("alpaca", alpaca_trade_api.REST(key, secret, base_url=url))

def oanda():
    from blankly.exchanges.interfaces.oanda.oanda_api import OandaAPI
    from blankly.exchanges.interfaces.oanda.oanda_interface import OandaInterface
    OandaAPI.API_URL = url
    return OandaInterface("oanda", OandaAPI(secret, key))

exchange, count = sys.argv[2:4]
interface = {"coinbase_pro": coinbase_pro, "alpaca": alpaca, "oanda": oanda}[exchange]()
name, resolution, bars = {
    "coinbase_pro": ("OAK%s-USD", 86_400, 400),
    "alpaca": ("OAK%s", 86_400, 400),
    "oanda": ("OAK%s-USD", 60, 16_000),
}[exchange]
start = 1_672_617_600
for number in ["", *range(int(count))]:
    try:
        frame = downloads.watched(interface)(
            name % number, start, start + bars * resolution, resolution
        )
        told = {"bars": len(frame), "sum": round(float(frame["close"].sum()), 4)}
    except RefusedRunError as error:
        told = {"problem": error.problem}
    print("\\ntold", json.dumps(told), flush=True)
"""


class _Handler(LocalHandler):
    server: Listener[PlainExchange]

    def answer(self) -> None:
        """Answer as the exchange that has the path."""
        owner, split = self.server.owner, urlsplit(self.path)
        names = ("CB-ACCESS-KEY", "APCA-API-KEY-ID", "Authorization")
        key = next((found for one in names if (found := self.headers.get(one))), "")
        query = dict(parse_qsl(split.query))
        asked = Request(self.command, "", split.path, query, b"", key, 0)
        answers = {"v2": alpaca.answer, "v3": others.answer_as_oanda}
        reply = answers.get(split.path.split("/")[1], coinbase.answer)(owner.exchange, asked)
        body, kind = reply.encoded()
        self.send(reply.status, body, {"Content-Type": kind})


class PlainExchange(LocalServer):
    """The stand-in exchange without a proxy and without TLS; every asset has the same prices."""

    handler = _Handler

    def __init__(self) -> None:
        market = Market.from_csv(EXAMPLES / "golden-cross" / "prices" / "OAK-USD.csv")
        self.exchange = StandInExchange({f"OAK{number}": market for number in ["", *range(300)]})


@contextmanager
def relay(plan: Plan) -> Iterator[FaultRelay]:
    """Serve the exchange behind a relay; redirects lead to a server of strangers."""
    with PlainExchange() as exchange, WireServer({}) as trap:
        parts = urlsplit(exchange.origin)
        with FaultRelay((parts.hostname or "", parts.port or 0), trap.url, plan) as opened:
            yield opened


def downloads(
    bot: Model, exchange: str, cases: Sequence[Case], *, part: int = 0
) -> list[dict[str, Any]]:
    """Return what came of the download with each case at one of its parts, and of one without."""

    def plan(passing: Passing) -> tuple[str, Fault] | None:
        number = re.search(r"OAK([0-9]+)", passing.route)
        if number is None or passing.nth < part:
            return None
        case = cases[int(number[1])]
        return case.name, case.do

    shutil.copy(EXAMPLES / "golden-cross" / "settings.json", bot.root)
    arguments = [str(MODEL_PROCESS), exchange, str(len(cases)), ",".join(SECRETS)]
    with relay(plan) as opened:
        done = subprocess.run(
            [str(bot.python), "-c", SCRIPT, *arguments],
            cwd=bot.root,
            env={
                "PATH": "/usr/bin:/bin",
                "URL": opened.url,
                "APCA_API_DATA_URL": opened.url,
                "APCA_RETRY_WAIT": "0",
            },
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    told = [line[5:] for line in done.stdout.splitlines() if line.startswith("told ")]
    assert len(told) == len(cases) + 1, f"{done.stdout}\n{done.stderr}"[-2_000:]
    found = [json.loads(one) for one in told]
    shown = "\n".join(one["problem"]["message"] for one in found if "problem" in one)
    # As the platform shows it.
    assert leaks_in(redacted(shown, SECRETS), SECRETS) == []
    return found


def is_as_it_must(case: Case, told: dict[str, Any], good: dict[str, Any]) -> bool:
    """Return whether a download is whole, or failed with words and a hint."""
    if "problem" in told:
        problem = told["problem"]
        begins = re.match(
            r"The prices of OAK\S* (could not be downloaded|are incomplete): ", problem["message"]
        )
        return bool(begins and problem["severity"] == "error" and problem["hint"])
    may_be_whole = case.sense is Sense.FINE or case.acted
    return may_be_whole and told == good


EMPTY_FAILURE: Final = Case("500 with an empty list", answer(500, fixed(b"[]")), Sense.CUT)
SAID: Final = Case("401 as JSON", answer(401, fixed(b'{"message": "no such key"}')), Sense.REFUSED)
# "Gone" is for ever, and what drips ends at the deadline of the backtest. OANDA's client and
# Alpaca's take an object without prices for a time without any, which is told as a gap.
CASES: Final = [
    *(one for one in ALL if not one.name.startswith(("gone", "200, any JSON"))),
    EMPTY_FAILURE,
    SAID,
]
QUICK: Final = [
    *(case for case in CASES if case.name in {
        "200 with a page", "200 with nothing", "200 with an error", "200 with half of JSON",
        "200 with null", "302 to another host", "reset after the body", "hangs", "announced longer",
        "announced shorter", "slow", "429, two hours", "503", "compressed",
    }),
    EMPTY_FAILURE,
    SAID,
]  # fmt: skip
EXCHANGES: Final = {"coinbase_pro": 1, "oanda": 1, "alpaca": 0}
"""The part of a download that goes wrong."""


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_prices_are_whole_or_there_is_an_error(bot: Model, exchange: str) -> None:
    good, *told = downloads(bot, exchange, QUICK, part=EXCHANGES[exchange])
    assert good["bars"] > 390
    wrong = [
        (case.name, one)
        for case, one in zip(QUICK, told, strict=True)
        if not is_as_it_must(case, one, good)
    ]
    assert wrong == []
    (problem,) = (
        one["problem"] for case, one in zip(QUICK, told, strict=True) if case.name == "503"
    )
    assert "answered 503 with a web page" in problem["message"]
    assert "later" in problem["hint"]
    said = told[-1]["problem"]
    assert "answered 401 with “no such key”" in said["message"]
    assert "keys-json" in said["hint"]


TRADES: Final = """
import os
import blankly

exchange = blankly.CoinbasePro()
exchange.interface.calls._API__api_url = os.environ["URL"] + "/"
strategy = blankly.Strategy(exchange)
strategy.add_price_event(lambda *_: None, "OAK-USD", resolution="1d")
strategy.start()
"""


@pytest.mark.parametrize(
    ("status", "first", "words", "hint"),
    [
        (500, 1, "are incomplete: 127.0.0.1 answered 500 with other JSON than prices", "later"),
        # As packages do that print why they were refused.
        (200, 0, "There are no prices of OAK-USD from", "the log has what it said"),
    ],
)
def test_a_backtest_without_prices_has_no_result(
    bot: Model, status: int, first: int, words: str, hint: str
) -> None:
    def plan(passing: Passing) -> tuple[str, Fault] | None:
        is_asked = passing.nth >= first and "candles" in passing.route
        return ("empty", answer(status, fixed(b"[]"))) if is_asked else None

    key, secret, phrase = SECRETS
    names = {"API_KEY": key, "API_SECRET": secret, "API_PASS": phrase, "sandbox": False}
    bot.write("keys.json", json.dumps({"coinbase_pro": {"main": names}}))
    period = {"start_date": "2022-01-02", "end_date": "2023-12-30"}
    with relay(plan) as opened:
        ran = bot.run(TRADES, {**ARGUMENTS, **period}, URL=opened.url)
    assert ran.last["event"] == "failed"
    assert ran.result is None
    assert words in ran.problems[0]["message"]
    assert hint in ran.problems[0]["hint"]


@pytest.mark.torture(quick=0, weight=2)
def test_of_all_faults_at_any_part(bot: Model, rounds: Rounds) -> None:
    for chance in rounds:
        exchange = chance.choice(list(EXCHANGES))
        cases = chance.sample(CASES, 40)
        part = chance.randrange(EXCHANGES[exchange] + 1)
        good, *told = downloads(bot, exchange, cases, part=part)
        for case, one in zip(cases, told, strict=True):
            assert is_as_it_must(case, one, good), f"{exchange}, part {part}, {case.name}: {one}"
        rounds.count("downloads", len(told))
        rounds.count("refused", sum("problem" in one for one in told))
