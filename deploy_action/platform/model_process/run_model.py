"""Run a model's script and backtest it, under the model's own Python (3.8 or newer).

    python -u run_model.py --script PATH --root PATH --events-fd NUMBER --result PATH
        [--now SECONDS] [--prices OUTBOX --prices STORE...]

`--now` is the time from which `to` counts back; without it, that of the clock. Prices that the
model downloads are handed over in OUTBOX, and read from each STORE. As on the original platform,
the environment has the rest: `BACKTESTING=1`, `BACKTESTING_ARGS`
(JSON as base64), and a `PYTHONPATH` with the model's root and the directory `hooks`. Events are
written to the file descriptor as JSON lines: `started`, `progress`, and finally either `finished`
(the result file exists; with an error, the script failed after its backtest) or `failed`. In
between, `prices` names a file in the outbox to `keep`, or one in the first store to `drop`;
`result` says that there is a result (in PATH.strategy) before the script has ended; and `stopped`
answers SIGTERM with the line at which the script stands.
"""

import os
import sys

# A model may have a `signal.py` or `types.py`: our own modules are imported with only our directory
# and the standard library on the path. The session then sets up the path for the script.
_FOREIGN = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
_FOUND = sys.path[:]
sys.path[:] = [entry for entry in _FOUND if os.path.abspath(entry) not in _FOREIGN]

from blankly_run.session import main  # type: ignore[import-not-found]  # noqa: E402  # in the directory of this file

if __name__ == "__main__":
    sys.path[:] = _FOUND
    main(sys.argv[1:], dict(os.environ))
