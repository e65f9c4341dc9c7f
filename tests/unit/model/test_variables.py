"""Variables that a model reads and does not get."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from deploy_action.errors import Problem, Severity
from deploy_action.model.live.variables import Given, check_variables, names_in_files
from tests.support.model_checks import read, sound_model

RUN = Given(names=frozenset(), is_run=True)
HEAD = "import os\nimport blankly\n"
ERROR, WARNING, NOTICE = Severity.ERROR, Severity.WARNING, Severity.NOTICE


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return sound_model(tmp_path / "model")


def problems(
    model: Path, script: str, given: Given = RUN, *, is_backtest: bool = False
) -> list[Problem]:
    (model / "bot.py").write_text(HEAD + dedent(script))
    code, _ = read(model, is_backtest=is_backtest)
    return list(check_variables(code, given))


CERTAIN = [
    "token = os.environ['TELEGRAM_TOKEN']",
    "from os import environ as e\ntoken = e['TELEGRAM_TOKEN']",
    "NAME = 'TELEGRAM_TOKEN'\ntoken = os.environ[NAME]",
    "def main():\n    print(os.environ['TELEGRAM_TOKEN'])\nif __name__ == '__main__':\n    main()",
    "class Bot:\n    def __init__(self):\n        self.t = os.environ['TELEGRAM_TOKEN']\nBot()",
    "try:\n    t = os.environ['TELEGRAM_TOKEN']\nexcept ImportError:\n    t = ''",
    "if True:\n    t = os.environ['TELEGRAM_TOKEN']",
    "from settings import TOKEN",
]


@pytest.mark.parametrize("script", CERTAIN)
def test_a_variable_that_the_script_ends_without_is_an_error(model: Path, script: str) -> None:
    (model / "settings.py").write_text("import os\nTOKEN = os.environ['TELEGRAM_TOKEN']\n")
    (problem,) = problems(model, script)
    assert problem.severity is ERROR
    assert problem.message == (
        "The script reads the variable `TELEGRAM_TOKEN`, and ends with a KeyError without it, and "
        "`model-env` does not give it."
    )
    assert "`TELEGRAM_TOKEN=VALUE`, a line of the input `model-env`" in problem.hint
    assert problem.path in {"bot.py", "settings.py"}
    assert problem.line
    given = Given(names=frozenset({"TELEGRAM_TOKEN"}), is_run=True)
    assert problems(model, script, given) == []
    (notice,) = problems(model, script, Given(names=frozenset(), is_run=False))
    assert notice.severity is NOTICE
    assert "a backtest or a deploy has to give it" in notice.message


@pytest.mark.parametrize(
    ("script", "severity"),
    [
        ("token = os.getenv('TOKEN')", WARNING),
        ("token = os.environ.get('TOKEN')", WARNING),
        ("import requests\nrequests.get(os.getenv('TOKEN'))", WARNING),
        ("t = os.getenv('TOKEN')\nif not t:\n    raise ValueError('TOKEN')", WARNING),
        ("import sys\nt = os.getenv('TOKEN')\nif t is None:\n    sys.exit('TOKEN')", WARNING),
        ("def tick(p, s, state):\n    os.environ['TOKEN']\nprint(tick)", WARNING),
        ("def f():\n    return os.environ['TOKEN']\ntry:\n    f()\nexcept KeyError: pass", WARNING),
        ("import sys\nif len(sys.argv) > 1:\n    os.environ['TOKEN']", NOTICE),
        ("class A:\n    def f(self):\n        os.environ['TOKEN']\nA().f()", NOTICE),
    ],
)
def test_a_variable_that_the_script_may_need_is_told(
    model: Path, script: str, severity: Severity
) -> None:
    (problem,) = problems(model, script)
    assert problem.severity is severity
    assert "`TOKEN`" in problem.message


@pytest.mark.parametrize(
    "script",
    [
        "token = os.getenv('TOKEN', '')",
        "token = os.environ.get('TOKEN', default=None)",
        "token = os.getenv('TOKEN') or 'x'",
        "if os.getenv('DEBUG'):\n    pass",
        "is_live = os.getenv('MODE') == 'live'",
        "debug = bool(os.getenv('DEBUG'))",
        "hook = os.getenv('HOOK')\nif hook:\n    print(hook)",
        (
            "class A:\n    def __init__(self):\n        self.h = os.getenv('H')\n"
            "        if self.h is not None: pass\nA()"
        ),
        "try:\n    t = os.environ['TOKEN']\nexcept KeyError:\n    t = ''",
        "try:\n    t = os.environ['TOKEN']\nexcept (OSError, LookupError):\n    t = ''",
        "try:\n    t = os.environ['TOKEN']\nexcept Exception:\n    t = ''",
        "if 'TOKEN' in os.environ:\n    t = os.environ['TOKEN']",
        "os.environ['TOKEN'] = 'x'\nt = os.environ['TOKEN']",
        "os.environ.setdefault('TOKEN', 'x')\nt = os.environ['TOKEN']",
        "os.environ.update({'TOKEN': 'x'})\nt = os.environ['TOKEN']",
        "def unused():\n    return os.environ['TOKEN']",
        "os.environ['HOME'], os.environ['PATH'], os.environ['HTTPS_PROXY'], os.environ['TZ']",
        "os.environ['BLANKLY_STATE_DIR'], os.environ['BACKTESTING']",
        "os.environ[input()]",
        "os.getenv('TOKEN')",
        "if False:\n    os.environ['TOKEN']",
    ],
)
def test_a_variable_that_the_script_can_do_without_is_not_mentioned(
    model: Path, script: str
) -> None:
    assert problems(model, script) == []


def test_a_backtest_needs_other_variables_than_a_deployed_model(model: Path) -> None:
    script = """
        if os.environ.get("BACKTESTING") == "1":
            token = os.environ["OF_BACKTEST"]
        else:
            token = os.environ["OF_DEPLOY"]
        """
    (problem,) = problems(model, script)
    assert "`OF_DEPLOY`" in problem.message
    (problem,) = problems(model, script, is_backtest=True)
    assert "`OF_BACKTEST`" in problem.message


def test_the_error_counts_where_a_variable_is_read_twice(model: Path) -> None:
    script = "a = os.getenv('TOKEN')\nb = os.environ['TOKEN']\n"
    (problem,) = problems(model, script)
    assert (problem.severity, problem.line) == (ERROR, 4)


def test_on_a_terminal_the_hint_shows_no_secret_to_other_users(model: Path) -> None:
    given = Given(names=frozenset(), is_run=True, for_runner=False)
    (problem,) = problems(model, "t = os.environ['TOKEN']", given)
    assert '`env "INPUT_MODEL-ENV=TOKEN=VALUE" blankly-deploy …`' in problem.hint
    assert "workflow" not in problem.hint


def test_at_most_ten_variables_are_named(model: Path) -> None:
    script = "".join(f"x = os.environ['V_{number}']\n" for number in range(20))
    assert len(problems(model, script)) == 10


# Files of variables

DOTENV = "from dotenv import load_dotenv\nload_dotenv()\n"
LEFT_OUT = Given(names=frozenset(), is_run=True, left_out=(".env",))


def test_a_script_that_reads_a_file_that_is_left_out_is_told_so(model: Path) -> None:
    (problem,) = problems(model, f"{DOTENV}t = os.environ['TOKEN']", LEFT_OUT)
    assert problem.severity is ERROR
    assert ".env is not packed" in problem.hint
    assert "`!/.env` in ignore_files" in problem.hint
    (problem,) = problems(model, f"{DOTENV}t = os.getenv(input())", LEFT_OUT)
    assert problem.severity is WARNING
    assert "load_dotenv, and .env is not packed" in problem.message
    given = Given(names=frozenset({"A"}), is_run=True, left_out=(".env",))
    assert problems(model, f"{DOTENV}t = os.getenv(input())", given) == []
    (problem,) = problems(model, DOTENV)
    assert problem.severity is NOTICE
    assert "there is no such file in the bundle" in problem.message
    assert problems(model, DOTENV, Given(names=frozenset(), is_run=False)) == []


def test_variables_of_a_packed_file_are_there_for_a_script_that_reads_it(model: Path) -> None:
    (model / "conf.env").mkdir()
    (model / "local.env.d").write_text("# A=1\nexport TOKEN=x\n OTHER = y\nnone\n")
    names = names_in_files(read(model)[1])
    assert names == {"TOKEN", "OTHER"}
    given = Given(names=frozenset(), is_run=True, in_files=names)
    assert problems(model, f"{DOTENV}t = os.environ['TOKEN']", given) == []
    assert len(problems(model, "t = os.environ['TOKEN']", given)) == 1
