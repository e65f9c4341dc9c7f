"""Secrets in the files of a model."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path

import pytest

from deploy_action.bundle.selection import select_files
from deploy_action.errors import Severity
from deploy_action.model.leaks import find_leaked_keys, find_leaks
from deploy_action.regular_files import SourceTree
from tests.support.model_checks import check, only, place, sound_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return sound_model(tmp_path / "model")


# Keys of exchanges


def write_keys(model: Path, secret: str) -> None:
    """Write a keys.json with placeholders, and one real value in line 3, column 14."""
    (model / "keys.json").write_text(
        '{"alpaca": {"one": {"API_KEY": "****", "sandbox": false}},\n'
        ' "oanda": {"two": {"ACCOUNT_ID": "",\n'
        f'   "API_KEY": "{secret}", "NOTES": ["{secret}", 1]}}}}}}'
    )


def test_real_keys_in_the_repository_are_a_leak(model: Path) -> None:
    """The first one is located, and no value is shown."""
    secret = secrets.token_hex(16)
    write_keys(model, secret)

    for problems in (
        check(model),
        check(model, keys_injected=True),
        check(model, ignore_files=["keys.json"]),
    ):
        problem = only(problems, Severity.WARNING)
        assert "leaked" in problem.message
        assert place(problem) == ("keys.json", 3, 15)
        assert "Revoke" in problem.hint
        assert "keys-json" in problem.hint
        assert secret not in repr(problems)
    assert find_leaked_keys(SourceTree.at(model)) == (secret,)


def test_untracked_keys_are_no_leak(model: Path) -> None:
    """A workflow step or a person put them there; they are masked too."""
    secret = secrets.token_hex(16)
    write_keys(model, secret)
    assert check(model, is_tracked=lambda file: file != model / "keys.json") == ()
    assert find_leaked_keys(SourceTree.at(model)) == (secret,)


def test_placeholders_are_no_leak(model: Path) -> None:
    """The package generates a file full of them."""
    write_keys(model, "*" * 32)
    assert check(model) == ()
    assert find_leaked_keys(SourceTree.at(model)) == ()


def test_without_keys_there_is_nothing_to_leak(model: Path) -> None:
    assert find_leaked_keys(SourceTree.at(model)) == ()
    (model / "keys.json").mkdir()
    (model / "keys.json" / "x").write_text("")
    assert find_leaked_keys(SourceTree.at(model)) == ()
    assert check(model) == ()


def test_malformed_keys_are_a_warning_and_still_masked(model: Path) -> None:
    """Not if keys from the input replace them."""
    secret = secrets.token_hex(16)
    (model / "keys.json").write_text(f'{{"a": {{"K": "****", "API_KEY": "{secret}", "x" "y"}}}}')
    problem = only(check(model), Severity.WARNING)
    assert problem.message == "Not valid JSON: missing colon after a key."
    assert problem.path == "keys.json"
    assert check(model, keys_injected=True) == ()
    assert check(model, ignore_files=["keys.json"]) == ()
    assert find_leaked_keys(SourceTree.at(model)) == (secret,)


def test_keys_in_the_wrong_place_are_not_shown(model: Path) -> None:
    secret = secrets.token_hex(64)
    (model / "keys.json").write_text(f'{{"a": "{secret}", "b": 1 "{secret}": 2}}')
    problem = check(model)[0]
    assert "missing comma" in problem.message
    assert secret[:8] not in problem.message


# Files that are left out


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (".env", "# keys\nDEBUG=true\nAPI_KEY={0}\n", 3),
        (".env.live", "export API_KEY='{0}'", 1),
        ("live.env", "A=\nPASSWORD=correct horse battery\n", 2),
        ("server.pem", "x\n-----BEGIN EC {1}-----\n{0}\n", 2),
        ("kraken.key", "{0}\n{0}\n", 1),
        ("conf/id_rsa", "-----BEGIN OPENSSH {1}-----\n{0}", 1),
        ("keys.live.json", '{{"alpaca":\n {{"one": {{"API_KEY": "{0}"}}}}}}', 2),
        ("keys_paper.json", '{{"API_KEY": "{0}"}}', 1),
        ("binance.keys.json", '{{"API_KEY": "{0}"}}', 1),
        (".netrc", "machine a login b password {0}", 1),
    ],
)
def test_a_file_of_secrets_is_left_out_and_reported(
    model: Path, name: str, content: str, line: int
) -> None:
    """Where git has it, it is a leak, and else a notice. Nothing of it is shown."""
    secret = secrets.token_hex(20)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text(content.format(secret, "PRIVATE" + " KEY"))
    problems = check(model)
    problem = only(problems, Severity.WARNING)
    assert "is in the repository with what look like secrets" in problem.message
    assert (problem.path, problem.line) == (name, line)
    assert secret[:8] not in repr(problems)

    problem = only(check(model, is_tracked=lambda _: False), Severity.NOTICE)
    assert problem.message == f"{name} is not packed, because files of that name hold secrets."
    assert f"`!/{name}` in ignore_files" in problem.hint
    selection = select_files(model, [])
    assert selection.left_out == (name,)
    assert not selection.includes(name)


def test_no_pattern_packs_a_pipe_by_a_name_of_secrets(model: Path) -> None:
    """Some keepers of passwords serve a `.env` through a pipe."""
    os.mkfifo(model / ".env")
    problem = only(check(model, is_tracked=lambda _: False), Severity.NOTICE)
    assert problem.message == ".env is not packed, because files of that name hold secrets."
    assert "ignore_files" not in problem.hint
    assert "`model-env`" in problem.hint


def test_a_link_to_a_file_of_secrets_is_called_a_link(model: Path) -> None:
    (model / ".env").touch()
    (model / "settings.txt").symlink_to(".env")
    found = [one.message for one in check(model, is_tracked=lambda _: False)]
    assert found == [
        ".env is not packed, because files of that name hold secrets.",
        "settings.txt is not packed, because it is a link to a file that holds secrets.",
    ]


def test_a_pattern_takes_a_file_of_secrets_back(model: Path) -> None:
    (model / ".env").write_text("A=1\n")
    (model / "sub").mkdir()
    (model / "sub" / ".env").write_text("A=1\n")
    selection = select_files(model, ["!/.env"])
    assert selection.includes(".env")
    assert selection.left_out == ("sub/.env",)
    assert select_files(model, ["!.env"]).left_out == ()
    assert check(model, ignore_files=["!.env"]) == ()


def test_a_script_that_names_a_file_that_is_left_out_is_a_warning(model: Path) -> None:
    """With keys in another place than keys.json, the model cannot trade."""
    (model / "keys.live.json").write_text(f'{{"API_KEY": "{secrets.token_hex(20)}"}}')
    (model / "bot.py").write_text("import blankly\nblankly.Alpaca('x', './keys.live.json')\n")
    (problem,) = check(model, is_tracked=lambda _: False)
    assert problem.severity is Severity.WARNING
    assert "hold secrets, and the script names it" in problem.message
    assert len(check(model)) == 2
    assert check(model, ignore_files=["!keys.live.json"], is_tracked=lambda _: False) == ()


def test_a_pattern_may_ignore_a_file_of_secrets_without_a_notice(model: Path) -> None:
    (model / ".env").write_text("A=1\n")
    assert select_files(model, [".env"]).left_out == ()
    assert check(model, ignore_files=[".env"], is_tracked=lambda _: False) == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env.example", "API_KEY=\n"),
        (".env.sample", "API_KEY=\n"),
        ("keys.example.json", "{}"),
        ("keys-template.json", "{}"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\n"),
        ("environment.yml", "a: 1\n"),
        ("monkeys.json", "{}"),
        ("keys.py", "x = 1\n"),
        ("key.csv", "1\n"),
    ],
)
def test_other_files_are_packed(model: Path, name: str, content: str) -> None:
    (model / name).write_text(content)
    assert select_files(model, []).includes(name)
    assert check(model) == ()


@pytest.mark.parametrize(
    "content", ["", "DEBUG=true\nPORT=8080\nURL=https://x.example/\n", "API_KEY=your-key-here\n"]
)
def test_a_committed_file_without_a_secret_in_it_is_no_leak(model: Path, content: str) -> None:
    (model / ".env").write_text(content)
    assert "is not packed" in only(check(model), Severity.NOTICE).message


def test_the_password_of_an_email_account_is_a_leak(model: Path) -> None:
    secret = secrets.token_hex(6)
    text = '{{"email": {{"port": 465,\n "password": "{}"}}}}'
    (model / "notify.json").write_text(text.format(secret))
    problems = check(model)
    assert place(only(problems, Severity.WARNING)) == ("notify.json", 2, 14)
    assert secret not in repr(problems)
    assert check(model, is_tracked=lambda _: False) == ()
    for harmless in ("my_password", "****", ""):
        (model / "notify.json").write_text(text.format(harmless))
        assert check(model) == ()


# Keys in source


def mixed(length: int) -> str:
    """Return letters of both cases and digits, as keys of exchanges have them.

    None is `x`, `y` or `0`: by chance they would make an example such as `your` or `0000`.
    """
    while True:
        text = re.sub("[-_xy0]", "", secrets.token_urlsafe(3 * length), flags=re.IGNORECASE)[
            :length
        ]
        kinds = (str.isupper, str.islower, str.isdigit)
        if all(any(map(kind, text)) for kind in kinds):
            return text


@pytest.mark.parametrize(
    ("form", "length"),
    [
        ('API_KEY = "{0}"', 32),
        ("api_secret='{0}'", 40),
        ('client = Client(api_key="{0}", api_secret=s)', 64),
        ('config["secret_key"] = "{0}"', 32),
        ('KEYS = {{"apiKey": "{0}"}}', 32),
        ('TOKEN: str = "{0}"', 32),
        ('client = Client("{0}", x)', 64),
        ('url = "postgres://bot:{0}@db.example/x"', 24),
        ('PEM = "-----BEGIN RSA {1}-----"', 0),
        ('T = "987612340:AA{0}"', 33),
        ('t = "ghp_{0}"', 36),
        ('t = "{2}-{2}"', 0),
    ],
)
def test_a_likely_key_in_a_script_is_reported_with_its_line(
    model: Path, form: str, length: int
) -> None:
    secret = mixed(length) if length else secrets.token_hex(16)
    key = form.format(secret, "PRIVATE" + " KEY", secret)
    (model / "bot.py").write_text(f"import blankly\n\n\n{key}\n")
    problems = check(model)
    problem = only(problems, Severity.WARNING)
    assert "is in the repository" in problem.message
    assert (problem.path, problem.line) == ("bot.py", 4)
    assert secret not in repr(problems)
    assert secret not in repr(find_leaks(select_files(model, [])))
    untracked = only(check(model, is_tracked=lambda _: False), Severity.NOTICE)
    assert "in a file that goes into the bundle" in untracked.message


def test_a_likely_key_in_a_notebook_is_reported(model: Path) -> None:
    secret = mixed(40)
    cells = [{"source": ["import blankly\n", f'api_secret = "{secret}"\n']}]
    (model / "try.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}, indent=1))
    problem = only(check(model), Severity.WARNING)
    assert (problem.path, problem.line) == ("try.ipynb", 6)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("config.yml", "exchange:\n  - x\n  api_key: {0}\n"),
        ("config.ini", "[a]\nb=1\nAPI_SECRET = {0}  # mine\n"),
        ("start.sh", "#!/bin/sh\n\nexport TOKEN={0}\n"),
        ("compose.yaml", "environment:\n\n  - API_KEY={0}\n"),
        ("config.json", '{{\n\n"secretKey": "{0}"}}'),
    ],
)
def test_a_likely_key_in_settings_needs_no_quotes(model: Path, name: str, form: str) -> None:
    (model / name).write_text(form.format(mixed(32)))
    problem = only(check(model), Severity.WARNING)
    assert (problem.path, problem.line) == (name, 3)


@pytest.mark.parametrize(
    "source",
    [
        'API_KEY = os.environ["ALPACA_API_KEY"]',
        'API_KEY = "your-api-key-here-0a1b2c3d4e"',
        'API_KEY = "****************"',
        'SECRET = "change_me_1a2b3c4d5e6f"',
        'token = "BTC-USD"',
        'TOKEN_ADDRESS = "0x{0}"',
        'token = "0x{1}"',
        'TOKEN_MINT = "{2}"',
        'API_KEY_NAME = "ALPACA_API_KEY_ID"',
        'sha256 = "{0}"',
        'x = "{0}"',
        'tokenizer = "bert-base-uncased"',
        'password = "hunter"',
        'api_key: str = ""',
        'url = "https://user:password@host.example/"',
        'model_hash = "{2}"',
        "token = next_token_of_a1b2c3d4e5f6",
    ],
)
def test_what_only_looks_a_little_like_a_key_is_left_alone(model: Path, source: str) -> None:
    (model / "bot.py").write_text(
        f"import os\n{source.format(secrets.token_hex(32), secrets.token_hex(20), mixed(44))}\n"
    )
    assert check(model) == ()


def test_what_looks_like_a_key_is_to_be_masked(model: Path) -> None:
    """A backtest that fails shows the line of the script."""
    secret = mixed(40)
    header = "-----BEGIN PRIVATE" + " KEY-----"
    (model / "bot.py").write_text(f'API_KEY = "{secret}"\nPEM = "{header}"\n')
    assert find_leaks(select_files(model, [])).values == (secret,)


def test_many_likely_keys_are_counted(model: Path) -> None:
    key = "aZ1" * 11  # none that looks like an example by chance
    (model / "bot.py").write_text(f'api_key = "{key}"\n' * 13)
    problems = check(model)
    assert len(problems) == 11
    assert problems[-1].message.startswith("3 more lines")


def test_a_search_stops_at_four_megabytes(model: Path) -> None:
    """Scripts come first, and what is not searched is said."""
    for number in range(5):
        (model / f"m{number}.py").write_bytes(b"#" * (1 << 20))
    (model / "big.json").write_bytes(b" " * (2 << 20))
    assert find_leaks(select_files(model, [])).unread == 2
    (problem,) = check(model)
    assert problem.severity is Severity.NOTICE
    assert problem.message.startswith("2 files with code")
