"""Warnings of what a model cannot do once it is deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType

import pytest

from deploy_action.bundle.selection import select_files
from deploy_action.errors import Problem, Severity
from deploy_action.model.live.checks import Given, check_live
from deploy_action.model.live.code import read_code
from deploy_action.model.manifest import load_manifest

EXAMPLES = Path(__file__).parents[3] / "examples" / "models"
NOTHING: Mapping[str, str] = MappingProxyType({})
DEPLOY = Given(keys=False, variables=(), is_deploy=True)
# What every strategy has: it is not what these tests are about.
RUNS = "\nstrategy = blankly.Strategy(exchange)\nstrategy.add_bar_event(f, 's')\nstrategy.start()\n"
HEAD = "import os\nimport sys\nimport blankly\ndef f(*_): pass\n"


def problems_in(
    directory: Path,
    script: str,
    given: Given = DEPLOY,
    kind: str = "strategy",
    files: Mapping[str, str] = NOTHING,
) -> list[Problem]:
    manifest = {"main_script": "./bot.py", "type": kind, "screener": {"schedule": "0 0 * * *"}}
    (directory / "blankly.json").write_text(json.dumps(manifest))
    for name, content in {"bot.py": script, **files}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(content))
    return problems_of(directory, given)


def problems_of(directory: Path, given: Given = DEPLOY) -> list[Problem]:
    manifest, _ = load_manifest(directory)
    assert manifest is not None
    selection = select_files(directory, [])
    code = read_code(manifest.main_script, selection)
    return list(check_live(code, manifest, selection, given))


def messages_in(
    directory: Path, exchange: str, files: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Return what is said of a script whose exchange comes from this code."""
    return [
        one.message for one in problems_in(directory, HEAD + dedent(exchange) + RUNS, files=files)
    ]


KEYLESS_ALWAYS = [
    "exchange = blankly.KeylessExchange()",
    "if __name__ == '__main__':\n    exchange = blankly.KeylessExchange()",
    "def main():\n    return blankly.KeylessExchange()\nexchange = main()",
    "from blankly import KeylessExchange as K\nexchange = K()",
    "import blankly as b\nexchange = b.KeylessExchange()",
    (
        "from blankly.exchanges.interfaces.keyless.keyless import KeylessExchange\n"
        "exchange = KeylessExchange()"
    ),
    (
        "if os.environ.get('BACKTESTING') == '1':\n    print('a backtest')\n"
        "exchange = blankly.KeylessExchange()"
    ),
    "if 'BACKTESTING' not in os.environ:\n    exchange = blankly.KeylessExchange()",
    "exchange = blankly.KeylessExchange() if blankly.is_deployed else None",
    (
        "class Bot:\n    def __init__(self):\n        self.exchange = blankly.KeylessExchange()\n"
        "exchange = Bot().exchange"
    ),
    "try:\n    exchange = blankly.KeylessExchange()\nexcept Exception:\n    raise",
    "from exchanges import make\nexchange = make()",
    "import exchanges\nexchange = exchanges.make()",
    "exchange = blankly.PaperTrade(blankly.KeylessExchange())",
]
OTHER_FILE = {"exchanges.py": "import blankly\ndef make(): return blankly.KeylessExchange()\n"}


@pytest.mark.parametrize("exchange", KEYLESS_ALWAYS)
def test_a_keyless_exchange_that_is_opened_live_cannot_trade(tmp_path: Path, exchange: str) -> None:
    (message,) = messages_in(tmp_path, exchange, OTHER_FILE)
    assert "KeylessExchange also when it is deployed, and with that it cannot trade" in message


REAL = "blankly.Alpaca(keys_path='k')"
CONDITIONS = [
    "os.environ.get('BACKTESTING') == '1'",
    "os.environ.get('BACKTESTING')",
    "os.getenv('BACKTESTING', '0') == '1'",
    "bool(int(os.getenv('BACKTESTING', '0')))",
    "os.environ.get('BACKTESTING', '').lower() in {'1'} or os.environ.get('BACKTESTING')",
    "'BACKTESTING' in os.environ",
    "'BACKTESTING_ID' in os.environ",
    "not blankly.is_deployed or os.environ.get('BACKTESTING') is not None",
    "blankly.utils.check_backtesting()",
    "IS_BACKTEST",
    "is_backtest()",
    "settings.IS_BACKTEST",
    "settings.is_backtest()",
    "__import__('os').environ.get('BACKTESTING')",  # not worked out: it may be true
    "len(sys.argv) > 1",
    "anything['else']",
]
DEFINED = """\
import settings
IS_BACKTEST = os.environ.get("BACKTESTING") == "1"
def is_backtest():
    "Whether it is one."
    return IS_BACKTEST
"""
SETTINGS = {"settings.py": "import os\n" + DEFINED.removeprefix("import settings\n")}
WAYS = [
    "exchange = blankly.KeylessExchange() if {} else {}",
    "if {}:\n    exchange = blankly.KeylessExchange()\nelse:\n    exchange = {}",
    (
        "def make():\n    if {}:\n        return blankly.KeylessExchange()\n    return {}\n"
        "exchange = make()"
    ),
    "exchange = blankly.KeylessExchange()\nif not ({}):\n    exchange = {}",
    ("if {}:\n    exchange = blankly.KeylessExchange()\n    sys.exit()\nexchange = {}"),
    "exchange = ({}) and blankly.KeylessExchange() or {}",
]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("way", WAYS)
def test_one_for_backtests_alone_is_right(tmp_path: Path, condition: str, way: str) -> None:
    exchange = DEFINED + way.format(condition, REAL)
    assert messages_in(tmp_path, exchange, SETTINGS) == []


@pytest.mark.parametrize("condition", CONDITIONS)
def test_one_for_backtests_is_right_whatever_opens_the_other(
    tmp_path: Path, condition: str
) -> None:
    """Such as a package that is not in the model."""
    exchange = DEFINED + f"exchange = blankly.KeylessExchange() if {condition} else mine.open()"
    assert messages_in(tmp_path, exchange, SETTINGS) == []


@pytest.mark.parametrize(
    "code",
    [
        "def unused():\n    return blankly.KeylessExchange()\nexchange = mine.open()",
        "if False:\n    exchange = blankly.KeylessExchange()",
        "try:\n    exchange = 1\nexcept OSError:\n    exchange = blankly.KeylessExchange()",
        "class Bot:\n    def backtest(self): return blankly.KeylessExchange()\nexchange = Bot().x",
        "match sys.argv:\n    case [_]: exchange = blankly.KeylessExchange()",
        "while mine.waits():\n    exchange = blankly.KeylessExchange()",
        "exchange = mine.KeylessExchange()",
        "blankly = mine.something()\nexchange = blankly.KeylessExchange()",
        "make = lambda: blankly.KeylessExchange()\nexchange = mine.open(make)",
        "def one(): return two()\ndef two(): return one()\nif one(): pass\nexchange = 1",
        "A = B\nB = A\nif A: exchange = blankly.KeylessExchange()",
    ],
)
def test_code_that_may_not_run_is_not_warned_of(tmp_path: Path, code: str) -> None:
    assert messages_in(tmp_path, code) == []


def test_files_that_the_script_does_not_import_do_not_count(tmp_path: Path) -> None:
    files = {"research.py": "import blankly\nblankly.KeylessExchange()\nblankly.FTX()\n"}
    assert messages_in(tmp_path, f"exchange = {REAL}", files) == []


@pytest.mark.parametrize(
    ("name", "exchange"), [("CoinbasePro", "Coinbase Pro"), ("FTX", "FTX"), ("FTXFutures", "FTX")]
)
def test_exchanges_that_are_gone(tmp_path: Path, name: str, exchange: str) -> None:
    script = f"exchange = blankly.{name}()\nother = blankly.{name}(keys_path='k')"
    (message,) = messages_in(tmp_path, script)
    assert message == (
        f"The script opens {name}, and {exchange} was closed: a deployed model cannot trade there."
    )
    guarded = f"if os.environ.get('BACKTESTING'):\n    exchange = blankly.{name}()"
    assert messages_in(tmp_path, guarded) == []


def test_a_problem_is_at_its_line_in_its_file(tmp_path: Path) -> None:
    files = {"lib/__init__.py": "", "lib/x.py": "from .y import z\nz()\n"}
    code = "import blankly\n\ndef z():\n    return blankly.FTX()\n"
    script = HEAD + "import lib.x\nexchange = 1" + RUNS
    (problem,) = problems_in(tmp_path, script, files={**files, "lib/y.py": code})
    assert (problem.path, problem.line, problem.column) == ("lib/y.py", 4, 12)
    assert problem.severity is Severity.WARNING
    assert "Alpaca" in problem.hint


def test_an_exchange_without_keys(tmp_path: Path) -> None:
    script = HEAD + "exchange = blankly.Alpaca()\nother = blankly.BinanceFutures('main')" + RUNS
    found = problems_in(tmp_path, script)
    assert [one.message for one in found] == [
        "The script opens Alpaca, which reads its keys from keys.json, and the bundle has none.",
        (
            "The script opens BinanceFutures, which reads its keys from keys.json, and the bundle "
            "has none."
        ),
    ]
    assert {one.severity for one in found} == {Severity.WARNING}
    assert all("`keys-json`" in one.hint and "`model-env`" in one.hint for one in found)
    # Without a deploy, nothing has to be there yet: workflows that only check have no secrets.
    found = problems_in(tmp_path, script, replace(DEPLOY, is_deploy=False))
    assert {one.severity for one in found} == {Severity.NOTICE}
    assert "a deploy has to give it" in found[0].message
    assert problems_in(tmp_path, script, replace(DEPLOY, keys=True)) == []
    names = ("ALPACA_API_KEY", "BINANCE_KEY")
    assert problems_in(tmp_path, script, replace(DEPLOY, variables=names)) == []
    assert problems_in(tmp_path, script, files={"keys.json": "{}"}) == []


@pytest.mark.parametrize(
    "exchange",
    [
        "blankly.Alpaca(keys_path=path())",
        "blankly.Alpaca('main', path())",
        "blankly.Alpaca(**arguments)",
        "make(open('keys.json', 'w')) and blankly.Alpaca()",
        "blankly.Alpaca() if mine.has_keys() else None",
        "os.environ.get('BACKTESTING') and blankly.Alpaca()",
    ],
)
def test_keys_that_come_from_elsewhere_are_not_missed(tmp_path: Path, exchange: str) -> None:
    assert messages_in(tmp_path, f"exchange = {exchange}") == []


def test_a_strategy_that_is_never_started_or_has_no_event(tmp_path: Path) -> None:
    script = HEAD + f"s = blankly.Strategy({REAL})\ns.backtest(to='1y')\n"
    (events, start) = problems_in(tmp_path, script)
    assert events.message.startswith("The strategy has no event: ")
    assert start.message.startswith("The script never calls `start()` of its strategy")
    assert events.line == start.line == 5
    by_hand = "if blankly.is_deployed:\n    s.add_bar_event(f, 's')\nelse:\n    s.start()\n"
    (start,) = problems_in(tmp_path, script + by_hand)
    assert "never calls `start()`" in start.message


@pytest.mark.parametrize(
    "rest",
    [
        "mine.run(s)",
        "mine.run(strategy=blankly.Strategy(exchange))",
        "from local import *",
        "import threading\nthreading.Thread(target=s.start).start()\nmine.add_events(s)",
        "def go(x): x.add_bar_event(f, 's'); x.start()\ngo(s)",
        "class Bot:\n    def go(self): s.add_tick_event(f, 's'); s.start()\nBot().go()",
    ],
)
def test_a_strategy_that_others_may_start(tmp_path: Path, rest: str) -> None:
    script = f"{HEAD}exchange = {REAL}\ns = blankly.Strategy(exchange)\n{rest}\n"
    assert problems_in(tmp_path, script, files={"local.py": "x = 1"}) == []


def test_a_script_without_a_strategy_is_right(tmp_path: Path) -> None:
    """It buys once, and ends."""
    assert problems_in(tmp_path, HEAD + f"{REAL}.interface.market_order('SPY', 'buy', 1)") == []


def test_a_type_that_the_script_does_not_have(tmp_path: Path) -> None:
    screener = HEAD + f"blankly.Screener({REAL}, f, ['SPY'])\n"
    (problem,) = problems_in(tmp_path, screener)
    assert problem.message.startswith("`type` is `strategy`, and the script makes a Screener")
    assert '`"type": "screener"`' in problem.hint
    assert (problem.path, problem.line) == ("blankly.json", 1)
    assert problems_in(tmp_path, screener, kind="screener") == []
    (problem,) = problems_in(tmp_path, HEAD + f"exchange = {REAL}{RUNS}", kind="screener")
    assert problem.message.startswith("`type` is `screener`, and the script makes a Strategy")


@pytest.mark.parametrize(
    "script", ["def (", "x = " + "(" * 500, "\0", "x = " + "-" * 50_000 + "1", "", "ä" * 10]
)
def test_a_script_that_cannot_be_read_is_not_warned_of(tmp_path: Path, script: str) -> None:
    assert problems_in(tmp_path, script) == []


def test_scripts_that_import_each_other_end(tmp_path: Path) -> None:
    files = {"a.py": "import bot\nfrom b import *\n", "b.py": "from a import *\nimport b\n"}
    assert problems_in(tmp_path, "import a\nimport bot\n", files=files) == []


def test_variables_in_requirements_that_nothing_fills_in(tmp_path: Path) -> None:
    files = {
        "requirements.txt": "# ${NO}\n-r more.txt\n-i https://${TOKEN}@h/${TOKEN}\n${lower}\n",
        "more.txt": "blankly==${VERSION}\n-r ../outside.txt\n",
    }
    found = problems_in(tmp_path, "", replace(DEPLOY, variables=("OTHER",)), files=files)
    assert [(one.path, one.line) for one in found] == [("requirements.txt", 3), ("more.txt", 1)]
    assert found[0].message == (
        "The requirements name the variable `TOKEN`, and `model-env` does not give it."
    )
    assert {one.severity for one in found} == {Severity.WARNING}
    assert problems_in(tmp_path, "", replace(DEPLOY, variables=("TOKEN", "VERSION"))) == []
    found = problems_of(tmp_path, replace(DEPLOY, is_deploy=False))
    assert {one.severity for one in found} == {Severity.NOTICE}


def test_the_example_that_trades_live_is_right() -> None:
    assert problems_of(EXAMPLES / "constant-value") == []
    for name in ("golden-cross", "rsi-reversion"):
        (problem,) = problems_of(EXAMPLES / name)
        assert "KeylessExchange" in problem.message
        assert "constant-value" in problem.hint
