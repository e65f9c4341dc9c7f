"""Loads dulwich, and bounds what it reads.

It opens whatever is in the place of one of git's files: a pipe would block it past any deadline,
and a device such as `/dev/zero` fill the memory. So would an object of which a pack says, in a few
bytes, that it is a terabyte of zeros, and repositories that borrow objects from each other.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from deploy_action.errors import InvalidInputError
from deploy_action.regular_files import open_regular
from deploy_action.text.harmless import excerpt

if TYPE_CHECKING:
    from dulwich.ignore import IgnoreFilterManager
    from dulwich.object_store import DiskObjectStore
    from dulwich.repo import Repo

# Packs are not read whole, and may have any size.
_READ_IN_PARTS: Final = (".pack", ".idx")
_LARGEST: Final = 1 << 30
_NOT_REGULAR: Final = frozenset({errno.EINVAL, errno.ENXIO})  # ENXIO: a socket
_LONGEST_NUMBER: Final = 10  # bytes with seven bits each: more than any size has
_MOST_BORROWED: Final = 100


@cache
def repo_class() -> type[Repo]:
    """Return the library's class of repositories."""
    import dulwich.config
    import dulwich.file
    import dulwich.reftable
    import dulwich.repo

    # The other modules open files with `GitFile` of the first one.
    for module in (dulwich.file, dulwich.reftable, dulwich.repo):
        vars(module)["open"] = _open
    # Other files may be anybody's; nothing that is read of git's settings comes from there.
    vars(dulwich.config)["ConfigFile"]._process_include = lambda *_, **__: None  # noqa: SLF001  # there is no switch
    _bound_objects()
    _bound_alternates()
    return dulwich.repo.Repo


def ignore_rules(repo: Repo) -> IgnoreFilterManager:
    """Return what `.gitignore` files and git's settings say is ignored."""
    import dulwich.ignore

    vars(dulwich.ignore).update(open=_open, open_nofollow_read=_open_unless_link)
    return dulwich.ignore.IgnoreFilterManager.from_repo(repo)


def _bound_objects() -> None:
    """Have objects refused, before they are unpacked, that are larger than `_LARGEST`."""
    import dulwich.pack

    names = vars(dulwich.pack)
    read_header, read_offset = names["_decode_object_header"], names["_decode_delta_base_offset"]
    apply_delta = names["apply_delta"]

    def bounded(read: Callable[[list[int]], Any]) -> Callable[[list[int]], Any]:
        def read_number(raw: list[int]) -> Any:
            if len(raw) > _LONGEST_NUMBER:
                raise ValueError("a number in a pack has too many bytes")
            return read(raw)

        return read_number

    def header(raw: list[int]) -> tuple[int, int]:
        kind, size = bounded(read_header)(raw)
        _check_size(size)
        return kind, size

    def apply(source: bytes | list[bytes], delta: bytes | list[bytes]) -> list[bytes]:
        data = delta if isinstance(delta, bytes) else b"".join(delta)
        _, start = _number(data, 0)
        _check_size(_number(data, start)[0])
        applied: list[bytes] = apply_delta(source, data)
        return applied

    names.update(
        _decode_object_header=header,
        _decode_delta_base_offset=bounded(read_offset),
        apply_delta=apply,
    )


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise ValueError("an object is larger than 1 GiB")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place of a delta, and where it ends."""
    number = 0
    for place, byte in enumerate(data[at : at + _LONGEST_NUMBER]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004  # the bit that says that more follow
            return number, at + place + 1
    raise ValueError("a number in a pack has too many bytes")


def _bound_alternates() -> None:
    """Have each repository that objects are borrowed from asked once, and no circle followed."""
    from dulwich.object_store import DiskObjectStore

    DiskObjectStore.alternates = property(_alternates)  # type: ignore[assignment,method-assign]  # the library's own is one, too


def _alternates(store: DiskObjectStore) -> Sequence[DiskObjectStore]:
    """Return all stores from which one borrows objects, also through others."""
    if store._alternates is None:  # noqa: SLF001  # in place of the library's own
        found: list[Any] = []
        seen, pending = {os.path.realpath(store.path)}, [store]
        while pending:
            for path in pending.pop()._read_alternate_paths():  # noqa: SLF001  # as above
                if (real := os.path.realpath(path)) in seen:
                    continue
                if len(found) == _MOST_BORROWED:
                    raise ValueError(f"objects are in more than {_MOST_BORROWED} repositories")
                seen.add(real)
                one = type(store)(path)
                one._alternates = []  # noqa: SLF001  # as above
                found.append(one)
                pending.append(one)
        store._alternates = found  # noqa: SLF001  # as above
    return store._alternates  # type: ignore[return-value]  # noqa: SLF001  # as above


def _open_unless_link(path: str | bytes) -> BinaryIO:
    return os.fdopen(open_regular(path, follow=False)[0], "rb")


def _open(path: str | bytes, mode: str = "rb", _buffer: int = -1) -> BinaryIO:
    """Open a file of a repository in place of the built-in function.

    Raises:
        OSError: it cannot be opened, which the library often takes for a missing file.
        InvalidInputError: it is something else, or too large.
    """
    name = os.fsdecode(path)
    if mode != "rb":
        raise OSError(errno.EROFS, "repositories are only read", name)
    if os.path.realpath(name) == os.devnull:  # how git's settings are switched off
        return BytesIO()
    try:
        handle, status = open_regular(name)
    except OSError as error:
        if error.errno not in _NOT_REGULAR:
            raise
        raise _unreadable(name, "it is not a regular file") from error
    if status.st_size > _LARGEST and not name.endswith(_READ_IN_PARTS):
        os.close(handle)
        raise _unreadable(name, "it is larger than 1 GiB")
    return os.fdopen(handle, "rb")


def _unreadable(name: str, why: str) -> InvalidInputError:
    return InvalidInputError.of(
        message=f"{excerpt(name)} of the git repository cannot be read: {why}.",
        hint="Check out the repository again, into an empty directory.",
    )
