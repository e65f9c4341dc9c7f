"""The command line, up to the inputs of a run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from deploy_action.cli import GROUPS, inputs_of, parse_command
from deploy_action.inputs.defaults import HOSTED_API_URL
from deploy_action.inputs.definitions import INPUTS, Mode


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parse_command(arguments)
    assert ended.value.code == 2
    usage, _, message = capsys.readouterr().err.partition("error: ")
    assert usage.startswith("usage: blankly-deploy")
    return message.strip()


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parse_command([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("mode", list(Mode))
def test_the_help_of_a_mode_lists_each_input_once_in_its_group(
    mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listed: dict[str, list[str]] = {}
    group = ""
    for line in help_of(capsys, mode).splitlines():
        if line and not line.startswith(" "):
            group = line.rstrip(":")
        elif line.startswith("  --"):
            listed.setdefault(group, []).append(line.split()[0].removeprefix("--"))
    assert listed == {group: list(names) for group, names in GROUPS.items()}
    names = sorted(name for names in listed.values() for name in names)
    assert names == sorted(one.name for one in INPUTS if one.name != "mode")


def test_the_help_of_a_backtest_does_not_name_the_service_that_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a token, a backtest runs on the embedded platform."""
    assert HOSTED_API_URL not in help_of(capsys, "backtest")
    assert HOSTED_API_URL in help_of(capsys, "deploy")


@pytest.mark.parametrize("name", ["gates", "ignore", "model-env"])
def test_a_flag_of_lines_may_be_given_several_times(name: str) -> None:
    command = parse_command(["backtest", f"--{name}", "a >= 1", f"--{name}=b\nc", f"--{name}", ""])
    assert inputs_of(command) == {name: "a >= 1\nb\nc\n"}


def test_the_inputs_with_lines_are_those_of_the_contract() -> None:
    assert [one.name for one in INPUTS if one.lines] == [
        "windows",
        "model-env",
        "include",
        "ignore",
        "gates",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["deploy", "--plan", "nano", "--plan=medium"],
        ["deploy", "--plan=", "--plan=medium"],
        ["validate", "--dry-run", "--dry-run", "false"],
        ["serve", "--data", "a", "--data", "a"],
        ["serve", "--data", "a", "--port", "9080", "--port", "9080"],
        ["login", "--timeout-minutes", "1", "--timeout-minutes", "1"],
    ],
)
def test_any_other_flag_given_twice_is_refused(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    flag = arguments[-2].partition("=")[0] if "=" not in arguments[-1] else "--plan"
    assert refusal(capsys, *arguments) == f"argument {flag}: may be given only once"


def test_a_model_given_in_two_ways_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "both MODEL_PATH and --model-path" in refusal(capsys, "deploy", "a", "--model-path", "b")
    assert inputs_of(parse_command(["deploy", "a", "--model-path", ""])) == {"model-path": "a"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deploi"], "unknown command `deploi`; did you mean `deploy`?"),
        (["xyz"], "unknown command `xyz`"),
        (["deploy", "--modle-id=x"], "unknown flag `--modle-id`; did you mean `--model-id`?"),
        (["deploy", "a", "--nonsense", "x"], "unknown flag `--nonsense`"),
        (["deploy", "a", "b"], "unexpected argument `b`"),
        (["serve", "--data", "d", "--prot", "1"], "unknown flag `--prot`; did you mean `--port`?"),
    ],
)
def test_an_unknown_word_gets_a_suggestion(
    arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *arguments) == message
