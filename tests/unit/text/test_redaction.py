from __future__ import annotations

import base64
import html
import json
import re
import secrets
import shlex
import string
import time
import uuid
from collections.abc import Callable, Iterator
from random import Random
from urllib.parse import quote, quote_plus, unquote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_action.text.harmless import one_line
from deploy_action.text.redaction import beginning, key_lines, lines_of, looks_like_key, redacted
from deploy_action.text.variables import hidden_in
from tests.support.nasty import nasty_text

# How texts are interrupted where they are wrapped, marked up or quoted.
GAPS = [
    *("\n", "\r\n", "\n    ", "=\r\n", "\\\n", "\\n", "\\r\\n", "%0A", "&#10;", " ⏎ "),
    *("%0A%20%20", "&#10;&#32;&#32;", "\\n\\u0020"),
    *("\\n    ", "%0A\t", "&#x0A;  ", "\\x0a  ", "\\u000A ", " ⏎     "),
    *("<b>", "</b><i class='x'>", "<br>", "<wbr/>", "&shy;", "\x1b[0m", "\u200b", "\\u200b"),
]


def escaped(secret: str) -> Iterator[str]:
    """Yield a secret as URLs, HTML, JSON, JavaScript and Python write it."""
    url = quote(secret, safe="")
    yield from (url, quote(secret), quote_plus(secret))
    yield re.sub("%..", lambda found: found[0].lower(), url)
    yield "".join(f"%{byte:02x}" for byte in secret.encode())
    page = html.escape(secret, quote=False)
    yield from (page, html.escape(secret), page.replace("'", "&apos;"), page.replace("'", "&#39;"))
    yield "".join(f"&#{ord(char)};" for char in secret)
    yield "".join(f"&#X{ord(char):X};" for char in secret)
    written = json.dumps(secret)[1:-1]
    yield from (
        written,
        written.replace("/", "\\/"),
        html.escape(written),
        json.dumps(written)[1:-1],
    )
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    units = secret.encode("utf-16-be").hex()
    codes = re.findall("....", units)
    yield "".join(f"\\u{code.upper()}" for code in codes)
    yield "".join(f"\\u{code.lower()}" for code in codes)
    yield from (secret.replace("'", "'\\''"), shlex.quote(f"{secret} ")[1:-2])
    yield repr(secret.encode())[2:-1]
    yield from (repr(secret)[1:-1], ascii(secret)[1:-1], repr(secret + "'\"")[1:-4])


@pytest.mark.parametrize("rest", ["Qw3", "/+=&'\"<>%\\x", " ä€🙂{}", "%2F&amp;\\n"])
def test_a_secret_is_found_however_it_is_escaped(rest: str) -> None:
    secret = f"{secrets.token_hex(6)}{rest}{secrets.token_hex(6)}"
    for form in (secret, *escaped(secret)):
        assert redacted(f"<{form}>", [secret]) == "<***>", form


@pytest.mark.parametrize("gap", GAPS)
def test_a_secret_is_found_however_it_is_interrupted(gap: str) -> None:
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    assert redacted(f"a {first}{gap}{second} b", [first + second]) == "a *** b"
    page = gap.join(first) + gap + gap.join(second)
    assert redacted(f"a {page} b", [first + second]) == "a *** b"


@pytest.mark.parametrize("gap", ["\n", "\r\n    ", "\u200b"])
@pytest.mark.parametrize("escape", ["%0A", "%41", "&lt;", "\\n", "\\x41", "%2541"])
def test_an_interrupted_secret_with_what_looks_like_an_escape_is_found(
    gap: str, escape: str
) -> None:
    """Whether the gap is within that or elsewhere."""
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    secret = f"{first}{escape}{second}"
    for at in range(4, len(secret) - 4):
        page = f"{secret[:at]}{gap}{secret[at:]}"
        for text in (page, json.dumps(page)[1:-1], quote(page, safe="")):
            assert redacted(f"a-{text}-b", [secret]) == "a-***-b"


@pytest.mark.parametrize("before", ["100%", "\\", "&", "&amp", "\\u00"])
@pytest.mark.parametrize("gap", ["\n", "\r", "\u200b"])
def test_what_is_before_a_gap_makes_no_other_escape_of_a_secret(before: str, gap: str) -> None:
    secret = f"4f{secrets.token_hex(6)}/{secrets.token_hex(6)}=="
    for form in (quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret)):
        assert redacted(f"{before}{gap}{form}", [secret]) == f"{before}{gap}***"


@pytest.mark.parametrize("mark", ["\x1b[1m", "<li>"])
def test_a_secret_with_indented_lines_is_found_where_each_is_marked_up(mark: str) -> None:
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    secret = f"{first}\n    {second}"
    for text in (f"{first}\n{mark}    {second}", f"{first}\n    {mark}{second}"):
        assert redacted(f"a {mark}{text} b", [secret]) == f"a {mark}*** b"


@pytest.mark.parametrize("mark", ["=", "\\"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_a_soft_line_break_may_be_escaped(mark: str, line_break: str) -> None:
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    text = f"{first}{mark}{line_break}{second}"
    for form in (
        json.dumps(text)[1:-1],
        quote(text, safe=""),
        json.dumps(json.dumps(text)[1:-1])[1:-1],
    ):
        assert redacted(f"a {form} b", [first + second]) == "a *** b"


@pytest.mark.parametrize("end", ["=", "\\", "=="])
def test_the_last_mark_of_a_secret_is_no_sign_that_a_line_goes_on(end: str) -> None:
    first, second = secrets.token_hex(8), f"{secrets.token_hex(8)}{end}"
    assert redacted(f"a {first}\n  {second}\nb", [first + second]) == "a ***\nb"


def test_a_secret_with_a_tab_is_found_in_one_line() -> None:
    secret = f"{secrets.token_hex(8)}\t{secrets.token_hex(8)}"
    assert redacted(f"a {one_line(secret)} b", [secret]) == "a *** b"


@pytest.mark.parametrize("user", ["", "u:", "us:", "use:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("end", ["", "?", "??", "???~"])
def test_a_secret_is_found_in_base64(user: str, encode: Callable[[bytes], bytes], end: str) -> None:
    """Wherever it stands: in `user:password`, for example. Its neighbours may stay."""
    secret = f"{secrets.token_urlsafe(18)}~\u00ff?>"
    whole = encode(f"{user}{secret}{end}".encode()).decode()
    for form in (whole, whole.rstrip("="), quote(whole, safe=""), json.dumps(whole)):
        shown = redacted(f"Basic {form};", [secret])
        rest = re.sub(r"Basic |[;\"=]", "", unquote(shown))
        assert rest.count("***") == 1
        # A character of base64 has six bits, so that three bytes have four.
        assert len(rest) <= len("***") + len(user) * 4 // 3 + -(-len(end) * 4 // 3)


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_secret_is_found_in_the_base64_of_a_form_or_of_what_was_escaped_twice(
    before: str,
) -> None:
    """Gateways repeat the body of a request so."""
    secret = f"{secrets.token_hex(9)} /+\n'\"\u20ac{secrets.token_hex(9)}"
    known = json.dumps({before: secret})
    again = (json.dumps([known]), str([known]), str([secret]))  # as a model prints what it knows
    for body in (urlencode({before: secret}), known, *again):
        shown = redacted(base64.b64encode(body.encode()).decode(), [secret])
        assert "***" in shown
        assert len(shown) < 32


@pytest.mark.parametrize("gap", ["\n", "\r\n    ", "\\n", " ⏎ "])
def test_what_follows_base64_in_another_line_stays_as_it_is(gap: str) -> None:
    """It may be the beginning of a secret that somebody else will look for."""
    secret, other = secrets.token_hex(20), secrets.token_hex(8)
    for user in ("u", "us", "use"):
        text = base64.b64encode(f"{user}{secret}".encode()).decode()
        shown = redacted(f"{other}{gap}{text}{gap}{other}", [secret])
        assert shown.startswith(f"{other}{gap}")
        assert shown.endswith(f"***{gap}{other}")


def test_a_secret_is_found_in_wrapped_base64() -> None:
    secret = secrets.token_hex(64)
    lines = base64.encodebytes(f"user:{secret}".encode()).decode()
    for form in (lines, lines.replace("\n", "\r\n"), lines.replace("\n", "\\n")):
        shown = redacted(form, [secret])
        assert "***" in shown
        assert len(shown.replace("\\n", "").strip()) < 16


def test_each_line_of_a_private_key_is_found_as_it_is_written_in_json() -> None:
    key = "\n".join(["-----BEGIN", *(secrets.token_hex(16) for _ in range(3)), "-----END"])
    assert redacted(json.dumps([key]), [key]) == '["***"]'
    assert redacted(json.dumps(json.dumps(key)), [key]) == '"\\"***\\""'
    assert redacted(key.replace("\n", "\r\n"), [key]) == "***"


def test_lines_of_a_private_key_are_hidden_when_they_are_printed_one_by_one() -> None:
    lines = ["-----BEGIN", *(secrets.token_hex(16) for _ in range(3)), "a=", "-----END"]
    hidden = hidden_in({"KEY": "\r\n".join(lines), "SHORT": "a\nb", "BLANK": " "})
    shown = [redacted(f"| {line}", hidden) for line in lines]
    assert shown == ["| ***", *["| ***"] * 3, "| a=", "| ***"]
    assert lines_of(f" {lines[1]}\n") == [lines[1]]


@pytest.mark.parametrize("before", [0, 7, 300])
def test_no_half_of_a_secret_ends_a_beginning(before: int) -> None:
    """Though what is before it becomes shorter."""
    secret = secrets.token_hex(20)
    text = "x" * before + secret * 200
    for most in range(400, 500, 7):
        shown = beginning(text, lambda part: redacted(part, [secret]), most)
        assert not shown.strip("x*"), most
    assert beginning(text[:300], str, 300) == text[:300]


@given(nasty_text)
def test_a_text_without_the_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text, [secrets.token_hex(16)]) == text


@given(nasty_text, nasty_text, st.sampled_from(GAPS), st.integers(0, 20))
def test_what_is_around_a_secret_stays_as_it_is(
    before: str, after: str, gap: str, form: int
) -> None:
    """Escapes and tags before it do not shift what is hidden."""
    secret = f"{secrets.token_hex(6)}/'{secrets.token_hex(6)}"
    written = [*escaped(secret), secret[:9] + gap + secret[9:]][form]
    assert redacted(f"{before} .{written}. {after}", [secret]) == f"{before} .***. {after}"


@given(st.lists(st.text("abc", min_size=4, max_size=8), max_size=4), st.text("abc ", max_size=60))
def test_no_secret_is_left(hidden: list[str], text: str) -> None:
    result = redacted(text, hidden)
    assert not [secret for secret in hidden if secret in result]
    if not any(secret in text for secret in hidden):
        assert result == text
    position = 0
    for part in result.split("***"):
        position = text.index(part, position) + len(part)


def test_a_secret_within_a_secret_leaves_no_rest() -> None:
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    overlap = first + second
    assert redacted(f"<{overlap}>", [first, overlap]) == "<***>"
    assert redacted(f"<{overlap}>", [overlap[:20], overlap[10:]]) == "<***>"
    assert redacted(f"{first} {second}", [first, second]) == "*** ***"


def test_a_blank_or_very_short_text_is_no_secret() -> None:
    """A secret `us` would blank out half the log."""
    assert redacted("us    usd", ["us", "usd", "", "    "]) == "us    usd"
    assert redacted("usdt", ["usdt"]) == "***"


def processor_seconds(text: str, hidden: list[str]) -> float:
    """Return the processor time of redacting a text, the best of three."""

    def once() -> float:
        started = time.thread_time()
        redacted(text, hidden)
        return time.thread_time() - started

    return min(once() for _ in range(3))


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "\n", "\\", "%", "%41", "%25", "&#65;", "&a", "<", "<a", "<b>", "\x1b]a", "\\u005c"],
)
def test_redaction_takes_time_in_proportion_to_the_text(unit: str) -> None:
    hidden = [secrets.token_hex(16) for _ in range(20)]
    small = max(processor_seconds(unit * 2_000, hidden), 1e-3)
    assert processor_seconds(unit * 32_000, hidden) < 100 * small


def test_a_megabyte_of_secrets_and_near_misses_is_redacted() -> None:
    hidden = [secrets.token_hex(16) for _ in range(20)]
    unit = "".join(secret + secret[:-1] for secret in hidden)
    small = max(processor_seconds(unit * 50, hidden), 1e-3)
    assert processor_seconds(unit * 800, hidden) < 100 * small
    assert redacted(unit * 800, hidden).count("***") == 800 * len(hidden)


# --------------------------------------------------------------------------- what looks like a key


@pytest.mark.parametrize(
    "text",
    [
        *("failed", "successful", "conclusion", "repositories", "refs/heads/main", "Content-Type"),
        *("refs/heads/release-2024", "ubuntu-22.04", "python3.11", "release2024", "sha256sum"),
        *("2024-01-01T00:00:00Z", "1700000000000", "20240101", "v1.2.3-beta.1", "x86_64-linux-gnu"),
        *("https://api.example.com/v2", "base64url", "OAuth2Provider", "github.event.number1"),
        *("final_account_value", "----------", "::add-mask::", "xychart-beta", "GITHUB_OUTPUT"),
        *("plotColorPalette", "pullRequestTarget", "CamelCasedIdentifier"),
        *("", "a1b2c3d", "***", "a1b2c3d4 e5f6", "`a1b2c3d4`", "```text", "<a1b2c3d4>"),
        *("[a1b2c3d4]", "a1b2c3d4|e5", "@a1b2c3d4", "#a1b2c3d4", "![a1b2c3d4](e)", "a1b2c3d4\ne"),
        *("a1b2c3d4\\", "ä1b2c3d4", "a1b2c3d4~~", "**a1b2c3d4**", '"a1b2c3d4"', "{a1b2c3d4}"),
    ],
)
def test_words_and_markup_are_no_keys(text: str) -> None:
    assert not looks_like_key(text)


def test_random_keys_look_like_keys() -> None:
    """All but a few: a UUID may have few changes by chance."""
    random = Random(20240229)  # noqa: S311  # always the same
    letters = string.ascii_letters + string.digits
    shapes: dict[str, Callable[[], str]] = {
        "hexadecimal": lambda: random.randbytes(16).hex(),
        "letters and digits": lambda: "".join(random.choices(letters, k=32)),
        "capitals and digits": lambda: "PK" + "".join(random.choices(letters[26:], k=24)),
        "UUID": lambda: str(uuid.UUID(bytes=random.randbytes(16))),
        "base64": lambda: base64.b64encode(random.randbytes(64)).decode(),
        "base64 for URLs": lambda: base64.urlsafe_b64encode(random.randbytes(24)).decode(),
        "a number": lambda: str(random.randrange(10**15, 10**16)),
    }
    for name, make in shapes.items():
        found = sum(looks_like_key(make()) for _ in range(1_000))
        assert found >= 970, name


def test_a_private_key_is_found_line_by_line() -> None:
    random = Random(20240229)  # noqa: S311  # always the same
    body = [base64.b64encode(random.randbytes(48)).decode() for _ in range(3)]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *body, "a=", "-----END PRIVATE KEY-----"])
    assert key_lines([pem, "failed", body[0]]) == tuple(body)


def test_a_file_of_thousands_of_keys_does_not_stall_the_run() -> None:
    many = [f"{number:032x}" for number in range(50_000)]
    assert key_lines(many) == tuple(many[:200])


def test_a_secret_over_several_lines_is_hidden_on_each_of_them() -> None:
    secret = secrets.token_hex(30)
    encoded = base64.encodebytes(f"user:{secret}".encode()).decode()
    text = f"first\n{encoded}{encoded}last {secret[:9]}\n{secret[9:]}\n"
    shown = redacted(text, [secret], keep_lines=True).split("\n")
    assert [line.removeprefix("dXNlcj") for line in shown] == (
        ["first", *["***"] * 4, "last ***", "***", ""]
    )
