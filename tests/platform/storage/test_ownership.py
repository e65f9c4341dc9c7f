"""Data directories that another user prepared, or could change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy_action.errors import InvalidInputError
from deploy_action.platform.api.credentials import load_or_create_refresh_token
from deploy_action.platform.storage.data_directory import prepare

STRANGER = 65_533

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a directory in use, below one of ours."""
    directory = tmp_path / "data"
    load_or_create_refresh_token(directory)
    return directory


def refusal(data: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        prepare(data)
    (problem,) = caught.value.problems
    assert problem.hint.startswith("Use a directory ")
    return problem.message


def test_a_directory_of_ours_is_used_again(data: Path) -> None:
    prepare(data)
    assert not load_or_create_refresh_token(data)[1]


@needs_root
def test_a_directory_of_another_user_is_refused(data: Path) -> None:
    os.chown(data, STRANGER, STRANGER)
    assert refusal(data) == f"{data} belongs to another user ({STRANGER}), so it is not used."


@needs_root
@pytest.mark.parametrize("name", ["refresh-token", "platform.sqlite", "bundles", ".lock"])
def test_an_entry_of_another_user_is_refused(data: Path, name: str) -> None:
    """His token would let him in, and his database name bundles of his."""
    entry = data / name
    if not entry.exists():
        entry.mkdir() if name == "bundles" else entry.touch(0o600)
    os.chown(entry, STRANGER, STRANGER)
    assert refusal(data) == f"{entry} belongs to another user ({STRANGER}), so it is not used."


def give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


@needs_root
def test_what_belongs_to_the_owner_of_a_home_is_used(data: Path) -> None:
    """On a runner the container is root, and its directories belong to the runner's user."""
    give_away(data.parent, data, data / "refresh-token")
    data.parent.chmod(0o777)
    prepare(data, [data.parent])


@needs_root
@pytest.mark.parametrize("is_all_his", [False, True])
def test_a_directory_below_one_of_another_user_is_refused(data: Path, *, is_all_his: bool) -> None:
    give_away(data.parent)
    if is_all_his:
        give_away(data, data / "refresh-token")
    assert refusal(data) == (
        f"{data} may be replaced by the owner of {data.parent} ({STRANGER}), so it is not used."
    )


def test_a_directory_that_all_may_replace_is_refused(data: Path) -> None:
    data.parent.chmod(0o777)
    assert refusal(data) == (
        f"{data} may be replaced by all users, who may write to {data.parent}, so it is not used."
    )
    data.parent.chmod(0o1777)  # as /tmp: each user may replace his own
    prepare(data)


@needs_root
def test_a_directory_behind_a_link_in_the_way_of_another_user_is_refused(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "way").symlink_to(data.parent)
    give_away(tmp_path / "way")
    assert f"the owner of {tmp_path / 'way'}" in refusal(tmp_path / "way" / "data")


def test_a_directory_behind_a_link_is_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "open" / "data").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "data")
    assert f"may write to {tmp_path / 'open'}" in refusal(tmp_path / "link")


@pytest.mark.parametrize("name", ["refresh-token", "platform.sqlite", "bundles", ".lock", "runs"])
@pytest.mark.parametrize("kind", ["file", "nothing", "device"])
def test_a_link_is_refused_and_its_target_keeps_its_mode(
    data: Path, tmp_path: Path, name: str, kind: str
) -> None:
    target = Path("/dev/zero") if kind == "device" else tmp_path / "target"
    if kind == "file":
        target.touch(0o644)
    before = target.stat().st_mode if target.exists() else None
    (data / name).unlink(missing_ok=True)
    (data / name).symlink_to(target)
    assert refusal(data).startswith(f"{data / name} is a link")
    assert before == (target.stat().st_mode if target.exists() else None)


def test_a_fifo_is_refused_without_a_wait(data: Path) -> None:
    (data / "refresh-token").unlink()
    os.mkfifo(data / "refresh-token")
    assert "is a link or a device" in refusal(data)


def test_a_file_with_a_second_name_is_refused(data: Path, tmp_path: Path) -> None:
    os.link(data / "refresh-token", tmp_path / "theirs")
    assert "has a second name elsewhere (a hard link)" in refusal(data)


def open_file(data: Path) -> Path:
    (data / "refresh-token").chmod(0o666)
    return data / "refresh-token"


def open_directory(data: Path) -> Path:
    (data / "environments").mkdir()
    (data / "environments" / "theirs").mkdir()
    (data / "environments").chmod(0o777)
    return data / "environments"


def open_data(data: Path) -> Path:
    data.chmod(0o777)
    return data


@pytest.mark.parametrize("opened", [open_file, open_directory, open_data])
def test_what_others_may_have_changed_is_refused(
    data: Path, opened: Callable[[Path], Path]
) -> None:
    path = opened(data)
    assert refusal(data) == (
        f"{path} can be written by all users, who may have changed it, so it is not used."
    )


def test_an_empty_directory_is_closed_to_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    prepare(data)
    assert stat.S_IMODE(data.stat().st_mode) == 0o755


def test_a_link_of_ours_to_a_directory_of_ours_is_followed(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    prepare(tmp_path / "link")


@needs_root
def test_a_link_of_another_user_is_refused(data: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(data)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    assert f"may be replaced by the owner of {link}" in refusal(link)


def test_a_link_of_ours_in_it_to_a_directory_of_ours_is_followed(
    data: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (data / "environments").symlink_to(shared)
    prepare(data)
    shared.chmod(0o777)
    assert "can be written by all users" in refusal(data)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o777


@needs_root
def test_a_link_in_it_to_a_directory_of_another_user_is_refused(data: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, STRANGER, STRANGER)
    (data / "environments").symlink_to(theirs)
    assert f"belongs to another user ({STRANGER})" in refusal(data)


def test_a_link_in_it_to_what_all_may_replace_is_refused(data: Path, tmp_path: Path) -> None:
    shared = tmp_path / "open" / "shared"
    shared.mkdir(parents=True)
    shared.parent.chmod(0o777)
    (data / "environments").symlink_to(shared)
    assert refusal(data).startswith(f"{shared} may be replaced by all users")
