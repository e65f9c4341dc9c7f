from __future__ import annotations

import errno
import hashlib
import os
import random
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy_action.bundle.bundle import Bundle, write_bundle
from deploy_action.bundle.selection import select_files
from deploy_action.bundle.zip_writer import Zip64Limits
from deploy_action.errors import InvalidInputError, RefusedError
from tests.support.waiting import PATIENCE

MIB = 1 << 20
REPOSITORY = Path(__file__).parents[3]


def prices(size: int, seed: int = 1) -> bytes:
    source = random.Random(seed)  # noqa: S311 - test data, reproducible
    line = [
        f"{source.randrange(10**9)},{source.random():.4f},{source.random():.2f}\n"
        for _ in range(9999)
    ]
    block = "".join(line).encode()
    return (block * (size // len(block) + 1))[:size]


def noise(size: int) -> bytes:
    return random.Random(2).randbytes(size)  # noqa: S311 - test data, reproducible


CONTENTS = {
    "blankly.json": b"{}",
    "bot.py": b"print('hello')\n" * 200,
    "data/prices.csv": prices(5 * MIB + 17),
    "data/exactly.csv": prices(2 * MIB, seed=3),
    "data/one.csv": prices(MIB, seed=4),
    "data/one_more.csv": prices(MIB + 1, seed=5),
    "weights.bin": noise(3 * MIB + 5),
    "mixed.bin": noise(2 * MIB) + prices(2 * MIB),
    "small.bin": noise(100),
    "empty.txt": b"",
    "größe/数据/данные/🚀 launch.txt": "مرحبا".encode() * 50,
}


def write_model(root: Path, contents: dict[str, bytes] = CONTENTS) -> Path:
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def unpacked(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as archive:
        return {
            info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()
        }


def listed(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def pack(root: Path, destination: Path, workers: int | None = None) -> Bundle:
    return write_bundle(select_files(root, []), destination, workers=workers)


def test_what_is_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    root = write_model(tmp_path / "m")
    (root / "nothing/here").mkdir(parents=True)
    (root / "bot.py").chmod(0o744)
    bundle = pack(root, tmp_path / "x.zip")
    assert unpacked(bundle.path) == {f"model/{name}": data for name, data in CONTENTS.items()}
    with zipfile.ZipFile(bundle.path) as archive:
        names = archive.namelist()
        assert archive.getinfo("model/bot.py").external_attr >> 16 == 0o100755
    assert names == sorted(names)
    assert "model/nothing/here/" in names
    if shutil.which("unzip"):
        subprocess.run(
            ["unzip", "-tq", bundle.path], check=True, timeout=30, stdout=subprocess.PIPE
        )


def test_a_bundle_says_what_it_is(tmp_path: Path) -> None:
    contents = {f"f{number:02}": b"x" * (number // 2) for number in range(30)}
    root = write_model(tmp_path / "m", contents)
    (root / "empty").mkdir()
    bundle = pack(root, tmp_path / "x.zip")
    data = bundle.path.read_bytes()
    assert bundle.sha256 == hashlib.sha256(data).hexdigest()
    assert bundle.size == len(data)
    assert bundle.file_count == 30
    assert bundle.unpacked_size == sum(map(len, contents.values()))
    assert bundle.largest == tuple(
        sorted(((name, len(data)) for name, data in contents.items()), key=lambda x: (-x[1], x[0]))[
            :10
        ]
    )


def test_the_digest_is_that_of_the_finished_file(tmp_path: Path) -> None:
    """It is computed during the writing, but headers of large files are written after the data."""
    contents = {"a": noise(20 * MIB), "b": noise(17 * MIB + 1), "c": b"small", "d": noise(9 * MIB)}
    bundle = pack(write_model(tmp_path / "m", contents), tmp_path / "x.zip")
    assert bundle.sha256 == bundle.sha256_now()


def test_incompressible_files_are_stored(tmp_path: Path) -> None:
    pack(write_model(tmp_path / "m"), tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        methods = {info.filename[6:]: info.compress_type for info in archive.infolist()}
        sizes = {info.filename[6:]: info.compress_size for info in archive.infolist()}
    stored = {name for name, method in methods.items() if method == zipfile.ZIP_STORED}
    assert stored == {"blankly.json", "weights.bin", "small.bin", "empty.txt"}
    assert sizes["data/prices.csv"] < 3 * MIB


def test_the_same_files_give_the_same_bytes_anywhere(tmp_path: Path) -> None:
    first = pack(write_model(tmp_path / "m"), tmp_path / "x.zip")
    old = os.umask(0o077)
    try:
        copy = write_model(tmp_path / "other/place", dict(reversed(CONTENTS.items())))
    finally:
        os.umask(old)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))  # 1970: the format cannot even say it
    second = pack(copy, tmp_path / "y.zip")
    assert second.sha256 == first.sha256 == pack(copy, tmp_path / "x.zip").sha256


def test_the_number_of_threads_has_no_influence(tmp_path: Path) -> None:
    block = prices(MIB)
    small = {f"n/{number}": block[number * 999 :][: number * 99] for number in range(300)}
    root = write_model(tmp_path / "m", CONTENTS | small)
    digests = {pack(root, tmp_path / "x.zip", workers).sha256 for workers in (1, 2, 3, 8)}
    assert len(digests) == 1


def test_small_files_are_packed_without_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads would wait for one another, and to load what starts them takes longer."""
    few = write_model(tmp_path / "few", {"bot.py": prices(100_000), "prices.csv": prices(900_000)})
    small = prices(3_000)
    many = write_model(tmp_path / "many", {f"{one}.txt": small for one in range(700)})
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    for root in (few, many):
        pack(root, tmp_path / "x.zip", workers=None if root is few else 2)
        assert not started
    pack(write_model(tmp_path / "m"), tmp_path / "x.zip", workers=2)
    assert started


def test_the_format_is_pinned(tmp_path: Path) -> None:
    """A changed digest means that all users' bundles change: do it only on purpose, and say so.

    Stored members alone: test_deflate.py has the others.
    """
    root = write_model(tmp_path / "m", {"a/é.bin": bytes(range(256)), "run": b"x"})
    (root / "run").chmod(0o755)
    (root / "void").mkdir()
    bundle = pack(root, tmp_path / "x.zip")
    assert bundle.sha256 == "dc35f690c2bf0a2a46bcf6e96dc4bbe12099ac6c5a8cf25020939447102aab82"


def test_injected_files_replace_or_add_in_order(tmp_path: Path) -> None:
    root = write_model(tmp_path / "m", {"a": b"a", "keys.json": b"in the repository", "z": b"z"})
    injected = {"keys.json": b"secret", "new": b"n", "b": b"\0" * 3 * MIB}
    bundle = write_bundle(select_files(root, []), tmp_path / "x.zip", injected=injected)
    expected = {"a": b"a", "b": injected["b"], "keys.json": b"secret", "new": b"n", "z": b"z"}
    assert unpacked(bundle.path) == {f"model/{name}": data for name, data in expected.items()}
    with zipfile.ZipFile(bundle.path) as archive:
        assert archive.namelist() == [f"model/{name}" for name in expected]
    assert bundle.file_count == 5
    assert (root / "keys.json").read_bytes() == b"in the repository"


def test_an_injected_file_cannot_turn_a_directory_into_a_file(tmp_path: Path) -> None:
    selection = select_files(write_model(tmp_path / "m", {"keys.json/x": b""}), [])
    with pytest.raises(InvalidInputError, match="a file and a directory"):
        write_bundle(selection, tmp_path / "x.zip", injected={"keys.json": b""})
    assert not (tmp_path / "x.zip").exists()


def test_progress_is_told_about_every_mebibyte(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    root = write_model(tmp_path / "m")
    total = sum(map(len, CONTENTS.values()))
    selection = select_files(root, [])
    write_bundle(selection, tmp_path / "x.zip", on_progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert calls[-1] == (total, total)
    assert {call[1] for call in calls} == {total}
    assert total // MIB - 3 <= len(calls) <= total // MIB + 2


def test_the_bundle_is_for_its_owner_only(tmp_path: Path) -> None:
    destination = tmp_path / "x.zip"
    destination.touch(mode=0o666)
    pack(write_model(tmp_path / "m", {"a": b""}), destination)
    assert stat.S_IMODE(destination.stat().st_mode) == 0o600


Disturb = Callable[[Path], object]


def _become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _become_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _become_socket(path: Path) -> None:
    path.unlink()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


@pytest.mark.parametrize("name", ["bot.py", "data/prices.csv"])
@pytest.mark.parametrize("disturb", [Path.unlink, _become_pipe, _become_link, _become_socket])
def test_a_file_that_is_replaced_after_selection_is_a_problem(
    disturb: Disturb, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_model(tmp_path / "m")
    selection = select_files(root, [])
    disturb(root / name)
    (tmp_path / "x.zip").write_bytes(b"older")
    with pytest.raises(InvalidInputError) as caught:
        write_bundle(selection, tmp_path / "x.zip")
    assert caught.value.problems[0].path == name
    assert listed(tmp_path) == ["m", "x.zip"]
    assert (tmp_path / "x.zip").read_bytes() == b"older"


@pytest.mark.parametrize("name", ["bot.py", "data/prices.csv", "weights.bin"])
@pytest.mark.parametrize("size", [0, 10, MIB, MIB + 1, 7 * MIB])
def test_a_file_that_changes_size_is_packed_as_it_is(name: str, size: int, tmp_path: Path) -> None:
    root = write_model(tmp_path / "m")
    selection = select_files(root, [])
    (root / name).write_bytes(prices(size))
    calls: list[tuple[int, int]] = []
    bundle = write_bundle(
        selection, tmp_path / "x.zip", on_progress=lambda *call: calls.append(call)
    )
    assert all(done <= total for done, total in calls)
    assert unpacked(bundle.path) == {
        f"model/{k}": v for k, v in (CONTENTS | {name: prices(size)}).items()
    }
    again = write_bundle(select_files(root, []), tmp_path / "y.zip")
    assert (bundle.sha256, bundle.unpacked_size) == (again.sha256, again.unpacked_size)


def _cut_short(path: Path) -> None:
    os.truncate(path, 10)


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _rewrite(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(b"#" * size)
    os.utime(path, (0, 0))


@pytest.mark.parametrize("disturb", [_cut_short, _append, _rewrite])
@pytest.mark.parametrize("name", ["bot.py", "data/prices.csv", "weights.bin"])
def test_a_file_that_changes_while_it_is_packed_is_a_problem(
    disturb: Disturb, name: str, tmp_path: Path
) -> None:
    """Half of one file and half of another would be deployed otherwise."""
    root = write_model(tmp_path / "m")
    selection = select_files(root, [])

    inode = (root / name).stat().st_ino

    def change(frame: FrameType, event: str, function: object) -> None:
        if event == "c_return" and function is os.pread:
            sys.setprofile(None)
            if os.fstat(frame.f_locals["handle"]).st_ino == inode:
                disturb(root / name)
            else:
                sys.setprofile(change)

    sys.setprofile(change)
    try:
        with pytest.raises(InvalidInputError, match="changed while it was packed") as caught:
            write_bundle(selection, tmp_path / "x.zip", workers=1)
    finally:
        sys.setprofile(None)
    assert caught.value.problems[0].path == name
    assert listed(tmp_path) == ["m"]


@pytest.mark.parametrize("name", ["deep/er/notes.txt", "deep/er/prices.csv"])
@pytest.mark.parametrize("swapped", ["deep", "deep/er"])
@pytest.mark.parametrize("target", ["outside", "m/other"])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_directory_that_becomes_a_link_after_selection_is_a_problem(
    name: str, swapped: str, target: str, workers: int, tmp_path: Path
) -> None:
    """Nothing from outside the model gets into a bundle."""
    root = write_model(tmp_path / "m", {name: prices(2 * MIB) if "prices" in name else b"mine"})
    for place in ("outside", "m/other"):
        write_model(tmp_path / place, {"er/notes.txt": b"theirs", "er/prices.csv": prices(2 * MIB)})
        write_model(tmp_path / place, {"notes.txt": b"theirs", "prices.csv": prices(2 * MIB)})
    selection = select_files(root, ["/other"])
    (root / swapped).rename(tmp_path / "aside")
    (root / swapped).symlink_to(tmp_path / target)
    with pytest.raises(InvalidInputError, match="cannot be packed: not a directory") as caught:
        write_bundle(selection, tmp_path / "x.zip", workers=workers)
    assert caught.value.problems[0].path == name


@pytest.mark.parametrize("becomes", ["a link", "another directory", "nothing"])
def test_a_model_that_is_replaced_after_selection_is_a_problem(
    becomes: str, tmp_path: Path
) -> None:
    root = write_model(tmp_path / "m", {"bot.py": b"mine"})
    other = write_model(tmp_path / "other", {"bot.py": b"theirs"})
    selection = select_files(root, [])
    root.rename(tmp_path / "aside")
    if becomes == "a link":
        root.symlink_to(other)
    elif becomes == "another directory":
        other.rename(root)
    with pytest.raises(InvalidInputError) as caught:
        write_bundle(selection, tmp_path / "x.zip")
    assert caught.value.problems[0].path == "bot.py"


def test_files_are_found_from_directory_to_directory(tmp_path: Path) -> None:
    names = ["a", "a1/b/c/d", "a1/b/c2/d", "a1/b2", "a1/e/f", "b/c/d", "b0"]
    root = write_model(tmp_path / "m", {name: name.encode() for name in names})
    (root / "again").symlink_to("a1/b")
    packed = unpacked(pack(root, tmp_path / "x.zip", workers=1).path)
    assert packed["model/again/c/d"] == b"a1/b/c/d"
    assert [packed[f"model/{name}"] for name in names] == [name.encode() for name in names]


class _StopError(BaseException):
    """Stands for KeyboardInterrupt and SystemExit, which pytest would handle itself."""


@pytest.mark.parametrize("workers", [1, 4])
def test_nothing_is_left_when_packing_is_interrupted(workers: int, tmp_path: Path) -> None:
    root = write_model(tmp_path / "m", {f"{number}.csv": prices(4 * MIB) for number in range(5)})

    def stop(_done: int, _total: int) -> None:
        raise _StopError

    threads, handles = threading.active_count(), len(listed("/proc/self/fd"))
    selection = select_files(root, [])
    with pytest.raises(_StopError):
        write_bundle(selection, tmp_path / "x.zip", on_progress=stop, workers=workers)
    assert listed(tmp_path) == ["m"]
    assert threading.active_count() == threads
    assert len(listed("/proc/self/fd")) == handles


def test_an_interrupt_from_the_keyboard_ends_packing(tmp_path: Path) -> None:
    root = tmp_path / "m"
    root.mkdir()
    with (root / "huge").open("wb") as stream:
        stream.truncate(200_000 * MIB)
    code = (
        "import pathlib, sys; from deploy_action.bundle.bundle import write_bundle\n"
        "from deploy_action.bundle.selection import select_files\n"
        "from deploy_action.interruption import Deadline, deadline_as_error\n"
        "with deadline_as_error(Deadline.after(10)):  # as in a run\n"
        "    write_bundle(select_files(pathlib.Path(sys.argv[1]), []), pathlib.Path(sys.argv[2]), "
        "on_progress=lambda *_: print('.', flush=True))"
    )
    command = [sys.executable, "-c", code, str(root), str(tmp_path / "x.zip")]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b".\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
    assert listed(tmp_path) == ["m"]


def test_a_destination_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    selection = select_files(write_model(tmp_path / "m", {"a": b""}), [])
    with pytest.raises(RefusedError, match="No such file") as caught:
        write_bundle(selection, tmp_path / "missing/x.zip")
    assert "missing/x.zip" in caught.value.problems[0].message


def test_a_full_disk_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk: the system refuses while writing."""
    root = write_model(tmp_path / "m", {"noise": noise(4 * MIB)})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    selection = select_files(root, [])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, old[1]))
        with pytest.raises(RefusedError) as caught:
            write_bundle(selection, tmp_path / "x.zip")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, previous)
    problem = caught.value.problems[0]
    assert os.strerror(errno.EFBIG) in problem.message
    assert "space" in problem.hint
    assert listed(tmp_path) == ["m"]


@pytest.mark.slow
def test_more_files_than_the_old_format_can_count(tmp_path: Path) -> None:
    root = write_model(tmp_path / "m", {f"0/{number}": b"%d\n" % number for number in range(1000)})
    for folder in range(1, 70):  # links, since making 70,000 files takes longer than packing them
        (root / str(folder)).symlink_to("0")
    write_model(root, {"zz": b"last"})
    bundle = pack(root, tmp_path / "x.zip")
    assert bundle.file_count == 70_001
    with zipfile.ZipFile(bundle.path) as archive:
        assert len(archive.namelist()) == 70_001
        assert archive.read("model/zz") == b"last"
        assert archive.read("model/42/7") == b"7\n"


@pytest.mark.slow
@settings(max_examples=60)
@given(
    contents=st.dictionaries(
        st.text(
            st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"),
            min_size=1,
            max_size=20,
        ).filter(
            lambda name: name not in {".", "..", ".git", "__pycache__", "pyvenv.cfg", "conda-meta"}
        ),
        st.binary(max_size=300) | st.integers(0, 3 * MIB).map(prices),
        max_size=8,
    ),
    limits=st.builds(Zip64Limits, size=st.integers(1, 5000), offset=st.integers(1, 5000)),
)
def test_any_tree_comes_back(
    contents: dict[str, bytes], limits: Zip64Limits, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("any")
    root = write_model(place / "m", contents) if contents else place
    selection = select_files(root, [])
    bundle = write_bundle(selection, place / "x.zip", limits=limits, workers=2)
    assert unpacked(bundle.path) == {f"model/{name}": data for name, data in contents.items()}


def test_an_empty_selection_is_an_empty_zip(tmp_path: Path) -> None:
    bundle = write_bundle(select_files(write_model(tmp_path / "m", {}), []), tmp_path / "x.zip")
    assert unpacked(bundle.path) == {}
    assert (bundle.file_count, bundle.largest) == (0, ())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    root = write_model(tmp_path / "m", {"a.csv": prices(40 * MIB), "noise": noise(20 * MIB)})
    for number in range(4):
        os.link(root / "a.csv", root / f"b{number}.csv")
        os.link(root / "noise", root / f"noise{number}")
    code = (
        "import pathlib, re, sys; from deploy_action.bundle.bundle import write_bundle; "
        "from deploy_action.bundle.selection import select_files; "
        "pathlib.Path('/proc/self/clear_refs').write_text('5'); "  # the peak starts anew, proc(5)
        "peak = lambda: int(re.search('VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); "
        "before = peak(); selection = select_files(pathlib.Path(sys.argv[1]), []); "
        "write_bundle(selection, pathlib.Path(sys.argv[2]), workers=6); print(peak() - before)"
    )
    grown = subprocess.run(
        [sys.executable, "-c", code, str(root), str(tmp_path / "x.zip")],
        cwd=REPOSITORY, capture_output=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert 1024 < int(grown) < 30 * 1024, "KiB"
