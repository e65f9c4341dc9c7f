"""Tests which files hold secrets by their names, and by where they lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy_action.bundle.including import Include
from deploy_action.bundle.secret_files import may_hold_secrets
from deploy_action.bundle.selection import select_files

PRIVATE = "-----BEGIN " + "PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        ".env-prod",
        ".env_prod",
        ".env~",
        ".env.template.live",
        "id_rsa.bak",
        "keys.json.bak",
        ".pgpass",
        "a.key.old",
        "keys.json~",
    ],
)
def test_copies_of_files_of_secrets_hold_secrets(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert may_hold_secrets(name, tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [
        ".env.example",
        "keys.example.json",
        ".env_template",
        "keys.schema.json",
        "example.env",
        ".environment.py",
        "keys.json",
        "id_rsa.pub",
        "my-sample.key",
    ],
)
def test_examples_and_other_names_do_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert not may_hold_secrets(name, tmp_path / name)


@pytest.mark.parametrize("name", ["example.pem", "my-sample.key", ".env.example", "a.pem.bak"])
def test_no_example_has_a_private_key(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(PRIVATE)
    assert may_hold_secrets(name, tmp_path / name)


def test_no_pipe_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "k.pem")
    (tmp_path / "link.pem").symlink_to("k.pem")
    assert select_files(tmp_path, []).left_out == ("k.pem", "link.pem")


def test_links_and_includes_are_judged_by_what_they_lead_to_as_well(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / ".env").write_text("A=1")
    (model / "sub/settings.txt").symlink_to("../.env")
    (tmp_path / "prod.env").write_text("A=1")
    include = [Include("prod.env", "conf")]
    selection = select_files(model, [], workspace=tmp_path, include=include)
    assert selection.left_out == (".env", "sub/settings.txt")
    assert all(entry.is_directory for entry in selection.entries)
    [problem] = selection.problems
    assert "`prod.env` cannot be conf in the bundle: files like prod.env hold" in problem.message
    taken = select_files(model, ["!settings.txt", "!conf"], workspace=tmp_path, include=include)
    assert [entry.name for entry in taken.entries] == ["conf", "sub/settings.txt"]


def test_what_is_not_there_is_left_out_by_its_name_unless_it_may_be_a_certificate(
    tmp_path: Path,
) -> None:
    selection = select_files(tmp_path, ["!kept.key"])
    assert selection.leaves_out("a/k.key")
    assert not any(map(selection.leaves_out, ("kept.key", "ca.pem", ".env.example", "k.key/")))


@pytest.mark.parametrize("name", ["x/__pycache__/c", ".git"])
def test_no_include_has_a_name_that_is_never_packed(tmp_path: Path, name: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "c").touch()
    include = [Include("c", name)]
    selection = select_files(tmp_path / "model", [f"!{name}"], workspace=tmp_path, include=include)
    assert selection.entries == ()
    [problem] = selection.problems
    assert "is never packed" in problem.message
