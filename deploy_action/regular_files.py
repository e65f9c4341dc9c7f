"""Opens regular files, and nothing else that has taken the place of one.

A pipe blocks whoever opens it, a device may never end, and a link may lead anywhere.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy_action.records import dataclass, field

_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ENTER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_regular(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    directory: int | None = None,
    follow: bool = True,
) -> tuple[int, os.stat_result]:
    """Open a regular file to read it, without waiting; return its descriptor and its status.

    A relative path starts at the open `directory`, if there is one. Without `follow`, the path must
    not end at a link.

    Raises:
        OSError: it cannot be opened, or it is something else.
    """
    handle = os.open(path, _READ if follow else _READ | os.O_NOFOLLOW, dir_fd=directory)
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode):
        return handle, status
    os.close(handle)
    is_directory = stat.S_ISDIR(status.st_mode)
    number = errno.EISDIR if is_directory else errno.EINVAL
    what = "it is a directory" if is_directory else "it is not a regular file"
    raise OSError(number, what, os.fsdecode(path))


def read_regular(path: str | os.PathLike[str], most: int, *, follow: bool = True) -> bytes:
    """Return what is in a regular file of at most `most` bytes.

    Without `follow`, the path must not end at a link.

    Raises:
        OSError: it cannot be read, it is something else, or it is larger.
    """
    return _read(*open_regular(path, follow=follow), most)


def _read(handle: int, status: os.stat_result, most: int) -> bytes:
    """Return what is in an open file, and close it; a file object would take as long again."""
    try:
        # To ask for `most` of each of many small files takes three times as long.
        data = os.read(handle, min(status.st_size, most) + 1)
        # It came in pieces, it grew, or it has no size, as in /proc.
        while len(data) != status.st_size and len(data) <= most:
            more = os.read(handle, most + 1 - len(data))
            if not more:
                break
            data += more
    finally:
        os.close(handle)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB")
    return data


def is_within(directory: str, path: str) -> bool:
    """Whether a real path is a directory's, or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory and what is below it; another directory that takes its place is noticed."""

    path: str
    _identity: tuple[int, int] | None

    @classmethod
    def at(cls, path: str) -> Tree:
        """Return the directory that is at a real path now; if there is none, it never opens."""
        try:
            status = Path(path).stat()
        except OSError:
            return cls(path, None)
        return cls(path, (status.st_dev, status.st_ino))

    @contextmanager
    def opened(self) -> Iterator[OpenTree]:
        """Open the directory for a while; raise OSError if it is not there, or was replaced."""
        tree = OpenTree([os.open(self.path, _ENTER)])
        try:
            status = os.fstat(tree.handles[0])
            if (status.st_dev, status.st_ino) != self._identity:
                raise OSError(errno.ESTALE, "its directory was replaced", self.path)
            yield tree
        finally:
            while tree.handles:
                os.close(tree.handles.pop())


@dataclass(slots=True)
class OpenTree:
    """Opens files below a directory, one directory after the other: no link is followed.

    The directories of the last file stay open, because the next one is often in there, too. An
    instance is for one thread.
    """

    handles: list[int]  # of the tree itself, and of `_folders`
    _folder: str | None = ""  # None if the last one could not be entered
    _folders: list[str] = field(default_factory=list)

    def open(self, name: str) -> tuple[int, os.stat_result]:
        """Open a regular file by its path from the top; return its descriptor and its status.

        Raises:
            OSError: it cannot be opened, it is something else, or a link is on the way.
        """
        folder, _, file = name.rpartition("/")
        if folder != self._folder:
            self._enter(folder)
        try:
            return open_regular(file, directory=self.handles[-1], follow=False)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise OSError(errno.ELOOP, "it is a link", name) from error

    def read(self, name: str, most: int) -> bytes:
        """Return what is in a regular file of at most `most` bytes, by its path from the top.

        Raises:
            OSError: it cannot be read, it is something else, a link is on the way, or it is larger.
        """
        return _read(*self.open(name), most)

    def _enter(self, folder: str) -> None:
        self._folder = None
        wanted = folder.split("/") if folder else []
        while self._folders != wanted[: len(self._folders)]:
            self._folders.pop()
            os.close(self.handles.pop())
        for name in wanted[len(self._folders) :]:
            self.handles.append(os.open(name, _ENTER, dir_fd=self.handles[-1]))
            self._folders.append(name)
        self._folder = folder


@dataclass(frozen=True, slots=True)
class SourceTree:
    """The files of a model by their names: those below a directory, and included ones.

    `root` is the real path of the directory; `included` has names, POSIX and normalised, with the
    real paths of the files or directories that have them. No link leads anywhere else. Everything
    is below `top`, from where files are opened. `made` are files of a bundle that are on no disk,
    with their contents.
    """

    root: str
    included: tuple[tuple[str, str], ...]
    top: str
    made: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)

    @classmethod
    def at(cls, directory: str | os.PathLike[str]) -> SourceTree:
        """Return the files below a directory alone."""
        root = os.path.realpath(directory)
        return cls(root, (), root)

    def path(self, name: str) -> Path:
        """Return where a file is, or would be; the path may be, or go through, a link."""
        wanted = posixpath.normpath(name)
        for included, real in self.included:
            if is_within(included, wanted):
                return Path(real + wanted[len(included) :])
        return Path(self.root, name)

    def holds(self, real: str) -> bool:
        """Whether a real path is one of these files or directories."""
        return any(is_within(one, real) for one in self._roots)

    def root_of(self, real: str) -> str:
        """Return the directory, or what is included, that has a real path which this holds."""
        return next(one for one in self._roots if is_within(one, real))

    @property
    def _roots(self) -> Iterator[str]:
        yield self.root
        yield from (real for _, real in self.included)

    def has_file(self, name: str) -> bool:
        """Whether there is a regular file of that name; it may be a link to another of them."""
        if any(one == posixpath.normpath(name) for one, _ in self.made):
            return True
        try:
            path = self.path(name).resolve()
            return self.holds(str(path)) and path.is_file()
        except (OSError, ValueError, RuntimeError):  # impossible names, or links in a circle
            return False

    def read(self, name: str, most: int) -> bytes:
        """Return what is in a regular file of at most `most` bytes.

        Raises:
            OSError: it cannot be read, it is something else or somewhere else, or it is larger.
        """
        for one, data in self.made:
            if one == posixpath.normpath(name):
                return data
        path = self.path(name)
        path.stat()  # which refuses a chain of links that is too long for the next line
        real = os.path.realpath(path, strict=True)
        if not self.holds(real):
            raise OSError(errno.EXDEV, "it leads out of the model through a link", str(path))
        with Tree.at(self.top).opened() as tree:
            return tree.read(os.path.relpath(real, self.top), most)
