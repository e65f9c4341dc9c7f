"""Dataclasses like those of the standard library, for a quick start.

The standard library writes and compiles up to seven functions for each class when its module is
imported; for the classes of a run, that took a third of the time until its first request. Here all
classes share their methods, and `__init__` is written when the first instance is made.

To everything else these are dataclasses: type checkers see those of the standard library, and its
`fields`, `replace` and `asdict`, and pattern matching, take them. Options that no class here uses
are missing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cache
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeGuard

_MISSING: Final[Any] = object()
_FIELDS: Final = "__record_fields__"


class _Field:
    """What a class says of one field, with the standard library's words and their meaning."""

    __slots__ = ("compare", "default", "default_factory", "init", "kw_only", "name", "repr", "type")

    def __init__(
        self,
        *,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        init: bool = True,
        repr: bool = True,  # noqa: A002  # the standard library's word
        compare: bool = True,
    ) -> None:
        self.name, self.type, self.kw_only = "", "", False
        self.default, self.default_factory = default, default_factory
        self.init, self.repr, self.compare = init, repr, compare


def _dataclass(cls: Any = None, /, **options: bool) -> Any:
    """Make a class a dataclass, with the options that `_made` takes."""
    return _made(cls) if cls is not None else lambda cls: _made(cls, **options)


def _fields(record: Any) -> tuple[Any, ...]:
    """Return the fields of a dataclass or of one of its instances, as the standard library does."""
    if (known := getattr(record, _FIELDS, None)) is not None:
        return tuple(known.values())
    import dataclasses

    return dataclasses.fields(record)


def _replace(record: Any, /, **changes: Any) -> Any:
    """Return an instance with other values in some fields."""
    for one in _fields(record):
        if one.init and one.name not in changes:
            changes[one.name] = getattr(record, one.name)
    return type(record)(**changes)


def is_record(value: Any) -> TypeGuard[DataclassInstance]:
    """Tell whether a value is an instance of a dataclass, of these or of the standard library."""
    cls = type(value)
    return hasattr(cls, _FIELDS) or hasattr(cls, "__dataclass_fields__")


if TYPE_CHECKING:
    from dataclasses import dataclass, field, fields, replace

    from _typeshed import DataclassInstance
else:
    dataclass, field, fields, replace = _dataclass, _Field, _fields, _replace

__all__ = ["dataclass", "field", "fields", "is_record", "replace"]


def _made(
    cls: Any,
    *,
    frozen: bool = False,
    slots: bool = False,
    kw_only: bool = False,
    eq: bool = True,
    order: bool = False,
) -> Any:
    """Return the class as a dataclass; with slots, it is another class."""
    written = dict(vars(cls))
    own = _own_fields(written, kw_only=kw_only)
    known: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        known |= vars(base).get(_FIELDS, {})
    added = _shared_methods(frozen=frozen, slots=slots, eq=eq, order=order)
    if "__eq__" in written and written["__hash__"] is None:  # Python sets it beside `__eq__`
        del written["__hash__"]
    added = {name: value for name, value in added.items() if name not in written}
    if slots:
        added["__slots__"] = tuple(name for name in own if name not in known)
        for name in (*own, "__dict__", "__weakref__"):
            written.pop(name, None)
        added["__qualname__"] = cls.__qualname__
        cls = type(cls)(cls.__name__, cls.__bases__, written | added)
    else:
        for name, one in own.items():
            if one.default is not _MISSING:
                added[name] = one.default
            elif name in written:
                delattr(cls, name)
        for name, value in added.items():
            setattr(cls, name, value)
    setattr(cls, _FIELDS, known | own)
    if "__init__" not in written:
        cls.__init__ = _init_to_write(cls, frozen=frozen)
    return cls


def _own_fields(written: Mapping[str, Any], *, kw_only: bool) -> dict[str, _Field]:
    own = {}
    for name, kind in written.get("__annotations__", {}).items():
        default = written.get(name, _MISSING)
        one = default if isinstance(default, _Field) else _Field(default=default)
        one.name, one.type, one.kw_only = name, kind, kw_only
        own[name] = one
    return own


def _shared_methods(*, frozen: bool, slots: bool, eq: bool, order: bool) -> dict[str, Any]:
    methods: dict[str, Any] = {
        "__repr__": _repr,
        "__match_args__": _Arguments(),
        "__dataclass_fields__": _AsInTheLibrary(),
    }
    if eq:
        methods |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
    if order:
        methods |= _ORDERS
    if frozen:
        methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
    if frozen and slots:
        methods |= {"__getstate__": _state, "__setstate__": _set_state}
    return methods


def _init_to_write(cls: Any, *, frozen: bool) -> Callable[..., None]:
    """Return an `__init__` that replaces itself when it is called for the first time."""

    def __init__(self: object, *args: Any, **values: Any) -> None:  # noqa: N807
        cls.__init__ = _written_init(cls, frozen=frozen)
        cls.__init__(self, *args, **values)

    return __init__


def _written_init(cls: Any, *, frozen: bool) -> Any:
    names: dict[str, Any] = {"_MISSING": _MISSING, "_set": object.__setattr__}
    positional: list[str] = []
    by_name: list[str] = []
    body: list[str] = []
    for name, one in cls.__record_fields__.items():
        parameter = value = name
        if one.default_factory is not _MISSING:
            names[f"_make_{name}"] = one.default_factory
            parameter = f"{name}=_MISSING"
            made = f"_make_{name}()"
            value = f"{made} if {name} is _MISSING else {name}" if one.init else made
        elif one.default is not _MISSING:
            names[f"_default_{name}"] = one.default
            parameter = f"{name}=_default_{name}"
            value = name if one.init else f"_default_{name}"
        elif not one.init:
            continue
        if one.init:
            (by_name if one.kw_only else positional).append(parameter)
        body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(["self", *positional, *(["*"] if by_name else []), *by_name])
    source = f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"])
    exec(source, names)  # noqa: S102  # made of the names of fields alone
    made = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


class _Arguments:
    """Gives a class its `__match_args__` when they are asked for."""

    def __get__(self, record: object, cls: Any) -> tuple[str, ...]:
        return tuple(one.name for one in _fields(cls) if one.init and not one.kw_only)


class _AsInTheLibrary:
    """Gives a class the fields by which the standard library knows it, when they are asked for."""

    def __get__(self, record: object, cls: Any) -> Any:
        import dataclasses

        def as_in_the_library(one: _Field) -> tuple[str, Any, Any]:
            given = {"default": one.default, "default_factory": one.default_factory}
            options: Any = {name: value for name, value in given.items() if value is not _MISSING}
            options |= {"init": one.init, "repr": one.repr, "compare": one.compare}
            return one.name, one.type, dataclasses.field(kw_only=one.kw_only, **options)

        made = dataclasses.make_dataclass(cls.__name__, map(as_in_the_library, _fields(cls)))
        cls.__dataclass_fields__ = found = vars(made)["__dataclass_fields__"]
        return found


@cache
def _key_of(cls: Any) -> Callable[[object], tuple[object, ...]]:
    """Return what reads the values by which records are compared."""
    names = [one.name for one in _fields(cls) if one.compare]
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    """Return a method that compares records of the same class by their values."""

    def method(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        key = _key_of(self.__class__)
        return compare(key(self), key(other))

    return method


_eq: Final = _compared(operator.eq)
_ORDERS: Final = {
    f"__{name}__": _compared(getattr(operator, name)) for name in ("lt", "le", "gt", "ge")
}


def _hash(self: Any) -> int:
    return hash(_key_of(self.__class__)(self))


@recursive_repr("...")
def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in _fields(self) if one.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse(_self: Any, name: str, _value: object = None, /) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change field {name!r}")


def _state(self: Any) -> list[object]:
    return [getattr(self, one.name) for one in _fields(self)]


def _set_state(self: Any, state: list[object]) -> None:
    for one, value in zip(_fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)
