"""What changed between two bundles, also where a client made them to mislead or to overload."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy_action.platform.storage.zip_reader import ArchiveError
from deploy_action.platform.web.changes import bundles, comparison
from deploy_action.platform.web.changes.comparison import (
    BundleChanges,
    FileChange,
    compare_bundles,
)

NO_END = "There is no line feed at the end of this line."
Files = Mapping[str, str | bytes]


def _zip(path: Path, files: Files, *, executable: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"blankly.json": "{}", **files}.items():
            entry = zipfile.ZipInfo(f"model/{name}")
            mode = 0o755 if name == executable else 0o644
            entry.external_attr = (stat.S_IFREG | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def _compare(folder: Path, before: Files, after: Files) -> BundleChanges:
    return compare_bundles(_zip(folder / "a.zip", before), _zip(folder / "b.zip", after))


def _change(
    folder: Path, before: str | bytes, after: str | bytes, name: str = "a.py"
) -> FileChange:
    (change,) = _compare(folder, {name: before}, {name: after}).changed
    return change


def _shown(change: FileChange) -> list[str]:
    signs = {"added": "+", "removed": "-", "same": " ", "gap": "@", "note": "\\"}
    return [f"{signs[line.kind]}{line.text}" for line in change.lines]


def test_changed_lines_have_some_around_them(tmp_path: Path) -> None:
    before = "".join(f"{n}\n" for n in range(1, 41))
    after = before.replace("10\n", "ten\n").replace("30\n", "")

    assert _shown(_change(tmp_path, before, after)) == [
        *("@Lines 7 to 13, now 7 to 13", " 7", " 8", " 9", "-10", "+ten", " 11", " 12", " 13"),
        *("@Lines 27 to 33, now 27 to 32", " 27", " 28", " 29", "-30", " 31", " 32", " 33"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a\n", "a", ["@Lines 1, now 1", "-a", "+a", f"\\{NO_END}"]),
        ("a", "b", ["@Lines 1, now 1", "-a", "+b"]),
        ("a\r\n", "a\n", ["@Lines 1, now 1", "-a␍", "+a"]),
        ("", "a\n", ["@Lines none, now 1", "+a"]),
        ("a\n", "", ["@Lines 1, now none", "-a"]),
        ("\ufeffa\n", "a\n", ["@Lines 1, now 1", "-\ufeffa", "+a"]),
    ],
)  # fmt: skip
def test_a_change_of_line_ends_is_seen(
    tmp_path: Path, before: str, after: str, expected: list[str]
) -> None:
    assert _shown(_change(tmp_path, before, after)) == expected


def test_of_a_long_line_the_changed_part_is_shown(tmp_path: Path) -> None:
    change = _change(tmp_path, f"{'x ' * 2_500}a{' y' * 2_500}", f"{'x ' * 2_500}b{' y' * 2_500}")

    removed, added = [line.text for line in change.lines if line.kind in {"removed", "added"}]
    assert "x a y" in removed
    assert "x b y" in added
    assert len(removed) < 300


def test_a_change_of_the_mode_alone_is_one(tmp_path: Path) -> None:
    before = _zip(tmp_path / "a.zip", {"a.sh": "x"})
    after = _zip(tmp_path / "b.zip", {"a.sh": "x"}, executable="a.sh")

    (change,) = compare_bundles(before, after).changed
    assert (change.mode, change.lines, change.unshown) == ("can be executed now", (), "")
    (back,) = compare_bundles(after, before).changed
    assert back.mode == "cannot be executed any more"


def test_what_is_no_text_is_only_named(tmp_path: Path) -> None:
    for before, after in ((b"\0a", b"\0b"), (b"\xff\xfe", b"abc"), ("a", b"a\0")):
        change = _change(tmp_path, before, after)
        assert (change.unshown, change.lines) == ("It is no text.", ())


def _same_checksum(size: int) -> tuple[bytes, bytes]:
    """Return two texts of one length with one CRC-32, which is linear: four bytes undo the rest."""
    first = b"a" * size
    second = bytearray(b"b" * (size - 4) + b"\0\0\0\0")
    wanted = zlib.crc32(first)
    start = zlib.crc32(bytes(second))
    rows = []
    for bit in range(32):
        flipped = bytearray(second)
        flipped[size - 4 + bit // 8] ^= 1 << bit % 8
        rows.append((zlib.crc32(bytes(flipped)) ^ start, 1 << bit))
    goal, chosen = wanted ^ start, 0
    for bit in reversed(range(32)):
        pivot = next(row for row in rows if row[0] >> bit & 1)
        rows = [
            (row[0] ^ pivot[0], row[1] ^ pivot[1]) if row[0] >> bit & 1 else row
            for row in rows
            if row is not pivot
        ]
        if goal >> bit & 1:
            goal, chosen = goal ^ pivot[0], chosen ^ pivot[1]
    for bit in range(32):
        second[size - 4 + bit // 8] ^= (chosen >> bit & 1) << bit % 8
    assert zlib.crc32(bytes(second)) == wanted
    return first, bytes(second)


def test_another_file_with_the_same_checksum_is_a_change(tmp_path: Path) -> None:
    first, second = _same_checksum(100)

    changes = _compare(tmp_path, {"a.py": first}, {"a.py": second})

    assert [change.after.name for change in changes.changed] == ["a.py"]
    assert changes.same == 1


def test_of_large_files_with_one_checksum_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_MOST_READ", 50)
    first, second = _same_checksum(100)

    changes = _compare(tmp_path, {"a.py": first}, {"a.py": second})

    assert [file.name for file in changes.unread] == ["a.py"]
    assert (changes.changed, changes.same) == ((), 1)


def test_large_texts_are_only_named(tmp_path: Path) -> None:
    large = "x" * (257 << 10)
    assert _change(tmp_path, large, f"{large}y").unshown.startswith("It is too large")
    many = "\n" * 2_001
    assert _change(tmp_path, many, f"{many}y").unshown.startswith("It has more than 2,000 lines")


def test_a_page_is_full_some_time(tmp_path: Path) -> None:
    before = {f"{n}.py": "".join(f"a{i}\n" for i in range(900)) for n in range(9)}
    after = {name: text.replace("a", "b") for name, text in before.items()}

    changes = _compare(tmp_path, before, after)

    assert sum(len(change.lines) for change in changes.changed) == 2_000
    assert [
        change.unshown for change in changes.changed if change.after.name != "blankly.json"
    ] == [
        "",
        "More lines changed; the page is full.",
        *["The page is full, so its lines are not compared."] * 7,
    ]


def test_a_page_takes_its_time_and_no_more(tmp_path: Path) -> None:
    files = {f"{n}.py": "a" for n in range(5)}
    times = iter([0.0, 0.5, 0.9, 1.0, 2.0, 3.0])

    changes = compare_bundles(
        _zip(tmp_path / "a.zip", files),
        _zip(tmp_path / "b.zip", dict.fromkeys(files, "b")),
        clock=lambda: next(times),
    )

    assert [bool(change.lines) for change in changes.changed] == [True, True, False, False, False]


def test_of_too_many_files_the_first_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "list_files", lambda path: bundles.list_files(path, 3))

    changes = _compare(
        tmp_path, {"a": "1", "b": "1", "c": "1"}, {"a": "2", "b": "1", "d": "1", "e": "1"}
    )

    assert not changes.is_whole
    assert (changes.added, changes.removed) == ((), ())
    assert [change.after.name for change in changes.changed] == ["a"]


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    good, bad = _zip(tmp_path / "a.zip", {"a": "1"}), tmp_path / "b.zip"
    bad.write_bytes(good.read_bytes()[:-5])
    with pytest.raises(ArchiveError):
        compare_bundles(good, bad)
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("model/../../etc/passwd", "x")
    with pytest.raises(ArchiveError):
        compare_bundles(good, bad)


def test_a_file_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    """Without unpacking it all."""
    good = _zip(tmp_path / "a.zip", {"a": "x" * 1_000})
    data = bytearray(_zip(tmp_path / "b.zip", {"a": "y" * 100_000}).read_bytes())
    wrong = (100_000).to_bytes(4, "little")
    assert data.count(wrong) == 2
    (tmp_path / "b.zip").write_bytes(data.replace(wrong, (1_000).to_bytes(4, "little")))

    with pytest.raises(ArchiveError, match="unpacks to more"):
        compare_bundles(good, tmp_path / "b.zip")
