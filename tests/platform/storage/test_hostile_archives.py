"""Zips made and damaged at random: each is refused, or unpacks to what it says, in its place."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from pathlib import Path

import pytest

from deploy_action.bundle.bundle import write_bundle
from deploy_action.bundle.selection import select_files
from deploy_action.platform.runs.unpacking import unpack
from deploy_action.platform.storage.archives import check_archive, check_contents
from deploy_action.platform.storage.zip_reader import ArchiveError
from tests.support.torture import Rounds

NAMES = (
    *("model/a", "model/b/c", "model/b", "model/b/", "model/../x", "../x", "/etc/x", "model//a"),
    *("model/./a", "C:/x", "C:\\x", "model\\a", "\\\\host\\x", "model/..", "model/a/../../../x"),
    *("model/con", "model/a:b", "model/A", "model/ä", "model/a\u0308", "MODEL/a", "model", "x"),
    *("model/" + "d/" * 99 + "f", "model/" + "d/" * 120 + "f", "model/" + "n" * 300, "model/ "),
    *(
        "model/-rf",
        "model/~",
        "model/$HOME",
        "model/\n",
        "model/.git/config",
        "model/a/b",
        "./model/a",
    ),
)
KINDS = (0, 0, 0, 0o100644, 0o100755, 0o120777, 0o010644, 0o020666, 0o060666, 0o140777, 0o106755)
WORDS = (0, 1, 0xFF, 0xFFFF, 0xFFFF_FFFF, 0x7FFF_FFFF, 1 << 63)


def make(chance: random.Random) -> bytes:
    """Return a zip of which some entries are hostile."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("model/blankly.json", "{}")
        for _ in range(chance.randrange(6)):
            entry = zipfile.ZipInfo(chance.choice(NAMES))
            entry.external_attr = chance.choice(KINDS) << 16
            entry.create_system = chance.choice((0, 3, 3))
            entry.compress_type = chance.choice((0, 8, 8, 12, 14))
            content = bytes(chance.choice((0, 1, 10_000))) + chance.randbytes(
                chance.choice((0, 50))
            )
            if entry.filename.endswith("/"):
                content, entry.compress_type = b"", 0
            archive.writestr(entry, content)
    return data.getvalue()


def damage(chance: random.Random, data: bytearray) -> None:
    """Change a field of some record, or any bytes."""
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        signature = chance.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK"))
        found = [at for at in range(len(data)) if data.startswith(signature, at)]
        at = chance.choice(found or [0]) + chance.randrange(4, 50)
        size, form = chance.choice(((1, "<B"), (2, "<H"), (4, "<L"), (8, "<Q")))
        word = chance.choice((*WORDS, chance.randrange(len(data) + 9))) & (1 << 8 * size) - 1
        if chance.random() < 0.8:
            data[at : at + size] = struct.pack(form, word)
        else:
            data[at:at] = chance.randbytes(size) * chance.choice((1, 9))


def files_in(place: Path) -> dict[str, bytes]:
    found = {}
    for folder, directories, files in os.walk(place):
        for name in (*files, *directories):
            path = Path(folder, name)
            assert not path.is_symlink()
            assert path.is_dir() or path.is_file()
            assert path.stat().st_mode & 0o7077 == 0
            if path.is_file():
                found[path.relative_to(place).as_posix()] = path.read_bytes()
    return found


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.torture(quick=200)
def test_a_zip_is_refused_or_unpacks_to_what_it_says(rounds: Rounds, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for number, chance in enumerate(rounds):
        data = bytearray(make(chance))
        damage(chance, data)
        path.write_bytes(data)
        place = tmp_path / "cage" / str(number)
        place.mkdir(parents=True)
        try:
            facts = check_archive(path)
            check_contents(path)
            unpack(path, place)
        except ArchiveError:
            rounds.count("refused")
        else:
            found = files_in(place)
            assert sum(map(len, found.values())) == facts.unpacked_bytes
            assert len(found) == facts.files
            with zipfile.ZipFile(path) as archive:
                wanted = {one.filename: archive.read(one) for one in archive.infolist()}
            assert found == {name: one for name, one in wanted.items() if not name.endswith("/")}
            rounds.count("unpacked")
        assert {one.name for one in tmp_path.iterdir()} == {"x.zip", "cage"}
    assert (
        min(rounds.figures["refused"], rounds.figures["unpacked"]) > rounds.figures["rounds"] / 20
    )


def test_names_that_other_systems_refuse_come_back(tmp_path: Path) -> None:
    """They are what they are on Linux, where models run."""
    root = tmp_path / "model"
    names = ("CON", "nul.txt", "a:b", "C:x", "trailing. ", "x?*<>|\"'", "-rf", "~", "$HOME", " ")
    contents = {"blankly.json": b"{}", **{name: name.encode() for name in names}}
    root.mkdir()
    for name, content in contents.items():
        (root / name).write_bytes(content)
    os.link(root / "CON", root / "CON again")
    with (root / "hole").open("wb") as file:
        file.truncate(3_000_000)
    selection = select_files(root, [])
    assert selection.problems == ()
    bundle = write_bundle(selection, tmp_path / "x.zip")
    check_archive(bundle.path)
    check_contents(bundle.path)
    (tmp_path / "place").mkdir()
    unpack(bundle.path, tmp_path / "place")
    wanted = {**contents, "CON again": b"CON", "hole": bytes(3_000_000)}
    found = files_in(tmp_path / "place")
    assert found == {f"model/{name}": content for name, content in wanted.items()}
