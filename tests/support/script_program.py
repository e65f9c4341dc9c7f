"""Runs a model's script in place of the program that needs the `blankly` package.

    python script_program.py --script PATH --root PATH --events-fd NUMBER --stop-reason PATH
    python script_program.py --script PATH --root PATH --events-fd NUMBER --result PATH

The second is a backtest: its result is empty, whatever the script is, which does not run. It takes
as long as `BACKTEST_SECONDS` says, and its result has `RESULT_BYTES` more than it needs.
The script finds `report(event, **fields)` and `stop_reason()` among its globals. Tests start it
hundreds of times, so it imports next to nothing.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the script."""
    if "--check" in sys.argv:
        return
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))

    def report(event: str, **fields: object) -> None:
        document = f'{{"event": "{event}"}}'
        if fields:
            import json

            document = json.dumps({"event": event, **fields})
        os.write(int(options["--events-fd"]), document.encode() + b"\n")

    if "--result" in options:
        backtest(options["--result"])
        report("finished", problems=[])
        return

    def stop_reason() -> str:
        with open(options["--stop-reason"], encoding="ascii") as file:  # noqa: PTH123  # no import
            return file.read().strip() or "shutdown"

    path = options["--script"]
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  # as above
        code = compile(file.read(), path, "exec")
    names = {"__name__": "__main__", "report": report, "stop_reason": stop_reason}
    exec(code, names)  # noqa: S102  # a model of a test


def backtest(path: str) -> None:
    """Take some time, and write a result."""
    import time

    time.sleep(float(os.environ.get("BACKTEST_SECONDS", "0")))
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123  # as above
        more = "x" * int(os.environ.get("RESULT_BYTES", "0"))
        file.write(f'{{"account_values": [], "metrics": {{}}, "trades": [], "more": "{more}"}}')


if __name__ == "__main__":
    main()
