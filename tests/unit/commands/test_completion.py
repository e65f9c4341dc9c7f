"""What shells complete, with the scripts that `blankly-deploy completion` prints."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy_action.cli import build_parsers
from deploy_action.commands.completion import completion_script

CASES = [
    (["ba"], {"backtest", "backup"}),
    (["deploy", "--model-"], {"--model-path", "--model-env", "--model-id", "--model-name"}),
    (["backtest", "--dry-run", ""], {"true", "false"}),
    (["validate", "mo"], {"models/"}),
    (["validate", "--plan", "nano", "mo"], {"models/"}),
    (["backup", "--data", "mo"], {"models/"}),
    (["deploy", "--platform-data", "mo"], {"models/"}),
    (["comment", "--report-path", "mos"], {"most.txt"}),
    (["completion", ""], {"bash", "zsh", "fish"}),
]
# What bash calls when somebody presses the tabulator.
BASH = """\
source "$0"
COMP_WORDS=(blankly-deploy "$@")
COMP_CWORD=$#
_shtab_blankly_deploy
printf '%s\\n' "${COMPREPLY[@]}"
"""
# Zsh completes on a terminal only.
ZSH = """\
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=(${(q)1} \\$fpath); autoload -U compinit; compinit -D -u; print re''ady"
zpty -r shell seen '*ready*'
zpty -w -n shell "blankly-deploy $2"$'\\t\\t'
zpty -r shell seen "*$3*"
"""


def script(shell: str, directory: Path) -> Path:
    path = directory / f"completion.{shell}"
    path.write_text(completion_script(build_parsers()[0], shell))
    (directory / "models").mkdir()
    (directory / "most.txt").touch()
    return path


def answer(shell: str, *arguments: str, cwd: Path) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "dumb"}
    done = subprocess.run(
        [shell, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(("words", "expected"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_bash_completes(words: list[str], expected: set[str], tmp_path: Path) -> None:
    offered = answer("bash", "-c", BASH, str(script("bash", tmp_path)), *words, cwd=tmp_path)
    # Bash itself adds the slash to a directory.
    assert {f"{word}/" if word == "models" else word for word in offered} == expected


@pytest.mark.parametrize(("words", "expected"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_fish_completes(words: list[str], expected: set[str], tmp_path: Path) -> None:
    line = f"source {script('fish', tmp_path)}; complete -C 'blankly-deploy {' '.join(words)}'"
    offered = answer("fish", "--no-config", "-c", line, cwd=tmp_path)
    assert {one.partition("\t")[0] for one in offered} == expected
    assert max(map(len, offered)) < 200, "a description is one sentence"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ba", "check a model and backtest it*a server's data"),
        ("deploy --model-e", "nv"),
        ("backtest --dry-run ", "true"),
        ("validate --plan nano mo", "models/"),
    ],
)
def test_zsh_completes(words: str, expected: str, tmp_path: Path) -> None:
    """It reads until it sees what is expected, else the time runs out."""
    script("zsh", tmp_path).rename(tmp_path / "_blankly-deploy")
    answer("zsh", "-f", "-c", ZSH, "zsh", str(tmp_path), words, expected, cwd=tmp_path)
