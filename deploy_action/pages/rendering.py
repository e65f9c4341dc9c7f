"""Templates: all that is put into one is escaped, and made visible where it would not be."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from deploy_action.lazy.patterns import lazy_regex
from deploy_action.pages.assets import assets
from deploy_action.text import quantities
from deploy_action.text.harmless import cut, plain

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_FOLDER: Final = Path(__file__).parent / "templates"
_UNKNOWN: Final = "–"  # noqa: RUF001  # as the summaries write it
_CODE: Final = lazy_regex(r"`([^`\n]+)`")
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
# As `tojson` of Jinja: the text is safe within a `script` element, and in an attribute.
_JSON_ESCAPES: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&'\u2028\u2029"}


class Renderer:
    """Renders templates of this room, and of other folders that are named first."""

    def __init__(self, *folders: Path, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns seconds since 1970: ages are counted from there."""
        self._environment = _make_environment((*folders, _FOLDER), clock)

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """Return a page. A name that is missing in `values` is a bug, and raises."""
        return self._environment.get_template(template).render(values)

    def part(self, template: str, macro: str, *arguments: object) -> Markup:
        """Return what a macro of a template makes: a part of a page."""
        made: Markup = getattr(self._environment.get_template(template).module, macro)(*arguments)
        return made

    def load(self, *templates: str) -> None:
        """Compile templates, which takes longer than to fill them."""
        for template in templates:
            self._environment.get_template(template)


@lru_cache(maxsize=1)  # the parts of a page share their compiled templates
def _make_environment(folders: tuple[Path, ...], clock: Callable[[], float]) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: object) -> object:
        """Show control characters and those that reorder text, in what others wrote."""
        return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "moment": moment,
        "day": _or_unknown(lambda seconds: quantities.moment(seconds, "%Y-%m-%d")),
        "second": second,
        "ago": lambda seconds: ago(seconds, clock()),
        "json": to_json,
        "first_line": first_line,
        "prose": prose,
        "cut": cut,
        "money": _or_unknown(quantities.money),
        "size": _or_unknown(quantities.size),
        "count": quantities.count,
    }
    environment.globals |= {"asset": lambda name: assets()[name], "now": clock}
    return environment


def _or_unknown(shown: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: shown(value) if _is_known(value) else _UNKNOWN


def _is_known(value: float | None) -> TypeGuard[float]:
    """Whether it is a number; "not a number" and infinity are shown as what is not known."""
    return value is not None and math.isfinite(value)


def second(seconds: float | None) -> Markup | str:
    """Return a time in UTC, to the second."""
    return moment(seconds, "%Y-%m-%d %H:%M:%S")


def moment(seconds: float | None, form: str = "%Y-%m-%d %H:%M") -> Markup | str:
    """Return a time in UTC, to the minute, with the exact one for programs and in the tooltip."""
    from markupsafe import Markup

    if not _is_known(seconds):
        return _UNKNOWN
    exact = quantities.moment(seconds, "%Y-%m-%dT%H:%M:%SZ")
    shown = quantities.moment(seconds, form)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, shown)


def ago(seconds: float | None, now: float) -> Markup | str:
    """Return how long ago a time is, in its largest unit, with the exact time in the tooltip."""
    from markupsafe import Markup

    if not _is_known(seconds):
        return _UNKNOWN
    age = now - seconds
    if age < 0:
        return moment(seconds)
    units = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s"))
    unit, name = next(((unit, name) for unit, name in units if age >= unit), (1, "s"))
    exact = quantities.moment(seconds, "%Y-%m-%dT%H:%M:%SZ")
    shown = f"{int(age // unit)} {name} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, exact, shown)


def prose(text: str) -> Markup:
    """Return a sentence of ours, of which the parts in backticks are code."""
    from markupsafe import Markup, escape

    parts = _CODE.split(plain(text))
    shown = (
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )
    return Markup("").join(shown)


def first_line(text: str) -> str:
    """Return the first line of a text, such as the subject of a commit message."""
    return text.strip().split("\n", 1)[0]


def to_json(value: object) -> Markup:
    """Return strict JSON that is safe within a `script` element; what is no number is null."""
    from markupsafe import Markup

    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_with_nulls(value), allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_JSON_ESCAPES))  # noqa: S704  # every special character is escaped


def _with_nulls(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _with_nulls(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(each) for each in value]
    return value
