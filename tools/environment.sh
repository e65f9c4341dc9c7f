#!/usr/bin/env bash
# Makes a virtual environment hold exactly what a hash-locked file says, and nothing when it
# already does.
#
#   tools/environment.sh DIRECTORY LOCK_FILE [--with-this-project]
#
# PYTHON names the interpreter (default: python3). uv does the work when it reaches a package
# index: it takes a third of pip's time. It knows nothing of pip's own configuration (a mirror, a
# certificate), so pip does it where uv cannot.
set -euo pipefail

directory=$1
lock_file=$2
with_project=${3:-}
python=${PYTHON:-python3}
stamp=$directory/.made-from

cd "$(dirname "$0")/.."
wanted=$(cat "$lock_file" pyproject.toml "$0" | sha256sum | cut -d' ' -f1)
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

# uv comes out of the development lock file, with its hashes, whatever this environment holds.
uv_lock=$(mktemp)
trap 'rm -f "$uv_lock"' EXIT
awk '/^[^ ]/ { on = /^uv==/ } on' requirements-dev.lock >"$uv_lock"

install_with_uv() {
    "$directory/bin/pip" install --quiet --no-deps --require-hashes -r "$uv_lock" &&
        "$directory/bin/python" -m uv pip install --quiet --require-hashes --compile-bytecode \
            --python "$directory/bin/python" -r "$lock_file"
}

install_with_pip() {
    echo "uv could not install from $lock_file; pip does it"
    "$directory/bin/pip" install --quiet --require-hashes -r "$lock_file"
}

install_with_uv || install_with_pip
if [[ $with_project == --with-this-project ]]; then
    # Without isolation: the build backend comes from the lock file too.
    "$directory/bin/pip" install --quiet --no-deps --no-build-isolation --editable .
    # Where PYTHONDONTWRITEBYTECODE is set, every start would compile the package anew.
    "$directory/bin/python" -m compileall -q deploy_action
fi
echo "$wanted" >"$stamp"
