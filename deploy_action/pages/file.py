"""A page as one file that holds all it shows: it can be kept, sent, and read from disk, offline."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from deploy_action.pages.assets import Asset, assets
from deploy_action.records import dataclass

if TYPE_CHECKING:
    from markupsafe import Markup

_PAGE: Final = "file.html"
TEMPLATES: Final = ("document.html", _PAGE)
"""All that the page is made with."""
_STYLES: Final = "style.css"
_ICON: Final = "icon.svg"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePage:
    """What is on the page: its title, a line on what it is, its content, and a last line.

    `scripts` are names of assets, in the order in which they run.
    """

    title: str
    about: Markup
    content: Markup
    ending: Markup
    scripts: tuple[str, ...] = ()


def render_file(page: FilePage) -> str:
    """Return the page. The browser is told to run and to load nothing that is not in it."""
    from deploy_action.pages.rendering import Renderer

    scripts = [assets()[name] for name in page.scripts]
    style = assets()[_STYLES]
    icon = assets()[_ICON]
    values = {
        "page": page,
        "policy": _policy([style], scripts),
        "style": style,
        "scripts": scripts,
        "icon": f"data:{icon.media_type};base64,{base64.b64encode(icon.content).decode('ascii')}",
    }
    return Renderer().render(_PAGE, values)


def _policy(styles: list[Asset], scripts: list[Asset]) -> str:
    """Return the Content Security Policy: only these very styles and scripts, and no requests."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_digests(scripts)}",
            f"style-src {_digests(styles)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _digests(files: list[Asset]) -> str:
    return " ".join(f"'sha256-{one.sha256}'" for one in files) or "'none'"
