"""A large bundle is unpacked once for many backtests, and no model sees what another one wrote."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy_action.platform.assembly import BacktestSettings, _make_runner
from deploy_action.platform.processes.unprivileged import draw_user, hand_over
from deploy_action.platform.runs import unpacked, unpacking
from deploy_action.platform.runs.isolation import AsRoot, Isolation
from deploy_action.platform.runs.unpacked import Sizes, UnpackedBundles
from deploy_action.platform.storage.store import Store
from deploy_action.platform.storage.zip_reader import ArchiveError
from tests.support.isolated import as_root
from tests.support.platform_client import Clock, make_bundle
from tests.support.waiting import wait_for

ALL = Sizes(least_packed=0, least_file=0)


@pytest.fixture
def unpackings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the directories into which bundles were unpacked."""
    seen: list[Path] = []
    original = unpacking.unpack

    def unpack(bundle: Path, destination: Path) -> Path:
        seen.append(destination)
        return original(bundle, destination)

    monkeypatch.setattr(unpacked, "unpack", unpack)
    return seen


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (place := tmp_path / "runs").mkdir(mode=0o711)
    return place


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "v.zip"
    path.write_bytes(make_bundle(**{"bot.py": "print()", "prices/a.csv": "1,2"}))
    with zipfile.ZipFile(path, "a") as archive:
        tool = zipfile.ZipInfo("model/tool.sh")
        tool.external_attr = 0o100755 << 16
        archive.writestr(tool, "#!/bin/sh")
        archive.writestr("model/empty/", "")
    return path


def fill(bundles: UnpackedBundles, bundle: Path, private: Path) -> Path:
    private.mkdir(mode=0o700)
    return bundles.fill(bundle, hashlib.sha256(bundle.read_bytes()).hexdigest(), private)


def contents(root: Path) -> dict[str, tuple[bytes, int] | None]:
    return {
        path.relative_to(root).as_posix(): (
            (path.read_bytes(), path.stat().st_mode) if path.is_file() else None
        )
        for path in root.rglob("*")
    }


def kept(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.name.startswith(".")]


def test_from_the_second_time_on_it_is_copied(
    place: Path, bundle: Path, unpackings: list[Path]
) -> None:
    bundles = UnpackedBundles(place, sizes=ALL)
    roots = [fill(bundles, bundle, place / str(number)) for number in range(5)]
    assert unpackings == [place / "0", place / ".v"]
    assert "prices/a.csv" in contents(roots[0])
    assert all(contents(root) == contents(roots[0]) for root in roots)


def test_a_model_gets_files_of_its_own(place: Path, bundle: Path) -> None:
    bundles = UnpackedBundles(place, sizes=ALL)
    for number in range(3):
        root = fill(bundles, bundle, place / str(number))
        assert (root / "bot.py").read_text() == "print()"
        assert not (root / "note").exists()
        (root / "bot.py").write_text("os._exit(1)")
        (root / "note").touch()
        (root / "prices" / "a.csv").unlink()


@as_root
def test_a_models_user_cannot_enter_what_is_kept(place: Path, bundle: Path) -> None:
    bundles = UnpackedBundles(place, sizes=ALL)
    for number in range(2):
        fill(bundles, bundle, place / str(number))
    (found,) = kept(place)
    user = draw_user([])
    hand_over(place / "1", user)
    owners = {path.stat().st_uid for path in (found, *found.rglob("*"))}
    assert owners == {os.geteuid()}
    assert found.stat().st_mode & 0o077 == 0


def test_small_and_huge_bundles_are_not_kept(
    place: Path, bundle: Path, unpackings: list[Path]
) -> None:
    small = UnpackedBundles(place, sizes=Sizes(least_file=0))
    of_small_files = UnpackedBundles(place, sizes=Sizes(least_packed=0))
    huge = UnpackedBundles(place, sizes=Sizes(least_packed=0, least_file=0, most_unpacked=10))
    for number, bundles in enumerate([small, of_small_files, huge] * 3):
        fill(bundles, bundle, place / str(number))
    assert unpackings == [place / str(number) for number in range(9)]


def test_two_are_kept_at_once(place: Path, bundle: Path, tmp_path: Path) -> None:
    bundles = UnpackedBundles(place, sizes=ALL)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.zip").write_bytes(bundle.read_bytes())
        for number in range(3):
            fill(bundles, tmp_path / f"{name}.zip", place / f"{name}{number}")
    assert sorted(path.name for path in kept(place)) == [".a", ".b"]


def test_what_is_not_used_any_more_is_removed(
    place: Path, bundle: Path, unpackings: list[Path]
) -> None:
    """Keys may be in it, and somebody may have deleted the model."""
    bundles = UnpackedBundles(place, sizes=ALL, idle_seconds=0.01)
    for number in range(2):
        fill(bundles, bundle, place / str(number))
    wait_for(lambda: not kept(place))
    root = fill(bundles, bundle, place / "2")
    assert (root / "bot.py").exists()
    assert unpackings[-1] == place / ".v"


def test_where_there_is_no_room_for_it_it_is_unpacked_as_ever(
    place: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = unpacking.unpack

    def unpack(bundle: Path, destination: Path) -> Path:
        if destination.name.startswith("."):
            (destination / "half").touch()
            raise OSError(28, "No space left on device")
        return original(bundle, destination)

    monkeypatch.setattr(unpacked, "unpack", unpack)
    bundles = UnpackedBundles(place, sizes=ALL)
    for number in range(3):
        assert (fill(bundles, bundle, place / str(number)) / "bot.py").exists()
    assert kept(place) == []


def test_a_damaged_bundle_is_refused_and_not_kept(place: Path, bundle: Path) -> None:
    bundles = UnpackedBundles(place, sizes=ALL)
    fill(bundles, bundle, place / "0")
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b"model/bot.py", b"model/b\\t.py", 1))
    with pytest.raises(ArchiveError):
        fill(bundles, bundle, place / "1")
    assert kept(place) == []
    bundle.write_bytes(content)
    assert (fill(bundles, bundle, place / "2") / "bot.py").exists()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data", Clock())
    yield store
    store.close()


@as_root
def test_a_platform_keeps_some_only_where_each_model_has_a_user_of_its_own(store: Store) -> None:
    for as_root_, expected in (
        (AsRoot.REFUSED, True),
        (AsRoot.ALLOWED, False),
        (AsRoot.RUN_WITH_WARNING, False),
    ):
        runner = _make_runner(store, BacktestSettings(isolation=Isolation(as_root_)))
        assert (getattr(runner, "bundles", None) is not None) is expected
