"""Runs a model's script in place of the program that needs the `blankly` package.

    python script_program.py --script PATH --root PATH --events-fd NUMBER --stop-reason PATH

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

    def stop_reason() -> str:
        with open(options["--stop-reason"], encoding="ascii") as file:  # noqa: PTH123  # no import
            return file.read().strip() or "shutdown"

    path = options["--script"]
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  # as above
        code = compile(file.read(), path, "exec")
    names = {"__name__": "__main__", "report": report, "stop_reason": stop_reason}
    exec(code, names)  # noqa: S102  # a model of a test


if __name__ == "__main__":
    main()
