"""Pins what would make two runs of the same bytes differ: directories, chance, "now", ids.

The hash seed and the number of threads are pinned by variables of the process, which has to be
started with them.
"""

from __future__ import annotations

import datetime as dt
import importlib
import itertools
import os
import sys
import types
from typing import Any, Callable, Iterable, Iterator

SEED = 0
_INTERFACES = "blankly.exchanges.interfaces"
# Where blankly 1.18.25b0 counts back from the time of the clock: `to` of a backtest, `to` of a
# history before it, and the last bar that exchanges are asked for.
_CLOCKS = (
    (f"{_INTERFACES}.paper_trade.backtest_controller", "time"),
    (f"{_INTERFACES}.alpaca.alpaca_interface", "time"),
    (f"{_INTERFACES}.okx.okx_interface", "time"),
    (f"{_INTERFACES}.abc_base_exchange_interface", "dt"),
)
# Where it makes ids by chance: of a backtest's result, and of its orders.
_RESULTS = f"{_INTERFACES}.paper_trade.backtest.format_platform_result"
_ORDERS = (f"{_INTERFACES}.paper_trade.utils", "generate_coinbase_pro_id")


def pin_directories() -> None:
    """List directories in the order of their names, not in that of the file system.

    `os.walk`, `glob` and `pathlib` use these two functions, too.
    """
    listdir, scandir = _sorted_list(os.listdir), _sorted_scan(os.scandir)
    os.listdir, os.scandir = listdir, scandir
    os.supports_fd.update([listdir, scandir])
    # Before Python 3.11, pathlib has taken the functions when it was imported.
    accessor: Any = getattr(sys.modules.get("pathlib"), "_NormalAccessor", None)
    if accessor is not None:
        accessor.listdir, accessor.scandir = staticmethod(listdir), staticmethod(scandir)


def pin_chance() -> None:
    """Seed the generators that modules share; ones that a model makes are its own affair.

    The modules were imported by the package: importing them here could get a file of the model.
    """
    for module in (sys.modules.get("random"), getattr(sys.modules.get("numpy"), "random", None)):
        if module is not None:
            module.seed(SEED)


def pin_now(now: float) -> None:
    """Let the package count back from a given time, in seconds since 1970, not from the clock."""
    for name, attribute in _CLOCKS:
        try:
            module: Any = importlib.import_module(name)
        except ImportError:  # another version of the package, without this exchange
            continue
        original = getattr(module, attribute, None)
        if original is not None:
            is_time = attribute == "time"
            pinned = _replaced(original, "time", lambda: now) if is_time else _pinned_date(now)
            setattr(module, attribute, pinned)


def pin_ids() -> None:
    """Let the package give its results and orders ids in order, the same ones in each run.

    They look like those that it makes by chance. A model that makes ids of its own is not affected.
    """
    try:
        results: Any = importlib.import_module(_RESULTS)
        orders: Any = importlib.import_module(_ORDERS[0])
        uuid, _ = results.uuid, getattr(orders, _ORDERS[1])
    except (ImportError, AttributeError):  # another version of the package
        return
    numbers = itertools.count(1)

    def next_id() -> Any:
        mixed = uuid.uuid5(uuid.NAMESPACE_OID, str(next(numbers)))
        return uuid.UUID(bytes=mixed.bytes, version=4)

    results.uuid = _replaced(uuid, "uuid4", next_id)
    setattr(orders, _ORDERS[1], lambda: str(next_id()))


def _replaced(module: Any, name: str, function: Callable[[], Any]) -> Any:
    """Return what looks like a module, with another function."""
    pinned = types.ModuleType(module.__name__)
    pinned.__dict__.update(vars(module))
    pinned.__dict__[name] = function
    return pinned


def _pinned_date(now: float) -> Any:
    class PinnedDate(dt.datetime):
        """A `datetime` that always has the same time."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return dt.datetime.fromtimestamp(now, tz)

    return PinnedDate


def _sorted_list(original: Callable[..., Iterable[Any]]) -> Any:
    def listdir(path: Any = ".") -> Any:
        return sorted(original(path))

    return listdir


def _sorted_scan(original: Callable[..., Any]) -> Any:
    def scandir(path: Any = ".") -> Any:
        with original(path) as entries:
            return _Entries(sorted(entries, key=lambda entry: entry.name))

    return scandir


class _Entries:
    """The entries of a directory, with the interface of what `os.scandir` returns."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the rest, as `os.scandir` does."""
        self._entries = iter(())
