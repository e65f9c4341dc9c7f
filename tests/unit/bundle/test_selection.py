"""Which files are selected, compared with git."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy_action.bundle.bundle import write_bundle
from deploy_action.bundle.ignore_rules import compile_rules
from deploy_action.bundle.selection import Entry, Selection, select_files
from deploy_action.errors import Problem, Severity
from deploy_action.platform.storage.archives import check_archive
from deploy_action.platform.storage.zip_reader import ArchiveError


def write_tree(root: Path, *names: str) -> Path:
    """Make files (directories if the name ends in a slash); each holds its own name."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    return root


def names_of(selection: Selection) -> list[str]:
    return [entry.name for entry in selection.entries]


def only_problem(selection: Selection) -> Problem:
    (problem,) = selection.problems
    return problem


def git_keeps(root: Path, patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    if not (root / ".git").exists():
        subprocess.run(["git", "init", "-q", root], check=True, timeout=20)
    (root / ".git/info/exclude").write_text("".join(f"{pattern}\n" for pattern in patterns))
    asked = sorted(names)
    answer = subprocess.run(
        ["git", "-c", "core.ignorecase=false", "check-ignore", "-z", "--no-index", "--stdin"],
        input="\0".join(asked).encode(),
        cwd=root,
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert answer.returncode in {0, 1}, "git failed"
    return set(asked) - set(answer.stdout.decode().split("\0"))


TREE = (
    "a.log",
    "b.txt",
    "build/out.bin",
    "build/keep.txt",
    "build/deep/er/x.log",
    "src/build/y.py",
    "src/main.py",
    "src/a.log",
    "src/doc/frotz/z.md",
    "doc/frotz/z.md",
    "doc/frotz.md",
    "foo/bar/baz.txt",
    "foo/baz.txt",
    "a/x/y/b.txt",
    "a/b.txt",
    "#hash",
    "!bang",
    "sp ace",
    "trail ",
    "br[ack]et",
    "[a]",
    "a]",
    "-dash",
    "tab1",
    "tabZ",
    "tab_",
    "star*",
    "q?mark",
    ".environ",
    "price_caches/x/y.csv",
)

PATTERN_SETS = (
    ["*.log"],
    ["build"],
    ["build/"],
    ["/build"],
    ["build/*", "!build/keep.txt"],
    ["build/", "!build/keep.txt"],
    ["build/**", "!build/keep.txt"],
    ["build", "!src"],
    ["build/", "!/src"],
    ["!src/", "/src/build/"],
    ["/src/build/", "!/src"],
    ["*.log", "!src/"],
    ["*.log", "!a.log"],
    ["*", "!*/", "!*.py"],
    ["/*", "!/src"],
    ["*", "!src/", "!src/main.py"],
    ["doc/frotz"],
    ["doc/frotz/"],
    ["frotz/"],
    ["**/frotz"],
    ["**/doc/frotz"],
    ["foo/**"],
    ["foo/**/baz.txt"],
    ["a/**/b.txt"],
    ["a/*/b.txt"],
    ["a/**"],
    ["**"],
    ["**/"],
    ["/**"],
    ["**//"],
    ["/**//"],
    ["foo/**//"],
    ["**\\//"],
    ["**\\/*.py"],
    ["*", "!**\\/**"],
    ["a**"],
    ["a**/"],
    ["a**//"],
    ["fo**/"],
    ["fo**//"],
    ["src//"],
    ["src**//"],
    ["*", "!src**//", "!src/*.py"],
    ["a**/**"],
    ["*", "!s**/**"],
    ["a**/**/b.txt"],
    ["a**/b.txt"],
    ["sr**/main.py"],
    ["/do**/frotz"],
    ["*", "!s**/", "!sr**/main.py"],
    ["*", "!*/", "!sr**c/*.py"],
    ["s?c**/y.py"],
    ["src/b**"],
    ["/*", "!/src", "src/*", "!src/b**"],
    ["**a/b.txt"],
    ["**c/main.py"],
    ["foo/**z.txt"],
    ["b**/"],
    ["*", "!b**/", "!b**"],
    ["***"],
    ["***/"],
    ["***/frotz"],
    ["***//"],
    ["*", "!**//"],
    ["*/"],
    ["/*/"],
    ["/"],
    ["//"],
    [""],
    ["#hash"],
    ["\\#hash"],
    ["\\!bang"],
    ["!bang"],
    ["sp\\ ace"],
    ["sp ace   "],
    ["trail\\ "],
    ["trail\\  "],
    ["trail "],
    ["br\\[ack\\]et"],
    ["[a]"],
    ["\\[a\\]"],
    ["[]a]]"],
    ["[!a]*"],
    ["[^a]*"],
    ["[-a]*"],
    ["[a-c].*"],
    ["[c-a].*"],
    ["tab[[:digit:]]"],
    ["tab[[:upper:][:digit:]]"],
    ["tab[![:alnum:]]"],
    ["tab[[:digit]"],
    ["tab[0-9-Z]"],
    ["tab[\\1]"],
    ["star\\*"],
    ["q\\?mark"],
    ["?.log"],
    ["*.l*g"],
    ["s**n.py"],
    ["src/***"],
    [".*"],
    ["src\\/main.py"],
    ["src[/]main.py"],
    ["price_caches"],
    ["/foo/", "!/foo/baz.txt", "foo/bar"],
    ["foo/*", "!foo/bar", "foo/bar/*"],
)


@pytest.mark.parametrize("patterns", PATTERN_SETS, ids=" ".join)
def test_patterns_mean_what_they_mean_to_git(patterns: list[str], tmp_path: Path) -> None:
    root = write_tree(tmp_path, *TREE)
    expected = git_keeps(root, patterns, TREE)
    assert set(names_of(select_files(root, patterns))) == expected


_pieces = ("**", "***", "**/", "/**", "//", "**//", "a**", "**a", "b**/")
FOLDERS = ("a", "b", "ab", "aab", ".a")
_part = st.text("ab.*?[]!-\\/", min_size=1, max_size=7) | st.lists(
    st.sampled_from([*"ab.*?!/", *_pieces]), min_size=1, max_size=6
).map("".join)
_names = st.lists(
    st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def git_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("git")


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patterns=st.lists(_part, min_size=1, max_size=4), names=_names)
def test_any_pattern_means_what_it_means_to_git(
    patterns: list[str], names: list[str], git_root: Path
) -> None:
    """Random patterns of special characters select the same files as git."""
    paths = {name for name in names if not {"", ".", ".."} & set(name.split("/"))}
    files = {name for name in paths if not any(other.startswith(name + "/") for other in paths)}
    for child in git_root.iterdir():
        if child.name != ".git":
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    write_tree(git_root, *files)
    if files:
        kept = {name for name in names_of(select_files(git_root, patterns)) if name in files}
        assert kept == git_keeps(git_root, patterns, files)


@pytest.mark.slow
def test_thousands_of_random_patterns_mean_what_they_mean_to_git(tmp_path: Path) -> None:
    """Each case is a folder with a `.gitignore` of its own, so that git answers for all at once."""
    dice = random.Random(13)  # noqa: S311  # no secret
    pieces = [*"aabb*?!.#- []/\\", "[ab]", "[!a]", "\\/", *_pieces]
    names = ["/".join(parts) for n in (1, 2, 3, 4) for parts in product(FOLDERS, repeat=n)]
    cases = []
    for number in range(5_000):
        patterns = [
            "".join(dice.choices(pieces, k=dice.randint(1, 6))) for _ in range(dice.randint(1, 3))
        ]
        if number % 3 == 0:
            patterns = ["*", *(f"!{pattern}" for pattern in patterns)]
        cases.append((patterns, dice.sample(names, 12)))
        (tmp_path / str(number)).mkdir()
        (tmp_path / f"{number}/.gitignore").write_text("".join(f"{one}\n" for one in patterns))
    kept = git_keeps(
        tmp_path, (), (f"{i}/{name}" for i, case in enumerate(cases) for name in case[1])
    )
    differences = [
        (patterns, name)
        for number, (patterns, asked) in enumerate(cases)
        for name in asked
        if keeps(patterns, name) != (f"{number}/{name}" in kept)
    ]
    assert differences == []


def keeps(patterns: list[str], name: str) -> bool:
    """Whether neither the file nor a folder above it is ignored."""
    rules, _ = compile_rules(patterns)
    parts = name.split("/")
    return not any(
        rules.ignoring("/".join(parts[:end]), parts[end - 1], is_directory=end < len(parts))
        for end in range(1, len(parts) + 1)
    )


def test_git_caches_and_environments_are_never_packed(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        "bot.py",
        ".git/config",
        ".git/hooks/pre-commit",
        "sub/.git",
        "sub/__pycache__/x.pyc",
        "sub/deep/__pycache__/d/y.pyc",
        ".venv/pyvenv.cfg",
        ".venv/lib/python/site.py",
        "env/conda-meta/history",
        "env/bin/python",
        "sub/a.py",
        "notes/pyvenv.cfg.txt",
    )
    everything = ["!*", "!.git", "!.git/**", "!__pycache__/", "!.venv/", "!env/"]
    assert names_of(select_files(tmp_path, everything)) == [
        "bot.py",
        "notes/pyvenv.cfg.txt",
        "sub/a.py",
    ]


def test_an_environment_in_place_of_a_model_is_a_problem(tmp_path: Path) -> None:
    """A `pyvenv.cfg` in the root means that a whole environment would be packed."""
    write_tree(tmp_path, "pyvenv.cfg", "bot.py")
    assert "virtual environment" in only_problem(select_files(tmp_path, [])).message


def test_our_own_output_is_left_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "bot.py", "out/data/x.zip", "bundle.zip", "other/bundle.zip")
    selection = select_files(root, ["!*"], excluded=[root / "out", root / "bundle.zip"])
    assert names_of(selection) == ["bot.py", "other/bundle.zip"]


def test_entries_are_sorted_and_have_size_mode_and_path(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "b.py", "a/z", "a.py", "empty/nested/", "Z", "é")
    (root / "b.py").chmod(0o700)
    (root / "a.py").chmod(0o655)  # executable, but not by its owner
    selection = select_files(root, [])
    assert names_of(selection) == ["Z", "a.py", "a/z", "b.py", "empty/nested", "é"]
    assert selection.problems == ()
    assert selection.entries[3] == Entry("b.py", "b.py", 4, True, False)  # noqa: FBT003 - fields in order
    assert [entry.name for entry in selection.entries if entry.is_directory] == ["empty/nested"]
    assert not selection.entries[1].executable


def test_only_truly_empty_directories_are_kept(tmp_path: Path) -> None:
    write_tree(tmp_path, "logs/a.log", "cache/", "empty/", "pc/__pycache__/x")
    assert names_of(select_files(tmp_path, ["*.log", "cache/"])) == ["empty"]


def test_entries_do_not_depend_on_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree(tmp_path / "m", "bot.py", "d/x.csv")
    absolute = select_files(root, ["d"])
    monkeypatch.chdir(tmp_path)
    assert select_files(Path("m"), ["d"]) == absolute
    assert names_of(absolute) == ["bot.py"]


def test_includes_answers_for_files_and_directories(tmp_path: Path) -> None:
    selection = select_files(write_tree(tmp_path, "bot.py", "src/a.py", "src.x", "e/"), [])
    assert selection.includes("bot.py")
    assert selection.includes("./bot.py")
    assert selection.includes("src")
    assert selection.includes("src/")
    assert selection.includes("e")
    assert selection.includes(".")
    assert not selection.includes("src/b.py")
    assert not selection.includes("sr")
    assert not selection.includes("../bot.py")
    assert not select_files(tmp_path / "none", []).includes("bot.py")


def test_links_inside_the_model_become_what_they_point_to(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "data/x.csv", "data/deep/y.csv", "bot.py")
    (root / "main.py").symlink_to("bot.py")
    (root / "again.py").symlink_to(root / "main.py")
    (root / "alias").symlink_to("data", target_is_directory=True)
    selection = select_files(root, [])
    assert selection.problems == ()
    by_name = {entry.name: entry.source for entry in selection.entries}
    assert by_name["main.py"] == by_name["again.py"] == "bot.py"
    assert by_name["alias/deep/y.csv"] == "data/deep/y.csv"
    assert "alias/x.csv" in by_name


def test_patterns_apply_to_a_linked_directory_by_its_link(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "data/x.csv", "data/y.log")
    (root / "alias").symlink_to("data")
    assert names_of(select_files(root, ["alias/*.log"])) == [
        "alias/x.csv",
        "data/x.csv",
        "data/y.log",
    ]
    assert names_of(select_files(root, ["alias/"])) == ["data/x.csv", "data/y.log"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("../outside.txt", "outside the model"),
        ("..", "outside the model"),
        ("/etc/passwd", "outside the model"),
        ("../model-2/x", "outside the model"),
        ("nowhere", "does not exist"),
        ("bad", "does not exist"),
        (".git/config", "never packed"),
        (".git", "never packed"),
        ("sub/__pycache__/x.pyc", "never packed"),
        (".venv/bin/python", "never packed"),
        (".venv", "never packed"),
        ("out/x.zip", "never packed"),
        (".", "never end"),
        ("sub/..", "never end"),
    ],
)
def test_a_link_with_a_bad_target_is_a_problem(target: str, reason: str, tmp_path: Path) -> None:
    root = write_tree(
        tmp_path / "model",
        ".git/config",
        "sub/__pycache__/x.pyc",
        "sub/a.py",
        ".venv/pyvenv.cfg",
        ".venv/bin/python",
        "out/x.zip",
    )
    write_tree(tmp_path, "outside.txt", "model-2/x")
    (root / "bad").symlink_to(target)
    selection = select_files(root, [], excluded=[root / "out"])
    problem = only_problem(selection)
    assert problem.path == "bad"
    assert problem.severity is Severity.ERROR
    assert target in problem.message
    assert reason in problem.message
    assert problem.hint
    assert names_of(selection) == ["sub/a.py"]


def test_a_chain_of_links_without_an_end_is_a_problem(tmp_path: Path) -> None:
    """The system follows 40 of them; Python, resolving more, ran out of stack."""
    root = write_tree(tmp_path / "m", "bot.py")
    for number in range(1_500):
        (root / f"link{number}").symlink_to(f"link{number + 1}")
    selection = select_files(root, [])
    assert len(selection.problems) == 1_500
    assert all("does not exist" in problem.message for problem in selection.problems)
    assert names_of(selection) == ["bot.py"]


def test_links_to_each_others_parents_end(tmp_path: Path) -> None:
    root = write_tree(tmp_path, "a/x", "b/y")
    (root / "a/to_b").symlink_to("../b")
    (root / "b/to_a").symlink_to("../a")
    selection = select_files(root, [])
    assert {problem.path for problem in selection.problems} == {"a/to_b/to_a", "b/to_a/to_b"}
    assert all("never end" in problem.message for problem in selection.problems)
    assert names_of(selection) == ["a/to_b/y", "a/x", "b/to_a/x", "b/y"]


def test_links_that_multiply_are_stopped(tmp_path: Path) -> None:
    """Sixteen levels of two links each would be 131,070 folders; there is a limit instead."""
    root = tmp_path.resolve()
    for level in range(16):
        (root / f"d{level}").mkdir()
        for side in "lr":
            (root / f"d{level}" / side).symlink_to(root / f"d{level + 1}")
    write_tree(root, "d16/x")
    problems = select_files(root, [f"/d{level}" for level in range(1, 16)]).problems
    assert any("1,000 links" in problem.message for problem in problems)


def test_an_ignored_link_causes_no_problem(tmp_path: Path) -> None:
    for name, target in (("broken", "nowhere"), ("out", "/etc"), ("cycle", ".")):
        (tmp_path / name).symlink_to(target)
    selection = select_files(tmp_path, ["broken", "/out", "cycle/"])
    assert selection.entries == ()
    assert selection.problems == ()


def test_special_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    monkeypatch.chdir(tmp_path)  # socket paths are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        selection = select_files(tmp_path, [])
    assert {(problem.path, problem.message.split(", ")[0]) for problem in selection.problems} == {
        ("pipe", "pipe is a named pipe"),
        ("link", "link is a named pipe"),
        ("sock", "sock is a socket"),
    }
    assert selection.entries == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device files")
def test_devices_are_refused(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "zero", 0o20644, os.makedev(1, 5))
    except PermissionError:  # a container without the right
        (tmp_path / "zero").symlink_to("/dev/zero")
    assert only_problem(select_files(tmp_path, [])).path == "zero"


@pytest.mark.parametrize(
    ("raw", "shown", "reason"),
    [
        (b"bad\xff.py", "bad\\xff.py", "not valid UTF-8"),
        (b"back\\slash", "back\\slash", "backslash"),
        ("é\\x".encode(), "é\\x", "backslash"),
        (b"new\nline", "new\\x0aline", "control character"),
        (b"esc\x1b[31m", "esc\\x1b[31m", "control character"),
        ("c1é\x85".encode(), "c1é\\x85", "control character"),
    ],
)
def test_a_name_that_other_systems_refuse_is_a_problem(
    raw: bytes, shown: str, reason: str, tmp_path: Path
) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).mkdir()
    selection = select_files(tmp_path, [])
    problem = only_problem(selection)
    assert (problem.path, selection.entries) == (shown, ())
    assert reason in problem.message
    assert problem.message.isprintable()


def test_names_that_differ_only_in_case_or_normalisation_are_a_warning(tmp_path: Path) -> None:
    """They are packed: on Linux nothing is wrong with them."""
    names = [
        "Bot.py",
        "bot.py",
        "caf\u00e9",
        "cafe\u0301",
        "D/x",
        "d/y",
        "straße",
        "STRASSE",
        "é",
        "e",
    ]
    selection = select_files(write_tree(tmp_path, *names), [])
    assert len(selection.entries) == len(names)
    assert {problem.severity for problem in selection.problems} == {Severity.WARNING}
    assert {problem.path for problem in selection.problems} == {"bot.py", "café", "d", "straße"}


@pytest.mark.parametrize("pattern", ["bad\\", "[abc", "a[", "[[:nope:]]", "[a-"])
def test_an_invalid_pattern_is_a_problem(pattern: str, tmp_path: Path) -> None:
    selection = select_files(write_tree(tmp_path, "bot.py"), [pattern])
    assert repr(pattern) in only_problem(selection).message
    assert names_of(selection) == ["bot.py"]


@given(st.text(max_size=30))
def test_no_pattern_causes_a_traceback(pattern: str) -> None:
    rules, invalid = compile_rules([pattern])
    assert len(rules.rules) + len(invalid) <= 1
    rules.ignoring("a/b", "b", is_directory=False)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    """With backtracking, it would never end."""
    rules, _ = compile_rules(["*a*a*a*a*a*a*a*a*a*a*a*b", "**/a/**/a/**/a/**/a/**/a/**/a/**/b"])
    name = "a" * 250
    assert rules.ignoring(f"{'a/' * 500}{name}", name, is_directory=False) is None


@pytest.mark.parametrize(
    "piece", ["*a", "[a", "**/", "**\\/", "a**/", "?*", "a/**/", "[[:alpha:]]"]
)
def test_very_long_patterns_are_refused_quickly(piece: str) -> None:
    began = time.process_time()
    _, invalid = compile_rules([piece * 400_000])
    assert [text for text, _ in invalid] == [piece * 400_000]
    assert "at most 4,096" in invalid[0][1]
    rules, _ = compile_rules([(piece * 4096)[: 4096 - 4096 % len(piece)]])
    for path in ("a/" * 2000 + "b", "/".join(["a" * 255] * 15)):
        rules.ignoring(path, path.rpartition("/")[2], is_directory=False)
    assert time.process_time() - began < 30


def test_names_and_patterns_are_redacted_before_they_are_cut(tmp_path: Path) -> None:
    """Half a secret would not be recognised where others are hidden."""
    secret = "d1fe" * 5
    names = ["blankly.json", f"{'a' * 70}{secret}\\b"]
    tree = write_tree(tmp_path, *names)
    selection = select_files(
        tree,
        [f"[{'b' * 70}{secret}", f"{'c' * 70}{secret}" * 60_000],
        redact=lambda text: text.replace(secret, "***"),
    )
    messages = [one.message for one in selection.problems]
    assert [message.count("*…") + message.count("***") for message in messages] == [1, 1, 1]
    assert "d1fe" not in "".join(messages)
    assert max(map(len, messages)) < 250


def test_an_ignored_manifest_is_an_error_that_names_the_pattern(tmp_path: Path) -> None:
    problem = only_problem(select_files(write_tree(tmp_path, "blankly.json"), ["*.py", "*.json"]))
    assert problem.path == "blankly.json"
    assert "'*.json'" in problem.message


def test_all_problems_are_reported_at_once_in_order(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "z")
    (tmp_path / "a").symlink_to("nowhere")
    (tmp_path / "m\\n").touch()
    paths = [problem.path for problem in select_files(tmp_path, ["["]).problems]
    assert paths == [None, "a", "m\\n", "z"]


def test_a_missing_model_directory_is_a_problem(tmp_path: Path) -> None:
    selection = select_files(tmp_path / "missing", [])
    assert "no such file" in only_problem(selection).message


def test_unreadable_files_and_directories_are_problems(tmp_path: Path) -> None:
    model = write_tree(tmp_path / "m", "ok.py", "secret.txt", "closed/x")
    (model / "secret.txt").chmod(0)
    (model / "closed").chmod(0)
    for folder in (model, *list(model.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    seen = run_without_rights(
        "s = select_files(model, []); "
        "print([e.name for e in s.entries], [(p.path, p.message) for p in s.problems])",
        model,
    )
    assert seen == (
        "['ok.py'] [('closed', 'closed cannot be read: permission denied.'), "
        "('secret.txt', 'secret.txt cannot be read: permission denied.')]\n"
    )


def run_without_rights(code: str, model: Path) -> str:
    """Run code as an ordinary user: root may read everything."""
    setup = (
        "import os, pathlib, sys; from deploy_action.bundle.selection import select_files; "
        "model = pathlib.Path(sys.argv[1]); "
        "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534)); "
    )
    done = subprocess.run(
        [sys.executable, "-c", setup + code, str(model)],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_tree_a_thousand_levels_deep_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "m"
    root.mkdir()
    handle = os.open(root, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    try:
        selection = select_files(root, ["*.log"])
    finally:  # pytest's own clean-up recurses, and would fail
        subprocess.run(["rm", "-rf", root], check=True, timeout=20)
    assert "is more than 100 levels deep" in only_problem(selection).message
    assert names_of(selection) == []


@pytest.mark.slow
def test_seventy_thousand_files_are_selected_in_a_few_seconds(tmp_path: Path) -> None:
    """A generous bound that a quadratic walk would exceed."""
    write_tree(tmp_path, *(f"0/{number}" for number in range(1000)))
    for folder in range(1, 70):  # links, since making 70,000 files takes longer than selecting them
        (tmp_path / str(folder)).symlink_to("0")
    started = time.process_time()
    selection = select_files(tmp_path, ["price_caches", ".git", "*.log", "/a/b/"])
    assert time.process_time() - started < 30
    assert len(selection.entries) == 70_000


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/".join(["d" * 249] * 4), ""),
        ("/".join([*["d" * 249] * 3, "d" * 251]), "has more than 1,000 bytes"),
        ("/".join(["é" * 100] * 5), "has more than 1,000 bytes"),
        ("/".join("d" * 100), ""),
        ("/".join("d" * 101), "is more than 100 levels deep"),
    ],
)
def test_the_longest_and_deepest_names_that_are_packed_are_those_that_the_platform_takes(
    tmp_path: Path, name: str, reason: str
) -> None:
    root = write_tree(tmp_path / "m", "blankly.json", name)
    (root / "blankly.json").write_text("{}")
    selection = select_files(root, [])
    if reason:
        problem = only_problem(selection)
        assert reason in problem.message
        assert len(problem.message) < 150
    else:
        assert selection.problems == ()
    # What a packer without these limits makes:
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.write(root / "blankly.json", "model/blankly.json")
        archive.write(root / name, f"model/{name}")
    if reason:
        with pytest.raises(ArchiveError, match=r"too (long|deep)"):
            check_archive(bundle)
    else:
        write_bundle(selection, bundle)
        assert check_archive(bundle).files == 2
