from __future__ import annotations

import json
import secrets
from dataclasses import fields

import pytest

from deploy_action.bundle.including import Include
from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.inputs.definitions import INPUTS, Mode, read_inputs
from deploy_action.inputs.settings import Settings, parse_settings


def parse(**inputs: str) -> Settings:
    """Parse inputs, named `api_url` for `api-url`. By default there is a token."""
    named = {name.replace("_", "-"): value for name, value in inputs.items()}
    return parse_settings({"token": "t0ken", **named})


def problems(**inputs: str) -> list[Problem]:
    with pytest.raises(InvalidInputError) as caught:
        parse(**inputs)
    return list(caught.value.problems)


def test_defaults_are_those_of_the_contract() -> None:
    settings = parse()
    assert settings.mode is Mode.DEPLOY
    assert settings.api_url == "https://deploy.blankly.finance"
    assert settings.app_url == "https://app.blankly.finance"
    assert settings.model_path == "."
    assert settings.timeout_minutes == 30
    assert not settings.create_new
    assert not settings.dry_run
    assert not settings.fail_on_warning
    assert settings.backtest_args == {}
    assert settings.ignore == ()
    assert settings.project_id is None


def test_a_server_of_ones_own_has_no_pages_unless_they_are_named() -> None:
    assert parse(api_url="https://blankly.example").app_url == ""
    own = parse(api_url="https://blankly.example", app_url="https://pages.example/")
    assert own.app_url == "https://pages.example"


def test_every_input_is_parsed() -> None:
    """`comment_wanted` parses its inputs itself, so that a failed run can comment."""
    parsed = {one.name.replace("_", "-") for one in fields(Settings)} - {"warnings", "for-runner"}
    of_comment = {"comment": "two words", "comment-key": "two\nlines", "github-token": "two words"}
    assert parsed | of_comment.keys() == {one.name for one in INPUTS}
    for name, wrong in of_comment.items():
        assert f"`{name}`" in problems(**{name: wrong})[0].message


def test_the_runner_passes_inputs_in_upper_case_with_hyphens() -> None:
    inputs = read_inputs({"INPUT_MODEL-PATH": "bots/a", "INPUT_PLAN": "  ", "MODEL_PATH": "no"})
    assert inputs == {"model-path": "bots/a"}


def test_a_byte_order_mark_before_a_value_is_left_out() -> None:
    """A secret that was made from a file of Windows begins with one."""
    given = {"token": "t0ken", "gates": "sharpe > 1", "dry-run": "true", "mode": "backtest"}
    marked = {f"INPUT_{name.upper()}": f"\ufeff{value}" for name, value in given.items()}
    assert read_inputs(marked) == given
    assert read_inputs({"INPUT_TOKEN": "\ufeff"}) == {}


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_a_token_in_quotes_is_refused_and_not_shown(quote: str) -> None:
    (problem,) = problems(token=f"{quote}s3cret-token{quote}")
    assert problem.message == "Input `token`: it is in quotes, which no token has."
    assert "s3cret" not in repr(problem)


@pytest.mark.parametrize(
    ("version", "why", "hint"),
    [
        ("3.1", "3.7 or later", 'write "3.10", in quotes'),
        ("2.7", "3.7 or later", "in quotes"),
        ("3.6", "3.7 or later", "in quotes"),
        ("3.16", "no such Python yet", "in quotes"),
        ("4.0", "no such Python yet", "in quotes"),
        ("three", "a major and a minor version", "is the number 3.1"),
    ],
)
def test_a_python_that_runs_no_model_is_refused(version: str, why: str, hint: str) -> None:
    (problem,) = problems(python_version=version)
    assert f"`python-version` is `{version}`" in problem.message
    assert why in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize("version", ["3.7", "3.10", "3.15"])
def test_a_python_that_a_server_may_have_is_taken(version: str) -> None:
    assert parse(python_version=version).python_version == version


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_true_is_written_as_in_yaml(word: str) -> None:
    """The YAML 1.2 core schema has these and no others."""
    assert parse(dry_run=word).dry_run


@pytest.mark.parametrize("word", ["yes", "1", "on", "tRUE", "y", "true false"])
def test_other_booleans_are_refused(word: str) -> None:
    """A guessed boolean could deploy by mistake."""
    (problem,) = problems(create_new=word)
    assert "`create-new`" in problem.message
    assert f"`{word}`" in problem.message
    assert "`true` or `false`" in problem.message


def test_all_bad_inputs_are_reported_at_once() -> None:
    found = problems(
        mode="deplyo",
        api_url="ftp://x",
        dry_run="maybe",
        timeout_minutes="-1",
        python_version="three",
        backtest_args="[1, 2]",
        model_id="a/b",
    )
    named = {problem.message.split("`")[1] for problem in found}
    assert named == {
        "mode",
        "api-url",
        "dry-run",
        "timeout-minutes",
        "python-version",
        "backtest-args",
        "model-id",
    }


def test_a_missing_token_says_where_to_get_one() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_settings({"api-url": "https://blankly.example"})
    (problem,) = caught.value.problems
    assert "`token` is missing" in problem.message
    assert "blankly-deploy login" in problem.hint
    assert "forks" in problem.hint


def test_on_a_terminal_a_token_comes_from_a_variable() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_settings({"api-url": "https://blankly.example"}, for_runner=False)
    (problem,) = caught.value.problems
    assert problem.hint.startswith("Put the token into the variable INPUT_TOKEN.")
    assert "secrets" not in problem.hint


def test_without_a_server_and_a_token_the_ways_on_come_first() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_settings({"timeout-minutes": "never"})
    first, second = caught.value.problems
    assert first.message.startswith("Blankly's hosted service was taken down.")
    assert "`blankly-deploy serve`" in first.message
    assert "`api-url: local`" in first.message
    assert "`token`" in first.hint
    assert "timeout-minutes" in second.message


@pytest.mark.parametrize(
    "inputs",
    [{"api-url": "local"}, {"mode": "validate"}, {"dry-run": "true"}],
    ids=["local", "validate", "dry-run"],
)
def test_no_token_is_needed_where_nothing_is_sent(inputs: dict[str, str]) -> None:
    assert parse_settings(inputs).token is None


def test_gates_are_parsed_and_every_wrong_line_is_named() -> None:
    gates = parse(gates="# none here\n\nsharpe >= 1 # this one\n").gates
    assert [gate.metric for gate in gates] == ["sharpe"]
    assert len(problems(gates="sharp >= 1\nsharpe >= 1\ntrades\n")) == 2


@pytest.mark.parametrize("name", [one.name for one in INPUTS if not one.secret])
@pytest.mark.parametrize("before", ["", "/libs/", "a: ", "x: [1, ", "2022: 2022-01-01.."])
def test_no_part_of_a_secret_that_is_pasted_into_another_input_is_shown(
    name: str, before: str
) -> None:
    """Messages quote values, and parts of them, up to some length."""
    token = secrets.token_hex(64)
    for length in range(0, 200, 25):
        value = f"{before}{'*.' * length}{token}"
        try:
            settings = parse(token=token, **{name.replace("-", "_"): value})
        except InvalidInputError as refused:
            told = refused.problems
        else:
            told = settings.warnings
        assert not any(token[:12] in f"{one.message} {one.hint}" for one in told)


def test_a_secret_that_is_all_that_is_wrong_with_the_gates_is_an_error() -> None:
    """Its second half stands on a line of its own, where no comment begins."""
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    (problem,) = problems(token=first + second, gates=f"sharpe > 1  # {first}\n{second}")
    assert "`gates`" in problem.message
    assert second[:8] not in problem.text()


def test_a_secret_that_is_a_part_of_a_gate_changes_no_gate() -> None:
    """A secret may happen to be a word such as `base`."""
    keys = json.dumps({"a": {"b": {"key": "base", "pin": "10000"}}})
    settings = parse(
        gates="final_account_value >= 10000\nsharpe >= base - 50%",
        keys_json=keys,
        compare_with="main",
    )
    assert [gate.needs_base for gate in settings.gates] == [False, True]


def test_a_gate_that_may_be_misread_is_a_warning() -> None:
    settings = parse(gates="final_account_value >= 110%")
    assert len(settings.gates) == 1
    (warning,) = settings.warnings
    assert warning.severity is Severity.WARNING


@pytest.mark.parametrize("gate", ["sharpe >= base", "identical"])
def test_a_gate_that_needs_a_base_is_refused_without_one(gate: str) -> None:
    """It cannot pass, and would cost a backtest."""
    (problem,) = problems(gates=f"trades >= 1\n{gate}")
    assert f"Gate `{gate}` cannot pass: it needs a base" in problem.message
    assert parse(gates=gate, compare_with="main").warnings == ()


def test_a_gate_over_windows_is_refused_without_windows() -> None:
    (problem,) = problems(gates="trades >= 1\nworst sharpe > 0")
    assert "Gate `worst sharpe > 0` cannot pass: it is about several backtests" in problem.message


def test_warnings_are_reported_beside_errors() -> None:
    found = problems(gates="final_account_value >= 110%", plan="a\nb")
    assert [one.severity for one in found] == [Severity.ERROR, Severity.WARNING]


@pytest.mark.parametrize(
    ("inputs", "first"),
    [
        ({}, False),
        ({"gates": "# later"}, False),
        ({"gates": "trades >= 1"}, True),
        ({"compare_with": "main"}, True),
        ({"gates": "trades >= 1", "mode": "backtest"}, False),
        ({"gates": "trades >= 1", "mode": "validate"}, False),
    ],
)
def test_a_deploy_with_gates_or_a_comparison_is_tested_first(
    inputs: dict[str, str], *, first: bool
) -> None:
    assert parse(**inputs).tests_first is first


@pytest.mark.parametrize(
    "url",
    [
        "deploy.example",
        "http://",
        "https://u:p4ssw0rd@deploy.example",
        "https://deploy.example?x=1",
        "https://deploy.example/#x",
        "https://deploy.example:99999",
        "https://exa mple",
        "Local",
    ],
)
def test_a_malformed_url_is_refused(url: str) -> None:
    (problem,) = problems(api_url=url)
    assert "`api-url`" in problem.message
    assert "p4ssw0rd" not in problem.message


def test_a_url_loses_its_last_slash() -> None:
    assert parse(api_url="https://deploy.example/api/").api_url == "https://deploy.example/api"


@pytest.mark.parametrize(("text", "minutes"), [("0.5", 0.5), ("30", 30), ("1e1", 10), (" 2 ", 2)])
def test_a_deadline_may_be_a_fraction(text: str, minutes: float) -> None:
    assert parse(timeout_minutes=text).timeout_minutes == minutes


@pytest.mark.parametrize("text", ["0", "nan", "inf", "-5", "1h", "1e9", ".", "1_0"])
def test_an_invalid_deadline_is_refused(text: str) -> None:
    (problem,) = problems(timeout_minutes=text)
    assert "`timeout-minutes`" in problem.message


def test_backtest_arguments_may_be_yaml_or_json() -> None:
    """Nulls are kept: they remove a key later."""
    assert parse(backtest_args="to: 2y\nstart_date: null").backtest_args == {
        "to": "2y",
        "start_date": None,
    }
    assert parse(backtest_args='{\n\t"to":\t"2y"\n}').backtest_args == {"to": "2y"}


def test_patterns_keep_their_lines_and_spaces() -> None:
    """In `.gitignore` a leading space counts, and a trailing one can be escaped."""
    assert parse(ignore="*.csv\n !keep.csv\n\nlog\\ ").ignore == (
        "*.csv",
        " !keep.csv",
        "",
        "log\\ ",
    )


def test_keys_are_passed_as_they_are_and_never_shown() -> None:
    secret = secrets.token_hex(8)
    document = json.dumps({"alpaca": {"main": {"API_KEY": secret}}})
    settings = parse(keys_json=document)
    assert settings.keys_json == document.encode()
    assert secret not in repr(settings)
    assert "t0ken" not in repr(settings)
    (problem,) = problems(keys_json=document[:-1])
    assert "`keys-json`" in problem.message
    assert secret not in problem.message + problem.hint
    (problem,) = problems(keys_json=f'["{secret}"]')
    assert secret not in problem.message + problem.hint
    (problem,) = problems(keys_json=document.replace(secret, f"{secret}\udcff"))
    assert "it is not valid JSON" in problem.message


def test_creating_needs_permission_except_on_the_embedded_platform() -> None:
    assert not parse().may_create
    assert parse(create_new="true").may_create
    assert parse(api_url="local").may_create


def test_each_mode_has_its_description() -> None:
    given = {"version_description": "v", "backtest_description": "b"}
    assert parse(**given).description == "v"
    assert parse(mode="backtest", **given).description == "b"


@pytest.mark.parametrize("name", ["plan", "model-name", "project-name", "compare-with"])
def test_a_line_break_in_a_name_is_refused(name: str) -> None:
    found = problems(**{name.replace("-", "_"): "a\nb"})
    assert f"`{name}`" in found[0].message


def test_a_long_value_is_not_repeated_whole() -> None:
    """An annotation has at most 4,096 characters."""
    (problem,) = problems(mode="x" * 5_000)
    assert len(problem.message) < 300


@pytest.mark.parametrize("mode", ["start", "stop", "rollback"])
def test_nothing_is_stopped_or_started_where_nothing_runs(mode: str) -> None:
    (problem,) = problems(mode=mode, api_url="local")
    assert f"nothing to {mode}" in problem.message
    assert "`api-url`" in problem.hint


@pytest.mark.parametrize("mode", ["start", "stop", "rollback"])
def test_a_command_to_a_model_needs_a_token(mode: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_settings({"mode": mode, "api-url": "https://blankly.example"})
    (problem,) = caught.value.problems
    assert f"mode `{mode}` speaks to https://blankly.example" in problem.message


def test_a_mode_that_is_unknown_names_all_there_are() -> None:
    (problem,) = problems(mode="kill")
    assert all(f"`{mode}`" in problem.message for mode in Mode)


def test_unchanged_takes_two_words() -> None:
    assert parse().unchanged is False
    assert parse(unchanged="skip").unchanged is True
    (problem,) = problems(unchanged="true")
    assert "`deploy` or `skip`" in problem.message


def test_what_is_included_has_a_name_in_the_bundle() -> None:
    text = "libs/common/\n# shared\n\n  requirements/base.txt  =>  ./requirements.txt \nà b=>x/y"
    assert parse(include=text).include == (
        Include("libs/common", "common"),
        Include("requirements/base.txt", "requirements.txt"),
        Include("à b", "x/y"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/etc", "no path in the workspace"),
        ("../shared", "no path in the workspace"),
        ("libs/../../shared", "no path in the workspace"),
        ("libs\\common", "no path in the workspace"),
        (".", "no name of its own"),
        ("=> common", "no path in the workspace"),
        ("libs =>", "no path in the model"),
        ("libs => .", "gives no name"),
        ("libs => /common", "no path in the model"),
        ("libs => ../common", "no path in the model"),
        ("a/x\nb/x", "two lines have the name `x`"),
        ("a\0b", "control characters"),
    ],
)
def test_an_include_that_leads_elsewhere_is_refused(text: str, said: str) -> None:
    (problem,) = problems(include=text)
    assert problem.message.startswith("Input `include`")
    assert said in problem.message
