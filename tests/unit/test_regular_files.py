from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy_action.regular_files import Tree, read_regular

MOST = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 8_192, MOST])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "file").write_bytes(data)
    assert read_regular(tmp_path / "file", MOST) == data
    with Tree.at(str(tmp_path)).opened() as tree:
        assert tree.read("file", MOST) == data


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (MOST + 1))
    with pytest.raises(OSError, match="it is larger than 1 MiB"):
        read_regular(tmp_path / "file", MOST)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_file_that_tells_no_size_is_read_whole() -> None:
    assert read_regular("/proc/version", MOST) == Path("/proc/version").read_bytes()
    assert Path("/proc/version").stat().st_size == 0
    with pytest.raises(OSError, match="it is larger than 0 MiB"):
        read_regular("/proc/version", 4)
