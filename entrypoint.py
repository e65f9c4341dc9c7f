"""What the container runs: the action, configured by the runner's variables."""

import os
import signal
import sys

# Until the run takes over, there is nothing to tidy up when the job is cancelled.
for _signal in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_signal, lambda number, _frame: os._exit(128 + number))

from deploy_action.main import action  # noqa: E402  # importing takes long enough to be cancelled

if __name__ == "__main__":
    sys.exit(action())
