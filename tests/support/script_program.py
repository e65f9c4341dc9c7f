"""Runs a model's script in place of the program that needs the `blankly` package.

    python script_program.py --script PATH --root PATH --events-fd NUMBER --stop-reason PATH

The script finds `report(event, **fields)` and `stop_reason()` among its globals.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
from pathlib import Path


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser()
    for name in ("script", "root", "events-fd", "stop-reason"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        return

    def report(event: str, **fields: object) -> None:
        os.write(int(options.events_fd), json.dumps({"event": event, **fields}).encode() + b"\n")

    def stop_reason() -> str:
        return Path(options.stop_reason).read_text("ascii").strip() or "shutdown"

    names = {"report": report, "stop_reason": stop_reason}
    runpy.run_path(options.script, names, "__main__")


if __name__ == "__main__":
    main()
