"""Run a model's script and backtest it, under the model's own Python (3.8 or newer).

    python -u run_model.py --script PATH --root PATH --events-fd NUMBER --result PATH

The environment says the rest, as on the original platform: `BACKTESTING=1`, `BACKTESTING_ARGS`
(base64 of JSON), and a `PYTHONPATH` with the model's root and the directory `hooks`. What happens
goes to the file descriptor as JSON lines: `started`, `progress`, and last one of `finished` (then
the result file exists) and `failed`.
"""

import os
import sys

# A model may have a `signal.py` or `types.py`: while our own modules are imported, only our own
# directory and the standard library are searched. The session puts in order what the script sees.
_FOREIGN = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
_FOUND = sys.path[:]
sys.path[:] = [entry for entry in _FOUND if os.path.abspath(entry) not in _FOREIGN]

from blankly_run.session import main  # type: ignore[import-not-found]  # noqa: E402  # found beside this file, once the path is right

if __name__ == "__main__":
    sys.path[:] = _FOUND
    main(sys.argv[1:], dict(os.environ))
