"""What to do about exceptions that models often meet, by the words of Python and of packages.

The texts of the `blankly` package are those of 1.18.25b0. A hint never quotes a value of keys.json,
only the names in it.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any, Callable, Iterator

from .prices.files import about_price_files
from .strict_json import describe

_MOST_NAMES = 10
_LONGEST_NAME = 40
KEYS = (
    "An exchange asks for keys: pass the contents of keys.json as `keys-json` (on a terminal, in "
    "the variable `INPUT_KEYS-JSON`), or read prices from a file with blankly.KeylessExchange, "
    "which needs none."
)
_SANDBOX = (
    'Add "sandbox" to the portfolio in keys.json, beside "API_KEY": true for keys of a paper '
    "trading account or a test net, else false."
)
_NETWORK = (
    "Prices come over the network: check that this machine can reach the exchange. "
    "blankly.KeylessExchange reads prices from a file of the model and needs no network."
)
REFUSED_PLACE = (
    "The exchange refuses requests from where this machine is: runners hosted by GitHub are in the "
    "United States, and some exchanges serve other countries only. Read the prices from a file of "
    "the model with blankly.KeylessExchange, which asks no exchange (a price cache of the model "
    "can be such a file), or run the backtest on a machine elsewhere."
)
_NUMPY_BUILD = (
    "A compiled package was built for numpy 1: write numpy<2 and pandas<2.2 into the requirements."
)
_NO_DATA = (
    "Set a period for which there are prices in backtest_args: to, or start_date with end_date."
)
_NO_EVENTS = (
    "The strategy has no event with prices when its backtest begins. Add one before that, such as "
    'strategy.add_price_event(on_price, "BTC-USD", resolution="1d"), also where the script is '
    "imported and not only by hand. With scheduled events alone, add prices with "
    "strategy.add_prices(…)."
)
# By the package's function that fails on a file of prices.
_PRICE_FILES = {
    "convert_epochs": (
        "PriceReader reads the column `time` as seconds since 1970, as numbers. Convert dates "
        "first, such as with int(pandas.Timestamp(date).timestamp())."
    ),
    "_parse_csv_prices": (
        "A CSV file of prices needs the columns time, open, high, low, close and volume, with "
        "these names."
    ),
    "_check_length": "A file of prices needs at least three rows.",
}
_MEMORY = "Load less at once: a shorter period, fewer symbols, or longer bars."
_OWN_FILES = (
    "Use paths relative to working_directory, or below tempfile.gettempdir(): of the machine that "
    "the model was written on, only the model's own files are there when it runs. What a backtest "
    "writes is removed after it."
)
_NOTEBOOK = (
    "Lines that begin with `!` or `%` work in notebooks only: take them out, and write the "
    "packages that they install into the requirements."
)
_KEYLESS_LIVE = (
    "A KeylessExchange has current prices only while the backtest runs: ask for them in callbacks, "
    "through state.interface."
)
_VARIABLES = (
    "A model has the variables of the input `model-env` and no others of the workflow or of the "
    "terminal: give it as `{name}=VALUE`, a line of that input (on a terminal, of "
    "the variable `INPUT_MODEL-ENV`). "
    "Keys of an exchange can also go into keys.json, which `keys-json` passes on. Pull requests "
    'from forks get no secrets: a backtest can do without, where os.environ.get("BACKTESTING") == '
    '"1".'
)
# What to say instead while the model trades.
_LIVE = {
    KEYS: (
        "An exchange asks for keys: pass the contents of keys.json as `keys-json` (on a terminal, "
        "in the variable `INPUT_KEYS-JSON`) when you deploy the model."
    ),
    _NETWORK: (
        "The exchange could not be reached. If that lasts, check the network of this machine and "
        "the exchange's own status page."
    ),
    REFUSED_PLACE: (
        "The exchange refuses requests from where this machine is. Run the model on a machine in a "
        "country that the exchange serves."
    ),
    _KEYLESS_LIVE: (
        'Use a KeylessExchange only where os.environ.get("BACKTESTING") == "1", and an exchange '
        "with keys otherwise, such as blankly.Alpaca()."
    ),
    _NO_DATA: "The exchange has no prices for this period.",
    _MEMORY: "Load less at once, or deploy it with a larger plan (the input `plan`).",
}

# What pandas 2 and numpy removed, as AttributeError says it.
_GONE_FROM_PANDAS = re.compile(
    r"'(?:DataFrame|Series)' object has no attribute '(append|iteritems|mad|lookup|tshift)'"
)
_INSTEAD = {"append": "pandas.concat", "iteritems": "items()"}
_GONE_FROM_NUMPY = re.compile(
    r"module 'numpy' has no attribute '(?:bool|int|float|complex|object|str)'"
)
_GONE_FROM_NUMPY_2 = re.compile(
    r"was removed in the numpy 2\.0 release|cannot import name 'nan' from 'numpy'"
)
_ELSEWHERE = re.compile(r"[/~]|[A-Za-z]:[\\/]")
_UNQUOTED = re.compile(r"Failed to quote (\S+)-(\S+) because no downloaded data")
_NO_RESOLUTION = re.compile(r"The resolution (\d{1,12}) not found or downloaded")
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9_]{2,}\b")
_MISSING_KEY = re.compile(r"Please add the \"(\w+)\" key to the keys\.json file")


def find_hint(chain: Iterator[BaseException], root: str, *, is_live: bool = False) -> str:
    """Return the hint for the first exception of a chain that has one, else a blank text.

    `root` is the model's directory, an absolute path without links. What helps a backtest may not
    help a model that `is_live`.
    """
    found = next(filter(None, (_hint(error, root) for error in chain)), "")
    return _LIVE.get(found, found) if is_live else found


def _hint(error: BaseException, root: str) -> str:
    text = describe(error)
    found = next(filter(None, (find(error, text) for find in _FINDERS)), "")
    return found or (_of_files(error, text.lower(), root) if isinstance(error, OSError) else "")


def _of_keys_file(error: BaseException, text: str) -> str:
    """Say which exchanges and portfolios the keys file has, and what an entry lacks."""
    if "No sandbox setting found" in text:
        return _SANDBOX
    if found := _MISSING_KEY.search(text):
        return f"Add the entry `{found[1]}` to the portfolio in keys.json."
    if not isinstance(error, KeyError):
        return ""
    local = _locals_of_load_auth(error)
    exchange = describe(local.get("exchange_type"))
    if "Cannot find exchange" in text:
        has = _names(local.get("auth_object"), "keys for", "no keys")
        return (
            f"The keys file has {has}, but the script asks for `{exchange}`. Add them to what "
            "`keys-json` passes on (on a terminal, the variable `INPUT_KEYS-JSON`), or use an "
            "exchange that it has."
        )
    if "name" in local:
        has = _names(local.get("exchange_keys"), "the portfolios", "no portfolio")
        return (
            f"The keys file has {has} for {exchange}, but the script asks for "
            f"`{_cut(local['name'])}`. Pass the name of one that it has as portfolio_name, or name "
            "it so in the keys."
        )
    return ""


def _locals_of_load_auth(error: BaseException) -> dict[str, Any]:
    """Return the variables of the package's `load_auth`, if the exception was raised in it."""
    frame = _innermost(error)
    if frame is None or frame.f_code.co_name != "load_auth":
        return {}
    return dict(frame.f_locals)


def _names(entries: Any, what: str, nothing: str) -> str:
    names = [describe(name) for name in entries] if isinstance(entries, dict) else []
    if not names:
        return nothing
    shown = ", ".join(f"`{_cut(name)}`" for name in names[:_MOST_NAMES])
    return f"{what} {shown}" + (" and more" if len(names) > _MOST_NAMES else "")


def _cut(value: object) -> str:
    """Return a name that fits into a code span of a sentence."""
    name = describe(value).replace("`", "'")
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _of_variables(error: BaseException, text: str) -> str:
    frame = _innermost(error)
    if isinstance(error, KeyError) and frame is not None:
        is_environ = frame.f_locals.get("self") is os.environ
        if is_environ and frame.f_code.co_name in ("__getitem__", "__delitem__"):
            name = describe(error.args[0]) if error.args else ""
            return _VARIABLES.format(name=_cut(name))
    # Of the packages python-decouple and environs.
    if type(error).__name__ in ("UndefinedValueError", "EnvError"):
        found = _VARIABLE.search(text)
        return _VARIABLES.format(name=_cut(found[0]) if found else "NAME")
    return ""


def _of_versions(_: BaseException, text: str) -> str:
    lower = text.lower()
    if "numpy.dtype size changed" in lower or "numpy.core.multiarray failed to import" in lower:
        return _NUMPY_BUILD
    if found := _GONE_FROM_PANDAS.search(text):
        instead = _INSTEAD.get(found[1])
        return "pandas 2 removed it: write pandas<2 into the requirements" + (
            f", or use {instead} instead." if instead else "."
        )
    if _GONE_FROM_NUMPY.search(text):
        return "numpy 1.24 removed it: write numpy<1.24 into the requirements, or leave `np.` out."
    if _GONE_FROM_NUMPY_2.search(lower):
        return "numpy 2 removed it: write numpy<2 and pandas<2.2 into the requirements."
    return ""


def _of_imports(error: BaseException, _: str) -> str:
    if not isinstance(error, ImportError):
        return ""
    if not isinstance(error, ModuleNotFoundError):
        return "Require the package versions that the model was written for."
    return (
        f"Add the package that provides `{describe(error.name)}` to the requirements. If it is "
        "code of your own, it is outside the model, or ignore_files excludes it: only the bundle "
        "is there when the model runs. The input `include` puts code that several models share "
        "into the bundle, as in `include: libs/common`."
    )


def _of_bars(_: BaseException, text: str) -> str:
    if found := _NO_RESOLUTION.search(text):
        return (
            f"The prices that the script gives have no bars of {int(found[1]):,} seconds: ask for "
            "the resolution that they have where the script adds its event, or give PriceReader a "
            "file with such bars."
        )
    if "Resolution is 0 for " in text:
        return "Two rows of the file of prices have the same time: leave each bar there once."
    return ""


def _of_prices(error: BaseException, text: str) -> str:
    if found := _UNQUOTED.search(text):
        base, quote = _cut(found[1]), _cut(found[2])
        return (
            f"The account is valued in {quote}, and the model has no prices of `{base}-{quote}`. "
            f"If these are prices of `{base}` in {quote}, call the symbol `{base}-{quote}` "
            "wherever the model names it. If its prices are in another currency, set "
            "quote_account_value_in in backtest.json to that."
        )
    if text.startswith(("No prices added", "'No prices added")):
        return _NO_EVENTS
    if isinstance(error, (TypeError, ValueError, LookupError, AssertionError)) and (
        in_files := about_price_files(error)
    ):
        return in_files
    if "Cannot use a keyless exchange in live trading" in text:
        return _KEYLESS_LIVE
    frame = _innermost(error)
    if isinstance(error, (TypeError, AssertionError)) and frame is not None:
        is_packages = str(frame.f_globals.get("__name__")).startswith("blankly.")
        return _PRICE_FILES.get(frame.f_code.co_name, "") if is_packages else ""
    is_empty = "No data given" in text or "No cached or downloaded data" in text
    return _NO_DATA if is_empty else ""


def _of_python(error: BaseException, _: str) -> str:
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, SyntaxError):
        line = error.text.lstrip() if isinstance(error.text, str) else ""
        return _NOTEBOOK if line[:1] in ("!", "%") else ""
    return ""


def _of_files(error: OSError, text: str, root: str) -> str:
    """Say which files a model has where it runs."""
    if isinstance(error, PermissionError):
        return _OWN_FILES
    if not isinstance(error, FileNotFoundError):
        return ""
    for name in ("settings.json", "backtest.json"):
        if f"make sure a {name}" in text or text.endswith(f"{name}'"):
            return (
                f"Put {name} into the model's working_directory (`blankly init` writes one), and "
                "check that ignore_files does not exclude it."
            )
    path = error.filename
    is_elsewhere = isinstance(path, str) and _ELSEWHERE.match(path) is not None
    if is_elsewhere and not os.path.realpath(path).startswith(root + os.sep):
        return _OWN_FILES
    return (
        "Paths are relative to working_directory, and only files of the bundle are there: check "
        "that ignore_files does not exclude it."
    )


def _of_missing_keys(error: BaseException, text: str) -> str:
    """Find missing or wrong keys, by the words of the package and of exchanges."""
    if type(error).__name__ in ("AuthError", "AuthenticationError"):
        return KEYS
    words = ("keys.json", "the keys file", "api key", "api-key", "apikey", "unauthorized")
    is_other = isinstance(error, (ImportError, AttributeError, SyntaxError))
    return KEYS if not is_other and any(word in text.lower() for word in words) else ""


def _of_network(error: BaseException, text: str) -> str:
    if _is_refused_place(error, text.lower()):
        return REFUSED_PLACE
    if isinstance(error, (ConnectionError, socket.timeout, socket.gaierror)):
        return _NETWORK
    libraries = ("requests", "urllib3", "websocket", "websockets", "aiohttp", "httpx")
    is_of_library = any(
        kind.__module__.partition(".")[0] in libraries
        for kind in type(error).__mro__
        if "Connect" in kind.__name__ or "Timeout" in kind.__name__ or "SSL" in kind.__name__
    )
    return _NETWORK if is_of_library else ""


def _is_refused_place(error: BaseException, text: str) -> bool:
    """Return whether it is HTTP's 451, or what Binance says with it."""
    if "unavailable for legal reasons" in text or "restricted location" in text:
        return True
    response = getattr(error, "response", None)
    names = ("status_code", "status", "code")  # of requests, aiohttp and urllib
    statuses = (getattr(one, name, None) for one in (error, response) for name in names)
    return any(status == 451 for status in statuses)  # noqa: PLR2004  # its number in HTTP


def _innermost(error: BaseException) -> Any:
    """Return the frame that raised the exception, or None."""
    trace, frame = error.__traceback__, None
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
    return frame


# The first one that knows the exception has the word; those that look for few words come last.
_FINDERS: tuple[Callable[[BaseException, str], str], ...] = (
    _of_keys_file,
    _of_variables,
    _of_versions,
    _of_imports,
    _of_bars,
    _of_prices,
    _of_network,
    _of_missing_keys,
    _of_python,
)
