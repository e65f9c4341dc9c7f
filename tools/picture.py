"""Draw the picture at the top of README.md: the summary of a real run, in light and in dark.

    python -m tools.picture

The run is a pull request against an example model, backtested on the embedded platform. A browser
shows its summary as GitHub does; with Debian's fonts-noto-core, also in GitHub's letters. Each
picture carries the Markdown that it shows. A test compares that with what such a run says today.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.isolated import allowed_by_this_machine
from tests.support.network import DIRECTORIES, NETWORK
from tests.support.page import measure, page, run_browser
from tests.support.repositories import commit_all, git, make_repository

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "models" / "golden-cross"
PICTURES = {theme: ROOT / "docs" / "images" / f"summary-{theme}.png" for theme in ("light", "dark")}

AVERAGES = 'FAST = int(os.environ.get("FAST", "{}"))\nSLOW = int(os.environ.get("SLOW", "{}"))\n'
CHANGE = (AVERAGES.format(10, 40), AVERAGES.format(5, 20))
TITLE = "Follow the trend faster"
GATES = "max_drawdown <= 20%\nsharpe >= base\ntrades >= 10"

WIDTH = 720  # in pixels of the page; the picture has twice as many
COLOURS = 96  # a third of the bytes of all of them, and nobody sees the difference
SOURCE = "Source"  # the place of the Markdown in the PNG


def make_summary(scratch: Path, data: Path) -> str:
    """Backtest the pull request in an empty directory, and return the summary's Markdown.

    `data` is the embedded platform's directory.
    """
    workspace = make_repository(scratch / "golden-cross")
    shutil.copytree(EXAMPLE, workspace, dirs_exist_ok=True)
    commit_all(workspace, "Follow the trend")
    script = workspace / "bot.py"
    script.write_text(script.read_text().replace(*CHANGE))
    git(workspace, "switch", "--quiet", "--create", "faster")
    commit_all(workspace, TITLE)
    event = scratch / "event.json"
    event.write_text(json.dumps({"pull_request": {"title": TITLE, "number": 7}}))
    summary = scratch / "summary.md"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(workspace),
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "trader/golden-cross",
        "GITHUB_STEP_SUMMARY": str(summary),
        "RUNNER_TEMP": str(scratch),
        "INPUT_MODE": "backtest",
        "INPUT_API-URL": "local",
        "INPUT_PLATFORM-DATA": str(data),
        "INPUT_COMPARE-WITH": "main",
        "INPUT_GATES": GATES,
        **allowed_by_this_machine(),
        **{name: os.environ[name] for name in (*NETWORK, *DIRECTORIES) if name in os.environ},
    }
    command = [sys.executable, str(ROOT / "entrypoint.py")]
    subprocess.run(command, cwd=workspace, env=environ, check=True, capture_output=True)
    return summary.read_text(encoding="utf-8")


def pictured(summary: str) -> str:
    """Return the part of a summary that the picture shows: up to the end of its first chart."""
    first_chart = summary.index("```mermaid\n")
    end = "\n```\n"
    return summary[: summary.index(end, first_chart) + len(end)]


def without_commits(markdown: str) -> str:
    """Return Markdown without ids of commits: they change with the time of the commit."""
    return re.sub(r"\b[0-9a-f]{12,40}\b", "COMMIT", markdown)


def draw(markdown: str, theme: str, scratch: Path) -> Image.Image:
    """Return the picture of a part of a summary."""
    (chart,) = measure(markdown, scratch, width=WIDTH, theme=theme)["charts"]
    (scratch / "page.html").write_text(page([markdown], width=WIDTH, theme=theme), encoding="utf-8")
    screenshot = scratch / f"{theme}.png"
    run_browser(
        scratch,
        f"--screenshot={screenshot}",
        f"--window-size={WIDTH},{round(chart['bottom']) + 8}",
        "--force-device-scale-factor=2",
        "--virtual-time-budget=60000",
    )
    return Image.open(screenshot).quantize(COLOURS, dither=Image.Dither.NONE)


def shown_by(picture: Path) -> str:
    """Return the Markdown that a picture shows."""
    with Image.open(picture) as image:
        return str(image.info[SOURCE])


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # the model runs as a user of its own
        markdown = pictured(make_summary(scratch, scratch / "data"))
        source = PngInfo()
        source.add_itxt(SOURCE, markdown)
        for theme, picture in PICTURES.items():
            picture.parent.mkdir(exist_ok=True)
            draw(markdown, theme, scratch).save(picture, optimize=True, pnginfo=source)
            print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size} bytes")


if __name__ == "__main__":
    main()
