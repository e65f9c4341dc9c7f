"""`blankly-deploy serve --notify`: what can be used, and what is refused at the start."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

from tests.support.isolated import allowed_by_this_machine
from tests.support.waiting import PATIENCE


def test_a_url_that_cannot_be_used_keeps_the_server_from_starting(tmp_path: Path) -> None:
    password = secrets.token_hex(8)
    command = [sys.executable, "-m", "deploy_action", "serve", "--port", "0", "--data"]
    done = subprocess.run(
        [*command, str(tmp_path / "data"), "--notify", f"nosuchservice://me:{password}@host"],
        env={**os.environ, **allowed_by_this_machine(), "PLATFORM_NOTIFY": f"tgram://{password}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 2, done.stderr
    assert "listening on" not in done.stdout
    assert "Notification URL 1, which begins with `nosuchservice://`, cannot be used" in done.stderr
    assert "Notification URL 2, which begins with `tgram://`, cannot be used" in done.stderr
    assert password not in done.stdout + done.stderr
