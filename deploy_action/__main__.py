"""`python -m deploy_action` is `blankly-deploy`."""

import sys

from deploy_action.main import console

if __name__ == "__main__":
    sys.exit(console())
