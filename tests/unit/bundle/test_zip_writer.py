"""The container format, read back by Python's zipfile and by unzip."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import pytest

from deploy_action.bundle.zip_writer import Method, Zip64Limits, ZipWriter


def add(writer: ZipWriter, name: str, data: bytes, *, executable: bool = False) -> None:
    writer.add_file(
        name, [data], Method.STORED, crc=zlib.crc32(data), size=len(data), executable=executable
    )


def add_in_parts(writer: ZipWriter, name: str, *parts: bytes, most: int) -> None:
    writer.begin_file(name, Method.STORED, most=most, executable=False)
    for part in parts:
        writer.write_part(part)
    data = b"".join(parts)
    writer.end_file(crc=zlib.crc32(data), size=len(data))


def read(archive: io.BytesIO) -> zipfile.ZipFile:
    """Open with Python's zipfile after a check of every checksum."""
    opened = zipfile.ZipFile(archive)
    assert opened.testzip() is None
    return opened


def test_members_carry_fixed_dates_modes_and_system() -> None:
    archive = io.BytesIO()
    writer = ZipWriter(archive)
    add(writer, "model/a.txt", b"a")
    add(writer, "model/run.sh", b"b", executable=True)
    writer.add_directory("model/empty")
    assert writer.finish() == len(archive.getvalue())
    infos = read(archive).infolist()
    assert [info.filename for info in infos] == ["model/a.txt", "model/run.sh", "model/empty/"]
    modes = [stat.filemode(info.external_attr >> 16) for info in infos]
    assert modes == ["-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x"]
    for info in infos:
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert (info.create_system, info.flag_bits, info.extra) == (3, 0, b"")
    assert infos[2].is_dir()


def test_only_names_outside_ascii_carry_the_utf8_flag() -> None:
    archive = io.BytesIO()
    writer = ZipWriter(archive)
    for name in ("ascii", "größe", "数据", "данные", "🚀"):
        add(writer, name, name.encode())
    writer.finish()
    opened = read(archive)
    assert [info.flag_bits for info in opened.infolist()] == [0, 0x800, 0x800, 0x800, 0x800]
    assert opened.read("🚀") == "🚀".encode()


def test_a_file_in_parts_has_the_same_bytes_as_in_one_go() -> None:
    """Sizes are patched into the header; there are no data descriptors."""
    archives = io.BytesIO(), io.BytesIO()
    whole, parts = map(ZipWriter, archives)
    add(whole, "x", b"onetwo")
    add_in_parts(parts, "x", b"one", b"two", most=6)
    for writer in (whole, parts):
        add(writer, "y", b"")
        writer.finish()
    assert archives[0].getvalue() == archives[1].getvalue()


LIMITS = {
    "size": Zip64Limits(size=1000),
    "offset": Zip64Limits(offset=1000),
    "count": Zip64Limits(count=3),
    "all": Zip64Limits(size=100, offset=100, count=1),
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("in_parts", [False, True])
def test_zip64_fields_are_written_where_a_limit_is_reached(
    limits: Zip64Limits, *, in_parts: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.zip"
    contents = {"a": b"a" * 999, "b": b"b" * 1000, "c": b"c" * 3000, "d/é": b"dd"}
    with path.open("w+b") as stream:
        writer = ZipWriter(stream, limits)
        for name, data in contents.items():
            if in_parts:
                add_in_parts(writer, name, data[:500], data[500:], most=len(data))
            else:
                add(writer, name, data)
        writer.finish()
    raw = path.read_bytes()
    assert b"PK\x06\x06" in raw or limits.size == 1000
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == contents
        wide = [info.filename for info in opened.infolist() if info.extract_version == 45]
    assert wide == {"size": ["b", "c"], "offset": ["b", "c", "d/é"], "count": []}.get(
        next(key for key, value in LIMITS.items() if value is limits), ["a", "b", "c", "d/é"]
    )
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tq", path], check=True, timeout=20, stdout=subprocess.PIPE)


class SparseOutput:
    """A file in which zeros become a hole, so that gigabytes take no time."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes | bytearray, /) -> int:
        if data is ZEROS:
            self._stream.seek(len(data), 1)
            return len(data)
        return self._stream.write(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)


ZEROS = bytes(1 << 26)


def test_a_file_and_an_offset_over_four_gibibytes(tmp_path: Path) -> None:
    """With the format's real limits: 65 times 64 MiB, and a small file behind it."""
    path, parts = tmp_path / "x.zip", 65
    with path.open("w+b") as stream:
        writer = ZipWriter(SparseOutput(stream))
        writer.begin_file("big", Method.STORED, most=parts * len(ZEROS), executable=False)
        for _ in range(parts):
            writer.write_part(ZEROS)
        writer.end_file(crc=0, size=parts * len(ZEROS))
        add(writer, "after", b"after")
        writer.finish()
    with zipfile.ZipFile(path) as opened:
        big, after = opened.infolist()
        assert (big.file_size, big.compress_size) == (parts << 26, parts << 26)
        assert after.header_offset > 4 << 30
        assert opened.read("after") == b"after"
        with opened.open("big") as member:
            assert member.read(100) == bytes(100)


def test_small_archives_have_no_zip64_fields() -> None:
    archive = io.BytesIO()
    writer = ZipWriter(archive)
    add(writer, "a", b"x" * 100_000)
    writer.finish()
    assert b"PK\x06\x06" not in archive.getvalue()
    assert read(archive).infolist()[0].extract_version == 20


@pytest.mark.slow
def test_the_largest_count_of_the_old_format_needs_no_zip64() -> None:
    """65,534 members fit; the next value means zip64."""
    for count in (65_534, 65_535, 65_536):
        archive = io.BytesIO()
        writer = ZipWriter(archive)
        for number in range(count):
            add(writer, str(number), b"")
        writer.finish()
        assert (b"PK\x06\x06" in archive.getvalue()) == (count > 65_534)
        assert len(zipfile.ZipFile(archive).namelist()) == count


def test_a_file_larger_than_announced_is_refused() -> None:
    """Its header has no room for the size, so the archive would be broken."""
    writer = ZipWriter(io.BytesIO(), Zip64Limits(size=100))
    with pytest.raises(ValueError, match="larger than was announced"):
        add_in_parts(writer, "x", b"x" * 100, most=99)


def test_ending_a_file_that_was_not_begun_is_refused() -> None:
    with pytest.raises(ValueError, match="no file was begun"):
        ZipWriter(io.BytesIO()).end_file(crc=0, size=0)
