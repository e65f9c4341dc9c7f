"""Shell scripts run on bash 3.2, which is what macOS has as /bin/bash."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Construct, and the first version of bash that has it (bash's CHANGES and NEWS).
NEWER = {
    r"\b(declare|local|typeset)\s+-\w*A": "associative array, 4.0",
    r"\b(mapfile|readarray|coproc)\b": "builtin, 4.0",
    r"\$\{!?\w+(\[[^]]*\])?[,^]": "case modification, 4.0",
    r"\|&": "pipe of both streams, 4.0",
    r"&>>": "append of both streams, 4.0",
    r";;?&": "case that goes on, 4.0",
    r"\{\w+\.\.\w+\.\.-?\w+\}": "sequence with a step, 4.0",
    r"\bBASHPID\b": "variable, 4.0",
    r"\bglobstar\b": "option, 4.0",
    r"\{\w+\}[<>]": "redirection to a new descriptor, 4.1",
    r"\[\[?\s+-[vR]\s": "test of a variable, 4.2 or 4.3",
    r"\$?'[^']*\\[uU][0-9a-fA-F]{2}": "Unicode escape, 4.2",
    r"%\([^)]*\)T": "time format of printf, 4.2",
    r"\blastpipe\b": "option, 4.2",
    r"\$\{\w+:[^}:]+:\s*-": "negative length, 4.2",
    r"\b(declare|local|typeset)\s+-\w*g": "global declaration, 4.2",
    r"\b(declare|local|typeset)\s+-\w*n": "name reference, 4.3",
    r"\bwait\s+-\w*[np]": "wait for any job, 4.3",
    r"\$\{\w+\[-": "negative index, 4.3",
    r"\$\{[^}]+@\w\}": "transformation, 4.4",
    r"\blocal\s+-\s*$": "local options, 4.4",
    r"\binherit_errexit\b": "option, 4.4",
    r"\bEPOCH(SECONDS|REALTIME)\b|\bSRANDOM\b": "variable, 5.0",
}
_EMPTY = re.compile(r"\b(\w+)=\(\s*\)")


def newer_syntax(script: str) -> Iterator[str]:
    """Yield each construct that bash 3.2 does not have, with its line.

    Under `set -u` it also refuses `"${a[@]}"` for an array without elements (fixed in 4.4), which
    is written `${a[@]+"${a[@]}"}` instead.
    """
    empty = "|".join(_EMPTY.findall(script))
    for number, line in enumerate(script.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for pattern, what in NEWER.items():
            if re.search(pattern, line):
                yield f"{number}: {what}"
        unguarded = re.sub(r'\$\{(\w+)\[@\]\+"\$\{\1\[@\]\}"\}', "", line)
        if empty and re.search(rf"\$\{{({empty})\[[@*]\]", unguarded):
            yield f"{number}: array that may be empty, 4.4"


def scripts() -> list[Path]:
    """Return the tracked files that bash runs."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and _is_script(path)]


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(ba)?sh$", file.readline().rstrip()) is not None


def test_scripts_run_on_the_bash_of_macos() -> None:
    found = scripts()
    assert {path.name for path in found} >= {"run", "demo.sh", "environment.sh", "image.sh"}
    assert {path.name: list(newer_syntax(path.read_text(encoding="utf-8"))) for path in found} == {
        path.name: [] for path in found
    }


@pytest.mark.parametrize(
    "line",
    [
        "declare -A seen",
        "local -rA seen",
        "mapfile -t lines <file",
        'echo "${name,,}" "${name^}"',
        "make |& tee log",
        "make &>>log",
        "a) echo a ;;&",
        "a) echo a ;&",
        "for n in {1..9..2}; do :; done",
        "exec {log}>file",
        "[[ -v name ]]",
        "echo $'\\u00e9'",
        "printf '%(%F)T' -1",
        'echo "${name:1:-1}"',
        "local -n other=$1",
        "wait -n",
        'echo "${names[-1]}"',
        'echo "${*@Q}"',
        'echo "${name@Q}"',
        "shopt -s inherit_errexit",
        "echo $EPOCHSECONDS",
        'names=(); ls "${names[@]}"',
        "names=(); echo ${names[*]}",
    ],
)
def test_newer_syntax_is_found(line: str) -> None:
    assert len(list(newer_syntax(f"set -u\n{line}\n"))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "# declare -A in a comment",
        'wanted=$(<"$stamp")',
        'names=(a b); names+=(c); ls "${names[@]}"',
        'names=(); ls ${names[@]+"${names[@]}"}; echo ${#names[@]}',
        'echo "${2:?give a tag}" "${name%% *}" "${name:-a,b}" "${name:1:2}" "${!name}"',
        "make >log 2>&1 && echo 'done'; case $x in a) ;; esac",
        "echo {1..9} $'\\n' >&2",
        "[[ -f $stamp && -n $name ]]",
        "local name; wait $!",
    ],
)
def test_older_syntax_is_let_through(line: str) -> None:
    assert list(newer_syntax(f"set -u\n{line}\n")) == []
