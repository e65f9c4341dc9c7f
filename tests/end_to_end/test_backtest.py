"""A backtest on the embedded platform, for real: the `blankly` package runs models on the runner.

All on one worker, because they share an environment that takes some seconds to make.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from operator import itemgetter
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest

from deploy_action.backtest.wire import parse_result
from deploy_action.inputs.parsing import CONSTRAINTS_VARIABLE
from tests.conftest import Ended, Runner, let_all_pass
from tests.support.hostile import hostile_text
from tests.support.judges import judge_log, judge_markdown, judge_page
from tests.support.network import DIRECTORIES, NETWORK
from tests.support.process_watch import ProcessWatch
from tests.support.secret_hunter import (
    LINES,
    TEXTS,
    SecretHunter,
    a_secret,
    files_below,
    without_masks,
)
from tests.support.serve_process import ServeProcess
from tests.support.torture import Rounds
from tests.support.visitor import Visitor, text_of
from tests.support.waiting import PATIENCE, is_alive, wait_for

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "models" / "golden-cross"
METRICS = [
    "sharpe", "sortino", "calmar", "cagr", "cum_returns", "max_drawdown", "volatility",
    "variance", "value_at_risk", "cvar", "trades", "final_account_value", "hold_return",
    "excess_return", "round_trips", "win_rate", "profit_factor", "expectancy", "exposure",
    "longest_drawdown_days",
]  # fmt: skip
# Lines of a model's callback: at its tenth bar, the whole period waits for the first window.
MEETING = """
    import base64, socket, time
    asked = json.loads(base64.b64decode(os.environ["BACKTESTING_ARGS"]))
    place = "\\0" + os.environ.get("MEET", "")
    bars = state.variables["bars"] = state.variables.get("bars", 0) + 1
    if len(place) > 1 and bars == 10 and asked["start_date"] == "2023-03-01":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.settimeout(30)
            if asked["end_date"] == "2024-08-23":
                door.bind(place)
                door.recv(1)
            while asked["end_date"] != "2024-08-23":
                try:
                    door.sendto(b"!", place)
                    break
                except ConnectionRefusedError:  # it is not there yet
                    time.sleep(0.01)
"""
STARTED = 60  # seconds until a model runs: its environment may have to be made first

pytestmark = pytest.mark.xdist_group("backtest")


@pytest.fixture(scope="session")
def platform_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory whose environments all tests here share."""
    return let_all_pass(tmp_path_factory.mktemp("platform")) / "data"


class Trader:
    """A runner with an example model in its workspace, for a test to change and backtest."""

    def __init__(self, runner: Runner, data: Path) -> None:
        self.runner = runner
        self.data = data
        self.model = runner.workspace / "models" / "golden-cross"
        shutil.copytree(EXAMPLE, self.model, ignore=shutil.ignore_patterns("__pycache__"))
        runner.environ |= {
            name: os.environ[name] for name in (*NETWORK, *DIRECTORIES) if name in os.environ
        }

    @property
    def inputs(self) -> dict[str, str]:
        return {
            "mode": "backtest",
            "api_url": "local",
            "model_path": "models/golden-cross",
            "platform_data": str(self.data),
        }

    def run(self, **inputs: str) -> Ended:
        return self.runner.run(**self.inputs | inputs)

    def start(self, **inputs: str) -> subprocess.Popen[str]:
        """Start the action in a process, as the container does."""
        environ = {"PATH": os.environ["PATH"], **self.runner.variables(self.inputs | inputs)}
        return subprocess.Popen(
            [sys.executable, str(ROOT / "entrypoint.py")],
            env=environ,
            cwd=self.runner.workspace,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def put_first(self, code: str) -> None:
        script = self.model / "bot.py"
        script.write_text(f"{code}\n{script.read_text()}")

    def replace(self, old: str, new: str) -> None:
        script = self.model / "bot.py"
        assert old in script.read_text()
        script.write_text(script.read_text().replace(old, new))

    @property
    def open_to_all(self) -> Path:
        """A directory that a model may write to, whoever it runs as."""
        directory = self.runner.root / "open to all"
        directory.mkdir(exist_ok=True)
        directory.chmod(0o1777)
        return directory

    def private_copies(self) -> list[Path]:
        """Return the private copies of models that were not removed."""
        return list((self.data / "runs").glob("*/[!.]*"))


@pytest.fixture
def trader(runner: Runner, platform_data: Path) -> Trader:
    return Trader(runner, platform_data)


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_pull_request_gets_its_metrics_and_chart(trader: Trader) -> None:
    trader.runner.on("pull_request", {"pull_request": {"title": "Faster", "number": 3}})
    before = contents(trader.runner.workspace)

    ended = trader.run()

    assert ended.code == 0, ended.log
    assert ended.outputs["status"] == "backtested"
    assert ended.outputs["description"] == "Faster (#3)"
    metrics = json.loads(ended.outputs["metrics"])
    assert list(metrics) == METRICS
    assert metrics["cum_returns"] == pytest.approx(37.9, abs=0.05)
    assert metrics["sharpe"] == pytest.approx(0.96, abs=0.01)
    assert metrics["trades"] == 17
    assert "```mermaid" in ended.summary
    assert "xychart-beta" in ended.summary
    assert "37.9" in ended.summary.splitlines()[0]
    assert contents(trader.runner.workspace) == before
    assert trader.private_copies() == []


@pytest.mark.torture(quick=1)
def test_a_model_that_tells_all_it_knows_tells_no_secret(trader: Trader, rounds: Rounds) -> None:
    """Not even by crashing; and it knows its own secrets only."""
    for chance in rounds:
        _tell_all(trader, chance)


def _tell_all(trader: Trader, chance: Random) -> None:
    hunter, runner = SecretHunter(), trader.runner
    password = hunter.add("password of the proxy", a_secret(chance))
    runner.environ["HTTP_PROXY"] = f"http://me:{quote(password, safe='')}@127.0.0.1:9"
    values = [hunter.add(f"value {number}", a_secret(chance, LINES)) for number in range(2)]
    key = hunter.add("a key", a_secret(chance, TEXTS))
    trader.put_first(
        "import base64, os, sys\n"
        "known = dict(os.environ, keys=open('keys.json').read())\n"
        "for text in [*known.values(), str(known)]:\n"
        "    print(text, repr(text), base64.b64encode(text.encode()).decode(), file=sys.stderr)\n"
        "raise RuntimeError(known)"
    )
    process = trader.start(
        token=hunter.add("token", a_secret(chance)),
        keys_json=json.dumps({"alpaca": {"main": {"API_SECRET": key}}}),
        model_env="\n".join(f"VALUE_{number}={value}" for number, value in enumerate(values)),
        github_token=hunter.add("github-token", a_secret(chance)),
    )
    with ProcessWatch(process.pid) as watch:
        log, _ = process.communicate(timeout=PATIENCE + STARTED)
    ended = runner.ended(process.returncode, log)
    assert ended.code == 1
    assert "RuntimeError" in ended.summary
    places = {"log": without_masks(log), "summary": ended.summary, "outputs": str(ended.outputs)}
    assert hunter.find_all({**places, **files_below(runner.root / "temp")}) == []
    assert hunter.find("\n".join(watch.commands)) == []
    theirs = "\n".join(watch.environments_of("run_model.py"))
    own = {"value 0", "value 1", "password of the proxy"}
    assert {one.partition(" in ")[0] for one in hunter.find(theirs)} == own


def test_windows_are_backtested_beside_the_whole_period(trader: Trader) -> None:
    """Each starts with the same account, and together they cover the period."""
    ended = trader.run(windows="3", gates="trades > 0\nbest sharpe > 0")
    assert ended.code == 0, ended.log
    windows = json.loads(ended.outputs["windows"])
    assert windows[0]["start"] == "2023-03-01"
    assert windows[-1]["end"] == "2024-08-23"
    assert [one["end"] for one in windows[:-1]] == [one["start"] for one in windows[1:]]
    whole = json.loads(ended.outputs["metrics"])
    assert sum(one["metrics"]["trades"] for one in windows) >= whole["trades"] - 3
    assert len({one["trades-sha256"] for one in windows}) == 3
    assert all(one["name"] in ended.summary for one in windows)
    assert ended.log.count("Backtesting...") == 1  # the package's own line, of the whole period


def test_windows_with_dates_begin_while_the_whole_period_is_at_work(trader: Trader) -> None:
    """In the second run, it waits for the first window. They find what they find after it."""
    script = trader.model / "bot.py"
    script.write_text(
        script.read_text().replace("    closes.append", f"{MEETING}\n    closes.append")
    )
    equal_parts = trader.run(windows="2")
    assert equal_parts.code == 0, equal_parts.log
    names = [one["name"] for one in json.loads(equal_parts.outputs["windows"])]
    dated = trader.run(windows="\n".join(names), model_env=f"MEET={secrets.token_hex(16)}")
    assert dated.code == 0, dated.log
    assert dated.outputs["windows"] == equal_parts.outputs["windows"]
    assert dated.outputs["trades-sha256"] == equal_parts.outputs["trades-sha256"]


def test_the_report_is_a_file_below_the_runners_temporary_directory(trader: Trader) -> None:
    """A later step, which may be another user, can read it."""
    ended = trader.run()
    path = trader.runner.root / "temp" / ended.outputs["report"]
    assert not Path(ended.outputs["report"]).is_absolute()
    report = json.loads(path.read_bytes(), parse_constant=pytest.fail)
    assert report["metrics"] == json.loads(ended.outputs["metrics"])
    assert report["trades_sha256"] == ended.outputs["trades-sha256"]
    assert report["bundle"]["sha256"] == ended.outputs["bundle-sha256"]
    assert len(report["result"]["account_values"]) > 500
    assert path.stat().st_mode & 0o444 == 0o444


def test_a_page_beside_the_report_has_the_same_figures_and_no_secret(trader: Trader) -> None:
    """The model gives its secret away in a problem and in its output."""
    secret = secrets.token_hex(16)
    script = trader.model / "bot.py"
    end = "strategy.backtest()\nprint(os.environ['KEY'])\nraise ValueError(os.environ['KEY'])\n"
    script.write_text(f"import os\n{script.read_text()}\n{end}")

    ended = trader.run(model_env=f"KEY={secret}", windows="2")

    assert ended.code == 1
    path = trader.runner.root / "temp" / ended.outputs["report-html"]
    assert path.with_suffix(".json") == trader.runner.root / "temp" / ended.outputs["report"]
    assert path.stat().st_mode & 0o444 == 0o444
    page = path.read_text(encoding="utf-8")
    title = page.partition("<title>")[2].partition("</title>")[0]
    assert ended.summary.startswith("## ❌ Backtest failed: ")
    assert title == "❌ Backtest failed: golden-cross"
    assert "+37.90%" in page
    assert "ValueError: <code>***</code>" in page
    assert secret not in page
    assert len(page.encode()) < 400_000


def test_the_same_model_and_prices_give_the_same_trades(trader: Trader) -> None:
    first = trader.run()
    trader.replace("fast", "quick")
    renamed = trader.run()
    trader.replace('"FAST", "10"', '"FAST", "12"')
    changed = trader.run()
    assert first.outputs["trades-sha256"] == renamed.outputs["trades-sha256"]
    assert first.outputs["bundle-sha256"] != renamed.outputs["bundle-sha256"]
    assert first.outputs["trades-sha256"] != changed.outputs["trades-sha256"]
    assert "reused" in changed.log


def test_a_period_that_begins_now_gives_the_same_trades_a_moment_later(trader: Trader) -> None:
    """With `to`, all times depend on the clock."""
    arguments = "to: 10y\nstart_date: null\nend_date: null"
    first, second = trader.run(backtest_args=arguments), trader.run(backtest_args=arguments)
    assert json.loads(first.outputs["metrics"])["trades"] > 0
    assert first.outputs["trades-sha256"] == second.outputs["trades-sha256"]


def test_the_model_sees_no_secret(trader: Trader) -> None:
    secret = secrets.token_hex(16)
    keys = json.dumps({"alpaca": {"main": {"API_KEY": secret}}})
    trader.runner.environ["ACTIONS_RUNTIME_TOKEN"] = secrets.token_hex(16)
    trader.put_first(
        "import os\n"
        "print('SEES', *sorted(os.environ))\n"
        "print('KEYS', os.path.exists('keys.json'), open('keys.json').read())\n"
    )

    ended = trader.run(keys_json=keys, token=secrets.token_hex(16))

    assert ended.code == 0, ended.log
    (seen,) = (line for line in ended.log.splitlines() if line.startswith("SEES"))
    prefixes = ("INPUT_", "GITHUB_", "ACTIONS_", "RUNNER_", "CI", "PIP_", "UV_")
    assert [name for name in seen.split()[1:] if name.startswith(prefixes)] == []
    assert "BACKTESTING_ARGS" in seen
    assert "KEYS True" in ended.log
    assert secret not in ended.log.replace(f"::add-mask::{secret}", "")
    assert trader.private_copies() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_the_action_hides_its_memory_from_the_model(trader: Trader) -> None:
    code = (
        "import ctypes, sys; sys.argv = ['x']; sys.path.insert(0, sys.argv[0])\n"
        "from deploy_action.main import action\n"
        "code = action()\n"
        "print('DUMPABLE', ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)); sys.exit(code)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **trader.runner.variables(trader.inputs)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.splitlines()[-1] == "DUMPABLE 0", done.stdout


def test_a_crash_is_an_annotation_on_the_line_of_the_model(trader: Trader) -> None:
    trader.put_first("prices = {}\nprint(prices['BTC'])")
    ended = trader.run()
    assert ended.code == 1
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    assert error.startswith("::error file=models/golden-cross/bot.py,line=2,")
    assert "KeyError" in error
    assert ended.outputs["status"] == "failed"
    assert ended.outputs["backtest-id"]
    assert ended.outputs["version-id"]
    assert "metrics" not in ended.outputs
    assert "KeyError" in ended.summary
    assert "Traceback" in ended.log


def test_a_result_is_shown_although_the_script_failed_after_it(trader: Trader) -> None:
    script = trader.model / "bot.py"
    end = "strategy.backtest()\nopen('/nowhere/plot.html', 'w')\n"
    script.write_text(f"{script.read_text()}\n{end}")

    ended = trader.run(gates="sharpe >= -100")

    assert ended.code == 1
    assert (ended.outputs["status"], ended.outputs["gates"]) == ("failed", "failed")
    assert json.loads(ended.outputs["metrics"])["sharpe"] == pytest.approx(0.96, abs=0.01)
    assert ended.outputs["report"]
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    line = len(script.read_text().splitlines())
    assert error.startswith(f"::error file=models/golden-cross/bot.py,line={line},")
    assert "/nowhere/plot.html': the script failed here, after its backtest." in error
    assert ended.summary.startswith("## ❌ Backtest failed: ")
    assert "open('/nowhere/plot.html', 'w')" in ended.summary


def test_the_output_of_a_model_is_shown_and_issues_no_command(trader: Trader) -> None:
    lines = [
        "::error::mine",
        "##[error]mine",
        "::stop-commands::x",
        "a\r::warning::b",
        "\x1b[31mred",
    ]
    trader.put_first(f"for line in {lines!r}:\n    print(line)")

    ended = trader.run()

    assert ended.code == 0
    assert not [line for line in ended.annotations if "mine" in line]
    log = ended.log.splitlines()
    title = log.index("::group::Output of bot.py")
    shown = log[title : log.index("::endgroup::", title)]
    assert ": :error::mine" in shown
    assert "## [error]mine" in shown
    assert "red" in shown
    assert not any(line.startswith(("::stop-commands", "::warning")) for line in log)


@pytest.mark.torture(quick=0)
def test_whatever_a_model_prints_or_raises_is_text(rounds: Rounds, trader: Trader) -> None:
    script = trader.model / "bot.py"
    sound = script.read_text()
    for chance in rounds:
        said = [hostile_text(chance).encode("utf-8", "surrogatepass") for _ in range(9)]
        fault = (
            f"raise type({hostile_text(chance)!r}, (Exception,), {{}})({hostile_text(chance)!r})"
        )
        begin, end = chance.choice([("", ""), ("", fault), (fault, ""), ("", f"({fault!r}")])
        stream = chance.choice(["stdout", "stderr"])
        prints = f"for one in {said!r}:\n    sys.{stream}.buffer.write(one)"
        text = f"import sys\n{prints}\n{begin}\n{sound}\n{end}\n"
        script.write_text(text.replace("\0", ""), encoding="utf-8", errors="replace")
        ended = trader.run()
        rounds.count(f"runs that ended with {ended.code}")
        assert ended.code in {0, 1, 2}, ended.log
        assert "bug in the action" not in ended.log, ended.log
        judge_log(ended.log)
        judge_markdown(ended.summary, ("https://forge.example/",))
        if page := ended.outputs.get("report-html"):
            path = trader.runner.root / "temp" / page
            links = ("https://forge.example/", "https://github.com/blankly-community/")
            judge_page(path.read_text(encoding="utf-8"), links)


def test_a_flood_of_output_is_cut(trader: Trader) -> None:
    trader.put_first("for number in range(200_000):\n    print('bar', number)")
    ended = trader.run()
    assert ended.code == 0
    assert len(ended.log.splitlines()) < 6_000
    assert "bar 4999" in ended.log
    assert "lines left out" in ended.log


def test_a_hang_ends_at_the_deadline(trader: Trader) -> None:
    trader.run()  # makes the environment, which may take longer than the deadline below
    pid = trader.open_to_all / "pid"
    trader.put_first(
        "import os, time\nos.umask(0)\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    ended = trader.run(timeout_minutes="0.15")
    assert ended.code == 1
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    assert error.startswith("::error file=models/golden-cross/bot.py,line=4,")
    assert "The script stood here, before its backtest had begun" in error
    assert "deadline of 0.15 minutes" in ended.log
    assert "is not known" not in ended.summary
    wait_for(lambda: not is_alive(int(pid.read_text())))
    assert trader.private_copies() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cancelling_kills_the_model_and_its_children(
    trader: Trader, number: signal.Signals
) -> None:
    pids = trader.open_to_all / "pids"
    trader.put_first(
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.umask(0)\nos.fork()\n"
        f"open({str(pids)!r}, 'a').write(str(os.getpid()) + ' ')\ntime.sleep(600)"
    )
    process = trader.start()
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2, STARTED)

    process.send_signal(number)
    log, _ = process.communicate(timeout=PATIENCE)

    ended = trader.runner.ended(process.returncode, log)
    assert ended.code == 128 + number
    assert ended.outputs["status"] == "failed"
    assert "Traceback" not in ended.log
    wait_for(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))
    assert trader.private_copies() == []


def test_killing_the_action_ends_the_model(trader: Trader) -> None:
    pid = trader.open_to_all / "pid"
    trader.put_first(
        "import os, time\nos.umask(0)\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    process = trader.start()
    wait_for(lambda: pid.exists() and pid.read_text(), STARTED)
    process.kill()
    process.communicate(timeout=PATIENCE)
    wait_for(lambda: not is_alive(int(pid.read_text())))
    assert len(trader.private_copies()) == 1
    trader.runner.run(**trader.inputs | {"mode": "deploy"})
    assert trader.private_copies() == []


def test_a_backtest_that_waits_on_a_server_is_cancelled_with_its_client(trader: Trader) -> None:
    """It never runs, and is listed as stopped while another one still has the only slot."""
    place = trader.open_to_all
    trader.put_first(
        "import os, time\nos.umask(0)\n"
        f"open({str(place)!r} + '/' + os.environ['NAME'], 'w').close()\n"
        f"while not os.path.exists({str(place / 'gate')!r}):\n    time.sleep(0.05)"
    )
    server = ServeProcess(trader.data, ("--parallel-backtests", "1"))
    server.start()
    try:
        given = {"type": "strategy", "name": "Golden cross", "description": ""}
        ids = {"projectId": server.user_id}
        ids["modelId"] = server.post("/model/create-model", **ids, **given).json()["modelId"]
        inputs = {"api_url": server.url, "token": server.token, "model_id": ids["modelId"]}

        def states() -> list[str]:
            return [each["status"] for each in server.details(ids)["backtests"]]

        first = trader.start(**inputs, model_env="NAME=first")
        wait_for((place / "first").exists, STARTED)
        second = trader.start(**inputs, model_env="NAME=second")
        wait_for(lambda: states() == ["running", "queued"], pause=0.2)
        second.kill()
        second.communicate(timeout=PATIENCE)
        wait_for(lambda: states() == ["running", "stopped"], pause=0.2)
        (place / "gate").touch()
        log, _ = first.communicate(timeout=PATIENCE)
        assert first.returncode == 0, log
        assert states() == ["finished", "stopped"]
        stopped = server.details(ids)["backtests"][1]
        assert "the client that asked for it is gone" in stopped["run"]["problems"][0]["message"]
        assert not (place / "second").exists()
    finally:
        server.end()


def test_a_server_keeps_the_windows_of_a_run(trader: Trader) -> None:
    """The models run for real; each window's result is in the store, and its figures agree."""
    server = ServeProcess(trader.data)
    server.start()
    try:
        given = {"type": "strategy", "name": "Golden cross", "description": ""}
        ids = {"projectId": server.user_id}
        ids["modelId"] = server.post("/model/create-model", **ids, **given).json()["modelId"]
        inputs = {"api_url": server.url, "token": server.token, "model_id": ids["modelId"]}
        ended = trader.run(**inputs, windows="2")
        assert ended.code == 0, ended.log
        (whole,) = server.details(ids)["backtests"]
        listed = server.details({**ids, "windowOf": whole["backtestId"]})["backtests"]
        windows = sorted(listed, key=itemgetter("windowNumber"))  # they run side by side
        assert [one["windowOf"] for one in windows] == [whole["backtestId"]] * 2
        told = json.loads(ended.outputs["windows"])
        assert [one["window"] for one in windows] == [one["name"] for one in told]
        for one, expected in zip(windows, told, strict=True):
            ids["backtestId"] = one["backtestId"]
            found = next(
                each for each in server.details(ids)["backtests"] if each["result"] is not None
            )
            assert found["args"]["start_date"] == expected["start"]
            result = parse_result(json.dumps(found["result"]).encode())
            assert result.trades_sha256 == expected["trades-sha256"]
        visitor = Visitor(server.url)
        visitor.sign_in(server.token)
        page = f"/{server.user_id}/{ids['modelId']}"
        shown = text_of(visitor.get(f"{page}/backtests/{whole['backtestId']}").text)
        assert "2 windows" in shown
        assert all(f"{number}. {one['name']}" in shown for number, one in enumerate(told, 1))
    finally:
        server.end()


def test_the_installers_message_is_shown_if_requirements_are_not_found(trader: Trader) -> None:
    (trader.model / "requirements.txt").write_text("blankly\nno-such-package-of-anybody==1\n")
    trader.put_first("print('STARTED')")
    ended = trader.run()
    assert ended.code == 1
    (error,) = (line for line in ended.annotations if line.startswith("::error"))
    assert "file=models/golden-cross/requirements.txt" in error
    assert "no-such-package-of-anybody" in error
    assert "STARTED" not in ended.log


def test_the_switch_for_constraints_takes_on_and_off(trader: Trader) -> None:
    trader.runner.environ[CONSTRAINTS_VARIABLE] = "nope"
    ended = trader.run()
    assert ended.code == 2
    assert f"{CONSTRAINTS_VARIABLE} is `nope`" in ended.log


def test_a_backtest_on_a_terminal_needs_only_the_path(trader: Trader) -> None:
    environ = {
        name: value
        for name, value in trader.runner.environ.items()
        if not name.startswith(("GITHUB", "RUNNER", "CI"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "deploy_action", "backtest", str(trader.model),
         "--platform-data", str(trader.data)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
        cwd=trader.runner.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "::" not in done.stdout
    assert "mermaid" not in done.stdout
    assert "█" in done.stdout
    assert "38" in done.stdout
    page, report = sorted((trader.data / "reports").iterdir())
    assert (page.suffix, report.suffix) == (".html", ".json")
    assert str(page) in done.stdout
    assert str(report) in done.stdout
