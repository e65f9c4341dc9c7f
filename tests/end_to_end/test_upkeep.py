"""`blankly-deploy clean`, `backup` and `restore`, as a person runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import Runner, write_model
from tests.support.serve_command import serve_command


def blankly_deploy(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy_action", *arguments],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_local_runs_left_is_listed_and_cleaned(runner: Runner, tmp_path: Path) -> None:
    data = tmp_path / "home" / ".local" / "share" / "blankly-deploy" / "platform"
    for _ in range(3):
        assert runner.run(api_url="local", platform_data=str(data)).code == 0
    flags = ("--keep-versions", "1")
    told = blankly_deploy("clean", "--dry-run", *flags, home=tmp_path / "home")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{data}\n")
    assert "would remove 2 bundles" in told.stdout
    assert len(list((data / "bundles").iterdir())) == 3
    done = blankly_deploy("clean", *flags, home=tmp_path / "home")
    assert "  removed 2 bundles" in done.stdout
    assert len(list((data / "bundles").iterdir())) == 1
    again = blankly_deploy("clean", *flags, home=tmp_path / "home")
    assert again.stdout.endswith("nothing to remove\n")


def test_where_nothing_is_kept_nothing_is_made(tmp_path: Path) -> None:
    done = blankly_deploy("clean", "--data", str(tmp_path / "data"), home=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'data'}: nothing is kept there\n")
    assert not (tmp_path / "data").exists()


def test_a_server_moves_by_backup_and_restore(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    model = write_model(tmp_path / "bot")
    with serve_command(old) as served:
        token = served.lines[0].split()[-1]
        (tmp_path / "token").write_text(token)
        deploy = ("deploy", str(model), "--api-url", served.url, "--create-new", "--token", token)
        deployed = blankly_deploy(*deploy, home=tmp_path)  # it has no strategy, and need not run
        assert "Created" in deployed.stdout
        done = blankly_deploy("backup", "--data", str(old), str(file), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{file}: ")
    done = blankly_deploy("restore", "--data", str(new), str(file), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{new}: restored from {file}\n")
    with serve_command(new) as served:
        assert served.lines == []  # the token is the one it was
        validate = ("deploy", str(model), "--api-url", served.url, "--token", token, "--dry-run")
        done = blankly_deploy(*validate, "--create-new", home=tmp_path)
        assert done.returncode == 0, done.stdout
        assert "Would create" not in done.stdout


def test_a_backup_that_fails_says_why(tmp_path: Path) -> None:
    done = blankly_deploy("backup", "--data", str(tmp_path), str(tmp_path / "b"), home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path} is not a data directory of this platform.")
