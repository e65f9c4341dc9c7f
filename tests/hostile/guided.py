"""Parsers of bytes for a fuzzer that looks at which lines an input reaches (atheris).

    python -m tests.hostile.guided TARGET FOLDER [-max_total_time=60] [-seed=1]

The options are those of libFuzzer. FOLDER keeps inputs that reached something new. An exception
that is not documented ends it with 77, and prints the input.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

Target = Callable[[bytes], object]
_SHA: Final = bytes(range(20))


def _json() -> Target:
    """Return what is read as JSON exactly if the standard library takes it for strict JSON."""
    from deploy_action.text.located_json import parse_json

    def read(data: bytes) -> None:
        found = parse_json(data)
        problems = {one.message for one in found.problems}
        try:
            value = json.loads(data.decode().removeprefix("\ufeff"), parse_constant=_refuse)
        except (ValueError, RecursionError):
            assert problems, data
            return
        if not problems:
            assert _same(found.value, value), data

    return read


def _refuse(word: str) -> object:
    raise ValueError(word)


def _same(one: Any, other: Any) -> bool:
    """Whether two documents are equal, NaN and infinite numbers included."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def _strict_json() -> Target:
    from deploy_action.text.strict_json import strict_loads

    def read(data: bytes) -> None:
        try:
            value = strict_loads(data)
        except ValueError:
            return
        expected = json.loads(data, parse_constant=_refuse)
        if b"\\u" not in data:  # a half character is replaced
            assert _same(value, expected), data

    return read


def _index() -> Target:
    """Return what reads git's index, or the part of one that says what a shared one has."""
    from deploy_action.errors import InvalidInputError
    from deploy_action.git.index import open_index, read_entries
    from deploy_action.git.repository import open_repository, reading

    git = Path(tempfile.mkdtemp()) / ".git"
    for folder in ("objects", "refs"):
        (git / folder).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    shared = [_entry(f"{number:03}.py".encode()) for number in range(300)]
    (git / f"sharedindex.{_SHA.hex()}").write_bytes(_index_of(shared))

    def read(data: bytes) -> None:
        written = data
        if not data.startswith(b"DIRC"):
            link = struct.pack(">4sI", b"link", len(data) + 20) + _SHA + data
            written = _index_of([_entry(b""), _entry(b"a.py")]) + link
        (git / "index").write_bytes(written + bytes(20))  # without a checksum
        with open_repository(git.parent) as repository:
            with suppress(InvalidInputError), reading(git):
                list(read_entries(repository.repo))
            with suppress(InvalidInputError), reading(git):
                open_index(repository.repo)

    return read


def _entry(name: bytes) -> bytes:
    """Return an entry of an index (gitformat-index(5), version 2)."""
    body = struct.pack(">10I", *[0] * 6, 0o100644, *[0] * 3) + _SHA + struct.pack(">H", len(name))
    return body + name + bytes(8 - len(body + name) % 8)


def _index_of(entries: Sequence[bytes]) -> bytes:
    return struct.pack(">4sII", b"DIRC", 2, len(entries)) + b"".join(entries)


def _tree() -> Target:
    from deploy_action.git.pointer import parse_pointer
    from deploy_action.git.trees import parse_tree

    def read(data: bytes) -> None:
        parse_pointer(data)
        with suppress(ValueError):
            for entry in parse_tree(data, 20):
                assert entry.name not in {b"", b".", b"..", b".git"}
                assert b"/" not in entry.name

    return read


def _archive() -> Target:
    """Return what unpacks a bundle to nowhere, and compares it with `zipfile`."""
    import zipfile

    from deploy_action.platform.storage.archives import check_archive, check_contents
    from deploy_action.platform.storage.zip_reader import ArchiveError

    path = Path(tempfile.mkdtemp()) / "model.zip"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            facts = check_archive(path)
            check_contents(path)
        except ArchiveError:
            return
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert sum(not one.is_dir() for one in archive.infolist()) == facts.files

    return read


def _requirements() -> Target:
    from deploy_action.platform.environments import EnvironmentFailedError
    from deploy_action.platform.environments.requirements import read_requirements

    folder = Path(tempfile.mkdtemp())

    def read(data: bytes) -> None:
        for path in folder.iterdir():
            path.unlink()
        (folder / "r.txt").write_bytes(data)
        with suppress(EnvironmentFailedError):
            found = read_requirements(folder, "r.txt", {"NAME": "value"})
            with found.readable_by_uv():
                pass
            assert (folder / "r.txt").read_bytes() == data

    return read


def _patterns() -> Target:
    from deploy_action.bundle.ignore_rules import compile_rules

    def read(data: bytes) -> None:
        pattern, _, name = data.decode("utf-8", "surrogateescape").partition("\0")
        rules, invalid = compile_rules(pattern.split("\n"))
        rules.deciding(name, os.path.basename(name), is_directory=len(data) % 2 == 0)  # noqa: PTH119
        assert all(reason for _, reason in invalid)

    return read


def _gates() -> Target:
    from deploy_action.errors import Severity
    from deploy_action.gates.grammar import parse_gates

    def read(data: bytes) -> None:
        gates, problems = parse_gates(data.decode("utf-8", "surrogateescape"))
        for one in gates:
            again, wrong = parse_gates(one.text)
            assert len(again) == 1, one.text
            assert not [each for each in wrong if each.severity is Severity.ERROR] or problems

    return read


def _event() -> Target:
    from deploy_action.github.event import describe, read_event
    from deploy_action.github.finished_run import read_finished_run
    from deploy_action.github.pull_request import find_place

    path = Path(tempfile.mkdtemp()) / "event.json"
    names = ("push", "pull_request", "release", "merge_group", "workflow_run", "schedule")

    def read(data: bytes) -> None:
        path.write_bytes(data)
        name = names[len(data) % len(names)]
        event = read_event({"GITHUB_EVENT_PATH": str(path), "GITHUB_EVENT_NAME": name})
        describe(event, lambda: None).encode()
        event.scope.encode()
        read_finished_run(event.payload, "https://forge.example/a/b")
        place = {"GITHUB_API_URL": "https://forge.example", "GITHUB_REPOSITORY": "a/b"}
        find_place(place, event.payload)

    return read


def _report() -> Target:
    from deploy_action.report.reading import WrongReportError, read_report

    def read(data: bytes) -> None:
        with suppress(WrongReportError):
            read_report(data)

    return read


def _texts() -> Target:
    """Return what prints a text, and hides a secret in it."""
    from deploy_action.report.document import (
        Block,
        Code,
        Paragraph,
        Quote,
        prose,
        to_markdown,
        to_text,
    )
    from deploy_action.text.harmless import defused, tidy
    from deploy_action.text.redaction import redacted
    from tests.support.runner_protocol import commands_in

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        assert not commands_in(defused(text)), data
        tidy(text).encode()
        blocks: list[Block] = [Paragraph([Code(text), *prose(text)]), Quote(text)]
        to_markdown(blocks).encode()
        to_text(blocks).encode()
        assert "x9Kd02mmAq1" not in redacted(f"{text}x9Kd02mmAq1{text}", ["x9Kd02mmAq1"])

    return read


def seeds_of(name: str) -> list[bytes]:
    """Return valid inputs of a target, for it to begin with."""
    from tests.hostile import parsers
    from tests.support.nasty import FRAGMENTS
    from tests.support.platform_client import make_bundle

    documents = (parsers.MANIFEST, parsers.EVENT, parsers.RESULT)
    texts = "".join(FRAGMENTS).encode("utf-8", "surrogatepass")
    bitmap = struct.pack(">II2QI", 64, 2, 1 << 33, 0b101, 0)
    seeds: dict[str, list[bytes]] = {
        "archive": [make_bundle(**{"bot.py": "print()", "data/\u00e9.csv": "1,2"})],
        "event": [json.dumps(parsers.EVENT).encode()],
        "gates": [parsers.GATES],
        "index": [bitmap * 2, _index_of([_entry(b"a.py"), _entry(b"b/c.py")])],
        "json": [json.dumps(one, indent=1).encode() for one in documents],
        "patterns": [parsers.PATTERNS + b"\0a/prices/x1.csv"],
        "report": [json.dumps(one).encode() for one in parsers.REPORTS.values()],
        "requirements": [parsers.REQUIREMENTS],
        "strict_json": [json.dumps(one).encode() for one in documents],
        "texts": [texts[at : at + 60] for at in range(0, len(texts), 60)],
        "tree": [b"100644 a.py\0" + _SHA + b"40000 b\0" + _SHA],
    }
    return seeds[name]


TARGETS: Final[dict[str, tuple[Callable[[], Target], tuple[str, ...]]]] = {
    "archive": (_archive, ("deploy_action.platform.storage",)),
    "event": (_event, ("deploy_action.github",)),
    "gates": (_gates, ("deploy_action.gates",)),
    "index": (_index, ("deploy_action.git", "dulwich.index")),
    "json": (_json, ("deploy_action.text.located_json",)),
    "patterns": (_patterns, ("deploy_action.bundle.ignore_rules",)),
    "report": (_report, ("deploy_action.report.reading", "deploy_action.backtest")),
    "requirements": (_requirements, ("deploy_action.text", "deploy_action.platform.environments")),
    "strict_json": (_strict_json, ("deploy_action.text.strict_json",)),
    "texts": (_texts, ("deploy_action.text", "deploy_action.report.document")),
    "tree": (_tree, ("deploy_action.git",)),
}


def main(arguments: list[str]) -> None:
    """Fuzz the target that is named first, with its seeds in the folder; it ends the process."""
    atheris: Any = import_module("atheris")
    name, folder, *options = arguments
    make, modules = TARGETS[name]
    with atheris.instrument_imports(include=[*modules], enable_loader_override=False):
        target = make()
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(name)):
        Path(folder, f"seed-{number}").write_bytes(seed)
    atheris.Setup([name, folder, *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
