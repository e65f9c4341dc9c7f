"""What a model asks to be installed, by package, read as pip reads it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy_action.model.requirements import plain_requirement, read_requirements
from deploy_action.regular_files import SourceTree


def read(model: Path, text: str | bytes, **others: str) -> Mapping[str, str]:
    content = text.encode() if isinstance(text, str) else text
    (model / "requirements.txt").write_bytes(content)
    for name, other in others.items():
        (model / f"{name}.txt").write_text(other)
    return read_requirements(SourceTree.at(model), "./requirements.txt")


@pytest.mark.parametrize(
    ("line", "package", "asked"),
    [
        ("blankly", "blankly", ""),
        ("Scikit_Learn==1.2", "scikit-learn", "==1.2"),
        ("pandas < 2.2 , >= 1.5  # why", "pandas", ">=1.5,<2.2"),
        ("blankly[ml,data]>=1", "blankly", "[data,ml]>=1"),
        ("numpy<2; python_version<'3.9'", "numpy", '<2; python_version < "3.9"'),
        ("ta-lib ; os_name == 'nt'", "ta-lib", '; os_name == "nt"'),
        ("blankly==1 --hash=sha256:00 --hash=sha256:11", "blankly", "==1"),
        ("a @ https://files.example/a-1.zip", "a", "@ https://files.example/a-1.zip"),
        ("https://files.example/ta_lib-1.whl", "ta-lib", "https://files.example/ta_lib-1.whl"),
        ("https://files.example/a.b-1.0.tar.gz", "a-b", "https://files.example/a.b-1.0.tar.gz"),
        ("git+https://h/x/Y.git@v/1", "y", "git+https://h/x/Y.git@v/1"),
        ("git+ssh://git@h:22/x/y#egg=Z_z", "z-z", "git+ssh://h:22/x/y#egg=Z_z"),
        ("-e ./vendor/Own_Lib", "own-lib", "-e ./vendor/Own_Lib"),
        ("--editable=.", ".", "-e ."),
        ("./wheels/own-2-py3-none-any.whl[all]", "own", "./wheels/own-2-py3-none-any.whl[all]"),
        ("-r https://h/list.txt", "list-txt", "-r https://h/list.txt"),
        ("${PACKAGE}==1", "${PACKAGE}", "==1"),
        ("a==${VERSION}", "a", "==${VERSION}"),
        ("pandas>=1.*", "pandas", ">=1.*"),
        ("-r ${LIST}", "${LIST}", "-r ${LIST}"),
    ],
)
def test_each_line_asks_for_a_package(model: Path, line: str, package: str, asked: str) -> None:
    assert read(model, line) == {package: asked}


def test_included_files_count_and_each_is_read_once(model: Path) -> None:
    text = "-r more.txt\n-r requirements.txt\n-c other.txt\n--pre\n-i x\nblankly\n"
    found = read(model, text, more="numpy<2\n-r requirements.txt\n", other="pandas<2\n")
    assert list(found.items()) == [("blankly", ""), ("numpy", "<2")]


def test_lines_of_the_same_package_stand_side_by_side(model: Path) -> None:
    lines = ["numpy<1.25; python_version<'3.9'", "NumPy<2", "numpy <2"]
    assert read(model, "\n".join(lines)) == {"numpy": '<1.25; python_version < "3.9" | <2'}
    assert read(model, "\n".join(reversed(lines))) == read(model, "\n".join(lines))


def test_many_odd_lines_hide_none_of_the_others(model: Path) -> None:
    odd = "".join(f"pandas{number}>=1.*\n" for number in range(9))
    assert len(read(model, f"{odd}blankly\n")) == 10


@pytest.mark.parametrize(
    "line",
    [
        "a @ https://trader:{}@h/a.zip",
        "a @ https://{}@h/a.zip",
        "git+https://{}@h/x/a@main#egg=a",
        "https://h/a.whl?token={}",
        "https://h/a.whl?token={}#sha256=00",
        "https://trader:x/{}@h/a.whl",
        "https://trader:x#{}@h/a.whl",
        "https://trader:{}@h/a.whl ; os_name == 'nt'",
        "-e git+https://trader:{}@h/x/a#egg=a",
        "-r https://trader:{}@h/list.txt",
        "--index-url https://trader:{}@h/simple",
        "a[ @ https://trader:{}@h/a.zip",
        "${{HOST}} @ https://trader:{}@h/a.zip",
    ],
)
def test_credentials_are_left_out(model: Path, line: str) -> None:
    """Names and values are shown in comments on pull requests."""
    secret = secrets.token_hex(8)
    assert secret not in str(read(model, line.format(secret)))


def test_a_file_that_is_not_there_asks_for_nothing(model: Path) -> None:
    (model.parent / "outside.txt").write_text("blankly\n")
    (model / "link.txt").symlink_to(model.parent / "outside.txt")
    (model / "circle.txt").symlink_to("circle.txt")
    names = ["absent.txt", ".", "", "../outside.txt", str(model.parent / "outside.txt"), "x\0y"]
    for name in (*names, "link.txt", "circle.txt", "bot.py/x", "x" * 5000):
        assert read_requirements(SourceTree.at(model), name) == {}, name
    assert read(model, "-r link.txt\n-r circle.txt\n-r ../outside.txt\nnumpy\n") == {"numpy": ""}


def test_a_link_within_the_model_is_followed(model: Path) -> None:
    (model / "real.txt").write_text("numpy\n")
    (model / "linked.txt").symlink_to("real.txt")
    assert read_requirements(SourceTree.at(model), "linked.txt") == {"numpy": ""}


@given(st.binary() | st.text().map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_can_be_read(model: Path, content: bytes) -> None:
    for package, asked in read(model, content).items():
        assert isinstance(package, str)
        assert isinstance(asked, str)


@given(st.lists(st.sampled_from(["a", "B==1", "c[x]<2", "-e ./d", "https://h/e.whl"]), unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_lines_changes_nothing(model: Path, lines: list[str]) -> None:
    found = read(model, "\n".join(lines))
    assert found == read(model, "\n".join(reversed(lines)))
    assert len(found) == len(lines)


NUMBER = st.sampled_from(["0", "1", "12", "007", "20231", "1234567", "*", ""])
VERSION = st.lists(NUMBER, max_size=4).map(".".join)
SUFFIX = st.sampled_from(["", "", "b0", "a1", "rc2", "c1", ".dev1", "+local", "-1", "b", "B1"])
SIGN = st.sampled_from(["==", "!=", ">=", "<=", "<", ">", "~=", "===", "="])
NAME = st.text("aZ9._-", min_size=1, max_size=5)
LINES = st.builds("{}{}{}{}".format, NAME, SIGN, VERSION, SUFFIX) | NAME


@given(line=LINES)
def test_a_plain_line_is_read_as_the_library_reads_it(line: str) -> None:
    plain = plain_requirement(line)
    if plain is not None:
        requirement = Requirement(line)
        assert plain == (canonicalize_name(requirement.name), str(requirement.specifier))


@pytest.mark.parametrize("line", ["blankly", "Numpy<2", "ta_lib==0.4.28", "blankly==1.18.25b0"])
def test_a_plain_line_needs_no_library(line: str) -> None:
    assert plain_requirement(line)


@pytest.mark.parametrize("line", ["a~=1", "a==1.*", "a-", "a==", "a==01", "a<2,>1", "a[b]", "a b"])
def test_any_other_line_is_for_the_library(line: str) -> None:
    assert plain_requirement(line) is None
