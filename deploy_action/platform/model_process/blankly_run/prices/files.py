"""Says all that is wrong with a file of prices that the package cannot read, with an example."""

from __future__ import annotations

import csv
import datetime as dt
import os
import time
from contextlib import suppress
from typing import Any, Iterable, Iterator, NamedTuple, Sequence

from ..strict_json import describe  # noqa: TID252  # as in `keeping`

_READER = "blankly.data.data_reader"
_COLUMNS = ("time", "open", "high", "low", "close", "volume")
# How others call the column `time`, in lower case.
_TIMES = ("date", "datetime", "timestamp", "open time", "open_time", "unix", "date/time", "")
_EXAMPLE = ("1672617600", "16617.17", "16799.23", "16548.7", "16672.87", "136027.96")
_LEAST_ROWS = 3
_MOST_FILES = 3
_MOST_BYTES = 256 << 20
_LONGEST = 40
_FRESH = 2 * 86_400  # seconds
_EARLIEST = 5_000_000_000  # from here on, the package takes times for milliseconds


class _Table(NamedTuple):
    """What a file or a data frame holds: its columns, its first and last row, how many it has."""

    name: str
    columns: Sequence[str]
    first: Sequence[str]
    last: Sequence[str]
    length: int
    separator: str = ","


def about_price_files(error: BaseException) -> str:
    """Return what is wrong with the files that a reader of the package was given; blank if nothing.

    Prices are sorted by time as the package does: the first row may be the latest.
    """
    paths: Any = None
    columns: Sequence[str] = _COLUMNS
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_globals.get("__name__") != _READER:
            continue
        if frame.f_code.co_name == "__init__":
            paths = frame.f_locals.get("file_paths")
        wanted = frame.f_locals.get("columns")
        if isinstance(wanted, set):
            columns = sorted(wanted, key=lambda one: (*_COLUMNS, one).index(one))
    if not isinstance(paths, list):
        return ""
    found = []
    for path in paths:
        with suppress(Exception):  # the script may pass anything
            table = _read(path)
            faults = list(_faults(table, columns))
            if faults:
                found.append(f"{table.name}: {'; '.join(faults)}.{_form(table, columns)}")
    more = f" So it is with {len(found) - _MOST_FILES} more." if len(found) > _MOST_FILES else ""
    return " ".join(found[:_MOST_FILES]) + more


def _read(path: Any) -> _Table:
    if not isinstance(path, str):  # a data frame
        first, last = ([str(cell) for cell in path.iloc[at].tolist()] for at in (0, -1))
        return _Table("The data frame", [str(one) for one in path.columns], first, last, len(path))
    if not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
        raise ValueError("it is no file, or too large to look at")
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        head = file.readline()
        separator = next((one for one in ",;\t" if one in head), ",")
        file.seek(0)
        rows = csv.reader(file, delimiter=separator)
        columns = next(rows)
        first, last, count = [], [], 0
        for row in filter(None, rows):
            first, last, count = first or row, row, count + 1
    return _Table(describe(path), columns, first, last, count, separator)


def _faults(table: _Table, columns: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong, each as what to do."""
    if table.separator != ",":
        what = "tabs" if table.separator == "\t" else f"`{table.separator}`"
        yield f"separate the columns by commas instead of {what}"
    sources = {name: _source(table.columns, name) for name in columns}
    renamed = [
        f"`{_cut(table.columns[at])}` to `{name}`"
        for name, at in sources.items()
        if at is not None and table.columns[at] != name
    ]
    if renamed:
        yield f"rename the column{'s' if len(renamed) > 1 else ''} {', '.join(renamed)}"
    missing = [f"`{name}`" for name, at in sources.items() if at is None]
    if missing:
        yield f"add the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
    date = _cell(table.first, sources.get("time"))
    if date is not None and not _is_number(date):
        seconds = _seconds(date)
        known = "" if seconds is None else f": `{_cut(date)}` is {seconds:.0f}"
        yield f"write the times as seconds since 1970, in UTC{known}"
    words = [
        cell
        for name, at in sources.items()
        if name != "time" and (cell := _cell(table.first, at)) is not None and not _is_number(cell)
    ]
    if words:
        yield f"write prices as plain numbers, unlike `{_cut(words[0])}`"
    if table.length < _LEAST_ROWS:
        yield f"give at least {_LEAST_ROWS} rows"


def _form(table: _Table, columns: Sequence[str]) -> str:
    """Return what the file should look like, with its own first row if that can be converted."""
    sources = [_source(table.columns, name) for name in columns]
    row = [_cell(table.first, at) for at in sources]
    times = [_seconds(_cell(one, sources[0])) for one in (table.first, table.last)]
    if times[0] is not None:
        row[0] = f"{times[0]:.0f}"
    if not all(cell is not None and _is_number(cell) for cell in row):
        row = [*_EXAMPLE[: len(columns)]]
    shown = f" Its lines have to look like `{','.join(columns)}` and `{','.join(map(str, row))}`."
    known = sorted(one for one in times if one is not None)
    if len(known) > 1 and known[-1] < time.time() - _FRESH:
        start, end = (
            dt.datetime.fromtimestamp(one, dt.timezone.utc).strftime("%Y-%m-%d") for one in known
        )
        shown += (
            f" Its prices are from {start} to {end}, so ask for a period of these in backtest_args:"
            f' "start_date": "{start}", "end_date": "{end}".'
        )
    return shown


def _source(columns: Sequence[str], name: str) -> int | None:
    """Return where the column is, by its name or another spelling of it."""
    if name in columns:
        return columns.index(name)
    spelled = [one.strip().lower() for one in columns]
    names: Iterable[str] = (name, *_TIMES) if name == "time" else (name,)
    return next((spelled.index(one) for one in names if one in spelled), None)


def _cell(row: Sequence[str], at: int | None) -> str | None:
    return None if at is None or at >= len(row) else row[at].strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _seconds(text: str | None) -> float | None:
    """Return a time as seconds since 1970; None for what could be read in more than one way."""
    if text is None:
        return None
    if _is_number(text):
        seconds = float(text)
        while _EARLIEST < seconds < float("inf"):
            seconds /= 10
        return seconds
    try:
        found = dt.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=dt.timezone.utc)).timestamp()


def _cut(text: str) -> str:
    shown = describe(text).replace("`", "'")
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
