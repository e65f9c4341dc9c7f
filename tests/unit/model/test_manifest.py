from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.errors import Problem, Severity
from deploy_action.model.manifest import Manifest, load_manifest
from deploy_action.model.manifest_checks import check_backtest_args, schema_text
from deploy_action.model.manifest_search import MANIFEST_NAME
from deploy_action.text.harmless import is_placeholder

WRITTEN = (
    "{\n"
    '  "main_script": "./bot.py",\n'
    '  "python_version": "3.9",\n'
    '  "requirements": "./requirements.txt",\n'
    '  "working_directory": ".",\n'
    '  "ignore_files": ["price_caches"],\n'
    '  "backtest_args": {"to": "1y"}\n'
    "}\n"
)


def load(directory: Path, content: str | bytes | dict[str, Any]) -> tuple[Manifest | None, Any]:
    if isinstance(content, dict):
        content = json.dumps(content)
    data = content if isinstance(content, bytes) else content.encode()
    (directory / MANIFEST_NAME).write_bytes(data)
    return load_manifest(directory)


def loaded(directory: Path, content: str | bytes | dict[str, Any]) -> Manifest:
    manifest, problems = load(directory, content)
    assert problems == ()
    assert manifest is not None
    return manifest


def only(problems: tuple[Problem, ...]) -> Problem:
    assert len(problems) == 1, problems
    assert problems[0].hint
    assert problems[0].path == MANIFEST_NAME
    return problems[0]


# What is fine


def test_everything_a_manifest_says_is_read(tmp_path: Path) -> None:
    manifest = loaded(
        tmp_path,
        {
            "main_script": "./bots/one.py",
            "python_version": "3.10",
            "requirements": "deps.txt",
            "working_directory": "./run",
            "ignore_files": ["a", "*.csv"],
            "backtest_args": {"to": "2y", "initial_values": {"USD": 1e4}},
            "screener": {"schedule": "*/30 * * * *"},
            "type": "screener",
            "project_id": "p",
            "model_id": "m",
            "model_name": "My model",
            "plan": "medium",
        },
    )

    assert manifest == Manifest(
        main_script="./bots/one.py",
        python_version="3.10",
        requirements="deps.txt",
        working_directory="./run",
        ignore_files=("a", "*.csv"),
        backtest_args={"to": "2y", "initial_values": {"USD": 10000.0}},
        schedule="*/30 * * * *",
        type="screener",
        project_id="p",
        model_id="m",
        model_name="My model",
        plan="medium",
    )


def test_an_empty_object_has_the_defaults_of_the_package(tmp_path: Path) -> None:
    """Defaults are what the package generates; a missing version stays None."""
    assert loaded(tmp_path, "{}") == Manifest(
        main_script="./bot.py",
        python_version=None,
        requirements="./requirements.txt",
        working_directory=".",
        ignore_files=("price_caches", ".git", ".idea", ".vscode"),
        backtest_args={"to": "1y"},
        schedule=None,
        type="strategy",
        project_id=None,
        model_id=None,
        model_name=None,
        plan=None,
    )


@pytest.mark.parametrize(
    "content",
    [
        WRITTEN,
        "\ufeff" + WRITTEN,
        WRITTEN.replace("\n", "\r\n"),
        WRITTEN.replace("  ", "\t"),
        WRITTEN.replace('["price_caches"]', '[""]'),
        WRITTEN.replace('  "ignore_files": ["price_caches"],\n', ""),
        WRITTEN.replace("{\n", '{\n  "$schema": "x",\n', 1),
        WRITTEN.replace('{"to": "1y"}', "{}"),
        '{"$schema": "x"}',
    ],
)
def test_harmless_variants_are_no_problem(tmp_path: Path, content: str) -> None:
    assert loaded(tmp_path, content).main_script == "./bot.py"


@pytest.mark.parametrize("value", ["", " ", "*", "****", " ** "])
def test_placeholders_are_unset(tmp_path: Path, value: str) -> None:
    keys = ["project_id", "model_id", "model_name", "plan", "api_key", "api_pass"]
    manifest = loaded(tmp_path, {"main_script": "b.py"} | dict.fromkeys(keys, value))
    found = (manifest.project_id, manifest.model_id, manifest.model_name, manifest.plan)
    assert found == (None, None, None, None)
    assert manifest.secrets == ()
    assert is_placeholder(value)
    assert not is_placeholder("*a*")


def test_values_are_located(tmp_path: Path) -> None:
    manifest = loaded(tmp_path, "\ufeff" + WRITTEN)
    assert manifest.locate() == (1, 1)
    assert manifest.locate("python_version") == (3, 21)
    assert manifest.locate("ignore_files", 0) == (6, 20)
    assert manifest.locate("backtest_args", "to") == (7, 27)
    assert manifest.locate("plan") is None


# What is wrong


def test_python_version_as_a_number_is_refused_as_it_was_written(tmp_path: Path) -> None:
    """As a number, 3.10 is 3.1, so the hint shows what the file says."""
    manifest, problems = load(tmp_path, '{"main_script": "b.py",\n "python_version": 3.10}')
    problem = only(problems)
    assert problem.severity is Severity.ERROR
    assert (problem.line, problem.column) == (2, 20)
    assert "python_version is the number 3.10" in problem.message
    assert problem.hint == 'Quote it: "3.10"'
    assert manifest is not None
    assert manifest.python_version is None


@pytest.mark.parametrize(
    ("version", "message", "hint"),
    [
        ("3.1", "models run on Python 3.7 or later.", 'write "3.10", in quotes'),
        ("2.7", "models run on Python 3.7 or later.", "in quotes"),
        ("3.99", "there is no such Python yet", "in quotes"),
    ],
)
def test_a_python_that_runs_no_model_is_refused(
    tmp_path: Path, version: str, message: str, hint: str
) -> None:
    _, problems = load(tmp_path, f'{{"main_script": "b.py",\n "python_version": "{version}"}}')
    problem = only(problems)
    assert problem.severity is Severity.ERROR
    assert (problem.line, problem.column) == (2, 20)
    assert problem.message.startswith(f'python_version is "{version}": {message}')
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("main_script", 5, "main_script must be a string, not a number (5)."),
        ("main_script", None, "main_script must be a string, not null."),
        ("main_script", "", "main_script is empty."),
        ("requirements", ["a"], "requirements must be a string, not a list."),
        ("working_directory", {"a": 1}, "working_directory must be a string, not an object."),
        (
            "python_version",
            "three",
            'python_version must be a version such as "3.10", not a string',
        ),
        ("python_version", True, 'python_version must be a version such as "3.10", not true.'),
        ("ignore_files", "a", 'ignore_files must be a list, not a string ("a").'),
        ("backtest_args", [], "backtest_args must be an object, not a list."),
        ("screener", "x", 'screener must be an object, not a string ("x").'),
        ("type", "stratgy", 'type must be "strategy" or "screener", not a string ("stratgy").'),
        ("type", 1, 'type must be "strategy" or "screener", not a number (1).'),
        ("project_id", 12, "project_id must be a string, not a number (12)."),
        ("plan", False, "plan must be a string, not false."),
        ("model_name", 1.5, "model_name must be a string, not a number (1.5)."),
        ("$schema", 1, "$schema must be a string, not a number (1)."),
        ("main_script", "/etc/passwd", 'main_script is absolute: "/etc/passwd".'),
        ("main_script", "C:/bot.py", "main_script is absolute"),
        ("main_script", "a\\b.py", "main_script contains a backslash"),
        ("main_script", "a\0.py", 'main_script contains a NUL character: "a\\u0000.py".'),
        ("requirements", "../r.txt", "requirements leads out of the model"),
        ("requirements", "a/../../r.txt", "requirements leads out of the model"),
        ("working_directory", "..", "working_directory leads out of the model"),
    ],
)
def test_a_wrong_value_is_named_in_words_at_its_place(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    text = json.dumps({"model_id": "m"})[:-1] + f',\n "{key}":\t{json.dumps(value)}}}'
    _, problems = load(tmp_path, text)
    first = problems[0]
    assert first.message.startswith(message)
    assert first.severity is Severity.ERROR
    assert (first.line, first.column) == (2, len(key) + 6)
    assert {(problem.line, problem.column) for problem in problems} == {(2, len(key) + 6)}


@pytest.mark.parametrize(
    ("args", "path", "message"),
    [
        ({"to": "1 year"}, "to", 'backtest_args.to must be a length of time such as "1y"'),
        ({"to": ["1y"]}, "to", "backtest_args.to must be a length of time"),
        ({"to": -1}, "to", "backtest_args.to must be a length of time"),
        (
            {"initial_values": {"USD": "1"}},
            "initial_values",
            "backtest_args.initial_values.USD must",
        ),
        ({"to": "1y", "start_date": 1}, "start_date", 'backtest_args.start_date excludes "to"'),
        (
            {"to": "1y", "end_date": "2022-01-01"},
            "end_date",
            'backtest_args.end_date excludes "to"',
        ),
        ({"start_date": "2022-01-01"}, None, "backtest_args.end_date is missing"),
        ({"end_date": 1}, None, "backtest_args.start_date is missing"),
        ({"end_date": 1, "start_date": None}, "start_date", "backtest_args.start_date is needed"),
        ({"start_date": True, "end_date": 1}, "start_date", "backtest_args.start_date must be a"),
        ({"settings_path": 1}, "settings_path", "backtest_args.settings_path must be a string or"),
        ({"use_price": 1}, "use_price", "backtest_args.use_price must be a string"),
        (
            {"smooth_prices": 1},
            "smooth_prices",
            "backtest_args.smooth_prices must be true or false",
        ),
        ({"GUI_output": "no"}, "GUI_output", "backtest_args.GUI_output must be true or false"),
        (
            {"resample_account_value_for_metrics": True},
            "resample_account_value_for_metrics",
            'backtest_args.resample_account_value_for_metrics must be an interval such as "1d"',
        ),
        (
            {"risk_free_return_rate": "1%"},
            "risk_free_return_rate",
            "backtest_args.risk_free_return_",
        ),
        ({"benchmark_symbol": 1}, "benchmark_symbol", "backtest_args.benchmark_symbol must be a"),
    ],
)
def test_a_wrong_backtest_argument_is_named(
    tmp_path: Path, args: dict[str, Any], path: str | None, message: str
) -> None:
    manifest, problems = load(tmp_path, {"main_script": "b.py", "backtest_args": args})
    problem = only(problems)
    assert problem.message.startswith(message)
    assert manifest is not None
    expected = manifest.locate("backtest_args", *([path] if path else []))
    assert expected is not None
    if path == "initial_values":
        expected = manifest.locate("backtest_args", path, "USD")
    assert (problem.line, problem.column) == expected


@pytest.mark.parametrize(
    "args",
    [
        {"to": None},
        {"to": 86400},
        {"to": "6mo"},
        {"to": None, "start_date": "2022-01-01", "end_date": "2023-01-01"},
        {"start_date": 1640995200, "end_date": 1672531200.5},
        {"to": "1y", "start_date": None, "end_date": None},
        {"start_date": None},
        {"initial_values": None, "settings_path": None, "benchmark_symbol": None},
        {"resample_account_value_for_metrics": False},
        {"resample_account_value_for_metrics": "1d", "risk_free_return_rate": 0},
    ],
)
def test_arguments_that_the_package_takes_are_accepted(
    tmp_path: Path, args: dict[str, Any]
) -> None:
    """None is the default of several arguments, and false one value of another."""
    assert loaded(tmp_path, {"backtest_args": args}).backtest_args == args


def test_unknown_keys_are_warned_of_with_the_nearest_known_one(tmp_path: Path) -> None:
    _, problems = load(
        tmp_path,
        '{"mainScript": "b.py",\n "python-version": "3.9", "plan": "nano",\n'
        ' "backtest_args": {"gui_output": false, "zzz": 1},\n "screener": {"shedule": "x"},\n'
        ' "zzz": {"api_key": "x"}}',
    )

    assert [(item.line, item.column, item.message, item.hint) for item in problems] == [
        (1, 2, "mainScript is an unknown key and has no effect.", 'Did you mean "main_script"?'),
        (
            2,
            2,
            '"python-version" is an unknown key and has no effect.',
            'Did you mean "python_version"?',
        ),
        (
            3,
            20,
            "backtest_args.gui_output is an unknown argument of a backtest and has no effect.",
            'Did you mean "GUI_output"?',
        ),
        (
            3,
            41,
            "backtest_args.zzz is an unknown argument of a backtest and has no effect.",
            "Remove it.",
        ),
        (
            4,
            15,
            "screener.shedule is an unknown key and has no effect.",
            'Did you mean "schedule"?',
        ),
        (5, 2, "zzz is an unknown key and has no effect.", "Remove it."),
    ]
    assert {problem.severity for problem in problems} == {Severity.WARNING}


def test_a_misspelled_type_gets_the_nearest_one(tmp_path: Path) -> None:
    _, problems = load(tmp_path, {"type": "Screner"})
    assert only(problems).hint == 'Did you mean "screener"?'


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    _, problems = load(
        tmp_path,
        '{"python_version": 3.1,\n'
        ' "pln": "nano",\n'
        ' "type": "bot", // both?\n'
        ' "ignore_files": ["a", 1],\n'
        ' "requirements": "/r.txt",\n'
        ' "backtest_args": {"to": "soon",},\n'
        "}",
    )

    assert [(problem.line, problem.column) for problem in problems] == [
        (1, 20),
        (2, 2),
        (3, 10),
        (3, 17),
        (4, 24),
        (5, 18),
        (6, 26),
        (6, 32),
        (6, 34),
    ]


def test_a_wrong_value_is_blank_in_the_manifest(tmp_path: Path) -> None:
    """So that the other files are checked in the same run."""
    bad = {"main_script": "/x", "requirements": 1, "working_directory": "..", "ignore_files": [1]}
    manifest, problems = load(tmp_path, {**bad, "model_name": "Momentum"})
    assert manifest is not None
    assert (manifest.main_script, manifest.requirements) == ("", "")
    assert (manifest.working_directory, manifest.ignore_files) == (".", ())
    assert manifest.model_name == "Momentum"
    assert len([one for one in problems if one.severity is Severity.ERROR]) == len(bad)
    for key, value in (("type", 1), ("backtest_args", []), ("screener", 1), ("plan", 3.9)):
        manifest, problems = load(tmp_path, {key: value})
        assert manifest is not None
        assert any(problem.severity is Severity.ERROR for problem in problems)


# Screeners


@pytest.mark.parametrize(
    "schedule", ["30 14 * * 1-5", "*/30 * * * *", "0 9 * * MON-FRI", "0 0 1 1,7 *", "0 0 * * 7"]
)
def test_a_schedule_has_five_fields(tmp_path: Path, schedule: str) -> None:
    manifest = loaded(tmp_path, {"type": "screener", "screener": {"schedule": schedule}})
    assert manifest.schedule == schedule


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("0 30 14 * * 1-5", "has 6 fields"),
        ("* * * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("@daily", "has 1 fields"),
        ("61 * * * *", "is not a cron expression (bad minute)"),
        ("* * * * 8", "is not a cron expression (bad day-of-week)"),
        ("a b c d e", "is not a cron expression"),
        ("0 0 31 2 *", "is not a cron expression (bad day-of-month)"),
        ("1," * 500 + "1 * * * *", "is longer than 200 characters"),
    ],
)
def test_a_bad_schedule_is_an_error_of_a_screener_and_a_warning_otherwise(
    tmp_path: Path, schedule: str, words: str
) -> None:
    """A strategy never uses its schedule, so it can be deployed."""
    for kind, severity in (("screener", Severity.ERROR), ("strategy", Severity.WARNING)):
        manifest, problems = load(tmp_path, {"type": kind, "screener": {"schedule": schedule}})
        problem = only(problems)
        assert problem.message.startswith(f"screener.schedule {words}")
        assert problem.severity is severity
        assert manifest is not None
        assert (problem.line, problem.column) == manifest.locate("screener", "schedule")


def test_a_screener_needs_a_schedule(tmp_path: Path) -> None:
    _, problems = load(tmp_path, '\n {"type": "screener"}')
    problem = only(problems)
    assert (problem.line, problem.column) == (2, 2)
    assert "screener is missing" in problem.message
    _, problems = load(tmp_path, '{"type": "screener",\n "screener": {}}')
    problem = only(problems)
    assert (problem.line, problem.column) == (2, 14)
    assert "screener.schedule is missing" in problem.message
    assert problem.severity is Severity.ERROR


# Secrets


def test_real_platform_keys_are_a_warning_and_never_shown(tmp_path: Path) -> None:
    key, password = secrets.token_hex(16), secrets.token_hex(16)
    manifest, problems = load(
        tmp_path, f'{{"api_key": "{key}",\n "api_pass": "{password}", "plan": 1}}'
    )
    assert manifest is not None
    assert manifest.secrets == (key, password)
    warnings = [item for item in problems if item.severity is Severity.WARNING]
    assert [(item.line, item.column) for item in warnings] == [(1, 13), (2, 14)]
    assert all("committed by mistake" in item.message for item in warnings)
    assert all("Revoke" in item.hint for item in warnings)
    for secret in (key, password):
        assert secret not in repr(problems)
        assert secret not in repr(manifest)


def test_secrets_of_the_wrong_kind_are_not_shown(tmp_path: Path) -> None:
    number = 10**15 + secrets.randbelow(10**15)
    for content in (f'{{"api_key": {number}}}', f'{{"api_pass": [{number}]}}'):
        _, problems = load(tmp_path, content)
        assert only(problems).message.startswith("api_")
        assert str(number) not in repr(problems)


def test_every_value_given_as_a_secret_is_masked(tmp_path: Path) -> None:
    first, second, third = (secrets.token_hex(16) for _ in range(3))
    number = 10**15 + secrets.randbelow(10**15)
    manifest, _ = load(
        tmp_path,
        f'{{"api_key": "{first}", "api_key": {number}.50, "api_key": "***", "api_pass": "{second}",'
        f' "api_pass": {{"x": ["{third}", 0, null]}}, "plan": "nano"}}',
    )
    assert manifest is not None
    assert manifest.secrets == (first, f"{number}.50", second, third)


@pytest.mark.parametrize(
    "content",
    [
        '{{"api_key": "{0}", "{0}": 1, "type": "{0}"}}',
        '{{"api_key": "{0}", "main_script": "/{0}", "screener": {{"schedule": "a {0}"}}}}',
        '{{"api_key": "{0}", "plan": "x", "{0}": 1, "{0}": 2}}',
        '{{"api_key": "{0}" "{0}": 1}}',
        '{{"apiKey": "{0}", "type": "{0}", "backtest_args": {{"{0}": 1}}}}',
        '{{"api_key": "a" "{0}"}}',
        '{{"api_key" "{0}"}}',
    ],
)
def test_no_part_of_a_secret_is_shown_wherever_it_was_pasted(tmp_path: Path, content: str) -> None:
    """Texts are redacted before they are cut, because a part of a secret is not recognised."""
    secret = secrets.token_hex(64)
    _, problems = load(tmp_path, content.format(secret))
    assert problems
    assert secret[:8] not in repr(problems)


@pytest.mark.parametrize(
    "content",
    [
        '{{"plan": "x", "type": "{0}"}}',
        '{{"{0}": 1, "plan": "x"}}',
        '{{"a": 1 "{0}": 2}}',
        '{{"main_script": "../{0}"}}',
        '{{"python_version": {1}}}',
    ],
)
def test_secrets_of_the_caller_are_redacted_before_the_cut(tmp_path: Path, content: str) -> None:
    secret = secrets.token_hex(64)
    number = f"{10**80 + secrets.randbelow(10**80)}"
    (tmp_path / MANIFEST_NAME).write_text(content.format(secret, number))
    _, problems = load_manifest(
        tmp_path, redact=lambda text: text.replace(secret, "***").replace(number, "***")
    )
    assert "***" in repr(problems)
    assert secret[:8] not in repr(problems)
    assert number[:8] not in repr(problems)


def test_arguments_of_an_input_are_redacted_before_they_are_cut() -> None:
    secret = secrets.token_hex(64)
    (problem,) = check_backtest_args({secret: 1}, redact=lambda text: text.replace(secret, "***"))
    assert problem.message.startswith('backtest_args."***" is an unknown argument')


def test_long_values_and_keys_are_cut(tmp_path: Path) -> None:
    _, problems = load(
        tmp_path, {"type": "x" * 5000, "k" * 5000: 1, "main_script": "/" + "p" * 5000}
    )
    assert len(problems) == 3
    assert all(len(f"{item.message}{item.hint}") < 300 for item in problems)


def test_a_megabyte_of_problems_is_cut_and_read_in_moments(tmp_path: Path) -> None:
    started = time.process_time()
    for content in (
        {"plan": "", **{f"planning {number}": 1 for number in range(8_000)}},
        {"backtest_args": {"initial_values": {f"{n}": "x" for n in range(8_000)}}},
        {"ignore_files": [1] * 20_000},
    ):
        _, problems = load(tmp_path, content)
        assert 1 < len(problems) <= 51
        assert "more" in problems[0].message + problems[-1].message
    assert time.process_time() - started < 30


# Other files


@pytest.mark.parametrize("content", ["[]", '"a"', "[1, {}]", "null", '{"name": "x", "version": 1}'])
def test_an_unrelated_file_of_the_same_name_is_one_error(tmp_path: Path, content: str) -> None:
    manifest, problems = load(tmp_path, content)
    assert manifest is None
    problem = only(problems)
    assert "does not describe a Blankly model" in problem.message
    assert (problem.line, problem.column) == (1, 1)


def test_malformed_json_is_placed(tmp_path: Path) -> None:
    manifest, problems = load(tmp_path, '{"main_script": "b.py",\n "plan" "x"}')
    assert manifest is None
    assert only(problems).message == "Not valid JSON: missing colon after a key."
    assert (problems[0].line, problems[0].column) == (2, 9)


def test_a_manifest_is_a_readable_regular_file(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_NAME
    path.mkdir()
    assert (
        only(load_manifest(tmp_path)[1]).message
        == "blankly.json cannot be read: it is a directory."
    )
    path.rmdir()
    os.mkfifo(path)
    said = "blankly.json cannot be read: it is not a regular file."
    assert only(load_manifest(tmp_path)[1]).message == said
    path.unlink()
    path.symlink_to(path)
    assert "blankly.json cannot be read" in only(load_manifest(tmp_path)[1]).message
    path.unlink()
    path.write_bytes(b"{}" + b" " * 1024 * 1024)
    assert "larger than 1 MiB" in only(load_manifest(tmp_path)[1]).message


# For callers


def test_arguments_of_an_input_are_checked_like_those_of_the_file() -> None:
    problems = check_backtest_args({"to": "1y", "start_date": "2022-01-01", "too": 1})
    assert [(item.path, item.line, item.severity.value) for item in problems] == [
        (None, None, "error"),
        (None, None, "warning"),
    ]
    assert 'excludes "to"' in problems[0].message
    assert problems[1].hint == 'Did you mean "to"?'
    assert check_backtest_args({"to": "1y"}) == ()


@given(
    st.dictionaries(
        st.sampled_from([*json.loads(schema_text())["properties"], "other"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner)
            ),
            max_leaves=5,
        ),
        max_size=5,
    )
)
def test_no_manifest_raises_an_exception(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    manifest, problems = load(tmp_path_factory.mktemp("model"), content)
    assert manifest is not None or any(item.severity is Severity.ERROR for item in problems)
    assert all(item.line and item.column and item.hint for item in problems)
