"""What the container runs: the action, configured by the runner's variables."""

import sys

from deploy_action.main import action

if __name__ == "__main__":
    sys.exit(action())
