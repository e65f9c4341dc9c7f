"""What a model does wrong most often, with the real packages: the right line, and what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from .conftest import ARGUMENTS, HEAD, START, TAIL, Model

KEYLESS = """
import blankly
from blankly.data import PriceReader

prices = PriceReader("./ASH-USD.csv", SYMBOL)
strategy = blankly.Strategy(blankly.KeylessExchange(price_reader=prices))
strategy.add_price_event(lambda *_: None, SYMBOL, resolution="1d")
"""


COLUMNS = "time,open,high,low,close,volume\n"


def hint_at(bot: Model, script: str, start: str) -> str:
    """Run a script that fails at the line that begins with `start`; return the hint."""
    bot.write("bot.py", script)
    ran = bot.run()
    (problem,) = ran.problems
    assert problem["path"] == "bot.py", problem
    line = (bot.root / "bot.py").read_text().splitlines()[problem["line"] - 1]
    assert line.strip().startswith(start), problem
    return str(problem["hint"])


@pytest.mark.parametrize(
    "line",
    [
        'pd.Timestamp("x")',
        "np.random.choice([], 1)",
        'pd.DataFrame({"a": [1]}, index=pd.to_datetime(["2023-01-01"])).resample("bogus").sum()',
        'blankly.data.PriceReader("./iso.csv", "ASH-USD")',
        'exec(compile("1 / 0", "x.py", "exec"))',
    ],
)
def test_an_exception_out_of_a_compiled_module_is_at_the_line_of_the_model(
    bot: Model, line: str
) -> None:
    bot.write("iso.csv", COLUMNS + "".join(f"2023-01-0{day},1,1,1,1,1\n" for day in range(1, 6)))
    hint_at(bot, f"import blankly\nimport numpy as np\nimport pandas as pd\n\n{line}\n", line[:9])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (COLUMNS + "2023-01-01,1,1,1,1,1\n" * 5, "as seconds since 1970"),
        (COLUMNS + "01/02/2023,1,1,1,1,1\n" * 5, "since 1970, in UTC. Its lines have to look like"),
        (COLUMNS.upper() + "1672531200,1,1,1,1,1\n" * 5, "rename the columns `TIME` to `time`, "),
        (COLUMNS + "1672531200,1,1,1,1,1\n" * 2, "give at least 3 rows"),
        (
            "Date;Price\n" + "2.1.2023;17.000\n" * 5,
            "add the columns `open`, `high`, `low`, `close`",
        ),
        ("Date;Price\n" + "2.1.2023;17.000\n" * 5, "commas instead of `;`"),
    ],
)
def test_a_file_of_prices_that_the_package_cannot_read(
    bot: Model, content: str, words: str
) -> None:
    bot.write("own.csv", content)
    line = 'blankly.data.PriceReader("./own.csv", "ASH-USD")'
    assert words in hint_at(bot, f"import blankly\n{line}\n", line)


USUAL = "Date,Open,High,Low,Close,Adj Close,Volume\n" + "".join(
    f"2023-01-{day:02},1.5,2,1,1.75,1.75,9000\n" for day in range(1, 31)
)


def test_all_that_is_wrong_with_a_usual_file_of_prices_is_said_at_once(bot: Model) -> None:
    """What the hint asks for is enough: names, seconds, and the period."""
    bot.write("own.csv", USUAL)
    script = HEAD.replace(
        '[f"./{symbol}.csv" for symbol in SYMBOLS], SYMBOLS', '"own.csv", "A-USD"'
    )
    script += 'strategy.add_price_event(lambda *_: None, "A-USD", resolution="1d")\n' + TAIL
    assert hint_at(bot, script, "prices = ") == (
        "own.csv: rename the columns `Date` to `time`, `Open` to `open`, `High` to `high`, `Low` "
        "to `low`, `Close` to `close`, `Volume` to `volume`; write the times as seconds since "
        "1970, in UTC: `2023-01-01` is 1672531200. Its lines have to look like "
        "`time,open,high,low,close,volume` and `1672531200,1.5,2,1,1.75,9000`. Its prices are from "
        "2023-01-01 to 2023-01-30, so ask for a period of these in backtest_args: "
        '"start_date": "2023-01-01", "end_date": "2023-01-30".'
    )
    rows = "".join(f"{START + day * 86_400},1.5,2,1,1.75,9000\n" for day in range(30))
    bot.write("own.csv", COLUMNS + rows)
    period = {"start_date": "2023-01-01", "end_date": "2023-01-30"}
    ran = bot.run(arguments={**ARGUMENTS, **period})
    assert not [one for one in ran.problems if one["severity"] == "error"]
    assert ran.result


def test_a_data_frame_of_prices_is_looked_at_too(bot: Model) -> None:
    bot.write("own.csv", USUAL)
    script = 'import blankly\nimport pandas\nframe = pandas.read_csv("own.csv")\n'
    script += 'blankly.data.PriceReader(frame, "A-USD")\n'
    hint = hint_at(bot, script, "blankly.data")
    assert hint.startswith("The data frame: rename the columns `Date` to `time`, `Open` to `open`")


def write_keys(bot: Model, keys: object) -> None:
    bot.write("keys.json", json.dumps(keys))


PORTFOLIO = {"API_KEY": "*" * 20, "API_SECRET": "*" * 20}


def test_an_unknown_portfolio_is_told_which_there_are(bot: Model) -> None:
    write_keys(bot, {"alpaca": {"live": PORTFOLIO, "spare": PORTFOLIO}})
    script = 'import blankly\nblankly.Alpaca(portfolio_name="paper")\n'
    hint = hint_at(bot, script, "blankly.Alpaca")
    assert "has the portfolios `live`, `spare` for alpaca" in hint
    assert "asks for `paper`" in hint
    assert "*" not in hint


def test_an_exchange_without_keys_is_told_which_have_some(bot: Model) -> None:
    write_keys(bot, {"alpaca": {"live": PORTFOLIO}, "oanda": {}})
    hint = hint_at(bot, "import blankly\nblankly.Binance()\n", "blankly.Binance")
    assert "has keys for `alpaca`, `oanda`" in hint
    assert "asks for `binance`" in hint


def test_keys_without_a_sandbox_setting(bot: Model) -> None:
    write_keys(bot, {"alpaca": {"live": PORTFOLIO}})
    hint = hint_at(bot, "import blankly\nblankly.Alpaca()\n", "blankly.Alpaca")
    assert 'Add "sandbox" to the portfolio in keys.json' in hint


def test_keys_without_an_entry(bot: Model) -> None:
    write_keys(bot, {"coinbase_pro": {"live": PORTFOLIO}})
    hint = hint_at(bot, "import blankly\nblankly.CoinbasePro()\n", "blankly.CoinbasePro")
    assert "Add the entry `API_PASS` to the portfolio" in hint


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('key = os.environ["ALPACA_API_KEY"]', "ALPACA_API_KEY"),
        ('key = os.environ["TELEGRAM_TOKEN"]', "TELEGRAM_TOKEN"),
        ('raise UndefinedValueError("BOT_KEY not found. Declare it as envvar.")', "BOT_KEY"),
        ("raise EnvError('Environment variable \"BOT_KEY\" not set')", "BOT_KEY"),
        ("raise EnvError('nothing')", "NAME"),
    ],
)
def test_a_variable_that_is_missing_belongs_into_an_input(bot: Model, line: str, name: str) -> None:
    """The last ones are of the packages python-decouple and environs."""
    classes = "class UndefinedValueError(Exception): pass\nclass EnvError(ValueError): pass\n"
    hint = hint_at(bot, f"import os\nimport blankly\n{classes}{line}\n", line.split(maxsplit=1)[0])
    assert "`model-env`" in hint
    assert f"give it as `{name}=VALUE`" in hint


def test_a_key_of_a_mapping_is_no_variable(bot: Model) -> None:
    assert hint_at(bot, 'import blankly\nkey = {}["ALPACA_API_KEY"]\n', "key =") == ""


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("pd.DataFrame().append({})", "pandas<2 "),
        ("pd.Series(dtype=float).iteritems()", "pandas<2 "),
        ("np.float(1)", "numpy<1.24 "),
    ],
)
def test_what_newer_packages_removed(bot: Model, line: str, version: str) -> None:
    script = f"import blankly\nimport numpy as np\nimport pandas as pd\n{line}\n"
    assert f"write {version}into the requirements" in hint_at(bot, script, line)


def test_a_strategy_without_events(bot: Model) -> None:
    (problem,) = bot.run(HEAD + TAIL).problems
    assert problem["message"].startswith("LookupError: No prices added.")
    assert "strategy.add_price_event(" in problem["hint"]


def test_a_symbol_without_its_quote(bot: Model) -> None:
    (problem,) = bot.run(KEYLESS.replace("SYMBOL", '"BND"')).problems
    assert "Failed to quote BND-USD" in problem["message"]
    assert "call the symbol `BND-USD`" in problem["hint"]


def test_a_line_of_a_notebook(bot: Model) -> None:
    hint = hint_at(bot, "import blankly\n!pip install blankly\n", "!pip")
    assert "work in notebooks only" in hint


class Refusing(BaseHTTPRequestHandler):
    """An exchange that serves other countries only."""

    def do_GET(self) -> None:
        self.send_error(451)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_an_exchange_that_refuses_the_place(bot: Model, refusing: str) -> None:
    script = f'import blankly\nimport requests\nrequests.get("{refusing}").raise_for_status()\n'
    hint = hint_at(bot, script, "requests.get")
    assert "refuses requests from where this machine is" in hint
    assert "KeylessExchange" in hint


def test_too_little_memory(bot: Model) -> None:
    script = "import blankly\nimport numpy\nnumpy.ones((1 << 50,))\n"
    assert "Load less at once" in hint_at(bot, script, "numpy.ones")


def test_code_outside_the_model(bot: Model) -> None:
    script = "import blankly\nfrom common.util import size\n"
    hint = hint_at(bot, script, "from common")
    assert "the package that provides `common`" in hint
    assert "it is outside the model" in hint
    assert "`include: libs/common`" in hint


def test_a_price_of_a_keyless_exchange_outside_the_backtest(bot: Model) -> None:
    script = HEAD + 'print(exchange.interface.get_price("ASH-USD"))\n'
    assert "ask for them in callbacks" in hint_at(bot, script, "print")


@pytest.mark.parametrize(
    ("step", "times", "resolution", "words"),
    [
        (86_400_000, 1, "1d", "divide the column `time` by 1000"),
        (86_400, 2, "1d", "leave each bar there once"),
        (86_400, 1, "1h", "no bars of 3,600 seconds: ask for the resolution that they have"),
    ],
    ids=["milliseconds", "doubles", "other resolution"],
)
def test_prices_that_do_not_fit_say_how_to_mend_them(
    bot: Model, step: int, times: int, resolution: str, words: str
) -> None:
    start = START * (1000 if step > 86_400 else 1)
    bars = [f"{start + day * step},1,1,1,1,1\n" * times for day in range(60)]
    bot.write("ASH-USD.csv", COLUMNS + "".join(bars))
    bot.write(
        "bot.py", KEYLESS.replace("SYMBOL", '"ASH-USD"').replace('"1d"', f'"{resolution}"') + TAIL
    )
    ran = bot.run()
    assert words in str(ran.problems[0]["hint"]), ran.problems
