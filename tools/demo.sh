#!/usr/bin/env bash
# Takes an example model through a deploy and a real backtest on the embedded platform: no server, no
# token. The platform's data goes away at the end; what uv downloaded stays in its cache.
#
#   tools/demo.sh BLANKLY_DEPLOY
set -euo pipefail
cd "$(dirname "$0")/.."

program=$1
model=examples/models/golden-cross
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT

run() {
    echo "== blankly-deploy ${*@Q}"
    "$program" "$@" --api-url local --platform-data "$data"
}

run deploy "$model"
run backtest "$model" --gates $'max_drawdown <= 25%\nsharpe >= 0.5'
