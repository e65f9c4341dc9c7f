"""Answers the package's downloads with kept prices, and has the platform keep what is new.

The stores are directories that only the platform writes to. The process puts a new file into its
outbox and tells the platform, which moves it into the first store. Whoever downloads holds a lock
meanwhile, so that of several backtests at once one downloads, and the others read.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import math
import os
import sys
import time
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, List, Sequence, Tuple

from ..events import Events  # noqa: TID252  # `blankly_run` is not a package that is installed
from .downloads import watched
from .pieces import DamagedPieceError, Piece, list_pieces, make_piece

_MOST_DOWNLOADS = 50  # for one series; more means that something goes wrong
_OVERLAP = 5  # bars, to see whether what is kept still holds
_COMPARED = ("open", "high", "low", "close")
_HANDOVER_SECONDS = 60.0
_PAUSE_SECONDS = 0.005

Range = Tuple[int, int]
Chosen = List[Tuple[Piece, Range]]


class Download:
    """What the package asks an exchange for."""

    def __init__(
        self, series: str, symbol: str, start: float, stop: float, resolution: int
    ) -> None:
        self.series = series
        self.symbol = symbol
        self.start = start
        self.stop = stop
        self.resolution = resolution
        self.first, self.last = math.ceil(start), math.floor(stop)


class KeptPrices:
    """The kept prices of a model, as one backtest sees them."""

    def __init__(
        self,
        places: Sequence[str],
        events: Events,
        tell: Callable[[str], None],
    ) -> None:
        """`places` are the outbox and the stores; `tell` adds a notice to the result.

        The package has been imported, and with it pandas.
        """
        self._outbox, *self._stores = places
        self._events = events
        self._tell = tell
        self._pandas: Any = sys.modules["pandas"]
        self._process = os.getpid()

    @property
    def is_our_process(self) -> bool:
        """Whether this is the original process, not one that the model forked."""
        return os.getpid() == self._process

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other backtest of the model downloads, and keep others waiting."""
        try:
            descriptor = os.open(self._stores[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:  # the platform removed it
            yield
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Waiting for another backtest of this model that downloads prices.")  # noqa: T201  # to the log
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def answer(self, asked: Download, now: int, ask: Callable[[float, float], Any]) -> Any:
        """Return the bars of a download; `ask` downloads from a start to a stop."""
        raised: list[BaseException] = []

        def watched(start: float, stop: float) -> Any:
            try:
                return ask(start, stop)
            except BaseException as error:
                raised[:] = [error]
                raise

        try:
            return self._answer(asked, now, watched)
        except Exception as error:
            if error in raised:
                raise
            # What an exchange of the model's own returns may be anything.
            print(f"Prices of {asked.symbol} are not kept: {type(error).__name__}: {error}")  # noqa: T201  # to the log
            return ask(asked.start, asked.stop)

    def _answer(self, asked: Download, now: int, ask: Callable[[float, float], Any]) -> Any:
        pieces = list_pieces(self._stores, asked.series)
        for _ in range(_MOST_DOWNLOADS):
            try:
                pieces = self._consistent(pieces, now)
                chosen, gap = self._choose(pieces, asked, now)
                if gap is None:
                    return self._join(chosen, asked)
                frame, span = _fill(gap, asked, ask)
                if "time" not in frame.columns:
                    return frame
                piece, content = make_piece(
                    asked.series, frame, span, now, time.time(), asked.resolution
                )
                piece.holds(content, self._pandas)
                if not all(self._agree(old, piece, now) for old in pieces):
                    pieces = self._forget(pieces, asked, now)
                    continue
            except DamagedPieceError as error:
                pieces.remove(error.piece)
                self._drop(error.piece)
                self._tell(
                    f"A file with kept prices of {asked.symbol} was damaged. They were "
                    "downloaded again."
                )
                continue
            pieces.append(piece)
            self._hand_over(piece, content)
        raise RuntimeError(f"they are in more than {_MOST_DOWNLOADS} pieces")

    def _consistent(self, pieces: list[Piece], now: int) -> list[Piece]:
        """Leave out pieces of other stores that have other prices than ours at the same times.

        What an exchange has changed is dropped from our own store only.
        """
        own = [piece for piece in pieces if piece.store in (None, self._stores[0])]
        return [
            piece
            for piece in pieces
            if piece in own or all(self._agree(piece, other, now) for other in own)
        ]

    def _choose(
        self, pieces: list[Piece], asked: Download, now: int
    ) -> tuple[Chosen, Range | None]:
        """Return what answers a download, and the first part that nothing does, if any.

        Of several the oldest one: so what is added meanwhile changes nothing for the next reader.
        """
        for piece in pieces:
            if piece.now == now and piece.asked == (asked.first, asked.last):
                return [(piece, piece.asked)], None
        ranges = [(piece, piece.known(now)) for piece in pieces]
        chosen: Chosen = []
        at = asked.first
        while at <= asked.last:
            for piece, (first, last) in ranges:
                if first <= at <= last:
                    chosen.append((piece, (at, min(last, asked.last))))
                    at = last + 1
                    break
            else:
                next_one = min([first for _, (first, _) in ranges if first > at], default=math.inf)
                end = int(min(next_one - 1, asked.last))
                if not self._is_too_short(chosen, end, asked.resolution):
                    return chosen, (at, end)
                at = end + 1
        return chosen, None

    def _is_too_short(self, chosen: Chosen, end: int, resolution: int) -> bool:
        """Return whether no bar can begin between the last chosen one and `end`."""
        if not chosen:
            return False
        piece, span = chosen[-1]
        times = _within(piece.frame(self._pandas), span)["time"]
        return len(times) > 0 and times.max() + resolution > end

    def _join(self, chosen: Chosen, asked: Download) -> Any:
        frames = []
        for piece, span in chosen:
            frame = piece.frame(self._pandas)
            if piece.asked == (asked.first, asked.last):
                return frame.copy()  # with what the exchange sent beyond it, as the package would
            frames.append(_within(frame, span))
        filled = [frame for frame in frames if len(frame)] or frames[:1]
        return self._pandas.concat(filled, ignore_index=True)

    def _agree(self, old: Piece, new: Piece, now: int) -> bool:
        """Return whether a kept piece has the prices that a new one has at the same times."""
        known, found = old.known(now), new.known(now)
        shared = max(known[0], found[0]), min(known[1], found[1])
        if old.now == now or shared[0] > shared[1]:
            return True
        before, after = (
            _within(piece.frame(self._pandas), shared).drop_duplicates("time").set_index("time")
            for piece in (old, new)
        )
        names = [name for name in _COMPARED if name in before.columns and name in after.columns]
        return bool(before[names].astype(float).equals(after[names].astype(float)))

    def _forget(self, pieces: list[Piece], asked: Download, now: int) -> list[Piece]:
        """Drop what was kept by earlier runs: the exchange has changed its prices since."""
        self._tell(
            f"The exchange has changed prices of {asked.symbol} that were kept from earlier runs, "
            "as it does after a split or a dividend. They were downloaded again."
        )
        for piece in pieces:
            if piece.now != now:
                self._drop(piece)
        return [piece for piece in pieces if piece.now == now]

    def _hand_over(self, piece: Piece, content: bytes) -> None:
        """Give a piece to the platform, and wait until it has it or refuses it."""
        path = os.path.join(self._outbox, piece.name)
        with suppress(OSError):
            with open(path, "wb") as file:
                file.write(content)
            self._events.send("prices", keep=piece.name)
            end = time.monotonic() + _HANDOVER_SECONDS
            while os.path.lexists(path) and time.monotonic() < end:
                time.sleep(_PAUSE_SECONDS)

    def _drop(self, piece: Piece) -> None:
        if piece.store == self._stores[0]:
            self._events.send("prices", drop=piece.name)


def keep_prices(controllers: Any, kept: KeptPrices | None) -> None:
    """Have the package's downloads watched, and answered by what is kept; None keeps nothing."""
    controller = controllers.BackTestController
    original = controller.sync_prices

    @functools.wraps(original)
    def sync_prices(self: Any) -> Any:
        interface = self.interface
        is_keyless = interface.get_exchange_type() == "keyless"
        # The model may have put something of its own in the place of the download.
        if is_keyless or "get_product_history" in vars(interface):
            return original(self)
        download = watched(interface)
        if kept is None or not kept.is_our_process:
            with _answering(interface, download):
                return original(self)
        source = _source(interface)

        def history(symbol: str, epoch_start: float, epoch_stop: float, resolution: int) -> Any:
            series = _series([source, symbol, int(resolution)])
            asked = Download(series, symbol, epoch_start, epoch_stop, int(resolution))
            # What the package takes for the time: the same in all backtests of a run.
            now = int(controllers.time.time())
            return kept.answer(
                asked, now, lambda start, stop: download(symbol, start, stop, resolution)
            )

        with kept.locked(), _answering(interface, history):
            return original(self)

    controller.sync_prices = sync_prices


@contextmanager
def _answering(interface: Any, history: Callable[..., Any]) -> Iterator[None]:
    """Have the downloads of an interface answered by `history` meanwhile."""
    interface.get_product_history = history
    try:
        yield
    finally:
        del interface.get_product_history


def _fill(gap: Range, asked: Download, ask: Callable[[float, float], Any]) -> tuple[Any, Range]:
    """Download a gap, with some bars around it that are kept; or everything, if that fails."""
    extra = _OVERLAP * asked.resolution
    first = gap[0] if gap[0] == asked.first else max(asked.first, gap[0] - extra)
    last = gap[1] if gap[1] == asked.last else min(asked.last, gap[1] + extra)
    if (first, last) != (asked.first, asked.last):
        with suppress(Exception):  # exchanges refuse periods without a bar in their own ways
            frame = ask(first, last)
            if "time" in frame.columns:
                return frame, (first, last)
    return ask(asked.start, asked.stop), (asked.first, asked.last)


def _within(frame: Any, span: Range) -> Any:
    return frame[(frame["time"] >= span[0]) & (frame["time"] <= span[1])]


def _source(interface: Any) -> Any:
    """Return what decides which exchange is asked: its name, settings and addresses."""
    name = interface.get_exchange_type()
    exchange = getattr(interface, "calls", None)
    settings: Any = None
    with suppress(Exception):  # another version of the package
        settings = exchange.user_preferences["settings"].get(name)  # type: ignore[union-attr]
    api = getattr(exchange, "calls", None)
    addresses = sorted(
        str(value)
        for value in getattr(api, "__dict__", {}).values()
        if isinstance(value, str) and value.startswith("http")
    )
    return [name, settings, addresses]


def _series(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
