"""Which files and lines no page shows."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from deploy_action.platform.web.changes import secrecy
from deploy_action.platform.web.changes.secrecy import is_secret_file, keys_in, secret_values


def hidden_lines(name: str, text: str, secrets: Collection[str]) -> frozenset[int]:
    """Return the lines that are not shown where all lines are asked for."""
    lines = text.split("\n")
    return secrecy.hidden_lines(name, lines, range(len(lines)), secrets)


@pytest.mark.parametrize(
    "name",
    ["keys.json", "sub/keys.json", "KEYS.JSON", "notify.json", ".env", "a/.env.live", "id_rsa",
     "server.key", "wallet.p12", "keys.live.json", "my_keys.json", ".netrc",
     "x.key", "x.pem", "credentials.json", "secrets.yml", "my-secrets.py", "token.json",
     "service_account.json", "wallet.json", "keys.yaml", "key.txt"],
)  # fmt: skip
def test_a_file_of_secrets_is_known_by_its_name(name: str) -> None:
    assert is_secret_file(name)


def test_other_files_are_none_unless_a_private_key_is_in_them() -> None:
    for name in ("bot.py", "settings.json", ".env.example", "monkeys.json.py", "tokens.py"):
        assert not is_secret_file(name)
        assert is_secret_file(name, b"x\n-----BEGIN RSA PRIVATE KEY-----\n")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.py", 'api_key = "hunter2"'),
        ("a.py", "self.password: str = 'x'"),
        ("a.py", 'keys["API_SECRET"] = "abc"'),
        ("a.py", 'x = "PKAB12CD34EF56GH78IJ"'),
        ("a.py", 'url = "https://bot:sEcReT12345@host.example/"'),
        ("a.ipynb", '   "token = \\"hunter2\\"\\n",'),
        ("a.json", '"passphrase": "x",'),
        ("a.yaml", "password: swordfish"),
        ("a.ini", "access-key = swordfish"),
        ("a", "SECRET_TOKEN=swordfish"),
        ("README.md", "the api_key: swordfish"),
        ("a.py", "mnemonic = 'legal winner thank'"),
        ("a.py", "SEED = 'abandon abandon'"),
        ("a.py", "PASS = 'correct horse'"),
        ("a.py", 'headers = {"Authorization": f"Bearer {x}"}'),
        ("a.ini", "key = x8Dk3Lm9Qp2Rt5Vw7Yz1Bn4Cf6"),
        ("a.yml", "id: PKABCDEFGHIJ12345678"),
        ("a.txt", "x8Dk3Lm9Qp2Rt5Vw7Yz1Bn4Cf6"),
        ("a.csv", "alpaca,PKABCDEFGHIJ12345678,1"),
        ("a.sh", "curl -u me:hunter2hunter2 https://x.example"),
        ("a.sh", "curl -H 'Authorization: Bearer abc' x"),
        ("a.yml", "pwd: hunter2hunter"),
        ("a.json", '"seed": "abandon abandon"'),
        ("a.py", "client = Client('a8f3K2m9Q1x7Z5c0')"),
        pytest.param("a.json", f'{"x" * 5_000}"password": "swordfish"', id="a long line"),
    ],
)
def test_a_line_with_a_key_or_a_password_is_hidden(name: str, line: str) -> None:
    assert hidden_lines(name, f"first\n{line}\nlast", ()) == {1}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.py", "api_key = os.environ['KEY']"),
        ("a.py", "token = tokens[0]"),
        ("a.py", "STOP = 0.05"),
        ("a.json", '"tokens": ["BTC", "ETH"],'),
        ("a.py", 'url = "https://api.exchange.example/v1/orders"'),
        ("a.py", 'symbols = ["BTC-USD", "ETH-USD", "successful-strategies"]'),
        ("a.py", "random.seed = 42"),
        ("a.yaml", "seed: 42"),
        ("a.yaml", "author: ada"),
        ("a.csv", "2024-01-01T00:00:00+00:00,42000.123456789,1.5"),
        ("a.py", "def calculate_moving_average_crossover(prices):"),
        ("requirements.txt", "numpy==2.0 --hash=sha256:0123456789abcdef0123456789abcdef"),
        ("poetry.lock", 'hash = "sha256:0123456789abcdef0123456789abcdef"'),
        pytest.param("a.csv", "1,2," * 5_000, id="a long line"),
        ("a.txt", "***"),
    ],
)
def test_other_lines_are_shown(name: str, line: str) -> None:
    assert hidden_lines(name, f"first\n{line}\nlast", ()) == frozenset()


@pytest.mark.parametrize(
    ("name", "line"),
    [("a.py", "API_SECRET = ("), ("a.json", '"tokens": ['), ("a.yaml", "password: >-"),
     ("a.yaml", "token:"), ("a.py", "self.password = \\")],
)  # fmt: skip
def test_a_secret_on_the_next_line_is_hidden(name: str, line: str) -> None:
    text = f"first\n{line}\n    'sword'\n    'fish'\nlast"
    assert hidden_lines(name, text, ()) == {1, 2, 3}
    # Also where only what follows is on the page.
    assert secrecy.hidden_lines(name, text.split("\n"), [3, 4], ()) == {3}


def test_known_secrets_are_hidden_wherever_they_are() -> None:
    text = "a\nx = my-secret-value\nb\nmy-secret-valuemy-secret-value\n"
    assert hidden_lines("a.txt", text, {"my-secret-value"}) == {1, 3}


def test_keys_are_found_also_in_a_damaged_file() -> None:
    text = b'{"alpaca": {"API_KEY": "PKAB12CD34EF56GH78IJ", "API_SECRET": "x", "url": "true"'
    assert keys_in(text) == {"PKAB12CD34EF56GH78IJ"}
    assert secret_values({"A": "true", "B": "line-one-of-it\n  line-two-of-it\n"}) == {
        "line-one-of-it",
        "line-two-of-it",
    }


def test_hostile_lines_take_no_time() -> None:
    """Bounded repetitions: this would not end otherwise."""
    for line in ("token" * 40_000, "secret" + " " * 200_000 + ":", '"' * 200_000):
        hidden_lines("a.json", line, ())
        hidden_lines("a.py", line, ())
