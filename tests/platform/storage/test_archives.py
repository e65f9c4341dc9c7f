from __future__ import annotations

import io
import json
import random
import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy_action.platform.runs.unpacking import unpack
from deploy_action.platform.storage import archives
from deploy_action.platform.storage.archives import ArchiveFacts, check_archive, check_contents
from deploy_action.platform.storage.zip_reader import ArchiveError
from tests.support.platform_client import Platform, make_bundle

_MANIFEST = "model/blankly.json"
_EMPTY_END = b"PK\x05\x06" + bytes(18)


def _zip(build: Callable[[zipfile.ZipFile], None], *, manifest: bool = True) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        if manifest:
            archive.writestr(_MANIFEST, "{}")
        build(archive)
    return buffer.getvalue()


def _with_entry(name: str, content: bytes = b"x", mode: int = 0) -> bytes:
    info = zipfile.ZipInfo("x")
    info.filename = name  # past the clean-up in the constructor
    info.external_attr = mode << 16
    return _zip(lambda archive: archive.writestr(info, content))


def _patch(bundle: bytes, old: bytes, new: bytes, *, occurrence: int = 0) -> bytes:
    """Return the bundle with one occurrence of `old` replaced (-1: the last)."""
    assert len(old) == len(new)
    places = [at for at in range(len(bundle)) if bundle.startswith(old, at)]
    at = places[occurrence]
    return bundle[:at] + new + bundle[at + len(old) :]


def _set(bundle: bytes, signature: bytes, offset: int, value: bytes, occurrence: int = -1) -> bytes:
    """Return the bundle with a field of a record changed; the last record unless told."""
    places = [at for at in range(len(bundle)) if bundle.startswith(signature, at)]
    at = places[occurrence] + offset
    return bundle[:at] + value + bundle[at + len(value) :]


def _check(tmp_path: Path, bundle: bytes) -> ArchiveFacts:
    path = tmp_path / "upload"
    path.write_bytes(bundle)
    return check_archive(path)


def _refusal(tmp_path: Path, bundle: bytes) -> str:
    with pytest.raises(ArchiveError) as raised:
        _check(tmp_path, bundle)
    return str(raised.value)


def test_a_bundle_is_counted(tmp_path: Path) -> None:
    def build(archive: zipfile.ZipFile) -> None:
        archive.mkdir("model")
        archive.mkdir("model/data")
        archive.writestr("model/data/価格.csv", "1,2\n", zipfile.ZIP_STORED)

    assert _check(tmp_path, _zip(build)) == ArchiveFacts(files=2, unpacked_bytes=6)


def test_the_packages_own_packer_passes(tmp_path: Path) -> None:
    """It names its entries /model/…; zipfile drops the first slash."""
    source = tmp_path / "bot.py"
    source.write_text("x")
    bundle = _zip(lambda archive: archive.write(source, "/model/bot.py"))
    assert _check(tmp_path, bundle).files == 2


def test_a_streamed_bundle_passes(tmp_path: Path) -> None:

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            piece = bytes(data)  # type: ignore[call-overload]  # a buffer
            self.data += piece
            return len(piece)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_MANIFEST, "{}")
        archive.writestr("model/bot.py", "print()")
    assert _check(tmp_path, pipe.data).files == 2


def test_a_zip64_entry_passes(tmp_path: Path) -> None:
    """Packers use it for files that might exceed 4 GiB."""

    def build(archive: zipfile.ZipFile) -> None:
        with archive.open("model/bot.py", "w", force_zip64=True) as entry:
            entry.write(b"print()")

    assert _check(tmp_path, _zip(build)).files == 2


def test_more_entries_than_zip_can_count_pass(tmp_path: Path) -> None:
    """65,536 entries need the zip64 end."""
    path = tmp_path / "upload"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(_MANIFEST, "{}")
        for number in range(65_536):
            archive.writestr(f"model/{number}", b"")
    assert check_archive(path).files == 65_537


def test_a_comment_passes(tmp_path: Path) -> None:
    def build(archive: zipfile.ZipFile) -> None:
        archive.comment = b"by hand"
        archive.getinfo(_MANIFEST).comment = b"the manifest"

    assert _check(tmp_path, _zip(build)).files == 1


@pytest.mark.parametrize("content", [b"", b"no zip", bytes(100_000), b"PK\x05\x06"])
def test_what_is_not_a_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "not a zip" in _refusal(tmp_path, content)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(**{"bot.py": "print()"})
    for cut in range(1, len(bundle)):
        _refusal(tmp_path, bundle[:cut])
        _refusal(tmp_path, bundle[cut:])


def test_bytes_around_an_archive_are_refused(tmp_path: Path) -> None:
    """Readers disagree about where such an archive begins."""
    assert "after its end" in _refusal(tmp_path, make_bundle() + b"x")
    assert "not at its end" in _refusal(tmp_path, b"#!" + make_bundle())


def test_an_archive_without_a_manifest_is_refused(tmp_path: Path) -> None:
    expected = "has no model/blankly.json"
    assert expected in _refusal(tmp_path, _EMPTY_END)
    other = _zip(lambda archive: archive.writestr("model/x/blankly.json", "{}"), manifest=False)
    assert expected in _refusal(tmp_path, other)
    directory = _zip(lambda archive: archive.mkdir(_MANIFEST), manifest=False)
    assert expected in _refusal(tmp_path, directory)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/etc/passwd", "escapes"),
        ("../x", "escapes"),
        ("model/../../x", "escapes"),
        ("model/..", "escapes"),
        ("model\\..\\x", "escapes"),
        ("model/a\\b", "escapes"),
        ("C:/x", "escapes"),
        ("c:x", "escapes"),
        ("bot.py", "outside model/"),
        ("Model/bot.py", "outside model/"),
        ("models/bot.py", "outside model/"),
        ("model", "outside model/"),
        ("__MACOSX/model/x", "outside model/"),
        ("model/./x", "ambiguous"),
        ("model//x", "ambiguous"),
        ("model//", "ambiguous"),
        (f"model/{'x' * 256}", "too long"),
        (f"model/{'é' * 128}", "too long"),
    ],
)
def test_an_entry_outside_the_model_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    assert expected in _refusal(tmp_path, _with_entry(name))


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    """Readers disagree about where the name ends."""
    bundle = _with_entry("model/a_b").replace(b"model/a_b", b"model/a\0b")
    assert "escapes" in _refusal(tmp_path, bundle)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    bundle = _with_entry("model/é").replace("é".encode(), b"\xff\xff")
    assert "not UTF-8" in _refusal(tmp_path, bundle)


def _unicode_path(name: bytes) -> bytes:
    """Return a bundle of which an entry has another name in Info-ZIP's extra field."""
    info = zipfile.ZipInfo("model/e")
    field = b"\x01" + struct.pack("<L", zlib.crc32(b"model/e")) + name
    info.extra = struct.pack("<2H", 0x7075, len(field)) + field
    return _zip(lambda archive: archive.writestr(info, "x"))


def test_the_other_name_of_an_entry_is_checked_too(tmp_path: Path) -> None:
    """Some unpackers prefer it."""
    assert _check(tmp_path, _unicode_path("model/é".encode())).files == 2
    assert "escapes" in _refusal(tmp_path, _unicode_path(b"model/../x"))
    assert "Unicode name" in _refusal(tmp_path, _unicode_path(b"\xff"))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFLNK | 0o777, "symbolic link"),
        (stat.S_IFIFO | 0o644, "not a regular file"),
        (stat.S_IFCHR | 0o644, "not a regular file"),
        (stat.S_IFSOCK | 0o644, "not a regular file"),
        (stat.S_IFDIR | 0o755, "not a regular file"),
    ],
)
def test_special_files_are_refused(tmp_path: Path, mode: int, expected: str) -> None:
    assert expected in _refusal(tmp_path, _with_entry("model/x", mode=mode))


@pytest.mark.parametrize(
    "names",
    [
        ("model/x", "model/x"),
        ("model/x/", "model/x/"),
        ("model/x", "model/x/"),
        ("model/x/", "model/x"),
        ("model/x", "model/x/y"),
        ("model/x/y", "model/x"),
        ("model/x", "model/x/y/z"),
        ("model/blankly.json",),
    ],
)
def test_two_entries_of_one_name_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    def build(archive: zipfile.ZipFile) -> None:
        for name in names:
            archive.writestr(name, b"")

    assert "of one name" in _refusal(tmp_path, _zip(build))


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    bundle = _with_entry("model/x")
    assert "encrypted" in _refusal(tmp_path, _set(bundle, b"PK\x01\x02", 8, b"\x01\x00"))


def test_an_unsupported_compression_is_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        bundle = _zip(lambda archive, m=method: archive.writestr("model/x", "x", m))  # type: ignore[misc]  # the loop's
        assert "unsupported way" in _refusal(tmp_path, bundle)
    bundle = _with_entry("model/x")
    assert "unsupported way" in _refusal(tmp_path, _set(bundle, b"PK\x01\x02", 8, b"\x20\x00"))
    assert "unsupported way" in _refusal(tmp_path, _set(bundle, b"PK\x01\x02", 6, b"\x40"))


def test_a_split_archive_is_refused(tmp_path: Path) -> None:
    bundle = _with_entry("model/x")
    assert "split" in _refusal(tmp_path, _set(bundle, b"PK\x05\x06", 4, b"\x01\x00"))
    assert "split" in _refusal(tmp_path, _set(bundle, b"PK\x05\x06", 8, b"\x01\x00"))
    assert "split" in _refusal(tmp_path, _set(bundle, b"PK\x01\x02", 34, b"\x01\x00"))


def test_a_damaged_directory_is_refused(tmp_path: Path) -> None:
    bundle = _with_entry("model/x")
    damaged = [
        _set(bundle, b"PK\x01\x02", 0, b"PK\x01\x03"),
        _set(bundle, b"PK\x05\x06", 8, b"\x01\x00\x01\x00"),
        _set(bundle, b"PK\x05\x06", 8, b"\x03\x00\x03\x00"),
        _set(bundle, b"PK\x01\x02", 28, b"\xff\xff"),
        _set(bundle, b"PK\x01\x02", 30, b"\xff\x00"),
        _set(bundle, b"PK\x01\x02", 32, b"\x01\x00"),
    ]
    for each in damaged:
        assert "damaged" in _refusal(tmp_path, each)


def test_damaged_extra_fields_are_refused(tmp_path: Path) -> None:
    field = struct.pack("<2HQ", 0x9999, 8, 7)
    for extra in (field[:-1], field[:3], field + field):
        info = zipfile.ZipInfo("model/x")
        info.extra = extra
        bundle = _zip(lambda archive, i=info: archive.writestr(i, "x"))  # type: ignore[misc]  # the loop's
        assert "extra fields" in _refusal(tmp_path, bundle)
    bundle = _set(_with_entry("model/x"), b"PK\x01\x02", 20, b"\xff\xff\xff\xff")
    assert "zip64 sizes" in _refusal(tmp_path, bundle)


def test_a_header_that_contradicts_the_directory_is_refused(tmp_path: Path) -> None:
    """Readers disagree about which one counts."""
    bundle = _with_entry("model/x")
    for offset, value in [
        (0, b"PK\x03\x05"),
        (6, b"\x01\x00"),
        (8, b"\x08\x00"),
        (18, b"\x63"),
        (22, b"\x63"),
        (26, b"\x06\x00"),
        (30, b"m0del/x"),
    ]:
        changed = _set(bundle, b"PK\x03\x04", offset, value)
        assert "contradicts" in _refusal(tmp_path, changed)
        with zipfile.ZipFile(io.BytesIO(changed)) as archive:
            assert archive.namelist() == [_MANIFEST, "model/x"]


def test_an_offset_beyond_the_file_is_refused(tmp_path: Path) -> None:
    bundle = _set(_with_entry("model/x"), b"PK\x01\x02", 42, b"\xff\xff\xff\x0f")
    assert "cut off" in _refusal(tmp_path, bundle)
    path = tmp_path / "upload"
    _write_sparse(path, 1 << 20, 1 << 20)
    wide = _set(path.read_bytes(), struct.pack("<2H", 1, 24), 20, b"\xff" * 8)
    assert "cut off" in _refusal(tmp_path, wide)


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    """Some small bombs share bytes between files."""

    def build(archive: zipfile.ZipFile) -> None:
        archive.writestr("model/1", bytes(1000))
        archive.writestr("model/2", bytes(1000))
        archive.getinfo("model/2").header_offset = archive.getinfo("model/1").header_offset
        archive.getinfo("model/2").filename = "model/1"

    bundle = _patch(_zip(build), b"model/1", b"model/1", occurrence=-1)
    assert "of one name" in _refusal(tmp_path, bundle)

    # The second entry's header is inside the first one's data.
    inner = _zip(lambda archive: archive.writestr("model/2", "x"), manifest=False)
    local = inner[: inner.index(b"PK\x01\x02")]

    def nest(archive: zipfile.ZipFile) -> None:
        archive.writestr("model/1", local, zipfile.ZIP_STORED)
        archive.writestr("model/2", "x")
        first = archive.getinfo("model/1").header_offset
        archive.getinfo("model/2").header_offset = first + 30 + len("model/1")

    assert "overlaps" in _refusal(tmp_path, _zip(nest))


def test_an_entry_that_reaches_into_the_directory_is_refused(tmp_path: Path) -> None:
    bundle = _zip(lambda archive: archive.writestr("model/x", "x" * 50, zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x01\x02", 20), (b"PK\x03\x04", 18)):
        bundle = _set(bundle, signature, offset, struct.pack("<2L", 60, 60))
    assert "cut off" in _refusal(tmp_path, bundle)


@pytest.mark.parametrize(
    ("method", "packed", "unpacked"), [(0, 5, 6), (0, 6, 5), (8, 5, 5161), (8, 0, 1)]
)
def test_wrong_sizes_are_refused(tmp_path: Path, method: int, packed: int, unpacked: int) -> None:
    """A stored file keeps its size, and DEFLATE packs at 1032:1 at best."""
    bundle = _zip(lambda archive: archive.writestr("model/x", "x" * 5, method))
    bundle = _set(bundle, b"PK\x01\x02", 20, struct.pack("<2L", packed, unpacked))
    assert "cannot be true" in _refusal(tmp_path, bundle)


def test_a_directory_with_content_is_refused(tmp_path: Path) -> None:
    assert "cannot be true" in _refusal(tmp_path, _with_entry("model/x/"))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    bomb = _zip(lambda archive: archive.writestr("model/x", bytes(65 << 20)))
    assert "zip bomb" in _refusal(tmp_path, bomb)
    small = _zip(lambda archive: archive.writestr("model/x", bytes(63 << 20)))
    assert _check(tmp_path, small).files == 2


@pytest.mark.parametrize(
    ("unpacked", "size", "is_bomb"),
    [
        (64 << 20, 1 << 17, False),
        ((64 << 20) + 1, 1 << 17, True),
        ((64 << 20) + 1, (64 << 20) // 500 + 1, False),
        (1 << 30, (1 << 30) // 500 + 1, False),
        ((1 << 30) + 1, (1 << 30) // 500 + 1, True),
        ((1 << 30) + 1, (1 << 30) // 100 + 1, False),
        (64 << 30, 2 << 30, False),
        ((64 << 30) + 1, 64 << 30, True),
    ],
)
def test_the_limits_of_a_bomb(
    tmp_path: Path,
    unpacked: int,
    size: int,
    is_bomb: bool,  # noqa: FBT001  a table
) -> None:
    """Over 64 MiB at 500:1, over 1 GiB at 100:1, over 64 GiB at all."""
    # Sparse files of exactly those sizes: the first entries' data, and a directory that tells it.
    path = tmp_path / "upload"
    _write_sparse(path, size, unpacked)
    if is_bomb:
        with pytest.raises(ArchiveError, match="zip bomb"):
            check_archive(path)
    else:
        assert check_archive(path).unpacked_bytes == unpacked


def _write_sparse(path: Path, size: int, unpacked: int) -> None:
    """Write an archive of `size` bytes that says it unpacks to `unpacked`, with holes in it."""
    manifest = zipfile.ZipInfo(_MANIFEST)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(manifest, "{}")
    start = body.getvalue().index(b"PK\x01\x02")
    records, offset, left, number = [body.getvalue()[:start]], start, unpacked - 2, 0
    central = body.getvalue()[start : body.getvalue().index(b"PK\x05\x06")]
    end_size = 56 + 20 + 22
    name = b"model/%05d"
    count = 70
    room = size - start - len(central) - end_size - count * (46 + len(name % 0) + 28)
    packed = room // count - 30 - len(name % 0)
    with path.open("wb") as file:
        file.write(records[0])
        for number in range(count):
            piece = -(-left // (count - number))
            left -= piece
            raw = name % number
            entry = struct.pack("<4s2B4HL2L2H", b"PK\x03\x04", 45, 0, 8, 8, 0, 0x21, 0, 0, 0,
                                len(raw), 0) + raw  # fmt: skip
            file.seek(offset)
            file.write(entry)
            extra = struct.pack("<2H3Q", 1, 24, piece, packed, offset)
            central += struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 45, 3, 45, 0, 8, 8, 0, 0x21, 0,
                                   0xFFFFFFFF, 0xFFFFFFFF, len(raw), len(extra), 0, 0, 0, 0,
                                   0xFFFFFFFF) + raw + extra  # fmt: skip
            offset += 30 + len(raw) + packed
        assert left == 0
        at = size - len(central) - end_size
        file.seek(at)
        file.write(central)
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count + 1,
                               count + 1, len(central), at))  # fmt: skip
        file.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, at + len(central), 1))
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF,
                               0xFFFFFFFF, 0))  # fmt: skip
    assert path.stat().st_size == size


@pytest.mark.parametrize(("offset", "value"), [(76, b"X"), (72, b"\x07"), (52, b"X"), (36, b"X")])
def test_a_damaged_zip64_end_is_refused(tmp_path: Path, offset: int, value: bytes) -> None:
    path = tmp_path / "upload"
    _write_sparse(path, 1 << 20, 1 << 20)
    bundle = path.read_bytes()
    assert check_archive(path).files == 71
    at = len(bundle) - 22 - offset
    _refusal(tmp_path, bundle[:at] + value + bundle[at + 1 :])


def test_the_zip64_locator_must_point_at_its_record(tmp_path: Path) -> None:
    """Readers look right before the locator, whatever it says."""
    path = tmp_path / "upload"
    _write_sparse(path, 1 << 20, 1 << 20)
    bundle = path.read_bytes()
    assert "out of place" in _refusal(tmp_path, _set(bundle, b"PK\x06\x07", 8, b"\x00\x00"))
    assert "damaged" in _refusal(tmp_path, _set(bundle, b"PK\x06\x06", 16, b"\x01"))


def test_an_entry_larger_packed_than_it_says_to_be_is_refused(tmp_path: Path) -> None:
    """DEFLATE adds at most five bytes a block."""

    def build(archive: zipfile.ZipFile) -> None:
        archive.writestr("model/x", random.Random(7).randbytes(100_000))  # noqa: S311  no secret

    bundle = _zip(build)
    assert _check(tmp_path, bundle).unpacked_bytes == 100_002
    for said, is_refused in [(1000, True), (99_000, True), (99_990, False)]:
        size = struct.pack("<L", said)
        lying = _set(_set(bundle, b"PK\x01\x02", 24, size), b"PK\x03\x04", 22, size)
        if is_refused:
            assert "size cannot be true: 'model/x'" in _refusal(tmp_path, lying)
        else:
            assert _check(tmp_path, lying).unpacked_bytes == said + 2


@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from([0, 1, 6, 9]))
def test_every_true_size_is_accepted(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, times: int, level: int
) -> None:
    content = data * times + random.Random(times).randbytes(times * 500)  # noqa: S311  no secret
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.writestr(_MANIFEST, "{}")
        archive.writestr("model/x", content)
    path = tmp_path_factory.mktemp("bundle")
    assert _check(path, buffer.getvalue()).unpacked_bytes == len(content) + 2


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    count = archives.MAX_ENTRIES + 1
    path = tmp_path / "upload"
    _write_sparse(path, 1 << 20, 1 << 20)
    bundle = _set(path.read_bytes(), b"PK\x06\x06", 24, struct.pack("<2Q", count, count))
    assert "more than 300000 entries" in _refusal(tmp_path, bundle)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b" " * (1 << 20) + b"{}", "larger than"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    bundle = _zip(lambda archive: archive.writestr(_MANIFEST, content), manifest=False)
    assert expected in _refusal(tmp_path, bundle)


def test_a_manifest_with_a_byte_order_mark_passes(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + json.dumps({"type": "strategy"}).encode()
    bundle = _zip(lambda archive: archive.writestr(_MANIFEST, content), manifest=False)
    assert _check(tmp_path, bundle).files == 1


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    stored = _zip(
        lambda archive: archive.writestr(_MANIFEST, '{"a": 1}', zipfile.ZIP_STORED), manifest=False
    )
    assert "damaged" in _refusal(tmp_path, stored.replace(b'{"a": 1}', b'{"a": 2}'))
    deflated = make_bundle()
    short = _set(deflated, b"PK\x01\x02", 24, b"\x01")
    assert "damaged" in _refusal(tmp_path, _set(short, b"PK\x03\x04", 22, b"\x01"))
    data = deflated.index(_MANIFEST.encode()) + len(_MANIFEST)
    assert "damaged" in _refusal(tmp_path, deflated[:data] + b"\xff" * 4 + deflated[data + 4 :])


def _with_content(packed: bytes, *, size: int, crc: int) -> bytes:
    """Return a bundle with an entry whose deflated data is `packed`, whatever it says of it."""
    bundle = _zip(lambda archive: archive.writestr("model/x", packed, zipfile.ZIP_STORED))
    for signature, start in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        bundle = _set(bundle, signature, start, b"\x08\x00")
        bundle = _set(bundle, signature, start + 6, struct.pack("<L", crc))
        bundle = _set(bundle, signature, start + 14, struct.pack("<L", size))
    return bundle


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("packed", "said", "expected"),
    [
        (_deflate(b"12345"), b"12345", ""),
        (_deflate(b"12345"), b"1234567890", "unpacks to less than the 10 bytes"),
        (_deflate(b"1234567890"), b"12345", "unpacks to more than the 5 bytes"),
        (_deflate(bytes(2 << 20))[:1000], b"", "size cannot be true"),
        (_deflate(b"12345"), b"54321", "checksum is wrong"),
        (_deflate(b"12345") + b"more", b"12345", "cannot be unpacked"),
        (_deflate(b"12345")[:-1], b"12345", "cannot be unpacked"),
        (b"\xff" * 9, b"12345", "cannot be unpacked"),
    ],
)
def test_content_that_is_not_what_the_directory_says_is_refused(
    platform: Platform, tmp_path: Path, packed: bytes, said: bytes, expected: str
) -> None:
    """`zipfile` reads the first three, each as something else than other readers."""
    bundle = _with_content(packed, size=len(said), crc=zlib.crc32(said))
    answer = platform.deploy(platform.create_model(), bundle)
    if not expected:
        assert answer.status_code == 200
        return
    assert answer.status_code == 400
    assert expected in answer.json()["error"]
    assert platform.left_behind() == []
    path = tmp_path / "bundle.zip"
    path.write_bytes(bundle)
    with pytest.raises(ArchiveError):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model/x" + "/a" * 32_000, "too long (64,007 bytes"),
        ("é" * 32_000, "too long (64,000 bytes"),
        ("model" + "/a" * 101, "too deep (101 levels; 100 are allowed)"),
        (f"model/{'x' * 64_000}/../..", "too long"),
    ],
)
def test_a_long_or_deep_name_is_refused_before_anything_is_built_from_it(
    tmp_path: Path, name: str, expected: str
) -> None:
    bundle = _with_entry(name)
    path = tmp_path / "upload"
    path.write_bytes(bundle)
    with _memory() as peak, pytest.raises(ArchiveError) as raised:
        check_archive(path)
    assert expected in str(raised.value)
    assert len(str(raised.value)) < 200
    assert peak() < 4 * len(bundle) + (1 << 20)


@contextmanager
def _memory() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the most memory that was in use since, in bytes."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", ["tiny", "deep"])
def test_the_memory_of_the_check_is_a_small_multiple_of_the_upload(
    tmp_path: Path, shape: str
) -> None:
    path = tmp_path / "upload"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(_MANIFEST, "{}")
        for number in range(20_000 if shape == "tiny" else 5_000):
            name = f"model/{number:x}"
            archive.writestr(name if shape == "tiny" else name + "/a" * 99, b"")
    with _memory() as peak:
        check_archive(path)
        check_contents(path)
        assert peak() < 4 * path.stat().st_size + (1 << 20)


def test_comments_and_extra_fields_are_bounded(tmp_path: Path) -> None:
    long = zipfile.ZipInfo("model/x")
    long.comment = b"c" * 65_535
    assert _check(tmp_path, _zip(lambda archive: archive.writestr(long, "x"))).files == 2
    wide = zipfile.ZipInfo("model/x")
    wide.extra = struct.pack("<2H", 0x9999, 4_093) + bytes(4_093)
    refusal = _refusal(tmp_path, _zip(lambda archive: archive.writestr(wide, "x")))
    assert "more than 4,096 bytes of extra fields: 'model/x'" in refusal


def test_a_large_directory_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    _write_sparse(path, 1 << 20, 1 << 20)
    bundle = path.read_bytes()
    end = bundle.rindex(b"PK\x06\x06")
    start = struct.unpack_from("<Q", bundle, end + 48)[0]
    size = archives.MAX_DIRECTORY_BYTES + 1
    with path.open("wb") as file:
        file.write(bundle[:start])
        file.seek(start + size)
        file.write(_set(_set(bundle[end:], b"PK\x06\x06", 40, struct.pack("<Q", size)),
                        b"PK\x06\x07", 8, struct.pack("<Q", start + size)))  # fmt: skip
    with pytest.raises(ArchiveError, match="directory is larger than 64 MiB"):
        check_archive(path)


@settings(max_examples=150)
@given(st.integers(), st.integers(1, 4))
def test_accepted_bundles_read_the_same_with_zipfile(seed: int, changes: int) -> None:
    """A damaged bundle is refused, or zipfile reads the same names and sizes."""
    import tempfile

    random_ = random.Random(seed)  # noqa: S311  not for secrets
    bundle = bytearray(make_bundle(**{"bot.py": "print()", "data/é.csv": "1,2"}))
    for _ in range(changes):
        bundle[random_.randrange(len(bundle))] = random_.randrange(256)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "upload"
        path.write_bytes(bundle)
        try:
            facts = check_archive(path)
        except ArchiveError:
            return
        with zipfile.ZipFile(path) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            assert len(files) == facts.files
            assert sum(info.file_size for info in files) == facts.unpacked_bytes
            assert all(info.filename.startswith("model/") for info in files)


@pytest.mark.parametrize(
    ("bundle", "expected"),
    [
        (b"no zip", "not a zip"),
        (_EMPTY_END, "no model/blankly.json"),
        (_with_entry("model/../../x"), "escapes"),
        (_zip(lambda archive: archive.writestr("model/x", bytes(65 << 20))), "zip bomb"),
    ],
    ids=["text", "empty", "escape", "bomb"],
)
def test_a_bad_bundle_is_a_400_with_reason(
    platform: Platform, bundle: bytes, expected: str
) -> None:
    model_id = platform.create_model()
    for answer in (platform.deploy(model_id, bundle), platform.backtest(model_id, bundle)):
        assert answer.status_code == 400
        assert expected in answer.json()["error"]
    document = platform.details(model_id)
    assert (document["versions"], document["backtests"]) == ([], [])
    assert platform.left_behind() == []
