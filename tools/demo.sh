#!/usr/bin/env bash
# Deploys and backtests an example model on the embedded platform, without a server or a token. Then
# lets another trade for some seconds on a server of its own, at an exchange that is only played. All
# data stays in build/demo until the next demo, so that the report can be read.
#
#   tools/demo.sh BLANKLY_DEPLOY PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."

program=$1
python=$2
data=$PWD/build/demo
rm -rf "$data"

variables="" # of the model

run() {
    echo "== blankly-deploy $*"
    env "INPUT_MODEL-ENV=$variables" "$program" "$@"
}

local_platform=(--api-url local --platform-data "$data/local")
run deploy examples/models/golden-cross "${local_platform[@]}"
run backtest examples/models/golden-cross "${local_platform[@]}" \
    --gates $'max_drawdown <= 25%\nsharpe >= 0.5'

model=examples/models/constant-value
mkdir -p "$data/exchange"
server_job="" exchange_job=""
end_jobs() {
    # The server first: it stops the model, which may want to trade then.
    for job in $server_job $exchange_job; do
        kill "$job" 2>/dev/null && wait "$job" || true
    done
}
trap end_jobs EXIT

# wait_for_line FILE PATTERN: prints what comes after the pattern in the first line that has it.
wait_for_line() {
    for _ in {1..300}; do
        if grep --quiet "$2" "$1" 2>/dev/null; then
            sed --quiet "s|^.*$2||p" "$1" | head -n 1
            return
        fi
        sleep 0.1
    done
    echo "error: $1 has no line with '$2'" >&2
    return 1
}

echo "== an exchange that is only played: ten days of the example's prices a second"
"$python" -m tests.support.stand_in_exchange "$data/exchange" --seconds 0.1 \
    >"$data/exchange.log" &
exchange_job=$!
wait_for_line "$data/exchange.log" "^http" >/dev/null

PLATFORM_TOKEN=$("$python" -c 'import secrets; print(secrets.token_hex(16))')
export PLATFORM_TOKEN INPUT_TOKEN=$PLATFORM_TOKEN
echo "== blankly-deploy serve"
# For root with a Python that only root can reach: this repository's own model is not hostile.
BLANKLY_DEPLOY_ISOLATION=off "$program" serve --port 0 --data "$data/server" >"$data/server.log" &
server_job=$!
server=(--api-url "$(wait_for_line "$data/server.log" "listening on ")")

variables=$(
    cat "$data/exchange/model.env"
    echo "ALPACA_KEY=of-the-demo"
    echo "ALPACA_SECRET=of-the-demo"
    echo "EVERY=1s"
)
run deploy "$model" "${server[@]}" --create-new
echo "== it trades for ten seconds"
sleep 10
run status "$model" "${server[@]}"
run logs "$model" "${server[@]}" --lines 12
run stop "$model" "${server[@]}"
run logs "$model" "${server[@]}" --lines 6
