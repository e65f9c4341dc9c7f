"""Draw the picture of the server's pages: all models on a telephone, and one of them at a desk.

    python -m tools.picture_of_pages

The models are those of the tests' showcase, whose clock stands still. The picture carries the text
of both pages, and a test compares that with what they say today.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.browser import Device, open_window, running_browser
from tests.support.showcase import TOKEN, Showcase, showing
from tests.support.visitor import Visitor, text_of
from tools.picture import ROOT, SOURCE

PICTURE = ROOT / "docs" / "images" / "pages.png"
HEIGHT = 844  # in pixels of both pages
COLOURS = 200  # fewer would take the colour of states away
GAP = 24
LINE, BACKGROUND = "#d0d7de", "#eaeef2"


def text_of_pages(showcase: Showcase) -> str:
    """Return what both pages say, as their readers see it."""
    visitor = Visitor(showcase.url)
    visitor.sign_in(TOKEN)
    text = "\n".join(text_of(visitor.get(path).text) for _, path in _looks(showcase))
    return re.sub(r"after [0-9.]+ s\b", "after 0.0 s", text)  # how long a stand-in of a process ran


def _looks(showcase: Showcase) -> Sequence[tuple[Device, str]]:
    return (Device.TELEPHONE, "/"), (Device.DESK, showcase.path("cross"))


def draw(showcase: Showcase) -> Image.Image:
    """Return both pages, side by side."""
    with running_browser() as browser:
        pages = []
        for device, path in _looks(showcase):
            window = open_window(browser, showcase.url, device)
            window.sign_in(TOKEN)
            width = device.value["viewport"]["width"]
            window.page.set_viewport_size({"width": min(width, 900), "height": HEIGHT})
            window.open(path)
            shown = Image.open(io.BytesIO(window.page.screenshot(scale="css")))
            pages.append(shown.convert("RGB"))
            window.context.close()
    width = sum(page.width for page in pages) + GAP * (len(pages) + 1)
    picture = Image.new("RGB", (width, HEIGHT + 2 * GAP), BACKGROUND)
    left = GAP
    for page in pages:
        framed = Image.new("RGB", (page.width + 2, HEIGHT + 2), LINE)
        framed.paste(page, (1, 1))
        picture.paste(framed, (left - 1, GAP - 1))
        left += page.width + GAP
    return picture.quantize(COLOURS, dither=Image.Dither.NONE)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        showing(Path(directory) / "data", is_hostile=False) as showcase,
    ):
        source = PngInfo()
        source.add_itxt(SOURCE, text_of_pages(showcase))
        draw(showcase).save(PICTURE, optimize=True, pnginfo=source)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
