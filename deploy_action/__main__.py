"""`python -m deploy_action` is `blankly-deploy`."""

import sys

# Python looks for modules in the current directory first. A model there may have a `yaml.py`.
if not sys.flags.safe_path:
    del sys.path[0]

from deploy_action.main import console

if __name__ == "__main__":
    sys.exit(console())
