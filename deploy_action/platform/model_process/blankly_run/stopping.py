"""Says where the script stands when the platform stops it, which it does with SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any, Callable

from .events import Events
from .faults import ModelFiles, make_problem

_WAITS_HINT = (
    "If this line only waits so that a live model goes on, leave it out in a backtest, where "
    'os.environ.get("BACKTESTING") is "1": start() returns at once there, and the backtest begins '
    "when the script has ended."
)
_UNDER_WAY_HINT = "Backtest a shorter period or fewer symbols at once."
_DOWNLOADS = (
    "while prices were downloaded",
    (
        "The exchange is slow, or does not answer: run the backtest again later, or ask for a "
        "shorter period or fewer symbols at once. blankly.KeylessExchange reads prices from a file "
        "of the model and asks no exchange."
    ),
)
# By whether the backtest has begun, and whether it is over.
_STATES = {
    (False, False): ("before its backtest had begun", _WAITS_HINT),
    (True, False): ("while the backtest was under way", _UNDER_WAY_HINT),
    (True, True): ("after its backtest was over", _WAITS_HINT),
}


def tell_when_stopped(
    events: Events, files: ModelFiles, state: Callable[[], tuple[bool, bool]]
) -> None:
    """From now on, answer SIGTERM with an event that has the model's line, and end as usual.

    `state` returns whether the backtest has begun, and whether it is over. A handler of the model's
    own replaces ours. Processes that the model forks have none.
    """
    process = os.getpid()

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        with suppress(Exception):
            if os.getpid() == process:
                when, hint = _DOWNLOADS if _is_download(frame) else _STATES[state()]
                path, line = files.caller(frame)
                where = "The script stood here" if path else _at_work(frame)
                problem = make_problem("error", f"{where}, {when}.", hint, path, line)
                events.send_if_free("stopped", problems=[problem])
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, stop)
    keep_from_forks(stop)


def _at_work(frame: Any) -> str:
    """Name the innermost function of the package: it gets prices when the script has ended."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] == "blankly":
            return f"The package was at work in `{module}.{frame.f_code.co_name}`"
        frame = frame.f_back
    return "No code of the model was at work"


def _is_download(frame: Any) -> bool:
    """Return whether the package gets the prices of a backtest in this frame or one around it."""
    while frame is not None:
        is_packages = str(frame.f_globals.get("__name__")).startswith("blankly.")
        if is_packages and frame.f_code.co_name == "sync_prices":
            return True
        frame = frame.f_back
    return False


def keep_from_forks(handler: Callable[[int, Any], None]) -> None:
    """Give processes that the model forks the default action of SIGTERM: pools end theirs with it.

    The signal is held back meanwhile, or one that comes in between would be lost.
    """
    held = threading.local()

    def hold() -> None:
        held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)

    def forget() -> None:
        with suppress(ValueError):  # outside the main thread; then it keeps our handler
            if signal.getsignal(signal.SIGTERM) is handler:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=forget)
