"""The action as a process: signals, deadlines, start-up, and the commands on a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from deploy_action.http.certificates import NAMES
from tests.conftest import Ended, Runner, write_model
from tests.support.repositories import commit_all, make_repository
from tests.support.scripted_server import (
    DEPLOYED,
    SIGN_IN,
    Hang,
    Reply,
    Request,
    ScriptedServer,
)
from tests.support.waiting import PATIENCE, wait_for
from tests.support.wire_server import WireServer, answering

ROOT = Path(__file__).parents[2]
TOKEN = "refresh"  # noqa: S105  # opens a server of the test
Scripted = Callable[..., ScriptedServer]


def start(runner: Runner, **inputs: str) -> subprocess.Popen[str]:
    """Start the action as the container does."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "entrypoint.py")],
        env={**os.environ, **runner.variables(inputs)},
        cwd=runner.workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(runner: Runner, process: subprocess.Popen[str]) -> Ended:
    log, _ = process.communicate(timeout=PATIENCE)
    return runner.ended(process.returncode, log)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_cancelled_upload_says_that_the_version_may_exist(
    runner: Runner, scripted: Scripted, number: signal.Signals, code: int
) -> None:
    """The runner sends SIGINT first, and SIGTERM 7.5 s later; either ends the wait."""
    server = scripted({"POST /model/deploy": Hang()})
    process = start(runner, api_url=server.url, token=TOKEN, model_id="m")
    wait_for(lambda: "POST /model/deploy" in server.routes())
    process.send_signal(number)
    ended = finish(runner, process)
    assert ended.code == code
    assert ended.outputs["status"] == "failed"
    assert ended.outputs["bundle-sha256"]
    assert "is not known" in ended.summary
    assert f"cancelled ({number.name})" in ended.log
    assert "Traceback" not in ended.log
    assert list((runner.root / "temp").iterdir()) == []


def test_a_second_signal_does_not_cut_off_the_report(runner: Runner, scripted: Scripted) -> None:
    server = scripted({"POST /auth/token": Hang()})
    process = start(runner, api_url=server.url, token=TOKEN, model_id="m")
    wait_for(lambda: "POST /auth/token" in server.routes())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
    ended = finish(runner, process)
    assert ended.code in {130, 143}
    assert ended.outputs["status"] == "failed"
    assert "is not known" not in ended.summary


def test_the_deadline_holds_whatever_the_server_does(runner: Runner, scripted: Scripted) -> None:
    """The original server never answers an upload with an unknown plan."""
    server = scripted({"POST /model/deploy": Hang()})
    process = start(runner, api_url=server.url, token=TOKEN, model_id="m", timeout_minutes="0.03")
    ended = finish(runner, process)
    assert ended.code == 1
    assert "deadline of 0.03 minutes" in ended.summary
    assert "is not known" in ended.summary
    assert len(server.requests_to("POST /model/deploy")) == 1


def test_nothing_heavy_is_imported_before_it_is_needed(runner: Runner) -> None:
    """Start-up time is a feature."""
    code = (
        "import sys, deploy_action.main as main\n"
        "code = main.action()\n"
        "print('LOADED', *sorted(set(sys.modules) & {'requests', 'uvicorn', 'sqlite3', 'yaml',"
        "'multipart', 'cronsim', 'argparse', 'hypothesis', 'jinja2', 'markupsafe'}))\n"
        "sys.exit(code)"
    )
    # Measuring coverage would load a library of its own.
    unmeasured = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**unmeasured, **runner.variables({"mode": "validate"})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_python_collects_no_garbage_while_it_starts_and_ends(runner: Runner) -> None:
    """It would look through all that was imported, and find nothing."""
    code = (
        "import gc, sys, deploy_action.main as main\n"
        "looked_at = []\n"
        "note = lambda phase, _: phase == 'start' and looked_at.append(len(gc.get_objects()))\n"
        "gc.callbacks.append(note)\n"
        "code = main.action()\n"
        "gc.collect()\n"  # as Python does at its end
        "print('COLLECTIONS', len(looked_at), looked_at[-1])\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **runner.variables({"mode": "validate"})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    name, collections, last = done.stdout.splitlines()[-1].split()
    assert name == "COLLECTIONS"
    assert int(collections) <= 4  # with Python's own threshold, 18
    assert int(last) < 1_000  # of 24,000 objects


def blankly_deploy(
    *arguments: str, cwd: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command on a terminal, not on a runner."""
    return subprocess.run(
        [sys.executable, "-m", "deploy_action", *arguments],
        env=terminal(environ),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def terminal(environ: dict[str, str] | None = None) -> dict[str, str]:
    prefixes = ("GITHUB_", "INPUT_", "RUNNER_", "PLATFORM_TOKEN")
    kept = {key: text for key, text in os.environ.items() if not key.startswith(prefixes)}
    return {**kept, "PYTHONPATH": str(ROOT), **(environ or {})}


def test_a_terminal_validates_any_directory(tmp_path: Path) -> None:
    write_model(tmp_path / "a" / "bot")
    (tmp_path / "b").mkdir()
    for arguments, cwd in (
        (["validate"], tmp_path / "a" / "bot"),
        (["validate", "bot"], tmp_path / "a"),
        (["validate", "../a/bot"], tmp_path / "b"),
        (["validate", str(tmp_path / "a" / "bot"), "--fail-on-warning"], tmp_path),
    ):
        done = blankly_deploy(*arguments, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "bot can be packed and deployed" in done.stdout
        assert "::" not in done.stdout


def test_a_module_of_the_model_is_not_imported(tmp_path: Path) -> None:
    """It would run in the action, which knows the token."""
    write_model(tmp_path)
    for name in ("yaml", "requests", "difflib", "jsonschema", "dulwich"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('model code in the action')\n")
    done = blankly_deploy("validate", "--backtest-args", "{to: 1y}", cwd=tmp_path)
    assert "model code in the action" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_terminal_says_when_files_differ_from_the_commit(tmp_path: Path) -> None:
    """The figures are not those of the commit then."""
    repository = make_repository(tmp_path / "repository")
    (write_model(repository / "bot") / ".gitignore").write_text("*.log\n")
    head = commit_all(repository)
    words = "with changes that are not committed"

    def says() -> str:
        arguments = ("deploy", "bot", "--dry-run", "--api-url", "local")
        return blankly_deploy(*arguments, cwd=repository).stdout

    assert head[:7] in (text := says())
    assert words not in text
    (repository / "README.md").write_text("outside the model")
    assert words not in says()
    (repository / "bot" / "prices.csv").write_text("time,close\n")
    assert words in says()
    (repository / "bot" / "prices.csv").unlink()
    (repository / "bot" / "bot.py").write_text("import blankly\n\nprint(1, blankly)\n")
    assert words in says()


def test_a_terminal_shows_each_problem_once_with_its_place(tmp_path: Path) -> None:
    write_model(tmp_path / "bot", main_script="gone.py")
    done = blankly_deploy("validate", "bot", cwd=tmp_path)
    assert done.returncode == 2
    assert len(re.findall(r"bot/blankly\.json:2:18", done.stdout)) == 1


def test_flags_go_before_variables(tmp_path: Path, scripted: Scripted) -> None:
    server = scripted()
    write_model(tmp_path / "bot")
    done = blankly_deploy(
        "deploy",
        "bot",
        "--api-url",
        server.url,
        "--create-new",
        "--plan=nano",
        cwd=tmp_path,
        environ={"INPUT_TOKEN": TOKEN, "INPUT_PLAN": "medium", "INPUT_MODE": "validate"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (request,) = server.requests_to("POST /model/deploy")
    assert request.fields["plan"] == "nano"
    assert request.fields["createNew"] == "true"
    assert TOKEN not in done.stdout.replace("refresh", "", 0) or "refresh" not in done.stdout


def test_workflow_commands_come_from_a_step_that_runs_the_program(runner: Runner) -> None:
    (runner.workspace / "bot.py").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "deploy_action", "validate"],
        env={**os.environ, **runner.environ, "PYTHONPATH": str(ROOT)},
        cwd=runner.workspace,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert "::error file=" in done.stdout


@pytest.mark.parametrize(
    "arguments", [[], ["deploi"], ["deploy", "--modle-id", "x"], ["deploy", "a", "b"], ["serve"]]
)
def test_a_wrong_command_line_shows_the_usage(arguments: Sequence[str], tmp_path: Path) -> None:
    done = blankly_deploy(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "usage: blankly-deploy" in done.stderr


@pytest.mark.parametrize("columns", [60, 120])
@pytest.mark.parametrize(
    "command", ["", "deploy", "backtest", "validate", "serve", "login", "schema"]
)
def test_every_help_is_rendered_at_the_width_of_the_terminal(
    command: str, columns: int, tmp_path: Path
) -> None:
    arguments = [command, "--help"] if command else ["--help"]
    done = blankly_deploy(*arguments, cwd=tmp_path, environ={"COLUMNS": str(columns)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: blankly-deploy {command}".strip())
    assert max(map(len, done.stdout.splitlines())) <= columns


def test_the_program_alone_lists_its_commands(tmp_path: Path) -> None:
    done = blankly_deploy(cwd=tmp_path)
    assert done.returncode == 2
    assert re.search("^ +serve +serve the Deployment API$", done.stderr, re.MULTILINE)


def test_a_flag_with_lines_may_be_given_twice(tmp_path: Path) -> None:
    write_model(tmp_path / "bot")
    (tmp_path / "bot" / "a.csv").touch()
    (tmp_path / "bot" / "b.csv").touch()
    flags = ["--ignore", "a.csv", "--ignore", "b.csv"]
    everything, rest = (
        blankly_deploy("validate", "bot", *some, cwd=tmp_path).stdout for some in ([], flags)
    )
    assert len(re.findall(r"[ab]\.csv", everything)) == 2
    assert not re.search(r"[ab]\.csv", rest)


@pytest.mark.parametrize("columns", [60, 120])
def test_a_summary_wraps_at_the_width_of_the_terminal(columns: int, tmp_path: Path) -> None:
    write_model(
        tmp_path / "bot", python_version="3.1", requirements="not/to/be/found/anywhere/here.txt"
    )
    done = blankly_deploy("validate", "bot", cwd=tmp_path, environ={"COLUMNS": str(columns)})
    widest = max(map(len, done.stdout.splitlines()))
    assert columns - 20 < widest <= columns


def test_the_schema_is_printed(tmp_path: Path) -> None:
    done = blankly_deploy("schema", cwd=tmp_path)
    assert done.returncode == 0
    schema = json.loads(done.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "main_script" in schema["properties"]


@contextmanager
def serving(
    data: Path, environ: dict[str, str] | None = None
) -> Iterator[tuple[str, list[str], subprocess.Popen[str]]]:
    """Run `blankly-deploy serve`; yield its URL, the lines before it, and the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy_action", "serve", "--port", "0", "--data", str(data)],
        env=terminal(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        lines: list[str] = []
        output = process.stdout
        assert output is not None
        for line in output:
            if line.startswith("listening on "):
                yield line.removeprefix("listening on ").strip(), lines, process
                break
            lines.append(line.strip())
        else:
            raise AssertionError("\n".join(lines))
    finally:
        process.terminate()
        process.wait(PATIENCE)
        if process.stdout is not None:
            process.stdout.close()


def test_serve_prints_its_token_once_and_keeps_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    model = write_model(tmp_path / "bot")
    with serving(data) as (url, lines, _process):
        (line,) = [line for line in lines if "token" in line]
        token = line.split()[-1]
        deploy = ("deploy", str(model), "--create-new", "--dry-run")
        done = blankly_deploy(
            *deploy, "--api-url", url, cwd=tmp_path, environ={"INPUT_TOKEN": token}
        )
        assert done.returncode == 0, done.stdout
        assert token not in done.stdout
    with serving(data) as (url, lines, _process):
        assert token not in "\n".join(lines)
        done = blankly_deploy(
            *deploy, "--api-url", url, cwd=tmp_path, environ={"INPUT_TOKEN": token}
        )
        assert done.returncode == 0, done.stdout
    kept = [path for path in data.rglob("*") if path.is_file() and token in _text(path)]
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o077 == 0


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def test_serve_takes_its_token_from_the_environment(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, {"PLATFORM_TOKEN": "t-from-the-outside"}) as (url, lines, process):
        assert not any("token" in line for line in lines)
        form = urllib.parse.urlencode({"refreshToken": "t-from-the-outside"}).encode()
        with urllib.request.urlopen(f"{url}/auth/token", form, timeout=PATIENCE) as answer:
            assert json.load(answer)["idToken"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 143
    assert not [
        path for path in data.rglob("*") if path.is_file() and "t-from-the-outside" in _text(path)
    ]


def test_serve_says_when_its_port_is_taken(tmp_path: Path, scripted: Scripted) -> None:
    port = scripted().url.rpartition(":")[2]
    done = blankly_deploy("serve", "--port", port, "--data", str(tmp_path / "d"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


# The sign-in page sends the browser to this port: only one of them can have it.
PORT_OF_LOGIN = pytest.mark.xdist_group("port 9082")


def lands(token: str) -> bool:
    """Come back from the sign-in page, as a browser; tell whether somebody takes the token."""
    address = f"http://localhost:9082/?token={token}"
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as page:
            return page.status == 200 and b"t0ken" not in page.read()
    except OSError:
        return False


@PORT_OF_LOGIN
def test_login_says_whose_token_it_is_and_prints_it_once(
    tmp_path: Path, scripted: Scripted
) -> None:
    """Nothing is stored, and a token that the server does not know is not used."""

    def sign_in(request: Request) -> Reply:
        if request.fields["refreshToken"] != "t0ken-of-login":
            return Reply(401, "Error")
        data = {"user_id": "user-7", "email": "me@example.com"}
        return Reply(body={"idToken": "id-t0ken", "data": data})

    home = tmp_path / "home"
    home.mkdir()
    api_url = scripted({"POST /auth/token": sign_in}).url
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy_action", "login", "--api-url", api_url],
        env=terminal({"HOME": str(home), "BROWSER": "true"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    try:
        wait_for(lambda: lands("t0ken-of-others"))
        assert lands("t0ken-of-login")
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out == "t0ken-of-login\n"
    assert "t0ken" not in err
    assert "A token came that is not used." in err
    assert f"that of me@example.com (user user-7) at {api_url}." in err
    assert "secret" in err
    assert list(home.rglob("*")) == []


@PORT_OF_LOGIN
def test_login_asks_on_a_terminal_whether_to_use_the_token(
    tmp_path: Path, scripted: Scripted
) -> None:
    """Any page can send the browser to the port with the token of somebody else."""

    def sign_in(request: Request) -> Reply:
        user = {"user_id": request.fields["refreshToken"].removeprefix("t0ken-of-")}
        return Reply(body={"idToken": "id-t0ken", "data": user})

    api_url = scripted({"POST /auth/token": sign_in}).url
    ours, theirs = os.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as keyboard, os.fdopen(theirs, "rb") as terminal_input:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy_action", "login", "--api-url", api_url],
            env=terminal({"HOME": str(tmp_path), "BROWSER": "true"}),
            stdin=terminal_input,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for(lambda: lands("t0ken-of-mallory"))
            assert lands("t0ken-of-me")
            keyboard.write(b"\ny\n")
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "t0ken-of-me\n")
    assert re.search("user mallory.*Use it.*Still waiting.*user me .*Use it", err, re.DOTALL)


@PORT_OF_LOGIN
def test_login_says_if_it_is_not_known_whose_token_it_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    api_url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy_action", "login", "--api-url", api_url],
        env=terminal({"HOME": str(tmp_path), "BROWSER": "true"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    try:
        wait_for(lambda: lands("t"))
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "t\n")
    assert "It is not known whose token came." in err
    assert f"{api_url} cannot be reached" in err


def test_a_server_that_answers_after_a_cancel_is_not_asked_again(
    runner: Runner, scripted: Scripted
) -> None:
    busy = Reply(503, "busy", {"Retry-After": "30"})
    server = scripted({"POST /model/deploy": busy})
    process = start(runner, api_url=server.url, token=TOKEN, model_id="m")
    assert process.stdout is not None
    assert any("Trying again in" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    ended = finish(runner, process)
    assert ended.code == 130
    assert len(server.requests_to("POST /model/deploy")) == 1
    assert "is not known" not in ended.summary


def test_a_closed_pipe_does_not_stop_the_run(tmp_path: Path, scripted: Scripted) -> None:
    """`| head` closes the pipe; the version is created, and the exit code says so."""
    server = scripted()
    write_model(tmp_path / "bot")
    program = f"{sys.executable} -m deploy_action deploy bot --create-new --api-url {server.url}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} | true; echo ${{PIPESTATUS[0]}}"],
        env=terminal({"INPUT_TOKEN": TOKEN}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout.strip() == "0"
    assert done.stderr == ""
    assert len(server.requests_to("POST /model/deploy")) == 1


def test_a_closed_standard_output_causes_no_traceback(tmp_path: Path) -> None:
    """Service managers may start a program without one."""
    write_model(tmp_path / "bot")
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m deploy_action validate bot >&-"],
        env=terminal(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [["--dry-run", ""], ["--dry-run=", "--create-new", "false"]])
def test_an_empty_shell_variable_is_an_unset_flag(
    tmp_path: Path, scripted: Scripted, flags: list[str]
) -> None:
    """`--dry-run "$DRY"` with an empty variable must not count as `true`."""
    server = scripted()
    write_model(tmp_path / "bot")
    done = blankly_deploy(
        "deploy",
        "--model-path",
        "bot",
        *flags,
        "--model-id=m",
        "--api-url",
        server.url,
        cwd=tmp_path,
        environ={"INPUT_TOKEN": TOKEN},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(server.requests_to("POST /model/deploy")) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--data", "d", "--port", "99999"],
        ["serve", "--data", "d", "--port", "-1"],
        ["login", "--timeout-minutes", "nan"],
        ["login", "--app-url", "ftp://x"],
        ["deploy", "--dry-run", "yes"],
        ["validate", "loop"],
    ],
)
def test_a_wrong_value_on_the_command_line_is_refused(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    write_model(tmp_path)
    done = blankly_deploy(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_closing_the_terminal_leaves_no_bundle(runner: Runner, scripted: Scripted) -> None:
    """The bundle may contain exchange keys."""
    server = scripted({"POST /model/deploy": Hang()})
    process = start(runner, api_url=server.url, token=TOKEN, model_id="m")
    wait_for(lambda: "POST /model/deploy" in server.routes())
    process.send_signal(signal.SIGHUP)
    ended = finish(runner, process)
    assert ended.code == 128 + signal.SIGHUP
    assert list((runner.root / "temp").iterdir()) == []


def test_a_full_disk_behind_standard_output_is_reported(tmp_path: Path) -> None:
    """`schema > file` must not look as if it had worked."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "deploy_action", "schema"],
            env=terminal(),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device\n"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_an_authority_in_the_workspace_is_trusted(runner: Runner, variable: str) -> None:
    """The path is relative to the workspace, which is all that the container sees."""
    authority = trustme.CA()
    (runner.workspace / "ours.pem").write_bytes(authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    routes = {"POST /auth/token": SIGN_IN, "POST /model/deploy": DEPLOYED}
    handlers = {route: answering(200, reply.body) for route, reply in routes.items()}
    with WireServer(handlers, tls=context) as server:
        inputs = {"api_url": server.url, "token": TOKEN, "model_id": "m", "project_id": "p"}
        runner.environ |= dict.fromkeys(NAMES, "")
        ended = finish(runner, start(runner, **inputs))
        assert ended.code == 1
        assert "in the variable `REQUESTS_CA_BUNDLE`" in ended.summary
        runner.environ[variable] = "ours.pem"
        ended = finish(runner, start(runner, **inputs))
        assert ended.code == 0, ended.log
        assert ended.outputs["status"] == "deployed"
        runner.environ[variable] = "gone.pem"
        ended = finish(runner, start(runner, **inputs))
        assert ended.code == 2
        assert f"`{variable}`" in ended.summary
        assert server.count("POST /model/deploy") == 1
