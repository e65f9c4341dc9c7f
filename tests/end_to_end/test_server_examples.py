"""The files in `examples/server`, as systemd and Caddy read them; see also tests/image."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from deploy_action.cli import parse_command
from tests.support.serve_command import serve_command
from tests.support.waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "examples" / "server"
UNIT = (SERVER / "blankly.service").read_text(encoding="utf-8")


def needs(command: str) -> str:
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"{command} is not installed")
    return found


def seconds(name: str) -> int:
    (value,) = re.findall(rf"^{name}=(\d+)$", UNIT, re.MULTILINE)
    return int(value)


def analyze(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Let systemd read the unit, with the program where it is here."""
    program = Path(sysconfig.get_path("scripts")) / "blankly-deploy"
    unit = tmp_path / "blankly.service"
    unit.write_text(UNIT.replace("/opt/blankly/bin/blankly-deploy", str(program)))
    return subprocess.run(
        [needs("systemd-analyze"), *arguments, str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_the_unit_hardened(tmp_path: Path) -> None:
    """It is root for the sake of its models' users, and has few of root's rights."""
    done = analyze(tmp_path, "security", "--offline=true", "--threshold=35")
    assert done.returncode == 0, done.stdout


def test_the_command_of_each_example_is_right() -> None:
    (line,) = re.findall(r"^ExecStart=\S+ (.*)$", UNIT, re.MULTILINE)
    compose = yaml.safe_load((SERVER / "compose.yml").read_text(encoding="utf-8"))
    service = compose["services"]["blankly"]
    waits = {
        parse_command(line.split()).stop_seconds: seconds("TimeoutStopSec"),
        parse_command(service["command"]).stop_seconds: int(service["stop_grace_period"][:-1]),
    }
    for given, most in waits.items():
        assert given + 20 <= most  # backtests, connections and the last processes take theirs


def has_certificate(port: int, context: ssl.SSLContext) -> bool:
    """Whether Caddy has made the certificate of the site: until then it refuses to shake hands."""
    try:
        with (
            socket.create_connection(("localhost", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost"),
        ):
            return True
    except ssl.SSLError:
        return False


@contextmanager
def caddy(tmp_path: Path, server: str) -> Iterator[tuple[str, ssl.SSLContext]]:
    """Run Caddy on the example, with a certificate of its own making."""
    program = needs("caddy")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    example = (SERVER / "Caddyfile").read_text(encoding="utf-8")
    assert "bots.example.com {" in example
    assert "127.0.0.1:9080" in example
    site = example.replace("bots.example.com", f"localhost:{port}")
    site = site.replace("127.0.0.1:9080", server.removeprefix("http://"))
    settings = "{\nadmin off\nlocal_certs\nskip_install_trust\nauto_https disable_redirects\n}\n"
    (tmp_path / "Caddyfile").write_text(settings + site)
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [program, "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile"]
    root = tmp_path / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        wait_for(lambda: root.exists() and b"serving initial" in (tmp_path / "log").read_bytes())
        context = ssl.create_default_context(cafile=str(root))
        wait_for(lambda: has_certificate(port, context))
        yield f"https://localhost:{port}", context
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_caddy_puts_tls_in_front(tmp_path: Path) -> None:
    with (
        serve_command(tmp_path / "data") as served,
        caddy(tmp_path, served.url) as (url, context),
        urllib.request.urlopen(f"{url}/healthz", timeout=PATIENCE, context=context) as answer,
    ):
        assert answer.read() == b'{"status":"ok"}'
