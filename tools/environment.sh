#!/usr/bin/env bash
# Makes a virtual environment with exactly the packages of a hash-locked file. Does nothing if the
# environment is up to date.
#
#   tools/environment.sh DIRECTORY LOCK_FILE [--with-this-project]
#
# PYTHON names the interpreter (default: python3). uv installs, in a third of pip's time. It does not
# read pip's configuration (a mirror, a certificate), so pip installs if uv fails.
set -euo pipefail

directory=$1
lock_file=$2
with_project=${3:-}
python=${PYTHON:-python3}
stamp=$directory/.made-from

cd "$(dirname "$0")/.."
wanted=$(cat "$lock_file" pyproject.toml "$0" | cksum)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    exit 0
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $python is not Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi

echo "making $directory from $lock_file"
rm -f "$stamp"
"$python" -m venv --clear "$directory"
export PIP_DISABLE_PIP_VERSION_CHECK=1

# uv's version and hashes come from the development lock file, whatever lock file is installed.
uv_lock=$(mktemp)
trap 'rm -f "$uv_lock"' EXIT
awk '/^[^ ]/ { on = /^uv==/ } on' requirements-dev.lock >"$uv_lock"

install_with_uv() {
    "$directory/bin/pip" install --quiet --no-deps --require-hashes -r "$uv_lock" &&
        "$directory/bin/python" -m uv pip install --quiet --require-hashes --compile-bytecode \
            --python "$directory/bin/python" -r "$lock_file"
}

install_with_pip() {
    echo "uv could not install from $lock_file; trying pip"
    "$directory/bin/pip" install --quiet --require-hashes -r "$lock_file"
}

install_with_uv || install_with_pip
if [[ $with_project == --with-this-project ]]; then
    # No build isolation: the build backend comes from the lock file too.
    "$directory/bin/pip" install --quiet --no-deps --no-build-isolation --editable .
    # If PYTHONDONTWRITEBYTECODE is set, every start would compile the package again.
    "$directory/bin/python" -m compileall -q deploy_action
fi
echo "$wanted" >"$stamp"
