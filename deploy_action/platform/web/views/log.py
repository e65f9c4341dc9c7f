"""The log of a deployed model: its last lines as they come, those around a time, and a search."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from deploy_action.platform.api.operations.logs import LogText
from deploy_action.platform.api.request import ApiError, Request
from deploy_action.platform.storage.logs import Bounds, Place
from deploy_action.platform.storage.records import Model, Version, VersionStatus
from deploy_action.platform.storage.store import Store
from deploy_action.platform.web.answers import Answer, Page
from deploy_action.platform.web.log_lines import MOST_FOUND, STREAMS, Line, LogLines
from deploy_action.platform.web.site import Site, Visit, asked_model
from deploy_action.platform.web.views.model_frame import frame
from deploy_action.records import dataclass

_LINES: Final = 500
_MOST_LINES: Final = 5_000
_MOST_VERSIONS: Final = 50
_LONGEST_SEARCH: Final = 200
_KEPT: Final = Bounds()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of a log is asked for: blank and None where that is not said."""

    version_id: str
    streams: tuple[str, ...]
    text: str
    lines: int
    at: float | None
    place: Place | None

    @classmethod
    def of(cls, visit: Visit) -> _Asked:
        """Read the query of a page. Raises `ApiError` for what cannot be meant."""
        query = visit.query
        streams = tuple(each for each in STREAMS if query.get(each))
        at, place = query.get("at", ""), query.get("place", "")
        known = Place.parse(place) if place else None
        if place and known is None:
            raise ApiError("place is no position in a log.")
        if len(query.get("search", "")) > _LONGEST_SEARCH:
            raise ApiError(f"Search for at most {_LONGEST_SEARCH} characters.")
        return cls(
            version_id=query.get("version", ""),
            streams=streams or STREAMS,
            text=query.get("search", "").strip(),
            lines=_number(query.get("lines", "")),
            at=_moment(at) if at else None,
            place=known,
        )

    def query(self, **changes: object) -> str:
        """Return a query for the same version and streams."""
        kept: dict[str, object] = {"version": self.version_id} if self.version_id else {}
        if self.streams != STREAMS:
            kept |= dict.fromkeys(self.streams, "on")
        query = urlencode(kept | changes)
        return f"?{query}" if query else ""


def show_log(site: Site, visit: Visit) -> Answer:
    """Show lines of a log: the last ones, those with a text, or those around a place or a time."""
    asked = _Asked.of(visit)
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
        values = frame(site, snapshot, model, "log")
        versions = _deployed(snapshot.versions(model.project_id, model.id))
    if not versions:
        return Page("log.html", {**values, "version_id": ""})
    version_id = asked.version_id or _version_at(site.store, versions, asked.at)
    opened = _open(site, model, version_id)
    is_current = _open(site, model).version_id == opened.version_id
    reader = site.store.logs.reader(opened.version_id)
    lines = LogLines(reader, frozenset(asked.streams))
    values |= {
        "asked": asked,
        "version_id": opened.version_id,
        "versions": versions[:_MOST_VERSIONS],
        "labels": [one.label_among(versions[:_MOST_VERSIONS]) for one in versions[:_MOST_VERSIONS]],
        "opened": {each.id: each for each in versions if each.id == opened.version_id},
        "is_current": is_current,
        "all_streams": STREAMS,
        "follow": "",
        "found": None,
        "marked": None,
        "first": lines.first(),
        "kept_since": LogLines(reader, frozenset(STREAMS)).first(),
        "most_lines": _MOST_LINES,
        "most_found": MOST_FOUND,
        "kept_bytes": _KEPT.file_bytes * _KEPT.files,
    }
    if asked.text:
        return Page("log.html", {**values, "found": lines.search(asked.text), "lines": ()})
    if asked.at is not None or asked.place is not None:
        return Page("log.html", values | _around(lines, asked))
    end = lines.end()
    values["lines"] = lines.before(end, asked.lines)
    if is_current:
        after = {"after": f"{opened.version_id}/{end}"}
        values["follow"] = f"{values['base']}/log/follow?{urlencode(after)}"
    return Page("log.html", values)


def follow_log(site: Site, visit: Visit) -> Answer:
    """Answer with each new line from a position on, until the session ends."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
    after = visit.query.get("after", "")
    if not after:
        raise ApiError("What follows a log says after which position.", 404)
    opened = _open(site, model, follow="true", positions="true", after=after)
    if visit.session is not None:
        opened.is_allowed = partial(site.sessions.is_open, visit.session)
    return opened


def download_log(site: Site, visit: Visit) -> Answer:
    """Answer with all that is kept of a version's log."""
    with site.store.snapshot() as snapshot:
        model = asked_model(snapshot, visit)
    return _open(site, model, visit.query.get("version", ""), lines="1000000")


def _open(site: Site, model: Model, version_id: str = "", **fields: str) -> LogText:
    fields = {"lines": "0", **fields, "projectId": model.project_id, "modelId": model.id}
    if version_id:
        fields["versionId"] = version_id
    try:
        return site.logs.read_log(Request(fields))
    except ApiError as error:  # a page that is not there; the API calls it a wrong request
        is_missing = error.status == HTTPStatus.BAD_REQUEST
        raise ApiError(str(error), HTTPStatus.NOT_FOUND if is_missing else error.status) from error


def _around(lines: LogLines, asked: _Asked) -> dict[str, object]:
    place = asked.place or lines.since(asked.at or 0)
    after = lines.after(place, max(1, asked.lines // 2))
    before = lines.before(place, asked.lines // 2)
    marked = _mark(before, after, asked)
    gap = 0.0  # in seconds
    if marked is not None and asked.at is not None:
        gap = abs(marked.seconds - asked.at)
    return {"lines": [*before, *after], "marked": marked, "gap": gap}


def _mark(before: Sequence[Line], after: Sequence[Line], asked: _Asked) -> Line | None:
    """Return the line that was asked for: at a time, the nearest one."""
    nearest = [*before[-1:], *after[:1]]
    if asked.at is None:
        return next(iter(after[:1] or before[-1:]), None)
    at = asked.at
    return min(nearest, key=lambda line: abs(line.seconds - at), default=None)


def _version_at(store: Store, versions: Sequence[Version], at: float | None) -> str:
    """Return the version that wrote last before a time; blank if that is not known."""
    if at is None:
        return ""
    written: list[tuple[float, str]] = []
    for version in versions[:_MOST_VERSIONS]:
        lines = LogLines(store.logs.reader(version.id), frozenset(STREAMS))
        first, last = lines.first(), lines.last()
        if first is None or last is None or first.seconds > at:
            continue
        if last.seconds > at:  # another version may have run in between
            last = next(iter(lines.before(lines.since(at), 1)), first)
        written.append((last.seconds, version.id))
    return max(written)[1] if written else ""


def _deployed(versions: Sequence[Version]) -> list[Version]:
    """Return the versions that may have a log, the newest first."""
    return [each for each in reversed(versions) if each.status != VersionStatus.BACKTEST]


def _number(text: str) -> int:
    if not text:
        return _LINES
    if not re.fullmatch("[0-9]{1,7}", text):
        raise ApiError("lines must be a number.")
    return min(max(int(text), 1), _MOST_LINES)


def _moment(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 4e9:  # noqa: PLR2004  # the year 2096; written out, years have four digits
        raise ApiError("at must be a time in seconds since 1970.")
    return seconds
