#!/usr/bin/env bash
# Deploys and backtests an example model on the embedded platform, without a server or a token. The
# platform's data stays in build/demo until the next demo, so that the report can be read.
#
#   tools/demo.sh BLANKLY_DEPLOY
set -euo pipefail
cd "$(dirname "$0")/.."

program=$1
model=examples/models/golden-cross
data=$PWD/build/demo
rm -rf "$data"

run() {
    echo "== blankly-deploy $*"
    "$program" "$@" --api-url local --platform-data "$data"
}

run deploy "$model"
run backtest "$model" --gates $'max_drawdown <= 25%\nsharpe >= 0.5'
