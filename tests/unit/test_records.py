"""Our dataclasses do what those of the standard library do, and take less time to start."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import inspect
import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy_action import records

PACKAGE = Path(records.__file__).parent
# Both make classes of the same source; type checkers take one for the other.
KINDS: dict[str, Any] = {"ours": records, "library": dataclasses}
OPTIONS = [
    {},
    {"slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
    {"slots": True, "eq": False},
    {"frozen": True, "order": True},
]


def made(kind: str, options: dict[str, Any]) -> Any:
    """Return a dataclass with each kind of field."""
    dataclass, field = KINDS[kind].dataclass, KINDS[kind].field

    @dataclass(**options)
    class Record:
        name: str
        size: int = 3
        parts: list[int] = field(default_factory=list)
        hidden: str = field(default="h", repr=False)
        ignored: int = field(default=0, compare=False)
        fixed: int = field(default=7, init=False)
        counted: list[int] = field(default_factory=list, init=False, compare=False)

        def __post_init__(self) -> None:
            self.counted.append(self.size)

    return Record


def outcome(action: Any) -> Any:
    """Return what came of it, so that two of them can be compared."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001  # the kind of error is what is compared
        return type(error)


def behaviour(kind: str, options: dict[str, Any]) -> list[Any]:
    """Return what a class with these options does."""
    cls = made(kind, options)
    one, same, other = cls(name="a"), cls(name="a", ignored=5), cls(name="b", parts=[1])
    replace, fields = KINDS[kind].replace, KINDS[kind].fields
    return [
        str(inspect.signature(type(one).__init__)).count(","),
        repr(one),
        repr(other),
        one == same,
        one == other,
        one == "a",
        outcome(lambda: hash(one) == hash(same)),
        outcome(lambda: one < other),
        outcome(lambda: one >= same),
        outcome(lambda: cls(name="a", size=math.nan) <= cls(name="a", size=1)),
        outcome(lambda: cls(name="a", size=math.nan) > cls(name="a", size=1)),
        outcome(lambda: setattr(one, "size", 4)),
        outcome(lambda: delattr(other, "size")),
        isinstance(outcome(lambda: setattr(one, "unknown", 4)), type),
        outcome(cls),
        outcome(lambda: cls(name="a", fixed=1)),
        outcome(lambda: cls("a", 4).size),
        outcome(lambda: cls(name="a", nothing=1)),
        [field.name for field in fields(one)],
        outcome(lambda: replace(one, name="c").name),
        dataclasses.is_dataclass(one),
        dataclasses.replace(same, name="d").name,
        outcome(lambda: dataclasses.asdict(same)),
        copy.deepcopy(same) == same or options.get("eq") is False,
        hasattr(one, "__dict__"),
        cls.__match_args__,
        cls.__name__,
    ]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_they_do_what_those_of_the_library_do(options: dict[str, Any]) -> None:
    assert behaviour("ours", options) == behaviour("library", options)


@records.dataclass(frozen=True, slots=True)
class Base:
    name: str
    size: int = 1


@records.dataclass(frozen=True, slots=True)
class Derived(Base):
    more: int = 2


def test_a_derived_class_has_all_fields() -> None:
    assert repr(Derived("a", more=3)) == "Derived(name='a', size=1, more=3)"
    assert Derived("a") != Base("a")
    assert vars(Derived)["__slots__"] == ("more",)
    match Derived("a", 5, 6):
        case Derived(name, size, more):
            assert f"{name} {size} {more}" == "a 5 6"


def test_it_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Derived("a", 5, 6))) == Derived("a", 5, 6)  # noqa: S301


def test_what_it_refers_to_may_be_itself() -> None:
    @records.dataclass(slots=True)
    class Node:
        next: Any = None

    node = Node()
    node.next = node
    assert repr(node).endswith("Node(next=...)")


def test_threads_may_make_the_first_ones() -> None:
    @records.dataclass(frozen=True, slots=True)
    class Record:
        number: int

    ready, found = threading.Barrier(8), []

    def make(number: int) -> None:
        ready.wait()
        found.append(Record(number).number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))


def dataclasses_of_the_package() -> Iterator[tuple[str, ast.ClassDef]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "from deploy_action.records import" not in source:
            continue
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and "dataclass" in map(called, node.decorator_list):
                yield module, node


def called(decorator: ast.expr) -> str:
    return ast.unparse(decorator).partition("(")[0]


def test_each_of_the_package_takes_what_the_librarys_would() -> None:
    """Made of the same fields by the standard library, each takes the same arguments."""
    checked = 0
    for module, node in dataclasses_of_the_package():
        cls = getattr(importlib.import_module(module), node.name)
        if any(getattr(part, "name", "") == "__init__" for part in node.body):
            continue
        written = records._written_init(cls, frozen=False)  # noqa: SLF001  # what an instance would call
        of_library: Any = dataclasses.make_dataclass(
            cls.__name__,
            [(field.name, field.type, field) for field in map(copy.copy, dataclasses.fields(cls))],
        )
        ours, theirs = inspect.signature(written), inspect.signature(of_library.__init__)
        assert [(one.name, one.kind) for one in ours.parameters.values()] == [
            (one.name, one.kind) for one in theirs.parameters.values()
        ], cls
        checked += 1
    assert checked > 300


def test_the_librarys_is_not_loaded_to_make_one() -> None:
    code = (
        "import sys\nfrom deploy_action.records import dataclass, replace\n"
        "@dataclass(frozen=True, slots=True)\nclass A:\n    a: int\n"
        "assert repr(replace(A(1), a=2)) == 'A(a=2)'\nsys.exit('dataclasses' in sys.modules)"
    )
    path = [f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})", code]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", "\n".join(path)], check=False)
    assert done.returncode == 0
