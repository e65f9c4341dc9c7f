"""Uploads: what is sent, that it is streamed, and files that change meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy_action.deployment_api.bodies import AlteredFileError, MultipartBody
from deploy_action.http.sessions import BLOCK_SIZE
from tests.support.scripted_server import ID_TOKEN, Reply, StartScripted
from tests.support.transports import UPLOAD, bundle, make_transport, upload_of
from tests.support.wire_server import StartWire, answering


def test_an_upload_is_a_multipart_form_with_a_zip(scripted: StartScripted, tmp_path: Path) -> None:
    server = scripted({UPLOAD: Reply(body={})})
    file = bundle(tmp_path)
    fields = {"versionDescription": "Größer: 中文 🚀\n\n- zweite Zeile", "plan": "nano"}
    body = MultipartBody(fields, upload_of(file))
    with body:
        sent = b"".join(iter(lambda: body.read(BLOCK_SIZE), b""))
    make_transport(server.url).upload("/upload", fields, ID_TOKEN, upload_of(file))
    request = server.requests_to(UPLOAD)[0]
    assert request.fields == fields
    assert request.file == file.read_bytes()
    assert request.headers["token"] == ID_TOKEN
    assert int(request.headers["Content-Length"]) == len(sent) == len(body)
    assert b'name="model"; filename="model.zip"\r\nContent-Type: application/zip\r\n' in sent


def test_progress_only_grows_and_ends_at_the_size(scripted: StartScripted, tmp_path: Path) -> None:
    server, seen = scripted({UPLOAD: Reply(body={})}), list[tuple[int, int]]()
    file = bundle(tmp_path, 1_000_000)
    make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload_of(file, seen))
    done = [one for one, _ in seen]
    assert done == sorted(set(done))
    assert len(done) > 5
    assert seen[-1] == (1_000_000, 1_000_000)
    assert {total for _, total in seen} == {1_000_000}


def test_memory_does_not_grow_with_the_bundle(wire: StartWire, tmp_path: Path) -> None:
    server = wire({UPLOAD: answering(200, {})})
    large, small = tmp_path / "large.zip", bundle(tmp_path)
    with large.open("wb") as file:
        file.truncate(300_000_000)
    program = f"""
import hashlib
import resource
from pathlib import Path
from deploy_action.interruption import Deadline
from deploy_action.deployment_api.bodies import Upload
from deploy_action.deployment_api.transport import Transport
from deploy_action.http.exchange import Retries
def upload(path):
    transport = Transport({server.url!r}, Retries(Deadline.after(1)), use_environment=False)
    digest = hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()
    answer = transport.upload("/upload", {{}}, "t", Upload(Path(path), digest, lambda *_: None))
    assert answer.status == 200
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(-upload({str(small)!r}) + upload({str(large)!r}))
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert int(done.stdout) < 20_000, "kibibytes"
    assert server.seen[-1].received == server.seen[-1].length > 300_000_000


@pytest.mark.parametrize("become", [b"", b"other bytes", b"x" * 300_000, b"y" * 400_000])
def test_a_changed_file_is_not_sent_whole(wire: StartWire, tmp_path: Path, become: bytes) -> None:
    """The body is shorter than announced, so the server cannot act on it."""
    server = wire({UPLOAD: answering(200, {})})
    upload = upload_of(bundle(tmp_path))
    upload.path.write_bytes(become)
    with pytest.raises(AlteredFileError, match="changed since it was packed") as caught:
        make_transport(server.url).upload("/upload", {}, ID_TOKEN, upload)
    assert not caught.value.may_have_acted
    assert not any(one.body_was_read for one in server.seen)


def test_bytes_appended_during_the_upload_are_not_sent(wire: StartWire, tmp_path: Path) -> None:
    server = wire({UPLOAD: answering(200, {})})
    upload = upload_of(bundle(tmp_path))

    def grow(sent: int, _total: int) -> None:
        if sent < 200_000:
            with upload.path.open("ab") as file:
                file.write(b"more")

    growing = replace(upload, on_progress=grow)
    assert make_transport(server.url).upload("/upload", {}, ID_TOKEN, growing).status == 200

    (seen,) = server.seen
    assert seen.received == seen.length
    assert b"more" not in seen.body


def test_a_file_truncated_during_the_upload_is_not_sent_completely(
    wire: StartWire, tmp_path: Path
) -> None:
    server = wire({UPLOAD: answering(200, {})})
    upload = upload_of(bundle(tmp_path))
    packed = upload.path.read_bytes()
    upload.path.write_bytes(packed + b"more")

    def cut(_sent: int, _total: int) -> None:
        os.truncate(upload.path, len(packed))

    with pytest.raises(AlteredFileError):
        make_transport(server.url).upload("/upload", {}, ID_TOKEN, replace(upload, on_progress=cut))

    assert not any(one.body_was_read for one in server.seen)
