"""`blankly-deploy logs` and `status` against a real server."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from deploy_action.commands.deployed import DeployedModel
from deploy_action.commands.logs import show_log
from deploy_action.deployment_api.client import DeploymentApi
from deploy_action.deployment_api.logs import ModelLog
from deploy_action.deployment_api.transport import Transport
from deploy_action.errors import RefusedError
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline
from deploy_action.platform.assembly import BacktestSettings
from deploy_action.platform.server import PlatformServer
from deploy_action.platform.storage.logs import LogBook, VersionLog
from deploy_action.platform.storage.records import Wanted
from deploy_action.platform.storage.store import Store
from tests.support.platform_client import Clock, Platform
from tests.support.scripted_runner import ScriptedRunner
from tests.support.scripted_server import Reply, StartScripted
from tests.support.waiting import PATIENCE


@dataclass(slots=True)
class Deployed:
    """A deployed model on a server, whose log the test writes."""

    data: Path
    token: str
    platform: Platform
    model_id: str
    version_id: str

    @property
    def log(self) -> VersionLog:
        return LogBook(self.data / "logs").open(self.version_id)

    def restart(self) -> None:
        """Close the server and start another one at the same address."""
        server = self.platform.server
        port = int(server.url.rpartition(":")[2])
        server.close()
        self.platform.server = start(self.data, self.token, port)

    @contextmanager
    def command(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run `blankly-deploy` on the model."""
        flags = ["--api-url", self.platform.server.url, "--model-id", self.model_id]
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy_action", *arguments, *flags],
            env={**os.environ, "INPUT_TOKEN": self.token, "GITHUB_ACTIONS": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def start(data: Path, token: str, port: int = 0) -> PlatformServer:
    running = BacktestSettings(runner=ScriptedRunner())
    address = ("127.0.0.1", port)
    server = PlatformServer(
        data, refresh_token=token, strict=True, address=address, running=running
    )
    server.start()
    return server


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    data, token = tmp_path / "data", secrets.token_hex(16)
    platform = Platform(start(data, token), data, token, Clock())
    platform.sign_in()
    model_id = platform.create_model()
    version_id: str = platform.deploy(model_id).json()["versionId"]
    store = Store(data, platform.clock)
    with store.transaction() as transaction:
        life = transaction.live.new_life(platform.user_id, model_id)
        transaction.live.keep(replace(life, version_id=version_id, wanted=Wanted.RUNNING))
    store.close()
    model = Deployed(data, token, platform, model_id, version_id)
    yield model
    model.platform.server.close()


def text_of(line: str) -> str:
    return line.rstrip("\n").split(" ", 2)[2]


def test_the_last_lines_are_printed_for_a_pipe(deployed: Deployed) -> None:
    for number in range(5):
        deployed.log.write("out", f"##[error]line {number}")
    with deployed.command("logs", "--lines", "2") as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert [text_of(line) for line in output.splitlines()] == [
        "## [error]line 3",
        "## [error]line 4",
    ]
    assert (process.returncode, errors) == (0, "")


def test_following_goes_on_over_a_restart_of_the_server_until_ctrl_c(deployed: Deployed) -> None:
    deployed.log.write("out", "one")
    with deployed.command("logs", "--follow") as process:
        assert process.stdout is not None
        assert text_of(process.stdout.readline()) == "one"
        deployed.log.write("out", "two")
        assert text_of(process.stdout.readline()) == "two"
        deployed.restart()
        for number in range(50):
            deployed.log.write("err", f"while it was away {number}")
        for number in range(50):
            assert text_of(process.stdout.readline()) == f"while it was away {number}"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (130, "")
    assert "Going on in" in errors
    assert "Traceback" not in errors


def test_a_reader_that_has_seen_enough_ends_it(deployed: Deployed) -> None:
    for number in range(3_000):
        deployed.log.write("out", f"{number} {'x' * 200}")
    with deployed.command("logs", "--lines", "3000") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0


def test_status_has_its_exit_code_although_nobody_reads_it(deployed: Deployed) -> None:
    with deployed.command("status") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 0


def test_a_model_that_is_not_there_is_an_error(deployed: Deployed) -> None:
    deployed.model_id = "other"
    with deployed.command("logs") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "This modelId was not found under this project." in errors


@pytest.mark.parametrize("command", ["logs", "status"])
def test_wrong_inputs_are_named(command: str, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}
    for flags, message in (
        (["--api-url", "local"], "nothing runs after the job"),
        (["--api-url", "http://127.0.0.1:1"], f"Input `token` is missing: `{command}` speaks to"),
        (
            ["--api-url", "http://127.0.0.1:1", "--token", "x" * 20, str(tmp_path)],
            "It is not known which model is meant",
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "deploy_action", command, *flags],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert message in done.stderr
        assert done.returncode == 2


class Terminal(io.StringIO):
    """A terminal that keeps what it shows."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "\x1b[2mT\x1b[0m \x1b[31merr Traceback\x1b[0m\nno log at all\n"),
        ({"NO_COLOR": "1"}, "T err Traceback\nno log at all\n"),
    ],
)
def test_a_terminal_shows_streams_in_colours(
    environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    terminal = Terminal()
    answer = b"T err \x1b[2JTrace\x1b[31mback\nno log at all\n"
    with cut_server(answer) as (url, _):
        inputs = {"api-url": url, "token": secrets.token_hex(16), "model-id": "m"}
        model = DeployedModel("logs", inputs, {"GITHUB_WORKSPACE": str(tmp_path)}, print)
        assert show_log(model, Namespace(lines=5, follow=False), terminal, environ) == 0
    assert terminal.getvalue() == expected


def test_no_more_lines_are_kept_than_were_asked_for(tmp_path: Path) -> None:
    """A server that goes on and on must not fill the memory until the deadline."""
    printed = io.StringIO()
    with cut_server(b"".join(b"T out %d\n" % number for number in range(1_000))) as (url, _):
        inputs = {"api-url": url, "token": secrets.token_hex(16), "model-id": "m"}
        model = DeployedModel("logs", inputs, {"GITHUB_WORKSPACE": str(tmp_path)}, print)
        assert show_log(model, Namespace(lines=2, follow=False), printed, {}) == 0
    assert printed.getvalue() == "T out 998\nT out 999\n"


class Cut(BaseHTTPRequestHandler):
    """A server whose answers break off: the first in the middle of a line."""

    asked: list[dict[str, list[str]]]
    answers: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(200)
        if self.path == "/auth/token":
            answer = json.dumps({"idToken": "x", "data": {"user_id": "u"}}).encode()
            self.send_header("Content-Type", "application/json")
        else:
            self.asked.append(parse_qs(body))
            answer = self.answers.pop(0)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def cut_server(*answers: bytes) -> Iterator[tuple[str, type[Cut]]]:
    class Handler(Cut):
        asked: list[dict[str, list[str]]] = []  # noqa: RUF012  # of this server alone
        answers: list[bytes] = []  # noqa: RUF012  # as above

    Handler.answers += answers
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", Handler
    server.shutdown()
    thread.join()
    server.server_close()


def model_log(url: str) -> ModelLog:
    retries = Retries(Deadline.after(1), pause=lambda _: None)
    api = DeploymentApi(Transport(url, retries, use_environment=False), "t", lambda _: None)
    return ModelLog(api, "p", "m", pause=lambda _: None)


def test_a_line_that_broke_off_is_asked_for_again() -> None:
    first = b"v/1-10 T out one\nv/1-20 T out two\nv/1-30 T out thr"
    second = b"\nv/1-30 T out three\nw/1-0 T platform from here on\n"
    with cut_server(first, second) as (url, server):
        lines = model_log(url).lines(7, follows=True)
        assert [next(lines) for _ in range(4)] == [
            "T out one",
            "T out two",
            "T out three",
            "T platform from here on",
        ]
    assert server.asked[0]["lines"] == ["7"]
    assert server.asked[1]["after"] == ["v/1-20"]
    assert "lines" not in server.asked[1]


@pytest.mark.parametrize("busy", [Reply(503, "busy", {"Retry-After": "1"}), Reply(429), Reply(502)])
def test_a_busy_server_is_asked_again(scripted: StartScripted, busy: Reply) -> None:
    text = Reply(body="T out one\n", headers={"Content-Type": "text/plain"})
    server = scripted({"POST /model/logs": [busy, busy, text]})
    assert list(model_log(server.url).lines(7, follows=False)) == ["T out one"]


def test_a_server_that_is_not_there_is_an_error_soon() -> None:
    with pytest.raises(RefusedError, match="cannot be reached"):
        list(model_log("http://127.0.0.1:1").lines(1, follows=True))


def test_status_says_what_the_server_tells(deployed: Deployed) -> None:
    with deployed.command("status") as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert errors == ""
    assert output.startswith("Golden cross: stopped since ")
    assert deployed.version_id in output
    assert "nothing runs here after the job" in output  # no model runs on this server
    assert process.returncode == 0
