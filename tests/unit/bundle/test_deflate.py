from __future__ import annotations

import hashlib
import platform
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy_action.bundle.deflate import deflated
from tests.support.waiting import PATIENCE

REPOSITORY = Path(__file__).parents[3]


def samples(count: int) -> Iterator[bytes]:
    """Yield data whose third byte and the next ones come again: whether that is seen decides."""
    source = random.Random(1)  # noqa: S311  # test data, reproducible
    for _ in range(count):
        start, between = source.randbytes(10), source.randbytes(40)
        yield start + between + start[2:] + between[:20]


def prices(count: int) -> bytes:
    source = random.Random(2)  # noqa: S311  # test data, reproducible
    lines = [f"{source.randrange(10**9)},{source.random():.2f}\n" for _ in range(count // 16)]
    return "".join(lines).encode()


@example([b"", b"x", b"abc" * 6, b"", b"abcd" * 5])
@given(st.lists(st.binary(max_size=40) | st.text("ab", max_size=9000).map(str.encode), max_size=5))
def test_parts_are_one_stream(parts: list[bytes]) -> None:
    joined = [b"".join(deflated(part, is_last=False)) for part in parts]
    stream = b"".join([*joined, *deflated(b"end")])
    reader = zlib.decompressobj(-15)
    assert reader.decompress(stream) == b"".join([*parts, b"end"])
    assert reader.eof
    assert not reader.unused_data


def test_processes_agree() -> None:
    """With ISA-L's fault, each process has its own digest of these samples."""
    program = (
        "import hashlib\n"
        "from deploy_action.bundle.deflate import deflated\n"
        "from tests.unit.bundle.test_deflate import samples\n"
        "digest = hashlib.sha256()\n"
        "for sample in samples(20_000):\n"
        "    digest.update(b''.join(deflated(sample, is_last=False)))\n"
        "print(digest.hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=REPOSITORY, capture_output=True, check=True, timeout=PATIENCE,
        ).stdout
        for _ in range(3)
    }  # fmt: skip
    assert len(digests) == 1


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines have other bytes")
def test_the_bytes_are_pinned() -> None:
    """A changed digest means that all users' bundles change: say so in the changelog."""
    digest = hashlib.sha256()
    for sample in [*samples(200), prices(300_000), prices(3000), bytes(100_000)]:
        digest.update(b"".join(deflated(sample)))
    assert digest.hexdigest() == "e942ee0a13ca2ab3be0ff19d0ddf43f8612e688c7a7ff727df66249cbc0ad170"
