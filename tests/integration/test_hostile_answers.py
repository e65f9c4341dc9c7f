"""No answer of a server, a forge or a proxy is a bug in the action, whatever bytes it has."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from deploy_action.deployment_api.client import DeploymentApi
from deploy_action.errors import DeployActionError
from deploy_action.github import comment
from deploy_action.github.forge import Forge
from deploy_action.http.exchange import Retries
from deploy_action.interruption import Deadline
from tests.conftest import Runner
from tests.support.backtests import raw_result
from tests.support.hostile_world import OTHER_ANSWERS
from tests.support.scripted_server import DEPLOYED, SIGN_IN
from tests.support.transports import make_transport
from tests.support.wire_server import Connection, Handler, WireServer, answering

Client = Callable[[str], object]


def head(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, *lines)) + b"\r\n\r\n"


def squeezed(times: int) -> bytes:
    """Return 64 MiB of blanks, compressed again and again."""
    data = bytes(1 << 26)
    for _ in range(times):
        data = gzip.compress(data)
    return data


CHUNKED = head(b"Transfer-Encoding: chunked")
ANSWERS: dict[str, bytes] = {
    "many headers": head(*(b"X-%d: y" % number for number in range(20_000))),
    "a long header": head(b"X: " + b"y" * 1_000_000),
    "a long status": head(status=b"200 " + b"y" * 1_000_000),
    "a strange status": head(status=b"2_0 OK"),
    "an Arabic status": head(status="٢٠٠ OK".encode()),
    "bytes in the reason": head(status=b"200 \xff\xfe\0") + b"{}",
    "no headers": b"HTTP/1.1 200 OK\r\n",
    "an older protocol": b"hello",
    "another protocol": b"ICY 200 OK\r\n\r\n{}",
    "headers that are none": head(b"foo", b"\tbar", b": y", b"x : y", b"z: \0\1") + b"{}",
    "a multipart answer": head(b'Content-Type: multipart/mixed; boundary="\xff"') + b"{}",
    "a long extension of a chunk": CHUNKED + b"5;" + b"a" * 1_000_000,
    "a long size of a chunk": CHUNKED + b"f" * 60_000 + b"\r\nabc",
    "a negative chunk": CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n",
    "many trailers": CHUNKED + b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6") + b"{}    ",
    "a negative length": head(b"Content-Length: -5") + b"{}",
    "a length without an end": head(b"Content-Length: " + b"9" * 5_000) + b"{}",
    "compressed twice": head(b"Content-Encoding: gzip, gzip") + squeezed(2),
    "compressed three times": head(b"Content-Encoding: gzip, gzip, gzip") + squeezed(3),
    "a thousand encodings": head(b"Content-Encoding: " + b"gzip," * 1_000 + b"br") + b"{}",
    "not compressed at all": head(b"Content-Encoding: gzip, zstd, br") + b"{}",
    "a redirect with a bomb": head(
        b"Location: /", b"Content-Encoding: gzip, gzip", status=b"307 Moved"
    )
    + squeezed(2),
    "cookies": head(*(b"Set-Cookie: " + b"a=b, c=d; " * 6_000 for _ in range(90))) + b"{}",
    "a strange cookie": head(b'Set-Cookie: a="\\; expires=\xff; max-age=x; $version') + b"{}",
    "a wait without an end": head(b"Retry-After: " + b"9" * 5_000, status=b"429 Wait"),
    "a wait until no date": head(b"Retry-After: Fri, 99 Foo 99999 +9999999", status=b"503 Wait"),
    "a next page that is no URL": head(b"Link: <http://[>; rel=next") + b"[]",
    "a next page that is no UTF-8": head(b"Link: <//\xff\xfe>; rel=next") + b"[]",
    "deep": head() + b'{"a":[' * 50_000,
    "a number of 5,000 digits": head() + b'{"id":' + b"9" * 5_000 + b"}",
    "half a character": head() + b'{"error":"\\ud800","message":"\\udfff"}',
    "UTF-16": head() + "{}".encode("utf-16"),
    "a page": head(status=b"500 No") + b"<style" * 10_000 + b"<" * 50_000,
}
SNIPPETS = [
    *(b"\r\n", b"\0", b"\xff", b": ", b",", b";", b"%", b"-", b" ", b"[", b"{", b'"', b"9" * 25),
    *(b"chunked", b"gzip", b"Location: ", b"Link: <", b"Transfer-Encoding: ", b"HTTP/1.1 102 x"),
]


def answering_with(answer: bytes) -> Handler:
    def handle(connection: Connection) -> None:
        connection.read_body()
        connection.send(answer)

    return handle


def mutated(dice: random.Random) -> bytes:
    """Return an answer with a few bytes changed, and with parts of others in it."""
    small = [answer for answer in ANSWERS.values() if len(answer) < 1_000]
    answer = bytearray(dice.choice(small))
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(answer) + 1)
        match dice.randrange(4):
            case 0:
                answer[at : at + 1] = dice.randbytes(1)
            case 1:
                answer[at:at] = dice.choice(SNIPPETS)
            case 2:
                del answer[at : at + dice.randint(1, 20)]
            case _:
                other = dice.choice(small)
                answer[at:] = other[dice.randrange(len(other)) :]
    return bytes(answer)


def change(url: str) -> object:
    return make_transport(url).change("/any", {"a": "b"}, "token").json


def read(url: str) -> object:
    return make_transport(url).read("POST", "/any", {"a": "b"}).json


def use_forge(url: str) -> None:
    retries = Retries(Deadline.after(1), attempts=2, pause=lambda _seconds: None)
    forge = Forge(url, "trader/models", "token", retries)
    try:
        forge.find_user()
        forge.list_comments(1)
        forge.create_comment(1, "text")
    finally:
        forge.close()


@pytest.fixture
def anything() -> Iterator[Callable[[bytes], str]]:
    """Return a function that makes one server give this answer to everything from now on."""
    handler: list[Handler] = []

    class Everywhere(dict[str, Handler]):
        def get(self, _route: str, _default: object = None) -> Handler:
            return handler[-1]

    with WireServer(Everywhere()) as server:

        def answer(data: bytes) -> str:
            handler.append(answering_with(data))
            return server.url

        yield answer


@pytest.mark.parametrize("client", [change, read, use_forge])
@pytest.mark.parametrize("name", ANSWERS)
def test_any_answer_is_read_or_refused(
    anything: Callable[[bytes], str], recwarn: pytest.WarningsRecorder, client: Client, name: str
) -> None:
    with suppress(DeployActionError):
        client(anything(ANSWERS[name]))
    assert [str(warning.message) for warning in recwarn] == []


def test_hundreds_of_broken_answers_are_read_or_refused(anything: Callable[[bytes], str]) -> None:
    dice = random.Random(7)  # noqa: S311  # the same answers each time
    for _ in range(200):
        answer = mutated(dice)
        for client in (change, use_forge):
            try:
                client(anything(answer))
            except DeployActionError:
                pass
            except Exception as error:
                raise AssertionError(f"{error!r} after {answer!r}") from error


def test_a_proxy_may_answer_anything(
    anything: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ANSWERS.values():
        monkeypatch.setenv("https_proxy", anything(answer))
        with pytest.raises(DeployActionError):
            use_forge("https://server.example")


def sign_in(url: str) -> None:
    DeploymentApi(make_transport(url), "token", lambda _secret: None).sign_in()


PAGES = (
    head(b"Content-Type: text/html", b"Content-Length: 8") + b"<html>Hi",
    head(status=b"403 Forbidden"),
    head(status=b"502 Bad Gateway"),
)


@pytest.mark.parametrize("client", [sign_in, use_forge])
@pytest.mark.parametrize("page", PAGES)
def test_a_proxy_that_answers_itself_is_named(
    anything: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, client: Client, page: bytes
) -> None:
    proxy = anything(page)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(DeployActionError) as caught:
        client("http://server.example")
    hint = caught.value.problems[0].hint
    assert f"It may be the answer of the proxy {proxy} (from the variable `HTTP_PROXY`" in hint
    anything(head(b"Content-Length: 15", status=b"403 Forbidden") + b'{"error": "no"}')
    with pytest.raises(DeployActionError) as caught:
        client("http://server.example")
    assert "proxy" not in caught.value.problems[0].hint


GOOD: dict[str, object] = {
    "POST /auth/token": SIGN_IN.body,
    **OTHER_ANSWERS,
    "POST /model/backtest": {
        "modelId": "m",
        "backtestId": "b",
        "status": "success",
        "run": {"problems": [{"severity": "warning", "message": "w", "path": "bot.py"}]},
        "result": raw_result(),
    },
    "GET /user": {"login": "trader", "id": 1},
    "GET /repos/trader/models/issues/7/comments?per_page=100": [
        {"id": 5, "body": "x", "html_url": "https://x.example/", "user": {"login": "t", "id": 1}}
    ],
    "POST /repos/trader/models/issues/7/comments": {"id": 6, "body": "x"},
}
VALUES: list[object] = [
    *(None, True, 0, -1, 10**299, 1.5, 1e308, 5e-324, [], {}, [[]], {"": {}}),
    *(
        "",
        " ",
        "\ud800",
        "\0",
        "::error::x",
        "##[error]x",
        "```",
        "a" * 5_000,
        "\u2028",
        "http://[",
    ),
    *({"error": "\udfff"}, [{"id": {}}], {"id": [None]}, "nan", "success", "live", "../.."),
]


def spoilt(document: object, dice: random.Random) -> object:
    """Return the document with some of its parts replaced by anything."""
    if dice.random() < 0.1:
        return dice.choice(VALUES)
    if isinstance(document, dict):
        return {key: spoilt(value, dice) for key, value in document.items() if dice.random() < 0.95}
    if isinstance(document, list):
        return [spoilt(value, dice) for value in document]
    return document


def spoiling(good: object, dice: random.Random) -> Handler:
    def handle(connection: Connection) -> None:
        connection.read_body()
        document = spoilt(good, dice) if dice.random() < 0.5 else good
        status = 200 if dice.random() < 0.95 else dice.choice([204, 302, 400, 401, 404, 429, 500])
        location = {} if dice.random() < 0.9 else {"Location": "http://["}
        connection.reply(status, json.dumps(document), {"Retry-After": "0", **location})

    return handle


@pytest.mark.parametrize("mode", ["deploy", "backtest"])
def test_no_answers_end_a_run_in_a_bug(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr("deploy_action.http.exchange._FIRST_PAUSE", 0.0)
    monkeypatch.setattr(comment, "_SETTLING_SECONDS", 0.0)
    runner.on("pull_request", {"number": 7, "pull_request": {"number": 7, "title": "Try"}})
    dice = random.Random(7)  # noqa: S311  # the same answers each time
    codes = set()
    with WireServer({route: spoiling(good, dice) for route, good in GOOD.items()}) as server:
        runner.environ |= {"GITHUB_API_URL": server.url, "GITHUB_REF": "refs/pull/7/merge"}
        for _ in range(20):
            ended = runner.run(
                mode=mode, api_url=server.url, token="refresh-token", create_new="true",
                comment="true", github_token="token-of-the-forge", timeout_minutes="0.2",
            )  # fmt: skip
            assert "bug in the action" not in ended.log, ended.log
            assert (ended.code == 0) == (ended.outputs["status"] != "failed"), ended.log
            codes.add(ended.code)
    assert codes == {0, 1}


@pytest.mark.parametrize("location", [b"http://[", b"\xff\xfe\x80", b"%zz"])
def test_a_forge_that_redirects_to_nowhere_undoes_no_deploy(
    runner: Runner, location: bytes
) -> None:
    answer = head(b"Location: " + location, b"Content-Length: 0", status=b"302 Found")
    handlers = {
        "POST /auth/token": answering(200, SIGN_IN.body),
        "POST /model/deploy": answering(200, DEPLOYED.body),
        "GET /user": answering_with(answer),
    }
    runner.on("pull_request", {"number": 7, "pull_request": {"number": 7, "title": "Try"}})
    with WireServer(handlers) as server:
        runner.environ |= {"GITHUB_API_URL": server.url, "GITHUB_REF": "refs/pull/7/merge"}
        ended = runner.run(
            api_url=server.url, token="refresh", model_id="m", comment="true", github_token="t"
        )
    assert ended.code == 0
    assert ended.outputs["status"] == "deployed"
    (notice,) = ended.annotations
    assert "was not written" in notice
    assert "redirects" in notice
