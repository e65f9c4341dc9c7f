"""The operation on logs: what a deployed version printed, and what it prints from now on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from deploy_action.platform.api.operations.targets import Access, find_model
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.live.status import read_status
from deploy_action.platform.storage.logs import LogReader, Place, format_line
from deploy_action.platform.storage.records import VersionStatus
from deploy_action.platform.storage.store import Store
from deploy_action.records import dataclass, field

MOST_FOLLOWERS: Final = 100
_MOST_LINES: Final = 1_000_000
_LINES: Final = 100
# Where the log of a version that takes over is older, as after a rollback, it begins here.
_SECONDS_BEFORE: Final = 900.0


@dataclass(slots=True)
class Followers:
    """Counts those who follow a log: each keeps a connection, and looks for new lines."""

    most: int = MOST_FOLLOWERS
    number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> None:
        """Count one more, or refuse him."""
        with self._lock:
            if self.number >= self.most:
                message = f"{self.most} others follow a log, and no more can. Try again later."
                raise ApiError(message, HTTPStatus.SERVICE_UNAVAILABLE)
            self.number += 1

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self.number -= 1


@dataclass(frozen=True, slots=True)
class _Model:
    """A model whose log is read, or one version of it."""

    store: Store
    project_id: str
    model_id: str
    version_id: str = ""

    def current_version(self) -> str | None:
        """Return the id of the version whose log is wanted now; None if there is none.

        It is the one that the state in a model's details is about.
        """
        if self.version_id:
            return self.version_id if self.has(self.version_id) else None
        with self.store.snapshot() as snapshot:
            life = snapshot.live.life(self.project_id, self.model_id)
            if life is None:
                return None
            version = read_status(snapshot, life, None).version
        return version.id if version is not None else life.next_id or life.stored_id

    def has(self, version_id: str) -> bool:
        """Return whether this is a version of the model that was deployed."""
        with self.store.snapshot() as snapshot:
            version = snapshot.live.version(self.project_id, self.model_id, version_id)
        return version is not None and version.status != VersionStatus.BACKTEST


@dataclass(slots=True)
class LogText:
    """Lines of the log of a model, of which each is `TIME STREAM TEXT`.

    TIME is in UTC as in ISO 8601; STREAM is `out` or `err`, what the model printed, or `platform`,
    what the server says. An answer that follows the log ends when the client leaves, or the model
    is deleted. When another version takes over, a line of `platform` says so, and its log follows.
    After 20 seconds without a line an empty one shows that the server is still there. With
    `positions`, each line begins with its position, for `after`, and a space. It ends, too, when
    `is_allowed` says no, which is asked every few seconds.
    """

    version_id: str
    place: Place
    follows: bool
    has_positions: bool
    _model: _Model
    _followers: Followers | None = None
    _next_id: str | None = None
    _is_over: bool = False
    _places: dict[str, Place] = field(default_factory=dict)
    _is_refused: bool = False
    is_allowed: Callable[[], bool] = lambda: True

    @property
    def is_over(self) -> bool:
        """Whether no more lines will come: the server stops, or the model was deleted."""
        return self._is_over or self._is_refused or self._model.store.logs.is_closed

    def read(self) -> bytes:
        """Return some of the lines that were not read yet; none if there are none yet."""
        if self._is_refused:
            return b""
        before = self.place
        self.place, block = self._reader(self.version_id).read(before)
        if not block and self._next_id is not None:
            return self._turn_to(self._next_id)
        return self._with_positions(before, block)

    def look_for_turn(self) -> None:
        """Find out whether another version has taken over, or it is over; that takes a moment."""
        self._is_refused = self._is_refused or not self.is_allowed()
        current = self._model.current_version()
        self._is_over = current is None
        self._next_id = None if current == self.version_id else current

    def close(self) -> None:
        """Let another one follow."""
        if self._followers is not None:
            self._followers.leave()
            self._followers = None

    def _reader(self, version_id: str) -> LogReader:
        return self._model.store.logs.reader(version_id)

    def _turn_to(self, version_id: str) -> bytes:
        self._places[self.version_id] = self.place
        now = self._model.store.logs.clock()
        known = self._places.get(version_id)
        self.place = known or self._reader(version_id).place_since(now - _SECONDS_BEFORE)
        self.version_id, self._next_id = version_id, None
        line = format_line(now, f"from here on version {version_id}")
        return self._prefix(self.place) + line

    def _with_positions(self, before: Place, block: bytes) -> bytes:
        """Put before each line the position after it."""
        if not self.has_positions or not block:
            return block
        offset = self.place.offset - len(block) if before.file == self.place.file else 0
        parts = []
        for line in block.splitlines(keepends=True):
            offset += len(line)
            parts += [self._prefix(Place(self.place.file, min(offset, self.place.offset))), line]
        return b"".join(parts)

    def _prefix(self, place: Place) -> bytes:
        return f"{self.version_id}/{place} ".encode() if self.has_positions else b""


@dataclass(frozen=True, slots=True)
class Logs:
    """The operation on logs."""

    store: Store
    access: Access
    followers: Followers = field(default_factory=Followers)

    def read_log(self, request: Request) -> LogText:
        """Read the last lines of a model's log, and follow it.

        It is the log of the version that runs, ran last, or is prepared, unless `versionId` names
        another one.
        """
        project_id, model_id = request.identifier("projectId"), request.identifier("modelId")
        with self.store.snapshot() as snapshot:
            self.access.check_readable(snapshot, project_id)
            find_model(snapshot, project_id, model_id)
        wanted = request.identifier("versionId") if request.text("versionId") else ""
        model = _Model(self.store, project_id, model_id, wanted)
        version_id = model.current_version()
        if version_id is None and wanted:
            raise ApiError("This versionId was not found under this model.")
        if version_id is None:
            raise ApiError("Nothing was deployed to this model, so it has no log.")
        version_id, place = self._start(request, model, version_id)
        follows = request.flag("follow")
        if follows:
            self.followers.enter()
        return LogText(
            version_id=version_id,
            place=place,
            follows=follows,
            has_positions=request.flag("positions"),
            _model=model,
            _followers=self.followers if follows else None,
        )

    def _start(self, request: Request, model: _Model, version_id: str) -> tuple[str, Place]:
        """Return the version and the place in its log where the answer begins."""
        lines, after = request.text("lines") or str(_LINES), request.text("after")
        if not re.fullmatch("[0-9]{1,7}", lines) or int(lines) > _MOST_LINES:
            raise ApiError(f"lines must be a number from 0 to {_MOST_LINES}")
        if not after:
            return version_id, self.store.logs.reader(version_id).place_before(int(lines))
        begun, _, text = after.rpartition("/")
        place = Place.parse(text)
        if place is None or not model.has(begun):
            raise ApiError("after is not a position in the log of this model")
        return begun, place
