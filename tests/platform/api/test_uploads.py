from __future__ import annotations

import asyncio
import errno
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests
from starlette.requests import Request

from deploy_action.platform.api.forms import Body
from deploy_action.platform.api.request import ApiError
from tests.support.platform_client import TIMEOUT, Platform, make_bundle
from tests.support.waiting import wait_for

_BOUNDARY = "5f1b"


def _part(name: str, content: bytes, filename: str | None = None) -> bytes:
    suffix = "" if filename is None else f'; filename="{filename}"'
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{suffix}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def _form(fields: Mapping[str, str], bundle: bytes) -> bytes:
    parts = [_part(name, value.encode()) for name, value in fields.items()]
    return b"".join([*parts, _part("model", bundle, "m.zip"), f"--{_BOUNDARY}--\r\n".encode()])


def _deploy_form(platform: Platform, model_id: str, bundle: bytes) -> bytes:
    fields = {
        "pythonVersion": "3.10",
        "versionDescription": "d",
        "projectId": platform.user_id,
        "modelId": model_id,
        "type": "strategy",
        "plan": "nano",
    }
    return _form(fields, bundle)


def _connect(platform: Platform) -> socket.socket:
    host, port = platform.server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT)


def _head(platform: Platform, path: str, *headers: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        f"token: {platform.id_token}",
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _receive(connection: socket.socket) -> tuple[int, bytes]:
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        length = 0
        while (line := file.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return status, file.read(length)


def _post(platform: Platform, path: str, body: bytes, content_type: str) -> requests.Response:
    return requests.post(
        f"{platform.server.url}{path}",
        headers={**platform.headers, "Content-Type": content_type},
        data=body,
        timeout=TIMEOUT,
    )


def _wait_until_idle(platform: Platform) -> None:
    wait_for(lambda: not list((platform.data / "incoming").iterdir()))


def test_a_chunked_upload_is_taken(platform: Platform) -> None:
    model_id, bundle = platform.create_model(), make_bundle(big=secrets.token_bytes(100_000))
    body = _deploy_form(platform, model_id, bundle)

    def pieces() -> Iterator[bytes]:
        sizes = [1, 2, 3, 5, 7, 11, 13, 1000]
        position = 0
        while position < len(body):
            size = sizes[position % len(sizes)]
            yield body[position : position + size]
            position += size

    answer = requests.post(
        f"{platform.server.url}/model/deploy",
        headers={**platform.headers, "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
        data=pieces(),
        timeout=TIMEOUT,
    )
    assert answer.status_code == 200
    stored = platform.data / "bundles" / f"{answer.json()['versionId']}.zip"
    assert stored.read_bytes() == bundle


@pytest.mark.parametrize("path", ["/model/deploy", "/model/nothing", "/auth/token"])
def test_a_refused_upload_is_read_to_its_end(platform: Platform, path: str) -> None:
    expected = {"/model/deploy": 401, "/model/nothing": 404, "/auth/token": 500}
    platform.id_token = platform.refresh_token[::-1]
    before, after = _deploy_form(platform, "m", b"\0").split(b"\0")
    piece, count = bytes(1 << 20), 32
    length = len(before) + len(piece) * count + len(after)
    with _connect(platform) as connection:
        connection.sendall(_head(platform, path, f"Content-Length: {length}") + before)
        for _ in range(count):
            connection.sendall(piece)
        connection.sendall(after)
        assert _receive(connection)[0] == expected[path]
    assert platform.left_behind() == []


@pytest.mark.parametrize("path", ["/model/deploy", "/model/nothing"])
def test_a_refused_client_is_not_waited_for(platform: Platform, path: str) -> None:
    platform.id_token = platform.refresh_token[::-1]
    began = time.monotonic()
    with _connect(platform) as connection:
        connection.sendall(_head(platform, path, f"Content-Length: {1 << 35}") + b"x")
        status, _ = _receive(connection)
        assert status in {401, 404}
        assert connection.recv(1) == b""
    assert 1.5 < time.monotonic() - began < 9  # a stranger's body has ten seconds


def test_a_stranger_cannot_send_for_ever(platform: Platform) -> None:
    piece = b"x" * (1 << 20)
    sent = 0
    with _connect(platform) as connection:
        head = _head(platform, "/auth/token", f"Content-Length: {1 << 35}")
        connection.sendall(head + _part("model", b"", "m.zip").removesuffix(b"\r\n"))
        try:
            while sent < 1 << 30:
                connection.sendall(piece)
                sent += len(piece)
        except OSError as error:
            assert error.errno in {errno.EPIPE, errno.ECONNRESET}  # noqa: PT017  the size counts
    assert 64 << 20 <= sent < 128 << 20


def test_unfinished_requests_of_strangers_delay_no_request(platform: Platform) -> None:
    with ExitStack() as stack:
        for number in range(100):
            path = "/auth/token" if number % 2 else "/nothing"
            connection = stack.enter_context(_connect(platform))
            connection.sendall(_head(platform, path, "Content-Length: 999999") + b"x")
        began = time.monotonic()
        assert platform.get("/model/status").status_code == 200
        # Each of them is given two seconds: even ten threads would be busy for twenty.
        assert time.monotonic() - began < 15


def test_one_connection_serves_several_requests(platform: Platform) -> None:
    model_id = platform.create_model()
    body = _deploy_form(platform, model_id, make_bundle())
    chunked = (
        _head(platform, "/model/deploy", "Transfer-Encoding: chunked")
        + f"{len(body):X};note=1\r\n".encode()
        + body
        + b"\r\n0\r\nDigest: x\r\n\r\n"
    )
    plain = _head(platform, "/model/deploy", f"Content-Length: {len(body)}") + body
    with _connect(platform) as connection:
        for request, answers in [(chunked, 1), (plain, 1), (plain + chunked, 2)]:
            connection.sendall(request)
            for _ in range(answers):
                status, _ = _receive_buffered(connection)
                assert status == 200
    assert len(platform.versions(model_id)) == 4


def _receive_buffered(connection: socket.socket) -> tuple[int, bytes]:
    """Read the head byte by byte, so that a second answer is not swallowed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        assert piece, head
        head += piece
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    left = int(fields[b"content-length"])
    body = b""
    while len(body) < left:
        body += connection.recv(left - len(body))
    return int(head.split()[1]), body


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.6, 0.99])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_an_upload_cut_off_in_the_middle_leaves_nothing(
    platform: Platform, kept: float, coding: str
) -> None:
    model_id = platform.create_model()
    body = _deploy_form(platform, model_id, make_bundle(big=secrets.token_bytes(200_000)))
    sent = body[: int(len(body) * kept)]
    with _connect(platform) as connection:
        if coding == "length":
            head = _head(platform, "/model/deploy", f"Content-Length: {len(body)}")
            connection.sendall(head + sent)
        else:
            head = _head(platform, "/model/deploy", "Transfer-Encoding: chunked")
            connection.sendall(head + f"{len(body):x}\r\n".encode() + sent)
        # Until the server hangs up: before that it may not even have begun with the upload.
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while connection.recv(65_536):
                pass
    _wait_until_idle(platform)
    assert platform.versions(model_id) == []
    assert platform.left_behind() == []


def test_an_upload_whose_end_is_missing_leaves_nothing(platform: Platform) -> None:
    """The form is complete, but the body should be longer."""
    model_id = platform.create_model()
    body = _deploy_form(platform, model_id, make_bundle())
    with _connect(platform) as connection:
        head = _head(platform, "/model/deploy", f"Content-Length: {len(body) + 10}")
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        status, answer = _receive(connection)
    assert (status, json.loads(answer)) == (400, {"error": "The request was cut off"})
    assert platform.versions(model_id) == []
    assert platform.left_behind() == []


def test_a_form_without_its_last_boundary_is_refused(platform: Platform) -> None:
    model_id = platform.create_model()
    body = _deploy_form(platform, model_id, make_bundle())[:-8]
    answer = _post(platform, "/model/deploy", body, f"multipart/form-data; boundary={_BOUNDARY}")
    assert answer.status_code == 400
    assert "not a valid multipart form" in answer.json()["error"]
    assert platform.left_behind() == []


@pytest.mark.parametrize(
    "broken",
    [b"x\r\n", b"-5\r\n", b"\r\n", b"5\r\nhello!!\r\n", b"0" * 70_000, b"f" * 21 + b"\r\n",
     b"0\r\n" + b"A: b\r\n" * 12_000],
)  # fmt: skip
def test_a_broken_chunked_coding_is_refused(platform: Platform, broken: bytes) -> None:
    """The connection is closed, since nothing after the error can be parsed."""
    with _connect(platform) as connection:
        connection.sendall(_head(platform, "/model/deploy", "Transfer-Encoding: chunked") + broken)
        status, answer = _receive(connection)
        assert (status, json.loads(answer)) == (400, {"error": "The request was cut off"})
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: -1",),
        ("Content-Length: +1",),
        ("Content-Length: 1_0",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
    ],
)
def test_an_unclear_length_is_refused(platform: Platform, headers: tuple[str, ...]) -> None:
    with _connect(platform) as connection:
        connection.sendall(_head(platform, "/model/deploy", *headers))
        assert _receive(connection)[0] == 400


def test_a_huge_length_is_refused(platform: Platform) -> None:
    with _connect(platform) as connection:
        connection.sendall(_head(platform, "/model/deploy", f"Content-Length: {1 << 40}"))
        assert _receive(connection)[0] == 413


@pytest.mark.parametrize(
    ("content_type", "most"),
    [("application/json", 102400), ("application/x-www-form-urlencoded", 1048576)],
)
def test_large_fields_are_refused(platform: Platform, content_type: str, most: int) -> None:
    body = b'{"name": "' + b"x" * (1 << 20) + b'"}'
    answer = _post(platform, "/project/create", body, content_type)
    assert answer.status_code == 413
    assert f"larger than {most} bytes" in answer.json()["error"]


def test_large_fields_of_an_upload_are_refused(platform: Platform) -> None:
    model_id = platform.create_model()
    half = "x" * (1 << 19)
    answer = platform.deploy(model_id, name=half, generalDescription=half)
    assert answer.status_code == 413
    assert platform.left_behind() == []
    bundle = make_bundle(big=secrets.token_bytes(2 << 20))
    assert platform.deploy(model_id, bundle, name=half).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"{", "not valid JSON"),
        ("application/json", b"\xff", "not valid JSON"),
        ("application/json", b"[" * 100_000, "not valid JSON"),
        ("application/json", b"[]", "not a JSON object"),
        ("application/x-www-form-urlencoded", b"name=%ff", "fields of the request"),
        ("application/x-www-form-urlencoded", b"name=\xff", "fields of the request"),
        ("application/x-www-form-urlencoded", b"a=1&" * 101, "fields of the request"),
        ("multipart/form-data", b"", "multipart"),
        ("multipart/form-data; boundary=x", b"", "multipart"),
        ("multipart/form-data; boundary=x", b"--x\r\nA: b\r\n\r\n\r\n--x--", "multipart"),
        ("multipart/form-data; boundary=x", _part("a", b"", "") * 101, "multipart"),
        (f"multipart/form-data; boundary={_BOUNDARY}",
         _part("name", b"\xff") + f"--{_BOUNDARY}--".encode(), "name is not UTF-8"),
    ],
)  # fmt: skip
def test_a_broken_body_is_refused(
    platform: Platform, content_type: str, body: bytes, expected: str
) -> None:
    answer = _post(platform, "/project/create", body, content_type)
    assert answer.status_code == 400
    assert expected in answer.json()["error"]


@pytest.mark.parametrize("content_type", ["text/plain", ""])
def test_a_body_of_another_type_has_no_fields(platform: Platform, content_type: str) -> None:
    answer = _post(platform, "/project/create", b"name=x", content_type)
    assert answer.json() == {"error": "Missing required argument: name"}


def test_an_empty_json_body_has_no_fields(platform: Platform) -> None:
    """Some clients send the type without a body."""
    answer = _post(platform, "/project/create", b"", "application/json")
    assert answer.json() == {"error": "Missing required argument: name"}


def test_fields_keep_their_characters(platform: Platform) -> None:
    text = "价格 é & = + %\r\n\U0001f600 <b>"
    assert platform.post("/project/create", name=text, description="").json()["name"] == text
    created = platform.post_json("/project/create", name=text, description=3.7).json()
    assert (created["name"], created["description"]) == (text, "3.7")
    model_id = platform.create_model()
    assert platform.deploy(model_id, versionDescription=text).json()["description"] == text


def test_a_second_model_is_refused(platform: Platform) -> None:
    body = _part("model", make_bundle(), "a.zip") + _deploy_form(platform, "m", make_bundle())
    answer = _post(platform, "/model/deploy", body, f"multipart/form-data; boundary={_BOUNDARY}")
    assert answer.json() == {"error": "More than one file called model"}
    assert platform.left_behind() == []


def test_unexpected_files_are_ignored(platform: Platform) -> None:
    model_id = platform.create_model()
    body = _part("other", b"x" * (2 << 20), "o") + _deploy_form(platform, model_id, make_bundle())
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    assert _post(platform, "/model/deploy", body, content_type).status_code == 200
    body = _part("model", b"x" * (2 << 20), "m") + _form({"name": "n", "description": ""}, b"")
    assert _post(platform, "/project/create", body, content_type).status_code == 200
    assert len(platform.left_behind()) == 1


def test_many_clients_at_once_get_a_version_each(platform: Platform) -> None:
    model_id = platform.create_model()
    bundles = [make_bundle(big=secrets.token_bytes(300_000)) for _ in range(24)]
    answers: dict[int, str] = {}

    def deploy(number: int) -> None:
        answers[number] = platform.deploy(model_id, bundles[number]).json()["versionId"]

    threads = [threading.Thread(target=deploy, args=(number,)) for number in range(len(bundles))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    versions = platform.versions(model_id)
    assert {version["versionId"] for version in versions} == set(answers.values())
    assert [version["status"] for version in versions] == ["stopped"] * 23 + ["deployed"]
    for number, version_id in answers.items():
        assert (platform.data / "bundles" / f"{version_id}.zip").read_bytes() == bundles[number]
    assert len(platform.left_behind()) == 24


def test_clients_that_make_the_same_model_share_it(lenient: Platform) -> None:
    threads = [
        threading.Thread(target=lenient.deploy, args=("rsi",), kwargs={"projectId": "fund"})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = lenient.post("/model/details", projectId="fund", modelId="rsi").json()
    assert len(document["versions"]) == 8
    assert len(lenient.post("/model/list", projectId="fund").json()) == 1


def test_a_failing_disk_is_a_500_that_leaves_nothing(platform: Platform) -> None:
    model_id = platform.create_model()
    (platform.data / "incoming").rmdir()
    bundle = make_bundle(big=secrets.token_bytes(3 << 20))
    answer = platform.deploy(model_id, bundle)
    assert answer.status_code == 500
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Traceback" not in answer.text
    assert "FileNotFoundError" in platform.errors.pop()
    (platform.data / "incoming").mkdir()
    (platform.data / "bundles").rmdir()
    assert platform.deploy(model_id, bundle).status_code == 500
    assert "FileNotFoundError" in platform.errors.pop()
    (platform.data / "bundles").mkdir()
    assert platform.left_behind() == []
    assert platform.deploy(model_id, bundle).status_code == 200


def test_a_failing_disk_and_a_client_that_leaves(platform: Platform) -> None:
    (platform.data / "incoming").rmdir()
    bundle = make_bundle(big=secrets.token_bytes(3 << 20))
    body = _deploy_form(platform, platform.create_model(), bundle)
    with _connect(platform) as connection:
        head = _head(platform, "/model/deploy", f"Content-Length: {len(body) + 1}")
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        assert _receive(connection)[0] == 500
    assert "FileNotFoundError" in platform.errors.pop()


def test_a_large_upload_takes_little_memory(platform: Platform, tmp_path: Path) -> None:
    import tracemalloc

    model_id = platform.create_model()
    path = tmp_path / "random"
    path.write_bytes(make_bundle(big=secrets.token_bytes(40 << 20)))
    body_size = len(_deploy_form(platform, model_id, b"")) + path.stat().st_size
    before, after = _deploy_form(platform, model_id, b"\0").split(b"\0")
    tracemalloc.start()
    try:
        with _connect(platform) as connection, path.open("rb") as file:
            head = _head(platform, "/model/deploy", f"Content-Length: {body_size}")
            connection.sendall(head + before)
            connection.sendfile(file)
            connection.sendall(after)
            assert _receive(connection)[0] == 200
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def _body_of(messages: list[dict[str, object] | Exception], most: int | None = None) -> Body:
    """Return a body that consists of these ASGI messages, or breaks with an exception."""

    async def receive() -> dict[str, object]:
        message = messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    return Body(Request({"type": "http", "method": "POST", "headers": []}, receive), most)


def _piece(content: bytes) -> dict[str, object]:
    return {"type": "http.request", "body": content, "more_body": True}


def test_a_restricted_body_ends_where_it_may() -> None:
    async def read() -> None:
        body = _body_of([_piece(b"xxxx"), _piece(b"x"), _piece(b"x")], 4)
        assert await body.read() == b"xxxx"
        with pytest.raises(ApiError, match="too large") as raised:
            await body.read()
        assert raised.value.status == 413
        assert await body.read() == b""

    asyncio.run(read())


def test_a_body_has_one_deadline_for_what_is_read_and_what_is_skipped() -> None:
    async def receive() -> dict[str, object]:
        await asyncio.sleep(0.001)
        return _piece(b"x")

    async def read() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        await Body(request, seconds=0.1).drain()
        body = Body(request, seconds=0)
        with pytest.raises(ApiError, match="cut off"):
            await body.read()
        assert await body.read() == b""

    asyncio.run(read())


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ConnectionError("coding")])
def test_a_body_that_broke_is_not_read_again(error: Exception) -> None:
    async def read() -> None:
        messages: list[dict[str, object] | Exception] = [_piece(b"some"), error, _piece(b"x")]
        body = _body_of(messages)
        assert await body.read() == b"some"
        with pytest.raises(ApiError, match="cut off"):
            await body.read()
        assert await body.read() == b""
        assert len(messages) == 1

    asyncio.run(read())


def test_json_of_strangers_is_small(platform: Platform) -> None:
    """Values take many times the memory of their text."""
    url = f"{platform.server.url}/auth/token"
    for size, status in ((100 << 10, 500), ((100 << 10) + 1, 413)):
        text = "{" + " " * (size - 2) + "}"
        headers = {"Content-Type": "application/json"}
        answer = requests.post(url, data=text, headers=headers, timeout=TIMEOUT)
        assert answer.status_code == status
