"""Run a model live, under the model's own Python (3.8 or newer), or check that it can be run.

    python -u run_live.py --script PATH --root PATH --events-fd NUMBER --stop-reason PATH
        [--account-seconds SECONDS]
    python -u run_live.py --script PATH --root PATH --events-fd NUMBER --check

The script runs as `__main__`, as under `python SCRIPT`, with the platform's reporter in the
`blankly` package; `PYTHONPATH` has the model's root and the directory `hooks`. Events are written
to the file descriptor as JSON lines; a `problem` has severity, message, hint, path and line:

    strategy        a Strategy was made
    starting        a strategy's start() was called
    started         its inits are done and its schedulers run
    order           the first order is about to be sent to an exchange
    screener        a Screener was made
    script_ended    the script's last line is done; its threads may go on
    callback_error  problem, count: a callback raised; the package prints that and carries on
    fault           problem: an exception ended the script or a thread, or a feed has ended
    warning         problem
    teardown        state (began, ended, failed, none), and a problem if it failed
    message         kind (text, email, chat), text: to be sent to people
    report          kind, fields: orders, variables and the like, as the events API takes them; and
                    the values of accounts, one every so many seconds (0: none)

SIGTERM stops the model: the reason is read from the file of `--stop-reason` (`shutdown` without
one) into `BLANKLY_STOP_REASON`, the teardown of each started strategy is called, and the process
leaves when they are over, and not before, with 0, or 1 if one failed. Exit codes say no more than
Python's: a strategy whose threads have died ends with 0.

With `--check`, the package is imported and the model's sources are compiled, but not run; modules
that the script imports in any case have to be there. The events are `fault` and `warning`, whose
problems may have a column, and finally `checked` (python, blankly); the exit code is 1 if there was
a fault.
"""

import os
import sys

# As in `run_model.py`: a model may have a `signal.py` or `types.py`.
_FOREIGN = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
_FOUND = sys.path[:]
sys.path[:] = [entry for entry in _FOUND if os.path.abspath(entry) not in _FOREIGN]

from blankly_run.live.session import main  # type: ignore[import-not-found]  # noqa: E402  # in the directory of this file

if __name__ == "__main__":
    sys.path[:] = _FOUND
    main(sys.argv[1:])
