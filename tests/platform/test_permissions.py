"""What a server keeps is its owner's alone, whatever the umask: all the time, and in a backup."""

from __future__ import annotations

import ast
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from deploy_action.platform.storage import data_directory
from tests.support.isolated_server import Served, isolated_server
from tests.support.serving_process import ROOT
from tests.support.waiting import wait_for

# Models of other users pass through these, and list none of them.
PASSABLE = re.compile(r"\.|runs(/[^/]+)?|state|live(/copies(/[^/]+(/[^/]+)?)?)?")
# A model may read the reason of its stop, and every user may read packages and prices. Locks are
# empty, and in a directory that nobody else enters.
READABLE = re.compile(
    r"live/copies/[^/]+/[^/]+/stop-reason|live/locks/.+|(environments|prices)(/.*)?"
)
MODEL = """
import os, time
open(os.path.join(os.environ["BLANKLY_STATE_DIR"], "notes"), "w").write("x")
report("started")
report("order", id="1", symbol="BTC-USD", side="buy", type="market", size=1, status="open")
print("ready", flush=True)
while True:
    time.sleep(60)
"""
BACKTESTED = """
import json, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(words["--result"], "w") as file:
    json.dump({"account_values": [], "metrics": {}, "trades": []}, file)
time.sleep(0.3)
report("finished", problems=[])
"""


def opened_to_others(data: Path) -> dict[str, str]:
    """Return what in a data directory other users may do something with, and should not."""
    found = {}
    for folder, directories, files in os.walk(data):
        for name in (".", *files, *directories) if folder == str(data) else (*files, *directories):
            path = Path(folder, name)
            place = os.path.relpath(path, data)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue
            allowed = 0
            if stat.S_ISDIR(mode) and PASSABLE.fullmatch(place):
                allowed = 0o011
            elif READABLE.fullmatch(place):
                allowed = 0o055 if stat.S_ISDIR(mode) else 0o044
            if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077 & ~allowed:
                found[place] = stat.filemode(mode)
    return found


@contextmanager
def watched(data: Path) -> Iterator[dict[str, str]]:
    """Look again and again what others may do, and return it."""
    found: dict[str, str] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            found.update(opened_to_others(data))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def upload_slowly(served: Served) -> None:
    """Send the first half of an upload, have it seen for a while, and leave."""
    head = (
        "POST /model/deploy HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
        f"token: {served.platform.id_token}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="model"; filename="model.zip"\r\n\r\n'
    )
    incoming = served.data / data_directory.INCOMING
    place = urlsplit(served.url)
    with socket.create_connection((place.hostname, place.port)) as client:
        client.sendall(head.encode() + b"PK" * 4_000_000)
        wait_for(lambda: list(incoming.iterdir()))
        time.sleep(0.1)
    wait_for(lambda: not list(incoming.iterdir()))


def use(served: Served) -> None:
    """Deploy, run, backtest, report, look at pages, and stop."""
    model_id = served.platform.create_model()
    served.deploy(model_id, MODEL, **{"keys.json": "{}"})
    served.wait_for_line(model_id, "ready")
    served.backtest(BACKTESTED)
    upload_slowly(served)
    served.platform.details(model_id)
    fields = {"projectId": served.platform.user_id, "modelId": model_id}
    served.platform.post("/model/kill", **fields).raise_for_status()


def command(*words: str) -> None:
    """Run a command of the program, as an operator without a umask does."""
    subprocess.run(
        [sys.executable, "-m", "deploy_action", *words], cwd=ROOT, umask=0, check=True, timeout=60
    )


def test_what_a_server_keeps_is_its_owners_alone(tmp_path: Path) -> None:
    backups, restored = tmp_path / "backups", tmp_path / "restored"
    backups.mkdir(mode=0o700)
    with isolated_server(tmp_path, umask=0) as served, watched(served.data) as found:
        use(served)
        with watched(backups) as beside:
            command("backup", str(backups / "it.tar"), "--data", str(served.data))
        command("clean", "--data", str(served.data))
        names = {path.name for path in served.data.iterdir()}
    assert found == {}
    kept = {data_directory.BUNDLES, data_directory.RESULTS, data_directory.LOGS}
    assert names > {data_directory.DATABASE, data_directory.STATE, data_directory.LIVE, *kept}
    assert f"{data_directory.DATABASE}-wal" in names
    assert beside == {}
    assert opened_to_others(backups) == {}
    command("restore", str(backups / "it.tar"), "--data", str(restored))
    assert opened_to_others(restored) == {}


def test_the_token_that_a_server_makes_is_its_owners_alone(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.umask(0); from pathlib import Path\n"
        "from deploy_action.platform.api.credentials import load_or_create_refresh_token as load\n"
        "load(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")], cwd=ROOT, check=True
    )
    assert done.returncode == 0
    assert opened_to_others(tmp_path / "data") == {}


SECRET = re.compile(r"token|secret|passw|csrf|signature|cookie", re.IGNORECASE)
# Comparisons of what is no secret, or only a digest of one.
PUBLIC = {
    "_key_id(each) == token_id",  # the id of a key, which lists show
    "_id(token) in self._ended",
    "REFRESH_TOKEN.name in {field.name for field in route.fields}",
    "secret in text",  # what must not be shown is looked for in it
    "secret in lines[number]",
}


def names_in(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr


def test_secrets_are_compared_in_constant_time() -> None:
    """By the code: no other comparison in the parts that answer requests has one in it."""
    compared, safe = set(), 0
    for folder in ("api", "web"):
        for path in (ROOT / "deploy_action" / "platform" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("compare_digest"):
                    safe += 1
                is_equal = isinstance(node, ast.Compare) and isinstance(
                    node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn
                )
                if is_equal and any(map(SECRET.search, names_in(node))):
                    compared.add(ast.unparse(node))
    assert compared <= PUBLIC
    assert safe >= 4
