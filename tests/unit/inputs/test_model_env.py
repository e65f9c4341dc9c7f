from __future__ import annotations

import secrets

import pytest

from deploy_action.errors import InvalidInputError, Problem, Severity
from deploy_action.inputs.definitions import read_inputs
from deploy_action.inputs.model_env import parse_model_env
from deploy_action.inputs.secrets import secrets_of
from deploy_action.inputs.settings import Settings, parse_settings


def settings_of(text: str) -> Settings:
    environ = {"INPUT_MODE": "validate", "INPUT_MODEL-ENV": text}
    return parse_settings(read_inputs(environ))


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInputError) as raised:
        settings_of(text)
    return tuple(one for one in raised.value.problems if one.severity is Severity.ERROR)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("  A = b c  ", "b c"),
        ("A=b # no comment", "b # no comment"),
        ("A=b=c==", "b=c=="),
        ("A=' b '", " b "),
        ('A="b"', "b"),
        ('A=""b""', '"b"'),
        ("A='b\"", "'b\""),
        ("A='", "'"),
        ("A=$HOME/${B}\\n`c`", "$HOME/${B}\\n`c`"),
        ('A={"b": "c"}', '{"b": "c"}'),
        ("A=ä€😀", "ä€😀"),
    ],
)
def test_a_value_is_taken_as_it_is_without_its_outer_quotes(line: str, value: str) -> None:
    assert settings_of(line).model_env == {"A": value}


def test_comments_blank_lines_and_other_line_ends_are_left_out() -> None:
    text = "\ufeff# a comment\r\n\r\nA=1\r\n  # another\rB=#2\n"
    assert settings_of(text).model_env == {"A": "1", "B": "#2"}


def test_unset_is_not_the_same_as_no_variables() -> None:
    assert settings_of("  \n").model_env is None
    assert settings_of("# none").model_env == {}


@pytest.mark.parametrize(
    "name",
    [
        *("BACKTESTING", "BACKTESTING_ID", "BLANKLY_STATE_DIR", "BLANKLY_"),
        *("PYTHONPATH", "INPUT_TOKEN", "GITHUB_TOKEN"),
    ],
)
def test_names_of_platform_and_runner_are_refused(name: str) -> None:
    value = secrets.token_hex(8)
    (problem,) = problems_of(f"A=1\n{name}={value}")
    assert problem.message.startswith(f"Input `model-env`, line 2: `{name}` may not be given")
    assert value not in problem.text()


def test_names_that_only_begin_like_them_are_taken() -> None:
    wanted = {"PYTHONPATHS": "1", "blankly_x": "2", "INPUTS": "3", "BACKTEST": "4", "BLANKLY": "5"}
    text = "\n".join(f"{name}={value}" for name, value in wanted.items())
    assert settings_of(text).model_env == wanted


@pytest.mark.parametrize(
    "line",
    [
        *("{}", "={}", "A B={}", "1A={}", "A: {}", "export A={}", "ä={}", "{}==", "A-B='{}'"),
        *("A={}\0", "A={}\ud800"),
    ],
)
def test_every_wrong_line_is_named_and_no_value_is_shown(line: str) -> None:
    """What is before the `=` may be a value, too: of a key that was pasted with its line ends."""
    value = f"k{secrets.token_hex(16)}"
    (first, second) = problems_of(f"# c\n{line.format(value)}\nA=ok\nA=again")
    assert first.message.startswith("Input `model-env`, line 2: ")
    assert second.message == "Input `model-env`, line 4: `A` is given in line 3, too."
    assert all(value not in one.text() for one in (first, second))
    assert any(value in one for one in secrets_of({"model-env": line.format(value)}))


def test_a_pasted_key_is_refused_and_masked_line_by_line() -> None:
    """Only its last line looks like a name without a value."""
    body = [secrets.token_hex(16), f"{secrets.token_hex(16)}Q="]
    text = "\n".join(['KEY="-----BEGIN PRIVATE KEY-----', *body, '-----END PRIVATE KEY-----"'])
    found = problems_of(text)
    assert [one.message[:25] for one in found] == [
        f"Input `model-env`, line {n}" for n in (2, 3, 4)
    ]
    assert set(body) <= set(secrets_of({"model-env": text}))


def test_of_many_wrong_lines_the_first_are_named() -> None:
    found = problems_of("wrong\n" * 100)
    assert len(found) == 11
    assert found[-1].message == "Input `model-env`: 90 more lines cannot be read."


def test_more_than_a_process_gets_is_refused() -> None:
    assert len(settings_of(f"A={'x' * 65_000}").model_env or {}) == 1
    (problem,) = problems_of(f"A={'x' * 40_000}\nB={'y' * 40_000}")
    assert problem.message == "Input `model-env` has more than 64 KiB, the most that a model gets."


def test_values_of_eight_characters_or_more_are_secret() -> None:
    long, quoted = secrets.token_hex(4), secrets.token_hex(8)
    text = f"# no={secrets.token_hex(8)}\nA={long}\nB=' {quoted} '\nC=1234567\nD=********\nE="
    assert secrets_of({"model-env": text}) == (long, quoted)


def test_notices_name_short_and_blank_values() -> None:
    short, blank = settings_of("A=live\nB=\nC=' '\nD=7\nE=long enough").warnings
    assert short.severity is blank.severity is Severity.NOTICE
    assert "has 2 values of fewer than 8 characters, not masked: `A` and `D`." in short.message
    assert blank.message == "Input `model-env` gives `B` and `C` without a value."
    assert "live" not in short.text()


def test_the_settings_do_not_show_the_values() -> None:
    value = secrets.token_hex(8)
    assert value not in repr(settings_of(f"A={value}"))
    assert parse_model_env(f"A={value}") == ({"A": value}, ())
