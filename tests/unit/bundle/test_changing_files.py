"""A model that others change at random while it is packed: what comes out is sound and of it."""

from __future__ import annotations

import os
import random
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy_action.bundle.bundle import write_bundle
from deploy_action.bundle.selection import select_files
from deploy_action.errors import InvalidInputError
from deploy_action.platform.storage.archives import check_archive, check_contents
from tests.support.torture import Rounds

MIB = 1 << 20
OUTSIDE = b"!"  # what files outside consist of; others have one letter each, too
NAMES = ("bot.py", "data/a.csv", "data/b.bin", "data/deep/c.txt", "more/d", "more/e/f/g")
SIZES = (0, 1, 500, MIB - 1, MIB + 1, 3 * MIB)


class Vandal:
    """Does something to a model, over and over. What it writes consists of one letter."""

    def __init__(self, chance: random.Random, root: Path, outside: Path) -> None:
        self.chance, self.root, self.outside = chance, root, outside
        self.done = 0
        self._deeds: tuple[Callable[[Path], object], ...] = (
            *(self.replace, self.replace, self.append, self.truncate, Path.unlink, self.link),
            *(self.pipe, self.directory, self.redirect, self.swap, self.loop, self.hide, self.hole),
        )

    def work(self) -> None:
        """Do one thing, which may be impossible by now, and remove what was put aside."""
        for aside in self.root.rglob(".*"):
            _remove(aside)
        path = self.root / self.chance.choice(NAMES)
        with suppress(OSError):
            self.chance.choice(self._deeds)(path)
            self.done += 1

    def restore(self, path: Path) -> None:
        """Make a file of one letter, whatever is in its place."""
        for part in (*reversed(path.relative_to(self.root).parents), path.relative_to(self.root)):
            place = self.root / part
            if part == Path():
                continue
            if place == path or place.is_symlink() or not place.is_dir():
                _remove(place)
            if place != path:
                place.mkdir(exist_ok=True)
        path.write_bytes(self._letters())

    def restore_all(self) -> None:
        for name in NAMES:
            self.restore(self.root / name)

    def _letters(self) -> bytes:
        return self.chance.choice("abcdefgh").encode() * self.chance.choice(SIZES)

    def replace(self, path: Path) -> None:
        new = path.with_name(f".{self.chance.random()}")
        new.write_bytes(self._letters())
        new.replace(path)

    def append(self, path: Path) -> None:
        with path.open("r+b") as file:
            letter = file.read(1)
            if file.seek(0, os.SEEK_END) < 4 * MIB:
                file.write(letter * self.chance.choice(SIZES))

    def truncate(self, path: Path) -> None:
        if not path.is_symlink() and path.is_file():
            os.truncate(path, self.chance.choice((0, 10, MIB)) if path.stat().st_size > MIB else 0)

    def link(self, path: Path) -> None:
        path.unlink()
        path.symlink_to(self.outside / path.name)

    def pipe(self, path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def directory(self, path: Path) -> None:
        path.unlink()
        path.mkdir()

    def redirect(self, path: Path) -> None:
        """Have a directory lead outside, where there are files of the same names."""
        folder = path.parent
        if folder != self.root:
            folder.rename(self.root / f".{self.chance.random()}")
            folder.symlink_to(self.outside)

    def swap(self, path: Path) -> None:
        if path.parent != self.root:
            aside = self.root / f".{self.chance.random()}"
            path.parent.rename(aside)
            aside.rename(path.parent)

    def loop(self, path: Path) -> None:
        path.unlink()
        path.symlink_to(self.chance.choice((".", "..", path.name)))

    def hide(self, path: Path) -> None:
        path.chmod(self.chance.choice((0, 0o644)))

    def hole(self, path: Path) -> None:
        """Make a file that is mostly a hole, of no letter at all."""
        new = path.with_name(f".{self.chance.random()}")
        new.touch()
        os.truncate(new, 2 * MIB)
        new.replace(path)


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def disturbed(vandal: Vandal) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        while not over.wait(vandal.chance.choice((0, 0, 0.001, 0.01))):
            vandal.work()
            if vandal.chance.random() < 0.3:
                with suppress(OSError):
                    vandal.restore(vandal.root / vandal.chance.choice(NAMES))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def check(bundle: Path) -> None:
    """Check that a platform takes the bundle, and that each file in it was a file of the model."""
    check_archive(bundle)
    check_contents(bundle)
    with zipfile.ZipFile(bundle) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert OUTSIDE not in content, name
            assert name == "model/blankly.json" or len(set(content)) <= 1, name


def pack(vandal: Vandal, rounds: Rounds, to: Path) -> None:
    """Pack the model; either that is refused, with the place, or what comes out is sound."""
    workers = vandal.chance.choice((1, 2))
    try:
        bundle = write_bundle(select_files(vandal.root, []), to, workers=workers)
    except InvalidInputError as error:
        rounds.count("bundles refused", sum(problem.path is not None for problem in error.problems))
    else:
        check(bundle.path)
        rounds.count("bundles packed")


@pytest.mark.torture(quick=1)
def test_a_bundle_is_sound_or_refused_whatever_others_do_meanwhile(
    rounds: Rounds, tmp_path: Path
) -> None:
    """No pipe is waited for, no link followed, and no file mixed from two."""
    outside, bundles = tmp_path / "outside", tmp_path / "bundles"
    bundles.mkdir()
    for name in NAMES:
        for place in (outside / name, outside / Path(name).name):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_dir():
                place.write_bytes(OUTSIDE * 1_000)
    for chance in rounds:
        root = tmp_path / "model"
        root.mkdir()
        (root / "blankly.json").write_text("{}")
        vandal = Vandal(chance, root, outside)
        vandal.restore_all()
        handles = set(Path("/proc/self/fd").iterdir())
        with disturbed(vandal):
            for _ in range(20):
                pack(vandal, rounds, bundles / "x.zip")
        rounds.count("disturbances", vandal.done)
        assert len(set(Path("/proc/self/fd").iterdir())) == len(handles)
        assert {path.name for path in bundles.iterdir()} <= {"x.zip"}
        vandal.restore_all()
        bundle = write_bundle(select_files(root, [".*"]), bundles / "x.zip")
        with zipfile.ZipFile(bundle.path) as archive:
            for name in NAMES:
                assert archive.read(f"model/{name}") == (root / name).read_bytes()
        _remove(root)
